//! What a reader is asked and what it says: where to start, what to do about losses, and what comes next.

use std::sync::Arc;

use serde_json::json;

use crate::event::{Event, EventId, Topic};

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the head: only what is published from now on.
    Head,
    /// After a cursor; [`EventId::ZERO`] is the oldest retained, without a gap notice.
    After(EventId),
    /// After a cursor that cannot be read: all that is retained, and what was before counts as lost.
    Unknown,
}

/// What a reader does when events that it has not read have fallen off the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// A gap notice, then on from the oldest retained.
    #[default]
    Gap,
    /// Gap notices, then the newest event of each topic.
    Latest,
    /// A gap notice and the end; a resume behaves as [`Lag::Gap`].
    Close,
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The cursor it came with is below what is retained, or what comes after it was never there to be told.
    Expired,
    /// It read too slowly while it was connected.
    Lagged,
    /// The relay, which carries events between replicas, has lost it, or let it go before it came here.
    Relay,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Reason::Expired => "expired",
            Reason::Lagged => "lagged",
            Reason::Relay => "relay",
        }
    }
}

/// A notice that events of a topic are, or may be, lost for this reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The topic.
    pub topic: Topic,
    /// Why.
    pub reason: Reason,
    /// The reader's cursor; `None` when it could not be read.
    pub after: Option<EventId>,
    /// Where it goes on: the topic's next event is greater.
    pub resumed_at: EventId,
    /// How many events, where that is known.
    pub missed: Option<u64>,
    /// A cursor that goes on without a further loss, when the stream ends with this notice.
    pub go_on: Option<EventId>,
}

impl Gap {
    /// The notice as every wire writes it; `kind` is the WebSocket's `type` member.
    pub fn json(&self, kind: Option<&str>) -> String {
        let mut object = json!({
            "topic": self.topic.as_str(),
            "reason": self.reason.as_str(),
            "after": self.after.map(|id| id.to_string()),
            "resumed_at": self.resumed_at.to_string(),
            "missed": self.missed,
        });
        if let Some(kind) = kind {
            object["type"] = kind.into();
        }
        object.to_string()
    }
}

/// Why a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has had the events that it asked for.
    Limit,
    /// It lagged, and asked to be closed then.
    Lagged,
    /// The server is draining.
    Drain,
    /// What it followed is no more.
    Deleted,
}

/// What comes next on a stream.
#[derive(Clone, Debug)]
pub enum Next {
    /// An event, shared by all its readers; one without an id ([`Event::is_logged`]) moves no cursor.
    Event(Arc<Event>),
    /// Something is missing here.
    Gap(Gap),
    /// Nothing comes any more.
    End(End),
}
