//! Publishing: `POST /publish/{topic}`, as text, lines of text, JSON or NDJSON. WebSockets publish through the same [`Publisher`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Api, Context, read_body};
use crate::body::Body;
use crate::event::{Draft, EventType, Payload, Topic};
use crate::live::Live;
use crate::log::{Appended, Log, Publishing};
use crate::openapi::{
    Path, answer, count, cursor, object, parameter, problem, problem_with, text, topic,
};
use crate::problem::Problem;

/// How much one request may publish.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of an event's payload.
    pub event_bytes: u64,
    /// Bytes of a batch.
    pub batch_bytes: u64,
    /// Events of a batch.
    pub batch_events: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
}

/// The way of every peer's event into the log.
pub struct Publisher {
    log: Arc<Log>,
    live: Arc<Live>,
    pub(super) limits: Limits,
}

impl Publisher {
    /// Publishes into this log, and holds to their schemas what goes to tables.
    pub fn new(log: Arc<Log>, live: Arc<Live>, limits: Limits) -> Publisher {
        Publisher { log, live, limits }
    }

    /// Publishes what a peer wants to publish; what one peer publishes by one call after the other has that order.
    ///
    /// # Errors
    /// 403 for a topic of the server's own, 413 for a payload over the limit, 400 for an object that breaks the schema of
    /// a table, and as [`Log::publish`].
    pub fn publish(&self, drafts: Vec<Draft>, key: Option<&str>) -> Publishing {
        match self.check(&drafts).and_then(|()| self.live.admit(&drafts)) {
            Ok(_turn) => self.log.publish(drafts, key),
            Err(problem) => Publishing::refused(problem),
        }
    }

    fn check(&self, drafts: &[Draft]) -> Result<(), Problem> {
        for (index, draft) in drafts.iter().enumerate() {
            draft.topic.check_unreserved()?;
            if draft.payload.bytes().len() as u64 > self.limits.event_bytes {
                let what = match drafts.len() {
                    1 => "the payload".to_owned(),
                    _ => format!("the payload of event {}", index + 1),
                };
                return Err(Problem::too_large(
                    &what,
                    self.limits.event_bytes,
                    "event-bytes",
                ));
            }
        }
        Ok(())
    }
}

/// `POST /publish/{topic}`.
pub struct Publish;

impl Api for Publish {
    fn paths(&self) -> &'static [Path] {
        &[Path {
            at: "/publish/{topic}",
            operations: &[("POST", describe)],
        }]
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        publish(request, &context.publisher).boxed()
    }
}

fn describe() -> Value {
    let any = json!({});
    let lines =
        json!({ "type": "string", "description": "One event a line, each JSON; all or none" });
    let done = json!({ "oneOf": [
        object(json!({ "id": cursor() })),
        object(json!({ "first": cursor(), "last": cursor(), "count": count() })),
    ] });
    let of_type =
        json!({ "type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,64}$", "default": "message" });
    json!({
        "summary": "Publish on a topic",
        "parameters": [
            parameter("path", "topic", "The topic; / may be written as it is", topic()),
            parameter(
                "query", "type",
                "The type of the event, or of all of them; ready, gap, busy, open and error are taken",
                of_type,
            ),
            parameter(
                "query", "lines",
                "1 takes text as ndjson takes JSON: one event a line",
                json!({ "enum": ["0", "1"], "default": "0" }),
            ),
            describe_key(),
        ],
        "requestBody": {
            "description": "The payload. What is of another type than these is text; without a body it is empty.",
            "content": {
                "application/json": { "schema": any },
                "application/x-ndjson": { "schema": lines },
                "text/plain": { "schema": text() },
            },
        },
        "responses": {
            "201": answer(
                "In the log: the id, or for many lines the first, the last and their number",
                "application/json",
                done,
            ),
            "400": problem("The topic, the type, the key or the body is malformed, no event is in it, or an object breaks the schema of the table that the topic is"),
            "403": problem("A topic of the server's own, which begins with $ or with collections/, or a page of a foreign origin"),
            "413": problem("The body is over event-bytes, or for many lines batch-bytes or batch-events"),
            "429": problem_with(
                "retry-after",
                "One topic (topics) or one idempotency key (idempotency-keys) too many",
            ),
        },
    })
}

pub(super) fn describe_key() -> Value {
    parameter(
        "header",
        "Idempotency-Key",
        "A retry with the same key appends nothing and gets the first answer",
        json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
    )
}

async fn publish(
    request: Request<Incoming>,
    publisher: &Publisher,
) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let asked = Asked::parse(head.uri.path(), head.uri.query(), &head.headers);
    let (asked, body) = super::understood(asked, body)?;
    let limits = publisher.limits;
    let (limit, key) = match asked.format {
        Format::Lines | Format::NdJson => (limits.batch_bytes, "batch-bytes"),
        Format::Json | Format::Text => (limits.event_bytes, "event-bytes"),
    };
    let bytes = read_body(body, limit, key, limits.body_time).await?;
    let drafts = asked.drafts(bytes, limits.batch_events)?;
    let done = publisher.publish(drafts, asked.key.as_deref()).await?;
    Ok(super::json(StatusCode::CREATED, asked.format.answer(&done)))
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Text,
    Json,
    /// One text a line.
    Lines,
    NdJson,
}

impl Format {
    fn answer(self, done: &Appended) -> String {
        match self {
            Format::Lines | Format::NdJson => format!(
                r#"{{"first":"{}","last":"{}","count":{}}}"#,
                done.first, done.last, done.count
            ),
            Format::Text | Format::Json => format!(r#"{{"id":"{}"}}"#, done.last),
        }
    }
}

/// A publish request, but for its body.
struct Asked {
    topic: Topic,
    event_type: EventType,
    format: Format,
    key: Option<String>,
}

impl Asked {
    fn parse(path: &str, query: Option<&str>, headers: &HeaderMap) -> Result<Asked, Problem> {
        let name = path.strip_prefix("/publish/").unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let mut event_type = EventType::default();
        let mut lines = false;
        for (name, value) in form_urlencoded::parse(query.unwrap_or("").as_bytes()) {
            match (&*name, &*value) {
                ("type", value) => event_type = EventType::new(value)?,
                ("lines", "0" | "1") => lines = value == "1",
                ("lines", _) => return Err(Problem::bad_request("lines", "lines is 0 or 1")),
                _ => {}
            }
        }
        super::not_encoded(headers)?;
        Ok(Asked {
            topic: Topic::new(&name)?,
            event_type,
            format: format(headers, lines)?,
            key: key(headers)?,
        })
    }

    fn drafts(&self, body: Bytes, most: usize) -> Result<Vec<Draft>, Problem> {
        match self.format {
            Format::Text => Ok(vec![self.draft(Payload::text(body)?)]),
            Format::Json => Ok(vec![self.draft(Payload::json(body)?)]),
            Format::Lines | Format::NdJson => self.lines(&body, most),
        }
    }

    fn lines(&self, body: &Bytes, most: usize) -> Result<Vec<Draft>, Problem> {
        let mut drafts = Vec::new();
        if body.is_empty() {
            return Ok(drafts);
        }
        let is_json = self.format == Format::NdJson;
        // The last line's end is the end of the body, not the beginning of an empty line.
        let whole = body.strip_suffix(b"\n").unwrap_or(body);
        for (index, line) in whole.split(|b| *b == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if is_json && line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if drafts.len() == most {
                return Err(too_many_events(most));
            }
            // Copied, so that one small line does not keep the whole body alive.
            let line = Bytes::copy_from_slice(line);
            let payload = match is_json {
                true => Payload::json(line),
                false => Payload::text(line),
            };
            let payload = payload.map_err(|problem| Problem {
                detail: format!("line {}: {}", index + 1, problem.detail).into(),
                ..problem
            })?;
            drafts.push(self.draft(payload));
        }
        Ok(drafts)
    }

    fn draft(&self, payload: Payload) -> Draft {
        Draft {
            topic: self.topic.clone(),
            event_type: self.event_type.clone(),
            payload,
        }
    }
}

fn format(headers: &HeaderMap, lines: bool) -> Result<Format, Problem> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    let essence = value
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    match &*essence {
        "application/x-ndjson" => Ok(Format::NdJson),
        "application/json" if lines => Err(Problem::bad_request(
            "lines",
            "lines=1 is for text; lines of JSON are application/x-ndjson",
        )),
        "application/json" => Ok(Format::Json),
        _ if lines => Ok(Format::Lines),
        _ => Ok(Format::Text),
    }
}

pub(super) fn too_many_events(most: usize) -> Problem {
    let detail = format!("a batch has at most {most} events (batch-events); send several");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-events", detail)
}

pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_request(
            "idempotency-key",
            "an idempotency key is 1 to 255 visible ASCII characters",
        )),
    }
}
