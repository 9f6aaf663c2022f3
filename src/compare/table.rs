//! The results as text: a table for each scenario, what went wrong, what is weak, the verdict, and where it was
//! measured.

use super::places::Places;
use super::results::Faults;
use super::results::Results;
use super::scenarios::SCENARIOS;
use super::scenarios::Scenario;
use super::series::Series;
use super::series::variants;
use super::series::{Agreement, agreement};
use super::verdict::verdict;
use super::warnings::warnings;
use super::words;

/// Columns that everything fits in, where nobody has fewer.
pub const WIDTH: usize = 110;
const BETWEEN: usize = 2;

/// A scenario's figures: a row for each variant and transport, a column for each figure.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it shows.
    pub scenario: &'static Scenario,
    /// The title and the unit of each column; the first ones name the row.
    pub head: Vec<(String, String)>,
    /// How many columns name the row.
    pub names: usize,
    /// As many cells as the head has.
    pub rows: Vec<Vec<String>>,
}

/// All of it, in lines of at most `width`, with a line break at the end.
pub fn text(results: &Results, width: usize) -> String {
    let mut text = String::new();
    for table in tables(results) {
        text += &format!("{} ({})\n", table.scenario.title, table.scenario.name);
        text += &wrapped(table.scenario.about, "", width);
        text += &format!("\n{}\n", table.text(width));
    }
    text += &wrapped(&faults(results), "", width);
    for (title, lines) in [
        ("Weak figures", warnings(results)),
        ("Verdict", verdict(results).lines()),
        ("Measured", environment(results)),
    ] {
        if !lines.is_empty() {
            text += &format!("\n{title}\n");
            text.extend(lines.iter().map(|line| wrapped(line, "  ", width)));
        }
    }
    text
}

/// What an earlier result says of this one, in lines of at most `width`, with a line break at the end.
pub fn against(name: &str, ours: &Results, earlier: &Results, width: usize) -> String {
    let Agreement {
        compared,
        moved,
        contrary,
    } = agreement(ours, earlier);
    let mut lines = Vec::new();
    let other = differences(ours, earlier);
    if !other.is_empty() {
        lines.push(format!(
            "They are not of the same thing: {} differ.",
            words::list(&other)
        ));
    }
    lines.push(match (compared, moved.len()) {
        (0, _) => format!("No figure of {name} has enough repetitions in both to be held against."),
        (_, 0) => format!("{compared} figures agree with those of {name} within their spread."),
        (_, few) => format!(
            "{few} of {compared} figures differ from those of {name} by more than their spread: {}.",
            moved.join("; ")
        ),
    });
    if compared > 0 {
        lines.push(match &contrary[..] {
            [] => "No two transports have changed places.".to_owned(),
            contrary => format!("These have changed places: {}.", contrary.join("; ")),
        });
    }
    let lines: String = lines
        .iter()
        .map(|line| wrapped(line, "  ", width))
        .collect();
    format!("\nAgainst an earlier result\n{lines}")
}

/// What two comparisons were not both of.
fn differences(ours: &Results, earlier: &Results) -> Vec<&'static str> {
    let (a, b) = (&ours.settings, &earlier.settings);
    let (here, there) = (&ours.environment, &earlier.environment);
    let all = [
        ("readers", a.readers == b.readers),
        ("streams on a connection", a.streams == b.streams),
        ("rate", a.rate == b.rate),
        ("payload", a.payload == b.payload),
        ("quick", a.quick == b.quick),
        ("version of the server", here.server == there.server),
        ("target", here.target == there.target),
        ("kernel", here.kernel == there.kernel),
        (
            "processor",
            (&here.cpu, here.cpus) == (&there.cpu, there.cpus),
        ),
    ];
    let different = all.into_iter().filter(|(_, same)| !same);
    different.map(|(name, _)| name).collect()
}

/// A table for each scenario that has runs.
pub fn tables(results: &Results) -> Vec<Table> {
    let all = SCENARIOS.iter();
    let tables = all.map(|scenario| Table::of(results, scenario));
    tables.filter(|table| !table.rows.is_empty()).collect()
}

/// What went wrong with events, in a sentence; also when it is nothing.
pub fn faults(results: &Results) -> String {
    let delivered = results
        .runs
        .iter()
        .filter_map(|run| run.figures.get("deliveries"));
    let delivered: f64 = delivered.filter(|count| count.is_finite()).sum();
    let none = delivered == 0.0;
    let delivered = format!("{} deliveries", words::grouped(delivered as i64));
    let series = Series::all(results);
    let mut kinds: Vec<(Faults, Places)> = Vec::new();
    for series in series.iter().filter(|series| !series.faults().is_none()) {
        let mut places = Places::default();
        places.add(series.scenario.name, series.variant, series.wire);
        kinds.push((series.faults(), places));
    }
    if kinds.is_empty() && none {
        return "No event was delivered.".to_owned();
    }
    if kinds.is_empty() {
        return format!("Nothing was lost, doubled, reordered or late in {delivered}.");
    }
    let kinds = kinds
        .iter()
        .map(|(faults, places)| format!("{} in {}", words::faults(*faults), places.words(results)));
    let kinds: Vec<String> = kinds.collect();
    format!(
        "FAULTS in {delivered}: {}; none elsewhere.",
        kinds.join("; ")
    )
}

/// Where and with what it was measured, and what was asked for.
pub fn environment(results: &Results) -> Vec<String> {
    let (place, asked) = (&results.environment, &results.settings);
    let server = match &place.target {
        Some(target) => format!("server {} at {target}", place.server),
        None => format!("server {}", place.server),
    };
    let count = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!(
            "{} {one}s",
            words::grouped(i64::try_from(count).unwrap_or(i64::MAX))
        ),
    };
    let gib = place.memory as f64 / f64::from(1 << 30);
    vec![
        format!(
            "triwire {}, {server}, from {}: {}",
            place.client, place.began, place.command
        ),
        format!(
            "{}; {} x {}; {} GiB; {}; load before {}",
            place.kernel,
            place.cpus,
            place.cpu,
            words::number(gib),
            place.pinned,
            words::number(place.load_before)
        ),
        format!(
            "{}, {}, {} on a connection of HTTP/2, {} events/s of {} bytes, late after {} s{}",
            count(asked.repetitions, "repetition"),
            count(asked.readers, "reader"),
            count(asked.streams, "stream"),
            asked.rate,
            words::number(asked.payload as f64),
            asked.late_s,
            if asked.quick { "; quick" } else { "" }
        ),
    ]
}

impl Table {
    fn of(results: &Results, scenario: &'static Scenario) -> Table {
        let mut head = vec![("wire".to_owned(), String::new())];
        if !scenario.varies.is_empty() {
            head.insert(0, (scenario.varies.to_owned(), String::new()));
        }
        let names = head.len();
        let columns = scenario.figures.iter();
        head.extend(columns.map(|figure| (figure.title.to_owned(), figure.unit.to_owned())));
        let series = variants(results, scenario.name)
            .into_iter()
            .flat_map(|variant| {
                let wires = super::series::transports(results).into_iter();
                wires.filter_map(move |(wire, _)| Series::of(results, scenario.name, variant, wire))
            });
        let rows = series.map(|series| {
            let mut row = vec![series.wire.to_owned()];
            if names > 1 {
                row.insert(0, series.variant.to_owned());
            }
            let figures = scenario.figures.iter();
            row.extend(figures.map(|figure| words::spread(series.sample(figure.name).spread())));
            row
        });
        Table {
            scenario,
            head,
            names,
            rows: rows.collect(),
        }
    }

    /// Aligned; under each other what does not fit side by side, with the rows named again.
    fn text(&self, most: usize) -> String {
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| self.width(column))
            .collect();
        let named: usize = widths[..self.names]
            .iter()
            .map(|width| width + BETWEEN)
            .sum();
        let figures: Vec<usize> = (self.names..self.head.len()).collect();
        // The fewest blocks that fit, all about as wide: a last block of a single column looks forgotten.
        let fits = |block: &[usize]| {
            let wide: usize = block.iter().map(|column| widths[*column] + BETWEEN).sum();
            named + wide - BETWEEN <= most
        };
        let sizes = (1..=figures.len()).rev();
        let mut sizes = sizes.filter(|size| figures.chunks(*size).all(fits));
        let blocks = figures.len().div_ceil(sizes.next().unwrap_or(1));
        let even = figures.len().div_ceil(blocks);
        let blocks = figures.chunks(even).map(|block| self.block(block, &widths));
        blocks.collect::<Vec<_>>().join("\n")
    }

    fn width(&self, column: usize) -> usize {
        let (title, unit) = &self.head[column];
        let cells = self.rows.iter().map(|row| &row[column]);
        let all = cells.chain([title, unit]);
        all.map(|text| text.chars().count()).max().unwrap_or(0)
    }

    fn block(&self, figures: &[usize], widths: &[usize]) -> String {
        let columns: Vec<usize> = (0..self.names).chain(figures.iter().copied()).collect();
        let row = |cell: &dyn Fn(usize) -> String| {
            let cells = columns.iter().map(|column| {
                let width = widths[*column];
                let cell = cell(*column);
                if *column < self.names {
                    format!("{cell:width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(BETWEEN));
            format!("{}\n", line.trim_end())
        };
        let mut text = row(&|column| self.head[column].0.clone());
        text += &row(&|column| self.head[column].1.clone());
        text.extend(
            self.rows
                .iter()
                .map(|cells| row(&|column| cells[column].clone())),
        );
        text
    }
}

/// Broken between words so that it fits, each line indented, those after the first by two more than the text is.
fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let own = text.len() - text.trim_start().len();
    let first = format!("{indent}{}", " ".repeat(own));
    let mut lines = vec![first.clone()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        let length = line.chars().count() + 1 + word.chars().count();
        match line.trim().is_empty() {
            true => line.push_str(word),
            false if length <= width => *line += &format!(" {word}"),
            false => lines.push(format!("{first}  {word}")),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::planted::Planted;
    use super::super::planted::full;
    use super::*;

    #[test]
    fn a_table_is_aligned_and_shows_the_spread() {
        let results = Planted::new(3)
            .figure(
                "idle",
                "wss",
                "",
                "resident_bytes",
                &[9_318.0, 9_300.0, 9_400.0],
            )
            .figure("idle", "sse-http1", "", "resident_bytes", &[1_229.0; 3])
            .figure(
                "idle",
                "sse-http1",
                "",
                "kernel_bytes",
                &[45.2, 44.0, f64::NAN],
            )
            .results();
        let [table] = &tables(&results)[..] else {
            panic!("one table")
        };
        let expected = "\
wire                  resident            kernel
                      B/reader          B/reader
wss        9,318 (9,300-9,400)                 -
sse-http1                1,229  44.6 (44.0-45.2)
";
        assert_eq!(table.text(WIDTH), expected);
    }

    #[test]
    fn everything_fits_and_nothing_is_no_number() {
        let mut results = full();
        for run in results.runs.iter_mut().step_by(3) {
            run.figures.insert("p99_ms".to_owned(), f64::NAN);
        }
        let text = text(&results, WIDTH);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        for scenario in &SCENARIOS {
            assert!(text.contains(&format!("{} ({})\n", scenario.title, scenario.name)));
        }
        assert!(text.matches("sse-http2").count() > 20);
    }

    #[test]
    fn faults_are_said_with_their_places_and_so_is_their_absence() {
        let mut results = full();
        let none = faults(&results);
        assert!(
            none.starts_with("Nothing was lost, doubled, reordered or late in "),
            "{none}"
        );
        assert!(none.ends_with(" deliveries."), "{none}");
        let ws = results
            .runs
            .iter_mut()
            .filter(|run| run.wire == "ws" && run.scenario == "resume");
        for run in ws.take(2) {
            run.faults.lost = 3;
        }
        let some = faults(&results);
        assert!(
            some.ends_with(" deliveries: 6 lost in resume (ws); none elsewhere."),
            "{some}"
        );
        assert!(some.starts_with("FAULTS in "), "{some}");
    }

    #[test]
    fn results_without_a_run_are_said_to_have_none() {
        let text = text(&Results::default(), WIDTH);
        assert!(text.contains("Over TLS: nothing was measured."), "{text}");
        assert!(text.starts_with("No event was delivered."), "{text}");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let long = format!("  {}", ["word"; 40].join(" "));
        let lines = wrapped(&long, "  ", WIDTH);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("    word") && lines[1].starts_with("      word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
    }
}
