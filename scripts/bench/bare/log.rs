//! What was published to the bare loop: numbered, kept for a moment, and encoded once for all peers.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use super::encode;
use triwire::load::note::Id;

/// Events that a long poll may still ask for.
const KEPT: usize = 256;

#[derive(Default)]
pub struct Log {
    last: Id,
    kept: VecDeque<Event>,
    /// How many of the last ones have not been written yet.
    fresh: usize,
}

struct Event {
    id: Id,
    payload: String,
}

/// What one write carries, an event or several, in the bytes of each wire.
#[derive(Default)]
pub struct Bytes {
    pub chunks: Vec<u8>,
    pub frames: Vec<u8>,
    pub blocks: Vec<u8>,
    pub answer: Vec<u8>,
}

impl Log {
    pub fn append(&mut self, payload: &str) -> Id {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since_1970.map_or(0, |time| time.as_millis() as u64);
        let Id(ms, n) = self.last;
        self.last = if now > ms { Id(now, 0) } else { Id(ms, n + 1) };
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Event {
            id: self.last,
            payload: payload.to_owned(),
        });
        self.fresh += 1;
        self.last
    }

    pub fn cursor(&self) -> Id {
        self.last
    }

    /// The answer to a poll, unless it must wait.
    pub fn poll(&self, after: Option<Id>) -> Option<Vec<u8>> {
        let Some(after) = after else {
            return Some(encode::poll_answer(self.last, ""));
        };
        let events: Vec<String> = self
            .kept
            .iter()
            .filter(|event| event.id > after)
            .map(Event::json)
            .collect();
        (!events.is_empty()).then(|| encode::poll_answer(self.last, &events.join(",")))
    }

    /// What is to be written now: each event by itself, or all in one.
    pub fn take_fresh(&mut self, join: bool) -> Vec<Bytes> {
        let start = self.kept.len() - self.fresh.min(KEPT);
        self.fresh = 0;
        let events: Vec<&Event> = self.kept.range(start..).collect();
        let at_once = if join { KEPT } else { 1 };
        events.chunks(at_once).map(Bytes::of).collect()
    }
}

impl Event {
    fn json(&self) -> String {
        format!(
            r#"{{"id":"{}","topic":"bench","data":"{}"}}"#,
            self.id, self.payload
        )
    }
}

impl Bytes {
    fn of(events: &[&Event]) -> Bytes {
        let mut bytes = Bytes::default();
        let mut objects = Vec::new();
        for event in events {
            let block = format!("id: {}\ndata: {}\n\n", event.id, event.payload);
            encode::chunk(&mut bytes.chunks, &block);
            bytes.blocks.extend_from_slice(block.as_bytes());
            let json = event.json();
            encode::text(&mut bytes.frames, &json);
            objects.push(json);
        }
        let cursor = events.last().map(|event| event.id).unwrap_or_default();
        bytes.answer = encode::poll_answer(cursor, &objects.join(","));
        bytes
    }
}
