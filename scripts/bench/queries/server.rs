//! What live SQL asks of the server under measurement, and what the kernel says of its threads.

use std::collections::BTreeMap;
use std::fs;

use hyper::Method;
use serde_json::{Value, json};
use triwire::load::process::Cpu;
use triwire::load::{Result, process};

use super::alone::{Api, Server};

/// How the server is spoken to.
pub const WIRE: &str = "sse-h2c";

impl Server {
    /// What it has used so far.
    pub fn used(&self) -> Result<Used> {
        Used::of(self.pid())
    }

    /// Its resident bytes.
    pub fn resident(&self) -> Result<u64> {
        process::resident(self.pid())
    }
}

impl Api {
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, body).await
    }

    /// Makes a query; its class is the result.
    pub async fn query(&mut self, name: &str, sql: &str, every_ms: u64) -> Result<u64> {
        let path = format!("/queries/{name}");
        let body = json!({ "sql": sql, "every_ms": every_ms });
        self.post(&path, &body).await?;
        let made = self.get(&path).await?;
        Ok(made["class"].as_u64().unwrap_or(0))
    }

    /// Subscribes to queries; the id is the result.
    pub async fn subscribe(&mut self, queries: &[String]) -> Result<String> {
        let made = self
            .post("/subscriptions", &json!({ "queries": queries }))
            .await?;
        let id = made["subscription_id"].as_str();
        Ok(id.ok_or("a subscription without an id")?.to_owned())
    }
}

/// CPU time so far, in nanoseconds.
pub struct Used {
    whole: Cpu,
    /// Of the engine's threads, by name.
    threads: BTreeMap<String, u64>,
}

/// Seconds of CPU a second.
pub struct Shares {
    pub whole: f64,
    pub front: f64,
    pub fresh: f64,
    pub all_again: f64,
}

impl Used {
    fn of(pid: u32) -> Result<Used> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            let name = fs::read_to_string(task.join("comm"))?.trim().to_owned();
            let schedstat = fs::read_to_string(task.join("schedstat"))?;
            let time = schedstat.split(' ').next().unwrap_or_default();
            *threads.entry(name).or_insert(0) += time.parse::<u64>()?;
        }
        Ok(Used {
            whole: Cpu::of(pid)?,
            threads,
        })
    }

    /// What was used since `before`, for each of so many nanoseconds.
    pub fn since(&self, before: &Used, time: u64) -> Shares {
        let share = |used: u64| used as f64 / time as f64;
        let thread = |name: &str| {
            let at = |used: &Used| used.threads.get(name).copied().unwrap_or(0);
            share(at(self).saturating_sub(at(before)))
        };
        Shares {
            whole: share(self.whole.since(before.whole)),
            front: thread("triwire-front"),
            fresh: thread("triwire-fresh"),
            all_again: thread("triwire-whole"),
        }
    }
}
