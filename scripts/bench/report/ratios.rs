//! All servers in one table: a row for each wire and server, and what the cases of that wire say of it. Ratios are to
//! triwire in the same repetition: the bare loop, which the other tables compare with, keeps next to nothing for a
//! reader. Memory that grows is no ratio, since it should not.

use super::Show::{Median, Sum, ToTriwire};
use super::{Column, Run, cell};

/// A figure, and the kind of case that has it.
const COLUMNS: [(&str, Column); 8] = [
    ("rate", Column("CPU/delivery", "cpu_us", ToTriwire)),
    ("rate", Column("p99", "p99_ms", ToTriwire)),
    ("rate", Column("bytes/delivery", "bytes", ToTriwire)),
    ("idle", Column("idle memory", "resident_bytes", ToTriwire)),
    (
        "stopped",
        Column("stopped: MB grown", "resident_mb", Median),
    ),
    (
        "stopped",
        Column("after resuming", "resident_resumed_mb", Median),
    ),
    ("stopped", Column("never published", "unsent", Sum)),
    ("stopped", Column("others lost", "lost", Sum)),
];

/// The table, with its title.
pub fn table(runs: &[Run]) -> String {
    let titles = COLUMNS.map(|(_, column)| column.0);
    let mut out = format!(
        "\n## The peers, x triwire\n\n| wire | server | {} |\n|---|---|{}\n",
        titles.join(" | "),
        "---:|".repeat(COLUMNS.len())
    );
    let mut rows = Vec::new();
    for run in runs {
        let row = (wire(run).1, run.program);
        let shown = COLUMNS.iter().any(|(kind, _)| *kind == wire(run).0);
        if shown && !rows.contains(&row) {
            rows.push(row);
        }
    }
    // What is said of a wire stands together; the order of the servers stays.
    let mut wires: Vec<&str> = rows.iter().map(|row| row.0).collect();
    wires.dedup();
    rows.sort_by_key(|row| wires.iter().position(|wire| *wire == row.0));
    for (name, program) in rows {
        let cells = COLUMNS.iter().map(|(kind, column)| {
            let of_case = runs.iter().filter(|run| wire(run) == (*kind, name));
            cell(column, &of_case.collect::<Vec<_>>(), program)
        });
        let cells: Vec<String> = cells.collect();
        out += &format!("| {name} | {} | {} |\n", program.name(), cells.join(" | "));
    }
    out
}

/// A case's name in two: the kind, and the wire with all that sets it apart.
fn wire(run: &Run) -> (&'static str, &'static str) {
    run.case.name.split_once('-').unwrap_or((run.case.name, ""))
}
