//! A socket that takes a little at a time, and whole frames of events past the library that makes frames.
//!
//! On HTTP/2 hyper queues up to three writes of each upgraded stream, of any size, and nobody above is told when they
//! have left: a hundred streams whose peer does not read held a hundred times three events.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::poll_write_all;

/// Bytes of one write on HTTP/2.
const SIP: usize = 4 * 1024;

/// An upgraded connection or stream.
pub(super) struct Sips {
    io: TokioIo<Upgraded>,
    most: usize,
    /// Frames that go before whatever the library writes next.
    ahead: Bytes,
}

impl Sips {
    /// Takes as much at a time as there is; on HTTP/2, a little.
    pub(super) fn new(upgraded: Upgraded, http2: bool) -> Sips {
        Sips {
            io: TokioIo::new(upgraded),
            most: if http2 { SIP } else { usize::MAX },
            ahead: Bytes::new(),
        }
    }

    /// Takes frames past the library, which must have nothing unwritten: [`Sips::poll_past`] writes them.
    pub(super) fn push(&mut self, frames: Bytes) {
        self.ahead = frames;
    }

    /// Ready when the frames are written. Until then the library must not be asked for anything: it knows nothing of
    /// them, and would take the socket for free.
    pub(super) fn poll_past(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(poll_write_all(&mut self.io, cx, &mut self.ahead))?;
        // Not to hold what is sent.
        self.ahead = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Sips {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Sips {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let sip = &bytes[..bytes.len().min(self.most)];
        Pin::new(&mut self.io).poll_write(cx, sip)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ahead(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What has not left by now is not waited for.
        self.ahead = Bytes::new();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
