//! The shapes that the bare loop writes, byte for byte those of triwire.

use triwire::load::frame;
use triwire::load::note::Id;
use triwire::load::websocket::TEXT;

pub const SSE_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
                            x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";

/// The first block of an SSE stream.
pub fn ready_block(cursor: Id) -> String {
    let data = format!(r#"{{"cursor":"{cursor}","server":"bare"}}"#);
    format!("id: {cursor}\nevent: ready\nretry: 2314\ndata: {data}\n\n")
}

/// The first message of a WebSocket.
pub fn ready_message(cursor: Id) -> String {
    format!(r#"{{"type":"$ready","cursor":"{cursor}","server":"bare"}}"#)
}

/// An answer with a JSON body. The date is as long as any other.
pub fn json_answer(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\nvary: origin\r\n\
         content-length: {}\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// The answer to a long poll with these events.
pub fn poll_answer(cursor: Id, events: &str) -> Vec<u8> {
    json_answer(
        "200 OK",
        &format!(r#"{{"cursor":"{cursor}","gaps":[],"events":[{events}]}}"#),
    )
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
