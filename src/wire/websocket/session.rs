//! One open WebSocket: events out, messages in, pings, and an end that the peer can read.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::{Sink, Stream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::ending::{Ending, close, ending, finish};
use super::message::{self, Answer};
use super::request::Requests;
use super::sips::Sips;
use crate::api::Services;
use crate::body::{Chunk, Joined};
use crate::bundle::Spawner;
use crate::event::{EventId, Framing};
use crate::log::{End, Gap, Next, Reader, ticks};
use crate::wire::{Carrier, JOIN_BYTES, Opening, Settings};

/// How many messages go one way before the other way has its turn.
const TURN: usize = 64;

/// A socket to its end. Its own future, since one that a compiler makes has room for each of its states, and every
/// subscriber would pay for it.
pub(super) struct Session {
    open: Option<Open>,
    ending: Option<BoxFuture<'static, ()>>,
}

/// A socket that carries a reader.
struct Open {
    reader: Reader,
    carrier: Carrier,
    settings: Arc<Settings>,
    services: Arc<Services>,
    requests: Option<Box<Requests>>,
    /// When the next ping is due, in the shard's ticks.
    ping_at: u64,
    /// When the ping that is not answered yet was written.
    pinged: Option<u64>,
    /// When to look at these two.
    look_at: u64,
    /// Whether something written may still be in our buffers.
    unflushed: bool,
    /// Whether frames that go past the library are not written yet.
    past: bool,
    /// On HTTP/2, the part of its connection's bound that is taken by what may still be there.
    leases: Vec<Chunk>,
    /// The library's own state comes last, which events do not touch.
    socket: WebSocketStream<Sips>,
}

impl Session {
    pub(super) fn new(socket: WebSocketStream<Sips>, opening: Opening) -> Session {
        let Opening {
            reader,
            carrier,
            settings,
            services,
            ..
        } = opening;
        let ping_at = reader.now() + ticks(settings.ping);
        reader.remind(ping_at);
        let ready = ready_frame(reader.cursor(), &settings.server);
        let mut open = Open {
            reader,
            carrier,
            settings,
            services,
            requests: None,
            ping_at,
            pinged: None,
            look_at: ping_at,
            unflushed: false,
            past: false,
            leases: Vec::new(),
            socket,
        };
        match open.send(ready) {
            ControlFlow::Continue(()) => Session {
                open: Some(open),
                ending: None,
            },
            ControlFlow::Break(ending) => Session {
                open: None,
                ending: Some(finish(open.socket, ending).boxed()),
            },
        }
    }
}

impl Future for Session {
    type Output = ();

    /// Carries the reader until either side leaves.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(open) = &mut self.open {
            let ending = ready!(open.poll(cx));
            // The seat is left now: what follows is courtesy to a peer that is not read to any more.
            let socket = self.open.take().map(|open| open.socket);
            self.ending = socket.map(|socket| finish(socket, ending).boxed());
        }
        match &mut self.ending {
            Some(ending) => ending.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.past {
            match self.socket.get_mut().poll_past(cx) {
                Poll::Ready(Ok(())) => self.past = false,
                Poll::Ready(Err(_)) => return Poll::Ready(Ending::Gone),
                Poll::Pending => {
                    return match self.keep_alive(false) {
                        ControlFlow::Continue(()) => Poll::Pending,
                        ControlFlow::Break(ending) => Poll::Ready(ending),
                    };
                }
            }
        }
        // Woken by an event and by nothing else, with nothing on its way: the way of nearly all events.
        let bundle = self.carrier.bundle.as_ref();
        let only_event = bundle.is_some_and(Spawner::is_only_rung) && !self.is_due();
        if only_event && !self.unflushed && !self.is_http2() {
            match self.write_past(cx) {
                ControlFlow::Continue(true) => return Poll::Pending,
                ControlFlow::Continue(false) => {}
                ControlFlow::Break(ending) => return Poll::Ready(ending),
            }
        }
        // Out first: while the peer takes nothing, its messages wait, for their answers would queue up.
        let writable = match self.write_events(cx) {
            ControlFlow::Continue(writable) => writable,
            ControlFlow::Break(ending) => return Poll::Ready(ending),
        };
        if writable && let ControlFlow::Break(ending) = self.converse(cx) {
            return Poll::Ready(ending);
        }
        // Who is not read cannot be heard to live.
        if let ControlFlow::Break(ending) = self.keep_alive(writable && !self.is_full()) {
            return Poll::Ready(ending);
        }
        match self.flush(cx) {
            ControlFlow::Continue(()) => Poll::Pending,
            ControlFlow::Break(ending) => Poll::Ready(ending),
        }
    }

    /// Whether it is time to look at pings and pongs.
    fn is_due(&self) -> bool {
        self.reader.tick() >= self.look_at
    }

    fn is_http2(&self) -> bool {
        self.carrier.unsent.is_some()
    }

    /// Writes the events that are due as the frames that all readers share; whether that was all there is to do.
    fn write_past(&mut self, cx: &mut Context<'_>) -> ControlFlow<Ending, bool> {
        let mut frames = Joined::default();
        let mut other = None;
        if let Some((run, _)) = self.reader.take_run(Framing::Message, JOIN_BYTES) {
            frames.push(run);
        }
        while frames.length() < JOIN_BYTES {
            match self.reader.poll_next(cx) {
                Poll::Ready(Next::Event(event)) => frames.push(event.framed(Framing::Message)),
                Poll::Ready(next) => {
                    other = Some(next);
                    break;
                }
                Poll::Pending => break,
            }
        }
        let mut is_done = other.is_none() && frames.length() < JOIN_BYTES;
        if let Some(frames) = frames.take() {
            self.reader.seat().sent(frames.len());
            self.socket.get_mut().push(frames);
            match self.socket.get_mut().poll_past(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return ControlFlow::Break(Ending::Gone),
                Poll::Pending => {
                    self.past = true;
                    is_done = true;
                }
            }
        }
        if let Some(next) = other
            && !(matches!(next, Next::End(_)) && self.has_requests())
        {
            self.write_next(next)?;
        }
        ControlFlow::Continue(is_done)
    }

    /// Writes what is due; whether there is room for more.
    fn write_events(&mut self, cx: &mut Context<'_>) -> ControlFlow<Ending, bool> {
        for _ in 0..TURN {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return ControlFlow::Break(ending(&error)),
                Poll::Pending => return ControlFlow::Continue(false),
            }
            let unsent = self.carrier.unsent.as_ref();
            if unsent.is_some_and(|unsent| unsent.poll_room(cx).is_pending()) {
                return ControlFlow::Continue(true);
            }
            match self.reader.poll_next(cx) {
                // It stays so; what was asked for is answered before.
                Poll::Ready(Next::End(_)) if self.has_requests() => {
                    return ControlFlow::Continue(true);
                }
                Poll::Ready(next) => self.write_next(next)?,
                Poll::Pending => return ControlFlow::Continue(true),
            }
        }
        cx.waker().wake_by_ref();
        ControlFlow::Continue(true)
    }

    fn write_next(&mut self, next: Next) -> ControlFlow<Ending> {
        match next {
            // The bytes are UTF-8: they were made from checked text.
            Next::Event(event) => match Utf8Bytes::try_from(event.framed(Framing::Json)) {
                Ok(text) => self.send(text),
                Err(_) => close(CloseCode::Error, "an event is not UTF-8"),
            },
            Next::Gap(gap) => self.send(gap_frame(&gap)),
            Next::End(End::Limit) => close(CloseCode::Normal, "limit reached"),
            Next::End(End::Lagged) => close(CloseCode::Normal, "lagged; resume by cursor"),
            Next::End(End::Deleted) => close(CloseCode::Normal, "the subscription has ended"),
            Next::End(End::Drain) => close(CloseCode::Away, "draining; resume by cursor"),
        }
    }

    /// Answers what is done, reads what is said, and begins to do it.
    fn converse(&mut self, cx: &mut Context<'_>) -> ControlFlow<Ending> {
        self.write_replies(cx)?;
        if self.reader.is_over() {
            return ControlFlow::Continue(());
        }
        self.read_messages(cx)?;
        self.write_replies(cx)
    }

    /// Writes the answers to requests that are done.
    fn write_replies(&mut self, cx: &mut Context<'_>) -> ControlFlow<Ending> {
        while let Some(requests) = &mut self.requests {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return ControlFlow::Break(ending(&error)),
                Poll::Pending => return ControlFlow::Continue(()),
            }
            let unsent = self.carrier.unsent.as_ref();
            if unsent.is_some_and(|unsent| unsent.poll_room(cx).is_pending()) {
                return ControlFlow::Continue(());
            }
            let was_full = requests.is_full(self.settings.requests);
            match requests.poll_next(cx) {
                Poll::Ready(Some(reply)) => self.send(reply.into())?,
                Poll::Ready(None) => self.requests = None,
                Poll::Pending => return ControlFlow::Continue(()),
            }
            if was_full || self.requests.is_none() {
                // What was not read is, and the end that was put off comes.
                cx.waker().wake_by_ref();
            }
        }
        ControlFlow::Continue(())
    }

    fn has_requests(&self) -> bool {
        let requests = self.requests.as_ref();
        requests.is_some_and(|requests| !requests.is_empty())
    }

    fn is_full(&self) -> bool {
        let most = self.settings.requests;
        let requests = self.requests.as_ref();
        requests.is_some_and(|requests| requests.is_full(most))
    }

    fn read_messages(&mut self, cx: &mut Context<'_>) -> ControlFlow<Ending> {
        for _ in 0..TURN {
            if self.is_full() {
                return ControlFlow::Continue(());
            }
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return ControlFlow::Break(ending(&error)),
                Poll::Pending => return ControlFlow::Continue(()),
            }
            let Poll::Ready(read) = Pin::new(&mut self.socket).poll_next(cx) else {
                return ControlFlow::Continue(());
            };
            // Whatever it says, it lives.
            self.pinged = None;
            match read {
                Some(Ok(Message::Text(text))) => {
                    match message::answer(&text, &mut self.reader, &self.services) {
                        Answer::Now(answer) => self.send(answer.into())?,
                        Answer::Soon(answer) => {
                            self.requests.get_or_insert_default().wait(answer);
                        }
                        Answer::Later(request) => {
                            let requests = self.requests.get_or_insert_default();
                            requests.add(request, &self.services);
                        }
                    }
                    // What it subscribed to may be due already, and nobody else would wake us for it.
                    cx.waker().wake_by_ref();
                }
                Some(Ok(Message::Binary(_))) => {
                    return close(CloseCode::Unsupported, "messages are text: JSON");
                }
                // Answered by the library; the answer waits for a flush.
                Some(Ok(Message::Ping(_) | Message::Close(_))) => self.unflushed = true,
                Some(Ok(_)) => {}
                Some(Err(error)) => return ControlFlow::Break(ending(&error)),
                None => return ControlFlow::Break(Ending::Gone),
            }
        }
        cx.waker().wake_by_ref();
        ControlFlow::Continue(())
    }

    /// Pings, and ends the session when the pong stays away. A peer whose connection takes nothing cannot answer
    /// and is not blamed here: that it has stalled is noticed below.
    fn keep_alive(&mut self, writable: bool) -> ControlFlow<Ending> {
        if !self.is_due() {
            return ControlFlow::Continue(());
        }
        let now = self.reader.now();
        let (ping, pong) = (ticks(self.settings.ping), ticks(self.settings.pong));
        match self.pinged {
            Some(at) if writable && now >= at + pong => {
                return close(CloseCode::Error, "no pong in time");
            }
            Some(at) if writable => self.look_at = at + pong,
            None if writable && now >= self.ping_at => {
                self.write(Message::Ping(Default::default()))?;
                self.pinged = Some(now);
                self.ping_at = now + ping;
                self.look_at = self.ping_at.min(now + pong);
            }
            None if writable => self.look_at = self.ping_at,
            _ => {
                self.pinged = None;
                self.look_at = now + ping;
            }
        }
        self.reader.remind(self.look_at);
        ControlFlow::Continue(())
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> ControlFlow<Ending> {
        if !self.unflushed {
            return ControlFlow::Continue(());
        }
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                self.leases = Vec::new();
                ControlFlow::Continue(())
            }
            Poll::Ready(Err(error)) => ControlFlow::Break(ending(&error)),
            Poll::Pending => ControlFlow::Continue(()),
        }
    }

    fn send(&mut self, text: Utf8Bytes) -> ControlFlow<Ending> {
        if let Some(unsent) = &self.carrier.unsent {
            self.leases.push(unsent.lease(text.clone().into()));
        }
        self.reader.seat().sent(framed(text.len()));
        self.write(Message::Text(text))
    }

    fn write(&mut self, message: Message) -> ControlFlow<Ending> {
        self.unflushed = true;
        match Pin::new(&mut self.socket).start_send(message) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(ending(&error)),
        }
    }
}

/// Bytes of a frame from a server with a payload of this length (RFC 6455, 5.2).
pub(super) fn framed(payload: usize) -> usize {
    payload
        + match payload {
            0..=125 => 2,
            126..=65_535 => 4,
            _ => 10,
        }
}

fn ready_frame(cursor: EventId, server: &str) -> Utf8Bytes {
    let object =
        serde_json::json!({ "type": "$ready", "cursor": cursor.to_string(), "server": server });
    object.to_string().into()
}

fn gap_frame(gap: &Gap) -> Utf8Bytes {
    gap.json(Some("$gap")).into()
}
