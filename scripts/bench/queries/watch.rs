//! Streams of subscriptions, over SSE on h2c: what came, how late it was, and whether something was lost.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;
use triwire::client::{Block, Connection, SseParser};
use triwire::load::Result;
use triwire::load::clock;
use triwire::load::histogram::Histogram;

use super::alone::Server;
use super::server::WIRE;

/// Streams that a connection may have.
const STREAMS: usize = 1_000;

/// What all streams have brought.
#[derive(Default)]
pub struct Seen {
    /// Queries that have told something.
    queries: HashSet<String>,
    /// Results, and messages with more rows.
    pub results: u64,
    /// Since the last whole second, in nanoseconds; ids say milliseconds.
    pub late: Histogram,
    /// Of rows that are numbered: of each query the last number.
    pub last: HashMap<String, u64>,
    /// When it came.
    pub at: u64,
    /// Queries that have ended, gaps, and rows that were not the next.
    pub wrong: Vec<String>,
    /// How far rows of a query are apart, if that is looked at.
    step: Option<u64>,
}

/// Streams that are open, until this is dropped.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Opens a stream on each of these subscriptions. With `step`, rows of each query must be numbered so.
    pub async fn open(
        server: &Server,
        subscriptions: &[String],
        step: Option<u64>,
    ) -> Result<Watch> {
        let seen = Arc::new(Mutex::new(Seen {
            step,
            ..Seen::default()
        }));
        let mut tasks = Vec::new();
        for some in subscriptions.chunks(STREAMS) {
            let mut connection = Connection::open(&server.place(WIRE)?).await?;
            for id in some {
                let answer = connection.get(&format!("/stream/{id}")).await?;
                if answer.status() != StatusCode::OK {
                    return Err(format!("a stream: {}", answer.status()).into());
                }
                let seen = seen.clone();
                tasks.push(tokio::spawn(async move {
                    let read = read(answer.into_body(), &seen).await;
                    let mut seen = seen.lock().expect("nobody panics");
                    seen.wrong.push(match read {
                        Ok(()) => "a stream has ended".to_owned(),
                        Err(error) => error.to_string(),
                    });
                }));
            }
        }
        Ok(Watch { seen, tasks })
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics")
    }

    /// How many queries have told something.
    pub fn queries(&self) -> usize {
        self.seen().queries.len()
    }

    /// Forgets what came so far, but for the numbers of rows.
    pub fn begin(&self) {
        let mut seen = self.seen();
        seen.results = 0;
        seen.late = Histogram::default();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn read(mut body: Incoming, seen: &Mutex<Seen>) -> Result<()> {
    let mut parser = SseParser::default();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            parser.push(data)?;
        }
        let mut seen = seen.lock().expect("nobody panics");
        while let Some(block) = parser.next_block() {
            if let Block::Event {
                id, event, data, ..
            } = block
            {
                seen.take(id.as_deref(), &event, &data)?;
            }
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Message<'a> {
    query: String,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Row {
    n: u64,
}

impl Seen {
    fn take(&mut self, id: Option<&str>, event: &str, data: &str) -> Result<()> {
        match event {
            "" | "message" => {}
            "ready" => return Ok(()),
            _ => {
                self.wrong.push(format!("{event}: {data}"));
                return Ok(());
            }
        }
        let message: Message = serde_json::from_str(data)?;
        if let Some(error) = message.error {
            self.wrong.push(format!("{}: {error}", message.query));
        }
        if !self.queries.contains(&message.query) {
            self.queries.insert(message.query.clone());
        }
        // What has no id is no event of now, but how things stood.
        let made = id.and_then(|id| id.split('-').next()?.parse::<u64>().ok());
        if let Some(made) = made {
            self.results += 1;
            self.at = clock::now();
            self.late.record(made % 1_000 * (clock::SECOND / 1_000));
        }
        if let (Some(step), Some(result)) = (self.step, message.result) {
            self.take_rows(&message.query, result, step)?;
        }
        Ok(())
    }

    fn take_rows(&mut self, query: &str, result: &RawValue, step: u64) -> Result<()> {
        let mut rows: Vec<Row> = serde_json::from_str(result.get())?;
        rows.sort_by_key(|row| row.n);
        for row in rows {
            let last = self.last.insert(query.to_owned(), row.n);
            if let Some(last) = last
                && row.n != last + step
            {
                self.wrong
                    .push(format!("{query}: row {} after {last}", row.n));
            }
        }
        Ok(())
    }
}
