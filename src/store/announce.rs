//! Tells changes: each is one event on its collection's topic, in the order in which they were committed.

use std::sync::Arc;

use super::write::Change;
use crate::event::{Draft, EventId, EventType, Payload};
use crate::log::Log;

/// Appends changes to the log.
pub struct Announcer {
    log: Arc<Log>,
    /// What an event carries at most, if it can carry less.
    event_bytes: usize,
}

impl Announcer {
    /// Tells in this log; a patch is left out of an event that it would make larger than `event_bytes`.
    pub fn new(log: Arc<Log>, event_bytes: usize) -> Arc<Announcer> {
        Arc::new(Announcer { log, event_bytes })
    }

    /// The newest id: what is announced from now on has a greater one.
    pub fn head(&self) -> EventId {
        self.log.head()
    }

    /// Tells of changes that are committed, in this order and with nothing in between; returns the id of each one's
    /// event. One at a time: whoever calls it from several threads must order the calls as the commits.
    pub fn announce(&self, changes: &[Change]) -> Vec<EventId> {
        let drafts: Vec<Draft> = changes.iter().map(|change| self.draft(change)).collect();
        if drafts.is_empty() {
            return Vec::new();
        }
        let done = self.log.append_all(drafts, None);
        let done = done.expect("the server's own topics are never one too many");
        // They were appended at one time, one after the other.
        let following = |id: &EventId| Some(id.next(id.ms));
        std::iter::successors(Some(done.first), following)
            .take(done.count)
            .collect()
    }

    fn draft(&self, change: &Change) -> Draft {
        let mut text = format!(
            r#"{{"id":{},"version":{}"#,
            change.id.json(),
            change.version
        );
        let mut add = |name: &str, json: &[u8], most: usize| {
            if let Ok(json) = std::str::from_utf8(json)
                && text.len() + json.len() < most
            {
                text.push_str(&format!(r#","{name}":{json}"#));
            }
        };
        if let Some(document) = &change.document {
            add("document", document, usize::MAX);
        }
        if let Some(patch) = &change.patch {
            add("patch", patch, self.event_bytes.saturating_sub(16));
        }
        text.push('}');
        Draft {
            topic: change.collection.topic(),
            event_type: EventType::new(change.kind.as_str()).expect("a good name"),
            payload: Payload::json(text.into()).expect("it was made of JSON"),
        }
    }
}
