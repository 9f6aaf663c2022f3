//! Publishing, in order, each event once: what was sent and not answered is sent again under the same key.
//!
//! It is a POST on every transport: on a WebSocket nobody could tell whether an event whose answer was lost is in
//! the log.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, sleep, sleep_until};

use super::connection::Connection;
use super::failure::{Failure, Fault};
use super::follower::{Patience, Tries};
use super::place::Place;

/// Events and bytes of one request.
const MOST: (usize, usize) = (5_000, 1 << 20);

/// Between two requests: the server remembers their keys, and not too many of them.
const BETWEEN: Duration = Duration::from_millis(20);

/// What a topic and a type may have in them stands for itself in a path (RFC 3986, 3.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b':')
    .remove(b'/')
    .remove(b'-');

const TEXT: &str = "text/plain; charset=utf-8";

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line of any text.
    Text,
    /// One JSON value on one line.
    Json,
}

/// Where and as what payloads are published.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The topic.
    pub topic: String,
    /// The type; `None` is `message`.
    pub event_type: Option<String>,
    /// What each payload is.
    pub format: Format,
}

/// A publisher on a place that outlives its connections.
pub struct Publisher<S> {
    place: Place,
    patience: Patience,
    say: S,
    connection: Option<Connection>,
    was_there: bool,
    /// When the next request may be sent.
    next: Instant,
}

/// How far it came.
#[derive(Debug)]
pub struct Unpublished {
    /// So many of the payloads are in the log.
    pub done: usize,
    /// What became of the next one.
    pub failure: Failure,
}

impl<S: FnMut(&str)> Publisher<S> {
    /// Nothing is connected yet. `say` is told, in words, when the connection is lost and when it is back.
    pub fn new(place: Place, patience: Patience, say: S) -> Publisher<S> {
        Publisher {
            place,
            patience,
            say,
            connection: None,
            was_there: false,
            next: Instant::now(),
        }
    }

    /// Connects, so that what is wrong is known before there is something to say.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn connect(&mut self) -> Result<(), Failure> {
        let mut tries = Tries::new(self.patience);
        while let Err(failure) = self.greet().await {
            self.connection = None;
            self.pause(&mut tries, failure).await?;
        }
        self.was_there = true;
        Ok(())
    }

    /// Whether somebody is there who takes requests; who he is shows when something is published.
    async fn greet(&mut self) -> Result<(), Failure> {
        let connection = self.connection().await?;
        let answer = connection.get("/readyz").await?;
        match answer.status().is_server_error() {
            true => Err(connection.refusal(answer).await),
            false => connection.whole(answer.into_body()).await.map(drop),
        }
    }

    /// Publishes payloads in their order, and returns when all are in the log.
    ///
    /// # Errors
    /// A refusal, a failure that another try does not mend, or one that has gone on for too long; with how many are
    /// in the log.
    pub async fn publish(&mut self, draft: &Draft, payloads: &[Bytes]) -> Result<(), Unpublished> {
        let (mut done, mut most) = (0, usize::MAX);
        while let rest @ [_, ..] = &payloads[done..] {
            let size = batch(rest).min(most);
            match self.send(draft, &rest[..size]).await {
                Ok(()) => done += size,
                // All or none of a batch: in smaller ones, what comes before the bad event gets through.
                Err(failure) if size > 1 && is_of_one(&failure) => most = size / 2,
                Err(failure) => return Err(Unpublished { done, failure }),
            }
        }
        Ok(())
    }

    /// Publishes a batch, once, however often it has to be sent.
    async fn send(&mut self, draft: &Draft, batch: &[Bytes]) -> Result<(), Failure> {
        sleep_until(self.next).await;
        self.next = Instant::now() + BETWEEN;
        let key = format!("{:032x}", fastrand::u128(..));
        let mut tries = Tries::new(self.patience);
        if self.was_there {
            tries.succeeded();
        }
        loop {
            let is_new = self.connection.is_none();
            let sent = match self.connection().await {
                Ok(connection) => post(connection, draft, batch, &key).await,
                Err(failure) => Err(failure),
            };
            let Err(failure) = sent else {
                if tries.succeeded() {
                    (self.say)(&format!("{} is back", self.place.authority));
                }
                return Ok(());
            };
            self.connection = None;
            // One that was left alone for long may have been closed by the other side, which is no trouble.
            if failure.fault != Fault::Broken || is_new {
                self.pause(&mut tries, failure).await?;
            }
        }
    }

    async fn pause(&mut self, tries: &mut Tries, failure: Failure) -> Result<(), Failure> {
        let words = failure.words.clone();
        let pause = tries.failed(failure)?;
        (self.say)(&format!("{words}; again in {:.1} s", pause.as_secs_f64()));
        sleep(pause).await;
        Ok(())
    }

    async fn connection(&mut self) -> Result<&mut Connection, Failure> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.place).await?);
        }
        Ok(self.connection.as_mut().expect("it was just made"))
    }
}

/// How many of the payloads go together.
fn batch(payloads: &[Bytes]) -> usize {
    let (events, most) = MOST;
    let mut bytes = 0;
    let fits = |payload: &&Bytes| {
        bytes += payload.len() + 1;
        bytes <= most
    };
    let fitting = payloads.iter().take(events).take_while(fits).count();
    fitting.max(1)
}

/// Whether one event of a batch may be to blame.
fn is_of_one(failure: &Failure) -> bool {
    let blamed = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
    matches!(failure.fault, Fault::Refused(status) if blamed.contains(&status))
}

/// Each with its end: an empty last one counts too.
fn lines(payloads: &[Bytes]) -> Bytes {
    let mut body = payloads.join(&b'\n');
    body.push(b'\n');
    body.into()
}

async fn post(
    connection: &mut Connection,
    draft: &Draft,
    batch: &[Bytes],
    key: &str,
) -> Result<(), Failure> {
    // One alone is no batch: what is wrong with it is not said of a line.
    let (kind, lines, body) = match (draft.format, batch) {
        (Format::Text, [one]) => (TEXT, "", one.clone()),
        (Format::Json, [one]) => ("application/json", "", one.clone()),
        (Format::Text, all) => (TEXT, "&lines=1", lines(all)),
        (Format::Json, all) => ("application/x-ndjson", "", lines(all)),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let key = HeaderValue::from_str(key).expect("hexadecimal");
    headers.insert("idempotency-key", key);
    let topic = utf8_percent_encode(&draft.topic, PLAIN);
    let event_type = draft.event_type.as_deref().unwrap_or("message");
    let event_type = utf8_percent_encode(event_type, PLAIN);
    let path = format!("/publish/{topic}?type={event_type}{lines}");
    let answer = connection.send(Method::POST, &path, headers, body).await?;
    if answer.status() != StatusCode::CREATED {
        return Err(connection.refusal(answer).await);
    }
    connection.whole(answer.into_body()).await.map(drop)
}
