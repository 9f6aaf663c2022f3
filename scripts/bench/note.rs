//! What a stream tells its reader, whichever wire carries it.

use std::fmt;

use crate::Result;

/// One message of a stream.
pub enum Note<'a> {
    Ready,
    Gap { missed: u64 },
    Event { id: Id, payload: &'a [u8] },
}

/// An event's id, `<ms>-<n>`, which orders the log.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub u64, pub u64);

impl Note<'_> {
    /// A gap notice, as every wire writes it in JSON.
    pub fn gap(notice: &serde_json::Value) -> Note<'static> {
        Note::Gap {
            missed: notice["missed"].as_u64().unwrap_or(0),
        }
    }
}

impl Id {
    pub fn parse(text: &[u8]) -> Result<Id> {
        let dash = text
            .iter()
            .position(|&byte| byte == b'-')
            .ok_or("an id without a dash")?;
        let id = decimal(&text[..dash]).zip(decimal(&text[dash + 1..]));
        let (ms, n) = id.ok_or("an id that is not two numbers")?;
        Ok(Id(ms, n))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// A number of digits only. Written out, because it runs four times for each delivery.
pub fn decimal(digits: &[u8]) -> Option<u64> {
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
