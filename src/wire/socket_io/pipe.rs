//! The stream below a WebSocket of Socket.IO, between the library and HTTP: it knows what has left, takes no more from
//! the client than there is room for, and says why a session is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::Sleep;

use super::frames::{Frame, Frames, Passed};
use super::payload;
use super::session::{Farewell, Session};
use crate::body::{Lease, Unsent, poll_write_all};
use crate::counts::{Ride, WireName};
use crate::wire::Carrier;

/// Bytes of one write on HTTP/2, where hyper queues up to three writes of each stream.
const SIP: usize = 4 * 1024;

/// Bytes that are read ahead at a time.
const GULP: usize = 4 * 1024;

/// How long the client may take to read our last words.
const LINGER: Duration = Duration::from_secs(2);

/// The stream.
pub(super) struct Pipe {
    /// Until it is dropped.
    io: Option<TokioIo<Upgraded>>,
    session: Arc<Session>,
    ride: Ride,
    said: Frames,
    heard: Frames,
    /// Bytes of the message that is being heard.
    message: u64,
    /// On HTTP/2, the connection's bound.
    unsent: Option<Arc<Unsent>>,
    leases: Vec<Lease>,
    /// The same of what is read ahead.
    unread: Option<Arc<Unsent>>,
    ahead: Ahead,
    /// Whether the library has said Close.
    has_closed: bool,
    /// Our own Close in place of the library's, which would not say why.
    last_words: Option<Bytes>,
    /// Runs while the client takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Pipe {
    pub(super) fn new(upgraded: Upgraded, session: Arc<Session>, carrier: &Carrier) -> Pipe {
        Pipe {
            io: Some(TokioIo::new(upgraded)),
            session,
            ride: Ride::new(carrier.connection.clone(), WireName::SocketIo),
            said: Frames::default(),
            heard: Frames::default(),
            message: 0,
            unsent: carrier.unsent.clone(),
            leases: Vec::new(),
            unread: carrier.unread.clone(),
            ahead: Ahead::default(),
            has_closed: false,
            last_words: None,
            stuck: None,
        }
    }

    fn io(&mut self) -> Pin<&mut TokioIo<Upgraded>> {
        Pin::new(self.io.as_mut().expect("it is there until the drop"))
    }

    /// Fails what has been pending for so long that the client is given up: the library would wait for ever.
    fn patient<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stuck = None;
            return poll;
        }
        let patience = self.session.hall.limits.patience();
        let stuck = self
            .stuck
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_said(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let is_close = self.said.is_between() && bytes.first() == Some(&CLOSE);
        if is_close && let Some(farewell) = self.session.farewell() {
            self.last_words.get_or_insert_with(|| close(farewell));
        }
        if let Some(mut words) = self.last_words.take() {
            let io = self.io.as_mut().expect("it is there until the drop");
            let written = poll_write_all(io, cx, &mut words);
            self.last_words = Some(words);
            // What the library says besides is not said.
            return written.map_ok(|()| bytes.len());
        }
        let mut most = bytes.len();
        if let Some(unsent) = &self.unsent {
            ready!(unsent.poll_room(cx));
            most = most.min(SIP);
        }
        let written = ready!(self.io().poll_write(cx, &bytes[..most]))?;
        let (session, has_closed) = (&self.session, &mut self.has_closed);
        self.said.pass(&bytes[..written], |passed| {
            if let Passed::Whole(frame) = passed {
                *has_closed |= frame.opcode == Frame::CLOSE;
                session.left(&frame.start);
            }
        });
        self.ride.sent(written);
        if let Some(unsent) = &self.unsent {
            self.leases.push(unsent.reserve(written));
        }
        Poll::Ready(Ok(written))
    }

    /// Reads what there is, also while there is no room for more requests: HTTP/2 counts small frames that nobody reads
    /// against the whole connection, and ends it with ENHANCE_YOUR_CALM.
    fn read_ahead(&mut self, cx: &mut Context<'_>, unread: &Arc<Unsent>) {
        // A little in any case, so that no stream waits for the others of its connection.
        while self.ahead.end.is_none()
            && (self.ahead.bytes.is_empty() || unread.poll_room(cx).is_ready())
        {
            let mut space = [0; GULP];
            let mut read = ReadBuf::new(&mut space);
            match self.io().poll_read(cx, &mut read) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.ahead.bytes.extend_from_slice(read.filled());
                    self.ahead.now(unread);
                }
                Poll::Ready(end) => self.ahead.end = Some(end),
            }
        }
    }

    fn take_ahead(
        &mut self,
        buffer: &mut ReadBuf<'_>,
        unread: &Arc<Unsent>,
    ) -> Poll<io::Result<()>> {
        let count = self.ahead.bytes.len().min(buffer.remaining());
        if count > 0 {
            buffer.put_slice(&self.ahead.bytes.split_to(count));
            self.ahead.now(unread);
            return Poll::Ready(Ok(()));
        }
        // Without an end, reading ahead has seen to it that it is tried again.
        self.ahead.end.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Looks at what the client says for what is too large: the library would end without a word, or hold the answer.
    fn hear(&mut self, bytes: &[u8]) {
        let (session, message) = (&self.session, &mut self.message);
        let limit = session.hall.limits.message as u64;
        self.heard.pass(bytes, |passed| match passed {
            Passed::Header(frame) => {
                match frame.opcode {
                    Frame::CONTINUATION => *message = message.saturating_add(frame.length),
                    opcode if opcode < Frame::CLOSE => *message = frame.length,
                    _ => return,
                }
                if *message > limit {
                    session.close(Farewell::SIZE);
                }
            }
            Passed::Whole(frame) => {
                let length = usize::try_from(frame.length).unwrap_or(usize::MAX);
                if payload::is_absurd(&frame.start, length) {
                    session.close(Farewell::PROTOCOL);
                }
            }
        });
    }
}

/// What was read and not looked at yet.
#[derive(Default)]
struct Ahead {
    bytes: BytesMut,
    lease: Option<Lease>,
    /// Whether nothing comes after it, and why.
    end: Option<io::Result<()>>,
}

impl Ahead {
    /// Changes what there is of it.
    fn now(&mut self, unread: &Arc<Unsent>) {
        self.lease = match self.bytes.len() {
            0 => {
                self.bytes = BytesMut::new();
                None
            }
            length => Some(unread.reserve(length)),
        };
    }
}

/// The first byte of a Close, which is one frame.
const CLOSE: u8 = 0x80 | Frame::CLOSE;

/// A Close with what it is for (RFC 6455, 5.5.1). It is short enough for a length of one byte.
fn close(farewell: Farewell) -> Bytes {
    let mut frame = vec![CLOSE, 2 + farewell.reason.len() as u8];
    frame.extend_from_slice(&u16::from(farewell.code).to_be_bytes());
    frame.extend_from_slice(farewell.reason.as_bytes());
    frame.into()
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.session.poll_farewell(cx).is_some() {
            // The end of the stream, after which the library closes.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match self.unread.clone() {
            None => {
                ready!(self.session.asked.poll_room(cx));
                ready!(self.io().poll_read(cx, buffer))?;
            }
            Some(unread) => {
                self.read_ahead(cx, &unread);
                ready!(self.session.asked.poll_room(cx));
                ready!(self.take_ahead(buffer, &unread))?;
            }
        }
        self.hear(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.poll_said(cx, bytes);
        self.patient(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut flushed = self.io().poll_flush(cx);
        flushed = self.patient(cx, flushed);
        if flushed.is_ready() {
            self.leases = Vec::new();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // An upgrade that has failed leaves the library with a session that neither polls nor is ever given up.
        self.session.hang_up();
        // The library may end without a Close, on what no client should say.
        let is_unsaid = !self.has_closed && self.last_words.is_none() && self.said.is_between();
        let farewell = self.session.farewell().unwrap_or(Farewell::PROTOCOL);
        let words = is_unsaid.then(|| close(farewell));
        // Whoever is still saying what is too large reads nothing before it is said.
        let is_speaking = farewell.code == Farewell::SIZE.code;
        if let (Some(mut io), Ok(runtime)) = (self.io.take(), Handle::try_current()) {
            // The socket's own shutdown discards what comes in for a while, so that our last words reach the client.
            runtime.spawn(tokio::time::timeout(LINGER, async move {
                if let Some(words) = words {
                    let _ = io.write_all(&words).await;
                }
                if is_speaking {
                    let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
                }
                let _ = io.shutdown().await;
            }));
        }
    }
}
