//! One connection of the bare loop: what it asked for, and the answer. No request is checked; whoever runs
//! this is the load client.

use super::encode;
use super::http2::{DataFrames, Http2};
use super::log::{Bytes, Log};
use crate::Result;
use triwire::load::head::Head;
use triwire::load::note::Id;
use triwire::load::partial::Partial;
use triwire::load::socket::{Buffers, Socket};
use triwire::load::websocket::ACCEPT;

/// Unsent bytes beyond which events pass a peer by. Those of one write are always taken whole.
const UNSENT: usize = 256 * 1024;

pub struct Peer {
    pub socket: Socket,
    role: Role,
}

enum Role {
    /// Not yet known, or a publisher, or a poller that has its answer.
    Http1(Partial),
    Sse,
    WebSocket,
    Poll,
    Http2(Box<Http2>),
}

impl Peer {
    pub fn new(socket: Socket, http2: bool) -> Peer {
        let role = if http2 {
            Role::Http2(Box::default())
        } else {
            Role::Http1(Partial::default())
        };
        Peer { socket, role }
    }

    /// Reads once and answers; false when the peer has left.
    pub fn serve(&mut self, buffers: &mut Buffers, log: &mut Log) -> Result<bool> {
        self.socket.flush()?;
        let Some(received) = self.socket.receive(buffers)? else {
            return Ok(true);
        };
        let open = received.raw > 0;
        let mut answer = Vec::new();
        match &mut self.role {
            Role::Http1(partial) => {
                let mut next = None;
                partial.feed(received.bytes, |bytes| {
                    request(bytes, log, &mut answer, &mut next)
                })?;
                self.role = next.unwrap_or(Role::Http1(std::mem::take(partial)));
            }
            Role::Http2(connection) => connection.receive(received.bytes, log, &mut answer)?,
            Role::Sse | Role::WebSocket | Role::Poll => {}
        }
        if !answer.is_empty() {
            self.socket.send(&answer)?;
        }
        Ok(open)
    }

    /// Writes events to a reader: one write.
    pub fn write(&mut self, bytes: &Bytes, data: &mut DataFrames) -> Result<()> {
        if self.socket.unsent() > UNSENT {
            return Ok(());
        }
        let bytes = match &self.role {
            Role::Http1(_) => return Ok(()),
            Role::Sse => &bytes.chunks,
            Role::WebSocket => &bytes.frames,
            Role::Http2(connection) => data.on(&connection.streams, &bytes.blocks),
            Role::Poll => {
                self.role = Role::Http1(Partial::default());
                &bytes.answer
            }
        };
        Ok(self.socket.send(bytes)?)
    }
}

/// Answers the first request in `bytes`, if it is complete: its length, and what the connection becomes by it.
fn request(
    bytes: &[u8],
    log: &mut Log,
    answer: &mut Vec<u8>,
    next: &mut Option<Role>,
) -> Result<usize> {
    let Some((head, length)) = Head::parse(bytes)? else {
        return Ok(0);
    };
    if head.first_line().starts_with("POST ") {
        let whole = length + head.content_length()?;
        if let Some(body) = bytes.get(length..whole) {
            let id = log.append(std::str::from_utf8(body)?);
            answer.extend(encode::json_answer(
                "201 Created",
                &format!(r#"{{"id":"{id}"}}"#),
            ));
            return Ok(whole);
        }
        return Ok(0);
    }
    if head.first_line().starts_with("GET /poll") {
        match log.poll(after(&head)?) {
            Some(body) => answer.extend(body),
            None => *next = Some(Role::Poll),
        }
    } else if head.field("upgrade").is_some() {
        answer.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n",
        );
        answer.extend_from_slice(format!("sec-websocket-accept: {ACCEPT}\r\n\r\n").as_bytes());
        encode::text(answer, &encode::ready_message(log.cursor()));
        *next = Some(Role::WebSocket);
    } else {
        answer.extend_from_slice(encode::SSE_HEAD.as_bytes());
        encode::chunk(answer, &encode::ready_block(log.cursor()));
        *next = Some(Role::Sse);
    }
    Ok(length)
}

/// The cursor of a poll's query.
fn after(head: &Head) -> Result<Option<Id>> {
    let Some((_, after)) = head.first_line().split_once("&after=") else {
        return Ok(None);
    };
    let end = after.find(['&', ' ']).unwrap_or(after.len());
    let id = Id::parse(&after.as_bytes()[..end]);
    Ok(Some(id.ok_or("a cursor that is no id")?))
}
