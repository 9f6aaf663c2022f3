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
    let mut unanswered = Vec::new();
    for question in QUESTIONS {
        match question.ask(results, "", wires) {
            Some(answer) => {
                half.open.extend(unjudged(&answer, wires));
                half.answers.push(answer);
            }
            None => unanswered.push(question),
        }
    }
    half.open.extend(why_not(results, &unanswered));
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
    if results.settings.quick {
        let words = "All of this is from runs that were kept short (--quick): repeat it in full before relying on it.";
        half.open.push(words.to_owned());
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

/// A sentence for each reason.
fn why_not(results: &Results, unanswered: &[Question]) -> Vec<String> {
    let run = |question: &&Question| {
        results
            .runs
            .iter()
            .any(|run| run.scenario == question.scenario)
    };
    let (weak, absent): (Vec<&Question>, Vec<&Question>) = unanswered.iter().partition(run);
    let few = format!(
        "fewer than two transports have {} sound repetitions of it",
        stats::FEWEST
    );
    let reasons = [(absent, "its scenario was not run"), (weak, &*few)];
    let reasons = reasons
        .into_iter()
        .filter(|(questions, _)| !questions.is_empty());
    let sentences = reasons.map(|(questions, why)| {
        let titles: Vec<&str> = questions.iter().map(|question| question.title).collect();
        format!("Not judged, as {why}: {}.", words::list(&titles))
    });
    sentences.collect()
}

#[cfg(test)]
mod tests;
