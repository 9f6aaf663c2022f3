//! What is costly does not keep the others waiting. Time is what is computed here, so that it comes out the same on a machine
//! that has much else to do.

use std::sync::Arc;
use std::time::Duration;

use super::bench::{Bench, Heard, MANY, Shape, rows, schema};
use crate::live::engine::Limits;
use crate::live::sql::{Function, Plan};

/// Costs some milliseconds a row.
const COST: &str = "(WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r WHERE x < 12000 + n) SELECT count(*) FROM r)";

const SUM: Shape = Shape {
    filter: "true",
    keys: &[],
    window: None,
    calls: &[("sum(n)", Function::Sum, Some("n"))],
    having: None,
};

fn bench(query_time: Duration) -> Bench {
    let limits = Limits {
        query_time,
        ..Limits::default()
    };
    Bench::by_work(limits, &schema(MANY))
}

/// So many queries of each kind, no two alike.
fn costly(many: usize) -> Vec<Arc<Plan>> {
    let of_rows = (0..many).map(|i| rows("n", &format!("{COST} > {i}")));
    let of_groups = (0..many).map(|i| {
        let filter: &'static str = Box::leak(format!("{COST} > {i}").into_boxed_str());
        Shape { filter, ..SUM }.plans().0
    });
    of_rows.chain(of_groups).collect()
}

fn publish(bench: &Bench, n: usize) {
    bench.publish("t", &format!(r#"{{"n":{n}}}"#));
}

#[test]
fn cheap_queries_are_told_before_costly_ones_and_none_loses_a_row() {
    let mut bench = bench(Duration::from_secs(1));
    let (_, rows) = bench.watch(&rows("n", "true"), 1_000);
    let (_, sum) = bench.watch(&SUM.plans().0, 1_000);
    bench.settle();
    publish(&bench, 0);
    bench.pass_steadily(1_000);
    let heard: Vec<_> = costly(8).iter().map(|p| bench.watch(p, 1_000).1).collect();
    bench.settle();
    publish(&bench, 1);
    bench.pass_steadily(1_000);
    bench.pass_steadily(1_000);
    let costly_told = |with: &str| {
        let told = heard.iter().filter_map(|h| h.present());
        told.filter(|told| told.contains(with)).count()
    };
    assert_eq!(costly_told("1"), heard.len());
    for n in 2..6 {
        publish(&bench, n);
        bench.set_clock(bench.now() + 1_000);
        let (now, mut asked) = (bench.time(), Vec::new());
        bench.fresh.step(&now, &mut asked);
        let present = rows.present().expect("rows");
        assert!(present.ends_with(&format!(r#"{{"n":{n}}}"#)), "{present}");
        let present = sum.present().expect("a sum");
        assert_eq!(present, format!(r#"{{"a0":{}}}"#, n * (n + 1) / 2));
    }
    bench.pass_steadily(1_000);
    bench.pass_steadily(1_000);
    let (rows, sum) = (rows.present(), sum.present());
    for (i, heard) in heard.iter().enumerate() {
        let same = if i < 8 { &rows } else { &sum };
        assert_eq!(heard.present(), *same, "{i}");
    }
}

#[test]
fn who_comes_to_a_query_that_is_behind_has_all_rows_once() {
    let mut bench = bench(Duration::from_secs(1));
    let plans = costly(8);
    let watch = |bench: &mut Bench| -> Vec<Arc<Heard>> {
        let heard = plans.iter().map(|plan| bench.watch(plan, 1_000).1);
        heard.collect()
    };
    let mut heard = watch(&mut bench);
    bench.settle();
    for n in 1..8 {
        publish(&bench, n);
        bench.set_clock(bench.now() + 1_000);
        let (now, mut asked) = (bench.time(), Vec::new());
        bench.fresh.step(&now, &mut asked);
        bench.ask(asked);
        if n % 3 == 0 {
            heard.extend(watch(&mut bench));
        }
    }
    bench.pass_steadily(1_000);
    bench.pass_steadily(1_000);
    let rows: Vec<String> = (1..8).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    for (i, heard) in heard.iter().enumerate() {
        let same = match i % 16 < 8 {
            true => rows.join("\n"),
            false => r#"{"a0":28}"#.to_owned(),
        };
        assert_eq!(heard.present(), Some(same), "{i}");
    }
}

#[test]
fn what_never_catches_up_ends_and_says_so() {
    let mut bench = bench(Duration::from_millis(100));
    let (_, cheap) = bench.watch(&rows("n", "true"), 1_000);
    bench.settle();
    publish(&bench, 0);
    bench.pass_steadily(1_000);
    let heard: Vec<_> = costly(8).iter().map(|p| bench.watch(p, 1_000).1).collect();
    bench.settle();
    let mut passed = 0;
    while heard
        .iter()
        .all(|h| h.present().as_deref() != Some("query-time"))
    {
        passed += 1;
        assert!(passed < 1_000, "none has ended");
        publish(&bench, passed);
        let (now, mut asked) = (bench.time_after(1_000), Vec::new());
        bench.fresh.step(&now, &mut asked);
        bench.ask(asked);
    }
    let ended = heard[..8]
        .iter()
        .filter(|h| h.present().as_deref() == Some("query-time"));
    let ended = ended.count();
    assert!(ended + bench.given_up < 16, "not all at once");
    let rows: Vec<String> = (0..=passed).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    assert_eq!(cheap.present(), Some(rows.join("\n")));
}
