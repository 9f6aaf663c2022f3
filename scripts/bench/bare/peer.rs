//! One connection of the bare loop: what it asked for, and the answer. No request is checked; whoever runs
//! this is the load client.

use crate::Result;
use crate::bare::encode::{self, Bytes, Ids};
use crate::client::websocket::ACCEPT;
use crate::frame::{self, Frame};
use crate::head::Head;
use crate::partial::Partial;
use crate::socket::{Buffers, Socket};

/// Unsent bytes beyond which events pass a peer by. Those of one write are always taken whole.
const UNSENT: usize = 256 * 1024;

const SSE_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
                        x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";

pub struct Peer {
    pub socket: Socket,
    role: Role,
}

enum Role {
    /// Not yet known, or a publisher.
    Http1(Partial),
    Sse,
    WebSocket,
    Http2(Box<Http2>),
}

#[derive(Default)]
struct Http2 {
    partial: Partial,
    begun: bool,
    streams: Vec<u32>,
}

/// DATA frames as they were written last: most connections have the same streams.
#[derive(Default)]
pub struct DataFrames {
    streams: Vec<u32>,
    bytes: Vec<u8>,
}

/// What a peer's bytes lead to beside its own answer: events to fan out.
pub struct Publishes {
    pub ids: Ids,
    pub batch: Vec<(String, String)>,
}

impl Peer {
    pub fn new(socket: Socket, http2: bool) -> Peer {
        Peer {
            socket,
            role: if http2 {
                Role::Http2(Box::default())
            } else {
                Role::Http1(Partial::default())
            },
        }
    }

    /// Reads once and answers; false when the peer has left.
    pub fn serve(&mut self, buffers: &mut Buffers, publishes: &mut Publishes) -> Result<bool> {
        self.socket.flush()?;
        let Some(received) = self.socket.receive(buffers)? else {
            return Ok(true);
        };
        let mut answer = Vec::new();
        let mut next = None;
        match &mut self.role {
            Role::Http1(partial) => partial.feed(received.bytes, |bytes| {
                let (used, role) = request(bytes, publishes, &mut answer)?;
                next = next.take().or(role);
                Ok(used)
            })?,
            Role::Http2(connection) => {
                connection.receive(received.bytes, &publishes.ids, &mut answer)?
            }
            Role::Sse | Role::WebSocket => {}
        }
        let open = received.raw > 0;
        if let Some(role) = next {
            self.role = role;
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
        match &self.role {
            Role::Http1(_) => Ok(()),
            Role::Sse => Ok(self.socket.send(&bytes.chunks)?),
            Role::WebSocket => Ok(self.socket.send(&bytes.frames)?),
            Role::Http2(connection) => Ok(self
                .socket
                .send(data.of(&connection.streams, &bytes.blocks))?),
        }
    }
}

impl DataFrames {
    fn of(&mut self, streams: &[u32], blocks: &[u8]) -> &[u8] {
        if self.streams != streams {
            self.streams = streams.to_vec();
            self.bytes = encode::data_frames(streams, blocks);
        }
        &self.bytes
    }
}

impl Http2 {
    fn receive(&mut self, bytes: &[u8], ids: &Ids, answer: &mut Vec<u8>) -> Result<()> {
        let (begun, streams) = (&mut self.begun, &mut self.streams);
        self.partial.feed(bytes, |bytes| {
            if !*begun {
                *begun = bytes.len() >= frame::PREFACE.len();
                return Ok(if *begun { frame::PREFACE.len() } else { 0 });
            }
            let Some((frame, used)) = frame::parse(bytes) else {
                return Ok(0);
            };
            take(&frame, streams, ids, answer);
            Ok(used)
        })
    }
}

fn take(frame: &Frame, streams: &mut Vec<u32>, ids: &Ids, answer: &mut Vec<u8>) {
    match frame.kind {
        frame::SETTINGS if frame.flags & frame::ACK == 0 => {
            frame::write(answer, frame::SETTINGS, 0, 0, &[]);
            frame::write(answer, frame::SETTINGS, frame::ACK, 0, &[]);
        }
        frame::HEADERS => {
            streams.push(frame.stream);
            let ready = encode::ready_block(&ids.last());
            frame::write(
                answer,
                frame::HEADERS,
                frame::END_HEADERS,
                frame.stream,
                &answer_head(),
            );
            frame::write(answer, frame::DATA, 0, frame.stream, ready.as_bytes());
        }
        frame::PING if frame.flags & frame::ACK == 0 => {
            frame::write(answer, frame::PING, frame::ACK, 0, frame.payload);
        }
        _ => {}
    }
}

/// `:status 200` and the content type, a literal under a name of HPACK's static table.
fn answer_head() -> Vec<u8> {
    const CONTENT_TYPE: [u8; 2] = [0x0f, 31 - 15];
    let value = b"text/event-stream";
    [
        &[frame::STATUS_200],
        &CONTENT_TYPE[..],
        &[value.len() as u8],
        value,
    ]
    .concat()
}

/// Answers the first request in `bytes`: its length, and what the connection becomes by it.
fn request(
    bytes: &[u8],
    publishes: &mut Publishes,
    answer: &mut Vec<u8>,
) -> Result<(usize, Option<Role>)> {
    let Some((head, length)) = Head::parse(bytes)? else {
        return Ok((0, None));
    };
    if head.first_line().starts_with("POST") {
        let whole = length + head.content_length()?;
        let Some(body) = bytes.get(length..whole) else {
            return Ok((0, None));
        };
        publish(std::str::from_utf8(body)?, publishes, answer);
        return Ok((whole, None));
    }
    let cursor = publishes.ids.last();
    if head.field("upgrade").is_some() {
        let upgrade =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n";
        answer.extend_from_slice(
            format!("{upgrade}sec-websocket-accept: {ACCEPT}\r\n\r\n").as_bytes(),
        );
        encode::text(answer, &encode::ready_message(&cursor));
        return Ok((length, Some(Role::WebSocket)));
    }
    answer.extend_from_slice(SSE_HEAD.as_bytes());
    encode::chunk(answer, &encode::ready_block(&cursor));
    Ok((length, Some(Role::Sse)))
}

fn publish(payload: &str, publishes: &mut Publishes, answer: &mut Vec<u8>) {
    let id = publishes.ids.next();
    let body = format!(r#"{{"id":"{id}"}}"#);
    let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length";
    answer.extend_from_slice(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes());
    publishes.batch.push((id, payload.to_owned()));
}
