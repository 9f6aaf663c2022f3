//! Server-Sent Events (WHATWG HTML, 9.2): a response that never ends, of blocks that every reader shares.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{JOIN_BYTES, Opening, Settings, Wire};
use crate::body::{Body, Chunked, Joined, Stream};
use crate::counts::WireName;
use crate::event::{EventId, Framing, frame};
use crate::log::{End, Gap, Next, Reader, ticks};
use crate::openapi::{answer, parameter, problem, text};
use crate::problem::Problem;

/// A comment line without the blank line that would make some clients see an empty message.
const HEARTBEAT: Bytes = Bytes::from_static(b":hb\n");

/// Server-Sent Events on HTTP/1.1 and HTTP/2.
pub struct Sse;

impl Wire for Sse {
    fn asked(&self, request: &Parts) -> Result<Option<WireName>, Problem> {
        if !accepts(&request.headers) {
            return Err(Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "this answer is text/event-stream; let Accept admit it, or ask for a WebSocket or /poll",
            ));
        }
        Ok(Some(match super::is_http2(request) {
            true => WireName::SseHttp2,
            false => WireName::SseHttp1,
        }))
    }

    fn describe(&self) -> Value {
        let envelope = json!({ "enum": ["0", "1"] });
        json!({
            "summary": "A stream of Server-Sent Events",
            "parameters": [
                parameter(
                    "query", "envelope",
                    "Whether data is {server, topic, type, data}, as it is on /sse when nothing is said",
                    envelope,
                ),
            ],
            "responses": {
                "200": answer(
                    "First an event `ready` with a cursor, then gap notices, then events, until either side leaves",
                    "text/event-stream",
                    text(),
                ),
                "406": problem("Accept does not admit text/event-stream"),
            },
        })
    }

    fn open(
        &self,
        request: Request<Incoming>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let asked = opening.ask.envelope;
        let envelope = asked.unwrap_or(request.uri().path() == "/sse");
        let chunked = request.extensions().get::<Chunked>().is_some();
        let framing = match (envelope, opening.reader.is_guided(), chunked) {
            (true, _, false) => Framing::Envelope,
            (true, _, true) => Framing::EnvelopeChunk,
            (false, true, false) => Framing::Stream,
            (false, true, true) => Framing::StreamChunk,
            (false, false, false) => Framing::Sse,
            (false, false, true) => Framing::SseChunk,
        };
        let stream = SseStream::new(opening.reader, opening.settings, framing);
        async { Ok(response(Body::Stream(Box::new(stream)))) }.boxed()
    }
}

/// The head of every event stream, over any body.
pub fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// What a server that is full or draining says to an EventSource, which would give up for ever on any other
/// status: one block, which asks to come back, and the end.
pub fn busy(reason: &str, server: &str) -> Response<Body> {
    response(busy_block(reason, server).into())
}

fn busy_block(reason: &str, server: &str) -> Bytes {
    let retry = fastrand::u64(1_000..=10_000);
    let data = serde_json::json!({ "reason": reason, "server": server });
    format!("event: busy\nretry: {retry}\ndata: {data}\n\n").into()
}

/// Whether `Accept` names `text/event-stream` itself: so does an EventSource, and hardly anything else.
pub fn names_event_stream(headers: &HeaderMap) -> bool {
    ranges(headers).any(|(range, q)| range == "text/event-stream" && q > 0.0)
}

/// Whether `Accept` admits `text/event-stream` (RFC 9110, 12.5.1): the most specific range decides.
fn accepts(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ACCEPT) {
        return true;
    }
    let quality = |wanted: &str| {
        ranges(headers)
            .find(|(range, _)| range == wanted)
            .map(|(_, q)| q)
    };
    let quality = quality("text/event-stream")
        .or_else(|| quality("text/*"))
        .or_else(|| quality("*/*"));
    quality.is_some_and(|q| q > 0.0)
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (String, f32)> {
    let values = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("").to_ascii_lowercase();
        let q = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
        (name, q.and_then(|q| q.parse().ok()).unwrap_or(1.0))
    })
}

/// One live reader.
struct SseStream {
    reader: Reader,
    framing: Framing,
    /// Whether the `ready` block was sent.
    begun: bool,
    over: bool,
    settings: Arc<Settings>,
    /// When something was last sent, in the shard's ticks.
    sent_at: u64,
    /// When to look whether a heartbeat is due: later than it may be, instead of a timer that every delivery sets.
    look_at: u64,
}

impl SseStream {
    fn new(reader: Reader, settings: Arc<Settings>, framing: Framing) -> SseStream {
        let now = reader.now();
        let look_at = now + ticks(settings.heartbeat);
        reader.remind(look_at);
        SseStream {
            reader,
            framing,
            begun: false,
            over: false,
            settings,
            sent_at: now,
            look_at,
        }
    }

    /// All that is due, up to [`JOIN_BYTES`], as one piece.
    fn poll_due(&mut self, cx: &Context<'_>) -> Option<Bytes> {
        let mut joined = Joined::default();
        if !self.begun {
            self.begun = true;
            let ready = ready_block(self.reader.cursor(), &self.settings);
            joined.push(self.own(ready));
        } else if let Some((run, content)) = self.reader.take_run(self.framing, JOIN_BYTES) {
            self.reader.seat().sent(content);
            joined.push(run);
        }
        while !self.over && joined.length() < JOIN_BYTES {
            // Also after something was found: who is woken for it need not look twice.
            let Poll::Ready(next) = self.reader.poll_next(cx) else {
                break;
            };
            joined.push(match next {
                Next::Event(event) => self.counted(event.framed(self.framing)),
                Next::Gap(gap) => self.own(gap_block(&gap)),
                Next::End(end) => {
                    self.over = true;
                    if end != End::Drain {
                        break;
                    }
                    self.own(busy_block("draining", &self.settings.server))
                }
            });
        }
        joined.take()
    }

    /// A block of this reader's own, as a piece.
    fn own(&self, block: Bytes) -> Bytes {
        self.counted(match self.framing {
            Framing::SseChunk | Framing::EnvelopeChunk | Framing::StreamChunk => {
                frame::chunk(&block).into()
            }
            _ => block,
        })
    }

    /// Counts a piece, without what HTTP/1.1 puts around it.
    fn counted(&self, piece: Bytes) -> Bytes {
        self.reader.seat().sent(self.framing.content(&piece));
        piece
    }

    /// The heartbeat, when nothing was sent for so long.
    fn poll_heartbeat(&mut self) -> Option<Bytes> {
        let now = self.reader.tick();
        if self.over || now < self.look_at {
            return None;
        }
        let heartbeat = ticks(self.settings.heartbeat);
        let due = self.sent_at + heartbeat;
        if now < due {
            self.look_again_at(due);
            return None;
        }
        self.look_again_at(now + heartbeat);
        Some(self.own(HEARTBEAT))
    }

    fn look_again_at(&mut self, tick: u64) {
        self.look_at = tick;
        self.reader.remind(tick);
    }
}

impl Stream for SseStream {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        let bytes = match self.poll_due(cx).or_else(|| self.poll_heartbeat()) {
            Some(bytes) => bytes,
            None if self.over => return Poll::Ready(None),
            None => return Poll::Pending,
        };
        self.sent_at = self.sent_at.max(self.reader.tick());
        Poll::Ready(Some(bytes))
    }
}

fn ready_block(cursor: EventId, settings: &Settings) -> Bytes {
    let (low, high) = settings.retry_ms;
    let retry = fastrand::u64(low..=high);
    let data = serde_json::json!({ "cursor": cursor.to_string(), "server": settings.server });
    format!("id: {cursor}\nevent: ready\nretry: {retry}\ndata: {data}\n\n").into()
}

/// No `id:`, since the client's cursor moves only with an event; but for the notice that ends a stream, which
/// says where to go on.
fn gap_block(gap: &Gap) -> Bytes {
    let id = gap.go_on.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("{id}event: gap\ndata: {}\n\n", gap.json(None)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn accept_ranges() {
        let table = [
            ("text/event-stream", true),
            ("*/*", true),
            ("text/*;q=0.1", true),
            ("text/html, application/json", false),
            ("text/event-stream;q=0, */*", false),
            ("TEXT/EVENT-STREAM", true),
            ("", false),
        ];
        for (value, admitted) in table {
            assert_eq!(accepts(&accept(value)), admitted, "{value}");
        }
        assert!(accepts(&HeaderMap::new()));
        assert!(names_event_stream(&accept("text/html, text/event-stream")));
        assert!(!names_event_stream(&accept("*/*")));
    }
}
