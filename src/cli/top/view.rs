//! What `top` shows: the latest figures, and how fast they grow.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::News;
use crate::client::{Failure, Fault};

/// The stats object, as far as it is shown.
#[derive(Deserialize)]
struct Stats {
    server: String,
    version: String,
    uptime_s: f64,
    wires: Map<String, Value>,
    listeners: Map<String, Value>,
    log: Map<String, Value>,
    process: Map<String, Value>,
}

#[derive(Default)]
pub(super) struct View {
    now: Option<Stats>,
    /// What was before, to tell rates from.
    before: Option<Stats>,
    /// Why there is nothing new.
    words: String,
}

/// A column: its head, and what is in it.
struct Column {
    head: &'static str,
    key: &'static str,
    is_rate: bool,
    is_bytes: bool,
}

/// Between columns, and the width of the first.
const GAP: u16 = 2;
const NAME: u16 = 15;

const fn column(head: &'static str, key: &'static str, is_rate: bool, is_bytes: bool) -> Column {
    Column {
        head,
        key,
        is_rate,
        is_bytes,
    }
}

const WIRES: [Column; 6] = [
    column("connections", "connections", false, false),
    column("streams", "streams", false, false),
    column("events/s", "events_sent", true, false),
    column("bytes/s", "bytes_sent", true, true),
    column("gaps", "gaps", false, false),
    column("streams ever", "streams_total", false, false),
];

const LISTENERS: [Column; 6] = [
    column("connections", "connections", false, false),
    column("new/s", "connections_total", true, false),
    column("in B/s", "bytes_in", true, true),
    column("out B/s", "bytes_out", true, true),
    column("stalled", "stalled_total", false, false),
    column("ever", "connections_total", false, false),
];

impl View {
    pub(super) fn has_figures(&self) -> bool {
        self.now.is_some()
    }

    pub(super) fn take(&mut self, news: News) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Event {
            data: Stats,
        }
        match news {
            News::Words(words) => self.words = words,
            News::Over(failure) => return Err(failure),
            News::Stats(json) => {
                let event: Event = serde_json::from_str(&json).map_err(|error| {
                    Failure::new(
                        Fault::Foreign,
                        format!("$stats is not as expected: {error}"),
                    )
                })?;
                // A server that began anew has nothing to do with what was before.
                let last = self.now.take();
                self.before = last.filter(|last| last.uptime_s <= event.data.uptime_s);
                self.now = Some(event.data);
                self.words.clear();
            }
        }
        Ok(())
    }

    pub(super) fn draw(&self, frame: &mut Frame) {
        let Some(now) = &self.now else {
            return;
        };
        let rows = |map: &Map<String, Value>| map.len() as u16 + 2;
        let [head, log, wires, listeners, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(2),
            Constraint::Length(rows(&now.wires)),
            Constraint::Length(rows(&now.listeners)),
            Constraint::Min(1),
        ])
        .areas(frame.area());
        let uptime = duration(now.uptime_s as u64);
        let title = format!("{}, triwire {}, up {uptime}", now.server, now.version);
        frame.render_widget(Line::from(title).bold(), head);
        frame.render_widget(Line::from(self.log_in_words(now)), log);
        let before = |of: fn(&Stats) -> &Map<String, Value>| self.before.as_ref().map(of);
        let (seconds, room) = (self.seconds(), frame.area().width);
        let old = before(|stats| &stats.wires);
        let by_wire = table("wire", &WIRES, &now.wires, old, seconds, room);
        frame.render_widget(by_wire, wires);
        let old = before(|stats| &stats.listeners);
        let by_listener = table("listener", &LISTENERS, &now.listeners, old, seconds, room);
        frame.render_widget(by_listener, listeners);
        let line = match self.words.as_str() {
            "" => Line::from("q ends it").dim(),
            words => Line::from(words).reversed(),
        };
        let wrapped = Paragraph::new(line).wrap(Wrap { trim: true });
        frame.render_widget(wrapped, foot);
    }

    /// Between the two.
    fn seconds(&self) -> f64 {
        match (&self.before, &self.now) {
            (Some(before), Some(now)) => now.uptime_s - before.uptime_s,
            _ => 0.0,
        }
    }

    fn log_in_words(&self, now: &Stats) -> String {
        let cpu = |stats: &Stats| stats.process.get("cpu_seconds").and_then(Value::as_f64);
        let busy = match self.before.as_ref().and_then(cpu).zip(cpu(now)) {
            Some((before, now)) if self.seconds() > 0.0 => {
                format!("{:.0} %", (now - before) / self.seconds() * 100.0)
            }
            _ => "-".to_owned(),
        };
        format!(
            "log {} events, {} on {} topics · CPU {busy} of a core · {} resident · {} descriptors",
            number(&now.log, "events"),
            bytes(number(&now.log, "bytes")),
            number(&now.log, "topics"),
            bytes(number(&now.process, "rss_bytes")),
            number(&now.process, "open_fds"),
        )
    }
}

/// A table of as many columns as there is room for.
fn table<'a>(
    name: &'a str,
    columns: &'static [Column],
    now: &'a Map<String, Value>,
    before: Option<&'a Map<String, Value>>,
    seconds: f64,
    room: u16,
) -> Table<'a> {
    let mut left = room.saturating_sub(NAME);
    let fitting = columns.iter().take_while(|column| {
        let fits = left >= column.width() + GAP;
        left = left.saturating_sub(column.width() + GAP);
        fits
    });
    let columns = &columns[..fitting.count()];
    let head = columns.iter().map(|column| right(column.head.to_owned()));
    let head = Row::new(std::iter::once(Cell::from(name)).chain(head));
    let rows = now.iter().map(|(row, counts)| {
        let old = before.and_then(|before| before.get(row));
        let cells = columns
            .iter()
            .map(|column| right(column.cell(counts, old, seconds)));
        let is_used = ["streams", "connections"]
            .iter()
            .any(|key| counts[key].as_u64().unwrap_or(0) > 0);
        let row = Row::new(std::iter::once(Cell::from(row.as_str())).chain(cells));
        if is_used { row } else { row.dim() }
    });
    let widths = columns
        .iter()
        .map(|column| Constraint::Length(column.width()));
    let widths = std::iter::once(Constraint::Length(NAME)).chain(widths);
    let style = Style::new().add_modifier(Modifier::UNDERLINED);
    Table::new(rows, widths)
        .header(head.style(style))
        .column_spacing(GAP)
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

impl Column {
    fn width(&self) -> u16 {
        self.head.len().max(8) as u16
    }

    fn cell(&self, counts: &Value, old: Option<&Value>, seconds: f64) -> String {
        let Some(count) = counts[self.key].as_u64() else {
            return "-".to_owned();
        };
        let old = old.and_then(|old| old[self.key].as_u64());
        let value = match (self.is_rate, old) {
            (false, _) => count,
            (true, Some(old)) if seconds > 0.0 => {
                (count.saturating_sub(old) as f64 / seconds).round() as u64
            }
            (true, _) => return "-".to_owned(),
        };
        match self.is_bytes {
            true => bytes(value),
            false => value.to_string(),
        }
    }
}

fn number(map: &Map<String, Value>, key: &str) -> u64 {
    map.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// 950 B, 1.2 kB, 34 MB: sums whose last digits nobody reads.
fn bytes(value: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = value as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 9.95);
    format!("{value:.digits$} {}", units[unit])
}

/// 3 d 4 h, 12 min 5 s: the two largest units.
fn duration(seconds: u64) -> String {
    let parts = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut left = Duration::from_secs(seconds).as_secs();
    let mut words = Vec::new();
    for (size, name) in parts {
        if left >= size || (size == 1 && words.is_empty()) {
            words.push(format!("{} {name}", left / size));
            left %= size;
        }
    }
    words.truncate(2);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_times() {
        let sums = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_960, "10 kB"),
            (12_345_678, "12 MB"),
        ];
        for (value, want) in sums {
            assert_eq!(bytes(value), want);
        }
        for (seconds, want) in [
            (0, "0 s"),
            (65, "1 min 5 s"),
            (3_600, "1 h"),
            (90_061, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), want);
        }
    }
}
