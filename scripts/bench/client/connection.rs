//! One connection of readers: a socket, its protocol and the readers on it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use super::http1::Http1;
use super::http2::Http2;
use super::long_poll::LongPoll;
use super::websocket::WebSocket;
use super::{Reads, Wire};
use crate::Result;
use crate::clock;
use crate::note::{Dialect, Note};
use crate::socket::{Buffers, Socket};
use crate::tally::Tally;
use crate::transport::Transport;

/// Where readers and the publisher connect to, and how.
pub struct Target {
    pub transport: Transport,
    pub readers: SocketAddr,
    pub publishing: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
    pub dialect: Dialect,
}

pub struct Connection {
    pub socket: Socket,
    /// The number of its first reader.
    pub first: usize,
    /// Whether the server may close it: it stopped reading.
    pub may_close: bool,
    wire: Box<dyn Wire>,
    dialect: Dialect,
}

impl Target {
    fn wire(&self, streams: usize) -> Box<dyn Wire> {
        let host = self.readers.to_string();
        match self.transport {
            Transport::SseHttp1 | Transport::SseHttp1s => Box::new(Http1::new(host)),
            Transport::SseH2c | Transport::SseHttp2 => {
                Box::new(Http2::new(&host, self.tls.is_some(), streams))
            }
            Transport::LongPoll => Box::new(LongPoll::new(host)),
            Transport::Ws | Transport::Wss => Box::new(WebSocket::new(host)),
        }
    }
}

impl Connection {
    /// Starts to connect, and has the first bytes ready.
    pub fn open(
        target: &Target,
        streams: usize,
        first: usize,
        epoll: &OwnedFd,
        token: u64,
    ) -> Result<Connection> {
        let wire = target.wire(streams);
        let mut socket = Socket::connect(target.readers, target.tls.as_ref())?;
        socket.send(&wire.hello())?;
        socket.watch(epoll, token)?;
        Ok(Connection {
            socket,
            first,
            may_close: false,
            wire,
            dialect: target.dialect,
        })
    }

    /// Reads once, tells the tally what came, and answers what must be answered.
    pub fn serve(
        &mut self,
        buffers: &mut Buffers,
        tally: &mut Tally,
        reads: &mut Reads,
    ) -> Result<()> {
        self.socket.flush()?;
        let Some(received) = self.socket.receive(buffers)? else {
            return Ok(());
        };
        if received.raw == 0 {
            return Err("the server closed the connection".into());
        }
        reads.bytes += received.raw as u64;
        reads.count += 1;
        let (now, first, dialect) = (clock::now(), self.first, self.dialect);
        let mut answer = Vec::new();
        let mut each = |stream, note: Note| match dialect.read(note)? {
            Some(note) => tally.note(first + stream, note, now),
            None => Ok(()),
        };
        self.wire.receive(received.bytes, &mut answer, &mut each)?;
        if !answer.is_empty() {
            self.socket.send(&answer)?;
        }
        Ok(())
    }
}
