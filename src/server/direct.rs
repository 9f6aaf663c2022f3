//! Event streams on HTTP/1.1 without hyper: once it has read and checked a GET without body, and has flushed what
//! went before, the socket is taken over and the chunks (RFC 9112, 7.1) are written in a bare loop.
//!
//! hyper keeps two buffers of 8 KiB a connection, and a stream needs neither. Everything else stays in hyper.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use hyper::http::response::Parts;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::HttpService;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Progress;
use crate::body::{Body, Chunked, Stream, poll_write_all};
use crate::bundle::Spawner;

/// The end of a chunked body (RFC 9112, 7.1).
const LAST_CHUNK: Bytes = Bytes::from_static(b"0\r\n\r\n");

/// How many bytes a client may say at a time.
const TURN: usize = 8 * 1024;

/// Where a service leaves the stream that it has made, for the connection to carry.
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Taken>>>);

/// A response whose body is a stream.
pub(super) struct Taken {
    head: Parts,
    stream: Box<dyn Stream>,
}

impl Handover {
    /// Whether the answer to a request may leave hyper, if it is a stream.
    pub(super) fn fits(request: &Request<Incoming>) -> bool {
        use hyper::body::Body as _;
        request.method() == hyper::Method::GET
            && request.version() == hyper::Version::HTTP_11
            && request.body().is_end_stream()
    }

    /// Asks for the stream in the form in which it will be written here.
    pub(super) fn mark(request: &mut Request<Incoming>) {
        request.extensions_mut().insert(Chunked);
    }

    /// Leaves a stream to be carried, and never comes back; hands any other response on.
    pub(super) async fn hand_over(&self, response: Response<Body>) -> Response<Body> {
        match response.into_parts() {
            (head, Body::Stream(stream)) => {
                *self.slot() = Some(Taken { head, stream });
                std::future::pending().await
            }
            (head, body) => Response::from_parts(head, body),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Taken>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// hyper's side of a connection, until it ends or a stream is to be carried.
pub(super) struct UntilTaken<S, V: HttpService<Incoming>> {
    connection: Option<UpgradeableConnection<TokioIo<S>, V>>,
    handover: Handover,
    progress: Arc<Progress>,
}

impl<S, V> UntilTaken<S, V>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = Body, Error = std::convert::Infallible> + Unpin,
{
    pub(super) fn new(
        connection: UpgradeableConnection<TokioIo<S>, V>,
        handover: Handover,
        progress: Arc<Progress>,
    ) -> Self {
        UntilTaken {
            connection: Some(connection),
            handover,
            progress,
        }
    }

    /// Asks the connection to end after the request that it is at.
    pub(super) fn leave(&mut self) {
        if let Some(connection) = self.connection.as_mut() {
            Pin::new(connection).graceful_shutdown();
        }
    }

    /// The socket and the stream, once there is a stream and nothing of hyper's is left to be written.
    fn take(&mut self) -> Option<(S, Taken)> {
        // What hyper has not written yet is waiting for a socket that is blocked.
        if self.handover.slot().is_none() || self.progress.is_blocked() {
            return None;
        }
        let parts = self.connection.take()?.into_parts()?;
        let taken = self.handover.slot().take()?;
        // What the client has sent after its GET is not answered: the response says `connection: close`.
        Some((parts.io.into_inner(), taken))
    }
}

impl<S, V> Future for UntilTaken<S, V>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = Body, Error = std::convert::Infallible> + Unpin,
{
    type Output = hyper::Result<Option<(S, Taken)>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(connection) = this.connection.as_mut() else {
            return Poll::Ready(Ok(None));
        };
        match Pin::new(connection).poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.map(|()| None)),
            Poll::Pending => match this.take() {
                Some(taken) => Poll::Ready(Ok(Some(taken))),
                None => Poll::Pending,
            },
        }
    }
}

/// A stream on its way to the client, to the end of either, as a member of a bundle. Its own future, since one that a
/// compiler makes has room for each of its states, and every subscriber would pay for it.
pub(super) struct Carrying<S> {
    io: S,
    bundle: Spawner,
    /// Until it has said all.
    stream: Option<Box<dyn Stream>>,
    /// What is not written yet, when the socket was full.
    left: Option<Box<Bytes>>,
    unflushed: bool,
    leaving: bool,
}

/// Carries a stream, beginning with the head of the response.
pub(super) fn carry<S>(io: S, taken: Taken, bundle: Spawner) -> io::Result<Carrying<S>> {
    Ok(Carrying {
        io,
        bundle,
        stream: Some(taken.stream),
        left: Some(Box::new(head(&taken.head)?)),
        unflushed: false,
        leaving: false,
    })
}

impl<S> Future for Carrying<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.leaving {
            ready!(this.poll_carry(cx))?;
            // The seat is left before the courtesies.
            this.stream = None;
            this.leaving = true;
        }
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<S> Carrying<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Ready when all is written, or the client is gone.
    fn poll_carry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A client that has closed its side is gone, whether or not anything can be written.
        if !self.bundle.is_only_rung() && poll_gone(&mut self.io, cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if let Some(left) = self.left.take() {
            ready!(self.poll_write(cx, *left))?;
        }
        while let Some(stream) = &mut self.stream {
            match stream.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => ready!(self.poll_write(cx, chunk))?,
                Poll::Ready(None) => {
                    self.stream = None;
                    ready!(self.poll_write(cx, LAST_CHUNK))?;
                }
                Poll::Pending => {
                    ready!(self.poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
        self.poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, mut bytes: Bytes) -> Poll<io::Result<()>> {
        self.unflushed = true;
        let written = poll_write_all(&mut self.io, cx, &mut bytes);
        if written.is_pending() {
            self.left = Some(Box::new(bytes));
        }
        written
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Ready when the client has closed or reset the connection. What else it sends is read and dropped.
/// After [`TURN`] of it others have their turn.
fn poll_gone<S>(io: &mut S, cx: &mut Context<'_>) -> Poll<()>
where
    S: AsyncRead + Unpin,
{
    let mut space = [0; 512];
    let mut said = 0;
    while said < TURN {
        let mut read = ReadBuf::new(&mut space);
        match ready!(Pin::new(&mut *io).poll_read(cx, &mut read)) {
            Ok(()) if !read.filled().is_empty() => said += read.filled().len(),
            _ => return Poll::Ready(()),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The head of the response, and that of HTTP/1.1's framing: chunks, and nothing after them.
fn head(head: &Parts) -> io::Result<Bytes> {
    let mut text = Vec::with_capacity(256);
    write!(text, "HTTP/1.1 {}\r\n", head.status)?;
    for (name, value) in &head.headers {
        write!(text, "{name}: ")?;
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    write!(
        text,
        "transfer-encoding: chunked\r\nconnection: close\r\ndate: {date}\r\n\r\n"
    )?;
    Ok(text.into())
}
