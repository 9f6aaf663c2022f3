//! A query as its clients read it: Server-Sent Events of which each is one line of data, of nothing else (some of them
//! read lines by themselves, and die of a comment or an `id:`), until the query has ended.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderValue};
use serde_json::Value;
use tokio::time::{Instant, Sleep};

use super::outbox::{Batching, Taken, on_one_line};
use super::registry::Following;
use crate::body::{Body, Joined, Stream};
use crate::counts::Seat;

/// Bytes of a line at most, if it has more than one row: beyond that some readers of lines give up.
const LINE: usize = 64 * 1024;

/// What a line of rows has beside them, with the comma that the last has not.
const AROUND: usize = "data: []".len() - 1;

/// How often a client is told what its query costs, whatever happens; there is no other sign of life.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// Up to here events are joined into one write.
const JOIN_BYTES: usize = 16 * 1024;

/// The whole answer.
pub(super) fn response(following: Following, batching: Batching, seat: Seat) -> Response<Body> {
    let mut response = Response::new(Body::Stream(Box::new(Events::new(
        following, batching, seat,
    ))));
    let headers = response.headers_mut();
    // No charset: one client compares it as it is.
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Events {
    following: Following,
    batching: Batching,
    seat: Seat,
    /// Rows handed on.
    count: u64,
    part: Part,
    metrics_at: Instant,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    First,
    Rows,
    Over,
}

impl Events {
    fn new(following: Following, batching: Batching, seat: Seat) -> Events {
        let metrics_at = Instant::now() + METRICS_EVERY;
        Events {
            following,
            batching: Batching {
                bytes: LINE - AROUND,
                ..batching
            },
            seat,
            count: 0,
            part: Part::First,
            metrics_at,
            timer: Box::pin(tokio::time::sleep_until(metrics_at)),
        }
    }

    /// What is due now, if anything is.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if self.part == Part::First {
            self.part = Part::Rows;
            return Poll::Ready(self.query());
        }
        loop {
            let now = Instant::now();
            if self.metrics_at <= now {
                // Those that were missed are not made up for.
                self.metrics_at = now + METRICS_EVERY;
                return Poll::Ready(self.metrics());
            }
            let due = match self.following.take(cx, self.batching) {
                Taken::Rows(rows) => return Poll::Ready(self.rows(&rows)),
                Taken::Ended(_) => {
                    self.part = Part::Over;
                    return Poll::Ready([self.metrics(), self.query()].concat().into());
                }
                Taken::Wait(due) => due,
            };
            let due = due.map_or(self.metrics_at, |due| due.min(self.metrics_at));
            if self.timer.deadline() != due {
                self.timer.as_mut().reset(due);
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
        }
    }

    fn query(&self) -> Bytes {
        named("query", &self.following.query().about())
    }

    fn metrics(&self) -> Bytes {
        named("metrics", &self.following.query().metrics(self.count))
    }

    fn rows(&mut self, rows: &[Bytes]) -> Bytes {
        self.count += rows.len() as u64;
        let length: usize = rows.iter().map(|row| row.len() + 1).sum();
        let mut line = Vec::with_capacity(length + AROUND + 2);
        line.extend_from_slice(b"data: [");
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            line.extend_from_slice(row);
        }
        line.extend_from_slice(b"]\n\n");
        line.into()
    }
}

impl Stream for Events {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut joined = Joined::default();
        while self.part != Part::Over && joined.length() < JOIN_BYTES {
            let Poll::Ready(event) = self.next(cx) else {
                break;
            };
            self.seat.sent(event.len());
            self.seat.events(1);
            joined.push(event);
        }
        match joined.take() {
            Some(bytes) => Poll::Ready(Some(bytes)),
            None if self.part == Part::Over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

fn named(event: &str, data: &Value) -> Bytes {
    on_one_line(format!("event: {event}\ndata: {data}\n\n").into())
}
