//! SSE over HTTP/2: a hundred readers, or one, on a connection. Just enough of the protocol: literal HPACK,
//! the largest windows, and those given back long before they are used up.

use super::sse::Blocks;
use super::{Each, TOPIC, Wire};
use crate::Result;
use crate::frame::{self, Frame};
use crate::note::Note;
use crate::partial::Partial;

/// Bytes read before a window is given back.
const WINDOW_STEP: u32 = frame::LARGEST_WINDOW / 2;

/// One connection.
pub struct Http2 {
    request: Vec<u8>,
    partial: Partial,
    streams: Streams,
}

struct Streams {
    all: Vec<Stream>,
    /// Bytes read of the connection's window.
    taken: u32,
}

#[derive(Default)]
struct Stream {
    answered: bool,
    blocks: Blocks,
    taken: u32,
}

impl Http2 {
    pub fn new(host: &str, tls: bool, streams: usize) -> Http2 {
        let all = (0..streams).map(|_| Stream::default()).collect();
        Http2 {
            request: request(host, tls),
            partial: Partial::default(),
            streams: Streams { all, taken: 0 },
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
        for index in 0..self.streams.all.len() {
            let flags = frame::END_HEADERS | frame::END_STREAM;
            frame::write(
                &mut out,
                frame::HEADERS,
                flags,
                stream_id(index),
                &self.request,
            );
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
    fn frame(&mut self, frame: &Frame, answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        match frame.kind {
            frame::DATA => self.data(frame, answer, each)?,
            frame::HEADERS => self.headers(frame, each)?,
            frame::SETTINGS if frame.flags & frame::ACK == 0 => {
                frame::write(answer, frame::SETTINGS, frame::ACK, 0, &[]);
            }
            frame::PING if frame.flags & frame::ACK == 0 => {
                frame::write(answer, frame::PING, frame::ACK, 0, frame.payload);
            }
            frame::GOAWAY => return Err(format!("GOAWAY: {:?}", frame.payload.get(4..8)).into()),
            frame::RST_STREAM => return Err(format!("RST_STREAM: {:?}", frame.payload).into()),
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, frame: &Frame, answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let index = (frame.stream as usize).wrapping_sub(1) / 2;
        let stream = self
            .all
            .get_mut(index)
            .ok_or("DATA on a stream that nobody opened")?;
        stream
            .blocks
            .feed(unpadded(frame)?, |note| each(index, note))?;
        if frame.flags & frame::END_STREAM != 0 {
            return Err("the stream ended".into());
        }
        let length = frame.payload.len() as u32;
        take(&mut stream.taken, length, frame.stream, answer);
        take(&mut self.taken, length, 0, answer);
        Ok(())
    }

    fn headers(&mut self, frame: &Frame, each: &mut Each) -> Result<()> {
        let index = (frame.stream as usize).wrapping_sub(1) / 2;
        let stream = self
            .all
            .get_mut(index)
            .ok_or("HEADERS on a stream that nobody opened")?;
        let good = unpadded(frame)?.first() == Some(&frame::STATUS_200);
        if stream.answered || !good || frame.flags & frame::END_STREAM != 0 {
            return Err(format!("an answer that is not an open 200: {:x?}", frame.payload).into());
        }
        stream.answered = true;
        each(index, Note::Open)
    }
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

/// The request in HPACK: two entries of the static table, the rest literals that are not to be indexed.
fn request(host: &str, tls: bool) -> Vec<u8> {
    const METHOD_GET: u8 = 0x82;
    const SCHEME_HTTP: u8 = 0x86;
    const SCHEME_HTTPS: u8 = 0x87;
    const AUTHORITY: &[u8] = &[0x01];
    const PATH: &[u8] = &[0x04];
    const ACCEPT: &[u8] = &[0x0f, 19 - 15];
    let mut out = vec![METHOD_GET, if tls { SCHEME_HTTPS } else { SCHEME_HTTP }];
    let path = format!("/events?topic={TOPIC}");
    for (name, value) in [
        (AUTHORITY, host),
        (PATH, &path),
        (ACCEPT, "text/event-stream"),
    ] {
        out.extend_from_slice(name);
        out.push(value.len() as u8);
        out.extend_from_slice(value.as_bytes());
    }
    out
}
