//! Long polling on HTTP/1.1: one reader a connection, its next request sent as soon as one is answered.

use serde_json::Value;

use super::{Each, TOPIC, Wire};
use crate::Result;
use crate::head::Head;
use crate::note::{Id, Note};
use crate::partial::Partial;

/// One reader.
pub struct LongPoll {
    host: String,
    partial: Partial,
    ready: bool,
}

impl LongPoll {
    pub fn new(host: String) -> LongPoll {
        LongPoll {
            host,
            partial: Partial::default(),
            ready: false,
        }
    }
}

impl Wire for LongPoll {
    /// Without a cursor it is answered at once, with the head's.
    fn hello(&self) -> Vec<u8> {
        format!(
            "GET /poll?topic={TOPIC} HTTP/1.1\r\nhost: {}\r\n\r\n",
            self.host
        )
        .into()
    }

    fn receive(&mut self, bytes: &[u8], answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let (host, ready) = (&self.host, &mut self.ready);
        self.partial.feed(bytes, |bytes| {
            let Some((body, used)) = body(bytes)? else {
                return Ok(0);
            };
            if !*ready {
                *ready = true;
                each(0, Note::Ready)?;
            }
            let cursor = notes(body, each)?;
            let next = format!(
                "GET /poll?topic={TOPIC}&after={cursor}&timeout=25 HTTP/1.1\r\nhost: {host}\r\n\r\n"
            );
            answer.extend_from_slice(next.as_bytes());
            Ok(used)
        })
    }
}

/// The first answer's body and its whole length, when it is complete.
fn body(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((head, start)) = Head::parse(bytes)? else {
        return Ok(None);
    };
    if !head.first_line().starts_with("HTTP/1.1 200") {
        return Err(format!("answered {}", head.first_line()).into());
    }
    let end = start + head.content_length()?;
    Ok(bytes.get(start..end).map(|body| (body, end)))
}

/// Tells what an answer says, and gives back its cursor.
fn notes(body: &[u8], each: &mut Each) -> Result<String> {
    let answer: Value = serde_json::from_slice(body)?;
    for gap in answer["gaps"].as_array().into_iter().flatten() {
        each(0, Note::gap(gap))?;
    }
    for event in answer["events"].as_array().into_iter().flatten() {
        let (id, data) = (event["id"].as_str(), event["data"].as_str());
        let (id, data) = id.zip(data).ok_or("an event without id or data")?;
        let (id, payload) = (Id::parse(id.as_bytes()), data.as_bytes());
        each(0, Note::Event { id, payload })?;
    }
    Ok(answer["cursor"]
        .as_str()
        .ok_or("an answer without a cursor")?
        .to_owned())
}
