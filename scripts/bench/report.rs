//! Runs as Markdown tables: each figure is the median over the repetitions, with the least and the greatest.
//! A ratio is taken within one repetition, to the bare loop or to triwire, then the median of those.

pub mod ratios;

use serde_json::{Value, json};

use crate::cases::{Case, Kind};
use crate::measure::Figures;
use crate::server::Program;

/// One run of a case.
pub struct Run {
    pub case: &'static Case,
    pub program: Program,
    pub repetition: usize,
    pub outcome: Result<Figures, String>,
}

/// A title and what is under it.
type Table = (&'static str, &'static [Column]);

/// A column: its title, the figure, and what is shown of it.
struct Column(&'static str, &'static str, Show);

enum Show {
    Median,
    /// To the bare loop.
    Ratio,
    ToTriwire,
    /// Over all repetitions.
    Sum,
}

use Show::{Median, Ratio, Sum, ToTriwire};

const RATE: Table = (
    "Fixed rate",
    &[
        Column("CPU us/delivery", "cpu_us", Median),
        Column("x bare", "cpu_us", Ratio),
        Column("p50 ms", "p50_ms", Median),
        Column("p99 ms", "p99_ms", Median),
        Column("p99 x bare", "p99_ms", Ratio),
        Column("bytes/delivery", "bytes", Median),
        Column("client us/delivery", "client_us", Median),
        Column("lost", "lost", Sum),
        Column("doubled", "doubled", Sum),
        Column("reordered", "reordered", Sum),
    ],
);

const WINDOW: Table = (
    "As fast as it goes, 8 publishes outstanding",
    &[
        Column("deliveries/s", "deliveries_per_s", Median),
        Column("CPU us/delivery", "cpu_us", Median),
        Column("x bare", "cpu_us", Ratio),
        Column("events/read", "per_read", Median),
        Column("server cores", "server_cores", Median),
        Column("client cores", "client_cores", Median),
        Column("p50 ms", "p50_ms", Median),
        Column("p99 ms", "p99_ms", Median),
        Column("lost", "lost", Sum),
        Column("doubled", "doubled", Sum),
        Column("reordered", "reordered", Sum),
    ],
);

const IDLE: Table = (
    "Idle readers",
    &[
        Column("readers", "readers", Median),
        Column("MB before", "empty_mb", Median),
        Column("resident bytes/reader", "resident_bytes", Median),
        Column("x bare", "resident_bytes", Ratio),
    ],
);

const STORM: Table = (
    "All come back at once",
    &[
        Column("connections", "connections", Median),
        Column("s until all have a byte", "storm_s", Median),
        Column("x bare", "storm_s", Ratio),
        Column("CPU us/connection", "connect_us", Median),
        Column("CPU x bare", "connect_us", Ratio),
        Column("lost", "lost", Sum),
        Column("doubled", "doubled", Sum),
    ],
);

const STOPPED: Table = (
    "Half of the readers stopped; the bare loop drops what they do not take",
    &[
        Column("resident MB grown", "resident_mb", Median),
        Column("after resuming", "resident_resumed_mb", Median),
        Column("kernel MB grown", "kernel_mb", Median),
        Column("others' p50 ms", "p50_ms", Median),
        Column("others' p99 ms", "p99_ms", Median),
        Column("p99 x bare", "p99_ms", Ratio),
        Column("CPU us/delivery", "cpu_us", Median),
        Column("never published", "unsent", Sum),
        Column("others lost", "lost", Sum),
        Column("doubled", "doubled", Sum),
        Column("reordered", "reordered", Sum),
        Column("closed", "closed", Sum),
        Column("stopped: gap notices", "gaps", Sum),
        Column("events told missed", "stopped_told", Sum),
        Column("lost in silence", "stopped_lost", Sum),
    ],
);

/// All tables, one for each kind of load.
pub fn markdown(runs: &[Run]) -> String {
    let mut out = String::new();
    for title in [RATE.0, WINDOW.0, IDLE.0, STORM.0, STOPPED.0] {
        let of_table = |run: &&Run| table_of(run.case.kind).0 == title;
        let runs: Vec<&Run> = runs.iter().filter(of_table).collect();
        if let Some(first) = runs.first() {
            out += &format!(
                "\n## {title}\n\n{}",
                table(table_of(first.case.kind).1, &runs)
            );
        }
    }
    out
}

fn table_of(kind: Kind) -> Table {
    match kind {
        Kind::Rate(_) => RATE,
        Kind::Window => WINDOW,
        Kind::Idle => IDLE,
        Kind::Storm => STORM,
        Kind::Stopped => STOPPED,
    }
}

/// A run in one line: the figures that its table shows as medians.
pub fn line(run: &Run) -> String {
    let what = format!(
        "{} {} {}:",
        run.case.name,
        run.program.name(),
        run.repetition + 1
    );
    let figures = match &run.outcome {
        Err(error) => return format!("{what} {error}"),
        Ok(figures) => figures,
    };
    let columns = table_of(run.case.kind).1.iter();
    let shown = columns.filter(|column| matches!(column.2, Median));
    let shown = shown
        .filter_map(|column| Some(format!(" {} {}", short(*figures.get(column.1)?), column.0)));
    what + &shown.collect::<Vec<_>>().join(",")
}

fn table(columns: &[Column], runs: &[&Run]) -> String {
    let titles: Vec<&str> = columns.iter().map(|column| column.0).collect();
    let mut out = format!(
        "| case | server | {} |\n|---|---|{}\n",
        titles.join(" | "),
        "---:|".repeat(columns.len())
    );
    let mut rows: Vec<(&str, Program)> = Vec::new();
    for run in runs {
        if !rows.contains(&(run.case.name, run.program)) {
            rows.push((run.case.name, run.program));
        }
    }
    for (case, program) in rows {
        let of_case: Vec<&Run> = runs
            .iter()
            .copied()
            .filter(|run| run.case.name == case)
            .collect();
        let cells: Vec<String> = columns
            .iter()
            .map(|column| cell(column, &of_case, program))
            .collect();
        out += &format!("| {case} | {} | {} |\n", program.name(), cells.join(" | "));
    }
    out
}

fn cell(Column(_, name, show): &Column, runs: &[&Run], program: Program) -> String {
    let figure = |run: &Run| {
        run.outcome
            .as_ref()
            .ok()
            .and_then(|figures| figures.get(name))
            .copied()
    };
    let ratio = |run: &Run, to| Some(figure(run)? / figure(beside(run, runs, to)?)?);
    let own = runs.iter().filter(|run| run.program == program);
    let values: Vec<f64> = match show {
        Ratio => own.filter_map(|run| ratio(run, Program::is_bare)).collect(),
        ToTriwire => own
            .filter_map(|run| ratio(run, |to| to == Program::Triwire))
            .collect(),
        Median | Sum => own.filter_map(|run| figure(run)).collect(),
    };
    match show {
        Sum if !values.is_empty() => values.iter().sum::<f64>().to_string(),
        _ => spread(values),
    }
}

/// The run of another program, such as the bare loop, in the same repetition.
fn beside<'a>(run: &Run, runs: &[&'a Run], to: fn(Program) -> bool) -> Option<&'a Run> {
    let beside = |other: &&&Run| other.repetition == run.repetition && to(other.program);
    runs.iter().find(beside).copied()
}

/// `median (least-greatest)`, or the one value.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => "-".to_owned(),
        [one] => short(*one),
        [least, .., greatest] => format!(
            "{} ({}-{})",
            short(median(&values)),
            short(*least),
            short(*greatest)
        ),
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// Three digits that say something.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What is to be said against the figures.
pub fn warnings(runs: &[Run]) -> String {
    let outcomes = runs.iter().filter_map(|run| run.outcome.as_ref().ok());
    let others = outcomes.filter_map(|figures| figures.get("others_cores").copied());
    let most = others.fold(0.0, f64::max);
    if most < 0.2 {
        return String::new();
    }
    let most = short(most);
    format!(
        "\nOther programs used up to {most} cores meanwhile: compare the CPU ratios, not the latencies.\n"
    )
}

/// All samples, for other tools.
pub fn samples(runs: &[Run]) -> Value {
    let sample = |run: &Run| {
        let (figures, error) = match &run.outcome {
            Ok(figures) => (json!(figures), Value::Null),
            Err(error) => (Value::Null, json!(error)),
        };
        json!({
            "case": run.case.name,
            "server": run.program.name(),
            "repetition": run.repetition,
            "figures": figures,
            "error": error,
        })
    };
    runs.iter().map(sample).collect()
}
