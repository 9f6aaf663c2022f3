//! A TCP connection whose reading can be stopped: below TLS and HTTP, so that a reader on any wire stops alike and
//! the bytes back up in the kernel, as they do behind a client that hangs.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// What the kernel may hold for a client, before it doubles it: little, so that a reader that stops is noticed soon.
const RECEIVE_BUFFER: u32 = 16 * 1024;

/// Stops and resumes the reading of one connection.
#[derive(Clone, Default)]
pub struct Valve(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    closed: bool,
    waiting: Option<Waker>,
}

impl Valve {
    /// From now on nothing is read.
    pub fn close(&self) {
        self.0.lock().expect("not poisoned").closed = true;
    }

    /// Reads on.
    pub fn open(&self) {
        let mut state = self.0.lock().expect("not poisoned");
        state.closed = false;
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().expect("not poisoned");
        if state.closed {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// A connection with its valve.
pub struct Valved {
    stream: TcpStream,
    valve: Valve,
}

impl Valved {
    pub async fn connect(addr: SocketAddr) -> io::Result<(Valved, Valve)> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        let valve = Valve::default();
        let valved = Valved {
            stream,
            valve: valve.clone(),
        };
        Ok((valved, valve))
    }
}

impl AsyncRead for Valved {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.valve.poll_open(cx));
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Valved {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
