//! Clients for every transport: a framing over a way to a listener. They are strict, and they are strangers: they
//! know the contract and nothing of the server's code.

pub mod ask;
pub mod frames;
pub mod link;
pub mod message;
pub mod poll;
pub mod publisher;
pub mod sse;
pub mod valve;
pub mod websocket;

use std::fmt;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use self::ask::Ask;
use self::link::{Connection, Link, Target};
use self::message::{End, Event, Gap, Id, Message};
use self::poll::Polls;
use self::sse::Sse;
use self::valve::Valve;
use self::websocket::WebSocket;
use super::server::PATIENCE;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Sse,
    WebSocket,
    LongPoll,
}

impl Framing {
    fn path(self) -> &'static str {
        match self {
            Framing::Sse | Framing::WebSocket => "/events",
            Framing::LongPoll => "/poll",
        }
    }
}

/// A framing over a way to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    pub framing: Framing,
    pub link: Link,
}

impl Transport {
    /// All of them. A WebSocket on a connection that came by `Upgrade: h2c` is left out: extended CONNECT cannot be
    /// the request that upgrades.
    pub fn all() -> impl Iterator<Item = Transport> {
        [Framing::Sse, Framing::WebSocket, Framing::LongPoll]
            .into_iter()
            .flat_map(Transport::with)
    }

    /// Those of one framing.
    pub fn with(framing: Framing) -> impl Iterator<Item = Transport> {
        Link::ALL
            .into_iter()
            .filter(move |link| framing != Framing::WebSocket || *link != Link::H2cUpgrade)
            .map(move |link| Transport { framing, link })
    }

    /// What it is counted under.
    pub fn wire(self) -> &'static str {
        match (self.framing, self.link.is_http2()) {
            (Framing::Sse, false) => "sse_http1",
            (Framing::Sse, true) => "sse_http2",
            (Framing::WebSocket, false) => "websocket",
            (Framing::WebSocket, true) => "websocket_http2",
            (Framing::LongPoll, _) => "long_poll",
        }
    }

    pub async fn open(self, target: &Target, ask: Ask) -> Reader {
        match self.try_open(target, ask).await {
            Ok(reader) => reader,
            Err(refused) => panic!("refused: {refused}"),
        }
    }

    /// # Errors
    /// The answer, when there is no stream in it.
    pub async fn try_open(self, target: &Target, ask: Ask) -> Result<Reader, Refused> {
        let opening = self.start(target, ask);
        let Ok(opened) = timeout(PATIENCE, opening).await else {
            panic!("no answer in {PATIENCE:?}");
        };
        let (wire, valve) = opened?;
        Ok(Reader {
            wire,
            valve,
            cursor: Id::ZERO,
        })
    }

    async fn start(self, target: &Target, ask: Ask) -> Result<(Wire, Valve), Refused> {
        match self.framing {
            Framing::Sse => {
                let mut connection = Connection::open(target, self.link).await;
                let valve = connection.valve.clone();
                let sse = Sse::open(&mut connection, &ask).await?;
                Ok((Wire::Sse(sse, Some(Box::new(connection))), valve))
            }
            Framing::WebSocket => {
                let call = ask.call(Framing::WebSocket);
                let (socket, valve) = WebSocket::open(target, self.link, call).await?;
                Ok((Wire::WebSocket(Box::new(socket)), valve))
            }
            Framing::LongPoll => {
                let polls = Polls::open(target, self.link, ask).await?;
                let valve = polls.valve();
                Ok((Wire::LongPoll(Box::new(polls)), valve))
            }
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} over {}", self.framing, self.link)
    }
}

/// An answer that is not a stream.
#[derive(Debug)]
pub struct Refused {
    /// 0 when the connection broke before there was one.
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Refused {
    async fn read(response: Response<Incoming>) -> Refused {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body ends");
        Refused {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
        }
    }

    fn broken(error: &hyper::Error) -> Refused {
        Refused {
            status: 0,
            headers: HeaderMap::new(),
            body: format!("{error:?}").into(),
        }
    }

    /// The problem in it (RFC 9457).
    pub fn problem(&self) -> Value {
        let kind = self.headers.get("content-type");
        assert!(kind.is_some_and(|v| v == "application/problem+json"));
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], self.status, "{problem}");
        problem
    }
}

impl From<StatusCode> for Refused {
    fn from(status: StatusCode) -> Refused {
        Refused {
            status: status.as_u16(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {body}", self.status)
    }
}

enum Wire {
    /// The connection stays open for as long as the stream is read.
    Sse(Sse, Option<Box<Connection>>),
    WebSocket(Box<WebSocket>),
    LongPoll(Box<Polls>),
}

/// One stream, whatever carries it. Nothing is waited for longer than [`PATIENCE`].
pub struct Reader {
    wire: Wire,
    valve: Valve,
    cursor: Id,
}

impl Reader {
    /// One more SSE stream of a connection.
    pub async fn sse_on(connection: &mut Connection, ask: &Ask) -> Reader {
        let sse = Sse::open(connection, ask).await;
        Reader {
            wire: Wire::Sse(sse.unwrap_or_else(|refused| panic!("{refused}")), None),
            valve: connection.valve.clone(),
            cursor: Id::ZERO,
        }
    }

    pub async fn next(&mut self) -> Message {
        let next = async {
            match &mut self.wire {
                Wire::Sse(sse, _) => sse.next().await,
                Wire::WebSocket(socket) => socket.next().await,
                Wire::LongPoll(polls) => polls.next().await,
            }
        };
        let Ok(message) = timeout(PATIENCE, next).await else {
            panic!("nothing comes in {PATIENCE:?} after {}", self.cursor);
        };
        match &message {
            Message::Ready { cursor, .. } => self.cursor = *cursor,
            Message::Event(event) => self.cursor = event.id,
            _ => {}
        }
        message
    }

    /// The same, past heartbeats.
    async fn word(&mut self) -> Message {
        loop {
            match self.next().await {
                Message::Heartbeat => {}
                message => return message,
            }
        }
    }

    /// Where to resume: after the last event, or where the stream began.
    pub fn cursor(&self) -> Id {
        self.cursor
    }

    pub async fn ready(&mut self) -> Id {
        match self.word().await {
            Message::Ready { cursor, .. } => cursor,
            other => panic!("not ready, but {other:?}"),
        }
    }

    pub async fn event(&mut self) -> Event {
        match self.word().await {
            Message::Event(event) => event,
            other => panic!("no event, but {other:?}"),
        }
    }

    pub async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            events.push(self.event().await);
        }
        events
    }

    pub async fn gap(&mut self) -> Gap {
        match self.word().await {
            Message::Gap(gap) => gap,
            other => panic!("no gap, but {other:?}"),
        }
    }

    pub async fn end(&mut self) -> End {
        match self.word().await {
            Message::End(end) => end,
            other => panic!("no end, but {other:?}"),
        }
    }

    /// The answer to what was said on a WebSocket.
    pub async fn answer(&mut self) -> Value {
        match self.word().await {
            Message::Answer(answer) => answer,
            other => panic!("no answer, but {other:?}"),
        }
    }

    /// The WebSocket, where it is one.
    pub fn websocket(&mut self) -> &mut WebSocket {
        match &mut self.wire {
            Wire::WebSocket(socket) => socket,
            _ => panic!("not a WebSocket"),
        }
    }

    /// The HTTP/2 connection that it has for itself, if it has one.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.wire {
            Wire::Sse(_, connection) => connection.as_deref(),
            Wire::WebSocket(socket) => socket.connection.as_ref(),
            Wire::LongPoll(polls) => Some(polls.connection()),
        }
    }

    /// Stops reading from the socket, and reads on.
    pub fn valve(&self) -> &Valve {
        &self.valve
    }
}
