//! What answers are made of: bytes at once, or a stream of shared chunks, each of which may lease a part of what
//! its connection may leave unsent.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use tokio::io::AsyncWrite;

use crate::problem::Problem;

/// A response body that makes its chunks as it is polled.
pub trait Stream: Send {
    /// The next chunk, or `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

/// Said of a request (as an extension of it) by a server that will write a [`Stream`] as it is: what it yields shall
/// be chunks of HTTP/1.1 (RFC 9112, 7.1) already, shared by all readers.
#[derive(Clone, Copy, Debug)]
pub struct Chunked;

/// A response body.
pub enum Body {
    /// All of it is here, or was taken.
    Whole(Option<Chunk>),
    /// It comes as it is made, and never fails: it ends.
    Stream(Box<dyn Stream>),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Body {
        Body::Whole(None)
    }

    /// One chunk, which may have a lease.
    pub fn whole(chunk: Chunk) -> Body {
        Body::Whole(Some(chunk).filter(Buf::has_remaining))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Body {
        Body::whole(Chunk::from(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Chunk;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Self::Error>>> {
        match &mut *self {
            Body::Whole(chunk) => Poll::Ready(chunk.take().map(|c| Ok(Frame::data(c)))),
            Body::Stream(stream) => stream
                .poll_chunk(cx)
                .map(|chunk| chunk.map(|c| Ok(Frame::data(c.into())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(chunk) => chunk.is_none(),
            Body::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(chunk) => {
                SizeHint::with_exact(chunk.as_ref().map_or(0, |c| c.remaining() as u64))
            }
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

/// Bytes on their way out. The lease, if there is one, ends when the protocol below has no more use for them.
#[derive(Debug)]
pub struct Chunk {
    bytes: Bytes,
    _lease: Option<Lease>,
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Chunk {
        Chunk {
            bytes,
            _lease: None,
        }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// Pieces for one write. One piece stays the shared bytes that it is.
#[derive(Debug, Default)]
pub struct Joined {
    first: Bytes,
    more: BytesMut,
}

impl Joined {
    /// Adds a piece.
    pub fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() {
            self.first = bytes;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(&bytes);
    }

    /// How many bytes there are.
    pub fn length(&self) -> usize {
        self.more.len().max(self.first.len())
    }

    /// All of it, unless there is nothing.
    pub fn take(self) -> Option<Bytes> {
        let all = match self.more.is_empty() {
            true => self.first,
            false => self.more.freeze(),
        };
        Some(all).filter(|all| !all.is_empty())
    }
}

/// Writes until nothing is left; what could not be written yet stays in `bytes`.
///
/// # Errors
/// The socket's, and `WriteZero` when it takes nothing.
pub fn poll_write_all<W, B>(io: &mut W, cx: &mut Context<'_>, bytes: &mut B) -> Poll<io::Result<()>>
where
    W: AsyncWrite + Unpin,
    B: Buf,
{
    while bytes.has_remaining() {
        match ready!(Pin::new(&mut *io).poll_write(cx, bytes.chunk()))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => bytes.advance(count),
        }
    }
    Poll::Ready(Ok(()))
}

/// How many bytes the streams of one HTTP/2 connection may leave unsent together: h2 bounds each stream alone,
/// and a thousand bounds of one stream are not a bound of a connection.
#[derive(Debug)]
pub struct Unsent {
    limit: usize,
    used: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
}

impl Unsent {
    /// Room for `limit` bytes, exceeded by at most one event.
    pub fn new(limit: usize) -> Arc<Unsent> {
        Arc::new(Unsent {
            limit,
            used: AtomicUsize::new(0),
            waiting: Mutex::new(Vec::new()),
        })
    }

    /// Ready when there is room at all.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.used.load(Ordering::Acquire) < self.limit {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        if !waiting.iter().any(|w| w.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        drop(waiting);
        match self.used.load(Ordering::Acquire) < self.limit {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Marks bytes as on their way.
    pub fn lease(self: &Arc<Unsent>, bytes: Bytes) -> Chunk {
        let lease = Some(self.reserve(bytes.len()));
        Chunk {
            bytes,
            _lease: lease,
        }
    }

    /// Takes room for bytes that are still to be made.
    pub fn reserve(self: &Arc<Unsent>, size: usize) -> Lease {
        self.used.fetch_add(size, Ordering::AcqRel);
        let unsent = self.clone();
        Lease { unsent, size }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().expect("nothing panics under this lock")
    }
}

/// Room that is taken, until this is dropped.
#[derive(Debug)]
pub struct Lease {
    unsent: Arc<Unsent>,
    size: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let used = self.unsent.used.fetch_sub(self.size, Ordering::AcqRel);
        if used >= self.unsent.limit {
            // Taken out first: a waker may run what takes this lock.
            let waiting = std::mem::take(&mut *self.unsent.waiting());
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// A problem as an answer (RFC 9457, section 3).
pub fn refused(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::from(problem.json()));
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.extend(problem.headers.iter().cloned());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
