//! SSE over HTTP/1.1: one reader a connection, the body chunked or until the end of the connection.

use super::head::Head;
use super::note::Note;
use super::partial::Partial;
use super::sse::Blocks;
use super::{Ask, Each, Result, Wire};

/// One stream.
pub(super) struct Http1 {
    ask: Ask,
    partial: Partial,
    body: Body,
    blocks: Blocks,
}

enum Body {
    NotYet,
    Chunked,
    Plain,
}

impl Http1 {
    pub(super) fn new(ask: Ask) -> Http1 {
        Http1 {
            ask,
            partial: Partial::default(),
            body: Body::NotYet,
            blocks: Blocks::default(),
        }
    }
}

impl Wire for Http1 {
    fn hello(&self) -> Vec<u8> {
        let (path, host) = (self.ask.path(0), &self.ask.authority);
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n").into()
    }

    fn receive(&mut self, bytes: &[u8], _answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let (body, blocks) = (&mut self.body, &mut self.blocks);
        self.partial.feed(bytes, |bytes| match body {
            Body::NotYet => {
                let Some((head, used)) = Head::parse(bytes)? else {
                    return Ok(0);
                };
                *body = body_of(&head)?;
                each(0, Note::Open)?;
                Ok(used)
            }
            Body::Chunked => {
                let Some((chunk, used)) = chunk(bytes)? else {
                    return Ok(0);
                };
                blocks.feed(chunk, |note| each(0, note))?;
                Ok(used)
            }
            Body::Plain => {
                blocks.feed(bytes, |note| each(0, note))?;
                Ok(bytes.len())
            }
        })
    }
}

fn body_of(head: &Head) -> Result<Body> {
    if !head.first_line().starts_with("HTTP/1.1 200") {
        return Err(head.refusal("a stream").into());
    }
    let chunked = head.field("transfer-encoding") == Some("chunked");
    Ok(if chunked { Body::Chunked } else { Body::Plain })
}

/// The first chunk's bytes and its whole length, when it is complete.
fn chunk(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some(line) = bytes.iter().position(|&byte| byte == b'\r') else {
        return Ok(None);
    };
    let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line])?, 16)?;
    if size == 0 {
        return Err("the server ended the stream".into());
    }
    let start = line + 2;
    let whole = start.checked_add(size).and_then(|end| end.checked_add(2));
    let whole = whole.ok_or("a chunk beyond all measure")?;
    Ok((bytes.len() >= whole).then(|| (&bytes[start..start + size], whole)))
}
