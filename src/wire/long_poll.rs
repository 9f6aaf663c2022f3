//! Long polling: an answer as soon as there is an event after the cursor, or an empty one in time.

use std::future::poll_fn;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use serde_json::{Value, json};

use super::{Opening, Wire};
use crate::body::Body;
use crate::counts::WireName;
use crate::event::{Event, Framing};
use crate::log::{Next, Start};
use crate::openapi::{answer as described, cursor, object, parameter, text, topic};
use crate::problem::Problem;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(25);

/// Long polling on HTTP/1.1 and HTTP/2.
pub struct LongPoll;

impl Wire for LongPoll {
    fn asked(&self, request: &Parts) -> Result<Option<WireName>, Problem> {
        let is_asked = request.uri.path() == "/poll" || super::wants_poll(request);
        Ok(is_asked.then_some(WireName::LongPoll))
    }

    fn describe(&self) -> Value {
        let event = event();
        let gap = object(json!({
            "topic": text(),
            "reason": { "enum": ["expired", "lagged", "relay"] },
            "after": { "oneOf": [cursor(), { "type": "null" }] },
            "resumed_at": cursor(),
            "missed": { "type": ["integer", "null"], "minimum": 0 },
        }));
        let schema = object(json!({
            "cursor": cursor(),
            "gaps": { "type": "array", "items": gap },
            "events": { "type": "array", "items": event },
        }));
        let seconds = json!({ "type": "number", "minimum": 0, "maximum": 60, "default": 25 });
        json!({
            "summary": "Events after a cursor, as soon as there are any; without a cursor, where the log is now",
            "parameters": [
                parameter(
                    "query", "timeout",
                    "After how many seconds to answer without events; poll-timeout sets the most",
                    seconds,
                ),
            ],
            "responses": {
                "200": described("The events; the cursor is the next `after`", "application/json", schema),
            },
        })
    }

    fn open(
        &self,
        _: Request<Incoming>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        async { Ok(answer(opening).await) }.boxed()
    }
}

fn event() -> Value {
    // Without an id is only what a subscription tells first.
    let mut event = object(json!({ "topic": topic(), "data": {} }));
    event["properties"]["id"] = cursor();
    event["properties"]["type"] = text();
    event
}

#[derive(Default)]
struct Answer {
    gaps: Vec<String>,
    events: Vec<u8>,
    count: usize,
}

async fn answer(mut opening: Opening) -> Response<Body> {
    let mut answer = Answer::default();
    // Without a cursor nothing can be missed yet: the head, and come back; with what a subscription has to tell first.
    if opening.ask.start == Start::Head && opening.reader.is_guided() {
        answer.take_more(&mut opening);
    } else if opening.ask.start != Start::Head {
        let longest = opening.settings.poll_timeout;
        let timeout = opening.ask.timeout.unwrap_or(DEFAULT_TIMEOUT).min(longest);
        let unsent = opening.carrier.unsent.clone();
        let first = poll_fn(|cx| {
            // An answer that nobody takes holds its events: on a connection with too much of that, they wait.
            if let Some(unsent) = &unsent {
                ready!(unsent.poll_room(cx));
            }
            opening.reader.poll_next(cx)
        });
        // Cut short, the answer is empty and its cursor says the same.
        if let Ok(first) = tokio::time::timeout(timeout, first).await {
            answer.take(first);
            answer.take_more(&mut opening);
        }
    }
    let cursor = opening.reader.position();
    let gaps = answer.gaps.join(",");
    let mut body = format!(r#"{{"cursor":"{cursor}","gaps":[{gaps}],"events":["#).into_bytes();
    body.extend_from_slice(&answer.events);
    body.extend_from_slice(b"]}");
    opening.reader.seat().sent(body.len());
    let body = match &opening.carrier.unsent {
        Some(unsent) => unsent.lease(body.into()),
        None => Bytes::from(body).into(),
    };
    let mut response = Response::new(Body::whole(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Answer {
    fn take_more(&mut self, opening: &mut Opening) {
        let settings = &opening.settings;
        while self.count < settings.poll_events {
            let room = settings.poll_bytes.saturating_sub(self.events.len());
            // With the comma before it. The first always fits, or it would never be sent.
            let fits = |event: &Event| self.count == 0 || event.framed(Framing::Json).len() < room;
            match opening.reader.try_next_if(fits) {
                None | Some(Next::End(_)) => return,
                Some(next) => self.take(next),
            }
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Event(event) => {
                if self.count > 0 {
                    self.events.push(b',');
                }
                self.events.extend_from_slice(&event.framed(Framing::Json));
                self.count += 1;
            }
            Next::Gap(gap) => self.gaps.push(gap.json(None)),
            Next::End(_) => {}
        }
    }
}
