//! A TCP socket that counts what passes, tells when it is blocked, and leaves so that its last words are read.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::writev;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::accept::Place;
use super::stalled::Watched;
use crate::counts::{Connection, Cut, Meter};

/// What the peer may still send after our last word, and for how long.
const DISCARD_BYTES: usize = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// How much later the end of what a peer says is told than it came.
const LATE: Duration = Duration::from_millis(250);

/// What the watch over stalled peers needs of a socket.
pub(super) struct Progress {
    pub(super) stream: TcpStream,
    pub(super) connection: Arc<Connection>,
    /// Milliseconds of the watch's clock since which nothing could be written, nor was taken; 0 while all is well.
    pub(super) blocked_since: AtomicU64,
    /// What the kernel held for the peer when the watch last looked at it blocked.
    pub(super) left: AtomicU64,
    /// Whether the kernel's own limit was lifted for a peer that lives but takes nothing.
    pub(super) lifted: AtomicBool,
    /// Both ends, which the kernel does not tell any more once the peer is gone.
    pub(super) port: u16,
    pub(super) peer: SocketAddr,
}

impl Progress {
    /// Whether the last write found no room.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.load(Relaxed) != 0
    }
}

impl Cut for Progress {
    fn cut(&self) {
        let _ = SockRef::from(&self.stream).shutdown(std::net::Shutdown::Both);
    }
}

/// The lowest layer of every connection. What every event touches is kept apart from the rest.
pub(super) struct Socket {
    progress: Arc<Progress>,
    meter: Meter,
    end: End,
    /// Whether the last write found no room, as `progress` knows too: what is here need not be fetched.
    blocked: bool,
    rest: Box<Rest>,
}

/// What a socket needs at its beginning and its end.
struct Rest {
    /// Read already, to be read again.
    unread: Bytes,
    eof: bool,
    leaving: Option<Leaving>,
    watched: Watched,
    place: Option<Place>,
}

/// When the end of what the peer says is told. hyper takes a client that has finished for one that is gone, and would
/// not answer who finishes right after the question.
enum End {
    /// As soon as it comes.
    AtOnce,
    /// A moment late, if something was read since the last write: it may be a question.
    Late { asked: bool },
    /// It has come, and waits.
    Waiting(Pin<Box<Sleep>>),
}

struct Leaving {
    timer: Pin<Box<Sleep>>,
    discarded: usize,
}

/// Sets what TCP may hold for us, and sends what is written at once.
pub(super) fn tune(stream: &TcpStream, unsent: usize, dead: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    // The kernel doubles this for its own bookkeeping, and does not grow it any more: a quarter of the bound
    // here leaves half of it to the buffers above.
    socket.set_send_buffer_size(unsent / 4)?;
    #[cfg(target_os = "linux")]
    {
        // Unsent bytes only: what is in flight is the network's, not a backlog.
        socket.set_tcp_notsent_lowat((unsent / 4) as u32)?;
        socket.set_tcp_user_timeout(Some(dead))?;
    }
    Ok(())
}

impl Socket {
    pub(super) fn new(progress: Arc<Progress>, watched: Watched) -> Socket {
        Socket {
            meter: progress.connection.meter(),
            progress,
            end: End::AtOnce,
            blocked: false,
            rest: Box::new(Rest {
                unread: Bytes::new(),
                eof: false,
                leaving: None,
                watched,
                place: None,
            }),
        }
    }

    /// Leaves this place when it is dropped.
    pub(super) fn hold(&mut self, place: Place) {
        self.rest.place = Some(place);
    }

    /// Puts bytes back, to be read again before what follows.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.rest.unread = bytes;
    }

    /// From now on tells the end of what the peer says late, so that what it asked last is answered first.
    pub(super) fn end_late(&mut self) {
        self.end = End::Late { asked: true };
    }

    fn try_io<T>(&mut self, result: io::Result<T>) -> Option<io::Result<T>> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(match is_dead(&error) {
                true => self.rest.watched.dead(&self.progress, &error),
                false => error,
            })),
            ok => Some(ok),
        }
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        // At once: the runtime knows only of a socket that was full before, and to ask it costs as much as to try.
        let mut tried = write(&self.progress.stream).map_err(io::Error::from);
        loop {
            if let Some(done) = self.try_io(tried) {
                if let Ok(count) = done {
                    self.wrote(count);
                }
                return Poll::Ready(done);
            }
            if self.progress.stream.poll_write_ready(cx)?.is_pending() {
                self.blocked = true;
                self.rest.watched.blocked(&self.progress);
                return Poll::Pending;
            }
            // Through the runtime, which forgets that the socket had room if it has none.
            let stream = &self.progress.stream;
            tried = stream.try_io(Interest::WRITABLE, || Ok(write(stream)?));
        }
    }

    fn wrote(&mut self, count: usize) {
        let listener = self.meter.listener();
        listener.bytes_out.fetch_add(count as u64, Relaxed);
        if mem::take(&mut self.blocked) {
            self.rest.watched.unblocked(&self.progress);
        }
        self.end.answered();
    }

    fn poll_read_socket(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.progress.stream.poll_read_ready(cx))?;
            let room = buffer.remaining();
            // Into the space as it is: to clear it first would touch pages that nobody needs.
            let tried = self.progress.stream.try_read_buf(buffer);
            match self.try_io(tried) {
                Some(Ok(count)) => {
                    self.rest.eof = count == 0 && room > 0;
                    self.meter
                        .listener()
                        .bytes_in
                        .fetch_add(count as u64, Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => {
                    self.rest.eof = true;
                    return Poll::Ready(Err(error));
                }
                None => {}
            }
        }
    }

    /// After our end is closed: reads on until the peer has closed too, or has had its time. A socket that is
    /// closed with bytes unread answers with RST, which can take our last words with it.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; 4096];
        while !self.rest.eof {
            let mut buffer = ReadBuf::new(&mut space);
            let read = self.poll_read_socket(cx, &mut buffer);
            let Some(leaving) = self.rest.leaving.as_mut() else {
                break;
            };
            if read.is_pending() {
                return leaving.timer.as_mut().poll(cx).map(Ok);
            }
            leaving.discarded += buffer.filled().len();
            if leaving.discarded > DISCARD_BYTES {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl End {
    fn answered(&mut self) {
        if let End::Late { asked } = self {
            *asked = false;
        }
    }

    /// Ready when what was read may be told.
    fn poll(&mut self, cx: &mut Context<'_>, ended: bool) -> Poll<()> {
        match self {
            End::Late { asked } if !ended => *asked = true,
            End::Late { asked: true } => {
                *self = End::Waiting(Box::pin(tokio::time::sleep(LATE)));
                return self.poll(cx, ended);
            }
            End::Waiting(timer) => return timer.as_mut().poll(cx),
            End::Late { asked: false } | End::AtOnce => {}
        }
        Poll::Ready(())
    }
}

/// Whether the kernel has given the peer up: it acknowledged nothing for too long, perhaps because the network or
/// the host could not be reached, of which the kernel then tells the last it knew.
fn is_dead(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(
        error.kind(),
        TimedOut | HostUnreachable | NetworkUnreachable
    )
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let unread = &mut this.rest.unread;
        if !unread.is_empty() {
            let count = unread.len().min(buffer.remaining());
            buffer.put_slice(&unread.split_to(count));
            if unread.is_empty() {
                *unread = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(this.poll_read_socket(cx, buffer))?;
        let ended = buffer.filled().len() == before && buffer.remaining() > 0;
        this.end.poll(cx, ended).map(Ok)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, |stream| send(stream, bytes, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, |stream| writev(stream, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.leaving.is_none() {
            match SockRef::from(&this.progress.stream).shutdown(std::net::Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                    return Poll::Ready(Err(error));
                }
                _ => {}
            }
            this.rest.leaving = Some(Leaving {
                timer: Box::pin(tokio::time::sleep_until(Instant::now() + DISCARD_TIME)),
                discarded: 0,
            });
        }
        this.poll_discard(cx)
    }
}
