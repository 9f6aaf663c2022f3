//! The server under measurement, what is asked of it, and what the kernel says of its threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use triwire::client::{Connection, Place, Transport};
use triwire::load::process::Cpu;
use triwire::load::server::Server as Child;
use triwire::load::{Result, process};

const DIRECTORY: &str = "target/bench";

/// A server of our own, with nothing in it; killed if it is dropped without `stop`.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts one that publishes nothing by itself.
    pub fn start(triwire: &Path, flags: &[&str]) -> Result<Server> {
        fs::create_dir_all(DIRECTORY)?;
        let mut command = Command::new(triwire);
        command.args([
            "serve",
            "--http1=off",
            "--ws=off",
            "--http1s=off",
            "--wss=off",
        ]);
        command.args(["--http2=off", "--h2c=127.0.0.1:0", "--log-format=json"]);
        command
            .args(["--metrics-every=off", "--drain=0s"])
            .args(flags);
        command.arg(format!("--certs={DIRECTORY}/certs"));
        let log = Path::new(DIRECTORY).join("queries-server.log");
        let child = Child::start(command, Vec::new(), &log)?;
        Ok(Server { child })
    }

    /// Its one listener.
    pub fn place(&self) -> Result<Place> {
        let url = format!("http://{}", self.child.address("h2c")?);
        Ok(Place::new(Some(&url), Transport::named("sse-h2c"), None)?)
    }

    /// A connection for requests.
    pub async fn api(&self) -> Result<Api> {
        Ok(Api {
            connection: Connection::open(&self.place()?).await?,
        })
    }

    /// What it has used so far.
    pub fn used(&self) -> Result<Used> {
        Used::of(self.child.pid())
    }

    /// Its resident bytes.
    pub fn resident(&self) -> Result<u64> {
        process::resident(self.child.pid())
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        self.child.stop()
    }
}

/// Requests, one after the other.
pub struct Api {
    connection: Connection,
}

impl Api {
    /// Sends a request, and reads the answer, which must be a good one.
    pub async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, kind);
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let what = format!("{method} {path}");
        let answer = self
            .connection
            .send(method, path, headers, body.into())
            .await?;
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{what}: {status} {}", String::from_utf8_lossy(&text)).into());
        }
        match text.is_empty() {
            true => Ok(Value::Null),
            false => Ok(serde_json::from_slice(&text)?),
        }
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, path, body).await
    }

    pub async fn get(&mut self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, &Value::Null).await
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
