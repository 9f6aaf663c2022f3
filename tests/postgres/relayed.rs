//! Replicas in this process, behind a relay in memory: what it forgets, what it does not take, and what comes too late.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use triwire::database::Place;
use triwire::event::{EventId, Topic};
use triwire::log::{self, Log, Next, Reader, Start};
use triwire::problem::Problem;
use triwire::relay;
use triwire::relay::memory::Memory;
use triwire::replica::entry;
use triwire::replica::link::Link;
use triwire::replica::replicas::Replicas;
use triwire::store::announce::{self, Announcer};
use triwire::store::ask::filter::Filter;
use triwire::store::name::{Collection, Id};
use triwire::store::postgres::prune::Kept;
use triwire::store::postgres::{Opened, Settings};
use triwire::store::write::{Expected, Op, Write, Written};
use triwire::store::{Collections, Limits};

use super::database::Database;
use crate::support::reading::fresh;
use crate::support::server::PATIENCE;

/// Bytes of an entry.
const ENTRY: usize = 8_192;

/// What is said of events, and what replicas say of themselves.
struct Relay {
    events: Arc<Memory>,
    words: Arc<Memory>,
}

impl Relay {
    fn new() -> Relay {
        Relay {
            events: Memory::new(10_000),
            words: Memory::new(100),
        }
    }
}

/// A database, if there is a Postgres, and a relay.
fn places() -> Option<(Database, Relay)> {
    Some((Database::migrated()?, Relay::new()))
}

struct Replica {
    log: Arc<Log>,
    link: Arc<Link>,
    collections: Collections,
    running: Vec<JoinHandle<()>>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

impl Replica {
    async fn new(database: &Database, relay: &Relay) -> Replica {
        let relaying = relay::Limits {
            entries: 10_000,
            timeout: Duration::from_secs(2),
            waiting: 100,
            entry_bytes: ENTRY,
        };
        let limits = Limits {
            document_bytes: 1 << 20,
            document_depth: 16,
            patch_operations: 100,
            bulk_bytes: 8 << 20,
            bulk_documents: 1_000,
            per_page: 1_000,
            page_bytes: 8 << 20,
            collections: 100,
            collection_indexes: 2,
        };
        let log = Log::new(log::Limits::default(), "s", 1, Box::new(now_ms));
        let link = Link::new(Arc::new(relay.events.clone()), &log, relaying);
        let replicas = Replicas::new(Arc::new(relay.words.clone()), &link, "s", relaying);
        let announcer = Announcer::new(
            log.clone(),
            announce::Limits {
                event_bytes: 1 << 20,
                watches: 10,
            },
        );
        let settings = Settings {
            connections: 4,
            list_time: Duration::from_secs(5),
            outbox: Kept {
                age: Duration::from_secs(3_600),
                changes: 1_000_000,
            },
            limits,
        };
        let place = Place::parse(&database.url).expect("a good URL");
        let opened = Opened::new(place, settings).await.expect("it is there");
        let store = opened.start(announcer.clone(), Some("memory".to_owned()));
        let (carried, says) = (link.clone(), replicas.clone());
        let running = vec![
            tokio::spawn(async move { drop(carried.run().await) }),
            tokio::spawn(says.run(|| json!({}))),
        ];
        link.caught_up().await;
        link.heard().await;
        Replica {
            collections: Collections::new(Arc::new(store), announcer, limits),
            log,
            link,
            running,
        }
    }

    async fn two(database: &Database, relay: &Relay) -> [Replica; 2] {
        [
            Replica::new(database, relay).await,
            Replica::new(database, relay).await,
        ]
    }

    async fn put(&self, id: i64, text: &str) -> Result<Written, Problem> {
        let Value::Object(document) = json!({ "text": text }) else {
            panic!("it is one");
        };
        let write = Write {
            collection: Collection::new("items").expect("a name"),
            id: Some(Id::Integer(id)),
            op: Op::Replace(document),
            expected: Expected::Any,
            line: None,
        };
        self.collections.write(write).await
    }

    /// Until it is taken; what was refused must not be there.
    async fn put_at_last(&self, id: i64) -> EventId {
        let began = Instant::now();
        loop {
            match self.put(id, "x").await {
                Ok(written) => return written.event,
                Err(problem) => assert_eq!(problem.status.as_u16(), 503, "{problem}"),
            }
            assert!(began.elapsed() < PATIENCE, "it is not taken");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All that there is on the collection's topic: ids of events, and of documents; of a gap, why it is.
    fn all(&self, after: EventId) -> Vec<(EventId, Value)> {
        let mut reader = reader(&self.log, after);
        let next = || match reader.try_next()? {
            Next::Event(event) => {
                let said: Value = serde_json::from_slice(event.draft.payload.bytes()).ok()?;
                Some((event.id, said["id"].clone()))
            }
            Next::Gap(gap) => {
                let said: Value = serde_json::from_str(&gap.json(None)).ok()?;
                Some((gap.resumed_at, said["reason"].clone()))
            }
            Next::End(end) => panic!("{end:?}"),
        };
        std::iter::from_fn(next).collect()
    }

    async fn has(&self, id: EventId) {
        until("it follows", || self.log.head() >= id).await;
    }
}

fn reader(log: &Arc<Log>, after: EventId) -> Reader {
    let mut reader = fresh(log);
    let topic = Topic::of_collection("items").expect("a topic");
    reader
        .begin(&[topic], Start::After(after))
        .expect("it is one topic");
    reader
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn ids(all: &[(EventId, Value)]) -> Vec<i64> {
    all.iter().filter_map(|(_, id)| id.as_i64()).collect()
}

/// What somebody says of the outbox, as an entry.
fn word(number: u64, said: &str) -> Bytes {
    let said = serde_json::value::RawValue::from_string(said.to_owned());
    entry::write_word("somebody", number, "store", &said.expect("JSON"))
}

#[tokio::test]
async fn a_relay_that_has_forgotten_all_goes_on() {
    let Some((database, relay)) = places() else {
        return;
    };
    let [a, b] = Replica::two(&database, &relay).await;
    let first = a.put_at_last(1).await;
    b.put_at_last(2).await;
    relay.events.cut(true);
    until("it is away", || {
        a.link.hears().is_err() && b.link.hears().is_err()
    })
    .await;
    let refused = b.put(3, "x").await.expect_err("it is away");
    assert_eq!(refused.kind, "relay-away");
    relay.events.forget();
    relay.events.cut(false);
    // Each lets go of what it retains when it notices, also of what another has taken before that.
    until("both have noticed", || {
        a.link.hears().is_ok() && b.link.hears().is_ok()
    })
    .await;
    for (id, replica) in [(4, &b), (5, &a), (6, &b)] {
        let last = replica.put_at_last(id).await;
        a.has(last).await;
        b.has(last).await;
    }
    assert_eq!(ids(&a.all(EventId::ZERO)), [4, 5, 6]);
    assert_eq!(a.all(EventId::ZERO), b.all(EventId::ZERO));
    for replica in [&a, &b] {
        assert_eq!(replica.all(first)[0].1, "relay");
    }
    assert_eq!(database.sql("select count(*) from triwire.documents"), "5");
    // One that comes later has the same, whoever tells.
    let late = Replica::new(&database, &relay).await;
    assert_eq!(late.all(EventId::ZERO), b.all(EventId::ZERO));
    drop(a);
    let last = late.put_at_last(7).await;
    b.has(last).await;
    assert_eq!(late.all(EventId::ZERO), b.all(EventId::ZERO));
    assert_eq!(ids(&b.all(EventId::ZERO)), [4, 5, 6, 7]);
}

#[tokio::test]
async fn what_is_too_large_for_an_entry_is_told_with_less() {
    let Some((database, relay)) = places() else {
        return;
    };
    let a = Replica::new(&database, &relay).await;
    let large = "x".repeat(2 * ENTRY);
    let written = a.put(1, &large).await.expect("it is taken");
    assert_eq!(written.version, 1);
    let last = a.put_at_last(2).await;
    assert_eq!(ids(&a.all(EventId::ZERO)), [1, 2]);
    let mut told = reader(&a.log, EventId::ZERO);
    let Some(Next::Event(event)) = told.try_next() else {
        panic!("it is told");
    };
    assert_eq!(event.draft.payload.bytes(), r#"{"id":1,"version":1}"#);
    // Many in one transaction are several entries.
    let before = relay.events.len();
    database.sql(
        "insert into triwire.documents (collection, document)
            select 'items', jsonb_build_object('id', n, 'text', repeat('y', 500)) from generate_series(10, 209) n",
    );
    until("all are told", || a.all(last).len() == 200).await;
    assert!(relay.events.len() > before + 10);
    let b = Replica::new(&database, &relay).await;
    assert_eq!(a.all(EventId::ZERO), b.all(EventId::ZERO));
}

#[tokio::test]
async fn a_full_relay_keeps_nothing_from_being_told_later() {
    let Some((database, relay)) = places() else {
        return;
    };
    let a = Replica::new(&database, &relay).await;
    a.put_at_last(1).await;
    relay.events.fill(true);
    database.sql(
        r#"insert into triwire.documents (collection, document) values ('items', '{"id": 2}')"#,
    );
    until("it is refused", || {
        a.log.carried().is_some_and(|carried| carried.published > 3)
    })
    .await;
    relay.events.fill(false);
    let last = a.put_at_last(3).await;
    a.has(last).await;
    assert_eq!(ids(&a.all(EventId::ZERO)), [1, 2, 3]);
}

/// What a stream is told of all documents, and of those that these words ask for: topics without what each replica calls
/// its own by, and ids.
async fn told(replica: &Replica, filters: &[&str], cursor: EventId) -> Vec<(bool, EventId)> {
    let collection = Collection::new("items").expect("a name");
    let mut reader = reader(&replica.log, cursor);
    let mut all = Vec::new();
    for filter in filters {
        let filter = Filter::parse("filter[text]", filter).expect("it is one");
        let start = Start::After(cursor);
        let watched = replica.collections.watch(&collection, vec![filter], start);
        let mut watching = fresh(&replica.log);
        let set = watched.await.expect("there is room").set(&mut watching);
        set.expect("it is one topic");
        all.extend(events(&mut watching));
    }
    all.extend(events(&mut reader));
    all.sort();
    all
}

fn events(reader: &mut Reader) -> Vec<(bool, EventId)> {
    let next = || match reader.try_next()? {
        Next::Event(event) => Some((event.draft.topic.is_of_watch(), event.id)),
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(next).collect()
}

#[tokio::test]
async fn who_watches_goes_on_anywhere_from_any_of_its_events() {
    let Some((database, relay)) = places() else {
        return;
    };
    let [a, b] = Replica::two(&database, &relay).await;
    a.put_at_last(100).await;
    let before = a.log.head();
    told(&a, &["x", "y"], before).await;
    for id in 0..6 {
        let text = if id % 3 == 2 { "y" } else { "x" };
        a.put(id, text).await.expect("it is taken");
    }
    b.has(a.log.head()).await;
    let all = told(&a, &["x", "y"], before).await;
    assert_eq!(all.len(), 12, "{all:?}");
    let mut ids: Vec<EventId> = all.iter().map(|(_, id)| *id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 12, "each has an id of its own: {all:?}");
    for cursor in ids {
        let rest = all.iter().filter(|(_, id)| *id > cursor).copied();
        let rest: Vec<_> = rest.collect();
        // The first time b has no such watch yet.
        assert_eq!(told(&b, &["x", "y"], cursor).await, rest, "{cursor}");
        assert_eq!(told(&a, &["x", "y"], cursor).await, rest, "{cursor}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_tell_twice() {
    let Some((database, relay)) = places() else {
        return;
    };
    let [a, b] = Replica::two(&database, &relay).await;
    let mut last = a.put_at_last(0).await;
    for id in 1..20 {
        relay.events.lose_answers(1);
        let by = if id % 2 == 0 { &a } else { &b };
        last = by.put_at_last(id).await;
    }
    a.has(last).await;
    b.has(last).await;
    assert_eq!(ids(&a.all(EventId::ZERO)), (0..20).collect::<Vec<_>>());
    assert_eq!(a.all(EventId::ZERO), b.all(EventId::ZERO));
    let late = Replica::new(&database, &relay).await;
    assert_eq!(a.all(EventId::ZERO), late.all(EventId::ZERO));
}

#[tokio::test]
async fn what_is_said_in_a_turn_that_is_over_does_not_count() {
    let Some((database, relay)) = places() else {
        return;
    };
    let a = Replica::new(&database, &relay).await;
    a.put_at_last(1).await;
    let store = database.sql("select store from triwire.meta");
    let say = |number, said: &str| {
        let said = said.replace("STORE", &store);
        relay.events.put(word(number, &said));
    };
    let change = r#"[{"seq":9,"collection":"items","kind":"ADDED","id":"99","version":1}]"#;
    let tells = |claim: &str, since: &str| {
        format!(
            r#"{{"store":"STORE","claim":"{claim}","since":"{since}","to":"1:1:/0/0","changes":{change}}}"#
        )
    };
    // It was somebody's turn before, and it still speaks; and of another database.
    say(1, &tells("before", "0-0"));
    let strange = tells("before", "99999999999999-0").replace("STORE", "other");
    relay.events.put(word(2, &strange));
    a.put_at_last(2).await;
    assert_eq!(ids(&a.all(EventId::ZERO)), [1, 2]);
    // It takes the turn, and says nothing. What is written is told by whoever takes it from there.
    say(3, r#"{"store":"STORE","claim":"taken"}"#);
    let last = a.put_at_last(3).await;
    let b = Replica::new(&database, &relay).await;
    b.has(last).await;
    assert_eq!(ids(&a.all(EventId::ZERO)), [1, 2, 3]);
    assert_eq!(a.all(EventId::ZERO), b.all(EventId::ZERO));
    // Nonsense is nobody's.
    say(4, r#"{"store":"STORE"}"#);
    say(5, "7");
    let last = a.put_at_last(4).await;
    b.has(last).await;
    assert_eq!(a.all(EventId::ZERO), b.all(EventId::ZERO));
}

#[tokio::test]
async fn what_is_gone_from_the_outbox_is_a_gap_on_every_replica() {
    let Some((database, relay)) = places() else {
        return;
    };
    let [a, b] = Replica::two(&database, &relay).await;
    let first = a.put_at_last(1).await;
    b.has(first).await;
    relay.events.fill(true);
    database.sql(
        r#"insert into triwire.documents (collection, document) values ('items', '{"id": 2}')"#,
    );
    database
        .sql("delete from triwire.outbox; update triwire.meta set pruned = pg_current_snapshot()");
    relay.events.fill(false);
    let last = a.put_at_last(3).await;
    b.has(last).await;
    for replica in [&a, &b] {
        let told = replica.all(first);
        assert_eq!(told[0].1, "expired", "{told:?}");
        assert_eq!(ids(&told), [3]);
    }
    assert_eq!(a.all(EventId::ZERO), b.all(EventId::ZERO));
}
