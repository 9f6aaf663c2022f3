//! What a stream tells its reader, whichever wire carries it and whoever wrote the server.

use std::fmt;

use super::Result;

/// How a server words its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// triwire's: a stream says when it is ready and what it left out, and events have ids.
    Own,
    /// Payloads and no more. A stream is ready when it is answered; ids are as each peer likes, or missing.
    Payloads,
}

/// One message of a stream.
#[derive(Debug)]
pub enum Note<'a> {
    /// The request was answered; events may follow.
    Open,
    /// What the stream begins with, by its own word.
    Ready,
    /// So many events were left out.
    Gap {
        /// Zero where the server does not know.
        missed: u64,
    },
    /// An event.
    Event {
        /// None where a peer gives none.
        id: Option<Id>,
        /// Its data.
        payload: &'a [u8],
    },
}

/// An event's id, `<ms>-<n>`, which orders the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64, pub u64);

impl Note<'_> {
    /// A gap notice, as every wire writes it in JSON.
    pub fn gap(notice: &serde_json::Value) -> Note<'static> {
        Note::Gap {
            missed: notice["missed"].as_u64().unwrap_or(0),
        }
    }
}

impl Dialect {
    /// What a note means to a reader.
    pub(super) fn read(self, note: Note) -> Result<Note> {
        Ok(match (self, note) {
            (Dialect::Own, Note::Event { id: None, .. }) => {
                return Err("an event without an id".into());
            }
            (Dialect::Payloads, Note::Open) => Note::Ready,
            (Dialect::Payloads, Note::Event { payload, .. }) => Note::Event { id: None, payload },
            (_, note) => note,
        })
    }
}

impl Id {
    /// Reads one; nothing when it is none.
    pub fn parse(text: &[u8]) -> Option<Id> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let (ms, n) = decimal(&text[..dash]).zip(decimal(&text[dash + 1..]))?;
        Some(Id(ms, n))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// A number of digits only. Written out, because it runs four times for each delivery.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(value));
    }
    Some(number)
}
