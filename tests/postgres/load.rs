//! Load: peers that write documents, what was acknowledged to them, and who reads what is told of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use super::database::Database;
use super::rest::{change, post, told};
use crate::support::client::Reader;
use crate::support::client::link::Target;
use crate::support::client::message::{Id, Message};
use crate::support::client::publisher::Publisher;
use crate::support::server::{PATIENCE, Server};

/// How many write at once.
const WRITERS: usize = 8;

/// Peers that write at these servers until they are stopped.
pub struct Load {
    counts: Arc<Counts>,
    writers: Vec<JoinHandle<HashMap<i64, Id>>>,
}

#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
}

impl Load {
    pub fn start(servers: &[&Server]) -> Load {
        let counts = Arc::<Counts>::default();
        let writers = (0..WRITERS).map(|number| {
            let target = Target::of(servers[number % servers.len()]);
            tokio::spawn(write(target, counts.clone()))
        });
        Load {
            writers: writers.collect(),
            counts,
        }
    }

    /// Waits until so many are acknowledged.
    pub async fn come_to(&self, count: usize) {
        let deadline = Instant::now() + 2 * PATIENCE;
        while self.counts.acknowledged.load(Ordering::Relaxed) < count {
            assert!(
                Instant::now() < deadline,
                "nothing is acknowledged any more"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for so many acknowledgements more.
    pub async fn more(&self, count: usize) {
        let there_are = self.counts.acknowledged.load(Ordering::Relaxed);
        self.come_to(there_are + count).await;
    }

    /// How many writes were refused.
    pub fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// What was acknowledged: documents, and their events.
    pub async fn end(self) -> HashMap<i64, Id> {
        self.counts.is_over.store(true, Ordering::Relaxed);
        let mut all = HashMap::new();
        for writer in self.writers {
            all.extend(writer.await.expect("it wrote"));
        }
        all
    }
}

async fn write(target: Target, counts: Arc<Counts>) -> HashMap<i64, Id> {
    let mut client = Publisher::new(&target).await;
    let mut written = HashMap::new();
    while !counts.is_over.load(Ordering::Relaxed) {
        let answer = client.call(post("items", r#"{"name": "x"}"#)).await;
        if answer.status == 201 {
            counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            let id = answer.body["id"].as_i64().expect("an id");
            assert!(written.insert(id, told(&answer)).is_none());
        } else {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.headers.contains_key("retry-after"));
            counts.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    written
}

/// Puts the document that readers end at.
pub fn put_end(database: &Database) {
    database.sql(
        r#"insert into triwire.documents (collection, document) values ('items', '{"id": "end"}')"#,
    );
}

/// Reads what is added up to the document `end`, in the order of ids: events, and documents.
pub fn read(mut reader: Reader) -> JoinHandle<Vec<(Id, i64)>> {
    tokio::spawn(async move {
        let mut seen: Vec<(Id, i64)> = Vec::new();
        loop {
            let event = match reader.next().await {
                Message::Event(event) => event,
                Message::Heartbeat => continue,
                other => panic!("no event, but {other:?}"),
            };
            assert!(seen.last().is_none_or(|(last, _)| *last < event.id));
            let (kind, id, version, _) = change(&event);
            assert_eq!((&*kind, version), ("ADDED", 1));
            if id == json!("end") {
                return seen;
            }
            seen.push((event.id, id.as_i64().expect("a number")));
        }
    })
}

/// The event of each document, which is told once.
pub fn by_document(seen: &[(Id, i64)]) -> HashMap<i64, Id> {
    let told: HashMap<i64, Id> = seen.iter().map(|(event, id)| (*id, *event)).collect();
    assert_eq!(told.len(), seen.len(), "nothing is told twice");
    told
}
