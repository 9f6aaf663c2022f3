//! What is seen of the server: `/stats`, the topic `$stats`, `/healthz` and `/readyz`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::{Api, Context};
use crate::body::Body;
use crate::counts::Counts;
use crate::event::{Draft, EventType, Payload, Topic};
use crate::log::Log;
use crate::openapi::{Path, answer, count, cursor, object, text};
use crate::problem::Problem;

/// All that is counted, in one place.
pub struct Stats {
    /// The replica's name.
    pub server: String,
    /// Streams, connections and bytes.
    pub counts: Arc<Counts>,
    /// The log.
    pub log: Arc<Log>,
    started: Instant,
    /// `None` where the machine does not tell.
    system: Mutex<Option<System>>,
}

/// What the process uses.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Processor time, user and system.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Open descriptors.
    pub open_fds: usize,
}

impl Stats {
    /// Starts the clock of `uptime_s`.
    pub fn new(server: &str, counts: Arc<Counts>, log: Arc<Log>) -> Stats {
        Stats {
            server: server.to_owned(),
            counts,
            log,
            started: Instant::now(),
            system: Mutex::new(System::new().ok()),
        }
    }

    /// Seconds since the start.
    pub fn uptime(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// What the process uses now.
    pub fn process(&self) -> Process {
        let pid = Pid::from_u32(std::process::id());
        let mut system = self.system.lock().expect("nothing panics under this lock");
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        if let Some(system) = system.as_mut() {
            let _ = system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
        }
        let process = system.as_ref().and_then(|s| s.process(pid));
        Process {
            cpu_seconds: process.map_or(0.0, |p| p.accumulated_cpu_time() as f64 / 1000.0),
            rss_bytes: process.map_or(0, |p| p.memory()),
            open_fds: process.and_then(|p| p.open_files()).unwrap_or(0),
        }
    }

    /// The stats object.
    pub fn json(&self) -> Value {
        let (wires, listeners) = self.counts.json();
        let held = self.log.held();
        let process = self.process();
        json!({
            "server": self.server,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": (self.uptime() * 1000.0).round() / 1000.0,
            "wires": wires,
            "listeners": listeners,
            "log": {
                "topics": held.topics,
                "events": held.events,
                "bytes": held.bytes,
                "oldest": held.oldest.map(|id| id.to_string()),
                "newest": held.newest.to_string(),
            },
            "process": {
                "cpu_seconds": process.cpu_seconds,
                "rss_bytes": process.rss_bytes,
                "open_fds": process.open_fds,
            },
        })
    }

    /// Publishes the object to `$stats` once a second, while somebody reads it.
    pub async fn publish_while_read(self: Arc<Stats>) {
        let topic = Topic::new("$stats").expect("the name is well-formed");
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            second.tick().await;
            if !self.log.has_readers(&topic) {
                continue;
            }
            let payload =
                Payload::json(self.json().to_string().into()).expect("it was made of JSON");
            let draft = Draft {
                topic: topic.clone(),
                event_type: EventType::default(),
                payload,
            };
            if let Err(problem) = self.log.append(draft) {
                tracing::warn!("$stats: {problem}");
            }
        }
    }
}

const WELL: &str = "text/plain; charset=utf-8";

/// `/stats`, `/healthz`, `/readyz`.
pub struct Seen;

impl Api for Seen {
    fn paths(&self) -> &'static [Path] {
        &[
            Path {
                at: "/stats",
                operations: &[("GET", describe_stats)],
            },
            Path {
                at: "/healthz",
                operations: &[("GET", describe_healthz)],
            },
            Path {
                at: "/readyz",
                operations: &[("GET", describe_readyz)],
            },
        ]
    }

    fn answers_while_draining(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        std::future::ready(match request.uri().path() {
            "/stats" => Ok(super::json(
                StatusCode::OK,
                context.stats.json().to_string(),
            )),
            "/readyz" if context.health.is_draining() => Err(Problem::unavailable(
                "draining",
                "the server is draining; use another",
            )),
            "/readyz" => context.collections.ready().map(|()| well()),
            _ => Ok(well()),
        })
        .boxed()
    }
}

fn describe_stats() -> Value {
    let number = || json!({ "type": "number", "minimum": 0 });
    let wire = object(json!({
        "connections": count(),
        "streams": count(),
        "connections_total": count(),
        "streams_total": count(),
        "events_sent": count(),
        "bytes_sent": count(),
        "gaps": count(),
    }));
    let listener = object(json!({
        "addr": text(),
        "tls": { "type": "boolean" },
        "http": { "enum": ["1.1", "2"] },
        "connections": count(),
        "connections_total": count(),
        "bytes_in": count(),
        "bytes_out": count(),
    }));
    let log = object(json!({
        "topics": count(),
        "events": count(),
        "bytes": count(),
        "oldest": { "oneOf": [cursor(), { "type": "null" }] },
        "newest": cursor(),
    }));
    let process = object(json!({
        "cpu_seconds": number(),
        "rss_bytes": count(),
        "open_fds": count(),
    }));
    let schema = object(json!({
        "server": text(),
        "version": text(),
        "uptime_s": number(),
        "wires": { "type": "object", "additionalProperties": wire },
        "listeners": { "type": "object", "additionalProperties": listener },
        "log": log,
        "process": process,
    }));
    json!({
        "summary": "Who is connected and what was sent, by wire and by listener; also the topic $stats, once a second",
        "responses": { "200": answer("What is counted", "application/json", schema) },
    })
}

fn describe_healthz() -> Value {
    json!({
        "summary": "Whether the server runs",
        "responses": { "200": answer("It does", WELL, text()) },
    })
}

fn describe_readyz() -> Value {
    json!({
        "summary": "Whether the server wants requests: not while it drains, nor while the database of its documents is away",
        "responses": { "200": answer("It does", WELL, text()) },
    })
}

fn well() -> Response<Body> {
    let mut response = Response::new(Body::from("ok\n"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(WELL));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
