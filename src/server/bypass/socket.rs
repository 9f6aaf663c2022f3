//! The socket as h2 sees it. It takes one buffer at a time: h2 takes several as a reason for many small calls.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Bypass, State};
use crate::body::poll_write_all;

/// Bytes read from the socket at a time.
const READ: usize = 4 * 1024;
/// Bytes read ahead of h2 while too much of its own is held: more than our own windows let a client send.
const AHEAD: usize = 512 * 1024;

/// A socket between h2 and the client. Clones are the same socket.
pub(in crate::server) struct Bypassed<S> {
    pub(super) io: Arc<Mutex<S>>,
    pub(super) bypass: Bypass,
}

impl<S> Clone for Bypassed<S> {
    fn clone(&self) -> Self {
        Bypassed {
            io: self.io.clone(),
            bypass: self.bypass.clone(),
        }
    }
}

impl<S> Bypassed<S> {
    fn io(&self) -> MutexGuard<'_, S> {
        self.io.lock().expect("nothing panics under this lock")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bypassed<S> {
    /// Whether all that streams have written is on its way. If not, h2 flushes, and learns what is the matter.
    pub(in crate::server) fn is_flushed(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(Pin::new(self).poll_flush(cx), Poll::Ready(Ok(())))
    }

    /// Writes what is ready to be, and wakes who waited for that.
    fn poll_drain(io: &mut S, state: &mut State, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(poll_write_all(io, cx, &mut state.outgoing.ready))?;
        // An idle connection keeps no space.
        state.outgoing.ready = BytesMut::new();
        if mem::take(&mut state.awaits_socket) {
            state.wake_carriers();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> Bypassed<S> {
    /// Reads something of what the client sends, and understands it; how many bytes, which is none at the end.
    fn poll_fill(
        io: &mut S,
        state: &mut State,
        cx: &mut Context<'_>,
        all: bool,
    ) -> Poll<io::Result<usize>> {
        let mut space = [0; READ];
        let mut read = ReadBuf::new(&mut space);
        ready!(Pin::new(io).poll_read(cx, &mut read))?;
        state.incoming.inbox.put_slice(read.filled());
        state.read(all);
        Poll::Ready(Ok(read.filled().len()))
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
        state.read(false);
        while state.incoming.ready.is_empty() {
            if state.incoming.is_full() && !state.incoming.inbox.is_empty() {
                if state.incoming.reader.replace(cx.waker().clone()).is_none() {
                    this.bypass.go_on(&state.spawner);
                }
                return Poll::Pending;
            }
            if ready!(Self::poll_fill(&mut this.io(), &mut state, cx, false))? == 0 {
                // What is left is no whole frame: h2 will say so.
                let rest = state.incoming.inbox.split();
                buffer.put_slice(&rest[..rest.len().min(buffer.remaining())]);
                return Poll::Ready(Ok(()));
            }
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Bypassed<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut state = this.bypass.state();
        if state.outgoing.ready.len() >= state.most {
            ready!(Self::poll_drain(&mut this.io(), &mut state, cx))?;
        }
        let count = state.write(bytes);
        if count > 0 || bytes.is_empty() {
            return Poll::Ready(Ok(count));
        }
        // Too much is held, and h2 does not come to its flush before there is window.
        state.writer = Some(cx.waker().clone());
        ready!(Self::poll_drain(&mut this.io(), &mut state, cx))?;
        ready!(Pin::new(&mut *this.io()).poll_flush(cx))?;
        // h2 may have to write (a pong, a ping) before it reads on: what widens the window is then read by nobody else.
        while state.incoming.ready.len() < AHEAD {
            if ready!(Self::poll_fill(&mut this.io(), &mut state, cx, true))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let count = state.write(bytes);
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
        Poll::Ready(Err(io::Error::other(
            "the client says much and widens no window",
        )))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut state = this.bypass.state();
        ready!(Self::poll_drain(&mut this.io(), &mut state, cx))?;
        drop(state);
        Pin::new(&mut *this.io()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut state = this.bypass.state();
        ready!(Self::poll_drain(&mut this.io(), &mut state, cx))?;
        drop(state);
        Pin::new(&mut *this.io()).poll_shutdown(cx)
    }
}
