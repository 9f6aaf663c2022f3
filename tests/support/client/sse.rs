//! Server-Sent Events, read by a parser that refuses whatever the contract forbids, and most of what some client of
//! the field stumbles over: what it lets through, every client can read.

use std::collections::VecDeque;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::ask::Ask;
use super::link::Connection;
use super::message::{self, Data, End, Event, Id, Message};
use super::{Framing, Refused};

/// The stream of one response.
pub struct Sse {
    body: Incoming,
    parser: Parser,
}

impl Sse {
    /// # Errors
    /// The answer, when it is not 200.
    pub async fn open(connection: &mut Connection, ask: &Ask) -> Result<Sse, Refused> {
        let response = connection.send(ask.call(Framing::Sse)).await;
        let response = response.map_err(|error| Refused::broken(&error))?;
        if response.status() != StatusCode::OK {
            return Err(Refused::read(response).await);
        }
        check_head(response.headers(), connection.proxied);
        Ok(Sse {
            body: response.into_body(),
            parser: Parser::default(),
        })
    }

    pub async fn next(&mut self) -> Message {
        loop {
            if let Some(message) = self.parser.next() {
                return message;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    let bytes = frame.into_data().expect("no trailers");
                    self.parser.push(&bytes).unwrap_or_else(|e| panic!("{e}"));
                }
                Some(Err(error)) => return Message::End(End::Cut(error.to_string())),
                None => {
                    self.parser.finish().unwrap_or_else(|e| panic!("{e}"));
                    return Message::End(End::Body);
                }
            }
        }
    }
}

fn check_head(headers: &HeaderMap, proxied: bool) {
    let is = |name, value: &str| headers.get(name).is_some_and(|v| v == value);
    assert!(is("content-type", "text/event-stream"), "{headers:?}");
    assert!(is("cache-control", "no-store"), "{headers:?}");
    // nginx keeps to itself what is meant for it.
    assert!(proxied || is("x-accel-buffering", "no"), "{headers:?}");
    assert!(!headers.contains_key("content-encoding"), "{headers:?}");
}

/// Bytes in, messages out.
#[derive(Default)]
pub struct Parser {
    /// The line that is not ended yet.
    line: Vec<u8>,
    block: Block,
    begun: bool,
    /// The line before was a comment.
    after_comment: bool,
    /// Nothing may follow a busy block.
    over: bool,
    /// Nothing but its like may follow a notice that ends the stream.
    closing: bool,
    messages: VecDeque<Message>,
}

#[derive(Default)]
struct Block {
    id: Option<Id>,
    event: Option<String>,
    retry: Option<u64>,
    data: Option<String>,
}

impl Block {
    fn is_empty(&self) -> bool {
        self.id.is_none() && self.event.is_none() && self.retry.is_none() && self.data.is_none()
    }
}

impl Parser {
    pub fn next(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = String::from_utf8(std::mem::take(&mut self.line));
                    self.line(&line.map_err(|e| format!("not UTF-8: {e}"))?)?;
                }
                b'\r' => return Err("a CR".into()),
                0 => return Err("a NUL".into()),
                byte => self.line.push(*byte),
            }
        }
        Ok(())
    }

    /// Where the body ends.
    pub fn finish(&self) -> Result<(), String> {
        match self.line.is_empty() && self.block.is_empty() {
            true => Ok(()),
            false => Err("the body ends inside of a block".into()),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let first = !std::mem::replace(&mut self.begun, true);
        if first && line.starts_with('\u{feff}') {
            return Err("a byte order mark".into());
        }
        if self.over {
            return Err(format!("{line:?} after what ends a stream"));
        }
        let after_comment = std::mem::replace(&mut self.after_comment, line.starts_with(':'));
        if line.is_empty() {
            return match after_comment {
                true => Err("a comment and a blank line: some clients see an empty message".into()),
                false => self.dispatch(),
            };
        }
        if line.starts_with(':') {
            if line != ":hb" || !self.block.is_empty() {
                return Err(format!("a comment that is no heartbeat: {line:?}"));
            }
            self.messages.push_back(Message::Heartbeat);
            return Ok(());
        }
        self.field(line)
    }

    /// Fields come in the order of the contract, each but `data` once.
    fn field(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line
            .split_once(": ")
            .ok_or_else(|| format!("not `field: value`: {line:?}"))?;
        let block = &mut self.block;
        let misplaced = match name {
            "id" => !block.is_empty(),
            "event" => block.event.is_some() || block.retry.is_some() || block.data.is_some(),
            "retry" => block.retry.is_some() || block.data.is_some(),
            _ => false,
        };
        if misplaced {
            return Err(format!("out of place: {line:?}"));
        }
        match name {
            "id" => block.id = Some(value.parse()?),
            "event" if value.is_empty() || value == "message" => {
                return Err(format!("an event without a name of its own: {line:?}"));
            }
            "event" => block.event = Some(value.to_owned()),
            "retry" => {
                let retry = value.parse::<u64>().ok();
                block.retry = Some(retry.ok_or_else(|| format!("not a time: {line:?}"))?);
            }
            "data" => match &mut block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => block.data = Some(value.to_owned()),
            },
            _ => return Err(format!("an unknown field: {line:?}")),
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Result<(), String> {
        let block = std::mem::take(&mut self.block);
        let data = block.data.ok_or("a block without data")?;
        let closes = block.event.as_deref() == Some("gap") && block.id.is_some();
        if self.closing && !closes {
            return Err(format!("{data:?} after the notice that ends a stream"));
        }
        self.closing = closes;
        let message = match block.event.as_deref() {
            Some("ready") => ready(block.id, block.retry, &data)?,
            Some("gap") => {
                no_retry(block.retry)?;
                let mut gap = message::gap(&data, None)?;
                gap.go_on = block.id;
                Message::Gap(gap)
            }
            Some("busy") => {
                self.over = true;
                busy(block.id, block.retry, &data)?
            }
            Some(name @ ("open" | "error")) => return Err(format!("an event named {name}")),
            kind => {
                no_retry(block.retry)?;
                if block.id == Some(Id::ZERO) {
                    return Err("an id that no event has".into());
                }
                Message::from(Event {
                    id: block.id.unwrap_or(Id::ZERO),
                    topic: None,
                    kind: kind.unwrap_or("message").to_owned(),
                    data: Data::Lines(data),
                })
            }
        };
        self.messages.push_back(message);
        Ok(())
    }
}

fn no_retry(retry: Option<u64>) -> Result<(), String> {
    retry.map_or(Ok(()), |_| Err("retry: where none belongs".into()))
}

fn ready(id: Option<Id>, retry: Option<u64>, data: &str) -> Result<Message, String> {
    let message = message::ready(data, None)?;
    let in_range = retry.is_some_and(|ms| (1_500..=3_000).contains(&ms));
    match &message {
        Message::Ready { cursor, .. } if id == Some(*cursor) && in_range => Ok(message),
        _ => Err(format!("ready with id {id:?}, retry {retry:?}: {data}")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BusyJson {
    reason: String,
    #[serde(rename = "server")]
    _server: String,
}

fn busy(id: Option<Id>, retry: Option<u64>, data: &str) -> Result<Message, String> {
    let BusyJson { reason, .. } = serde_json::from_str(data).map_err(|e| format!("{e}: {data}"))?;
    let in_range = retry.is_some_and(|ms| (1_000..=10_000).contains(&ms));
    match id.is_none() && in_range && ["full", "draining"].contains(&&*reason) {
        true => Ok(Message::Busy { reason }),
        false => Err(format!("busy with id {id:?}, retry {retry:?}: {data}")),
    }
}

/// All messages of a whole body.
pub fn parse(body: &Bytes) -> Result<Vec<Message>, String> {
    let mut parser = Parser::default();
    parser.push(body)?;
    parser.finish()?;
    Ok(parser.messages.into())
}
