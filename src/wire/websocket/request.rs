//! Requests on a WebSocket: each is answered by a `$reply` of its own, in the order in which they are done.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use hyper::Method;
use hyper::header::RETRY_AFTER;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::Services;
use crate::api::collections::answer::{Asked, Place, Reply};
use crate::problem::Problem;

/// For how many others a list counts, whose answer may be large.
const LIST: usize = 16;

/// What a message says of a request, but for its body.
pub(super) struct Head {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
}

/// A request, understood or not.
pub(super) struct Request {
    asked: Result<Asked, Problem>,
    reference: Option<Value>,
}

/// Those of a socket that are under way; while there are none, a socket has none of this.
#[derive(Default)]
pub(super) struct Requests {
    under_way: FuturesUnordered<BoxFuture<'static, (usize, String)>>,
    weight: usize,
}

impl Request {
    pub(super) fn new(head: Head, body: Option<&RawValue>, reference: Option<Value>) -> Request {
        let asked = asked(head, body);
        Request { asked, reference }
    }

    fn weight(&self) -> usize {
        match &self.asked {
            Ok(asked) if asked.is_list() => LIST,
            _ => 1,
        }
    }

    async fn answer(self: Box<Self>, services: Arc<Services>) -> String {
        let reply = match self.asked {
            Ok(asked) => services.answer(asked).await,
            Err(problem) => Err(problem),
        };
        match reply {
            Ok(reply) => replied(&reply, self.reference),
            Err(problem) => refused(&problem, self.reference),
        }
    }
}

impl Requests {
    /// Waits for what is under way already.
    pub(super) fn wait(&mut self, answer: BoxFuture<'static, String>) {
        self.weight += 1;
        self.under_way.push(answer.map(|text| (1, text)).boxed());
    }

    /// Begins to answer one.
    pub(super) fn add(&mut self, request: Box<Request>, services: &Arc<Services>) {
        let weight = request.weight();
        self.weight += weight;
        let answer = request.answer(services.clone());
        let answer = answer.map(move |text| (weight, text));
        self.under_way.push(answer.boxed());
    }

    /// Whether there are so many that no more are wanted.
    pub(super) fn is_full(&self, most: usize) -> bool {
        self.weight >= most
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next answer that is ready.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        let next = Pin::new(&mut self.under_way).poll_next(cx);
        next.map(|next| {
            next.map(|(weight, text)| {
                self.weight -= weight;
                text
            })
        })
    }
}

fn asked(head: Head, body: Option<&RawValue>) -> Result<Asked, Problem> {
    let missing = |what| Problem::bad_request("message", format!("a request needs {what}"));
    let method = head.method.ok_or_else(|| missing("a method"))?;
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Problem::bad_request("message", "the method is none of HTTP"))?;
    let path = head.path.ok_or_else(|| missing("a path"))?;
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let is_lines = head.content_type.as_deref() == Some("application/x-ndjson");
    let body = body.map(RawValue::get).unwrap_or_default();
    let body = match is_lines {
        // JSON has no place for lines but in a string.
        true => serde_json::from_str::<String>(body)
            .map_err(|_| Problem::bad_request("message", "lines are in a string"))?,
        false => body.to_owned(),
    };
    Ok(Asked {
        method,
        place: Place::parse(path)?,
        query: query.to_owned(),
        body: Bytes::from(body),
        content_type: head.content_type,
        if_match: head.if_match,
        if_none_match: head.if_none_match,
    })
}

/// `{"type":"$reply","ref":REF,"status":200,…,"body":…}`; the body is JSON already.
fn replied(reply: &Reply, reference: Option<Value>) -> String {
    let mut head = json!({ "type": "$reply", "status": reply.status.as_u16() });
    let etag = reply.version.map(|version| format!("\"{version}\""));
    let event = reply.event.map(|event| event.to_string());
    let said = [
        ("ref", reference),
        ("etag", etag.map(Value::from)),
        ("location", reply.location.clone().map(Value::from)),
        ("event", event.map(Value::from)),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            head[name] = value;
        }
    }
    with_body(
        head,
        reply
            .body
            .as_deref()
            .map(String::from_utf8_lossy)
            .as_deref(),
    )
}

fn refused(problem: &Problem, reference: Option<Value>) -> String {
    let mut head = json!({ "type": "$reply", "status": problem.status.as_u16() });
    if let Some(reference) = reference {
        head["ref"] = reference;
    }
    let mut headers = problem.headers.iter();
    let again = headers.find(|(name, _)| *name == RETRY_AFTER);
    let seconds = again.and_then(|(_, value)| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(seconds) = seconds {
        head["retry_after"] = seconds.into();
    }
    with_body(head, Some(&problem.json()))
}

fn with_body(head: Value, body: Option<&str>) -> String {
    let mut text = head.to_string();
    if let Some(body) = body {
        text.pop();
        text.push_str(",\"body\":");
        text.push_str(body);
        text.push('}');
    }
    text
}
