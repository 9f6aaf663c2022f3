//! What is in an entry of the events' stream: a batch of events that were published together, as one JSON object.
//!
//! `{"by":"…","n":12,"key":"…","events":[{"topic":"a","type":"T","data":…},{"topic":"b","text":"…"}]}`: `data` is JSON, kept
//! byte for byte, `text` is text. Only `events` must be there, so that any program can append one.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::event::{Draft, EventType, Payload, Topic};
use crate::problem::Problem;

#[derive(Serialize, Deserialize)]
struct Said<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    by: Option<Cow<'a, str>>,
    #[serde(default)]
    n: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Event<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    to: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    word: Option<&'a RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(
        borrow,
        rename = "type",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    kind: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "there"
    )]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
}

/// `null` is a payload too.
fn there<'a, D: Deserializer<'a>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Bytes of the name of who appends, and of an idempotency key: both are remembered.
const BY: usize = 256;
const KEY: usize = 1_024;

/// An entry, read.
#[derive(Debug)]
pub struct Published {
    /// Who appended it, and the number that it gave to it: it may be there twice, when the first answer was lost.
    pub by: Option<(String, u64)>,
    /// What is in it.
    pub what: What,
}

/// What an entry is for.
#[derive(Debug)]
pub enum What {
    /// These are published, never nothing, by this idempotency key.
    Events(Option<String>, Vec<Draft>),
    /// To the part of this name on all replicas, as JSON.
    Word(String, String),
}

/// Writes one.
pub fn write(by: &str, n: u64, key: Option<&str>, drafts: &[Draft]) -> Bytes {
    let events = drafts.iter().map(|draft| {
        let text = std::str::from_utf8(draft.payload.bytes()).expect("a payload is UTF-8");
        let (data, text) = match draft.payload.is_json() {
            true => (Some(as_raw(text)), None),
            false => (None, Some(Cow::from(text))),
        };
        Event {
            topic: draft.topic.as_str().into(),
            kind: draft.event_type.name().map(Cow::from),
            data,
            text,
        }
    });
    let said = Said {
        by: Some(by.into()),
        n,
        key: key.map(Cow::from),
        events: events.collect(),
        to: None,
        word: None,
    };
    said.bytes()
}

/// Writes a word, which is JSON, to a part of all replicas.
pub fn write_word(by: &str, n: u64, to: &str, word: &RawValue) -> Bytes {
    let said = Said {
        by: Some(by.into()),
        n,
        key: None,
        events: Vec::new(),
        to: Some(to.into()),
        word: Some(word),
    };
    said.bytes()
}

impl Said<'_> {
    fn bytes(&self) -> Bytes {
        let json = serde_json::to_vec(self).expect("strings and JSON become JSON");
        json.into()
    }
}

fn as_raw(json: &str) -> &RawValue {
    serde_json::from_str(json).expect("it was taken as JSON")
}

/// Reads one.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Published, Problem> {
    let malformed = |error: &dyn std::fmt::Display| {
        Problem::bad_request("entry", format!("it is no batch of events: {error}"))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
    let said: Said = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    if said.by.as_ref().is_some_and(|by| by.len() > BY) {
        return Err(malformed(&format_args!("by is more than {BY} bytes")));
    }
    if said.key.as_ref().is_some_and(|key| key.len() > KEY) {
        return Err(malformed(&format_args!("key is more than {KEY} bytes")));
    }
    let what = match (said.to, said.word) {
        (Some(to), Some(word)) if said.events.is_empty() => {
            What::Word(to.into_owned(), word.get().to_owned())
        }
        (None, None) if !said.events.is_empty() => {
            let drafts: Result<Vec<Draft>, Problem> = said.events.into_iter().map(draft).collect();
            What::Events(said.key.map(Cow::into_owned), drafts?)
        }
        _ => return Err(malformed(&"it has no events")),
    };
    Ok(Published {
        by: said.by.map(|by| (by.into_owned(), said.n)),
        what,
    })
}

fn draft(event: Event) -> Result<Draft, Problem> {
    let topic = Topic::new(&event.topic)?;
    topic.check_unreserved()?;
    let payload = match (event.data, event.text) {
        (Some(json), None) => Payload::of_raw(json),
        (None, Some(text)) => Payload::text(Bytes::from(text.into_owned()))?,
        _ => {
            let detail = "an event has data, which is JSON, or text";
            return Err(Problem::bad_request("entry", detail));
        }
    };
    let event_type = event.kind.map(|kind| EventType::new(&kind)).transpose()?;
    Ok(Draft {
        topic,
        event_type: event_type.unwrap_or_default(),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let draft = |topic: &str, kind: &str, payload| Draft {
            topic: Topic::new(topic).expect("a topic"),
            event_type: EventType::new(kind).expect("a type"),
            payload,
        };
        let json = Payload::json(Bytes::from_static(
            b"{ \"a\" : [1, 2.0e3],\n\"b\":\"\\u00e9\" }",
        ));
        let text = Payload::text(Bytes::from("a \"text\"\r\nof two lines \u{202e}"));
        let drafts = [
            draft("a/b", "message", json.expect("JSON")),
            draft("c", "T", text.expect("text")),
            draft(
                "d",
                "T",
                Payload::json(Bytes::from_static(b"null")).expect("JSON"),
            ),
        ];
        let read = read(&write("me", 7, Some("k"), &drafts)).expect("it is well-formed");
        assert_eq!(read.by, Some(("me".to_owned(), 7)));
        let What::Events(key, read) = read.what else {
            panic!("they are events");
        };
        assert_eq!(key.as_deref(), Some("k"));
        assert_eq!(read.len(), 3);
        for (read, written) in read.iter().zip(&drafts) {
            assert_eq!(read.topic, written.topic);
            assert_eq!(read.event_type, written.event_type);
            assert_eq!(read.payload, written.payload);
        }
    }

    #[test]
    fn a_word_is_read_as_it_was_written() {
        let word = as_raw(r#"{ "a": 1 }"#);
        let read = read(&write_word("me", 7, "live", word)).expect("it is well-formed");
        assert_eq!(read.by, Some(("me".to_owned(), 7)));
        let What::Word(to, read) = read.what else {
            panic!("it is a word");
        };
        assert_eq!((&*to, &*read), ("live", word.get()));
    }

    #[test]
    fn any_program_can_write_one() {
        let read = read(br#"{"events":[{"topic":"a","data":1}]}"#).expect("it is well-formed");
        assert_eq!(read.by, None);
        let What::Events(_, drafts) = read.what else {
            panic!("they are events");
        };
        assert_eq!(drafts[0].payload.bytes(), "1");
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "",
            "x",
            "{}",
            r#"{"events":[]}"#,
            r#"{"events":[{"topic":"a"}]}"#,
            r#"{"events":[{"topic":"a","data":1,"text":"b"}]}"#,
            r#"{"events":[{"topic":"$stats","data":1}]}"#,
            r#"{"events":[{"topic":"a b","data":1}]}"#,
            r#"{"events":[{"topic":"a","type":"gap","data":1}]}"#,
            r#"{"events":[{"topic":"a","data":{]}]}"#,
            r#"{"to":"live"}"#,
            r#"{"word":{}}"#,
            r#"{"to":"live","word":{},"events":[{"topic":"a","data":1}]}"#,
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        for (member, most) in [("by", BY), ("key", KEY)] {
            let of = |count: usize| {
                let long = "x".repeat(count);
                format!(r#"{{"{member}":"{long}","events":[{{"topic":"a","data":1}}]}}"#)
            };
            assert!(read(of(most).as_bytes()).is_ok());
            assert!(read(of(most + 1).as_bytes()).is_err());
        }
        assert!(read(b"{\"events\":[{\"topic\":\"a\",\"data\":\"\xff\"}]}").is_err());
    }
}
