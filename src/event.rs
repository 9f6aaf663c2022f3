//! What travels: an event, its id, topic and type, checked where they are made.
//!
//! An event never changes once it is in the log. Each framing of it is encoded at most once, by the first
//! reader that needs it, and shared by all. This module knows nothing of logs, readers or sockets.

pub mod frame;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::problem::Problem;

/// Of [`EventId::n`], the bits that tell events of one place in a relay's order apart: 16 million of them.
const OWN_BITS: u32 = 24;

/// The place of an event in the log: `<ms>-<n>`, strictly increasing. Also a cursor: "everything up to here".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct EventId {
    /// Milliseconds since the Unix epoch when the event was appended, never less than its predecessor's.
    pub ms: u64,
    /// Counts the events of one millisecond.
    pub n: u64,
}

impl EventId {
    /// Before every event: a reader that starts here starts at the oldest that is retained.
    pub const ZERO: EventId = EventId { ms: 0, n: 0 };

    /// The id after `self` at the time `now_ms`: the clock may stand still or step back, ids may not.
    pub fn next(self, now_ms: u64) -> EventId {
        if now_ms > self.ms {
            return EventId { ms: now_ms, n: 0 };
        }
        match self.n.checked_add(1) {
            Some(n) => EventId { ms: self.ms, n },
            None => EventId {
                ms: self.ms.saturating_add(1),
                n: 0,
            },
        }
    }

    /// The id of the first event at a place in a relay's order: its milliseconds, and its number among those of the same.
    /// The ids up to the next place are for the other events of one entry and for what a server tells by itself.
    /// `None` for a number that leaves no room for these.
    pub fn of_relay(ms: u64, number: u64) -> Option<EventId> {
        let is_small = number < 1 << (u64::BITS - OWN_BITS);
        is_small.then_some(EventId {
            ms,
            n: number.wrapping_shl(OWN_BITS),
        })
    }

    /// The place in a relay's order that it belongs to.
    pub fn relay_place(self) -> (u64, u64) {
        (self.ms, self.n >> OWN_BITS)
    }

    /// How many ids there still are before the next place in a relay's order.
    pub fn own_left(self) -> u64 {
        !self.n & ((1 << OWN_BITS) - 1)
    }

    /// The greatest id below `self`: a cursor that has everything before this event and not the event.
    pub fn before(self) -> EventId {
        match (self.ms, self.n) {
            (0, 0) => EventId::ZERO,
            (ms, 0) => EventId {
                ms: ms - 1,
                n: u64::MAX,
            },
            (ms, n) => EventId { ms, n: n - 1 },
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for EventId {
    type Error = Problem;

    fn try_from(text: String) -> Result<EventId, Problem> {
        text.parse()
    }
}

impl FromStr for EventId {
    type Err = Problem;

    fn from_str(text: &str) -> Result<EventId, Problem> {
        let number = |part: &str| {
            let digits = (1..=20).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u64>().ok()).flatten()
        };
        text.split_once('-')
            .and_then(|(ms, n)| {
                Some(EventId {
                    ms: number(ms)?,
                    n: number(n)?,
                })
            })
            .ok_or_else(|| {
                Problem::bad_request(
                    "cursor",
                    "a cursor is an id as the server gave it: <ms>-<n>",
                )
            })
    }
}

/// A place in a relay's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Milliseconds since the Unix epoch by the relay's clock, never less than before.
    pub ms: u64,
    /// Counts the places of one millisecond.
    pub number: u64,
}

impl Place {
    /// The id of the first event there.
    pub fn id(self) -> Option<EventId> {
        EventId::of_relay(self.ms, self.number)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// Why others may not publish to some topics.
pub const RESERVED: &str = "topics that begin with $ or with collections/ are the server's own";

/// A topic's name: 1 to 255 bytes of `[A-Za-z0-9._:/-]`, in segments that are not empty, `.` or `..`;
/// one that begins with `$` is the server's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks a name as a peer gave it.
    ///
    /// # Errors
    /// A 400 that says what a topic may be.
    pub fn new(name: &str) -> Result<Topic, Problem> {
        let plain = name.strip_prefix('$').unwrap_or(name);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:/-".contains(&b);
        let good = (1..=255).contains(&name.len())
            && plain.bytes().all(allowed)
            && plain.split('/').all(|s| !matches!(s, "" | "." | ".."));
        if !good {
            return Err(Problem::bad_request(
                "topic",
                "a topic is 1 to 255 bytes of A-Z a-z 0-9 . _ : / -, its segments between / not empty, . or ..",
            ));
        }
        Ok(Topic(name.into()))
    }

    /// Whether only the server itself may publish to it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$') || self.is_of_collection()
    }

    /// Whether others may publish to it.
    ///
    /// # Errors
    /// 403 when they may not.
    pub fn check_unreserved(&self) -> Result<(), Problem> {
        if self.is_reserved() {
            let detail = format!("{RESERVED}; publish to another");
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "reserved-topic",
                detail,
            ));
        }
        Ok(())
    }

    /// The topic that tells the changes of the collection with this name.
    ///
    /// # Errors
    /// 400 for what is no name of a topic.
    pub fn of_collection(name: &str) -> Result<Topic, Problem> {
        Topic::new(&format!("{COLLECTION}{name}"))
    }

    /// Whether it tells the changes of a collection, which are kept like what others publish.
    pub fn is_of_collection(&self) -> bool {
        self.0.starts_with(COLLECTION)
    }

    /// The topic that tells some of the changes of a collection; what they have in common is in the name.
    ///
    /// # Errors
    /// 400 for what is no name of a topic.
    pub fn of_watch(name: &str) -> Result<Topic, Problem> {
        Topic::new(&format!("{WATCH}{name}"))
    }

    /// Whether it tells some of the changes of a collection.
    pub fn is_of_watch(&self) -> bool {
        self.0.starts_with(WATCH)
    }

    /// The topic that tells the results of the query with this name.
    ///
    /// # Errors
    /// 400 for what is no name of a topic.
    pub fn of_query(name: &str) -> Result<Topic, Problem> {
        Topic::new(&format!("{QUERY}{name}"))
    }

    /// Whether it tells the results of a query: its events say of themselves which.
    pub fn is_of_query(&self) -> bool {
        self.0.starts_with(QUERY)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const QUERY: &str = "$query/";
const COLLECTION: &str = "collections/";
const WATCH: &str = "$watch/";

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event's type, as `addEventListener` names it; the default, `message`, is never written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventType(Option<Arc<str>>);

impl EventType {
    /// Checks a type as a peer gave it: 1 to 64 bytes of `[A-Za-z0-9._:/-]`.
    ///
    /// # Errors
    /// A 400 for other characters and for the names that the wires use themselves.
    pub fn new(name: &str) -> Result<EventType, Problem> {
        if name == "message" {
            return Ok(EventType(None));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:/-".contains(&b);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(Problem::bad_request(
                "type",
                "a type is 1 to 64 bytes of A-Z a-z 0-9 . _ : / -",
            ));
        }
        if matches!(name, "ready" | "gap" | "busy" | "open" | "error") {
            return Err(Problem::bad_request(
                "type",
                "ready, gap, busy, open and error are the wires' own; choose another type",
            ));
        }
        Ok(EventType(Some(name.into())))
    }

    /// The name, or `None` when it is `message`.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// What an event carries: text, or a JSON value that is kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    text: Bytes,
    json: bool,
}

impl Payload {
    /// Takes UTF-8 text.
    ///
    /// # Errors
    /// A 400 when the bytes are not UTF-8.
    pub fn text(bytes: Bytes) -> Result<Payload, Problem> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Payload {
                text: bytes,
                json: false,
            }),
            Err(error) => Err(Problem::bad_request(
                "payload",
                format!("the payload is not UTF-8: {error}"),
            )),
        }
    }

    /// Takes one JSON value and keeps it as it is written.
    ///
    /// # Errors
    /// A 400 with the place of the first mistake.
    pub fn json(bytes: Bytes) -> Result<Payload, Problem> {
        match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
            // serde_json checks UTF-8 only inside strings that it keeps.
            Ok(_) => Ok(Payload {
                json: true,
                ..Payload::text(bytes)?
            }),
            Err(error) => Err(Problem::bad_request(
                "payload",
                format!("the payload is not JSON: {error}"),
            )),
        }
    }

    /// JSON that was read as such.
    pub fn of_raw(json: &RawValue) -> Payload {
        Payload {
            text: Bytes::copy_from_slice(json.get().as_bytes()),
            json: true,
        }
    }

    /// The bytes as they were published, always UTF-8.
    pub fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// Whether it was published as JSON, and so is embedded and not quoted.
    pub fn is_json(&self) -> bool {
        self.json
    }
}

/// An event that is not in a log yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where it goes.
    pub topic: Topic,
    /// What kind it is.
    pub event_type: EventType,
    /// What it says.
    pub payload: Payload,
}

/// What the events of one log share.
#[derive(Debug)]
pub struct Origin {
    /// The replica's name as a JSON string, quotes included.
    pub server_json: String,
    /// Bytes that encoded framings hold now; the log's bound counts them.
    pub framed: AtomicU64,
}

impl Origin {
    fn hold(&self, bytes: &Bytes) {
        self.framed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    fn release(&self, bytes: &Bytes) {
        self.framed.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
    }
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// An SSE block whose data is the payload (WHATWG HTML, 9.2.5).
    Sse,
    /// The same block as a chunk of HTTP/1.1 (RFC 9112, 7.1).
    SseChunk,
    /// An SSE block whose data is `{"server","topic","type","data"}`.
    Envelope,
    /// The same block as a chunk of HTTP/1.1.
    EnvelopeChunk,
    /// An SSE block for readers of many things: data is `{"topic","type","data"}`, or the payload of a query's event,
    /// which says itself what it is of.
    Stream,
    /// The same block as a chunk of HTTP/1.1.
    StreamChunk,
    /// One JSON object: `{"id","topic","type","data"}`.
    Json,
    /// The same object as a text frame of a WebSocket server (RFC 6455, 5.2).
    Message,
}

impl Framing {
    /// Bytes of a piece without what HTTP/1.1 puts around it.
    pub fn content(self, piece: &Bytes) -> usize {
        match self {
            Framing::SseChunk | Framing::EnvelopeChunk | Framing::StreamChunk => {
                piece.len() - frame::around(piece)
            }
            _ => piece.len(),
        }
    }
}

/// Events in one piece, for all readers that get just these. Counted as framings are.
#[derive(Debug)]
pub struct Run {
    /// How they are written.
    pub framing: Framing,
    /// All of them.
    pub bytes: Bytes,
    /// Bytes without what HTTP/1.1 puts around each.
    pub content: usize,
    /// What is counted, unless these are the bytes of a single event.
    origin: Option<Arc<Origin>>,
}

impl Run {
    /// Joins events of one log.
    pub fn of(events: &[Arc<Event>], framing: Framing) -> Run {
        let pieces: Vec<Bytes> = events.iter().map(|e| e.framed(framing)).collect();
        let content = pieces.iter().map(|piece| framing.content(piece)).sum();
        let (bytes, origin) = match (&*pieces, events) {
            ([only], _) => (only.clone(), None),
            (_, events) => (
                Bytes::from(pieces.concat()),
                events.first().map(|e| e.origin.clone()),
            ),
        };
        origin.iter().for_each(|origin| origin.hold(&bytes));
        Run {
            framing,
            bytes,
            content,
            origin,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(origin) = &self.origin {
            origin.release(&self.bytes);
        }
    }
}

/// One entry of the log.
#[derive(Debug)]
pub struct Event {
    /// Its id, which is also the cursor just after it; [`EventId::ZERO`] of what is in no log.
    pub id: EventId,
    /// Its place in the log, without holes; only compared, never shown.
    pub seq: u64,
    /// What was published.
    pub draft: Draft,
    origin: Arc<Origin>,
    sse: OnceLock<Bytes>,
    envelope: OnceLock<Bytes>,
    stream: OnceLock<Bytes>,
    message: OnceLock<Bytes>,
}

impl Event {
    /// Gives a draft its place.
    pub fn new(id: EventId, seq: u64, draft: Draft, origin: Arc<Origin>) -> Event {
        Event {
            id,
            seq,
            draft,
            origin,
            sse: OnceLock::new(),
            envelope: OnceLock::new(),
            stream: OnceLock::new(),
            message: OnceLock::new(),
        }
    }

    /// Whether it is in a log, and so has an id.
    pub fn is_logged(&self) -> bool {
        self.id != EventId::ZERO
    }

    /// The same event with framings of its own.
    pub fn twin(&self) -> Event {
        Event::new(self.id, self.seq, self.draft.clone(), self.origin.clone())
    }

    /// Bytes that this event holds, framings aside: what it says and what it costs to keep.
    pub fn held_bytes(&self) -> u64 {
        // The struct, its reference counts, and the log's pointers to it.
        const OVERHEAD: usize = size_of::<Event>() + 64;
        (self.draft.payload.bytes().len() + OVERHEAD) as u64
    }

    /// The event as it is written, in bytes that all readers share.
    pub fn framed(&self, framing: Framing) -> Bytes {
        match framing {
            Framing::Sse => frame::unchunked(&self.framed(Framing::SseChunk)),
            Framing::Envelope => frame::unchunked(&self.framed(Framing::EnvelopeChunk)),
            Framing::SseChunk => self.once(&self.sse, || frame::chunk(&frame::sse(self))),
            Framing::EnvelopeChunk => self.once(&self.envelope, || {
                frame::chunk(&frame::sse_envelope(self, &self.origin.server_json))
            }),
            Framing::Stream => frame::unchunked(&self.framed(Framing::StreamChunk)),
            Framing::StreamChunk if self.draft.topic.is_of_query() => {
                self.framed(Framing::SseChunk)
            }
            Framing::StreamChunk => {
                self.once(&self.stream, || frame::chunk(&frame::sse_stream(self)))
            }
            Framing::Json => frame::unframed(&self.framed(Framing::Message)),
            Framing::Message => self.once(&self.message, || frame::message(&frame::json(self))),
        }
    }

    fn once(&self, cell: &OnceLock<Bytes>, encode: impl FnOnce() -> Vec<u8>) -> Bytes {
        let bytes = cell.get_or_init(|| {
            let bytes = Bytes::from(encode());
            self.origin.hold(&bytes);
            bytes
        });
        bytes.clone()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let framings = [&self.sse, &self.envelope, &self.stream, &self.message];
        let framings = framings.into_iter().filter_map(OnceLock::get);
        framings.for_each(|bytes| self.origin.release(bytes));
    }
}
