//! WebSocket (RFC 6455): text frames of one JSON object; on HTTP/1.1 one reader a connection.

use super::head::Head;
use super::note::{Id, Note};
use super::partial::Partial;
use super::{Ask, Each, Result, Wire};

/// The key of RFC 6455's own example, so that nobody here needs SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The first byte of a text frame that is a whole message.
pub const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const MASKED: u8 = 0x80;

/// One stream.
pub(super) struct WebSocket {
    ask: Ask,
    head: Option<Partial>,
    frames: Frames,
}

impl WebSocket {
    pub(super) fn new(ask: Ask) -> WebSocket {
        WebSocket {
            ask,
            head: Some(Partial::default()),
            frames: Frames::default(),
        }
    }
}

impl Wire for WebSocket {
    fn hello(&self) -> Vec<u8> {
        format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n",
            self.ask.path(0),
            self.ask.authority
        )
        .into()
    }

    fn receive(&mut self, bytes: &[u8], answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let Some(head) = &mut self.head else {
            return self.frames.feed(bytes, answer, |note| each(0, note));
        };
        let (mut open, frames) = (false, &mut self.frames);
        head.feed(bytes, |bytes| {
            if open {
                // What came behind the head is frames already.
                frames.feed(bytes, answer, |note| each(0, note))?;
                return Ok(bytes.len());
            }
            let Some((head, used)) = Head::parse(bytes)? else {
                return Ok(0);
            };
            check(&head)?;
            open = true;
            each(0, Note::Open)?;
            Ok(used)
        })?;
        if open {
            self.head = None;
        }
        Ok(())
    }
}

fn check(head: &Head) -> Result<()> {
    if head.first_line().starts_with("HTTP/1.1 101")
        && head.field("sec-websocket-accept") == Some(ACCEPT)
    {
        return Ok(());
    }
    Err(head.refusal("a handshake").into())
}

/// The frames of one stream, whatever carries them.
#[derive(Default)]
pub(super) struct Frames(Partial);

impl Frames {
    /// Tells `each` of every frame that is complete with `bytes`, and puts into `answer` what must be sent.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        answer: &mut Vec<u8>,
        mut each: impl FnMut(Note) -> Result<()>,
    ) -> Result<()> {
        self.0.feed(bytes, |bytes| {
            let Some((first, payload, used)) = frame(bytes)? else {
                return Ok(0);
            };
            match first {
                TEXT => each(note(payload)?)?,
                PING => pong(answer, payload),
                CLOSE => {
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                    return Err(format!("the server closed the WebSocket: {reason}").into());
                }
                _ => return Err(format!("an unexpected frame: {first:#x}").into()),
            }
            Ok(used)
        })
    }
}

/// The first frame: its first byte, its payload and its whole length. Servers do not mask.
fn frame(bytes: &[u8]) -> Result<Option<(u8, &[u8], usize)>> {
    let Some(&length) = bytes.get(1) else {
        return Ok(None);
    };
    let number = |at: std::ops::Range<usize>| {
        let digits = bytes.get(at)?.iter();
        Some(digits.fold(0u64, |number, &byte| number << 8 | u64::from(byte)))
    };
    let (start, length) = match length {
        126 => (4, number(2..4)),
        127 => (10, number(2..10)),
        short @ ..126 => (2, Some(short.into())),
        _ => return Err("a masked frame, which only clients send".into()),
    };
    let Some(length) = length else {
        return Ok(None);
    };
    let end = usize::try_from(length)?.checked_add(start);
    let end = end.ok_or("a frame beyond all measure")?;
    Ok(bytes
        .get(start..end)
        .map(|payload| (bytes[0], payload, end)))
}

/// A control frame's payload is under 126 bytes; a mask of zeros leaves it as it is.
fn pong(answer: &mut Vec<u8>, payload: &[u8]) {
    answer.extend_from_slice(&[PONG, MASKED | payload.len() as u8, 0, 0, 0, 0]);
    answer.extend_from_slice(payload);
}

/// Events have the shape `{"id":"…","topic":"…","data":…}` and are only searched; the rest is parsed. What is no
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
    const DATA: &[u8] = br#","data":"#;
    let id = Id::parse(&rest[..rest.iter().position(|&byte| byte == b'"')?]);
    let data = rest.windows(DATA.len()).position(|window| window == DATA)? + DATA.len();
    let payload = unquoted(rest[data..].strip_suffix(b"}")?);
    Some(Note::Event { id, payload })
}

/// A JSON string's text, when it is one in which nothing is escaped, as is all that is sent here; else the JSON.
pub(super) fn unquoted(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(json)
}
