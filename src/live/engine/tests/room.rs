//! What groups hold in memory has a limit.

use std::sync::atomic::Ordering;

use super::bench::{Bench, MANY, Shape, schema};
use crate::live::engine::Limits;
use crate::live::sql::Function;

const KEYS: Shape = Shape {
    filter: "true",
    keys: &["k"],
    window: None,
    calls: &[("count(*)", Function::Count, None)],
    having: None,
};

/// Each of these holds what it is given, or something of each row.
const LARGE: [Shape; 3] = [
    KEYS,
    Shape {
        keys: &["n"],
        calls: &[("max(k)", Function::Max, Some("k"))],
        ..KEYS
    },
    Shape {
        keys: &[],
        calls: &[("count(distinct k)", Function::CountDistinct, Some("k"))],
        ..KEYS
    },
];

const SMALL: Shape = Shape {
    keys: &["b"],
    ..KEYS
};

fn held(bench: &Bench) -> usize {
    bench.counters.groups.load(Ordering::Relaxed)
}

fn publish(bench: &Bench, from: usize, rows: usize) {
    for n in from..from + rows {
        let k = "x".repeat(2_000);
        bench.publish("t", &format!(r#"{{"k":"{k}{n}","n":{n},"b":true}}"#));
    }
}

#[test]
fn groups_that_have_no_room_end_alone() {
    for (large, is_late) in LARGE
        .iter()
        .flat_map(|large| [(large, false), (large, true)])
    {
        let limits = Limits {
            groups_bytes: 1 << 20,
            ..Limits::default()
        };
        let mut bench = Bench::new(limits, &schema(MANY));
        let (small_view, small) = bench.watch(&SMALL.plans().0, 1_000);
        if is_late {
            publish(&bench, 0, 1_000);
            bench.pass(1_000);
        }
        let (view, large) = bench.watch(&large.plans().0, 1_000);
        bench.settle();
        if !is_late {
            publish(&bench, 0, 100);
            bench.pass(1_000);
            let bytes = held(&bench);
            assert!((200_000..1_000_000).contains(&bytes), "{bytes}");
            publish(&bench, 100, 900);
            bench.pass(1_000);
        }
        assert_eq!(large.present().as_deref(), Some("groups-memory"));
        assert_eq!(small.present().as_deref(), Some(r#"{"g0":true,"a0":1000}"#));
        assert!(held(&bench) < 20_000, "what it held was given back");
        bench.unwatch(view);
        bench.unwatch(small_view);
        assert_eq!(held(&bench), 0);
        assert_eq!(bench.given_up, 0);
    }
}

#[test]
fn the_same_groups_hold_the_same_however_they_came() {
    let window = Shape {
        window: Some(("_tp_time", 5_000, false)),
        calls: &[
            ("count(*)", Function::Count, None),
            ("max(k)", Function::Max, Some("k")),
            ("count(distinct n)", Function::CountDistinct, Some("n")),
        ],
        ..KEYS
    };
    let mut bench = Bench::new(Limits::default(), &schema(MANY));
    let (view, _) = bench.watch(&window.plans().0, 1_000);
    bench.settle();
    for second in 0..30 {
        publish(&bench, second % 7, 5);
        bench.pass(1_000);
    }
    assert!(held(&bench) > 5 * 2_000);
    // Without any row, all is let go but what is there in any case.
    for _ in 0..10 {
        bench.pass(1_000);
    }
    assert!(held(&bench) < 1_000, "{}", held(&bench));
    bench.unwatch(view);
    assert_eq!(held(&bench), 0);
}
