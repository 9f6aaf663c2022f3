//! What a reader gets, whatever carries it; and the shapes of JSON that carry it, read strictly: a member too many
//! or too few is a failure.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A place in the log, as the tests know it: two numbers that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64, pub u64);

impl Id {
    pub const ZERO: Id = Id(0, 0);
    /// Beyond every head.
    pub const MAX: Id = Id(u64::MAX, 0);
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Id, String> {
        let number = |part: &str| part.parse::<u64>().ok();
        let id = text
            .split_once('-')
            .and_then(|(ms, n)| Some(Id(number(ms)?, number(n)?)));
        // Written out again it is the same: no sign, no leading nought.
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| format!("{text:?} is not an id"))
    }
}

/// One thing that a stream yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Ready {
        cursor: Id,
        server: Option<String>,
    },
    Event(Event),
    /// What a subscription tells in front of the events: an event without an id, which is [`Id::ZERO`] here.
    Present(Event),
    Gap(Gap),
    Busy {
        reason: String,
    },
    Heartbeat,
    /// A WebSocket's `$ack`, `$error` or `$reply`.
    Answer(Value),
    End(End),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Id,
    /// SSE says it only in the envelope, which these readers take for data.
    pub topic: Option<String>,
    pub kind: String,
    pub data: Data,
}

/// What an event carries, as the wire had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// The `data` of SSE.
    Lines(String),
    /// A JSON value, byte for byte.
    Json(String),
}

impl Data {
    /// The text that was published, if it has no line ends that SSE would change.
    pub fn text(&self) -> String {
        match self {
            Data::Lines(text) => text.clone(),
            Data::Json(json) => serde_json::from_str(json).expect("published as text"),
        }
    }

    /// Whether this is what a text looks like here: SSE ends every line with LF.
    pub fn is_text(&self, text: &str) -> bool {
        match self {
            Data::Lines(lines) => *lines == text.replace("\r\n", "\n").replace('\r', "\n"),
            Data::Json(json) => serde_json::from_str(json).is_ok_and(|t: String| t == text),
        }
    }

    /// Whether this is what a JSON document looks like here: embedded byte for byte (on SSE but for its line ends),
    /// where the reader of the JSON around it does not see blanks before and after.
    pub fn is_json(&self, document: &str) -> bool {
        match self {
            Data::Lines(_) => self.is_text(document),
            Data::Json(json) => json == document.trim(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub topic: String,
    pub reason: String,
    pub after: Option<Id>,
    pub resumed_at: Id,
    pub missed: Option<u64>,
    /// The `id:` of the block, where the notice ends an SSE stream.
    pub go_on: Option<Id>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The body of SSE ended, after a whole block.
    Body,
    /// The WebSocket closed, with code and reason.
    Close(u16, String),
    /// The polls have had what `limit` asked for.
    Answered,
    /// The connection broke.
    Cut(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventJson<'a> {
    id: Option<&'a str>,
    topic: &'a str,
    r#type: Option<&'a str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GapJson {
    r#type: Option<String>,
    topic: String,
    reason: String,
    #[serde(deserialize_with = "present")]
    after: Option<String>,
    resumed_at: String,
    #[serde(deserialize_with = "present")]
    missed: Option<u64>,
}

/// A member that may be null, but not absent.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadyJson {
    r#type: Option<String>,
    cursor: String,
    server: String,
}

impl From<Event> for Message {
    fn from(event: Event) -> Message {
        match event.id {
            Id::ZERO => Message::Present(event),
            _ => Message::Event(event),
        }
    }
}

/// `{"id","topic","type","data"}`, or the same without an id.
pub fn event(json: &str) -> Result<Event, String> {
    let event: EventJson = serde_json::from_str(json).map_err(|e| format!("{e}: {json}"))?;
    if event.r#type == Some("message") {
        return Err(format!("a type that is message is left out: {json}"));
    }
    Ok(Event {
        id: event.id.map_or(Ok(Id::ZERO), str::parse)?,
        topic: Some(event.topic.to_owned()),
        kind: event.r#type.unwrap_or("message").to_owned(),
        data: Data::Json(event.data.get().to_owned()),
    })
}

/// A gap notice; `kind` is the `type` that it has to have.
pub fn gap(json: &str, kind: Option<&str>) -> Result<Gap, String> {
    let gap: GapJson = serde_json::from_str(json).map_err(|e| format!("{e}: {json}"))?;
    if gap.r#type.as_deref() != kind || !["expired", "lagged", "relay"].contains(&&*gap.reason) {
        return Err(format!("not a gap notice: {json}"));
    }
    Ok(Gap {
        topic: gap.topic,
        reason: gap.reason,
        after: gap.after.map(|id| id.parse()).transpose()?,
        resumed_at: gap.resumed_at.parse()?,
        missed: gap.missed,
        go_on: None,
    })
}

/// The first message; `kind` is the `type` that it has to have.
pub fn ready(json: &str, kind: Option<&str>) -> Result<Message, String> {
    let ready: ReadyJson = serde_json::from_str(json).map_err(|e| format!("{e}: {json}"))?;
    if ready.r#type.as_deref() != kind {
        return Err(format!("not a ready message: {json}"));
    }
    Ok(Message::Ready {
        cursor: ready.cursor.parse()?,
        server: Some(ready.server),
    })
}
