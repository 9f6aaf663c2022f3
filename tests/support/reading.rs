//! Readers of a log in this process, without a connection; and what is published and read there: texts, nearly always on
//! one topic.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;

use triwire::bundle::Bell;
use triwire::counts::{Connection, Counts, ListenerFacts, Seat, WireName};
use triwire::event::{Draft, EventId, EventType, Payload, Topic};
use triwire::log::{Lag, Log, Next, Reader, Start};

pub fn reader(log: &Arc<Log>, start: Start) -> Reader {
    let mut reader = fresh(log);
    reader.begin(&[topic()], start).expect("it is one topic");
    reader
}

/// One that reads nothing yet.
pub fn fresh(log: &Arc<Log>) -> Reader {
    Reader::new(log, 0, Bell::alone(), seat(), Lag::Gap, None)
}

/// A seat that nobody else counts.
pub fn seat() -> Seat {
    let facts = ListenerFacts {
        name: "http1",
        addr: String::new(),
        tls: false,
        http: "1.1",
    };
    let connection = Connection::new(Counts::new(1, vec![facts]), 0, 0);
    Seat::new(connection, WireName::SseHttp1)
}

/// What a reader has not read: texts, and gaps as JSON.
pub fn rest(reader: &mut Reader) -> Vec<(EventId, String)> {
    let event = |next: Next| match next {
        Next::Event(event) => {
            let text = String::from_utf8_lossy(event.draft.payload.bytes()).into_owned();
            (event.id, text)
        }
        Next::Gap(gap) => (gap.resumed_at, gap.json(None)),
        Next::End(end) => panic!("{end:?}"),
    };
    std::iter::from_fn(|| reader.try_next())
        .map(event)
        .collect()
}

pub fn topic() -> Topic {
    Topic::new("a").expect("a good name")
}

pub fn draft(text: &str) -> Draft {
    draft_of(topic(), text)
}

pub fn draft_of(topic: Topic, text: &str) -> Draft {
    Draft {
        topic,
        event_type: EventType::default(),
        payload: Payload::text(text.to_owned().into()).expect("UTF-8"),
    }
}

pub fn texts(events: &[(EventId, String)]) -> Vec<&str> {
    events.iter().map(|(_, text)| &**text).collect()
}
