//! One connection of readers: a socket, its protocol and the readers on it.

use std::os::fd::OwnedFd;

use super::clock;
use super::http1::Http1;
use super::http2::Http2;
use super::long_poll::LongPoll;
use super::note::Note;
use super::socket::{Buffers, Endpoint, Socket};
use super::tally::Tally;
use super::websocket::WebSocket;
use super::{Ask, Dialect, Result, Target, Wire};
use crate::client::Framing;

pub(super) struct Connection {
    pub(super) socket: Socket,
    /// The number of its first reader.
    pub(super) first: usize,
    /// How many readers it has.
    pub(super) streams: usize,
    /// Whether the server may close it: it stopped reading.
    pub(super) may_close: bool,
    /// When it was asked for, and when its handshakes were over; 0 for not yet.
    pub(super) asked: u64,
    pub(super) secured: u64,
    /// When all its readers were ready, what it had carried: the price of opening it.
    pub(super) opening: Option<super::Traffic>,
    left: usize,
    wire: Box<dyn Wire>,
    dialect: Dialect,
}

fn wire(target: &Target, ask: Ask) -> Box<dyn Wire> {
    let transport = target.transport;
    let websocket = transport.framing == Framing::WebSocket;
    match transport.framing {
        _ if transport.is_http2() => {
            Box::new(Http2::new(ask, target.readers.tls.is_some(), websocket))
        }
        Framing::Sse => Box::new(Http1::new(ask)),
        Framing::WebSocket => Box::new(WebSocket::new(ask)),
        Framing::LongPoll => Box::new(LongPoll::new(ask)),
    }
}

impl Connection {
    /// Starts to connect, and has the first bytes ready. `first` is the number of the first reader.
    pub(super) fn open(
        target: &Target,
        ask: Ask,
        first: usize,
        epoll: &OwnedFd,
        token: u64,
    ) -> Result<Connection> {
        let (asked, streams) = (clock::now(), ask.after.len());
        let wire = wire(target, ask);
        let mut socket = connect(&target.readers)?;
        socket.send(&wire.hello())?;
        socket.watch(epoll, token)?;
        Ok(Connection {
            socket,
            first,
            streams,
            may_close: false,
            asked,
            secured: 0,
            opening: None,
            left: streams,
            wire,
            dialect: target.dialect,
        })
    }

    /// Reads once, tells the tally what came, and answers what must be answered.
    pub(super) fn serve(&mut self, buffers: &mut Buffers, tally: &mut Tally) -> Result<()> {
        self.socket.flush()?;
        let Some(received) = self.socket.receive(buffers)? else {
            return Ok(());
        };
        if received.raw == 0 {
            return Err("the server closed the connection".into());
        }
        let (now, first, dialect) = (clock::now(), self.first, self.dialect);
        let (left, mut answer) = (&mut self.left, Vec::new());
        let mut each = |stream, note: Note| {
            let note = dialect.read(note)?;
            *left -= usize::from(matches!(note, Note::Ready));
            tally.note(first + stream, note, now)
        };
        self.wire.receive(received.bytes, &mut answer, &mut each)?;
        if self.secured == 0 && self.socket.is_secured() {
            self.secured = now;
        }
        if self.left == 0 && self.opening.is_none() {
            self.opening = Some(self.socket.traffic());
        }
        if !answer.is_empty() {
            self.socket.send(&answer)?;
        }
        Ok(())
    }
}

/// In words that say what to do when this side is out of something.
pub(super) fn connect(to: &Endpoint) -> Result<Socket> {
    Socket::connect(to).map_err(|error| {
        let errno = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
        match errno {
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                "no descriptor is left for another connection; ask for fewer readers, or for more by ulimit -n".into()
            }
            Some(rustix::io::Errno::ADDRNOTAVAIL) => {
                "no local port is left for another connection; wait a minute, or ask for fewer readers".into()
            }
            _ => format!("{}: {error}", to.authority).into(),
        }
    })
}
