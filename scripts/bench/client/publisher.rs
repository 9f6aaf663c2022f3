//! POST /publish/{topic} over 16 keep-alive HTTP/1.1 connections, one request at a time on each.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::TOPIC;
use crate::Result;
use crate::head::Head;
use crate::partial::Partial;
use crate::socket::{Buffers, Socket};
use crate::tally;

const CONNECTIONS: usize = 16;
/// The first connection's token at the epoll; readers' are smaller.
pub const FIRST_TOKEN: u64 = 1 << 32;

/// Publishes; events that find no free connection wait for one, and their latency with them.
pub struct Publisher {
    connections: Vec<Connection>,
    free: Vec<usize>,
    waiting: VecDeque<Vec<u8>>,
    host: String,
    payload: usize,
    pub answered: u64,
}

struct Connection {
    socket: Socket,
    partial: Partial,
}

impl Publisher {
    pub fn connect(address: SocketAddr, payload: usize, epoll: &OwnedFd) -> Result<Publisher> {
        let connect = |index| {
            let mut socket = Socket::connect(address, None)?;
            socket.watch(epoll, FIRST_TOKEN + index as u64)?;
            let partial = Partial::default();
            Ok(Connection { socket, partial })
        };
        Ok(Publisher {
            connections: (0..CONNECTIONS).map(connect).collect::<Result<_>>()?,
            free: (0..CONNECTIONS).collect(),
            waiting: VecDeque::new(),
            host: address.to_string(),
            payload,
            answered: 0,
        })
    }

    /// Publishes an event that is due at `due`, at once or when a connection is free.
    pub fn publish(&mut self, number: u64, due: u64, epoll: &OwnedFd) -> Result<()> {
        let body = tally::payload(number, due, self.payload);
        let mut request = Vec::with_capacity(body.len() + 160);
        write!(
            request,
            "POST /publish/{TOPIC} HTTP/1.1\r\nhost: {}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        )?;
        request.extend_from_slice(&body);
        self.waiting.push_back(request);
        match self.free.pop() {
            Some(index) => self.send_next(index, epoll),
            None => Ok(()),
        }
    }

    /// Takes what came on a connection, and uses it again once it is answered.
    pub fn serve(&mut self, token: u64, buffers: &mut Buffers, epoll: &OwnedFd) -> Result<()> {
        let index = (token - FIRST_TOKEN) as usize;
        let Connection { socket, partial } = &mut self.connections[index];
        socket.flush()?;
        socket.rewatch(epoll, token)?;
        let Some(received) = socket.receive(buffers)? else {
            return Ok(());
        };
        if received.raw == 0 {
            return Err("the server closed a publisher's connection".into());
        }
        let mut answered = false;
        partial.feed(received.bytes, |bytes| {
            let used = answer(bytes)?;
            answered |= used > 0;
            Ok(used)
        })?;
        if answered {
            self.answered += 1;
            self.send_next(index, epoll)?;
        }
        Ok(())
    }

    fn send_next(&mut self, index: usize, epoll: &OwnedFd) -> Result<()> {
        let Some(request) = self.waiting.pop_front() else {
            self.free.push(index);
            return Ok(());
        };
        let socket = &mut self.connections[index].socket;
        socket.send(&request)?;
        Ok(socket.rewatch(epoll, FIRST_TOKEN + index as u64)?)
    }
}

/// The length of the first answer, when it is complete.
fn answer(bytes: &[u8]) -> Result<usize> {
    let Some((head, length)) = Head::parse(bytes)? else {
        return Ok(0);
    };
    if !head.first_line().starts_with("HTTP/1.1 201") {
        return Err(format!("a publish was answered {}", head.first_line()).into());
    }
    let whole = length + head.content_length()?;
    Ok(if bytes.len() < whole { 0 } else { whole })
}
