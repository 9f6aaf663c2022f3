//! The engine as a whole, with its threads: queries are read, kept fresh and ended, whatever strangers ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use triwire::event::{Draft, EventType, Payload, Topic};
use triwire::live::engine::{Engine, Limits, Outcome, Sink, View};
use triwire::live::schema::{Column, Retention, Schema};
use triwire::live::sql::Class;
use triwire::log::{self, Log};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Heard {
    told: Mutex<Vec<Outcome>>,
    bell: Condvar,
}

impl Sink for Heard {
    fn tell(&self, outcome: Outcome) {
        self.told.lock().expect("no panic here").push(outcome);
        self.bell.notify_all();
    }
}

impl Heard {
    /// Waits for what is so of all that was told.
    fn until(&self, what: &str, is_so: impl Fn(&[Outcome]) -> bool) {
        let told = self.told.lock().expect("no panic here");
        let wait = self
            .bell
            .wait_timeout_while(told, DEADLINE, |told| !is_so(told));
        let (told, time) = wait.expect("no panic here");
        assert!(!time.timed_out(), "{what}: {:?}", told.last());
    }

    fn result(&self, json: &str) {
        let is_it = |told: &[Outcome]| match told.last() {
            Some(Outcome::Whole(rows)) => rows.json() == json,
            _ => false,
        };
        self.until(json, is_it);
    }

    fn failed(&self, kind: &str) {
        let is_it = |told: &[Outcome]| match told.last() {
            Some(Outcome::Failed(problem)) => problem.kind == kind,
            _ => false,
        };
        self.until(kind, is_it);
    }

    fn count(&self) -> usize {
        self.told.lock().expect("no panic here").len()
    }
}

struct Server {
    log: Arc<Log>,
    engine: Engine,
}

impl Server {
    fn start(limits: Limits) -> Server {
        Server::over(log::Limits::default(), limits)
    }

    fn over(log: log::Limits, limits: Limits) -> Server {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = move || now().expect("after 1970").as_millis() as u64;
        let log = Log::new(log, "here", 1, Box::new(clock));
        let engine = Engine::start(&log, limits).expect("an engine");
        Server { log, engine }
    }

    async fn watch(&self, sql: &str, every_ms: u64) -> (View, Arc<Heard>) {
        let plan = self.engine.plan(sql.to_owned()).await.expect(sql);
        let heard = Arc::new(Heard::default());
        let every = Duration::from_millis(every_ms);
        (self.engine.watch(&plan, every, heard.clone()), heard)
    }

    fn publish(&self, topic: &str, json: &str) {
        let draft = Draft {
            topic: Topic::new(topic).expect("a topic"),
            event_type: EventType::default(),
            payload: Payload::json(Bytes::from(json.to_owned())).expect("JSON"),
        };
        self.log.append(draft).expect("there is room");
    }
}

fn table(name: &str) -> Schema {
    let column = |(name, kind): (&str, &str)| Column {
        name: name.to_owned(),
        kind: kind.parse().expect(kind),
    };
    Schema {
        name: Topic::new(name).expect("a topic"),
        columns: [
            ("k", "string"),
            ("v", "nullable(int64)"),
            ("ok", "nullable(bool)"),
        ]
        .map(column)
        .into(),
        retention: Retention {
            rows: 1_000,
            age_ms: None,
        },
    }
}

const CLASSES: [(&str, u8); 3] = [
    ("select k, v from t where v >= 0", 1),
    ("select k, count(*) as n from t group by k", 2),
    ("select k, v from t order by v desc limit 1", 3),
];

#[tokio::test]
async fn each_class_is_kept_fresh() {
    let server = Server::start(Limits::default());
    server.engine.create(table("t")).await.expect("a table");
    server.publish("t", r#"{"k":"a","v":1}"#);
    for (sql, class) in CLASSES {
        let plan = server.engine.plan(sql.to_owned()).await.expect(sql);
        let planned = match plan.class {
            Class::Rows { .. } => 1,
            Class::Groups(_) => 2,
            Class::Whole => 3,
        };
        assert_eq!(planned, class, "{sql}");
    }
    let [(rows, _), (groups, _), (whole, _)] = CLASSES;
    let (a, rows) = server.watch(rows, 50).await;
    let (b, groups) = server.watch(groups, 50).await;
    let (c, whole) = server.watch(whole, 50).await;
    rows.result(r#"[{"k":"a","v":1}]"#);
    groups.result(r#"[{"k":"a","n":1}]"#);
    whole.result(r#"[{"k":"a","v":1}]"#);
    server.publish("t", "\"an event and no row\"");
    server.publish("t", r#"{"k":"a","v":2}"#);
    rows.until(
        "one more row",
        |told| matches!(told, [.., Outcome::More(rows)] if rows.json() == r#"[{"k":"a","v":2}]"#),
    );
    groups.result(r#"[{"k":"a","n":2}]"#);
    whole.result(r#"[{"k":"a","v":2}]"#);
    let tables = server.engine.tables();
    let t = tables.iter().find(|t| t.schema.name.as_str() == "t");
    let t = t.expect("the table");
    assert_eq!((t.rows, t.refused, t.missed), (2, 1, 0));
    for (view, class) in [(&a, 1), (&b, 2), (&c, 3)] {
        assert_eq!(view.cost().class, class);
        assert!(view.cost().runs > 0);
    }
}

#[tokio::test]
async fn hostile_queries_end_alone() {
    let limits = Limits {
        query_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Server::start(limits);
    server.engine.create(table("t")).await.expect("a table");
    let [(rows, _), (groups, _), _] = CLASSES;
    let (_a, rows) = server.watch(rows, 50).await;
    let (_b, groups) = server.watch(groups, 50).await;
    rows.result("[]");
    groups.result("[]");
    let endless =
        "with recursive r(x) as (select 1 union all select x + 1 from r) select max(x) from r";
    // What is put together is measured at its end.
    let large = "with recursive r(x) as (select 1 union all select x + 1 from r where x < 1000) select group_concat(printf('%.1000c', 'x')) from r";
    let mut hostile = Vec::new();
    for n in 0..10 {
        hostile.push((
            server.watch(&format!("{endless} where x > {n}"), 50).await,
            "query-time",
        ));
    }
    hostile.push((server.watch(large, 50).await, "query-memory"));
    let long = "with recursive r(x) as (select 1 union all select x + 1 from r) select x from r";
    hostile.push((server.watch(long, 50).await, "query-result"));
    // As long as they run, the others are told of each row within some ticks.
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut published = 0;
    while began.elapsed() < Duration::from_secs(2) {
        let (at, before) = (Instant::now(), rows.count());
        server.publish("t", r#"{"k":"a","v":2}"#);
        published += 1;
        rows.until("one more row", |told| told.len() > before);
        groups.result(&format!(r#"[{{"k":"a","n":{published}}}]"#));
        slowest = slowest.max(at.elapsed());
    }
    for ((_, heard), kind) in &hostile {
        heard.failed(kind);
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test]
async fn a_table_is_dropped_under_its_queries() {
    let server = Server::start(Limits::default());
    server.engine.create(table("t")).await.expect("a table");
    let again = server
        .engine
        .create(table("T"))
        .await
        .expect_err("a second");
    assert_eq!(again.status.as_u16(), 409);
    let mut watched = Vec::new();
    for (sql, _) in CLASSES {
        let (view, heard) = server.watch(sql, 50).await;
        heard.result("[]");
        watched.push((view, heard));
    }
    let name = Topic::new("t").expect("a topic");
    server.publish("t", r#"{"k":"before"}"#);
    server
        .engine
        .forget(&name, server.log.head())
        .expect("it is there");
    let gone = server
        .engine
        .forget(&name, server.log.head())
        .expect_err("it is gone");
    assert_eq!(gone.status.as_u16(), 404);
    for (_, heard) in &watched {
        heard.failed("table-dropped");
    }
    let (sql, _) = CLASSES[0];
    assert!(server.engine.plan(sql.to_owned()).await.is_err());
    assert!(server.engine.schema(&name).is_none());
    // Another of that name has nothing of it, though the log has.
    server.engine.create(table("t")).await.expect("a table");
    let (_view, heard) = server.watch("select count(*) from t", 50).await;
    heard.result("0");
    server.publish("t", r#"{"k":"a"}"#);
    heard.result("1");
}

#[tokio::test]
async fn tables_are_as_many_and_as_large_as_they_may_be() {
    let limits = Limits {
        tables: 3,
        columns: 3,
        table_rows: 1_000,
        ..Limits::default()
    };
    let server = Server::start(limits);
    server.engine.create(table("t")).await.expect("a table");
    let many = server.engine.create(table("u")).await.expect_err("many");
    assert_eq!(many.status.as_u16(), 429);
    let mut large = table("v");
    large.retention.rows = 1_001;
    let large = server.engine.create(large).await.expect_err("large");
    assert_eq!(large.status.as_u16(), 400);
    let mut wide = table("v");
    wide.columns.extend(table("w").columns);
    let wide = server.engine.create(wide).await.expect_err("wide");
    assert_eq!(wide.status.as_u16(), 400);
}

#[tokio::test]
async fn an_engine_ends_whatever_runs() {
    let server = Server::start(Limits {
        query_time: Duration::from_secs(3_600),
        ..Limits::default()
    });
    let endless =
        "with recursive r(x) as (select 1 union all select x + 1 from r) select max(x) from r";
    let (view, _heard) = server.watch(endless, 50).await;
    let runs = |server: &Server| server.engine.load().runs[2];
    let (_other, heard) = server.watch("select 1", 50).await;
    // One of the two runs first; the endless one is next.
    let deadline = Instant::now() + Duration::from_secs(1);
    while heard.count() == 0 && runs(&server) == 0 && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    drop(view);
}

#[tokio::test]
async fn no_row_is_published_that_the_log_would_let_go() {
    let few = log::Limits {
        topic_events: 100,
        ..log::Limits::default()
    };
    let server = Server::over(few, Limits::default());
    let mut schema = table("t");
    schema.retention.rows = 1_000_000;
    server.engine.create(schema).await.expect("a table");
    let (_view, heard) = server.watch("select v from t where v >= 0", 60_000).await;
    heard.result("[]");
    let name = Topic::new("t").expect("a topic");
    let began = Instant::now();
    let (mut published, mut refused) = (0, 0);
    while published < 2_000 || refused == 0 {
        assert!(
            began.elapsed() < DEADLINE,
            "{published} rows, {refused} refused"
        );
        match server.engine.turn(&BTreeMap::from([(&name, (1, 16))])) {
            Ok(_turn) => {
                server.publish("t", &format!(r#"{{"k":"a","v":{published}}}"#));
                published += 1;
            }
            Err(problem) => {
                assert_eq!(problem.kind, "table-late");
                refused += 1;
                std::thread::yield_now();
            }
        }
    }
    let of_it = || {
        let tables = server.engine.tables().into_iter();
        let mut of_it = tables.filter(|t| t.schema.name == name);
        of_it.next().expect("the table")
    };
    while server.engine.load().rows < published {
        assert!(began.elapsed() < DEADLINE, "{:?}", of_it());
        std::thread::yield_now();
    }
    assert_eq!(of_it().missed, 0);
    let (_view, late) = server.watch("select count(*) as n from t", 50).await;
    late.result(&published.to_string());
}
