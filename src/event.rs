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

use crate::problem::Problem;

/// The place of an event in the log: `<ms>-<n>`, strictly increasing. Also a cursor: "everything up to here".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
                ms: self.ms + 1,
                n: 0,
            },
        }
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
        self.0.starts_with('$')
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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

/// One entry of the log.
#[derive(Debug)]
pub struct Event {
    /// Its id, which is also the cursor just after it.
    pub id: EventId,
    /// Its place in the log, without holes; only compared, never shown.
    pub seq: u64,
    /// What was published.
    pub draft: Draft,
    origin: Arc<Origin>,
    sse: OnceLock<Bytes>,
    envelope: OnceLock<Bytes>,
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
            message: OnceLock::new(),
        }
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

    /// The event as an SSE block whose data is the payload (WHATWG HTML, 9.2.5).
    pub fn sse(&self) -> Bytes {
        frame::unchunked(self.sse_chunk())
    }

    /// The same block as a chunk of HTTP/1.1 (RFC 9112, 7.1).
    pub fn sse_chunk(&self) -> &Bytes {
        self.framed(&self.sse, || frame::chunk(&frame::sse(self)))
    }

    /// The event as an SSE block whose data is `{"server","topic","type","data"}`.
    pub fn sse_envelope(&self) -> Bytes {
        frame::unchunked(self.sse_envelope_chunk())
    }

    /// The same block as a chunk of HTTP/1.1.
    pub fn sse_envelope_chunk(&self) -> &Bytes {
        let server = &self.origin.server_json;
        self.framed(&self.envelope, || {
            frame::chunk(&frame::sse_envelope(self, server))
        })
    }

    /// The event as one JSON object: `{"id","topic","type","data"}`.
    pub fn json(&self) -> Bytes {
        frame::unframed(self.message())
    }

    /// The same object as a text frame of a WebSocket server (RFC 6455, 5.2).
    pub fn message(&self) -> &Bytes {
        self.framed(&self.message, || frame::message(&frame::json(self)))
    }

    fn framed<'a>(&self, cell: &'a OnceLock<Bytes>, encode: impl FnOnce() -> Vec<u8>) -> &'a Bytes {
        cell.get_or_init(|| {
            let bytes = Bytes::from(encode());
            self.origin
                .framed
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            bytes
        })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let framings = [&self.sse, &self.envelope, &self.message];
        let bytes: usize = framings
            .iter()
            .filter_map(|c| c.get())
            .map(Bytes::len)
            .sum();
        if bytes > 0 {
            self.origin
                .framed
                .fetch_sub(bytes as u64, Ordering::Relaxed);
        }
    }
}
