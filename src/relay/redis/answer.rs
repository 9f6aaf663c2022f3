//! What a Redis server answers, read.

use bytes::Bytes;
use redis::Value;

use super::FIELD;
use crate::event::Place;
use crate::relay::{Entry, Fault};

/// The greatest number of a millisecond that has an id.
const MOST: u64 = (1 << 40) - 1;

/// Where a stream begins and ends.
pub(super) struct Ends {
    /// The oldest entry that is retained.
    pub(super) first: Option<Place>,
    /// The place before the oldest entry that is retained, if something was let go.
    pub(super) floor: Option<Place>,
    pub(super) last: Place,
}

impl Ends {
    pub(super) fn of(info: &Value) -> Result<Ends, Fault> {
        let members = list(info);
        let member = |name: &str| {
            let pairs = members.chunks(2);
            let found = pairs.filter(|pair| text(&pair[0]).as_deref() == Some(name));
            found.filter_map(|pair| pair.get(1)).next()
        };
        let number = |name| {
            member(name)
                .and_then(text)
                .and_then(|t| t.parse::<u64>().ok())
        };
        let last = member("last-generated-id").and_then(place);
        let last =
            last.ok_or_else(|| Fault::lasting("it does not answer as a Redis server does"))?;
        let first = member("first-entry")
            .map(list)
            .and_then(|entry| entry.first());
        let first = first.and_then(place);
        // Before Redis 7 nobody counts what was let go: what can not be ruled out counts as lost.
        let is_whole = number("entries-added").is_some_and(|all| Some(all) == number("length"));
        let floor = match (is_whole, first) {
            (true, _) => None,
            (false, Some(first)) => Some(before(first)),
            (false, None) => Some(last),
        };
        Ok(Ends { first, floor, last })
    }
}

/// Those of a stream's answer; none is `nil`.
pub(super) fn entries(answer: &Value) -> Result<Vec<Entry>, Fault> {
    let Some(stream) = list(answer).first() else {
        return Ok(Vec::new());
    };
    let [_, found] = list(stream) else {
        return Err(Fault::lasting("it does not answer as a Redis server does"));
    };
    read(found)
}

/// Entries, as they stand in an answer.
pub(super) fn read(found: &Value) -> Result<Vec<Entry>, Fault> {
    let entry = |entry: &Value| {
        let [id, fields] = list(entry) else {
            return None;
        };
        let pairs = list(fields).chunks_exact(2);
        let bytes = pairs
            .filter(|pair| text(&pair[0]).as_deref() == Some(FIELD))
            .find_map(|pair| match &pair[1] {
                Value::BulkString(bytes) => Some(Bytes::copy_from_slice(bytes)),
                _ => None,
            });
        Some(Entry {
            place: place(id)?,
            bytes: bytes.unwrap_or_default(),
        })
    };
    let all: Option<Vec<Entry>> = list(found).iter().map(entry).collect();
    all.ok_or_else(|| Fault::lasting("an entry of the stream has an id that is none of Redis"))
}

pub(super) fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        _ => &[],
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn place(value: &Value) -> Option<Place> {
    let text = text(value)?;
    let (ms, number) = text.split_once('-')?;
    Some(Place {
        ms: ms.parse().ok()?,
        number: number.parse().ok()?,
    })
}

/// The place just before this one.
fn before(place: Place) -> Place {
    match place.number.checked_sub(1) {
        Some(number) => Place { number, ..place },
        None => Place {
            ms: place.ms.saturating_sub(1),
            number: MOST,
        },
    }
}
