//! The wires: ways of carrying events to a reader. One trait, one file each, one line in the
//! table of `routes`.
//!
//! HTTP/1.1, h2c and HTTP/2 over TLS differ in `server`, never here.

pub mod long_poll;
pub mod socket_io;
pub mod sse;
pub mod websocket;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response, Version};
use serde_json::{Value, json};

use crate::access::Source;
use crate::api::Services;
use crate::api::cut::CutKey;
use crate::body::{Body, Unsent};
use crate::bundle::{Bell, Spawner};
use crate::counts::{Connection, Seat, WireName};
use crate::event::Topic;
use crate::log::{Lag, Log, Reader, Start};
use crate::openapi::{cursor, parameter, problem, text};
use crate::problem::Problem;

/// How events under way are joined into one write: up to here, without waiting for more.
pub const JOIN_BYTES: usize = 16 * 1024;

/// One way of carrying events to a reader.
pub trait Wire: Send + Sync {
    /// The wire that this request asks for, if it is this one.
    ///
    /// # Errors
    /// When it is this one, but asked for wrongly.
    fn asked(&self, request: &Parts) -> Result<Option<WireName>, Problem>;

    /// Whether it is also asked for by extended CONNECT (RFC 8441), beside GET.
    fn takes_connect(&self) -> bool {
        false
    }

    /// The Operation Object of a GET that it answers, beside what [`Ask`] reads for every wire.
    fn describe(&self) -> Value;

    /// Answers, and carries the reader until either side leaves.
    fn open(
        &self,
        request: Request<Incoming>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Response<Body>, Problem>>;
}

/// What the wires share and are told once.
#[derive(Debug)]
pub struct Settings {
    /// The replica's name.
    pub server: String,
    /// After how long with nothing sent an SSE stream gets a comment.
    pub heartbeat: Duration,
    /// How often a WebSocket is pinged.
    pub ping: Duration,
    /// How long its pong may take.
    pub pong: Duration,
    /// The range of `retry:`, in milliseconds.
    pub retry_ms: (u64, u64),
    /// The longest `timeout` of a poll.
    pub poll_timeout: Duration,
    /// Events an answer to a poll.
    pub poll_events: usize,
    /// Bytes of events an answer to a poll; one event is always sent.
    pub poll_bytes: usize,
    /// Bytes of a WebSocket message.
    pub message_bytes: usize,
    /// Requests of one WebSocket under way.
    pub requests: usize,
    /// Whether extended CONNECT is taken (RFC 8441).
    pub websocket_http2: bool,
}

/// The connection that a stream is carried by.
#[derive(Clone)]
pub struct Carrier {
    /// Its counts.
    pub connection: Arc<Connection>,
    /// The shard that it lives on.
    pub shard: usize,
    /// What its streams may leave unsent together; HTTP/1.1 has one stream and bounds it itself.
    pub unsent: Option<Arc<Unsent>>,
    /// On HTTP/2, what its streams may have been sent by the client that nobody has looked at yet, together.
    pub unread: Option<Arc<Unsent>>,
    /// Where its streams run, when that is not a task of their own.
    pub bundle: Option<Spawner>,
}

impl Carrier {
    /// Runs what a stream goes on with after its answer.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match &self.bundle {
            Some(bundle) => bundle.spawn(future),
            None => drop(tokio::spawn(future)),
        }
    }
}

/// A request for a reader, understood.
pub struct Opening {
    /// What it asked for.
    pub ask: Ask,
    /// The reader, at its place.
    pub reader: Reader,
    /// The connection that carries it.
    pub carrier: Carrier,
    /// What the wires share.
    pub settings: Arc<Settings>,
    /// For a wire on which a client says something too.
    pub services: Arc<Services>,
    /// Where the request comes from.
    pub source: Source,
}

/// What a request's query and headers ask of a stream.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The topics named.
    pub topics: Vec<Topic>,
    /// Where to start.
    pub start: Start,
    /// What to do when events are lost.
    pub lag: Lag,
    /// After how many events to end.
    pub limit: Option<u64>,
    /// Whether SSE data is the envelope; by default it is on `/sse`.
    pub envelope: Option<bool>,
    /// How long a poll may wait.
    pub timeout: Option<Duration>,
    /// By what its connection may be cut from outside.
    pub cut: Option<CutKey>,
}

impl Ask {
    /// Reads the query (as `application/x-www-form-urlencoded`) and `Last-Event-ID`.
    ///
    /// # Errors
    /// 400 for the first thing that is malformed. A malformed `Last-Event-ID` is none: a browser sends it again
    /// and again, and has to be told by a gap notice.
    pub fn parse(request: &Parts, longest: Duration) -> Result<Ask, Problem> {
        let mut ask = Ask {
            topics: Vec::new(),
            start: Start::Head,
            lag: Lag::Gap,
            limit: None,
            envelope: None,
            timeout: None,
            cut: None,
        };
        for (name, value) in form_urlencoded::parse(request.uri.query().unwrap_or("").as_bytes()) {
            match &*name {
                "topic" => ask.topics.push(Topic::new(&value)?),
                "after" => ask.start = Start::After(value.parse()?),
                "lag" => ask.lag = lag(&value)?,
                "limit" => ask.limit = Some(limit(&value)?),
                "envelope" => ask.envelope = Some(flag("envelope", &value)?),
                // Said already, by which wire it is.
                "poll" => drop(flag("poll", &value)?),
                "cut" => ask.cut = Some(CutKey::new(&value)?),
                "timeout" => ask.timeout = Some(timeout(&value, longest)?),
                _ => {}
            }
        }
        // The header is newer than the URL: a browser that reconnects repeats the URL and adds the header.
        if let Some(id) = request
            .headers
            .get("last-event-id")
            .filter(|id| !id.is_empty())
        {
            let cursor = id.to_str().ok().and_then(|text| text.parse().ok());
            ask.start = cursor.map_or(Start::Unknown, Start::After);
        }
        Ok(ask)
    }

    /// What every wire says of itself in `/openapi.json`.
    pub fn describe() -> Value {
        let lag = json!({ "enum": ["gap", "latest", "close"], "default": "gap" });
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1_000_000 });
        json!({
            "parameters": [
                parameter(
                    "query", "after",
                    "Go on after this event; 0-0 is from the oldest retained. Without it, from now on",
                    cursor(),
                ),
                parameter(
                    "header", "Last-Event-ID",
                    "The same, and stronger; one that is malformed is told by a gap notice",
                    text(),
                ),
                parameter(
                    "query", "lag",
                    "For a reader that fell off the log: go on from the oldest, skip to the newest, or end",
                    lag,
                ),
                parameter("query", "limit", "End after this many events", limit),
                parameter(
                    "query", "cut",
                    "Made up by the client, which can then cut this connection by POST /cut/{key}",
                    CutKey::describe(),
                ),
            ],
            "responses": {
                "400": problem("A parameter is malformed, no topic is named, or too many are"),
            },
        })
    }

    /// Takes a seat for a reader, which has no topic yet.
    pub fn reader(&self, log: &Arc<Log>, carrier: &Carrier, wire: WireName) -> Reader {
        let seat = Seat::new(carrier.connection.clone(), wire);
        let bell = carrier
            .bundle
            .as_ref()
            .map_or_else(Bell::alone, Spawner::bell);
        Reader::new(log, carrier.shard, bell, seat, self.lag, self.limit)
    }
}

fn lag(value: &str) -> Result<Lag, Problem> {
    match value {
        "gap" => Ok(Lag::Gap),
        "latest" => Ok(Lag::Latest),
        "close" => Ok(Lag::Close),
        _ => Err(Problem::bad_request("lag", "lag is gap, latest or close")),
    }
}

fn limit(value: &str) -> Result<u64, Problem> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    value
        .parse()
        .ok()
        .filter(|n| digits && (1..=1_000_000).contains(n))
        .ok_or_else(|| Problem::bad_request("limit", "limit is a number of events, 1 to 1000000"))
}

fn flag(name: &'static str, value: &str) -> Result<bool, Problem> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(Problem::bad_request(name, format!("{name} is 0 or 1"))),
    }
}

fn timeout(value: &str, longest: Duration) -> Result<Duration, Problem> {
    let plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    value
        .parse::<f64>()
        .ok()
        .filter(|s| plain && *s <= longest.as_secs_f64())
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            let detail = format!("timeout is a number of seconds, 0 to {}", longest.as_secs());
            Problem::bad_request("timeout", detail)
        })
}

/// Whether a request wants to poll where it could also have a stream.
fn wants_poll(request: &Parts) -> bool {
    let query = request.uri.query().unwrap_or("").as_bytes();
    form_urlencoded::parse(query).any(|(name, value)| name == "poll" && value == "1")
}

/// Whether a request came over HTTP/2.
pub fn is_http2(request: &Parts) -> bool {
    request.version == Version::HTTP_2
}
