//! Readers of a topic whose events are numbered: each knows what it has had and what it was told that it missed, and
//! stops at once when the two do not add up.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::http2::{self, Http2};
use super::{Peer, text, websocket};

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    Sse,
    WebSocket,
}

/// One stream.
pub struct Stream {
    framing: Framing,
    buffer: Vec<u8>,
    /// The number of the event that must come next, or be missed.
    pub next: u64,
    /// How many were missed, as the notices say.
    pub missed: u64,
}

impl Stream {
    pub fn new(framing: Framing) -> Stream {
        Stream {
            framing,
            buffer: Vec::new(),
            next: 0,
            missed: 0,
        }
    }

    /// Takes bytes as they come. What is neither an event nor a gap notice is passed over, be it a chunk's size.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(length) = match self.framing {
            Framing::Sse => line(&self.buffer[from..]),
            Framing::WebSocket => frame(&self.buffer[from..]),
        } {
            let piece = self.buffer[from..from + length].to_vec();
            from += length;
            self.look(&piece);
        }
        self.buffer.drain(..from);
    }

    fn look(&mut self, piece: &[u8]) {
        // A number stands near the beginning, and a notice is short.
        let start = text(&piece[..piece.len().min(500)]);
        let event = match self.framing {
            Framing::Sse => start.strip_prefix("data: \""),
            Framing::WebSocket => start.split_once("\"data\":\"").map(|(_, data)| data),
        };
        if let Some(number) = event.and_then(|data| data.split_once(' ')) {
            assert_eq!(
                number.0,
                self.next.to_string(),
                "{} were missed",
                self.missed
            );
            self.next += 1;
        } else if let Some((_, missed)) = start.split_once("\"missed\":") {
            let digits: String = missed.chars().take_while(char::is_ascii_digit).collect();
            let missed: u64 = digits.parse().expect("a lag of a live reader is counted");
            self.missed += missed;
            self.next += missed;
        }
    }
}

/// The length of the first line.
fn line(bytes: &[u8]) -> Option<usize> {
    // Not `position`, which takes its time over megabytes in a test that is not optimised.
    let mut rest = bytes;
    let length = rest.skip_until(b'\n').expect("a slice can be read");
    (length > 0 && bytes[length - 1] == b'\n').then_some(length)
}

/// The length of the first frame.
fn frame(bytes: &[u8]) -> Option<usize> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b));
    let length = match bytes.get(1)? {
        126 => 4 + number(bytes.get(2..4)?),
        127 => 10 + number(bytes.get(2..10)?),
        short => 2 + usize::from(*short),
    };
    (bytes.len() >= length).then_some(length)
}

/// A connection and its streams.
pub enum Reader {
    Http1(Peer, Stream),
    Http2(Http2, BTreeMap<u32, Stream>),
}

impl Reader {
    /// One stream on a connection of its own.
    pub fn http1(mut peer: Peer, framing: Framing, path: &str) -> Reader {
        match framing {
            Framing::Sse => peer.say(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")),
            Framing::WebSocket => {
                peer.say(websocket::handshake(path) + "\r\n");
                assert_eq!(peer.answer().status, 101);
            }
        }
        Reader::Http1(peer, Stream::new(framing))
    }

    /// Many streams on one connection, each with a window of so many bytes.
    pub fn http2(peer: Peer, framing: Framing, path: &str, streams: u32, window: u32) -> Reader {
        let mut http2 = Http2::over(peer, &[(http2::INITIAL_WINDOW_SIZE, window)]);
        http2.allow(0, MOST - 65_535);
        let mut fields = http2::get(path).to_vec();
        let mut flags = http2::END_STREAM;
        if framing == Framing::WebSocket {
            fields[0].1 = "CONNECT";
            fields.push((":protocol", "websocket"));
            flags = 0;
        }
        let streams = (0..streams).map(|n| n * 2 + 1);
        let streams = streams.map(|stream| {
            http2.request(stream, flags, &fields);
            (stream, Stream::new(framing))
        });
        let streams = streams.collect();
        Reader::Http2(http2, streams)
    }

    pub fn peer(&self) -> &Peer {
        match self {
            Reader::Http1(peer, _) => peer,
            Reader::Http2(http2, _) => &http2.peer,
        }
    }

    pub fn streams(&self) -> Vec<&Stream> {
        match self {
            Reader::Http1(_, stream) => vec![stream],
            Reader::Http2(_, streams) => streams.values().collect(),
        }
    }

    /// Reads until every stream has had, or missed, this many events.
    pub fn read_to(&mut self, count: u64) {
        while self.streams().iter().any(|stream| stream.next < count) {
            match self {
                Reader::Http1(peer, stream) => {
                    stream.feed(&peer.some().expect("the stream goes on"))
                }
                Reader::Http2(http2, streams) => read_frame(http2, streams),
            }
        }
    }

    /// Reads on: every stream may now send what it likes, and the kernel takes more for us.
    pub fn read_on(&mut self, window: u32) {
        match self {
            Reader::Http1(peer, _) => peer.widen(),
            Reader::Http2(http2, streams) => {
                http2.peer.widen();
                for stream in streams.keys().filter(|_| window < MOST) {
                    http2.allow(*stream, MOST - window);
                }
            }
        }
    }
}

/// The largest window (RFC 9113, 6.9.1).
pub const MOST: u32 = 0x7fff_ffff;

fn read_frame(http2: &mut Http2, streams: &mut BTreeMap<u32, Stream>) {
    let frame = http2.next().expect("the connection goes on");
    assert_ne!(frame.kind, http2::RST_STREAM, "{frame:?}");
    if frame.kind == http2::DATA {
        let stream = streams.get_mut(&frame.stream).expect("a stream of ours");
        stream.feed(&frame.payload);
    }
}
