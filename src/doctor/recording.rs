//! One stream, read as it comes and noted with the time of each thing that came.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode, body::Incoming};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::client::SseParser;
use crate::client::{Ask, Block, Connection, Failure, Fault, Framing, Item, Place, Reader, Source};

/// How long it may take to be connected.
const CONNECTED: Duration = Duration::from_secs(15);

/// What is heard of a stream.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The request has left.
    Asked,
    /// The head of the answer: it is a stream, perhaps in an encoding.
    Head(Option<String>),
    /// Bytes of a body in an encoding, which are not looked into.
    Bytes,
    /// The stream begins; the server says its name.
    Ready(String),
    /// An event's data.
    Event(String),
    /// A heartbeat or a ping.
    Beat,
    /// The server is full or draining.
    Busy(String),
    /// The end, in words.
    End(String),
    /// There is no stream, or there is none any more.
    Failed(Failure),
}

impl Heard {
    pub fn is_end(&self) -> bool {
        matches!(self, Heard::End(_) | Heard::Failed(_) | Heard::Busy(_))
    }
}

/// A stream that is read for as long as this lives.
pub struct Recording {
    pub heard: Vec<(Instant, Heard)>,
    more: mpsc::UnboundedReceiver<(Instant, Heard)>,
    /// Ends with it.
    _reading: JoinSet<()>,
}

type Note = mpsc::UnboundedSender<(Instant, Heard)>;

impl Recording {
    /// Reads SSE, which is asked for in these encodings.
    pub fn of_sse(place: &Place, path: &'static str, encodings: Option<&'static str>) -> Recording {
        let place = place.clone();
        Recording::of(move |note: Note| async move {
            if let Err(failure) = read_sse(&place, path, encodings, &note).await {
                tell(&note, Heard::Failed(failure));
            }
        })
    }

    /// Reads a WebSocket; its `http` says how it is opened.
    pub fn of_websocket(place: &Place) -> Recording {
        let mut place = place.clone();
        place.framing = Framing::WebSocket;
        Recording::of(move |note: Note| async move {
            if let Err(failure) = read_websocket(&place, &note).await {
                tell(&note, Heard::Failed(failure));
            }
        })
    }

    fn of<F: Future<Output = ()> + Send + 'static>(read: impl FnOnce(Note) -> F) -> Recording {
        let (note, more) = mpsc::unbounded_channel();
        let mut reading = JoinSet::new();
        reading.spawn(read(note));
        Recording {
            heard: Vec::new(),
            more,
            _reading: reading,
        }
    }

    /// Waits until what was heard is enough, the stream ends or it is so late, and says whether it is enough.
    pub async fn until(
        &mut self,
        late: Instant,
        enough: impl Fn(&[(Instant, Heard)]) -> bool,
    ) -> bool {
        loop {
            if enough(&self.heard) {
                return true;
            }
            match timeout_at(late, self.more.recv()).await {
                Ok(Some(heard)) => self.heard.push(heard),
                Ok(None) | Err(_) => return enough(&self.heard),
            }
        }
    }

    /// The first of a kind, and when it came.
    pub fn first<T>(&self, of: impl Fn(&Heard) -> Option<T>) -> Option<(Instant, T)> {
        let mut all = self.heard.iter();
        all.find_map(|(at, heard)| Some((*at, of(heard)?)))
    }

    /// When it ended, and how.
    pub fn end(&self) -> Option<(Instant, String)> {
        self.first(|heard| match heard {
            Heard::End(words) | Heard::Busy(words) => Some(words.clone()),
            Heard::Failed(failure) => Some(failure.words.clone()),
            _ => None,
        })
    }

    /// Waits until the request has left, and says when; or when it was given up.
    pub async fn asked(&mut self) -> Instant {
        let late = Instant::now() + CONNECTED;
        self.until(late, |heard| !heard.is_empty()).await;
        self.heard.first().map_or(late, |(at, _)| *at)
    }

    /// What the stream has brought in all, of a kind.
    pub fn count(&self, of: impl Fn(&Heard) -> bool) -> usize {
        self.heard.iter().filter(|(_, heard)| of(heard)).count()
    }
}

fn tell(note: &Note, heard: Heard) {
    // Nobody listens any more: the recording is being dropped.
    let _ = note.send((Instant::now(), heard));
}

async fn read_sse(
    place: &Place,
    path: &str,
    encodings: Option<&'static str>,
    note: &Note,
) -> Result<(), Failure> {
    // No pings of ours may keep alive what a browser's would not.
    let mut connection = Connection::open_without_pings(place).await?;
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::ACCEPT, kind);
    if let Some(encodings) = encodings {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encodings));
    }
    tell(note, Heard::Asked);
    let answer = connection
        .send(Method::GET, path, headers, Bytes::new())
        .await?;
    if answer.status() != StatusCode::OK {
        return Err(connection.refusal(answer).await);
    }
    if !is_event_stream(&answer) {
        return Err(Failure::new(
            Fault::Foreign,
            "the answer is no event stream; is it a triwire server, and is the URL's path right?",
        ));
    }
    let encoding = answer.headers().get(header::CONTENT_ENCODING);
    let encoding = encoding.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let encoded = encoding.as_ref().is_some_and(|e| e != "identity");
    tell(note, Heard::Head(encoding));
    read_body(answer.into_body(), encoded, note).await
}

fn is_event_stream(answer: &Response<Incoming>) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"))
}

async fn read_body(mut body: Incoming, encoded: bool, note: &Note) -> Result<(), Failure> {
    let mut parser = SseParser::default();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tell(note, Heard::End(format!("the connection broke: {error}")));
                return Ok(());
            }
        };
        let Some(bytes) = frame.data_ref().filter(|bytes| !bytes.is_empty()) else {
            continue;
        };
        if encoded {
            tell(note, Heard::Bytes);
            continue;
        }
        parser.push(bytes)?;
        while let Some(block) = parser.next_block() {
            tell(note, of_block(block)?);
        }
    }
    tell(note, Heard::End("the answer ended".into()));
    Ok(())
}

#[derive(Deserialize)]
struct Notice {
    #[serde(default)]
    server: String,
    #[serde(default)]
    reason: String,
}

fn of_block(block: Block) -> Result<Heard, Failure> {
    let (event, data) = match block {
        Block::Comment => return Ok(Heard::Beat),
        Block::Event { event, data, .. } => (event, data),
    };
    let notice = || -> Result<Notice, Failure> {
        let words = "what came is none of triwire's; is it a triwire server?";
        serde_json::from_str(&data).map_err(|_| Failure::new(Fault::Foreign, words))
    };
    Ok(match &*event {
        "ready" => Heard::Ready(notice()?.server),
        "busy" => Heard::Busy(notice()?.reason),
        _ => Heard::Event(data),
    })
}

async fn read_websocket(place: &Place, note: &Note) -> Result<(), Failure> {
    let ask = Ask {
        source: Source::Topics(vec!["triwire/doctor/idle".into()]),
        after: None,
        lag: None,
        limit: None,
        // The doctor itself watches the time.
        silence: Duration::from_secs(24 * 3600),
    };
    tell(note, Heard::Asked);
    let mut reader = Reader::open(place, ask).await?;
    tell(note, Heard::Head(None));
    loop {
        let heard = match reader.next().await {
            Ok(Item::Ready { .. }) => Heard::Ready(String::new()),
            Ok(Item::Alive) => Heard::Beat,
            Ok(Item::Busy { words, .. }) => Heard::Busy(words),
            Ok(Item::End(words)) => Heard::End(words),
            Ok(Item::Event { json, .. } | Item::Gap { json, .. }) => Heard::Event(json),
            Err(failure) => Heard::End(failure.words),
        };
        let over = heard.is_end();
        tell(note, heard);
        if over {
            return Ok(());
        }
    }
}
