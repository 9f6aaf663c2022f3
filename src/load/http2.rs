//! SSE and WebSocket (RFC 8441) over HTTP/2: one reader on a connection, or many. Just enough of the protocol:
//! literal HPACK, the largest windows, and those given back long before they are used up.

use super::frame::{self, Frame};
use super::note::Note;
use super::partial::Partial;
use super::sse::Blocks;
use super::websocket::Frames;
use super::{Ask, Each, Result, Wire};

/// Bytes read before a window is given back.
const WINDOW_STEP: u32 = frame::LARGEST_WINDOW / 2;

/// One connection.
pub(super) struct Http2 {
    partial: Partial,
    streams: Streams,
}

struct Streams {
    ask: Ask,
    tls: bool,
    websocket: bool,
    /// Whether the requests are on their way.
    asked: bool,
    all: Vec<Stream>,
    /// Bytes read of the connection's window.
    taken: u32,
}

struct Stream {
    answered: bool,
    messages: Messages,
    taken: u32,
}

enum Messages {
    Blocks(Blocks),
    Frames(Frames),
}

impl Http2 {
    /// A stream for each cursor of `ask`.
    pub(super) fn new(ask: Ask, tls: bool, websocket: bool) -> Http2 {
        let stream = || Stream {
            answered: false,
            messages: if websocket {
                Messages::Frames(Frames::default())
            } else {
                Messages::Blocks(Blocks::default())
            },
            taken: 0,
        };
        let all = ask.after.iter().map(|_| stream()).collect();
        Http2 {
            partial: Partial::default(),
            streams: Streams {
                ask,
                tls,
                websocket,
                // Only a server that says so takes extended CONNECT (RFC 8441, 3); the rest need not wait for it.
                asked: !websocket,
                all,
                taken: 0,
            },
        }
    }
}

impl Wire for Http2 {
    fn hello(&self) -> Vec<u8> {
        let mut out = frame::PREFACE.to_vec();
        let mut settings = frame::INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        settings.extend_from_slice(&frame::LARGEST_WINDOW.to_be_bytes());
        frame::write(&mut out, frame::SETTINGS, 0, 0, &settings);
        give_back(&mut out, 0, frame::LARGEST_WINDOW - frame::DEFAULT_WINDOW);
        if self.streams.asked {
            self.streams.requests(&mut out);
        }
        out
    }

    fn receive(&mut self, bytes: &[u8], answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let streams = &mut self.streams;
        self.partial.feed(bytes, |bytes| {
            let Some((frame, used)) = frame::parse(bytes) else {
                return Ok(0);
            };
            streams.frame(&frame, answer, each)?;
            Ok(used)
        })
    }
}

impl Streams {
    fn requests(&self, out: &mut Vec<u8>) {
        let flags = if self.websocket {
            frame::END_HEADERS
        } else {
            frame::END_HEADERS | frame::END_STREAM
        };
        for index in 0..self.all.len() {
            let request = self.request(index);
            frame::write(out, frame::HEADERS, flags, stream_id(index), &request);
        }
    }

    /// A request in HPACK (RFC 7541): entries of the static table, the rest literals that are not to be indexed.
    fn request(&self, index: usize) -> Vec<u8> {
        const METHOD: u8 = 2;
        const METHOD_GET: u8 = 0x82;
        const SCHEME_HTTP: u8 = 0x86;
        const SCHEME_HTTPS: u8 = 0x87;
        const AUTHORITY: u8 = 1;
        const PATH: u8 = 4;
        const ACCEPT: u8 = 19;
        let mut out = Vec::with_capacity(128);
        if self.websocket {
            named(&mut out, METHOD, "CONNECT");
            literal(&mut out, ":protocol", "websocket");
        } else {
            out.push(METHOD_GET);
        }
        out.push(if self.tls { SCHEME_HTTPS } else { SCHEME_HTTP });
        named(&mut out, AUTHORITY, &self.ask.authority);
        named(&mut out, PATH, &self.ask.path(index));
        if self.websocket {
            literal(&mut out, "sec-websocket-version", "13");
        } else {
            named(&mut out, ACCEPT, "text/event-stream");
        }
        out
    }

    fn frame(&mut self, frame: &Frame, answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        match frame.kind {
            frame::DATA => self.data(frame, answer, each)?,
            frame::HEADERS => self.headers(frame, each)?,
            frame::SETTINGS if frame.flags & frame::ACK == 0 => self.settings(frame, answer)?,
            frame::PING if frame.flags & frame::ACK == 0 => {
                frame::write(answer, frame::PING, frame::ACK, 0, frame.payload);
            }
            frame::GOAWAY => {
                return Err(format!("the server said GOAWAY {:?}", frame.payload.get(4..8)).into());
            }
            frame::RST_STREAM => {
                return Err(format!("the server reset a stream: {:?}", frame.payload).into());
            }
            _ => {}
        }
        Ok(())
    }

    fn settings(&mut self, frame: &Frame, answer: &mut Vec<u8>) -> Result<()> {
        frame::write(answer, frame::SETTINGS, frame::ACK, 0, &[]);
        let mut takes_connect = false;
        for setting in frame.payload.chunks_exact(6) {
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                frame::MAX_CONCURRENT_STREAMS if (value as usize) < self.all.len() => {
                    let words = format!("the server takes only {value} streams on a connection");
                    return Err(words.into());
                }
                frame::ENABLE_CONNECT_PROTOCOL => takes_connect = value == 1,
                _ => {}
            }
        }
        if !self.asked {
            if !takes_connect {
                return Err("the server does not take WebSockets over HTTP/2 (RFC 8441)".into());
            }
            self.asked = true;
            self.requests(answer);
        }
        Ok(())
    }

    fn data(&mut self, frame: &Frame, answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let (index, stream) = opened(&mut self.all, frame)?;
        let bytes = unpadded(frame)?;
        let mut each = |note: Note| each(index, note);
        match &mut stream.messages {
            Messages::Blocks(blocks) => blocks.feed(bytes, &mut each)?,
            Messages::Frames(frames) => {
                let mut reply = Vec::new();
                frames.feed(bytes, &mut reply, &mut each)?;
                if !reply.is_empty() {
                    frame::write(answer, frame::DATA, 0, frame.stream, &reply);
                }
            }
        }
        if frame.flags & frame::END_STREAM != 0 {
            return Err("the server ended the stream".into());
        }
        let length = frame.payload.len() as u32;
        take(&mut stream.taken, length, frame.stream, answer);
        take(&mut self.taken, length, 0, answer);
        Ok(())
    }

    fn headers(&mut self, frame: &Frame, each: &mut Each) -> Result<()> {
        let (index, stream) = opened(&mut self.all, frame)?;
        let good = unpadded(frame)?.first() == Some(&frame::STATUS_200);
        if stream.answered || !good || frame.flags & frame::END_STREAM != 0 {
            return Err(format!("an answer that is not an open 200: {:x?}", frame.payload).into());
        }
        stream.answered = true;
        each(index, Note::Open)
    }
}

fn opened<'a>(all: &'a mut [Stream], frame: &Frame) -> Result<(usize, &'a mut Stream)> {
    let index = (frame.stream as usize).wrapping_sub(1) / 2;
    let stream = all.get_mut(index);
    Ok((
        index,
        stream.ok_or("a frame of a stream that nobody opened")?,
    ))
}

fn unpadded<'a>(frame: &Frame<'a>) -> Result<&'a [u8]> {
    if frame.flags & frame::PADDED == 0 {
        return Ok(frame.payload);
    }
    let (padding, rest) = frame
        .payload
        .split_first()
        .ok_or("padding without a length")?;
    let end = rest
        .len()
        .checked_sub(*padding as usize)
        .ok_or("more padding than frame")?;
    Ok(&rest[..end])
}

fn take(taken: &mut u32, length: u32, stream: u32, answer: &mut Vec<u8>) {
    *taken += length;
    if *taken >= WINDOW_STEP {
        give_back(answer, stream, *taken);
        *taken = 0;
    }
}

fn give_back(out: &mut Vec<u8>, stream: u32, length: u32) {
    frame::write(out, frame::WINDOW_UPDATE, 0, stream, &length.to_be_bytes());
}

fn stream_id(index: usize) -> u32 {
    index as u32 * 2 + 1
}

/// A literal under a name of the static table (RFC 7541, 6.2.2).
fn named(out: &mut Vec<u8>, name: u8, value: &str) {
    integer(out, 0, 4, name.into());
    string(out, value);
}

/// A literal with its name.
fn literal(out: &mut Vec<u8>, name: &str, value: &str) {
    integer(out, 0, 4, 0);
    string(out, name);
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &str) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// A number behind a prefix (RFC 7541, 5.1).
fn integer(out: &mut Vec<u8>, pattern: u8, bits: u32, number: usize) {
    let most = (1 << bits) - 1;
    if number < most {
        out.push(pattern | number as u8);
        return;
    }
    out.push(pattern | most as u8);
    let mut rest = number - most;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_hpack() {
        // RFC 7541, C.1.
        let table: [(u32, usize, &[u8]); 4] = [
            (5, 10, &[10]),
            (5, 1337, &[31, 154, 10]),
            (8, 42, &[42]),
            (4, 19, &[15, 4]),
        ];
        for (bits, number, want) in table {
            let mut out = Vec::new();
            integer(&mut out, 0, bits, number);
            assert_eq!(out, want, "{number}");
        }
    }
}
