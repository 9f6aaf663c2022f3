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

use bytes::{Buf, Bytes};
use hyper::http::response::Parts;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::HttpService;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::socket::Progress;
use crate::body::{Body, Chunked, Stream};
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

/// Carries a stream to its end, or to the client's, as a member of this bundle.
pub(super) async fn carry<S>(mut io: S, taken: Taken, bundle: Spawner) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut carrying = Carrying {
        stream: taken.stream,
        writing: head(&taken.head)?,
        over: false,
        unflushed: false,
        bundle,
    };
    drop(taken.head);
    std::future::poll_fn(|cx| carrying.poll(&mut io, cx)).await?;
    // The seat is left before the courtesies.
    drop(carrying);
    io.shutdown().await
}

struct Carrying {
    stream: Box<dyn Stream>,
    /// What is not written yet.
    writing: Bytes,
    over: bool,
    unflushed: bool,
    bundle: Spawner,
}

impl Carrying {
    fn poll<S>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // A client that has closed its side is gone, whether or not anything can be written.
        let mut said = 0;
        if !self.bundle.is_only_rung() && poll_gone(io, cx, &mut said).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let polled = self.poll_out(io, cx);
        // Last, since a stream that has seen all forgets who was woken.
        if said >= TURN && polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }

    fn poll_out<S>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        loop {
            while !self.writing.is_empty() {
                self.unflushed = true;
                match ready!(Pin::new(&mut *io).poll_write(cx, &self.writing))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => self.writing.advance(count),
                }
            }
            if self.over {
                return Pin::new(io).poll_flush(cx);
            }
            match self.stream.poll_chunk(cx) {
                Poll::Ready(Some(chunk)) => self.writing = chunk.into_bytes(),
                Poll::Ready(None) => {
                    self.writing = LAST_CHUNK;
                    self.over = true;
                }
                Poll::Pending if self.unflushed => {
                    ready!(Pin::new(&mut *io).poll_flush(cx))?;
                    self.unflushed = false;
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Ready when the client has closed or reset the connection. What else it sends is read and dropped.
/// After [`TURN`] of it others have their turn.
fn poll_gone<S>(io: &mut S, cx: &mut Context<'_>, said: &mut usize) -> Poll<()>
where
    S: AsyncRead + Unpin,
{
    let mut space = [0; 512];
    while *said < TURN {
        let mut read = ReadBuf::new(&mut space);
        match ready!(Pin::new(&mut *io).poll_read(cx, &mut read)) {
            Ok(()) if !read.filled().is_empty() => *said += read.filled().len(),
            _ => return Poll::Ready(()),
        }
    }
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
