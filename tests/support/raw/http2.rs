//! HTTP/2 by hand (RFC 9113): frames as they are asked for, in any order and of any size.
//!
//! Header fields are literals without indexing or Huffman coding. Of what comes back only the status is decoded,
//! which the server writes first; SETTINGS forbid it a dynamic table.

use std::time::Instant;

use super::{Peer, text};
use crate::support::server::{PATIENCE, Server};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

pub const HEADER_TABLE_SIZE: u16 = 1;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

pub const REFUSED_STREAM: u32 = 7;

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a stream was answered.
#[derive(Debug, PartialEq)]
pub enum Answered {
    /// With a status and a body.
    With(u16, String),
    /// With RST_STREAM and this code.
    Reset(u32),
    /// Not at all: the connection was closed, with this code of GOAWAY if there was one.
    Closed(Option<u32>),
}

/// A connection after the preface.
pub struct Http2 {
    pub peer: Peer,
    goaway: Option<u32>,
}

impl Http2 {
    pub fn connect(server: &Server, listener: &str) -> Http2 {
        Http2::over(Peer::connect(server, listener), &[])
    }

    /// Sends the preface and these settings.
    pub fn over(mut peer: Peer, settings: &[(u16, u32)]) -> Http2 {
        let mut payload = Vec::new();
        for (name, value) in [(HEADER_TABLE_SIZE, 0)].iter().chain(settings) {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        peer.say([PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat());
        Http2 { peer, goaway: None }
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.peer.say(frame(kind, flags, stream, payload));
    }

    /// A request's HEADERS; with `END_STREAM` it has no body.
    pub fn request(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        self.send(HEADERS, flags | END_HEADERS, stream, &block(fields));
    }

    /// A GET of one of our own.
    pub fn get(&mut self, stream: u32, path: &str) {
        self.request(stream, END_STREAM, &get(path));
    }

    /// Lets the server send so many bytes more on a stream, or, with 0, on all of them together.
    pub fn allow(&mut self, stream: u32, more: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    }

    /// The next frame, or nothing at the end. Acknowledges SETTINGS and answers PING; tolerates that nobody
    /// takes that any more.
    pub fn next(&mut self) -> Option<Frame> {
        let head = self.peer.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.peer.take(length)?;
        let read = Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        };
        let reply = match read.kind {
            SETTINGS if read.flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
            PING if read.flags & ACK == 0 => frame(PING, ACK, 0, &read.payload),
            GOAWAY => {
                self.goaway = Some(number(&read.payload[4..]));
                Vec::new()
            }
            _ => Vec::new(),
        };
        let _ = self.peer.try_say(reply);
        Some(read)
    }

    /// Reads until a stream has been answered, and returns how. Other streams' frames are not kept.
    pub fn answered(&mut self, stream: u32) -> Answered {
        let (mut status, mut body) = (0, Vec::new());
        while let Some(frame) = self.next() {
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => status = self::status(&frame.payload),
                DATA => body.extend_from_slice(&frame.payload),
                RST_STREAM if status != 0 => return Answered::With(status, text(&body)),
                RST_STREAM => return Answered::Reset(number(&frame.payload)),
                _ => {}
            }
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return Answered::With(status, text(&body));
            }
        }
        Answered::Closed(self.goaway)
    }

    /// The code of the server's GOAWAY, read to the end of the connection; nothing when it just hung up.
    pub fn closed(&mut self) -> Option<u32> {
        let deadline = Instant::now() + PATIENCE;
        while self.next().is_some() {
            assert!(Instant::now() < deadline, "it is not closed");
        }
        self.goaway
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The fields of a GET on `localhost`.
pub fn get(path: &str) -> [(&str, &str); 4] {
    [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
    ]
}

/// A header block (RFC 7541, 6.2.2): names and values of less than 127 bytes, or of up to 16,510.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            match text.len() {
                length @ 0..127 => out.push(length as u8),
                length => {
                    let rest = length - 127;
                    out.extend_from_slice(&[127, (rest % 128) as u8 | 128, (rest / 128) as u8]);
                }
            }
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// The big-endian number that a payload begins with.
pub fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().expect("four bytes"))
}

/// The status at the beginning of a header block: one of the static table (RFC 7541, appendix A), or a literal
/// named after entry 8, whose digits are coded in five bits (0 to 2) or six (appendix B).
pub fn status(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // Changes of the dynamic table's size come first.
    let block = &block[block.iter().take_while(|b| **b & 0xe0 == 0x20).count()..];
    if let Some(index) = block[0].checked_sub(0x88) {
        return STATIC[usize::from(index)];
    }
    assert!(
        matches!(block[0], 0x08 | 0x48),
        "not a status first: {block:?}"
    );
    if block[1] & 0x80 == 0 {
        return text(&block[2..5]).parse().expect("three digits");
    }
    let bits = block[2..5]
        .iter()
        .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut left = 24;
    let mut take = |count: u32| {
        left -= count;
        (bits >> left) & ((1 << count) - 1)
    };
    (0..3).fold(0, |status, _| {
        let digit = match take(5) {
            digit @ 0..3 => digit,
            long => (long << 1 | take(1)) - 0x19 + 3,
        };
        status * 10 + digit as u16
    })
}
