//! Verdicts on results that were made up.

use super::super::planted::Planted;
use super::super::planted::full;
use super::super::series::TRANSPORTS;
use super::super::warnings::warnings;
use super::*;

const SSE: &str = "sse-http2";
const WSS: &str = "wss";
const WS2: &str = "ws-http2";

/// The figures that answer each question.
const ASKED: [(&str, &str); 7] = [
    ("fanout", "p99_ms"),
    ("fanout", "cpu_us"),
    ("idle", "resident_bytes"),
    ("bytes", "framing_bytes"),
    ("throughput", "deliveries_per_s"),
    ("connect", "first_event_p99_ms"),
    ("resume", "all_back_ms"),
];

/// A transport that has these medians, question by question, in so many repetitions.
fn plant(mut planted: Planted, wire: &str, medians: [f64; 7], repetitions: usize) -> Planted {
    for ((scenario, figure), median) in ASKED.into_iter().zip(medians) {
        let values: Vec<f64> = (0..repetitions)
            .map(|n| median * (1.0 + 0.01 * n as f64))
            .collect();
        planted = planted.figure(scenario, wire, "", figure, &values);
    }
    planted
}

fn tls(results: &Results) -> Half {
    verdict(results).halves.remove(0)
}

/// In speed more is better, so the transport that wins everything has the most of it.
const GOOD: [f64; 7] = [1.0, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0];
const BAD: [f64; 7] = [2.0, 2.0, 2.0, 2.0, 3.0, 2.0, 2.0];

#[test]
fn the_best_in_most_questions_is_recommended() {
    let mut mixed = BAD;
    (mixed[0], mixed[1]) = (0.5, 0.5);
    let results = plant(plant(Planted::new(3), WSS, GOOD, 3), SSE, mixed, 3).results();
    let half = tls(&results);
    assert_eq!(half.wire, Some(WSS));
    assert_eq!(
        half.headline,
        "Over TLS: wss. It is the best, or not told apart from the best, in 5 of 7 questions (sse-http2 in 2)."
    );
    assert_eq!(
        half.changes[..2],
        [
            "If latency (p99) decides: sse-http2, with 0.50 x that of wss.",
            "If CPU of the server decides: sse-http2, with 0.50 x that of wss.",
        ]
    );
    let speed = &half.answers[4];
    assert_eq!(
        speed.words(),
        "speed: wss 9.09 deliveries/s (9.00-9.18); behind: sse-http2 0.33 x"
    );
}

#[test]
fn of_equals_the_simplest_client_is_recommended() {
    let results = plant(plant(Planted::new(3), WSS, GOOD, 3), SSE, GOOD, 3).results();
    let half = tls(&results);
    assert_eq!(half.wire, Some(SSE));
    assert!(
        half.headline
            .ends_with("(wss in 7); of those with as many, it has the simplest client."),
        "{}",
        half.headline
    );
    assert_eq!(half.changes, Vec::<String>::new());
}

#[test]
fn a_transport_with_faults_is_out() {
    let mut planted = plant(plant(Planted::new(3), WSS, BAD, 3), SSE, GOOD, 3);
    planted = plant(planted, WS2, BAD, 3);
    planted.run("resume", SSE, "", 1).faults.doubled = 2;
    let half = tls(&planted.results());
    assert_eq!(half.out, ["sse-http2 is out: 2 doubled."]);
    assert_eq!(half.wire, Some(WSS));
    assert!(
        half.answers
            .iter()
            .all(|answer| answer.sample(SSE).is_none())
    );
}

#[test]
fn what_is_late_over_a_bad_network_is_no_fault() {
    let mut planted = plant(plant(Planted::new(3), WSS, BAD, 3), SSE, GOOD, 3);
    planted
        .run("loss", SSE, "1% loss, 1 connection", 0)
        .faults
        .late = 9;
    let mut results = planted.results();
    assert_eq!(tls(&results).wire, Some(SSE));
    results.runs.last_mut().unwrap().faults.lost = 1;
    let half = tls(&results);
    assert_eq!(half.wire, None);
    assert_eq!(
        half.headline,
        "Over TLS: no recommendation, since only wss was without faults."
    );
}

#[test]
fn weak_results_recommend_nothing() {
    let two = plant(plant(Planted::new(2), WSS, GOOD, 2), SSE, BAD, 2).results();
    let half = tls(&two);
    assert_eq!(half.wire, None);
    assert_eq!(
        half.headline,
        "Over TLS: no recommendation, since only 0 of 7 questions could be judged."
    );
    let why = "Not judged, as fewer than two transports have 3 sound repetitions of it: latency (p99), CPU of the server";
    assert!(half.open[0].starts_with(why), "{:#?}", half.open);

    let alone = plant(Planted::new(3), WSS, GOOD, 3).results();
    assert_eq!(
        tls(&alone).headline,
        "Over TLS: only wss was measured, so there is nothing to choose from."
    );
    assert_eq!(
        tls(&Results::default()).headline,
        "Over TLS: nothing was measured."
    );

    let mut some = plant(plant(Planted::new(3), WSS, GOOD, 3), SSE, BAD, 3).results();
    some.runs.retain(|run| run.scenario == "fanout");
    let half = tls(&some);
    assert_eq!(
        half.headline,
        "Over TLS: no recommendation, since only 2 of 7 questions could be judged."
    );
    assert!(
        half.open
            .iter()
            .any(|line| line == "Not judged, as its scenario was not run: memory of a waiting reader, bytes around the payload, speed, connecting (p99) and coming back (all)."),
        "{:#?}",
        half.open
    );
}

#[test]
fn nobody_is_recommended_for_half_of_the_questions() {
    let results = Planted::new(3);
    let [a, b, c] = [
        [1.0, 9.0, 9.0, 9.0],
        [9.0, 1.0, 9.0, 9.0],
        [9.0, 9.0, 1.0, 1.0],
    ];
    let widen = |four: [f64; 4]| [four[0], four[1], four[2], four[3], 1.0, 1.0, 1.0];
    let planted = plant(
        plant(plant(results, SSE, widen(a), 3), WSS, widen(b), 3),
        WS2,
        widen(c),
        3,
    );
    let mut results = planted.results();
    results
        .runs
        .retain(|run| !matches!(&*run.scenario, "throughput" | "connect" | "resume"));
    let half = tls(&results);
    assert_eq!(half.wire, None);
    assert!(
        half.headline.contains(
            "in more than half of the 4 questions (ws-http2 in 2, sse-http2 in 1 and wss in 1)"
        ),
        "{}",
        half.headline
    );
}

#[test]
fn a_saturated_client_makes_no_transport_worse_in_time() {
    let mut planted = plant(plant(Planted::new(3), WSS, GOOD, 3), SSE, BAD, 3);
    planted
        .run("fanout", SSE, "", 2)
        .figures
        .insert("client_share".to_owned(), 0.97);
    let half = tls(&planted.results());
    let [latency, cpu] = &half.answers[..2] else {
        panic!("two")
    };
    assert!(latency.leads(SSE));
    assert!(
        latency.words().ends_with("with a saturated load client"),
        "{}",
        latency.words()
    );
    assert!(!cpu.leads(SSE), "its CPU is the server's own");
}

#[test]
fn events_left_unsent_leave_no_latency() {
    let mut planted = plant(plant(Planted::new(3), WSS, BAD, 3), SSE, GOOD, 3);
    planted = plant(planted, WS2, BAD, 3);
    planted
        .run("fanout", SSE, "", 0)
        .figures
        .insert("unsent".to_owned(), 3.0);
    let half = tls(&planted.results());
    assert!(half.answers[0].sample(SSE).is_none());
    assert!(
        half.open[0].starts_with("Not judged in latency (p99): sse-http2"),
        "{:?}",
        half.open
    );
}

#[test]
fn every_half_of_a_whole_comparison_has_an_answer() {
    let verdict = verdict(&full());
    let wires = verdict.halves.iter().map(|half| half.wire);
    assert_eq!(
        wires.collect::<Vec<_>>(),
        [Some("sse-http2"), Some("sse-h2c")]
    );
    for half in &verdict.halves {
        assert_eq!(half.answers.len(), 7);
        assert_eq!(half.open, Vec::<String>::new());
    }
    let lines = verdict.lines().join("\n");
    for part in [
        "sse-http2 with 100 streams on each connection instead of 1: server CPU 0.09 x",
        "CPU of the server with one stream on each connection: sse-http1s",
        "From 1000 rows in an event on, the transports are not told apart",
        "sse-http2 at 1% loss, on 20 connections instead of 1: p99 0.40 x",
        "P99 of the others while some stop reading: ",
    ] {
        assert!(lines.contains(part), "{part} in\n{lines}");
    }
}

#[test]
fn memory_without_the_kernels_part_says_so() {
    let mut results = full();
    for run in &mut results.runs {
        run.figures.remove("kernel_bytes");
    }
    let title = tls(&results).answers[2].title();
    assert_eq!(title, "memory of a waiting reader without kernel");
}

#[test]
fn what_cleartext_has_not_is_not_missing() {
    let mut results = full();
    for run in &mut results.runs {
        if TRANSPORTS.contains(&(&*run.wire, Security::Cleartext)) {
            run.figures.retain(|name, _| !name.starts_with("tls_"));
        }
    }
    let cleartext = verdict(&results).halves.remove(1);
    assert_eq!(cleartext.answers[3].title(), "bytes around the payload");
    assert_eq!(warnings(&results), Vec::<String>::new());
}

#[test]
fn a_quick_comparison_says_that_it_is_one() {
    let mut results = full();
    results.settings.quick = true;
    let open = tls(&results).open;
    assert!(open[0].contains("kept short"), "{open:?}");
}
