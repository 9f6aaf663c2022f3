//! WebSocket (RFC 6455) on HTTP/1.1: one reader a connection, text frames of one JSON object.

use super::{Each, TOPIC, Wire};
use crate::Result;
use crate::head::Head;
use crate::note::{Id, Note};
use crate::partial::Partial;

/// The key of RFC 6455's own example and the answer to it, so that nobody here needs SHA-1.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const MASKED: u8 = 0x80;

/// One stream.
pub struct WebSocket {
    host: String,
    open: bool,
    partial: Partial,
}

impl WebSocket {
    pub fn new(host: String) -> WebSocket {
        WebSocket {
            host,
            open: false,
            partial: Partial::default(),
        }
    }
}

impl Wire for WebSocket {
    fn hello(&self) -> Vec<u8> {
        format!(
            "GET /events?topic={TOPIC} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n",
            self.host
        )
        .into()
    }

    fn receive(&mut self, bytes: &[u8], answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let open = &mut self.open;
        self.partial.feed(bytes, |bytes| {
            if !*open {
                let Some((head, used)) = Head::parse(bytes)? else {
                    return Ok(0);
                };
                check(&head)?;
                *open = true;
                each(0, Note::Open)?;
                return Ok(used);
            }
            let Some((first, payload, used)) = frame(bytes) else {
                return Ok(0);
            };
            match first {
                TEXT => each(0, note(payload)?)?,
                PING => pong(answer, payload),
                CLOSE => return Err(format!("closed: {}", String::from_utf8_lossy(payload)).into()),
                _ => return Err(format!("an unexpected frame: {first:#x}").into()),
            }
            Ok(used)
        })
    }
}

fn check(head: &Head) -> Result<()> {
    if head.first_line().starts_with("HTTP/1.1 101")
        && head.field("sec-websocket-accept") == Some(ACCEPT)
    {
        return Ok(());
    }
    Err(format!("the handshake was answered {}", head.first_line()).into())
}

/// The first frame: its first byte, its payload and its whole length. Servers do not mask.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (
            4,
            u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize,
        ),
        127 => (
            10,
            u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize,
        ),
        short => (2, short as usize),
    };
    Some((bytes[0], bytes.get(start..start + length)?, start + length))
}

/// A control frame's payload is under 126 bytes; a mask of zeros leaves it as it is.
fn pong(answer: &mut Vec<u8>, payload: &[u8]) {
    answer.extend_from_slice(&[PONG, MASKED | payload.len() as u8, 0, 0, 0, 0]);
    answer.extend_from_slice(payload);
}

/// Events have the shape `{"id":"…","topic":"…","data":"…"}` and are only searched; the rest is parsed. What is no
/// object is a peer's event, the payload by itself.
fn note(message: &[u8]) -> Result<Note<'_>> {
    if let Some(event) = message.strip_prefix(br#"{"id":""#).and_then(event) {
        return Ok(event);
    }
    if !message.starts_with(b"{") {
        let (id, payload) = (None, message);
        return Ok(Note::Event { id, payload });
    }
    let notice: serde_json::Value = serde_json::from_slice(message)?;
    match notice["type"].as_str() {
        Some("$ready") => Ok(Note::Ready),
        Some("$gap") => Ok(Note::gap(&notice)),
        _ => Err(format!("an unexpected message: {notice}").into()),
    }
}

fn event(rest: &[u8]) -> Option<Note<'_>> {
    const DATA: &[u8] = br#","data":""#;
    let id = Id::parse(&rest[..rest.iter().position(|&byte| byte == b'"')?]);
    let data = rest.windows(DATA.len()).position(|window| window == DATA)? + DATA.len();
    let payload = rest[data..].strip_suffix(br#""}"#)?;
    Some(Note::Event { id, payload })
}
