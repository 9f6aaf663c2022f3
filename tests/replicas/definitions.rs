//! What is defined on one of several servers behind one relay is defined on all, whatever happens to the relay and to them.

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
use triwire::relay::memory::Memory;
use triwire::replica::link::Link;

use super::reading::{self, rest, texts};

/// How long a subscription is kept that nobody uses.
const TTL: Duration = Duration::from_millis(400);

struct Replica {
    log: Arc<Log>,
    link: Arc<Link>,
    live: Arc<Live>,
    running: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.iter().for_each(|task| task.abort());
    }
}

impl Replica {
    async fn new(memory: &Arc<Memory>) -> Replica {
        Replica::with(memory, 1_000).await
    }

    async fn with(memory: &Arc<Memory>, entries: u64) -> Replica {
        Replica::of(memory, entries, engine::Limits::default()).await
    }

    async fn of(memory: &Arc<Memory>, entries: u64, of_engine: engine::Limits) -> Replica {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = move || now().expect("after 1970").as_millis() as u64;
        let log = Log::new(log::Limits::default(), "s", 1, Box::new(clock));
        let relaying = relay::Limits {
            entries,
            timeout: Duration::from_secs(1),
            waiting: 100,
            entry_bytes: 4_096,
        };
        let link = Link::new(Arc::new(memory.clone()), &log, relaying);
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

    async fn table(&self, name: &str) -> Result<Value, Problem> {
        let columns = vec![("x".to_owned(), "int64".to_owned())];
        let asked = tables::Asked::new(name.to_owned(), columns, None);
        self.live.clone().create_table(asked).await
    }

    async fn query(&self, name: &str, sql: &str) -> Result<(), Problem> {
        let live = self.live.clone();
        live.create_query(named(name), asked(sql, false)).await
    }

    async fn subscribe(&self, queries: &[&str], topics: &[&str]) -> Result<String, Problem> {
        self.live.clone().subscribe(set(queries, topics)).await
    }

    /// All that is defined, without what each counts by itself.
    fn defined(&self) -> Value {
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
    async fn settled(&self) {
        self.live.settle().await.expect("the relay is there");
    }

    fn reader(&self, subscription: &str, start: Start) -> Reader {
        let mut reader = reading::fresh(&self.log);
        let subscription = self.live.subscription(subscription).expect("it is there");
        let followed = self.live.follow(&subscription, &mut reader, start, false);
        followed.expect("it goes on");
        reader
    }

    async fn row(&self, table: &str, x: i64) -> EventId {
        let draft = Draft {
            topic: Topic::new(table).expect("a topic"),
            event_type: EventType::default(),
            payload: Payload::json(Bytes::from(json!({ "x": x }).to_string())).expect("JSON"),
        };
        let done = self.log.publish(vec![draft], None).await;
        done.expect("the relay takes it").last
    }
}

fn named(name: &str) -> Name {
    Name::new(name).expect("a name")
}

fn asked(sql: &str, temporary: bool) -> queries::Asked {
    queries::Asked {
        sql: sql.to_owned(),
        every_ms: 50,
        temporary,
    }
}

fn set(queries: &[&str], topics: &[&str]) -> subscriptions::Asked {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    subscriptions::Asked {
        queries: owned(queries),
        topics: owned(topics),
    }
}

/// Waits for a fact.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it has not come to that: {what}");
}

/// Until a reader is told something that contains this; all that it was told.
async fn told(reader: &mut Reader, part: &str) -> Vec<(EventId, String)> {
    let mut all = Vec::new();
    until(part, || {
        all.extend(rest(reader));
        all.iter().any(|(_, text)| text.contains(part))
    })
    .await;
    all
}

#[tokio::test]
async fn what_is_defined_on_one_is_defined_on_all() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    a.table("t").await.expect("it is new");
    b.query("q", "select count(*) as n from t")
        .await
        .expect("the table is there");
    b.table("u").await.expect("it is new");
    let id = a
        .subscribe(&["q"], &["c"])
        .await
        .expect("the query is there");
    let subscription = b
        .live
        .find_subscription(&id)
        .await
        .expect("it is there too");
    assert_eq!(subscription.id(), id);
    a.settled().await;
    assert_eq!(a.defined(), b.defined());
    assert_eq!(a.defined()["queries"][0][0], "q");
    assert!(b.live.find_table("t").await.is_ok());
    // One that begins now as well.
    let c = Replica::new(&memory).await;
    assert_eq!(c.defined(), b.defined());

    let live = c.live.clone();
    live.delete_query(named("q"), None)
        .await
        .expect("it is there");
    c.live
        .clone()
        .forget_table("u".into())
        .await
        .expect("it is there");
    c.live
        .clone()
        .unsubscribe(id, None)
        .await
        .expect("it is there");
    a.settled().await;
    b.settled().await;
    assert_eq!(a.defined(), c.defined());
    assert_eq!(b.defined(), c.defined());
    assert_eq!(a.defined()["queries"], json!([]));
    assert_eq!(a.defined()["subscriptions"], 0);
}

#[tokio::test]
async fn of_two_who_want_the_same_one_is_refused() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    for number in 0..10 {
        let (table, name) = (format!("t{number}"), format!("q{number}"));
        let made = tokio::join!(a.table(&table), b.table(&table));
        let made = [made.0.err(), made.1.err()];
        assert_eq!(
            made.iter().flatten().map(|p| p.kind).collect::<Vec<_>>(),
            ["table-exists"]
        );
        let made = tokio::join!(a.query(&name, "select 1"), b.query(&name, "select 2"));
        let made = [made.0.err(), made.1.err()];
        assert_eq!(
            made.iter().flatten().map(|p| p.kind).collect::<Vec<_>>(),
            ["query-exists"]
        );
        let about: Value =
            serde_json::from_str(&a.live.query(&named(&name)).expect("it is there")).expect("JSON");
        let etag = Some(vec![about["etag"].as_str().expect("an etag").to_owned()]);
        let change = |replica: &Replica, sql: &str| {
            replica
                .live
                .clone()
                .change_query(named(&name), asked(sql, false), etag.clone())
        };
        let changed = tokio::join!(change(&a, "select 3"), change(&b, "select 4"));
        let changed = [changed.0.err(), changed.1.err()];
        assert_eq!(
            changed.iter().flatten().map(|p| p.kind).collect::<Vec<_>>(),
            ["changed"]
        );
    }
    a.settled().await;
    b.settled().await;
    assert_eq!(a.defined(), b.defined());
}

#[tokio::test]
async fn a_table_that_is_too_much_for_who_is_asked_is_on_no_replica() {
    let memory = Memory::new(1_000);
    let small = engine::Limits {
        // Two are built in.
        tables: 3,
        columns: 1,
        ..engine::Limits::default()
    };
    let (a, b) = (
        Replica::new(&memory).await,
        Replica::of(&memory, 1_000, small).await,
    );
    a.table("t").await.expect("it is new");
    let refused = b.table("u").await.expect_err("there are three");
    assert_eq!(refused.kind, "too-many-tables");
    let columns = ["x", "y"].map(|name| (name.to_owned(), "int64".to_owned()));
    let wide = tables::Asked::new("w".into(), columns.into(), None);
    let refused = b.live.clone().create_table(wide).await;
    assert_eq!(refused.expect_err("two are too many").status.as_u16(), 400);
    a.settled().await;
    assert_eq!(a.live.tables().len(), 3);
    // What another has dropped makes room at once.
    let dropped = a.live.clone().forget_table("t".into()).await;
    dropped.expect("it is there");
    b.table("u").await.expect("there is room");
}

#[tokio::test]
async fn a_late_one_knows_what_was_said_before_all_that_the_relay_retains() {
    let memory = Memory::new(200);
    let (a, b) = (
        Replica::with(&memory, 200).await,
        Replica::with(&memory, 200).await,
    );
    a.table("t").await.expect("it is new");
    let mut names = Vec::new();
    for number in 0..40 {
        let name = format!("q{number:02}");
        // All of them are more than one entry holds.
        let sql = format!("select count(*) as n from t where x <> {number:0300}");
        a.query(&name, &sql).await.expect("it is new");
        names.push(name);
    }
    let id = b
        .subscribe(&["q07"], &["c"])
        .await
        .expect("the query is there");
    let _used = b.reader(&id, Start::Head);
    b.live
        .clone()
        .delete_query(named("q03"), None)
        .await
        .expect("it is there");
    for x in 0..700 {
        a.row("t", x).await;
        // The wholes have to get in between.
        if x % 50 == 0 {
            b.settled().await;
        }
    }
    let late = Replica::with(&memory, 200).await;
    b.settled().await;
    assert_eq!(late.defined(), b.defined());
    assert_eq!(late.defined()["queries"].as_array().map(Vec::len), Some(39));
    assert_eq!(
        late.live.describe_subscription(&id).expect("it is there")["queries"],
        json!(["q07"])
    );
}

#[tokio::test]
async fn a_late_one_asks_for_what_somebody_has_taken_out_of_the_relay() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    a.table("t").await.expect("it is new");
    a.query("q", "select count(*) as n from t")
        .await
        .expect("the table is there");
    memory.trim(0);
    a.query("p", "select 1").await.expect("it is new");
    let late = Replica::new(&memory).await;
    until("it has asked", || late.defined() == a.defined()).await;
    assert_eq!(late.defined()["queries"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn what_the_relay_forgets_the_replicas_know() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    a.table("t").await.expect("it is new");
    a.query("q", "select count(*) as n from t")
        .await
        .expect("the table is there");
    b.settled().await;
    // All that it had.
    memory.cut(true);
    until("a knows", || a.link.hears().is_err()).await;
    until("b knows", || b.link.hears().is_err()).await;
    assert_eq!(
        a.query("p", "select 1").await.expect_err("it is away").kind,
        "relay-away"
    );
    memory.forget();
    memory.cut(false);
    a.link.caught_up().await;
    until("it takes some", || {
        a.link.hears().is_ok() && b.link.hears().is_ok()
    })
    .await;
    until("it is there", || !memory.is_empty()).await;
    let late = || async { Replica::new(&memory).await.defined() };
    for _ in 0..100 {
        if late().await == a.defined() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(late().await, a.defined());
    assert_eq!(a.defined(), b.defined());
    assert_eq!(a.defined()["queries"].as_array().map(Vec::len), Some(1));

    // A change that one has heard of, and that is gone.
    a.settled().await;
    b.settled().await;
    a.query("r", "select 2").await.expect("it is new");
    b.settled().await;
    memory.cut(true);
    until("a knows", || {
        a.link.hears().is_err() && b.link.hears().is_err()
    })
    .await;
    memory.forget_newest(2);
    memory.cut(false);
    until("it takes some", || {
        a.link.hears().is_ok() && b.link.hears().is_ok()
    })
    .await;
    until("they agree", || a.defined() == b.defined()).await;
    for _ in 0..100 {
        if late().await == a.defined() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(late().await, a.defined());
    assert_eq!(a.defined(), b.defined());
}

#[tokio::test]
async fn a_subscription_lives_as_long_as_any_uses_it() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    let id = a.subscribe(&[], &["c"]).await.expect("it is new");
    b.settled().await;
    let used = b.reader(&id, Start::Head);
    // The one that made it does not use it.
    let begun = std::time::Instant::now();
    until("more than its time", || begun.elapsed() > TTL * 3).await;
    assert!(a.live.subscription(&id).is_ok());
    assert!(b.live.subscription(&id).is_ok());
    let about = a.live.describe_subscription(&id).expect("it is there");
    assert_eq!(
        (&about["streams"], &about["ends_in_s"]),
        (&json!(0), &json!(null))
    );
    drop(used);
    until("it ends", || {
        a.live.subscription(&id).is_err() && b.live.subscription(&id).is_err()
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_replica_used_is_there_for_who_comes_to_another() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    let id = a.subscribe(&[], &["c"]).await.expect("it is new");
    let other = a.subscribe(&[], &["d"]).await.expect("it is new");
    b.settled().await;
    drop(a);
    let used = b.reader(&id, Start::Head);
    until("nobody comes to the other", || {
        b.live.subscription(&other).is_err()
    })
    .await;
    assert!(b.live.subscription(&id).is_ok());
    drop(used);
    until("nobody comes", || b.live.subscription(&id).is_err()).await;
}

#[tokio::test]
async fn a_temporary_query_goes_with_the_last_subscription_on_any_replica() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    let live = a.live.clone();
    live.create_query(named("q"), asked("select 1", true))
        .await
        .expect("it is new");
    let id = b.subscribe(&["q"], &[]).await.expect("the query is there");
    a.settled().await;
    let _used = a.reader(&id, Start::Head);
    let begun = std::time::Instant::now();
    until("more than its time", || begun.elapsed() > TTL * 3).await;
    assert!(a.live.query(&named("q")).is_ok());
    b.live
        .clone()
        .unsubscribe(id, None)
        .await
        .expect("it is there");
    until("it ends", || {
        a.live.query(&named("q")).is_err() && b.live.query(&named("q")).is_err()
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_subscription_comes_before_what_is_published_after_it() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    let id = a.subscribe(&[], &["c"]).await.expect("it is new");
    b.settled().await;
    let mut reader = b.reader(&id, Start::Head);
    for number in 0..50 {
        let topic = format!("t{number}");
        let change = set(&[], &["c", &topic]);
        a.live
            .clone()
            .change_subscription(id.clone(), change, None)
            .await
            .expect("it is there");
        a.row(&topic, number).await;
        told(&mut reader, &format!("{{\"x\":{number}}}")).await;
    }
}

#[tokio::test]
async fn a_table_that_was_made_again_has_the_same_rows_on_all() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    a.table("t").await.expect("it is new");
    for x in 0..5 {
        a.row("t", x).await;
    }
    a.live
        .clone()
        .forget_table("t".into())
        .await
        .expect("it is there");
    a.row("t", 50).await;
    a.table("t").await.expect("it is new again");
    a.row("t", 100).await;
    let b = Replica::new(&memory).await;
    assert_eq!(a.defined(), b.defined());
    for replica in [&a, &b] {
        until("its rows", || {
            replica.live.table("t").expect("it is there").rows == 2
        })
        .await;
    }
}

#[tokio::test]
async fn who_comes_from_another_replica_is_told_what_is_so() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    a.table("t").await.expect("it is new");
    a.query("n", "select count(*) as n from t")
        .await
        .expect("the table is there");
    a.query("r", "select x, 1 as one from t where x >= 0")
        .await
        .expect("the table is there");
    let id = a
        .subscribe(&["n", "r"], &["t"])
        .await
        .expect("the queries are there");
    b.settled().await;
    // Both are evaluated on both.
    let (mut there, mut here) = (a.reader(&id, Start::Head), b.reader(&id, Start::Head));
    let mut x = 0;
    for _ in 0..20 {
        let last = a.row("t", x).await;
        x += 1;
        // It leaves a with the row itself and, as it happens, with or without the results.
        let mut cursor = EventId::ZERO;
        until("the row", || {
            rest(&mut there);
            cursor = there.cursor();
            cursor >= last
        })
        .await;
        b.log.come_to(cursor, Duration::from_secs(5)).await;
        let mut moved = b.reader(&id, Start::After(cursor));
        let all = told(&mut moved, &format!("{{\"query\":\"n\",\"result\":{x}}}")).await;
        let ids: Vec<EventId> = all
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| *id != EventId::ZERO)
            .collect();
        assert!(ids.is_sorted(), "{all:?}");
        rest(&mut here);
    }
    let newest = format!("{{\"x\":{},\"one\":1}}", x - 1);
    let cursor = there.cursor();
    let mut moved = b.reader(&id, Start::After(cursor));
    // All rows of it, not only those that are added.
    let all = told(
        &mut moved,
        "\"query\":\"r\",\"result\":[{\"x\":0,\"one\":1}",
    )
    .await;
    assert!(
        texts(&all).iter().any(|text| text.contains(&newest)),
        "{all:?}"
    );
}
