//! One stream of events on any transport, for as long as its connection lasts.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::connection::Connection;
use super::failure::{Failure, Fault};
use super::place::{Framing, Place};
use super::sse::{Block, SseParser};
use super::websocket::{Heard, WebSocket};

/// How long a poll is held, in seconds.
const HELD: u64 = 25;

/// What is read.
#[derive(Clone, Debug)]
pub enum Source {
    /// Topics.
    Topics(Vec<String>),
    /// A subscription, by its id.
    Subscription(String),
}

/// What a reader asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What it reads.
    pub source: Source,
    /// Where to start; `None` is the head.
    pub after: Option<String>,
    /// What to do when events are lost: `gap`, `latest` or `close`; `None` is the server's default.
    pub lag: Option<String>,
    /// After how many events to end.
    pub limit: Option<u64>,
    /// After how long with nothing, not even a heartbeat, the connection is given up.
    pub silence: Duration,
}

/// What comes on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The stream is live; nothing after this cursor will be missed.
    Ready {
        /// Where it starts.
        cursor: String,
    },
    /// An event.
    Event {
        /// Its id, which is the cursor after it; a present result, which is not of the log, has none.
        id: Option<String>,
        /// On one line: of topics `{"id","topic","type","data"}`, where `type` is left out when it is `message`; of a
        /// subscription the payload alone.
        json: String,
    },
    /// A gap notice.
    Gap {
        /// Where to go on after it, when the stream ends with it.
        cursor: Option<String>,
        /// The notice on one line, with `"type":"$gap"`.
        json: String,
    },
    /// The server lives.
    Alive,
    /// The server is full, draining or starting, and asks to come back.
    Busy {
        /// After how long.
        retry: Option<Duration>,
        /// In words.
        words: String,
    },
    /// The end of the stream, in words.
    End(String),
}

/// One stream.
pub struct Reader {
    /// Who it reads from, in words.
    server: String,
    ask: Ask,
    wire: Wire,
    /// What has come and was not handed on yet.
    items: VecDeque<Item>,
    /// How long the server asks to wait before coming back.
    retry: Option<Duration>,
}

enum Wire {
    Sse(Incoming, SseParser),
    WebSocket(Box<WebSocket>),
    /// The cursor of the next poll.
    LongPoll(Connection, Option<String>),
}

impl Reader {
    /// Opens a stream.
    ///
    /// # Errors
    /// Whatever stands between, or the server's refusal.
    pub async fn open(place: &Place, ask: Ask) -> Result<Reader, Failure> {
        let wire = match place.framing {
            Framing::Sse => open_sse(place, &ask).await?,
            Framing::WebSocket => {
                let socket = WebSocket::open(place, &path(&ask, Framing::WebSocket)).await?;
                Wire::WebSocket(Box::new(socket))
            }
            Framing::LongPoll => Wire::LongPoll(Connection::open(place).await?, None),
        };
        Ok(Reader {
            server: place.authority.clone(),
            ask,
            wire,
            items: VecDeque::new(),
            retry: None,
        })
    }

    /// How long the server asked to wait before coming back.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The next that comes.
    ///
    /// # Errors
    /// When the connection breaks, is silent for too long, or brings what is none of triwire's.
    pub async fn next(&mut self) -> Result<Item, Failure> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(item);
            }
            match &mut self.wire {
                Wire::Sse(body, parser) => {
                    let frame = timeout(self.ask.silence, body.frame()).await;
                    let frame =
                        frame.map_err(|_| Failure::silent(&self.server, self.ask.silence))?;
                    match frame {
                        Some(Ok(frame)) => {
                            parser.push(frame.data_ref().unwrap_or(&Bytes::new()))?;
                            while let Some(block) = parser.next_block() {
                                let item = item(block, &self.ask.source, &mut self.retry)?;
                                self.items.push_back(item);
                            }
                        }
                        Some(Err(error)) => return Err(Failure::of_hyper(&self.server, &error)),
                        None => return Ok(Item::End(format!("{} ended the stream", self.server))),
                    }
                }
                Wire::WebSocket(socket) => match socket.next(self.ask.silence).await? {
                    Heard::Text(text) => self.items.push_back(frame(text, &self.ask.source)?),
                    Heard::Alive => return Ok(Item::Alive),
                    Heard::Closed(words) => {
                        return Ok(Item::End(format!("{} {words}", self.server)));
                    }
                },
                Wire::LongPoll(connection, cursor) => {
                    let answer = poll(connection, &self.ask, cursor.as_ref()).await?;
                    let first = cursor.is_none();
                    *cursor = Some(answer.cursor.clone());
                    if first {
                        let cursor = self.ask.after.clone().unwrap_or(answer.cursor);
                        self.items.push_back(Item::Ready { cursor });
                    }
                    for notice in answer.gaps {
                        self.items.push_back(gap(notice.get(), None)?);
                    }
                    for event in answer.events {
                        let event = frame(event.get().to_owned(), &self.ask.source)?;
                        self.items.push_back(event);
                    }
                    self.items.push_back(Item::Alive);
                }
            }
        }
    }
}

async fn open_sse(place: &Place, ask: &Ask) -> Result<Wire, Failure> {
    let mut connection = Connection::open(place).await?;
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::ACCEPT, kind);
    let path = path(ask, Framing::Sse);
    let answer = connection
        .send(Method::GET, &path, headers, Bytes::new())
        .await?;
    if answer.status() != StatusCode::OK {
        return Err(connection.refusal(answer).await);
    }
    let said = |name| {
        let value = answer.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap_or("?"))
    };
    let (found, encoding) = (said(header::CONTENT_TYPE), said(header::CONTENT_ENCODING));
    if !found.starts_with("text/event-stream") {
        let words = format!(
            "{} answers with {found:?} and no event stream; is it a triwire server?",
            place.authority
        );
        return Err(Failure::new(Fault::Foreign, words));
    }
    if !encoding.is_empty() {
        let words = format!(
            "{} compresses the stream ({encoding}), which nobody asked for; triwire doctor says more",
            place.authority
        );
        return Err(Failure::new(Fault::Foreign, words));
    }
    Ok(Wire::Sse(answer.into_body(), SseParser::default()))
}

fn path(ask: &Ask, framing: Framing) -> String {
    let mut query = Serializer::new(String::new());
    let path = match (&ask.source, framing) {
        (Source::Subscription(id), _) => format!("/stream/{id}"),
        (_, Framing::LongPoll) => "/poll".to_owned(),
        _ => "/events".to_owned(),
    };
    match &ask.source {
        Source::Topics(topics) => {
            query.extend_pairs(topics.iter().map(|topic| ("topic", topic)));
            // One event says its topic and type in its data, since a stream may have many topics.
            if framing == Framing::Sse {
                query.append_pair("envelope", "1");
            }
        }
        Source::Subscription(_) if framing == Framing::LongPoll => {
            query.append_pair("poll", "1");
        }
        Source::Subscription(_) => {}
    }
    let given = [("after", &ask.after), ("lag", &ask.lag)];
    query.extend_pairs(given.iter().filter_map(|(k, v)| v.as_ref().map(|v| (k, v))));
    // More than a server takes is counted here alone.
    if let Some(limit) = ask.limit.filter(|limit| *limit <= 1_000_000) {
        query.append_pair("limit", &limit.to_string());
    }
    format!("{path}?{}", query.finish())
}

#[derive(Deserialize)]
struct Polled {
    cursor: String,
    gaps: Vec<Box<RawValue>>,
    events: Vec<Box<RawValue>>,
}

async fn poll(
    connection: &mut Connection,
    ask: &Ask,
    cursor: Option<&String>,
) -> Result<Polled, Failure> {
    let mut ask = ask.clone();
    if let Some(cursor) = cursor {
        ask.after = Some(cursor.clone());
    }
    // The first answer says at once that all is well, even when there is nothing to tell.
    let held = if cursor.is_some() { HELD } else { 0 };
    let path = format!("{}&timeout={held}", path(&ask, Framing::LongPoll));
    let answer = connection.read(&path).await?;
    serde_json::from_slice(&answer).map_err(|error| foreign(&error))
}

fn foreign(error: &serde_json::Error) -> Failure {
    let words = format!("what came is none of triwire's ({error}); is it a triwire server?");
    Failure::new(Fault::Foreign, words)
}

#[derive(Deserialize)]
struct ReadyNotice {
    cursor: String,
}

#[derive(Deserialize)]
struct BusyNotice {
    reason: String,
}

#[derive(Deserialize, Serialize)]
struct Envelope<'a> {
    #[serde(skip_deserializing, default)]
    id: String,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What a block of SSE is.
fn item(block: Block, source: &Source, asked: &mut Option<Duration>) -> Result<Item, Failure> {
    let Block::Event {
        id,
        event,
        data,
        retry,
    } = block
    else {
        return Ok(Item::Alive);
    };
    *asked = retry.or(*asked);
    match &*event {
        "ready" => parse::<ReadyNotice>(&data).map(|r| Item::Ready { cursor: r.cursor }),
        "gap" => gap(&data, id),
        "busy" => parse::<BusyNotice>(&data).map(|busy| Item::Busy {
            retry,
            words: format!("the server is {}", busy.reason),
        }),
        _ => {
            let json = match source {
                Source::Subscription(_) => data,
                Source::Topics(_) => {
                    let mut envelope: Envelope = parse(&data)?;
                    envelope.id = id.clone().unwrap_or_default();
                    serde_json::to_string(&envelope).expect("it has string keys")
                }
            };
            let json = on_one_line(json);
            Ok(Item::Event { id, json })
        }
    }
}

/// What a WebSocket frame is, or an event in the answer to a poll.
fn frame(text: String, source: &Source) -> Result<Item, Failure> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        r#type: Option<String>,
        id: Option<String>,
        cursor: Option<String>,
        detail: Option<String>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let frame: Frame = parse(&text)?;
    if let (Source::Subscription(_), Some(data)) = (source, frame.data) {
        let json = on_one_line(data.get().to_owned());
        return Ok(Item::Event { id: frame.id, json });
    }
    match (frame.r#type.as_deref(), frame.id, frame.cursor) {
        (_, Some(id), _) => Ok(Item::Event {
            id: Some(id),
            json: on_one_line(text),
        }),
        (Some("$ready"), _, Some(cursor)) => Ok(Item::Ready { cursor }),
        (Some("$gap"), _, cursor) => Ok(Item::Gap {
            cursor,
            json: on_one_line(text),
        }),
        (Some("$error"), ..) => {
            let words = frame.detail.unwrap_or(text);
            Err(Failure::new(Fault::Foreign, words))
        }
        _ => Ok(Item::Alive),
    }
}

/// A notice of SSE or of a poll, which says its type elsewhere.
fn gap(notice: &str, cursor: Option<String>) -> Result<Item, Failure> {
    let members: serde_json::Map<String, serde_json::Value> = parse(notice)?;
    let mut all = serde_json::Map::new();
    all.insert("type".into(), "$gap".into());
    all.extend(members);
    Ok(Item::Gap {
        cursor,
        json: serde_json::Value::from(all).to_string(),
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| foreign(&error))
}

/// A payload is embedded as it was published, perhaps over several lines; between the tokens of JSON a space is as
/// good, and inside of them there is no line's end.
fn on_one_line(json: String) -> String {
    if !json.contains(['\n', '\r']) {
        return json;
    }
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Source {
        Source::Topics(Vec::new())
    }

    fn event(id: &str, json: &str) -> Item {
        Item::Event {
            id: Some(id.into()),
            json: json.into(),
        }
    }

    #[test]
    fn an_event_is_the_same_on_every_wire() {
        let text = r#"{"id":"1-2","topic":"t","type":"k","data":{"a":1.50}}"#;
        let block = Block::Event {
            id: Some("1-2".into()),
            event: "k".into(),
            data: r#"{"server":"s","topic":"t","type":"k","data":{"a":1.50}}"#.into(),
            retry: None,
        };
        let sse = item(block, &topics(), &mut None).expect("it is good");
        assert_eq!(sse, event("1-2", text));
        assert_eq!(frame(text.into(), &topics()).expect("it is good"), sse);
    }

    #[test]
    fn of_a_subscription_it_is_the_payload() {
        let source = Source::Subscription("s".into());
        let payload = r#"{"query":"q","result":1}"#;
        let text = format!(r#"{{"id":"1-2","topic":"$query/q","data":{payload}}}"#);
        assert_eq!(
            frame(text, &source).expect("it is good"),
            event("1-2", payload)
        );
        let present = format!(r#"{{"topic":"$query/q","data":{payload}}}"#);
        let want = Item::Event {
            id: None,
            json: payload.into(),
        };
        assert_eq!(frame(present, &source).expect("it is good"), want);
        let block = Block::Event {
            id: None,
            event: String::new(),
            data: payload.into(),
            retry: None,
        };
        assert_eq!(item(block, &source, &mut None).expect("it is good"), want);
    }

    #[test]
    fn a_payload_on_several_lines_comes_on_one() {
        let block = Block::Event {
            id: Some("1-2".into()),
            event: String::new(),
            data: "{\"topic\":\"t\",\"data\":[1,\n2]}".into(),
            retry: None,
        };
        let want = r#"{"id":"1-2","topic":"t","data":[1, 2]}"#;
        assert_eq!(
            item(block, &topics(), &mut None).expect("it is good"),
            event("1-2", want)
        );
    }

    #[test]
    fn notices() {
        let notice = r#"{"topic":"t","reason":"lagged","missed":3}"#;
        let Item::Gap { cursor, json } = gap(notice, None).expect("it is good") else {
            panic!("no gap");
        };
        let want = r#"{"type":"$gap","topic":"t","reason":"lagged","missed":3}"#;
        assert_eq!((cursor, &*json), (None, want));
        assert!(frame("[]".into(), &topics()).is_err());
        let busy = Block::Event {
            id: None,
            event: "busy".into(),
            data: r#"{"reason":"full","server":"s"}"#.into(),
            retry: Some(Duration::from_secs(3)),
        };
        let words = "the server is full".to_owned();
        let want = Item::Busy {
            retry: Some(Duration::from_secs(3)),
            words,
        };
        assert_eq!(item(busy, &topics(), &mut None).expect("it is good"), want);
    }
}
