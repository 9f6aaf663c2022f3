//! POST /publish/{topic} over 16 keep-alive HTTP/1.1 connections, one request at a time on each.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::OwnedFd;

use super::Result;
use super::connection::connect;
use super::head::Head;
use super::partial::Partial;
use super::socket::{Buffers, Endpoint, Socket};
use super::tally::Payload;

const CONNECTIONS: usize = 16;
/// The first connection's token at the epoll; readers' are smaller.
pub(super) const FIRST_TOKEN: u64 = 1 << 32;

/// Publishes; events that find no free connection wait for one, and their latency with them.
pub(super) struct Publisher {
    to: Endpoint,
    path: String,
    payload: Payload,
    connections: Vec<Option<Connection>>,
    /// Those without a request on its way, the longest unused first.
    free: VecDeque<usize>,
    /// Requests for which no connection was free.
    waiting: VecDeque<Vec<u8>>,
    pub(super) answered: u64,
}

struct Connection {
    socket: Socket,
    partial: Partial,
    busy: bool,
}

impl Publisher {
    pub(super) fn new(to: Endpoint, topic: &str, payload: Payload) -> Publisher {
        Publisher {
            to,
            path: format!("/publish/{topic}"),
            payload,
            connections: (0..CONNECTIONS).map(|_| None).collect(),
            free: (0..CONNECTIONS).collect(),
            waiting: VecDeque::new(),
            answered: 0,
        }
    }

    /// Publishes an event that is due at `due`, at once or when a connection is free.
    pub(super) fn publish(&mut self, number: u64, due: u64, epoll: &OwnedFd) -> Result<()> {
        let body = self.payload.make(number, due);
        let mut request = Vec::with_capacity(body.len() + 160);
        write!(
            request,
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            self.path,
            self.to.authority,
            self.payload.media_type(),
            body.len()
        )?;
        request.extend_from_slice(&body);
        self.waiting.push_back(request);
        match self.free.pop_front() {
            Some(index) => self.send_next(index, epoll),
            None => Ok(()),
        }
    }

    /// Forgets what waits for a free connection, the last events that there are; says how many.
    pub(super) fn give_up(&mut self) -> u64 {
        let unsent = self.waiting.len() as u64;
        self.waiting.clear();
        unsent
    }

    /// Takes what came on a connection, and uses it again once it is answered.
    pub(super) fn serve(
        &mut self,
        token: u64,
        buffers: &mut Buffers,
        epoll: &OwnedFd,
    ) -> Result<()> {
        let index = (token - FIRST_TOKEN) as usize;
        let Some(connection) = &mut self.connections[index] else {
            return Ok(());
        };
        connection.socket.flush()?;
        connection.socket.rewatch(epoll, token)?;
        let Some(received) = connection.socket.receive(buffers)? else {
            return Ok(());
        };
        if received.raw == 0 && !connection.busy {
            // A server may close what nobody uses.
            self.connections[index] = None;
        } else if received.raw == 0 {
            return Err("the server closed the connection of a publish".into());
        } else if connection.take(received.bytes)? {
            self.answered += 1;
            self.send_next(index, epoll)?;
        }
        Ok(())
    }

    fn send_next(&mut self, index: usize, epoll: &OwnedFd) -> Result<()> {
        let Some(request) = self.waiting.pop_front() else {
            self.free.push_back(index);
            return Ok(());
        };
        let token = FIRST_TOKEN + index as u64;
        let connection = match &mut self.connections[index] {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.to, epoll, token)?),
        };
        connection.busy = true;
        connection.socket.send(&request)?;
        Ok(connection.socket.rewatch(epoll, token)?)
    }
}

impl Connection {
    fn open(to: &Endpoint, epoll: &OwnedFd, token: u64) -> Result<Connection> {
        let mut socket = connect(to)?;
        socket.watch(epoll, token)?;
        Ok(Connection {
            socket,
            partial: Partial::default(),
            busy: false,
        })
    }

    /// Whether its request is answered now.
    fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        let busy = &mut self.busy;
        self.partial.feed(bytes, |bytes| {
            let used = answer(bytes)?;
            *busy &= used == 0;
            Ok(used)
        })?;
        Ok(!self.busy)
    }
}

/// The length of the first answer, when it is complete.
fn answer(bytes: &[u8]) -> Result<usize> {
    let Some((head, length)) = Head::parse(bytes)? else {
        return Ok(0);
    };
    // nchan says 202 while nobody reads.
    if !head.first_line().starts_with("HTTP/1.1 20") {
        return Err(head.refusal("a publish").into());
    }
    let whole = length + head.content_length()?;
    Ok(if bytes.len() < whole { 0 } else { whole })
}
