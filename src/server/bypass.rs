//! Event streams on HTTP/2 past h2: once it has sent the head of a response, the DATA frames of an event stream are
//! written between its own frames, from the bytes that all readers share.
//!
//! h2 keeps a queue, a window and two wakers a stream and touches all of them for every frame. A stream of events needs
//! a window. Everything else stays h2's: what comes in, headers, resets, pings, every other response, and the end of
//! each stream.
//!
//! Which stream a response is, hyper does not tell. So its head has a ticket, a header field that what stands between
//! h2 and the client takes out again, and then knows the stream by the frame that it was in.

mod carry;
mod frame;
mod ticket;
mod windows;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::SystemTime;
use std::{io, mem};

use bytes::{Buf, BufMut, BytesMut};
use httpdate::fmt_http_date;
use hyper::Response;
use hyper::header::{self, Entry};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frame::{HEAD, Head, PAYLOAD};
use self::windows::{Place, Update, Windows};
use crate::body::{Body, Chunk, Stream};
use crate::bundle::Spawner;

/// Bytes of the preface (RFC 9113, 3.4).
const PREFACE: usize = 24;
/// Bytes read from the socket at a time.
const READ: usize = 4 * 1024;

/// What a connection's streams, its socket and its service share.
#[derive(Clone)]
pub(super) struct Bypass(Arc<Mutex<State>>);

struct State {
    windows: Windows,
    incoming: Incoming,
    outgoing: Outgoing,
    /// Above so many bytes in `outgoing.ready` nothing new is written.
    most: usize,
    /// Heads of responses that h2 has not sent yet.
    tickets: HashMap<u32, Ticket>,
    next_ticket: u32,
    carried: HashMap<u32, Carried>,
    /// Whether streams wait for the socket.
    awaits_socket: bool,
    /// Whether streams wait for the connection's window, or for what h2 has begun to send.
    awaits_window: bool,
    /// h2, when too much of its own waits for the connection's window.
    writer: Option<Waker>,
    spawner: Spawner,
}

/// What the client sends, on its way to h2.
#[derive(Default)]
struct Incoming {
    preface: usize,
    /// Not understood yet: less than a frame's head, or a small frame.
    inbox: BytesMut,
    /// What h2 may read.
    ready: BytesMut,
    /// Bytes of the frame that is passing.
    left: usize,
}

/// What h2 sends, and what is put between.
#[derive(Default)]
struct Outgoing {
    ready: BytesMut,
    /// The beginning of a frame's head, or of the head of a response.
    begun: BytesMut,
    /// Bytes of the frame that is passing.
    left: usize,
    block_open: bool,
    /// DATA of h2's that the connection's window does not let pass yet. Whatever else h2 sends overtakes it.
    held: VecDeque<Held>,
    /// Whether the frame that is passing is the last of them.
    aside: bool,
}

struct Held {
    head: Head,
    payload: BytesMut,
}

/// A response whose stream is to be known.
#[derive(Default)]
struct Ticket {
    stream: Option<u32>,
    body: Option<Waker>,
}

/// A stream that is carried past h2.
#[derive(Default)]
struct Carried {
    is_over: bool,
    body: Option<Waker>,
    carrier: Option<Waker>,
}

/// Why nothing can be written.
enum Blocked {
    /// For now.
    Wait,
    /// The stream is no more.
    Gone,
}

impl Bypass {
    /// Streams run in the bundle of `spawner`; above `most` bytes unsent they wait; `streams` is how many a client may
    /// open at once.
    pub(super) fn new(spawner: Spawner, most: usize, streams: u32) -> Bypass {
        Bypass(Arc::new(Mutex::new(State {
            windows: Windows::new(2 * streams as usize),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            most,
            tickets: HashMap::new(),
            next_ticket: 0,
            carried: HashMap::new(),
            awaits_socket: false,
            awaits_window: false,
            writer: None,
            spawner,
        })))
    }

    /// The socket with the streams in it.
    pub(super) fn around<S>(&self, io: S) -> Bypassed<S> {
        Bypassed {
            io,
            bypass: self.clone(),
        }
    }

    /// Has the body of a response carried past h2, if it is a stream.
    pub(super) fn take(&self, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let Body::Stream(events) = body else {
            return Response::from_parts(head, body);
        };
        let mut state = self.state();
        let number = ticket::number(state.next_ticket);
        state.next_ticket = state.next_ticket.wrapping_add(1);
        state.tickets.insert(number, Ticket::default());
        drop(state);
        // hyper would add it after the ticket, which has to be last.
        let date = || fmt_http_date(SystemTime::now()).try_into();
        if let (Entry::Vacant(entry), Ok(date)) = (head.headers.entry(header::DATE), date()) {
            entry.insert(date);
        }
        ticket::add(&mut head.headers, number);
        let holder = Holder {
            bypass: self.clone(),
            owner: Owner::Whole(number, events),
        };
        Response::from_parts(head, Body::Stream(Box::new(holder)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// The body that hyper has of such a response.
struct Holder {
    bypass: Bypass,
    owner: Owner,
}

enum Owner {
    /// It is not known yet as which stream.
    Whole(u32, Box<dyn Stream>),
    /// Left to h2.
    Left(Box<dyn Stream>),
    /// Given away, to be carried as this stream.
    Away(u32),
    Over,
}

impl Stream for Holder {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        if let Owner::Whole(number, events) = mem::replace(&mut self.owner, Owner::Over) {
            self.owner = self.bypass.give(number, events, cx);
        }
        match &mut self.owner {
            Owner::Whole(..) => Poll::Pending,
            Owner::Left(events) => events.poll_chunk(cx),
            Owner::Away(stream) => {
                let mut state = self.bypass.state();
                match state.carried.get_mut(stream) {
                    Some(carried) if !carried.is_over => {
                        carried.body = Some(cx.waker().clone());
                        Poll::Pending
                    }
                    _ => Poll::Ready(None),
                }
            }
            Owner::Over => Poll::Ready(None),
        }
    }
}

impl Bypass {
    /// Gives a stream to be carried, once h2 has sent the head of the response.
    fn give(&self, number: u32, events: Box<dyn Stream>, cx: &Context<'_>) -> Owner {
        let mut state = self.state();
        let Some(ticket) = state.tickets.get_mut(&number) else {
            return Owner::Left(events);
        };
        let Some(stream) = ticket.stream else {
            ticket.body = Some(cx.waker().clone());
            return Owner::Whole(number, events);
        };
        state.tickets.remove(&number);
        let Some(place) = state.windows.place(stream) else {
            return Owner::Left(events);
        };
        state.carried.insert(stream, Carried::default());
        let carrying = carry::carry(self.clone(), place, events);
        state.spawner.spawn(carrying);
        Owner::Away(stream)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut state = self.bypass.state();
        match self.owner {
            Owner::Whole(number, _) => drop(state.tickets.remove(&number)),
            Owner::Away(stream) => {
                state.wake(stream);
                state.carried.remove(&stream);
                // Nothing more of it is sent, whether or not h2 has said so yet.
                state.windows.close(stream);
            }
            Owner::Left(_) | Owner::Over => {}
        }
    }
}

impl State {
    /// Takes what h2 writes; how many bytes, which is all unless too much is held.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        loop {
            let out = &mut self.outgoing;
            let passing = out.left.min(rest.len());
            match out.held.back_mut() {
                Some(held) if out.aside => held.payload.put_slice(&rest[..passing]),
                _ => out.ready.put_slice(&rest[..passing]),
            }
            out.left -= passing;
            rest.advance(passing);
            if out.left == 0 {
                out.aside = false;
                self.release();
            }
            if rest.is_empty() || !self.write_begun(&mut rest) {
                return bytes.len() - rest.len();
            }
        }
    }

    /// The same at the beginning of a frame; whether there may be more.
    fn write_begun(&mut self, rest: &mut &[u8]) -> bool {
        let out = &mut self.outgoing;
        if out
            .held
            .iter()
            .map(|held| held.payload.len())
            .sum::<usize>()
            >= self.most
        {
            return false;
        }
        let known = out.begun.first_chunk().map(Head::read);
        let whole = HEAD + known.map_or(0, |head| head.length);
        let missing = rest.len().min(whole - out.begun.len());
        out.begun.put_slice(&rest[..missing]);
        rest.advance(missing);
        if out.begun.len() < whole {
            return true;
        }
        let head = out.begun.first_chunk().map(Head::read);
        match (known, head) {
            // The payload is wanted, too.
            (None, Some(head)) if head.is_block() && head.length > 0 => {}
            (None, Some(head)) => {
                out.begun = BytesMut::new();
                self.pass(head);
            }
            (Some(head), _) => self.pass_block(head),
            (None, None) => {}
        }
        true
    }

    /// Begins a frame of h2's.
    fn pass(&mut self, head: Head) {
        let out = &mut self.outgoing;
        out.left = head.length;
        if head.kind == frame::DATA && head.length > 0 {
            self.windows.believe(head.length);
            out.aside = !out.held.is_empty() || self.windows.connection() < head.length;
            if out.aside {
                let payload = BytesMut::with_capacity(head.length);
                return out.held.push_back(Held { head, payload });
            }
            self.windows.passed(head.stream, head.length);
        }
        if head.kind == frame::RST_STREAM {
            out.held.retain(|held| held.head.stream != head.stream);
        }
        head.write(&mut out.ready);
        out.block_open = head.leaves_block_open(out.block_open);
        if head.ends_stream() {
            self.windows.close(head.stream);
        }
    }

    /// Passes the head of a response, without its ticket.
    fn pass_block(&mut self, head: Head) {
        let begun = mem::take(&mut self.outgoing.begun);
        let block = &begun[HEAD..];
        let (block, number) = ticket::cut(block).map_or((block, None), |(b, n)| (b, Some(n)));
        let length = block.len();
        self.pass(Head { length, ..head });
        self.outgoing.ready.put_slice(block);
        self.outgoing.left = 0;
        if let Some(ticket) = number.and_then(|number| self.tickets.get_mut(&number)) {
            ticket.stream = Some(head.stream);
            ticket.body.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Lets pass of the DATA that is held what the connection's window allows by now.
    fn release(&mut self) {
        let out = &mut self.outgoing;
        if out.left > 0 {
            return;
        }
        while let Some(held) = out.held.front_mut() {
            let length = held.payload.len().min(self.windows.connection());
            if length == 0 {
                return;
            }
            let part = held.head.part(length, length == held.payload.len());
            part.write(&mut out.ready);
            out.ready.put(held.payload.split_to(length));
            self.windows.passed(part.stream, length);
            if held.payload.is_empty() {
                out.held.pop_front();
            }
            if part.ends_stream() {
                self.windows.close(part.stream);
            }
        }
        self.window_is_free();
    }

    /// Those may send who waited for window.
    fn window_is_free(&mut self) {
        if self.windows.connection() > 0 && mem::take(&mut self.awaits_window) {
            self.wake_carriers();
        }
    }

    /// Writes of a chunk what may be sent now, as DATA.
    fn write_data(&mut self, place: Place, chunk: &mut Chunk) -> Result<(), Blocked> {
        while chunk.has_remaining() {
            let room = self.room(place)?;
            let length = chunk.remaining().min(room).min(PAYLOAD);
            let out = &mut self.outgoing.ready;
            out.reserve(HEAD + length);
            Head::data(place.stream, length).write(out);
            out.put_slice(&chunk.chunk()[..length]);
            chunk.advance(length);
            self.windows.sent(place, length);
        }
        Ok(())
    }

    /// How much of a stream may be sent now; if that is nothing, its carrier is woken when it has changed.
    fn room(&mut self, place: Place) -> Result<usize, Blocked> {
        let room = self.windows.room(place).ok_or(Blocked::Gone)?;
        let out = &self.outgoing;
        // What h2 has begun goes first.
        if !out.held.is_empty() || self.windows.connection() == 0 {
            self.awaits_window = true;
            return Err(Blocked::Wait);
        }
        let in_frame = out.left > 0 || out.block_open || !out.begun.is_empty();
        if in_frame || out.ready.len() >= self.most {
            self.awaits_socket = true;
            return Err(Blocked::Wait);
        }
        if room == 0 {
            Err(Blocked::Wait)
        } else {
            Ok(room)
        }
    }

    /// Wakes who carries a stream: because there is room, its head is sent, or it is gone.
    fn wake(&self, stream: u32) {
        if let Some(carried) = self.carried.get(&stream) {
            carried.carrier.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Has who carries a stream woken.
    fn tie(&mut self, stream: u32, carrier: &Waker) {
        if let Some(carried) = self.carried.get_mut(&stream) {
            carried.carrier = Some(carrier.clone());
        }
    }

    /// A stream has ended: h2 tells the client.
    fn end(&mut self, stream: u32) {
        if let Some(carried) = self.carried.get_mut(&stream) {
            carried.is_over = true;
            carried.body.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Understands what the client has sent, as far as it has come.
    fn read(&mut self) {
        loop {
            let incoming = &mut self.incoming;
            let passing = (PREFACE - incoming.preface).min(incoming.inbox.len());
            incoming.preface += passing;
            let passing = passing + incoming.left.min(incoming.inbox.len() - passing);
            incoming.left = incoming.left.saturating_sub(passing);
            incoming.ready.put(incoming.inbox.split_to(passing));
            if incoming.left > 0 || incoming.preface < PREFACE {
                return;
            }
            let Some((head, payload)) = incoming.inbox.split_first_chunk() else {
                return;
            };
            let head = Head::read(head);
            if head.is_window_update() || head.is_settings() {
                if payload.len() < head.length {
                    return;
                }
                let frame = incoming.inbox.split_to(HEAD + head.length);
                self.read_frame(head, &frame);
                continue;
            }
            match head.kind {
                frame::HEADERS => self.windows.open(head.stream),
                frame::RST_STREAM => self.windows.close(head.stream),
                _ => {}
            }
            incoming.ready.put(incoming.inbox.split_to(HEAD));
            incoming.left = head.length;
        }
    }

    fn read_frame(&mut self, head: Head, frame: &[u8]) {
        let payload = &frame[HEAD..];
        let mut update = Update::Pass;
        if head.is_settings() {
            if let Some(size) = frame::initial_window(payload) {
                self.windows.set_initial(size);
                self.wake_carriers();
            }
        } else {
            let mut payload = payload;
            let step = payload.get_u32() & frame::WINDOW;
            update = self.read_window_update(head.stream, step);
        }
        match update {
            Update::Pass => self.incoming.ready.put_slice(frame),
            Update::Step(0) => {}
            Update::Step(step) => frame::window_update(&mut self.incoming.ready, head.stream, step),
        }
    }

    fn read_window_update(&mut self, stream: u32, step: u32) -> Update {
        if stream == 0 {
            let update = self.windows.widen(step);
            self.writer.take().into_iter().for_each(Waker::wake);
            self.release();
            return update;
        }
        let past = self.carried.contains_key(&stream);
        let update = self.windows.widen_stream(stream, step, past);
        self.wake(stream);
        update
    }

    fn wake_carriers(&self) {
        let carriers = self.carried.values().filter_map(|c| c.carrier.as_ref());
        carriers.for_each(Waker::wake_by_ref);
    }
}

/// A socket between h2 and the client.
pub(super) struct Bypassed<S> {
    io: S,
    bypass: Bypass,
}

impl<S: AsyncWrite + Unpin> Bypassed<S> {
    /// Writes what is ready to be, and wakes who waited for that.
    fn poll_drain(io: &mut S, state: &mut State, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !state.outgoing.ready.is_empty() {
            let count = ready!(Pin::new(&mut *io).poll_write(cx, &state.outgoing.ready))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.outgoing.ready.advance(count);
        }
        // An idle connection keeps no space.
        state.outgoing.ready = BytesMut::new();
        if mem::take(&mut state.awaits_socket) {
            state.wake_carriers();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bypassed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut state = this.bypass.state();
        state.read();
        while state.incoming.ready.is_empty() {
            let mut space = [0; READ];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // What is left is no whole frame: h2 will say so.
                let rest = state.incoming.inbox.split();
                buffer.put_slice(&rest[..rest.len().min(buffer.remaining())]);
                return Poll::Ready(Ok(()));
            }
            state.incoming.inbox.put_slice(read.filled());
            state.read();
        }
        let incoming = &mut state.incoming;
        let count = incoming.ready.len().min(buffer.remaining());
        buffer.put_slice(&incoming.ready.split_to(count));
        if incoming.ready.is_empty() {
            incoming.ready = BytesMut::new();
        }
        if incoming.inbox.is_empty() {
            incoming.inbox = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bypassed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut state = this.bypass.state();
        if state.outgoing.ready.len() >= state.most {
            ready!(Self::poll_drain(&mut this.io, &mut state, cx))?;
        }
        let count = state.write(bytes);
        if count > 0 || bytes.is_empty() {
            return Poll::Ready(Ok(count));
        }
        // Too much is held, and h2 does not come to its flush before there is window.
        state.writer = Some(cx.waker().clone());
        ready!(Self::poll_drain(&mut this.io, &mut state, cx))?;
        drop(state);
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut state = this.bypass.state();
        ready!(Self::poll_drain(&mut this.io, &mut state, cx))?;
        drop(state);
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut state = this.bypass.state();
        ready!(Self::poll_drain(&mut this.io, &mut state, cx))?;
        drop(state);
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
