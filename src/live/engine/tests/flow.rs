//! Queries of the dialect: rows in, rows out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bench::Bench;
use crate::event::Topic;
use crate::live::engine::Limits;
use crate::live::engine::flow::{Begin, Progress, Reader, Tally, Told};
use crate::live::schema::{Column, Retention, Schema};
use crate::live::sql::dialect::{Flow, Statement};
use crate::live::sql::{Front, STACK};

/// What somebody was told.
#[derive(Default)]
struct Heard {
    told: Mutex<Vec<String>>,
    is_full: AtomicBool,
}

impl Reader for Heard {
    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn tell(&self, told: Told) {
        let mut all = self.told.lock().expect("nothing panics here");
        match told {
            Told::Rows(rows) => {
                all.extend(rows.iter().map(|r| String::from_utf8_lossy(r).into_owned()));
            }
            Told::Ended(Ok(())) => all.push("end".to_owned()),
            Told::Ended(Err(problem)) => all.push(problem.kind.to_owned()),
        }
    }
}

impl Heard {
    /// What has come since it was asked last.
    fn now(&self) -> String {
        let mut told = self.told.lock().expect("nothing panics here");
        std::mem::take(&mut *told).join(" ")
    }
}

fn stream(rows: u64) -> Schema {
    let column = |(name, kind): (&str, &str)| Column {
        name: name.to_owned(),
        kind: kind.parse().expect(kind),
    };
    let columns = [
        ("car", "string"),
        ("in_use", "bool"),
        ("speed", "float32"),
        ("n", "int32"),
        ("at", "datetime64(3)"),
        ("raw", "string"),
    ];
    Schema {
        name: Topic::new("iot").expect("a topic"),
        columns: columns.map(column).into(),
        retention: Retention { rows, age_ms: None },
    }
}

/// Another one, whose `at` is a text.
fn other() -> Schema {
    let columns = [("n", "int32"), ("at", "string")].map(|(name, kind)| Column {
        name: name.to_owned(),
        kind: kind.parse().expect(kind),
    });
    Schema {
        name: Topic::new("other").expect("a topic"),
        columns: columns.into(),
        ..stream(100)
    }
}

fn row(car: &str, n: i64, at: u64) -> String {
    format!(
        r#"{{"car":"{car}","in_use":{},"speed":{}.55,"n":{n},"at":{at},"raw":"{{\"a\":{{\"b\":{n}}}}}"}}"#,
        n % 2 == 0,
        n
    )
}

/// A server of one stream, and the SQL that it is asked.
struct Server {
    bench: Bench,
    runs: u64,
}

impl Server {
    fn new() -> Server {
        Server::keeping(100_000)
    }

    fn keeping(rows: u64) -> Server {
        let mut bench = Bench::new(Limits::default(), &stream(rows));
        bench.also(&other());
        Server { bench, runs: 0 }
    }

    fn publish(&mut self, row: &str) {
        self.bench.publish("iot", row);
    }

    fn begin(&mut self, sql: &str) -> (u64, Arc<Heard>, Arc<Tally>) {
        let begun = self.only_begin(sql);
        self.pass(0);
        begun
    }

    fn only_begin(&mut self, sql: &str) -> (u64, Arc<Heard>, Arc<Tally>) {
        self.runs += 1;
        let (heard, tally) = (Arc::new(Heard::default()), Arc::<Tally>::default());
        let flow = Arc::new(flow(sql));
        let place = |name: &String| (Topic::new(name).expect("a topic"), self.bench.end(name));
        let begin = Begin {
            id: self.runs,
            places: flow.about.streams.iter().map(place).collect(),
            flow,
            reader: heard.clone(),
            tally: tally.clone(),
        };
        let now = self.bench.time();
        self.bench.whole.begin(begin, &now);
        (self.runs, heard, tally)
    }

    fn pass(&mut self, ms: u64) {
        self.bench.pass_steadily(ms);
    }
}

/// What a query is understood as, with the stream that there is.
fn read(sql: &str) -> Result<Statement, String> {
    std::thread::scope(|scope| {
        let front = || {
            let mut front = Front::new(Limits::default()).expect("a front");
            for schema in [stream(10), other()] {
                front.create(&schema).expect("a table");
            }
            front
                .statement(sql)
                .map_err(|problem| problem.detail.into_owned())
        };
        let builder = std::thread::Builder::new().stack_size(STACK);
        let thread = builder.spawn_scoped(scope, front).expect("a thread");
        thread.join().expect("nothing panics here")
    })
}

fn flow(sql: &str) -> Flow {
    match read(sql) {
        Ok(Statement::Select(flow)) => *flow,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Three rows that were there, one second apart.
fn with_rows() -> Server {
    let mut server = Server::new();
    for (n, car) in [(1, "a"), (2, "b"), (3, "a")] {
        server.publish(&row(car, n, 1_000 * n as u64));
    }
    for n in 1..3 {
        let row = format!(r#"{{"n":{n},"at":"text"}}"#);
        server.bench.publish("other", &row);
    }
    server
}

#[test]
fn what_is_there_is_told_once() {
    for (sql, rows) in [
        (
            "select n, in_use from table(iot)",
            "[1,false] [2,true] [3,false]",
        ),
        (
            "select * from table(iot) limit 1",
            r#"["a",false,1.55,1,"1970-01-01T00:00:01.000Z","{\"a\":{\"b\":1}}"]"#,
        ),
        (
            "SELECT iot.n FROM table(iot) WHERE iot.speed > 2 AND car = 'a'",
            "[3]",
        ),
        ("select n from table(iot) limit 1 offset 1", "[2]"),
        (
            "select n from table(iot) order by n desc limit 2",
            "[3] [2]",
        ),
        (
            "select n / 2, int_div(n, 2) from table(iot) where n = 3",
            "[1.5,1]",
        ),
        (
            "select raw:a.b, to_int(raw:a.b) + 1 from table(iot) where n = 2",
            r#"["2",3]"#,
        ),
        (
            "select at from table(iot) where at > '1970-01-01 00:00:01.500' and at < '1970-01-01 00:00:02.5'",
            r#"["1970-01-01T00:00:02.000Z"]"#,
        ),
        (
            "select distinct car from table(iot) order by car",
            r#"["a"] ["b"]"#,
        ),
        (
            "select count(), sum(n), avg(speed), min(n), max(car) from table(iot)",
            r#"[3,6,2.549999952316284,1,"b"]"#,
        ),
        (
            "select car, count() from table(iot) group by car",
            r#"["a",2] ["b",1]"#,
        ),
        (
            "select car, latest(n), earliest(n) from table(iot) group by car having count(*) > 1",
            r#"["a",3,1]"#,
        ),
        (
            "select car, count() as c from table(iot) group by car order by c desc limit 1",
            r#"["a",2]"#,
        ),
        ("select count_distinct(car) from table(iot)", "[2]"),
        (
            "select window_start, count() from tumble(table(iot), at, 2s) group by window_start",
            r#"["1970-01-01T00:00:00.000Z",1] ["1970-01-01T00:00:02.000Z",2]"#,
        ),
        (
            "select x, count() from (select n % 2 as x, car from table(iot) where n < 3) where car <> 'b' group by x",
            "[1,1]",
        ),
        (
            "select y from (select n + 1 as y from table(iot)) where y > 2",
            "[3] [4]",
        ),
        (
            "select car from (select car, count() as c from table(iot) group by car) where c = 1",
            r#"["b"]"#,
        ),
        (
            "select a.n from table(iot) as a join table(iot) as b on a.n = b.n + 1 order by a.n",
            "[2] [3]",
        ),
        ("select count() from table(iot) where n > 9", "[0]"),
        ("select n from table(iot) where n > 9", ""),
        (
            "select n from table(iot) where n in (select n from table(other) where n > 1) and exists (select 1 from table(other) where at = 'text')",
            "[2]",
        ),
        (
            "select car, count() from table(iot) where n in (select n from table(other)) group by car",
            r#"["a",1] ["b",1]"#,
        ),
        (
            "select a.n from table(iot) as a join table(other) as b on a.n = b.n and (a.at) < ('1970-01-01 00:00:01.500')",
            "[1]",
        ),
        (
            "select case at when '1970-01-01 00:00:01' then 'x' else 'y' end as c from table(iot) order by n limit 2",
            r#"["x"] ["y"]"#,
        ),
        ("select 1 as one, 'x' as two", r#"[1,"x"]"#),
        ("(select n from table(iot) where n = 2)", "[2]"),
        (
            "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select sum(n) from r",
            "[6]",
        ),
        (
            "select to_int8(n + 299), to_uint8(n - 4), to_uint64(-n), to_int32('-5x'), to_int(n) from table(iot) where n = 1",
            "[44,253,18446744073709551615,-5,1]",
        ),
        (
            "select date(at), unixepoch(at), strftime('%S', at), datetime(at, '+1 day'), date(car) from table(iot) where n = 2",
            r#"["1970-01-01",2,"02","1970-01-02 00:00:02",null]"#,
        ),
        (
            "select date(at) as d, count() from table(iot) where date(at) < '1971' group by d",
            r#"["1970-01-01",3]"#,
        ),
        (
            "select (select max(n) from table(other)) + 1 as m, raw:a.c, raw:a from table(iot) where n = 1",
            r#"[3,"","{\"b\":1}"]"#,
        ),
        (
            "select to_start_of_second(at + 900ms) as s from table(iot) where n = 1",
            r#"["1970-01-01T00:00:01.000Z"]"#,
        ),
        (
            "select car, n from table(iot) union all select car, n from table(iot) order by n limit 1",
            r#"["a",1]"#,
        ),
    ] {
        let (_, heard, _) = with_rows().begin(sql);
        let end = if rows.is_empty() {
            "end".to_owned()
        } else {
            format!("{rows} end")
        };
        assert_eq!(heard.now(), end, "{sql}");
    }
}

#[test]
fn a_live_stream_goes_on_from_now() {
    let mut server = with_rows();
    let (id, heard, tally) = server.begin("select n, speed from iot where in_use");
    assert_eq!(heard.now(), "");
    for n in 4..7 {
        server.publish(&row("a", n, 5));
    }
    server.pass(0);
    assert_eq!(heard.now(), "[4,4.55] [6,6.55]");
    server.pass(60_000);
    assert_eq!(heard.now(), "");
    let progress = Progress::of(&tally);
    assert_eq!((progress.rows, progress.told_rows), (3, 2));
    server.bench.whole.leave(id);
    server.publish(&row("a", 8, 5));
    server.pass(0);
    assert_eq!(heard.now(), "");
}

#[test]
fn there_is_no_seam_between_what_was_there_and_what_comes() {
    for sql in [
        "select n from iot where _tp_time > earliest_ts()",
        "select n from iot where _tp_time >= now() - 1h",
        "select n from iot where _tp_time > '1970-01-01'",
        "select n from iot settings seek_to = 'earliest'",
    ] {
        let mut server = Server::new();
        let mut all = Vec::new();
        for n in 0..25_000 {
            server.publish(&row("a", n, 5));
            all.push(format!("[{n}]"));
        }
        let (_, heard, _) = server.begin(sql);
        for n in 25_000..25_010 {
            server.publish(&row("a", n, 5));
            all.push(format!("[{n}]"));
        }
        server.pass(0);
        assert_eq!(heard.now(), all.join(" "), "{sql}");
    }
}

#[test]
fn a_time_in_the_select_list_asks_for_no_rows_from_before() {
    let mut server = with_rows();
    let heard = server.begin("select n, earliest_ts() as t from iot").1;
    assert_eq!(heard.now(), "");
}

#[test]
fn limit_ends_a_live_stream() {
    let mut server = Server::new();
    let (_, heard, _) = server.begin("select n from iot limit 2");
    for n in 0..5 {
        server.publish(&row("a", n, 5));
    }
    server.pass(0);
    assert_eq!(heard.now(), "[0] [1] end");
    // No row is needed for none.
    for sql in [
        "select n from iot limit 0",
        "select count() from iot limit 0",
    ] {
        assert_eq!(server.begin(sql).1.now(), "end", "{sql}");
    }
}

#[test]
fn who_has_no_room_misses_nothing_or_is_told() {
    let mut server = Server::keeping(64);
    let (_, heard, _) = server.begin("select n from iot");
    heard.is_full.store(true, Ordering::Relaxed);
    for n in 0..10 {
        server.publish(&row("a", n, 5));
    }
    server.pass(0);
    assert_eq!(heard.now(), "");
    heard.is_full.store(false, Ordering::Relaxed);
    server.pass(0);
    assert_eq!(heard.now(), "[0] [1] [2] [3] [4] [5] [6] [7] [8] [9]");
    // Who takes what comes does so however few rows are retained.
    for n in 0..2_000 {
        server.publish(&row("a", n, 5));
    }
    server.pass(0);
    assert_eq!(heard.now().split(' ').count(), 2_000);
    heard.is_full.store(true, Ordering::Relaxed);
    for n in 0..2_000 {
        server.publish(&row("a", n, 5));
    }
    server.pass(0);
    heard.is_full.store(false, Ordering::Relaxed);
    server.pass(0);
    assert_eq!(heard.now(), "rows-gone");
}

#[test]
fn totals_are_told_when_they_are_asked_for() {
    let mut server = with_rows();
    let sql = "select car, count(), emit_version() from iot group by car";
    let periodic = server.begin(sql).1;
    let second = server.begin(&format!("{sql} emit periodic 1s")).1;
    let repeat = server.begin(&format!("{sql} emit periodic 5s repeat")).1;
    let update = server.begin(&format!("{sql} emit on update")).1;
    let each = server.begin(&format!("{sql} emit per event")).1;
    for car in ["a", "b", "a"] {
        server.publish(&row(car, 1, 5));
    }
    server.pass(0);
    assert_eq!(update.now(), r#"["a",2,1] ["b",1,1]"#);
    assert_eq!(each.now(), r#"["a",1,1] ["b",1,2] ["a",2,3]"#);
    assert_eq!(
        (periodic.now(), second.now()),
        (String::new(), String::new())
    );
    server.pass(1_000);
    assert_eq!(second.now(), r#"["a",2,1] ["b",1,1]"#);
    assert_eq!(periodic.now(), "");
    server.pass(1_000);
    assert_eq!(periodic.now(), r#"["a",2,1] ["b",1,1]"#);
    assert_eq!(second.now(), "", "nothing has come");
    server.publish(&row("b", 1, 5));
    server.pass(0);
    assert_eq!(update.now(), r#"["b",2,2]"#);
    server.pass(3_000);
    assert_eq!(repeat.now(), r#"["a",2,1] ["b",2,1]"#);
    server.pass(5_000);
    assert_eq!(repeat.now(), r#"["a",2,2] ["b",2,2]"#);
}

#[test]
fn windows_are_told_when_they_are_over() {
    let mut server = Server::new();
    let tumble = "select window_start, window_end, car, count() from tumble(iot, at, 5s) group by window_start, window_end, car";
    let (_, plain, tally) = server.begin(tumble);
    let delayed = server
        .begin(&format!("{tumble} emit after window close with delay 2s"))
        .1;
    let timed = server
        .begin(&format!(
            "{tumble} emit after window close with delay 1s and timeout 3s"
        ))
        .1;
    let hop = server
        .begin("select window_start, count() from hop(iot, at, 5s, 10s) group by window_start")
        .1;
    let at = |server: &mut Server, car: &str, ms: u64| {
        server.publish(&row(car, 1, ms));
        server.pass(0);
    };
    at(&mut server, "a", 101_000);
    at(&mut server, "b", 104_000);
    at(&mut server, "a", 102_000);
    assert_eq!(plain.now(), "", "the window is not over");
    at(&mut server, "a", 105_000);
    let first = r#"["1970-01-01T00:01:40.000Z","1970-01-01T00:01:45.000Z","a",2] ["1970-01-01T00:01:40.000Z","1970-01-01T00:01:45.000Z","b",1]"#;
    assert_eq!(plain.now(), first);
    assert_eq!(hop.now(), r#"["1970-01-01T00:01:35.000Z",3]"#);
    assert_eq!(delayed.now(), "");
    // Late for one, and not for the other.
    at(&mut server, "a", 104_500);
    assert_eq!(Progress::of(&tally).late_rows, 1);
    at(&mut server, "c", 107_000);
    assert_eq!(plain.now(), "");
    assert_eq!(delayed.now(), first.replace("\"a\",2", "\"a\",3"));
    // A gap: a window without rows is not told.
    at(&mut server, "a", 121_000);
    assert_eq!(
        plain.now(),
        r#"["1970-01-01T00:01:45.000Z","1970-01-01T00:01:50.000Z","a",1] ["1970-01-01T00:01:45.000Z","1970-01-01T00:01:50.000Z","c",1]"#
    );
    timed.now();
    server.pass(2_999);
    assert_eq!(timed.now(), "");
    server.pass(1);
    assert_eq!(
        timed.now(),
        r#"["1970-01-01T00:02:00.000Z","1970-01-01T00:02:05.000Z","a",1]"#
    );
    // Time steps back: those rows are late, and the next window goes on.
    at(&mut server, "a", 1_000);
    at(&mut server, "a", 125_000);
    assert_eq!(
        plain.now(),
        r#"["1970-01-01T00:02:00.000Z","1970-01-01T00:02:05.000Z","a",1]"#
    );
    assert_eq!(Progress::of(&tally).late_rows, 2);
}

#[test]
fn rows_that_come_together_are_as_late_as_one_by_one() {
    let sql = "select window_start, count() from tumble(iot, at, 5s) group by window_start";
    for together in [true, false] {
        let mut server = Server::new();
        let (_, heard, tally) = server.begin(sql);
        for ms in [1_000, 6_000, 2_000, 11_000] {
            server.publish(&row("a", 1, ms));
            if !together {
                server.pass(0);
            }
        }
        server.pass(0);
        assert_eq!(
            heard.now(),
            r#"["1970-01-01T00:00:00.000Z",1] ["1970-01-01T00:00:05.000Z",1]"#
        );
        assert_eq!(Progress::of(&tally).late_rows, 1);
    }
}

/// A row moves the time also when the query does not want it.
#[test]
fn a_window_is_over_by_rows_that_are_left_out() {
    for (from, emit, told, late) in [
        ("tumble(iot, at, 5s)", "", "[1,1] [6,2] [11,1]", 1),
        // One row is late, for two windows.
        ("hop(iot, at, 5s, 10s)", "", "[1,1] [1,4] [6,3]", 1),
        ("tumble(iot, at, 5s)", "emit on update", "", 1),
        (
            "tumble(iot, at, 5s)",
            "emit after window close with delay 10s",
            "[1,2]",
            0,
        ),
    ] {
        let sql = format!(
            "select min(n), count() from {from} where car = 'a' group by window_start {emit}"
        );
        for together in [true, false] {
            let mut server = Server::new();
            let (_, heard, tally) = server.begin(&sql);
            let rows = [
                ("a", 1),
                ("b", 6),
                ("a", 2),
                ("a", 6),
                ("a", 7),
                ("b", 12),
                ("a", 11),
                ("b", 16),
            ];
            for (car, second) in rows {
                server.publish(&row(car, second as i64, 1_000 * second));
                if !together {
                    server.pass(0);
                }
            }
            server.pass(0);
            if !emit.ends_with("update") {
                assert_eq!(heard.now(), told, "{sql} {together}");
            }
            assert_eq!(Progress::of(&tally).late_rows, late, "{sql} {together}");
        }
    }
}

#[test]
fn many_that_take_their_time_are_waited_for_one_at_a_time() {
    let mut server = Server::new();
    let limits = Limits {
        query_time: Duration::from_millis(75),
        ..Limits::default()
    };
    server.bench = Bench::new(limits, &stream(100_000));
    for n in 0..1_000 {
        server.publish(&row("a", n, 5));
    }
    let live = server.begin("select n from iot").1;
    let hostile = "select count(*) from table(iot) as a, table(iot) as b, table(iot) as c";
    let hostile: Vec<Arc<Heard>> = (0..5).map(|_| server.only_begin(hostile).1).collect();
    let ended = || -> Vec<bool> {
        let told = hostile
            .iter()
            .map(|heard| heard.told.lock().expect("nothing panics here"));
        told.map(|told| *told == ["query-time"]).collect()
    };
    let step = |server: &mut Server| {
        let now = server.bench.time();
        server.bench.whole.pull(&now);
        server.bench.whole.step(&now, &mut Vec::new())
    };
    server.publish(&row("a", 7, 5));
    assert_eq!(step(&mut server), Duration::ZERO);
    assert_eq!(live.now(), "[7]");
    // Each was tried for a moment at most.
    assert_eq!(ended(), [false; 5]);
    for done in 0..3 {
        server.publish(&row("a", 8, 5));
        let quick = server.begin("select 1 + 1 as x").1;
        assert_eq!(
            (live.now(), quick.now()),
            ("[8]".to_owned(), "[2] end".to_owned())
        );
        let count = || ended().into_iter().filter(|ended| *ended).count();
        // By the clock no time has passed.
        server.pass(0);
        server.pass(0);
        assert_eq!(count(), done + 1);
        server.pass(10_000);
    }
    server.pass(10_000);
    assert_eq!(ended(), [true; 5]);
}

#[test]
fn what_is_read_is_counted() {
    let bytes = |tally: &Tally| Progress::of(tally).bytes;
    let mut server = with_rows();
    let all = server.begin("select n, raw from table(iot)").2;
    let sorted = server.begin("select n from table(iot) order by n").2;
    let none = server.begin("select 1 + 1").2;
    let two = server
        .begin("select a.n from table(iot) as a join table(other) as b on a.n = b.n")
        .2;
    let rows = [&all, &sorted, &none, &two].map(|tally| Progress::of(tally).rows);
    assert_eq!(rows, [3, 3, 0, 5]);
    assert_eq!(bytes(&all), bytes(&sorted));
    assert!(bytes(&two) > bytes(&all) && bytes(&none) == 0);
    // A large row is none of those that come after it in another block.
    let live = server.begin("select n from iot").2;
    server.publish(&row(&"c".repeat(100_000), 4, 5));
    server.pass(0);
    assert!(bytes(&live) > 100_000 / 4, "{}", bytes(&live));
}

#[test]
fn what_groups_hold_is_bounded() {
    let mut server = Server::new();
    let limits = Limits {
        states_bytes: 200_000,
        ..Limits::default()
    };
    server.bench = Bench::new(limits, &stream(100_000));
    // By themselves, and together.
    let all = server
        .begin("select count_distinct(n) from iot emit periodic 1s")
        .1;
    let windows = server
        .begin("select window_start, count_distinct(n), max(car) from tumble(iot, at, 1s) group by window_start")
        .1;
    for n in 0..3_000 {
        server.publish(&row("a", n, 10 * n as u64));
        if n % 500 == 0 {
            server.pass(0);
        }
    }
    server.pass(0);
    assert_eq!(all.now(), "");
    assert_eq!(
        windows.now().split(' ').count(),
        29,
        "what is told is let go"
    );
    let second = server
        .begin("select count_distinct(n) from iot emit periodic 1s")
        .1;
    for n in 3_000..5_000 {
        server.publish(&row("a", n, 0));
    }
    server.pass(0);
    assert_eq!(
        (all.now(), second.now()),
        ("query-memory".to_owned(), String::new())
    );
    server.pass(1_000);
    assert_eq!(second.now(), "[2000]");
    let long = server
        .begin("select latest(raw), car from iot group by car")
        .1;
    server.publish(&row(&"c".repeat(250_000), 1, 0));
    server.pass(0);
    assert_eq!(long.now(), "query-memory");
}

/// Nobody waits for what takes more than its length.
#[test]
fn what_is_nested_deep_is_read_or_refused() {
    let calls = |name: &str, more: &str| {
        let (open, close) = (format!("{name}(").repeat(60), format!("{more})").repeat(60));
        format!("select {open}n{close} from iot")
    };
    let exists = "exists (select 1 from table(iot) where ".repeat(18);
    let exists = format!(
        "select n from table(iot) where {exists} n > 1 {}",
        ")".repeat(18)
    );
    let long = format!(
        "select n from iot where {}n > 1",
        "in_use and ".repeat(1_000)
    );
    for sql in [
        exists,
        long,
        calls("coalesce", ", 1"),
        calls("max", ", 1"),
        calls("to_start_of_day", ""),
    ] {
        flow(&sql);
    }
    for sql in [
        format!("select {}1 as x", "1+".repeat(4_000)),
        format!("select n{} from iot", " is null".repeat(1_900)),
        format!("select n{} from iot", "::int".repeat(3_000)),
    ] {
        let refused = read(&sql).expect_err("it is too deep");
        assert!(refused.contains("too deep"), "{refused}");
    }
}

#[test]
fn a_stream_that_is_dropped_ends_its_queries() {
    let mut server = Server::new();
    let heard = [
        server.begin("select n from iot").1,
        server.begin("select count() from iot").1,
    ];
    server
        .bench
        .whole
        .forget(&Topic::new("iot").expect("a topic"));
    for heard in heard {
        assert_eq!(heard.now(), "table-dropped");
    }
}

#[test]
fn headers_say_the_types() {
    for (sql, header) in [
        (
            "select * from iot",
            "car string, in_use bool, speed float32, n int32, at datetime64(3), raw string",
        ),
        (
            "select _tp_time, n from iot",
            "_tp_time datetime64(3), n int32",
        ),
        (
            "select n + 1 as a, n - 1 as b, n / 2 as c, n * 1.5 as d, -n as e, n > 1 as f from iot",
            "a int64, b int64, c float64, d float64, e int32, f bool",
        ),
        (
            "select count(), sum(n), sum(speed), avg(n), min(at) as m, count_distinct(car) as u from iot",
            "count() uint64, sum(n) int64, sum(speed) float64, avg(n) float64, m datetime64(3), u uint64",
        ),
        (
            "select now() as a, now64() as b, at + 5s as c, upper(car) as d, length(car) as e from iot",
            "a datetime, b datetime64(3), c datetime64(3), d string, e uint64",
        ),
        (
            "select window_start, window_end, count() as c from tumble(iot, 5s) group by window_start, window_end",
            "window_start datetime64(3), window_end datetime64(3), c uint64",
        ),
        (
            "select to_int32(raw:a) as a, to_float(car) as b, if(n > 1, 1, 2.5) as c, 300 as d from iot",
            "a int32, b float64, c float64, d uint16",
        ),
        ("select x from (select n as x from iot)", "x int32"),
        (
            "select l.n as a, r.at as b from table(iot) as l left join table(iot) as r on l.n = r.n",
            "a int32, b nullable(datetime64(3))",
        ),
        (
            "select l.n as a, r.at as b from table(iot) as l full join table(iot) as r on l.n = r.n",
            "a nullable(int32), b nullable(datetime64(3))",
        ),
        (
            "select n / n as a, n % n as b, int_div(1, n) as c, sqrt(n) as d, nullif(n, 1) as e, n % 2 as f from iot",
            "a nullable(float64), b nullable(int32), c nullable(int64), d nullable(float64), e nullable(int32), f int32",
        ),
        (
            "select trim(nullif(car, 'a')) as a, substr(nullif(car, 'a'), 1) as b, if(in_use, 1) as c from iot",
            "a nullable(string), b nullable(string), c nullable(uint8)",
        ),
        (
            "select lag(n) over (order by n) as a, lag(n, 1, 0) over (order by n) as b, first_value(n) over (order by n) as c from table(iot)",
            "a nullable(int32), b int64, c nullable(int32)",
        ),
        (
            "select date(at), date(car) as b, unixepoch(at) as c, to_start_of_day(car) as d from iot",
            "date(at) date, b nullable(date), c int64, d nullable(string)",
        ),
    ] {
        let flow = flow(sql);
        let header = flow
            .header
            .iter()
            .map(|h| format!("{} {}", h.name, h.kind))
            .collect::<Vec<_>>()
            .join(", ")
            == header;
        assert!(header, "{sql}: {:?}", flow.header);
    }
}

#[test]
fn what_is_not_supported_is_named() {
    for (sql, part) in [
        (
            "select n from iot order by n",
            "ORDER BY cannot be used on a live stream",
        ),
        (
            "select distinct n from iot",
            "DISTINCT cannot be used on a live stream",
        ),
        (
            "select a.n from iot as a join iot as b on a.n = b.n",
            "JOIN cannot be used on a live stream",
        ),
        ("select n from iot union all select n from iot", "UNION"),
        ("select n from iot emit changelog", "of EMIT there are"),
        ("select n from iot emit periodic 1s", "EMIT is for groups"),
        (
            "select count() from iot emit after window close",
            "EMIT AFTER WINDOW CLOSE is for windows",
        ),
        (
            "select count() from table(iot) emit periodic 1s",
            "EMIT is for live streams",
        ),
        (
            "select count() from iot emit periodic",
            "EMIT wants an interval",
        ),
        ("select count() from iot emit periodic 1M", "months"),
        (
            "select count() from tumble(iot, at, 5s)",
            "GROUP BY window_start or window_end",
        ),
        (
            "select window_start, count() from hop(table(iot), at, 1s, 5s) group by window_start",
            "hop(…) is of a live stream",
        ),
        (
            "select n from iot settings max_threads = 1",
            "SETTINGS max_threads is not known",
        ),
        ("select m from iot", "there is no column m"),
        (
            "select n from iott",
            "there is no table iott; did you mean iot?",
        ),
        ("select nope(n) from iot", "there is no function nope"),
        (
            "select n from iot where at > 'yesterday'",
            "'yesterday' is no time",
        ),
        ("select n from iot limit n", "LIMIT takes a number"),
        ("select n from iot shuffle by car", "SHUFFLE BY"),
        ("select n from iot limit 1 by car", "LIMIT … BY"),
        ("select car[1] from iot", "an element of an array"),
        ("select count() from iot group by rollup(car)", "ROLLUP"),
        ("select count() from iot group by car with totals", "TOTALS"),
        ("select n from iot final", "FINAL"),
        ("select n from table(iot) final", "FINAL"),
        (
            "select window_start, count() from tumble(iot, 1s) group by window_start emit after window close with",
            "DELAY 2s or TIMEOUT 5s",
        ),
        (
            "select window_start, count() from tumble(iot, 1s) group by window_start emit after window close with delay 1s and",
            "DELAY 2s or TIMEOUT 5s",
        ),
        (
            "select median(n) from iot",
            "cannot be used on a live stream",
        ),
        (
            "select n, row_number() over (order by n) as r from iot",
            "OVER",
        ),
        ("insert into iot values (1)", "only one SELECT can be run"),
        ("create stream s (a int32", "is missing at the end"),
        ("drop stream", "the name of the stream"),
        (
            "select iot.n from iot join table(iot) as t on iot.n = t.n",
            "cannot be read together",
        ),
    ] {
        match read(sql) {
            Err(words) => assert!(words.contains(part), "{sql}: {words}"),
            Ok(other) => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn streams_are_made_and_dropped() {
    let read = |sql| format!("{:?}", read(sql).expect(sql));
    assert_eq!(
        read(
            "CREATE STREAM IF NOT EXISTS s (a int64, b datetime64(3, 'UTC'), c nullable(string));"
        ),
        r#"Create { name: "s", columns: [("a", "int64"), ("b", "datetime64(3,'UTC')"), ("c", "nullable(string)")], if_absent: true }"#
    );
    assert_eq!(
        read("drop stream s"),
        r#"Drop { name: "s", if_there: false }"#
    );
}
