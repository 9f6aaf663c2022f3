//! Which transport for this load, by how much, and what would change that. docs/comparison.md has the rule in full; no
//! sentence here says what the figures of this comparison do not.

use super::question::Answer;
use super::question::Question;
use super::question::ratio;
use super::results::Faults;
use super::results::Results;
use super::scenarios::Better;
use super::series::Security;
use super::series::Series;
use super::series::transports;
use super::stats;
use super::words;

mod changes;

/// With fewer questions answered nothing is recommended.
const FEWEST_QUESTIONS: usize = 3;

/// What the transports are judged by, all with the same weight.
const QUESTIONS: [Question; 7] = [
    question("latency (p99)", "fanout", &["p99_ms"], "ms", true),
    question(
        "CPU of the server",
        "fanout",
        &["cpu_us"],
        "us/delivery",
        false,
    ),
    question(
        "memory of a waiting reader",
        "idle",
        &["resident_bytes", "kernel_bytes"],
        "B",
        false,
    ),
    question(
        "bytes around the payload",
        "bytes",
        &["framing_bytes", "tls_bytes", "up_bytes"],
        "B/event",
        false,
    ),
    Question {
        better: Better::More,
        ..question(
            "speed",
            "throughput",
            &["deliveries_per_s"],
            "deliveries/s",
            true,
        )
    },
    question(
        "connecting (p99)",
        "connect",
        &["first_event_p99_ms"],
        "ms",
        true,
    ),
    question("coming back (all)", "resume", &["all_back_ms"], "ms", true),
];

const fn question(
    title: &'static str,
    scenario: &'static str,
    figures: &'static [&'static str],
    unit: &'static str,
    timed: bool,
) -> Question {
    Question {
        title,
        scenario,
        figures,
        unit,
        better: Better::Less,
        timed,
    }
}

/// The verdict: TLS is a decision of its own, so there is one for each side of it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Over TLS first.
    pub halves: Vec<Half>,
}

/// The transports over TLS, or those in cleartext.
#[derive(Clone, Debug)]
pub struct Half {
    /// Which of the two.
    pub security: Security,
    /// The one that is recommended, if any is.
    pub wire: Option<&'static str>,
    /// Which and why, or why none.
    pub headline: String,
    /// The transports that are out of the question, and why; a sentence each.
    pub out: Vec<String>,
    /// By how much, question by question.
    pub answers: Vec<Answer>,
    /// What would change it; a sentence each.
    pub changes: Vec<String>,
    /// What cannot be judged; a sentence each.
    pub open: Vec<String>,
}

/// What these results say.
pub fn verdict(results: &Results) -> Verdict {
    let halves = [Security::Tls, Security::Cleartext];
    Verdict {
        halves: halves.map(|security| half(results, security)).into(),
    }
}

impl Verdict {
    /// All of it, a line each; what belongs to a line above is indented.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for half in &self.halves {
            lines.push(half.headline.clone());
            let answers = half.answers.iter().map(Answer::words);
            let below = half.out.iter().cloned().chain(answers);
            let below = below.chain(half.changes.iter().cloned());
            let below = below.chain(half.open.iter().cloned());
            lines.extend(below.map(|line| format!("  {line}")));
        }
        lines
    }
}

fn half(results: &Results, security: Security) -> Half {
    let measured = transports(results).into_iter();
    let measured: Vec<&'static str> = measured
        .filter(|(_, of)| *of == security)
        .map(|(wire, _)| wire)
        .collect();
    let (wires, faulty): (Vec<&str>, Vec<&str>) = measured
        .iter()
        .partition(|wire| faults(results, wire).is_none());
    let out = faulty.iter().map(|wire| {
        let faults = words::faults(faults(results, wire));
        format!("{wire} is out: {faults}.")
    });
    let mut half = Half {
        security,
        wire: None,
        headline: String::new(),
        out: out.collect(),
        answers: Vec::new(),
        changes: Vec::new(),
        open: Vec::new(),
    };
    let side = words::sentence(security.words());
    match (&measured[..], &wires[..]) {
        ([], _) => half.headline = format!("{side}: nothing was measured."),
        ([one], _) => {
            half.headline =
                format!("{side}: only {one} was measured, so there is nothing to choose from.");
        }
        (_, []) => {
            half.headline =
                format!("{side}: no recommendation, since no transport was without faults.");
        }
        (_, [one]) => {
            half.headline =
                format!("{side}: no recommendation, since only {one} was without faults.");
        }
        _ => choose(&mut half, results, &wires),
    }
    half
}

/// Everything that went wrong on a transport. What comes late over a bad network is a finding, not a fault.
fn faults(results: &Results, wire: &str) -> Faults {
    let mut sum = Faults::default();
    for series in Series::all(results)
        .iter()
        .filter(|series| series.wire == wire)
    {
        let faults = series.faults();
        sum.lost += faults.lost;
        sum.doubled += faults.doubled;
        sum.reordered += faults.reordered;
        if series.scenario.name != "loss" {
            sum.late += faults.late;
        }
    }
    sum
}

/// The one that leads in the most questions, if that is more than half of them; of several, the first of `wires`,
/// which has the simplest client.
fn choose(half: &mut Half, results: &Results, wires: &[&'static str]) {
    let side = words::sentence(half.security.words());
    for question in QUESTIONS {
        match question.ask(results, "", wires) {
            Some(answer) => {
                half.open.extend(unjudged(&answer, wires));
                half.answers.push(answer);
            }
            None => half.open.push(format!(
                "Not judged: {}, as {}.",
                question.title,
                why_not(results, &question)
            )),
        }
    }
    let asked = half.answers.len();
    let score = |wire: &str| {
        half.answers
            .iter()
            .filter(|answer| answer.leads(wire))
            .count()
    };
    let most = wires.iter().map(|wire| score(wire)).max().unwrap_or(0);
    let first = wires.iter().find(|wire| score(wire) == most);
    let others = wires.iter().filter(|wire| Some(*wire) != first);
    let others: Vec<String> = others
        .map(|wire| format!("{wire} in {}", score(wire)))
        .collect();
    let others = words::list(&others);
    half.headline = match first {
        _ if asked < FEWEST_QUESTIONS => {
            format!(
                "{side}: no recommendation, since only {asked} of {} questions could be judged.",
                QUESTIONS.len()
            )
        }
        Some(wire) if most * 2 > asked => {
            let ties = wires.iter().filter(|wire| score(wire) == most).count() > 1;
            let tie = if ties {
                "; of those with as many, it has the simplest client"
            } else {
                ""
            };
            half.wire = Some(wire);
            format!(
                "{side}: {wire}. It is the best, or not told apart from the best, in {most} of {asked} questions ({others}){tie}."
            )
        }
        Some(wire) => {
            format!(
                "{side}: no recommendation, since none is the best, or not told apart from the best, in more than half of the {asked} questions ({wire} in {most}, {others})."
            )
        }
        None => format!("{side}: nothing was measured."),
    };
    if let Some(wire) = half.wire {
        half.changes.extend(
            half.answers
                .iter()
                .filter_map(|answer| other_winner(answer, wire)),
        );
    }
    let (changes, open) = changes::changes(results, half.wire, wires);
    half.changes.extend(changes);
    half.open.extend(open);
}

/// What would be chosen if this question alone counted.
fn other_winner(answer: &Answer, wire: &str) -> Option<String> {
    let ours = answer.sample(wire)?;
    let ratio = ratio(&answer.best.sample, ours);
    let ratio = ratio.map_or_else(String::new, |ratio| {
        format!(", with {ratio} that of {wire}")
    });
    (!answer.leads(wire)).then(|| {
        format!(
            "If {} decides: {}{ratio}.",
            answer.title(),
            answer.best.wire
        )
    })
}

/// The transports that have no place in an answer that others have.
fn unjudged(answer: &Answer, wires: &[&str]) -> Option<String> {
    let absent = wires.iter().filter(|wire| answer.sample(wire).is_none());
    let absent: Vec<&str> = absent.copied().collect();
    (!absent.is_empty()).then(|| {
        format!(
            "Not judged in {}: {} (fewer than {} sound repetitions, or events left unsent).",
            answer.title(),
            words::list(&absent),
            stats::FEWEST
        )
    })
}

fn why_not(results: &Results, question: &Question) -> String {
    let scenario = question.scenario;
    match results.runs.iter().any(|run| run.scenario == scenario) {
        false => format!("{scenario} was not run"),
        true => format!(
            "fewer than two transports have {} sound repetitions of {scenario}",
            stats::FEWEST
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::planted::Planted;
    use super::super::planted::full;
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
        let why = "Not judged: speed, as fewer than two transports have 3 sound repetitions of throughput.";
        assert!(half.open.iter().any(|line| line == why), "{:#?}", half.open);

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
                .any(|line| line == "Not judged: speed, as throughput was not run."),
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
            "sse-http2, 1% loss, on 20 connections instead of 1: p99 0.40 x",
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
        assert_eq!(title, "memory of a waiting reader without kernel_bytes");
    }
}
