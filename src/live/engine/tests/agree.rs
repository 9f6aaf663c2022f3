//! Random rows in random batches, under random queries that come and go.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::bench::{Bench, MANY, Shape, rows, schema, whole};
use crate::live::engine::Limits;
use crate::live::schema::Retention;
use crate::live::sql::Function;
use crate::log;

const SHAPES: [Shape; 9] = [
    Shape {
        filter: "true",
        keys: &["k"],
        window: Some(("at", 3_000, false)),
        calls: &[
            ("count(*)", Function::Count, None),
            ("sum(v)", Function::Sum, Some("v")),
            ("min(n)", Function::Min, Some("n")),
        ],
        having: None,
    },
    // The same rows and groups, and other aggregates of them.
    Shape {
        filter: "true",
        keys: &["k"],
        window: Some(("at", 3_000, false)),
        calls: &[
            ("avg(n)", Function::Avg, Some("n")),
            ("count(DISTINCT v)", Function::CountDistinct, Some("v")),
        ],
        having: Some(("count(v)", Function::Count, Some("v"), "> 1")),
    },
    Shape {
        filter: "n > 0 OR k IS NULL",
        keys: &["b", "n % 3"],
        window: Some(("_tp_time", 2_500, true)),
        calls: &[("max(k)", Function::Max, Some("k"))],
        having: None,
    },
    Shape {
        filter: "k <> 'b'",
        keys: &[],
        window: Some(("at", 1_000, true)),
        calls: &[
            ("count(*)", Function::Count, None),
            ("total(v)", Function::Total, Some("v")),
            ("sum(n)", Function::Sum, Some("n")),
        ],
        having: None,
    },
    Shape {
        filter: "true",
        keys: &[],
        window: None,
        calls: &[
            ("count(*)", Function::Count, None),
            ("max(v)", Function::Max, Some("v")),
            ("var_pop(n)", Function::VarPop, Some("n")),
        ],
        having: None,
    },
    Shape {
        filter: "v IS NOT NULL",
        keys: &["v"],
        window: None,
        calls: &[("sum(n)", Function::Sum, Some("n"))],
        having: None,
    },
    Shape {
        filter: "true",
        keys: &["at / 1000"],
        window: None,
        calls: &[("count(DISTINCT k)", Function::CountDistinct, Some("k"))],
        having: None,
    },
    Shape {
        filter: "true",
        keys: &["k", "b"],
        window: Some(("at + 0.5", 2_000, false)),
        calls: &[("avg(v)", Function::Avg, Some("v"))],
        having: None,
    },
    // Text is greater than any number.
    Shape {
        filter: "true",
        keys: &["b"],
        window: Some(("coalesce(at, 'x')", 2_000, false)),
        calls: &[("count(*)", Function::Count, None)],
        having: None,
    },
];

const FILTERS: [(&str, &str); 4] = [
    ("k, v", "v > 0"),
    ("*", "true"),
    (
        "upper(k) || 'x' AS x, n + v AS y",
        "k IN ('a', 'c') AND n IS NOT NULL",
    ),
    ("1 AS one", "b"),
];

/// A log that has to let events go, and one that need not.
const FEW: usize = 8;
const ALL: usize = 100_000;

#[derive(Clone, Debug)]
enum Act {
    Publish(Vec<String>),
    /// The same, but while the next thing is done.
    Meanwhile(Vec<String>),
    Slow(bool),
    Pass(u64),
    Join(usize, u64),
    Leave(usize),
}

fn row() -> impl Strategy<Value = String> {
    let at = prop_oneof![
        6 => (-3_500_i64..200).prop_map(Some),
        1 => (-60_000_i64..60_000).prop_map(Some),
        1 => Just(None),
    ];
    let key = prop::sample::select(vec!["null", "\"a\"", "\"b\"", "\"c\"", "\"\"", "\"ä\""]);
    let flag = prop::sample::select(vec!["null", "true", "false"]);
    // Sums of these are exact, so that the order does not show.
    let value = prop::sample::select(vec![
        "null", "0", "-1.5", "2", "0.25", "1000000", "3e10", "-7",
    ]);
    let number = prop_oneof![
        Just("null".to_owned()),
        (-5_i32..5).prop_map(|n| n.to_string())
    ];
    // A few bring their own.
    let came = prop_oneof![
        6 => Just(None),
        1 => (-3_500_i64..5_000).prop_map(Some),
    ];
    (came, at, key, flag, value, number).prop_map(|(came, at, k, b, v, n)| {
        let came = came.map_or(String::new(), |came| format!(r#""_tp_time":NOW{came:+},"#));
        let at = at.map_or("null".to_owned(), |at| format!("NOW{at:+}"));
        format!(r#"{{{came}"at":{at},"k":{k},"b":{b},"v":{v},"n":{n}}}"#)
    })
}

fn act(queries: usize) -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => vec(row(), 1..20).prop_map(Act::Publish),
        3 => vec(row(), 1..20).prop_map(Act::Meanwhile),
        1 => any::<bool>().prop_map(Act::Slow),
        6 => prop_oneof![Just(1_000_u64), Just(500), 1..3_000_u64].prop_map(Act::Pass),
        3 => (0..queries, prop::sample::select(vec![500, 1_000, 700]))
            .prop_map(|(query, every_ms)| Act::Join(query, every_ms)),
        1 => (0..queries).prop_map(Act::Leave),
    ]
}

/// The row with its times, which are told from now.
fn timed(row: &str, now: u64) -> String {
    let mut pieces = row.split("NOW");
    let before = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(before, |before, rest| {
        let (offset, after) = rest.split_once(',').expect("more members");
        let offset: i64 = offset.parse().expect("an offset");
        format!("{before}{},{after}", now as i64 + offset)
    })
}

/// The same, but for the last digits: in which order floats are added depends on the panes.
fn rounded(rows: String) -> String {
    let number = |value: &Value| match value.as_f64() {
        Some(number) => format!("{number:.9e}"),
        None => value.to_string(),
    };
    let row = |line: &str| -> String {
        let row: Map<String, Value> = serde_json::from_str(line).expect("an object");
        let members: Vec<String> = row.values().map(number).collect();
        members.join(" ")
    };
    rows.lines().map(row).collect::<Vec<_>>().join("\n")
}

/// At a whole multiple of all periods.
fn to_tick(bench: &mut Bench) {
    bench.is_slow = false;
    bench.settle();
    let ahead = 7_000 - bench.now() % 7_000;
    bench.pass(ahead);
}

/// With so many events in the log, and rows that come one by one when they are few.
fn bench(log_events: usize, limits: Limits, retention: Retention, acts: &mut [Act]) -> Bench {
    let log = log::Limits {
        topic_events: log_events,
        ..log::Limits::default()
    };
    if log_events == FEW {
        for act in acts {
            if let Act::Publish(rows) = act {
                *act = Act::Meanwhile(std::mem::take(rows));
            }
        }
    }
    Bench::over(log, limits, &schema(retention))
}

fn groups_agree(mut bench: Bench, acts: Vec<Act>) {
    let plans: Vec<_> = SHAPES.iter().map(Shape::plans).collect();
    let mut watched = Vec::new();
    for act in acts {
        match act {
            Act::Publish(rows) => {
                for row in rows {
                    bench.publish("t", &timed(&row, bench.now()));
                }
            }
            Act::Meanwhile(rows) => {
                let rows = rows.iter().map(|row| timed(row, bench.now()));
                bench.meanwhile.extend(rows.collect::<Vec<_>>());
            }
            Act::Slow(is_slow) => bench.is_slow = is_slow,
            Act::Pass(ms) => bench.pass(ms),
            Act::Join(index, every_ms) => {
                let (apart, plain) = &plans[index];
                let apart = bench.watch(apart, every_ms);
                let plain = bench.watch(plain, every_ms);
                watched.push((index, every_ms, apart, plain));
            }
            Act::Leave(index) => {
                if index < watched.len() {
                    let (_, _, apart, plain) = watched.swap_remove(index);
                    bench.unwatch(apart.0);
                    bench.unwatch(plain.0);
                }
            }
        }
    }
    for _ in 0..2 {
        to_tick(&mut bench);
        for (index, every_ms, apart, plain) in &watched {
            let (apart, plain) = (apart.1.present(), plain.1.present());
            let (apart, plain) = (apart.map(rounded), plain.map(rounded));
            assert!(plain.is_some(), "query {index} has a result");
            assert_eq!(apart, plain, "query {index} every {every_ms} ms");
        }
    }
    assert_eq!(
        bench.given_up, 0,
        "they were kept fresh by the new rows alone"
    );
    for (_, _, apart, plain) in watched {
        bench.unwatch(apart.0);
        bench.unwatch(plain.0);
    }
    assert_eq!(bench.fresh.held(), (0, 0, 0, 0), "nothing is left");
    assert_eq!(bench.whole.held(), (0, 0), "nothing is left");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_are_those_of_all_rows(
        mut acts in vec(act(SHAPES.len()), 1..40),
        log_events in prop::sample::select(vec![ALL, FEW]),
    ) {
        let bench = bench(log_events, Limits::default(), MANY, &mut acts);
        groups_agree(bench, acts);
    }

    #[test]
    fn groups_are_those_of_the_rows_that_are_retained(
        mut acts in vec(act(SHAPES.len()), 1..40),
        rows in prop::sample::select(vec![1, 10, 200, 100_000]),
        age_ms in prop::sample::select(vec![None, Some(1), Some(2_000)]),
        table_bytes in prop::sample::select(vec![300, 3_000, 1 << 20]),
        log_events in prop::sample::select(vec![ALL, FEW]),
    ) {
        let limits = Limits { table_bytes, ..Limits::default() };
        let bench = bench(log_events, limits, Retention { rows, age_ms }, &mut acts);
        groups_agree(bench, acts);
    }

    #[test]
    fn rows_are_told_once_and_none_is_missing(
        mut acts in vec(act(FILTERS.len()), 1..40),
        log_events in prop::sample::select(vec![ALL, FEW]),
    ) {
        let mut bench = bench(log_events, Limits::default(), MANY, &mut acts);
        let mut watched = Vec::new();
        for act in acts {
            match act {
                Act::Publish(rows) => {
                    for row in rows {
                        bench.publish("t", &timed(&row, bench.now()));
                    }
                }
                Act::Meanwhile(rows) => {
                    let rows = rows.iter().map(|row| timed(row, bench.now()));
                    bench.meanwhile.extend(rows.collect::<Vec<_>>());
                }
                Act::Slow(is_slow) => bench.is_slow = is_slow,
                Act::Pass(ms) => bench.pass(ms),
                Act::Join(index, every_ms) => {
                    let (columns, filter) = FILTERS[index];
                    let plan = rows(columns, filter);
                    let all = whole(&plan.text);
                    watched.push((bench.watch(&plan, every_ms), bench.watch(&all, every_ms)));
                }
                Act::Leave(index) => {
                    if index < watched.len() {
                        let (plan, all) = watched.swap_remove(index);
                        bench.unwatch(plan.0);
                        bench.unwatch(all.0);
                    }
                }
            }
        }
        to_tick(&mut bench);
        for (plan, all) in &watched {
            let (plan, all) = (plan.1.present().expect("rows"), all.1.present().expect("rows"));
            // Who joined late has had the newest hundred.
            prop_assert!(all.ends_with(&plan), "{plan:?} of {all:?}");
            let count = |rows: &str| rows.lines().count();
            prop_assert!(count(&plan) >= count(&all).min(100));
        }
    }
}
