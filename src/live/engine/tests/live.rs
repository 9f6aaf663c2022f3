//! What happens to queries while they are watched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::bench::{Bench, MANY, Shape, rows, schema, whole};
use crate::event::Topic;
use crate::live::engine::Limits;
use crate::live::schema::Retention;
use crate::live::sql::{Class, Front, Function};

const COUNT: Shape = Shape {
    filter: "true",
    keys: &["k"],
    window: None,
    calls: &[("count(*)", Function::Count, None)],
    having: None,
};

fn bench() -> Bench {
    Bench::new(Limits::default(), &schema(MANY))
}

#[test]
fn a_result_is_told_at_once_and_then_when_it_has_changed() {
    let table = Topic::new("t").expect("a topic");
    let (apart, plain) = COUNT.plans();
    for plan in [apart, plain] {
        let mut bench = bench();
        let (_, heard) = bench.watch(&plan, 1_000);
        bench.settle();
        assert_eq!(heard.present().as_deref(), Some(""));
        bench.publish("t", r#"{"k":"a"}"#);
        bench.pass(1_000);
        let first = heard.present().expect("a result");
        for _ in 0..5 {
            bench.pass(1_000);
        }
        assert_eq!(heard.count(), 2, "nothing has changed since");
        let (_, late) = bench.watch(&plan, 1_000);
        bench.settle();
        assert_eq!(late.present(), Some(first), "who comes late has it at once");
        bench.fresh.forget(&table);
        bench.whole.forget(&table);
        assert_eq!(heard.present().as_deref(), Some("table-dropped"));
        assert_eq!(late.present().as_deref(), Some("table-dropped"));
    }
}

#[test]
fn who_has_left_is_not_begun_for() {
    let mut bench = bench();
    bench.publish("t", r#"{"k":"a"}"#);
    let plans = [rows("k", "true"), COUNT.plans().0];
    let views = plans.map(|plan| bench.watch(&plan, 1_000).0);
    // It has been asked for, and not been done.
    let mut asked = Vec::new();
    let now = bench.time();
    bench.fresh.step(&now, &mut asked);
    assert_eq!(asked.len(), 2);
    bench.ask(asked);
    views.iter().for_each(|view| bench.unwatch(*view));
    bench.settle();
    assert_eq!(bench.counters.fills.load(Ordering::Relaxed), 0);
    let (_, heard) = bench.watch(&rows("k", "true"), 1_000);
    bench.settle();
    assert_eq!(heard.present().as_deref(), Some(r#"{"k":"a"}"#));
    assert_eq!(bench.counters.fills.load(Ordering::Relaxed), 1);
}

#[test]
fn what_many_newcomers_compare_has_an_index_while_they_wait() {
    let mut bench = bench();
    for n in 0..6_000 {
        bench.publish("t", &format!(r#"{{"k":"k{}","n":{n}}}"#, n % 20));
    }
    let plans = (0..20).map(|k| rows("n", &format!("\"k\" = 'k{k}'")));
    let heard: Vec<_> = plans.map(|plan| bench.watch(&plan, 1_000).1).collect();
    let mut asked = Vec::new();
    let now = bench.time();
    while bench.whole.pull(&now) {}
    bench.fresh.step(&now, &mut asked);
    bench.ask(asked);
    assert_eq!(bench.whole.indexes(), 1);
    bench.settle();
    assert_eq!(bench.whole.indexes(), 0);
    for (k, heard) in heard.iter().enumerate() {
        let newest = (200..300).map(|n| format!(r#"{{"n":{}}}"#, n * 20 + k));
        let newest: Vec<String> = newest.collect();
        assert_eq!(heard.present(), Some(newest.join("\n")));
    }
}

#[test]
fn a_hostile_query_ends_alone() {
    let mut bench = Bench::new(
        Limits {
            query_time: std::time::Duration::from_millis(200),
            ..Limits::default()
        },
        &schema(MANY),
    );
    let endless = whole(
        "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r",
    );
    let (_, ended) = bench.watch(&endless, 1_000);
    let (_, groups) = bench.watch(&COUNT.plans().0, 1_000);
    let (_, rows) = bench.watch(&rows("k", "true"), 1_000);
    bench.publish("t", r#"{"k":"a"}"#);
    bench.pass(1_000);
    assert_eq!(ended.present().as_deref(), Some("query-time"));
    assert_eq!(groups.present().as_deref(), Some(r#"{"g0":"a","a0":1}"#));
    assert_eq!(rows.present().as_deref(), Some(r#"{"k":"a"}"#));
}

#[test]
fn a_query_that_fails_takes_no_other_with_it() {
    let mut bench = bench();
    let good = COUNT.plans().0;
    let bad = Shape {
        calls: &[(
            "sum(abs(n - 9223372036854775807 - 1))",
            Function::Sum,
            Some("abs(n - 9223372036854775807 - 1)"),
        )],
        ..COUNT
    };
    let (_, good) = bench.watch(&good, 1_000);
    let (_, bad) = bench.watch(&bad.plans().0, 1_000);
    bench.publish("t", r#"{"k":"a","n":1}"#);
    bench.pass(1_000);
    assert_eq!(good.present().as_deref(), Some(r#"{"g0":"a","a0":1}"#));
    bench.publish("t", r#"{"k":"a","n":0}"#);
    bench.pass(1_000);
    bench.pass(1_000);
    assert_eq!(bench.given_up, 2, "each is tried by itself");
    assert_eq!(bad.present().as_deref(), Some("query"));
    assert_eq!(good.present().as_deref(), Some(r#"{"g0":"a","a0":2}"#));
}

/// As [`COUNT`], over five seconds; and it fails when it reads a row where `n` is 0.
const LAST_FIVE_SECONDS: Shape = Shape {
    filter: "abs(n - 9223372036854775807 - 1) > 0",
    window: Some(("_tp_time", 5_000, false)),
    ..COUNT
};

#[test]
fn what_is_older_than_a_window_is_not_read_for_its_beginning() {
    // Each row is a block of its own.
    let mut bench = Bench::new(
        Limits::default(),
        &schema(Retention {
            rows: 64,
            age_ms: None,
        }),
    );
    bench.publish("t", r#"{"k":"a","n":0}"#);
    let to_come = bench.now() + 9_000;
    bench.publish("t", &format!(r#"{{"k":"a","n":1,"_tp_time":{to_come}}}"#));
    bench.pass(7_000);
    bench.publish("t", r#"{"k":"a","n":1}"#);
    bench.pass(500);
    let (apart, plain) = LAST_FIVE_SECONDS.plans();
    // The window of the last tick is still asked for.
    let (_, hours) = bench.watch(&apart, 3_600_000);
    let (_, apart) = bench.watch(&apart, 1_000);
    let (_, plain) = bench.watch(&plain, 1_000);
    bench.settle();
    assert_eq!(apart.present().as_deref(), Some(r#"{"g0":"a","a0":2}"#));
    assert_eq!(plain.present().as_deref(), Some("query"));
    assert_eq!(hours.present().as_deref(), Some("query"));
}

#[test]
fn limits_end_the_query_that_breaks_them() {
    let limits = Limits {
        groups: 10,
        result_bytes: 1_000,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits, &schema(MANY));
    let (_, groups) = bench.watch(&COUNT.plans().0, 1_000);
    let (_, large) = bench.watch(&whole("SELECT k FROM t"), 1_000);
    let (_, all) = bench.watch(&rows("k", "true"), 1_000);
    bench.settle();
    for n in 0..11 {
        let k = "x".repeat(90);
        bench.publish("t", &format!(r#"{{"k":"{k}{n}"}}"#));
    }
    bench.pass(1_000);
    assert_eq!(groups.present().as_deref(), Some("query-groups"));
    assert_eq!(large.present().as_deref(), Some("query-result"));
    assert_eq!(
        all.present().expect("rows").lines().count(),
        11,
        "in pieces"
    );
    assert!(all.count() > 2);
    assert_eq!(bench.given_up, 0);
}

#[test]
fn an_hour_is_kept_fresh_each_second_by_the_new_rows() {
    let mut bench = bench();
    let shape = Shape {
        window: Some(("_tp_time", 3_600_000, false)),
        ..COUNT
    };
    let (apart, plain) = shape.plans();
    let (_, apart) = bench.watch(&apart, 1_000);
    assert_eq!(bench.whole.held(), (0, 0));
    let (_, plain) = bench.watch(&plain, 1_000);
    for _ in 0..100 {
        bench.publish("t", r#"{"k":"a"}"#);
        bench.pass(61_000);
        assert_eq!(apart.present(), plain.present());
    }
    assert_eq!(apart.present().as_deref(), Some(r#"{"g0":"a","a0":59}"#));
    assert_eq!(bench.given_up, 0);
}

#[test]
fn what_is_too_much_to_keep_is_run_over_all_rows() {
    let limits = Limits {
        groups: 10,
        ..Limits::default()
    };
    let distinct = Shape {
        calls: &[("count(DISTINCT v)", Function::CountDistinct, Some("v"))],
        ..COUNT
    };
    for is_there_before in [true, false] {
        let mut bench = Bench::new(limits, &schema(MANY));
        let publish = |bench: &Bench| {
            for v in 0..101 {
                bench.publish("t", &format!(r#"{{"k":"a","v":{v}}}"#));
            }
        };
        if is_there_before {
            publish(&bench);
        }
        bench.settle();
        let (_, heard) = bench.watch(&distinct.plans().0, 1_000);
        bench.settle();
        if !is_there_before {
            assert_eq!((heard.present().as_deref(), bench.given_up), (Some(""), 0));
            publish(&bench);
        }
        bench.pass(1_000);
        assert_eq!(bench.given_up, 1);
        assert_eq!(heard.present().as_deref(), Some(r#"{"g0":"a","a0":101}"#));
    }
}

#[test]
fn windows_follow_a_clock_that_is_turned_back() {
    let mut bench = bench();
    let shape = Shape {
        window: Some(("_tp_time", 5_000, false)),
        ..COUNT
    };
    let (apart, plain) = shape.plans();
    let (_, apart) = bench.watch(&apart, 1_000);
    let (_, plain) = bench.watch(&plain, 1_000);
    bench.publish("t", r#"{"k":"a"}"#);
    bench.pass(1_000);
    let counted = apart.present();
    assert_eq!(counted, plain.present());
    bench.pass(7_200_000);
    assert_eq!(apart.present().as_deref(), Some(""));
    let earlier = bench.now() - 7_200_000;
    bench.set_clock(earlier);
    bench.settle();
    bench.pass(1_000);
    assert_eq!(apart.present(), plain.present());
    assert_eq!(apart.present(), counted);
}

#[test]
fn a_thousand_views_leave_nothing_behind() {
    let mut bench = bench();
    bench.publish("t", r#"{"k":"a"}"#);
    let mut views = Vec::new();
    for n in 0..1_000 {
        let plan = match n % 3 {
            0 => rows("k", &format!("n = {n}")),
            1 => COUNT.plans().0,
            _ => whole(&format!("SELECT {n}, count(*) FROM t")),
        };
        views.push(bench.watch(&plan, 1_000 + n % 5).0);
        if n % 100 == 0 {
            bench.pass(1_000);
        }
    }
    bench.pass(1_000);
    views.into_iter().for_each(|view| bench.unwatch(view));
    assert_eq!(bench.fresh.held(), (0, 0, 0, 0));
    assert_eq!(bench.whole.held(), (0, 0));
}

#[test]
fn what_is_read_is_kept_fresh_as_it_is_classed() {
    let mut front = Front::new(Limits::default()).expect("a front");
    front.create(&schema(MANY)).expect("a table");
    for (sql, class, first, then) in [
        (
            "select k, v from t where n > 0",
            1,
            r#"{"k":"a","v":1.5}"#,
            "{\"k\":\"a\",\"v\":1.5}\n{\"k\":\"b\",\"v\":2}",
        ),
        (
            "select count(*) from t",
            2,
            r#"{"count(*)":1}"#,
            r#"{"count(*)":2}"#,
        ),
        (
            "select avg(v) as m from t where _tp_time > now() - interval 1 minute",
            2,
            r#"{"m":1.5}"#,
            r#"{"m":1.75}"#,
        ),
        (
            "select b, max(k) as k from t group by b having count(*) > 0 order by b desc limit 1",
            2,
            r#"{"b":true,"k":"a"}"#,
            r#"{"b":true,"k":"b"}"#,
        ),
        (
            "select window_start, sum(n) as n from tumble(t, interval 1 hour) group by window_start",
            2,
            r#"{"window_start":0,"n":1}"#,
            r#"{"window_start":0,"n":3}"#,
        ),
        // A key that is a number is no place in the result.
        (
            "select 2 as c, n, count(*) as m from t group by c, n order by 2 desc limit 2",
            2,
            r#"{"c":2,"n":1,"m":1}"#,
            "{\"c\":2,\"n\":2,\"m\":1}\n{\"c\":2,\"n\":1,\"m\":1}",
        ),
        // What is compared with a cast is cast.
        (
            "select cast(n as text) as c, count(*) as m from t group by c having c = 1",
            2,
            r#"{"c":"1","m":1}"#,
            r#"{"c":"1","m":1}"#,
        ),
        // SQLite tells names apart without case.
        (
            "select count(*) filter (where k = 'b') as x, count(*) filter (where k = 'B') as y from t",
            2,
            r#"{"x":0,"y":0}"#,
            r#"{"x":1,"y":0}"#,
        ),
        (
            "select count(*) as n from t as a join t as b on a.k = b.k",
            3,
            r#"{"n":1}"#,
            r#"{"n":2}"#,
        ),
    ] {
        let mut bench = self::bench();
        bench.publish("t", r#"{"k":"a","v":1.5,"n":1,"b":true}"#);
        let plan = Arc::new(front.plan(sql).expect(sql));
        let (_, heard) = bench.watch(&plan, 1_000);
        bench.settle();
        assert_eq!(heard.present().as_deref(), Some(first), "{plan:?}");
        bench.publish("t", r#"{"k":"b","v":2,"n":2,"b":true}"#);
        bench.pass(1_000);
        assert_eq!(heard.present().as_deref(), Some(then), "{plan:?}");
        assert_eq!(bench.given_up, 0, "{plan:?}");
        let classed = match plan.class {
            Class::Rows { .. } => 1,
            Class::Groups(_) => 2,
            Class::Whole => 3,
        };
        assert_eq!(classed, class, "{sql}");
    }
}

#[test]
fn rows_come_in_their_order_also_by_an_index() {
    let mut bench = bench();
    // So many that compare a column have it indexed.
    let filters = |index: u32| {
        [
            format!("(\"k\" = 'b' OR \"k\" = 'a') AND n < {index}"),
            format!("\"k\" < 'c' AND \"k\" >= 'a' AND n < {index}"),
        ]
    };
    let watched: Vec<_> = (100..120)
        .flat_map(filters)
        .map(|filter| bench.watch(&rows("k, n", &filter), 1_000).1)
        .collect();
    bench.settle();
    for n in 0..9 {
        let key = ["b", "a", "c"][n % 3];
        bench.publish("t", &format!(r#"{{"k":"{key}","n":{n}}}"#));
    }
    bench.pass(1_000);
    let ordered: Vec<String> = [("b", 0), ("a", 1), ("b", 3), ("a", 4), ("b", 6), ("a", 7)]
        .map(|(key, n)| format!(r#"{{"k":"{key}","n":{n}}}"#))
        .into();
    for heard in watched {
        assert_eq!(heard.present(), Some(ordered.join("\n")));
    }
}
