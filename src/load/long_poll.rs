//! Long polling on HTTP/1.1: one reader a connection, its next request sent as soon as one is answered.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::head::Head;
use super::note::{Id, Note};
use super::partial::Partial;
use super::websocket::unquoted;
use super::{Ask, Each, Result, Wire};

/// One reader.
pub(super) struct LongPoll {
    ask: Ask,
    partial: Partial,
    ready: bool,
}

#[derive(Deserialize)]
struct Answer<'a> {
    cursor: &'a str,
    gaps: Vec<Value>,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl LongPoll {
    pub(super) fn new(ask: Ask) -> LongPoll {
        LongPoll {
            ask,
            partial: Partial::default(),
            ready: false,
        }
    }
}

impl Wire for LongPoll {
    /// Without a cursor it is answered at once, with the head's; with one, it may wait for nothing.
    fn hello(&self) -> Vec<u8> {
        let (path, host) = (self.ask.poll(), &self.ask.authority);
        format!("GET {path}&timeout=0 HTTP/1.1\r\nhost: {host}\r\n\r\n").into()
    }

    fn receive(&mut self, bytes: &[u8], answer: &mut Vec<u8>, each: &mut Each) -> Result<()> {
        let (ask, ready) = (&mut self.ask, &mut self.ready);
        self.partial.feed(bytes, |bytes| {
            let Some((body, used)) = body(bytes)? else {
                return Ok(0);
            };
            if !*ready {
                *ready = true;
                each(0, Note::Ready)?;
            }
            let said: Answer = serde_json::from_slice(body)?;
            for gap in &said.gaps {
                each(0, Note::gap(gap))?;
            }
            for event in &said.events {
                let id = Id::parse(event.id.as_bytes());
                let payload = unquoted(event.data.get().as_bytes());
                each(0, Note::Event { id, payload })?;
            }
            ask.after = vec![Some(Id::parse(said.cursor.as_bytes()).ok_or("no cursor")?)];
            let (path, host) = (ask.poll(), &ask.authority);
            let next = format!("GET {path}&timeout=25 HTTP/1.1\r\nhost: {host}\r\n\r\n");
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
        return Err(head.refusal("a poll").into());
    }
    let end = start + head.content_length()?;
    Ok(bytes.get(start..end).map(|body| (body, end)))
}
