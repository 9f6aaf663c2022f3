//! Long polling: one answer, and a reader that is made of many.

use std::collections::VecDeque;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ask::Ask;
use super::link::{Connection, Link, Target};
use super::message::{self, End, Event, Gap, Id, Message};
use super::valve::Valve;
use super::{Framing, Refused};

/// An answer to a poll.
#[derive(Debug)]
pub struct Answer {
    pub cursor: Id,
    pub gaps: Vec<Gap>,
    pub events: Vec<Event>,
    /// Bytes of the events.
    pub bytes: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerJson<'a> {
    cursor: String,
    #[serde(borrow)]
    gaps: Vec<&'a RawValue>,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// Polls once.
///
/// # Errors
/// The answer, when it is not 200.
pub async fn poll(connection: &mut Connection, ask: &Ask) -> Result<Answer, Refused> {
    let response = connection.send(ask.call(Framing::LongPoll)).await;
    let response = response.map_err(|error| Refused::broken(&error))?;
    match response.status() {
        StatusCode::OK => read(response).await,
        _ => Err(Refused::read(response).await),
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Refused> {
    let headers = response.headers();
    let is = |name, value: &str| headers.get(name).is_some_and(|v| v == value);
    assert!(is("content-type", "application/json"), "{headers:?}");
    assert!(is("cache-control", "no-store"), "{headers:?}");
    assert!(!headers.contains_key("content-encoding"), "{headers:?}");
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| Refused::broken(&error))?.to_bytes();
    let text = std::str::from_utf8(&body).expect("UTF-8");
    Ok(understand(text).unwrap_or_else(|e| panic!("{e}")))
}

fn understand(text: &str) -> Result<Answer, String> {
    let answer: AnswerJson = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
    let gaps = answer.gaps.iter().map(|gap| message::gap(gap.get(), None));
    let events = answer.events.iter().map(|e| message::event(e.get()));
    Ok(Answer {
        cursor: answer.cursor.parse()?,
        gaps: gaps.collect::<Result<_, _>>()?,
        events: events.collect::<Result<_, _>>()?,
        bytes: answer.events.iter().map(|event| event.get().len()).sum(),
    })
}

/// A stream that is made of polls, each with the cursor of the one before.
pub struct Polls {
    target: Target,
    link: Link,
    connection: Connection,
    ask: Ask,
    left: Option<u64>,
    messages: VecDeque<Message>,
}

impl Polls {
    /// Polls at once, without waiting. A poll with a cursor says nothing first; the client's own cursor stands for
    /// what the other wires would say.
    ///
    /// # Errors
    /// The answer, when it is not 200.
    pub async fn open(target: &Target, link: Link, ask: Ask) -> Result<Polls, Refused> {
        let mut connection = Connection::open(target, link).await;
        let answer = poll(&mut connection, &ask.clone().timeout(0)).await?;
        let limit = ask.value("limit").map(|n| n.parse().expect("a number"));
        let mut polls = Polls {
            target: target.clone(),
            link,
            connection,
            left: limit,
            messages: VecDeque::new(),
            ask: ask.clone(),
        };
        polls.messages.push_back(Message::Ready {
            cursor: ask.cursor().unwrap_or(answer.cursor),
            server: None,
        });
        polls.take(answer);
        Ok(polls)
    }

    pub async fn next(&mut self) -> Message {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            if self.left == Some(0) {
                return Message::End(End::Answered);
            }
            if self.link == Link::H2cUpgrade {
                // An upgrade is for one request.
                match Connection::try_open(&self.target, self.link).await {
                    Ok(connection) => self.connection = connection,
                    Err(error) => return Message::End(End::Cut(error.to_string())),
                }
            }
            self.connection.renew(&self.target).await;
            match poll(&mut self.connection, &self.ask).await {
                Ok(answer) => self.take(answer),
                Err(refused) => return Message::End(End::Cut(refused.to_string())),
            }
        }
    }

    pub fn valve(&self) -> Valve {
        self.connection.valve.clone()
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn take(&mut self, answer: Answer) {
        self.ask = self.ask.clone().resume(answer.cursor);
        if let Some(left) = &mut self.left {
            *left -= answer.events.len() as u64;
            if *left > 0 {
                self.ask = self.ask.clone().limit(*left);
            }
        }
        self.messages
            .extend(answer.gaps.into_iter().map(Message::Gap));
        self.messages
            .extend(answer.events.into_iter().map(Message::from));
    }
}
