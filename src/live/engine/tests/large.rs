//! What takes long to begin is begun in pieces, and the others do not wait for it.

use std::sync::Arc;
use std::time::Duration;

use super::bench::{Bench, Heard, MANY, Shape, rows, schema, whole};
use crate::live::engine::Limits;
use crate::live::schema::Retention;
use crate::live::sql::Function;

/// Costs some milliseconds a row.
const COSTLY: &str = "(WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r WHERE x < 12000 + n) SELECT count(*) FROM r) > 0";

/// A first result may take ten times that, and a piece of it as little as always, on however slow a machine.
const PATIENT: Duration = Duration::from_secs(60);

const ENDLESS: &str =
    "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r";

const SUM: Shape = Shape {
    filter: "true",
    keys: &[],
    window: None,
    calls: &[("sum(n)", Function::Sum, Some("n"))],
    having: None,
};

fn bench(query_time: Duration, retention: Retention) -> Bench {
    let limits = Limits {
        query_time,
        ..Limits::default()
    };
    Bench::new(limits, &schema(retention))
}

fn publish(bench: &Bench, numbers: std::ops::Range<u32>) {
    numbers.for_each(|n| bench.publish("t", &format!(r#"{{"n":{n}}}"#)));
}

/// One round of both threads.
fn step(bench: &mut Bench) {
    let (now, mut asked, mut filled) = (bench.time(), Vec::new(), Vec::new());
    bench.whole.pull(&now);
    bench.whole.step(&now, &mut filled);
    filled
        .into_iter()
        .for_each(|filled| bench.fresh.filled(filled, &now));
    bench.fresh.step(&now, &mut asked);
    bench.ask(asked);
}

/// Steps until all have a result, for each of which something that takes long may have its turn too. Shapes, newcomers and
/// the others have theirs in each round, and so few rounds are enough, also when this machine is slow for a moment.
fn until_told(bench: &mut Bench, heard: &[Arc<Heard>]) {
    for _ in 0..100 {
        if heard.iter().all(|heard| heard.present().is_some()) {
            return;
        }
        step(bench);
        bench.time_after(1_000);
    }
    panic!("they wait for others");
}

/// Newcomers of each class, which take next to nothing.
fn cheap(bench: &mut Bench, i: usize) -> Vec<Arc<Heard>> {
    let shape = Shape {
        filter: Box::leak(format!("n >= -{i}").into_boxed_str()),
        ..SUM
    };
    let plans = [
        rows("n", &format!("n >= -{i}")),
        shape.plans().0,
        whole(&format!("SELECT max(n) + {i} AS m FROM t")),
    ];
    plans.map(|plan| bench.watch(&plan, 1_000).1).into()
}

#[test]
fn newcomers_have_their_results_while_a_costly_one_is_under_way() {
    let mut bench = bench(PATIENT, MANY);
    publish(&bench, 0..600);
    let costly = Shape {
        filter: COSTLY,
        ..SUM
    };
    let (_, costly) = bench.watch(&costly.plans().0, 1_000);
    step(&mut bench);
    step(&mut bench);
    for i in 0..3 {
        let heard = cheap(&mut bench, i);
        until_told(&mut bench, &heard);
        publish(&bench, 600 + i as u32..601 + i as u32);
    }
    assert_eq!(costly.present(), None, "it is still under way");
    bench.pass_steadily(1_000);
    bench.pass_steadily(1_000);
    let sum: u32 = (0..603).sum();
    assert_eq!(costly.present(), Some(format!(r#"{{"a0":{sum}}}"#)));
}

#[test]
fn rows_that_come_and_go_meanwhile_are_neither_missed_nor_doubled() {
    let retention = Retention { rows: 256, ..MANY };
    let mut bench = bench(PATIENT, retention);
    publish(&bench, 0..256);
    let costly = Shape {
        filter: COSTLY,
        ..SUM
    };
    let (_, costly) = bench.watch(&costly.plans().0, 1_000);
    let mut next = 256;
    while costly.present().is_none() {
        step(&mut bench);
        // Time for the next piece has always come.
        bench.time_after(1_000);
        if next < 400 {
            publish(&bench, next..next + 9);
            next += 9;
        }
    }
    let (_, same) = bench.watch(&whole("SELECT sum(n) AS a0 FROM t"), 1_000);
    bench.pass_steadily(1_000);
    bench.pass_steadily(1_000);
    assert_eq!(costly.present(), same.present());
}

#[test]
fn a_first_result_that_takes_too_long_in_all_ends() {
    let mut bench = bench(Duration::from_millis(20), MANY);
    publish(&bench, 0..2_000);
    let costly = Shape {
        filter: COSTLY,
        ..SUM
    };
    let (_, costly) = bench.watch(&costly.plans().0, 1_000);
    bench.settle();
    assert_eq!(costly.present().as_deref(), Some("query-time"));
    let heard = cheap(&mut bench, 0);
    bench.settle();
    assert!(heard.iter().all(|heard| heard.present().is_some()));
}

#[test]
fn what_is_not_known_is_only_tried_at_first() {
    let mut bench = bench(Duration::from_millis(200), MANY);
    publish(&bench, 0..10);
    let endless = |i| format!("{ENDLESS} WHERE x > {i}");
    let mut hostile = Vec::new();
    for i in 0..3 {
        hostile.push(bench.watch(&whole(&endless(i)), 1_000).1);
        hostile.push(
            bench
                .watch(&rows("n", &format!("({}) > n", endless(i))), 1_000)
                .1,
        );
    }
    let ended = || {
        hostile
            .iter()
            .filter(|heard| heard.present().is_some())
            .count()
    };
    for i in 0.. {
        let heard = cheap(&mut bench, i);
        until_told(&mut bench, &heard);
        if i == 0 {
            assert!(ended() < hostile.len(), "they have waited for all others");
        }
        if ended() == hostile.len() {
            break;
        }
        bench.time_after(5_000);
    }
    for heard in &hostile {
        assert_eq!(heard.present().as_deref(), Some("query-time"));
    }
}
