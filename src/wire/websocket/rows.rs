//! The rows of one query of the Timeplus dialect, as its 0.x clients read them: a text message each, and the end when
//! the query has ended. What the client says is not listened to.
//!
//! Few sockets are of this kind, so it is written for reading: a message is a message, not a frame that many share.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::ending::{Ending, ending, finish};
use super::session::framed;
use super::sips::Sips;
use super::{accepted, check_version, config, handshake, is_handshake, opened, upgrade_required};
use crate::api::timeplus::queries::outbox::{Batching, Taken};
use crate::api::timeplus::queries::query;
use crate::api::timeplus::queries::registry::Following;
use crate::body::{Body, Chunk};
use crate::counts::{Seat, WireName};
use crate::openapi::{parameter, problem, problem_with, text};
use crate::problem::Problem;
use crate::wire::{Carrier, Settings};

/// A row goes as soon as it is there.
const EACH: Batching = Batching {
    count: 1,
    time: Duration::ZERO,
    bytes: usize::MAX,
};

/// How many rows go before the client is listened to.
const TURN: usize = 64;

/// How often it is seen to that the client can take something, when there is nothing to take.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Answers a handshake, and carries the rows until either side leaves.
///
/// # Errors
/// When the handshake is malformed, and what `follow` says.
pub fn open(
    request: Request<Incoming>,
    carrier: Carrier,
    settings: &Settings,
    follow: impl FnOnce() -> Result<Following, Problem>,
) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    if !is_handshake(&head) {
        return Err(upgrade_required(
            "this path is a WebSocket: ask for an upgrade",
        ));
    }
    check_version(&head.headers)?;
    let mut request = Request::from_parts(head, body);
    let response = accepted(&request)?;
    let following = follow()?;
    let http2 = carrier.unsent.is_some();
    let wire = match http2 {
        true => WireName::WebSocketHttp2,
        false => WireName::WebSocket,
    };
    let seat = Seat::new(carrier.connection.clone(), wire);
    let (config, ping, pong) = (config(settings, http2), settings.ping, settings.pong);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // A peer that leaves before the upgrade has nothing to be told, and its query ends here.
        let Ok(upgraded) = upgrade.await else { return };
        let io = Sips::new(upgraded, http2);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let mut rows = Rows {
            socket,
            following,
            seat,
            carrier,
            leases: Vec::new(),
            timer: Box::pin(tokio::time::sleep(LOOK_EVERY)),
            ping,
            pong,
            pinged: None,
            heard: Instant::now(),
        };
        let ending = poll_fn(|cx| rows.poll(cx)).await;
        let Rows {
            socket,
            following,
            seat,
            ..
        } = rows;
        // Before the courtesies: nothing is evaluated for a client that has left, nor is it counted.
        drop((following, seat));
        finish(socket, ending).await;
    });
    Ok(response)
}

/// The Operation Objects: a HEAD is no handshake.
pub fn describe() -> Map<String, Value> {
    let [mut upgrade, mut key, mut version] = handshake();
    for header in [&mut upgrade, &mut key, &mut version] {
        header["required"] = true.into();
    }
    let id = parameter("path", "id", "The query's id", text());
    let none = problem_with("upgrade", "No handshake, or another version than 13");
    let get = json!({
        "summary": "The rows of a query that was made for this, for 0.x clients: a message each, an array",
        "parameters": [id, upgrade, key, version],
        "responses": {
            "101": opened("A WebSocket; it closes with 1000 when the query has ended, with 1011 when it has failed"),
            "400": problem("The handshake is malformed"),
            "404": problem("There is no query with this id, or it has ended and is forgotten"),
            "409": problem("Its rows go to somebody else"),
            "426": none,
        },
    });
    let head = json!({ "summary": "No handshake", "responses": { "426": none } });
    Map::from_iter([("get".to_owned(), get), ("head".to_owned(), head)])
}

struct Rows {
    socket: WebSocketStream<Sips>,
    following: Following,
    seat: Seat,
    carrier: Carrier,
    /// On HTTP/2, the part of its connection's bound that is taken by what is on its way.
    leases: Vec<Chunk>,
    timer: Pin<Box<Sleep>>,
    ping: Duration,
    pong: Duration,
    /// When a ping was sent that is not answered yet.
    pinged: Option<Instant>,
    /// When the client was heard of last.
    heard: Instant,
}

impl Rows {
    /// Ready at the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            if let Poll::Ready(ending) = self.listen(cx) {
                return Poll::Ready(ending);
            }
            let is_writable = match self.write(cx) {
                Ok(is_writable) => is_writable,
                Err(ending) => return Poll::Ready(ending),
            };
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let look_at = Instant::now() + self.look_after();
            self.timer.as_mut().reset(look_at);
            if is_writable && let Err(ending) = self.keep_alive() {
                return Poll::Ready(ending);
            }
        }
    }

    fn look_after(&self) -> Duration {
        LOOK_EVERY.min(self.ping).min(self.pong)
    }

    /// Hears what the client says: that it lives, or that it leaves.
    fn listen(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            match std::task::ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(_)) => (self.heard, self.pinged) = (Instant::now(), None),
                Some(Err(error)) => return Poll::Ready(ending(&error)),
                None => return Poll::Ready(Ending::Gone),
            }
        }
    }

    /// Writes what is due; whether there is room for more.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        for _ in 0..TURN {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(ending(&error)),
                Poll::Pending => return self.blocked(),
            }
            let unsent = self.carrier.unsent.as_ref();
            if unsent.is_some_and(|unsent| unsent.poll_room(cx).is_pending()) {
                self.flush(cx)?;
                return self.blocked();
            }
            match self.following.take(cx, EACH) {
                Taken::Rows(rows) => rows.into_iter().try_for_each(|row| self.send(row))?,
                Taken::Wait(_) => return self.flush(cx),
                Taken::Ended(_) => return Err(self.ended()),
            }
        }
        cx.waker().wake_by_ref();
        self.flush(cx)
    }

    /// A client that takes nothing is not asked for, so that its query may end meanwhile without it.
    fn blocked(&self) -> Result<bool, Ending> {
        match self.following.query().ending() {
            Some(_) => Err(self.ended()),
            None => Ok(false),
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.leases = Vec::new();
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(ending(&error)),
            Poll::Pending => Ok(false),
        }
    }

    fn send(&mut self, row: bytes::Bytes) -> Result<(), Ending> {
        let Ok(text) = Utf8Bytes::try_from(row) else {
            return Err(Ending::Close(CloseCode::Error, "a row is not UTF-8"));
        };
        if let Some(unsent) = &self.carrier.unsent {
            self.leases.push(unsent.lease(text.clone().into()));
        }
        self.seat.sent(framed(text.len()));
        self.seat.events(1);
        self.start(Message::Text(text))
    }

    fn start(&mut self, message: Message) -> Result<(), Ending> {
        let started = Pin::new(&mut self.socket).start_send(message);
        started.map_err(|error| ending(&error))
    }

    /// Pings a client that has said nothing for a while, and gives up one that does not answer.
    fn keep_alive(&mut self) -> Result<(), Ending> {
        match self.pinged {
            Some(at) if at.elapsed() >= self.pong => {
                Err(Ending::Close(CloseCode::Error, "no pong in time"))
            }
            None if self.heard.elapsed() >= self.ping => {
                self.pinged = Some(Instant::now());
                self.start(Message::Ping(Default::default()))
            }
            _ => Ok(()),
        }
    }

    fn ended(&self) -> Ending {
        match self.following.query().ending() {
            Some(query::Ending::Failed(_)) => {
                Ending::Close(CloseCode::Error, "the query has failed; GET it for why")
            }
            Some(query::Ending::Canceled(_)) => Ending::Close(CloseCode::Normal, "canceled"),
            _ => Ending::Close(CloseCode::Normal, "finished"),
        }
    }
}
