//! Which figures are weak, and why: one line for each kind of weakness, so that they are read.

use super::places::Places;
use super::results::Results;
use super::results::Run;
use super::scenarios::Better;
use super::scenarios::Figure;
use super::scenarios::SCENARIOS;
use super::scenarios::Scenario;
use super::scenarios::scenario;
use super::series::Series;
use super::series::TRANSPORTS;
use super::stats;
use super::stats::Spread;
use super::words;

/// From this share of one processor on the load client, which has a single thread, is what is measured.
pub const SATURATED: f64 = 0.85;
/// Processors that others on the machine may take: a fifth of one is what a desktop takes at rest.
const OTHERS: f64 = 0.2;
/// Tasks running or waiting in the minute before, for each processor.
const LOAD: f64 = 0.25;
/// A spread wider than this share of the median leaves little of it.
const WIDE: f64 = 0.5;

/// A quantile, and the least deliveries and events that it needs in a run: ten deliveries must lie beyond it, and since
/// a pause of the server or of the machine delays all readers of an event alike, so must a whole event.
struct Quantile {
    title: &'static str,
    figures: &'static [&'static str],
    deliveries: f64,
    events: f64,
}

const QUANTILES: [Quantile; 3] = [
    Quantile {
        title: "p99",
        figures: &["p99_ms", "before_p99_ms"],
        deliveries: 1_000.0,
        events: 100.0,
    },
    Quantile {
        title: "p99.9",
        figures: &["p999_ms"],
        deliveries: 10_000.0,
        events: 1_000.0,
    },
    // All readers get the same event, and each is a sample of its own: five beyond it, in each repetition, will do.
    Quantile {
        title: "p99 of connecting",
        figures: &["first_event_p99_ms"],
        deliveries: 500.0,
        events: 0.0,
    },
];

/// What is said of runs, and of which.
type OfRuns = (&'static str, fn(&Run) -> bool);

const OF_RUNS: [OfRuns; 3] = [
    (
        "Events that were due were never sent, since the server did not take them in time (the rate is too high)",
        |run| figure(run, "unsent") > 0.0,
    ),
    (
        "The load client used 85 % of its processor or more, so times and speeds may be the client's",
        saturated,
    ),
    (
        "Others on the machine used more than 0.2 processors",
        |run| figure(run, "others_cores") > OTHERS,
    ),
];

/// Which figures are weak and why, a line each, the worst first.
pub fn warnings(results: &Results) -> Vec<String> {
    let series = Series::all(results);
    let mut lines = Vec::new();
    lines.extend(
        results
            .ended
            .iter()
            .map(|why| format!("It ended before all was done: {why}")),
    );
    lines.extend(errors(results));
    lines.extend(
        results
            .skipped
            .iter()
            .map(|what| format!("Left out: {what}")),
    );
    lines.extend(strangers(results));
    for (what, holds) in OF_RUNS {
        let places = Places::of(&series, |series| series.done().any(holds));
        lines.extend(line(what, &places, results));
    }
    lines.extend(load_before(results));
    lines.extend(others(results));
    lines.extend(reused(results));
    let few = Places::of(&series, |series| series.done().count() < stats::FEWEST);
    let what = "Fewer than 3 repetitions, so that nothing is told apart";
    lines.extend(line(what, &few, results));
    for quantile in QUANTILES {
        let places = Places::of(&series, |series| {
            let mut done = series.done();
            done.any(|run| too_few(series.scenario, run, &quantile))
        });
        lines.extend(line(&quantile.words(), &places, results));
    }
    lines.extend(wide(results, &series));
    lines.extend(missing(results, &series));
    if results.settings.quick {
        lines.push("Everything was kept short: a try, not a measurement".to_owned());
    }
    lines
}

/// Whom else the target served.
fn others(results: &Results) -> Option<String> {
    let words = match results.environment.others {
        0 => return None,
        1 => "one stream".to_owned(),
        many => format!("{many} streams"),
    };
    Some(format!(
        "The target served {words} of others when it began: its CPU and memory are not those of this load alone"
    ))
}

/// What a server that runs on has got, it keeps.
fn reused(results: &Results) -> Option<String> {
    let measured = |run: &Run| run.figures.contains_key("resident_bytes");
    let any = results.environment.target.is_some() && results.runs.iter().any(measured);
    any.then(|| {
        "The target keeps the memory of earlier readers for later ones: what resident grew by says little, and \
         nothing of which transport needs less"
            .to_owned()
    })
}

/// Whether the load client may be what a time or a speed of this run says.
pub fn saturated(run: &Run) -> bool {
    figure(run, "client_share") >= SATURATED
}

fn figure(run: &Run, name: &str) -> f64 {
    run.figures.get(name).copied().unwrap_or(0.0)
}

fn line(what: &str, places: &Places, results: &Results) -> Option<String> {
    (!places.is_empty()).then(|| format!("{what}: {}", places.words(results)))
}

/// The same mistake said once, with all places that it was made in.
fn errors(results: &Results) -> Vec<String> {
    let mut errors: Vec<(&str, Places)> = Vec::new();
    for run in &results.runs {
        let Some(error) = &run.error else { continue };
        let place = (&*run.scenario, &*run.variant, &*run.wire);
        match errors.iter_mut().find(|(known, _)| known == error) {
            Some((_, places)) => places.add(place.0, place.1, place.2),
            None => {
                let mut places = Places::default();
                places.add(place.0, place.1, place.2);
                errors.push((error, places));
            }
        }
    }
    let lines = errors
        .into_iter()
        .map(|(error, places)| format!("Not done to its end: {}: {error}", places.words(results)));
    lines.collect()
}

/// A later version's results may have what this one does not know.
fn strangers(results: &Results) -> Option<String> {
    let known = |run: &Run| {
        let wire = TRANSPORTS.iter().any(|(name, _)| *name == run.wire);
        wire && scenario(&run.scenario).is_some()
    };
    let count = results.runs.iter().filter(|run| !known(run)).count();
    (count > 0).then(|| {
        format!("{count} runs are of scenarios or transports that this version does not know, and are not shown")
    })
}

fn load_before(results: &Results) -> Option<String> {
    let load = results.environment.load_before;
    let cpus = results.environment.cpus.max(1);
    (load > LOAD * cpus as f64).then(|| {
        format!(
            "The machine was busy in the minute before: {} tasks running or waiting, on {cpus} processors",
            words::number(load)
        )
    })
}

impl Quantile {
    fn words(&self) -> String {
        let deliveries = words::number(self.deliveries);
        if self.events == 0.0 {
            return format!("{} needs {deliveries} readers, and had fewer", self.title);
        }
        let events = words::number(self.events);
        format!(
            "{} needs {deliveries} deliveries of {events} events in a run, and had fewer",
            self.title
        )
    }
}

fn too_few(scenario: &Scenario, run: &Run, quantile: &Quantile) -> bool {
    let mut shown = scenario.figures.iter().map(|figure| figure.name);
    let has = shown.any(|name| quantile.figures.contains(&name) && run.figures.contains_key(name));
    let fewer = |name: &str, least: f64| run.figures.get(name).is_some_and(|count| *count < least);
    has && (fewer("deliveries", quantile.deliveries) || fewer("events", quantile.events))
}

fn wide(results: &Results, series: &[Series]) -> Option<String> {
    let said = figures(results, series, |series, figure| {
        let spread = series.sample(figure.name).spread();
        let wide = |spread: Spread| spread.greatest - spread.least > WIDE * spread.median.abs();
        figure.better != Better::Neither && spread.is_some_and(wide)
    })?;
    Some(format!(
        "From least to greatest is more than half of the median: {said}"
    ))
}

fn missing(results: &Results, series: &[Series]) -> Option<String> {
    let said = figures(results, series, |series, figure| {
        let done = series.done().next().is_some();
        done && series.applies(figure.name) && series.sample(figure.name).is_empty()
    })?;
    let why = match results.environment.target {
        Some(_) => "Not measured (some can be only where the server is on this machine)",
        None => "Not measured",
    };
    Some(format!("{why}: {said}"))
}

/// The figures of which this holds: `p50 and p99 in fanout (all); kernel in idle (ws)`.
fn figures(
    results: &Results,
    series: &[Series],
    holds: impl Fn(&Series, &Figure) -> bool,
) -> Option<String> {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for scenario in &SCENARIOS {
        for figure in scenario.figures {
            let places = Places::of(series, |series| {
                series.scenario.name == scenario.name && holds(series, figure)
            });
            if places.is_empty() {
                continue;
            }
            let places = places.words(results);
            match said.iter_mut().find(|(known, _)| *known == places) {
                Some((_, titles)) => titles.push(figure.title),
                None => said.push((places, vec![figure.title])),
            }
        }
    }
    let said = said
        .iter()
        .map(|(places, titles)| format!("{} in {places}", words::list(titles)));
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::planted::Planted;
    use super::super::planted::full;
    use super::*;

    const P99: [f64; 3] = [10.0, 11.0, 12.0];

    /// Two transports in two scenarios, of which nothing is weak but what is left out.
    fn sound() -> Planted {
        Planted::new(3)
            .figure("resume", "ws", "", "back_ms", &P99)
            .figure("resume", "wss", "", "back_ms", &P99)
            .figure("idle", "ws", "", "resident_bytes", &P99)
            .figure("idle", "wss", "", "resident_bytes", &P99)
            .figure("idle", "ws", "", "kernel_bytes", &P99)
            .figure("idle", "wss", "", "kernel_bytes", &P99)
    }

    /// The one line that has these words.
    fn only(results: &Results, part: &str) -> String {
        let lines = warnings(results);
        let mut found = lines.iter().filter(|line| line.contains(part));
        let line = found
            .next()
            .unwrap_or_else(|| panic!("{part} in {lines:#?}"));
        assert_eq!(found.next(), None, "one line of it");
        line.clone()
    }

    #[test]
    fn nothing_is_said_of_sound_results() {
        assert_eq!(warnings(&full()), Vec::<String>::new());
    }

    #[test]
    fn what_a_run_had_against_it_is_said_once_with_its_places() {
        for (name, weak, sound_value, part) in [
            ("client_share", 0.85, 0.84, "load client used"),
            ("others_cores", 0.21, 0.2, "Others on the machine"),
            ("unsent", 1.0, 0.0, "never sent"),
        ] {
            let mut planted = sound();
            planted
                .run("resume", "ws", "", 1)
                .figures
                .insert(name.to_owned(), weak);
            planted
                .run("idle", "ws", "", 0)
                .figures
                .insert(name.to_owned(), weak);
            planted
                .run("idle", "wss", "", 2)
                .figures
                .insert(name.to_owned(), weak);
            planted
                .run("resume", "wss", "", 2)
                .figures
                .insert(name.to_owned(), sound_value);
            let line = only(&planted.results(), part);
            assert!(line.ends_with(": idle (all); resume (ws)"), "{line}");
        }
    }

    #[test]
    fn a_quantile_needs_deliveries_and_events() {
        for (figure, deliveries, events, weak) in [
            ("p99_ms", 1_000.0, 100.0, false),
            ("p99_ms", 999.0, 100.0, true),
            ("p99_ms", 100_000.0, 99.0, true),
            ("p999_ms", 10_000.0, 1_000.0, false),
            ("p999_ms", 9_999.0, 1_000.0, true),
            ("p999_ms", 1e9, 999.0, true),
            ("p50_ms", 10.0, 1.0, false),
        ] {
            let results = Planted::new(3)
                .figure("fanout", "ws", "", figure, &P99)
                .figure("fanout", "ws", "", "deliveries", &[1e9, deliveries, 1e9])
                .figure("fanout", "ws", "", "events", &[1e9, events, 1e9])
                .results();
            let found = warnings(&results)
                .iter()
                .any(|line| line.contains("and had fewer"));
            assert_eq!(found, weak, "{figure} of {deliveries} and {events}");
        }
        let results = Planted::new(3)
            .figure("connect", "ws", "", "first_event_p99_ms", &P99)
            .figure("connect", "ws", "", "deliveries", &[499.0; 3])
            .figure("connect", "ws", "", "events", &[1.0; 3])
            .results();
        only(
            &results,
            "p99 of connecting needs 500 readers, and had fewer: everything",
        );
    }

    #[test]
    fn few_repetitions_wide_spreads_and_a_busy_machine() {
        let two = sound()
            .figure("slow", "ws", "", "p99_ms", &[1.0, 1.1])
            .results();
        let line = only(&two, "Fewer than 3");
        assert!(line.ends_with(": slow (all)"), "{line}");

        let wide = sound()
            .figure("slow", "ws", "", "p99_ms", &[1.0, 1.1, 1.6])
            .results();
        let line = only(&wide, "more than half of the median");
        assert!(line.ends_with(": others' p99 in slow (all)"), "{line}");

        let mut busy = sound().results();
        busy.environment.load_before = 0.5;
        assert!(
            !warnings(&busy)
                .iter()
                .any(|line| line.contains("minute before"))
        );
        busy.environment.load_before = 0.6;
        only(&busy, "0.60 tasks running or waiting, on 2 processors");
    }

    #[test]
    fn what_was_not_done_is_said() {
        let mut results = sound().results();
        results
            .skipped
            .push("loss: this machine lets nobody delay packets".to_owned());
        results.ended = Some("it was interrupted".to_owned());
        results.settings.quick = true;
        for run in results
            .runs
            .iter_mut()
            .filter(|run| run.scenario == "resume")
        {
            run.error = Some("nobody came back".to_owned());
        }
        let mut later = results.runs[0].clone();
        later.scenario = "moonlight".to_owned();
        later.error = None;
        results.runs.push(later);
        only(&results, "It ended before all was done: it was interrupted");
        only(
            &results,
            "Left out: loss: this machine lets nobody delay packets",
        );
        only(
            &results,
            "Not done to its end: resume (all): nobody came back",
        );
        only(&results, "1 runs are of scenarios");
        only(&results, "Everything was kept short");
    }

    #[test]
    fn what_only_the_servers_machine_knows_is_missing_elsewhere() {
        let mut results = full();
        for run in &mut results.runs {
            run.figures.retain(|name, _| !name.starts_with("kernel_"));
        }
        results.environment.target = Some("https://push.example".to_owned());
        let line = only(&results, "Not measured (some can be");
        assert!(
            line.ends_with("kernel in idle (all); kernel grew in slow (all)"),
            "{line}"
        );
    }
}
