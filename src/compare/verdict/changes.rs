//! When the answer would be another: many streams on a connection or one, many rows in an event, a bad network, readers
//! that stop reading.

use super::super::question::Answer;
use super::super::question::Question;
use super::super::question::ratio;
use super::super::results::Results;
use super::super::series::Series;
use super::super::series::link;
use super::super::series::variants;
use super::super::stats;
use super::super::words;
use super::question;

const STREAMS_CPU: Question = question(
    "CPU of the server with one stream on each connection",
    "streams",
    &["cpu_us"],
    "us/delivery",
    false,
);
const ROW_CPU: Question = question(
    "CPU of the server",
    "batch",
    &["row_cpu_us"],
    "us/1,000 rows",
    false,
);
const SLOW_P99: Question = question(
    "p99 of the others while some stop reading",
    "slow",
    &["p99_ms"],
    "ms",
    true,
);
const SLOW_MEMORY: Question = question(
    "memory that grew while some stopped reading",
    "slow",
    &["resident_mb", "kernel_mb"],
    "MB",
    false,
);
const LOSS_P99: Question = question("p99", "loss", &["p99_ms"], "ms", true);

/// What would change the answer, and what cannot be said of it; a sentence each.
pub fn changes(
    results: &Results,
    chosen: Option<&str>,
    wires: &[&'static str],
) -> (Vec<String>, Vec<String>) {
    let found: [(&str, Vec<String>); 4] = [
        ("streams", streams(results, wires)),
        ("batch", batch(results, wires)),
        ("loss", loss(results, chosen, wires)),
        ("slow", slow(results, wires)),
    ];
    let run = |name: &str| results.runs.iter().any(|run| run.scenario == name);
    let names = found.iter().map(|(name, _)| *name);
    let absent: Vec<&str> = names.clone().filter(|name| !run(name)).collect();
    let silent = found
        .iter()
        .filter(|(name, said)| run(name) && said.is_empty());
    let silent: Vec<&str> = silent.map(|(name, _)| *name).collect();
    let mut open = Vec::new();
    if !absent.is_empty() {
        let absent = words::list(&absent);
        open.push(format!(
            "Not known, as it was not run: what {absent} would change."
        ));
    }
    if !silent.is_empty() {
        let silent = words::list(&silent);
        open.push(format!(
            "Nothing can be said of {silent}: too few sound runs."
        ));
    }
    (found.into_iter().flat_map(|(_, said)| said).collect(), open)
}

/// What sharing connections does to the transports that can, and where all stand when nothing is shared.
fn streams(results: &Results, wires: &[&'static str]) -> Vec<String> {
    let mut said = Vec::new();
    for wire in wires {
        let mut found = variants(results, "streams").into_iter();
        let mut found = found
            .by_ref()
            .filter_map(|variant| Series::of(results, "streams", variant, wire));
        let (Some(one), Some(many)) = (found.next(), found.last()) else {
            continue;
        };
        let changed = [
            ("server CPU", "cpu_us"),
            ("resident memory", "resident_bytes"),
        ];
        let changed = changed.into_iter();
        let changed = changed.filter_map(|(title, figure)| effect(title, &one, &many, figure));
        let changed: Vec<String> = changed.collect();
        if changed.is_empty() {
            continue;
        }
        said.push(format!(
            "{wire} with {} streams on each connection instead of {}: {}.",
            many.variant,
            one.variant,
            changed.join("; ")
        ));
    }
    said.extend(STREAMS_CPU.ask(results, "1", wires).as_ref().map(sentence));
    said
}

/// From how many rows on it does not matter which transport carries them.
fn batch(results: &Results, wires: &[&'static str]) -> Vec<String> {
    let answers = variants(results, "batch").into_iter();
    let answers: Vec<(&str, Answer)> = answers
        .filter_map(|variant| Some((variant, ROW_CPU.ask(results, variant, wires)?)))
        .collect();
    let (Some((least, first)), Some((most, last))) = (answers.first(), answers.last()) else {
        return Vec::new();
    };
    let differ = answers
        .iter()
        .rposition(|(_, answer)| !answer.worse.is_empty());
    let said =
        |rows: &str, answer: &Answer| format!("Rows in an event, {rows}: {}.", answer.words());
    match differ.map(|index| answers.get(index + 1)) {
        None => vec![format!(
            "From {least} to {most} rows in an event the transports are not told apart in CPU of the server."
        )],
        Some(None) => vec![said(least, first), said(most, last)],
        Some(Some((same, _))) => vec![
            said(least, first),
            format!(
                "From {same} rows in an event on, the transports are not told apart in CPU of the server."
            ),
        ],
    }
}

/// What many connections do where packets are lost, and where the chosen one is behind.
fn loss(results: &Results, chosen: Option<&str>, wires: &[&'static str]) -> Vec<String> {
    let all = variants(results, "loss");
    let mut links = Vec::new();
    for (link, _) in all.iter().map(|variant| link(variant)) {
        if !links.contains(&link) {
            links.push(link);
        }
    }
    let mut said = Vec::new();
    for wire in wires {
        for link_name in &links {
            let ours = all.iter().filter(|variant| link(variant).0 == *link_name);
            let mut series: Vec<Series> = ours
                .filter_map(|variant| Series::of(results, "loss", variant, wire))
                .collect();
            series.sort_by_key(|series| link(series.variant).1);
            if let [few, .., many] = &series[..] {
                let Some(changed) = effect("p99", few, many, "p99_ms") else {
                    continue;
                };
                let [few, many] = [few, many].map(|series| link(series.variant).1);
                said.push(format!(
                    "{wire} at {link_name}, on {many} connections instead of {few}: {changed}."
                ));
            }
        }
    }
    for variant in &all {
        let answer = LOSS_P99.ask(results, variant, wires);
        let behind = |answer: &Answer| {
            chosen.is_some_and(|wire| answer.sample(wire).is_some() && !answer.leads(wire))
        };
        said.extend(
            answer
                .filter(behind)
                .map(|answer| format!("{variant}: {}.", answer.words())),
        );
    }
    said
}

fn slow(results: &Results, wires: &[&'static str]) -> Vec<String> {
    let answers = [SLOW_P99, SLOW_MEMORY].map(|question| question.ask(results, "", wires));
    answers.iter().flatten().map(sentence).collect()
}

fn sentence(answer: &Answer) -> String {
    format!("{}.", words::sentence(&answer.words()))
}

/// `server CPU 0.09 x (0.08-0.10)`: what it is then of what it was before. None with too few repetitions to say.
fn effect(title: &str, before: &Series, then: &Series, figure: &str) -> Option<String> {
    let (before, then) = (before.sample(figure), then.sample(figure));
    if before.len().min(then.len()) < stats::FEWEST {
        return None;
    }
    match ratio(&then, &before) {
        Some(ratio) if then.differs(&before) => Some(format!("{title} {ratio}")),
        _ => Some(format!("{title} is not told apart")),
    }
}
