//! What is seen of the server: `/stats`, the topic `$stats`, `/healthz` and `/readyz`.

mod cluster;

use std::sync::{Arc, Mutex, OnceLock};
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
use crate::counts::bridges::BridgeCounts;
use crate::event::{Draft, EventType, Payload, Topic};
use crate::log::Log;
use crate::openapi::{Path, answer, count, cursor, object, parameter, problem, text};
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
    /// What bridges have carried.
    pub bridges: Vec<Arc<BridgeCounts>>,
    others: OnceLock<Others>,
    /// `None` where the machine does not tell.
    system: Mutex<Option<System>>,
}

/// What each replica has said last of itself.
pub type Others = Box<dyn Fn() -> Vec<Value> + Send + Sync>;

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
    pub fn new(
        server: &str,
        counts: Arc<Counts>,
        log: Arc<Log>,
        bridges: Vec<Arc<BridgeCounts>>,
    ) -> Stats {
        Stats {
            server: server.to_owned(),
            counts,
            log,
            bridges,
            others: OnceLock::new(),
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
        let mut all = json!({
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
        });
        if let Some(carried) = self.log.carried() {
            all["relay"] = json!({
                "kind": carried.kind,
                "ready": self.log.ready().is_ok(),
                "entries": carried.entries,
                "events": carried.events,
                "foreign": carried.foreign,
                "published": carried.published,
                "refused": carried.refused,
                "lost": carried.lost,
                "gaps": carried.gaps,
                "probe_us": carried.probe_us,
            });
        }
        if !self.bridges.is_empty() {
            all["bridges"] = self.bridges.iter().map(|bridge| bridge.json()).collect();
        }
        all
    }

    /// From now on, this says who else there is.
    pub fn among(&self, others: Others) {
        let _ = self.others.set(others);
    }

    /// The stats of all replicas, and what they come to.
    pub fn cluster(&self) -> Value {
        let replicas = self.others.get().map(|others| others());
        cluster::sum(replicas.unwrap_or_default(), self.json())
    }

    /// Publishes the object to `$stats`, and that of all replicas to `$cluster`, once a second, while somebody reads it.
    pub async fn publish_while_read(self: Arc<Stats>) {
        let topic = |name| Topic::new(name).expect("the name is well-formed");
        let (own, all) = (topic("$stats"), topic("$cluster"));
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            second.tick().await;
            if self.log.has_readers(&own) {
                self.publish(&own, &self.json());
            }
            if self.log.has_readers(&all) {
                self.publish(&all, &self.cluster());
            }
        }
    }

    fn publish(&self, topic: &Topic, stats: &Value) {
        let payload = Payload::json(stats.to_string().into()).expect("it was made of JSON");
        let draft = Draft {
            topic: topic.clone(),
            event_type: EventType::default(),
            payload,
        };
        if let Err(problem) = self.log.append(draft) {
            tracing::warn!("{topic}: {problem}");
        }
    }
}

fn stats(query: Option<&str>, stats: &Stats) -> Result<Response<Body>, Problem> {
    let scope = form_urlencoded::parse(query.unwrap_or("").as_bytes()).find(|(n, _)| n == "scope");
    let said = match scope.as_ref().map(|(_, scope)| &**scope) {
        None | Some("replica") => stats.json(),
        Some("cluster") => stats.cluster(),
        Some(_) => {
            return Err(Problem::bad_request("scope", "scope is replica or cluster"));
        }
    };
    Ok(super::json(StatusCode::OK, said.to_string()))
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

    fn is_about_the_server(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        std::future::ready(match request.uri().path() {
            "/stats" => stats(request.uri().query(), &context.stats),
            "/readyz" => ready(context).map(|()| well()),
            _ => Ok(well()),
        })
        .boxed()
    }
}

fn ready(context: &Context) -> Result<(), Problem> {
    let busy = context.health.busy();
    if busy == Some("draining") {
        return Err(Problem::unavailable(
            "draining",
            "the server is draining; use another",
        ));
    }
    context.stats.log.ready()?;
    context.collections.ready()?;
    match busy {
        None => Ok(()),
        Some(reason) => Err(Problem::unavailable(
            reason,
            format!("the server is {reason}, what the relay has is not all here yet; use another"),
        )),
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
    let bridge = object(json!({
        "name": text(),
        "up": { "type": "boolean" },
        "received": count(),
        "published": count(),
        "refused": count(),
        "dropped": count(),
        "returned": count(),
        "lost": count(),
    }));
    let mut one = object(json!({
        "server": text(),
        "version": text(),
        "uptime_s": number(),
        "wires": { "type": "object", "additionalProperties": wire },
        "listeners": { "type": "object", "additionalProperties": listener },
        "log": log,
        "process": process,
    }));
    // Only where there are some.
    one["properties"]["bridges"] = json!({ "type": "array", "items": bridge });
    let replica = object(json!({
        "server": text(),
        "age_ms": count(),
        "is_this": { "type": "boolean" },
        "stats": one,
    }));
    let all = object(json!({
        "replicas": { "type": "array", "items": replica },
        "wires": { "type": "object", "additionalProperties": wire },
    }));
    let scope = json!({ "enum": ["replica", "cluster"], "default": "replica" });
    json!({
        "summary": "Who is connected and what was sent, by wire and by listener; also the topic $stats, once a second",
        "parameters": [parameter(
            "query",
            "scope",
            "cluster is all replicas, and the sums of their wires; also the topic $cluster",
            scope,
        )],
        "responses": {
            "200": answer("What is counted", "application/json", json!({ "oneOf": [one, all] })),
            "400": problem("scope is something else"),
        },
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
        "summary": "Whether the server wants requests: not while it starts or drains, nor while its relay or the database of its documents is away",
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
