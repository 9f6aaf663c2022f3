//! What the bare loop writes: the bytes that triwire writes for the same event, made once for all peers.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::websocket::TEXT;
use crate::frame;

/// What one write carries: an event, or several that were ready together.
#[derive(Default)]
pub struct Bytes {
    pub chunks: Vec<u8>,
    pub frames: Vec<u8>,
    pub blocks: Vec<u8>,
}

/// Gives events their ids.
#[derive(Default)]
pub struct Ids {
    ms: u64,
    n: u64,
}

impl Bytes {
    /// Adds an event.
    pub fn push(&mut self, id: &str, payload: &str) {
        let block = format!("id: {id}\ndata: {payload}\n\n");
        chunk(&mut self.chunks, &block);
        self.blocks.extend_from_slice(block.as_bytes());
        text(
            &mut self.frames,
            &format!(r#"{{"id":"{id}","topic":"bench","data":"{payload}"}}"#),
        );
    }
}

impl Ids {
    pub fn next(&mut self) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_millis() as u64);
        (self.ms, self.n) = if now > self.ms {
            (now, 0)
        } else {
            (self.ms, self.n + 1)
        };
        self.last()
    }

    pub fn last(&self) -> String {
        format!("{}-{}", self.ms, self.n)
    }
}

/// The first block of an SSE stream.
pub fn ready_block(cursor: &str) -> String {
    format!(
        "id: {cursor}\nevent: ready\nretry: 2314\ndata: {{\"cursor\":\"{cursor}\",\"server\":\"bare\"}}\n\n"
    )
}

/// The first message of a WebSocket.
pub fn ready_message(cursor: &str) -> String {
    format!(r#"{{"type":"$ready","cursor":"{cursor}","server":"bare"}}"#)
}

/// Appends an HTTP/1.1 chunk.
pub fn chunk(out: &mut Vec<u8>, body: &str) {
    out.extend_from_slice(format!("{:x}\r\n{body}\r\n", body.len()).as_bytes());
}

/// Appends a WebSocket text frame.
pub fn text(out: &mut Vec<u8>, message: &str) {
    out.push(TEXT);
    match message.len() {
        short @ ..126 => out.push(short as u8),
        long => {
            out.push(126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(message.as_bytes());
}

/// The DATA frames that carry `blocks` on each of the streams.
pub fn data_frames(streams: &[u32], blocks: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(streams.len() * (blocks.len() + 9));
    for &stream in streams {
        for part in blocks.chunks(frame::LARGEST_PAYLOAD) {
            frame::write(&mut out, frame::DATA, 0, stream, part);
        }
    }
    out
}
