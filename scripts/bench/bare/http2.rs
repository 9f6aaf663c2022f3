//! The bare loop's side of HTTP/2: every HEADERS opens a stream, and nothing else is looked at. Windows are
//! not kept: the load client's are the largest there are.

use super::encode;
use super::log::Log;
use crate::Result;
use triwire::load::frame::{self, Frame};
use triwire::load::partial::Partial;

#[derive(Default)]
pub struct Http2 {
    partial: Partial,
    begun: bool,
    pub streams: Vec<u32>,
}

/// DATA frames as they were written last: most connections have the same streams.
#[derive(Default)]
pub struct DataFrames {
    streams: Vec<u32>,
    bytes: Vec<u8>,
}

impl Http2 {
    pub fn receive(&mut self, bytes: &[u8], log: &Log, answer: &mut Vec<u8>) -> Result<()> {
        let (begun, streams) = (&mut self.begun, &mut self.streams);
        self.partial.feed(bytes, |bytes| {
            if !*begun {
                *begun = bytes.len() >= frame::PREFACE.len();
                return Ok(if *begun { frame::PREFACE.len() } else { 0 });
            }
            let Some((frame, used)) = frame::parse(bytes) else {
                return Ok(0);
            };
            take(&frame, streams, log, answer);
            Ok(used)
        })
    }
}

impl DataFrames {
    /// `blocks` on each of these streams.
    pub fn on(&mut self, streams: &[u32], blocks: &[u8]) -> &[u8] {
        if self.streams != streams {
            self.streams = streams.to_vec();
            self.bytes = encode::data_frames(streams, blocks);
        }
        &self.bytes
    }
}

fn take(frame: &Frame, streams: &mut Vec<u32>, log: &Log, answer: &mut Vec<u8>) {
    let asked = frame.flags & frame::ACK == 0;
    match frame.kind {
        frame::SETTINGS if asked => {
            frame::write(answer, frame::SETTINGS, 0, 0, &[]);
            frame::write(answer, frame::SETTINGS, frame::ACK, 0, &[]);
        }
        frame::PING if asked => frame::write(answer, frame::PING, frame::ACK, 0, frame.payload),
        frame::HEADERS => {
            streams.push(frame.stream);
            let ready = encode::ready_block(log.cursor());
            frame::write(
                answer,
                frame::HEADERS,
                frame::END_HEADERS,
                frame.stream,
                &head(),
            );
            frame::write(answer, frame::DATA, 0, frame.stream, ready.as_bytes());
        }
        _ => {}
    }
}

/// `:status 200` and the content type, a literal under a name of HPACK's static table.
fn head() -> Vec<u8> {
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
