//! A replica on which tables, queries and subscriptions are defined, and what is waited for there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use triwire::event::{Draft, EventId, EventType, Payload, Topic};
use triwire::live::engine::{self, Engine};
use triwire::live::queries::{self, Name};
use triwire::live::{Limits, Live, subscriptions, tables};
use triwire::log::{self, Log, Reader, Start};
use triwire::problem::Problem;
use triwire::relay;
use triwire::relay::Relay;
use triwire::relay::memory::Memory;
use triwire::replica::link::Link;

use super::reading::{self, rest};

/// How long a subscription is kept that nobody uses.
pub const TTL: Duration = Duration::from_millis(400);

pub struct Replica {
    pub log: Arc<Log>,
    pub link: Arc<Link>,
    pub live: Arc<Live>,
    running: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.iter().for_each(|task| task.abort());
    }
}

impl Replica {
    pub async fn new(memory: &Arc<Memory>) -> Replica {
        Replica::with(memory, 1_000).await
    }

    pub async fn with(memory: &Arc<Memory>, entries: u64) -> Replica {
        Replica::of(memory, entries, engine::Limits::default()).await
    }

    pub async fn of(memory: &Arc<Memory>, entries: u64, of_engine: engine::Limits) -> Replica {
        Replica::behind(Arc::new(memory.clone()), entries, of_engine).await
    }

    pub async fn behind(relay: Arc<dyn Relay>, entries: u64, of_engine: engine::Limits) -> Replica {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = move || now().expect("after 1970").as_millis() as u64;
        let log = Log::new(log::Limits::default(), "s", 1, Box::new(clock));
        let relaying = relay::Limits {
            entries,
            timeout: Duration::from_secs(1),
            waiting: 100,
            entry_bytes: 4_096,
        };
        let link = Link::new(relay, &log, relaying);
        let engine = Engine::start(&log, of_engine).expect("an engine");
        let limits = Limits {
            queries: 100,
            subscriptions: 100,
            subscription_ttl: TTL,
            reader_topics: 16,
            engine: of_engine,
        };
        let live = Live::new(log.clone(), engine, limits, None);
        live.share();
        let carrying = link.clone().run();
        let carrying = tokio::spawn(async { drop(carrying.await) });
        link.caught_up().await;
        let tidying = tokio::spawn(live.clone().tidy());
        Replica {
            log,
            link,
            live,
            running: [carrying, tidying],
        }
    }

    pub async fn table(&self, name: &str) -> Result<Value, Problem> {
        let columns = vec![("x".to_owned(), "int64".to_owned())];
        let asked = tables::Asked::new(name.to_owned(), columns, None);
        self.live.clone().create_table(asked).await
    }

    pub async fn query(&self, name: &str, sql: &str) -> Result<(), Problem> {
        let live = self.live.clone();
        live.create_query(named(name), asked(sql, false)).await
    }

    pub async fn delete(&self, name: &str) {
        let deleted = self.live.clone().delete_query(named(name), None).await;
        deleted.expect("it is there");
    }

    pub async fn forget(&self, table: &str) {
        let forgotten = self.live.clone().forget_table(table.into()).await;
        forgotten.expect("it is there");
    }

    pub async fn subscribe(&self, queries: &[&str], topics: &[&str]) -> Result<String, Problem> {
        self.live.clone().subscribe(set(queries, topics)).await
    }

    pub async fn unsubscribe(&self, id: String) {
        let ended = self.live.clone().unsubscribe(id, None).await;
        ended.expect("it is there");
    }

    /// All that is defined, without what each counts by itself.
    pub fn defined(&self) -> Value {
        let (queries, _) = self.live.list_queries(None, 100);
        let queries = queries.iter().map(|query| {
            let query: Value = serde_json::from_str(query).expect("JSON");
            json!([
                query["name"],
                query["sql"],
                query["etag"],
                query["temporary"]
            ])
        });
        let tables = self.live.tables().into_iter();
        let tables = tables.map(|table| json!([table.schema.name.as_str(), table.since]));
        json!({
            "queries": queries.collect::<Vec<_>>(),
            "tables": tables.collect::<Vec<_>>(),
            "subscriptions": self.live.held().subscriptions,
        })
    }

    /// Until it has all that another was told.
    pub async fn settled(&self) {
        self.live.settle().await.expect("the relay is there");
    }

    pub fn reader(&self, subscription: &str, start: Start) -> Reader {
        let mut reader = reading::fresh(&self.log);
        let subscription = self.live.subscription(subscription).expect("it is there");
        let followed = self.live.follow(&subscription, &mut reader, start, false);
        followed.expect("it goes on");
        reader
    }

    pub async fn row(&self, table: &str, x: i64) -> EventId {
        let draft = Draft {
            topic: Topic::new(table).expect("a topic"),
            event_type: EventType::default(),
            payload: Payload::json(Bytes::from(json!({ "x": x }).to_string())).expect("JSON"),
        };
        let done = self.log.publish(vec![draft], None).await;
        done.expect("the relay takes it").last
    }
}

/// Two, and the relay between them.
pub async fn two() -> (Arc<Memory>, [Replica; 2]) {
    let memory = Memory::new(1_000);
    let replicas = [Replica::new(&memory).await, Replica::new(&memory).await];
    (memory, replicas)
}

pub fn named(name: &str) -> Name {
    Name::new(name).expect("a name")
}

pub fn asked(sql: &str, temporary: bool) -> queries::Asked {
    queries::Asked {
        sql: sql.to_owned(),
        every_ms: 50,
        temporary,
    }
}

pub fn set(queries: &[&str], topics: &[&str]) -> subscriptions::Asked {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    subscriptions::Asked {
        queries: owned(queries),
        topics: owned(topics),
    }
}

/// Waits for a fact.
pub async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it has not come to that: {what}");
}

/// Until all know that the relay is there, or that it is not.
pub async fn until_hears(replicas: [&Replica; 2], hears: bool) {
    until("the relay is there, or not", || {
        let known = replicas.iter().map(|replica| replica.link.hears().is_ok());
        known.into_iter().all(|known| known == hears)
    })
    .await;
}

/// Until one that begins now has what this one has.
pub async fn until_late(memory: &Arc<Memory>, replica: &Replica) {
    for _ in 0..100 {
        if Replica::new(memory).await.defined() == replica.defined() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Replica::new(memory).await.defined(), replica.defined());
}

/// Why those were refused that were, of two.
pub fn refused<T>(done: (Result<T, Problem>, Result<T, Problem>)) -> Vec<&'static str> {
    let problems = [done.0.err(), done.1.err()];
    problems.iter().flatten().map(|p| p.kind).collect()
}

/// Until a reader is told something that contains this; all that it was told.
pub async fn told(reader: &mut Reader, part: &str) -> Vec<(EventId, String)> {
    let mut all = Vec::new();
    until(part, || {
        all.extend(rest(reader));
        all.iter().any(|(_, text)| text.contains(part))
    })
    .await;
    all
}
