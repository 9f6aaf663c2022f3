//! A result as a table on a terminal, drawn over what was there before. When it ends, the last one stays to be read.

use std::collections::VecDeque;
use std::io::{self, Write, stdout};
use std::time::Instant;

use ratatui::crossterm::terminal;
use ratatui::text::Span;
use serde_json::Value;

use super::update::{self, Kind, Update};
use crate::cli::tame;
use crate::client::Failure;

/// More than any terminal shows.
const ROWS: usize = 1_000;
/// Between columns.
const GAP: usize = 2;
/// Lines that are no rows: how things stand, the head, the rest, and the cursor's own.
const FRAME: usize = 4;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// What is shown.
pub(super) struct Table {
    is_rows: bool,
    columns: Vec<String>,
    /// The first on top.
    rows: VecDeque<Vec<Cell>>,
    /// All that there are, or came.
    count: usize,
    updates: u64,
    at: Option<Instant>,
    /// Why there is nothing new.
    words: String,
    /// Lines that were drawn, and the size of the terminal then.
    drawn: usize,
    size: (u16, u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    text: String,
    is_number: bool,
}

impl Cell {
    fn new(value: &Value) -> Cell {
        let text = match value {
            Value::String(text) => tame(text),
            Value::Null => "NULL".to_owned(),
            other => tame(&other.to_string()),
        };
        Cell {
            text,
            is_number: value.is_number(),
        }
    }
}

impl Table {
    pub(super) fn new(is_rows: bool) -> Table {
        Table {
            is_rows,
            columns: Vec::new(),
            rows: VecDeque::new(),
            count: 0,
            updates: 0,
            at: None,
            words: String::new(),
            drawn: 0,
            size: (0, 0),
        }
    }

    /// Takes what came; how many results, or rows, that were, is the result.
    pub(super) fn take(&mut self, update: &Update) -> Result<u64, Failure> {
        let rows = match update::parse(update.result.get())? {
            Value::Array(rows) => rows,
            value => vec![value],
        };
        self.words.clear();
        self.at = Some(Instant::now());
        self.updates += 1;
        let news = match self.is_rows {
            true => rows.len() as u64,
            false => 1,
        };
        match update.kind {
            Kind::Whole => {
                self.rows.clear();
                self.count = rows.len();
                // Rows by themselves come oldest first, and the newest are shown on top.
                let shown: Vec<&Value> = match self.is_rows {
                    true => rows.iter().rev().take(ROWS).collect(),
                    false => rows.iter().take(ROWS).collect(),
                };
                for row in shown {
                    let row = self.row(row);
                    self.rows.push_back(row);
                }
            }
            Kind::More => {
                self.count += rows.len();
                for row in &rows {
                    let row = self.row(row);
                    self.rows.push_front(row);
                }
                self.rows.truncate(ROWS);
            }
        }
        Ok(news)
    }

    fn row(&mut self, row: &Value) -> Vec<Cell> {
        match row {
            Value::Object(members) => {
                if !members.keys().eq(self.columns.iter()) {
                    self.columns = members.keys().cloned().collect();
                }
                members.values().map(Cell::new).collect()
            }
            value => {
                self.columns.clear();
                vec![Cell::new(value)]
            }
        }
    }

    /// Takes words that are shown until something comes.
    pub(super) fn say(&mut self, words: &str) {
        words.clone_into(&mut self.words);
    }

    /// Draws it over what was drawn before.
    pub(super) fn draw(&mut self) -> io::Result<()> {
        let size = terminal::size().unwrap_or((80, 24));
        let mut text = match (self.drawn, self.size == size) {
            (0, _) => String::new(),
            (lines, true) => format!("\x1b[{lines}A\r\x1b[J"),
            // Its lines have been broken anew, nobody knows how.
            (_, false) => "\x1b[H\x1b[2J".to_owned(),
        };
        let lines = self.lines(size.0.into(), size.1.into());
        (self.drawn, self.size) = (lines.len(), size);
        for line in lines {
            text += &line;
            text += "\r\n";
        }
        let mut stdout = stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let mut lines = vec![format!("{DIM}{}{PLAIN}", cut(&self.standing(), width).0)];
        let shown = self.rows.len().min(height.saturating_sub(FRAME).max(1));
        let widths = self.widths(shown, width);
        if !self.columns.is_empty() {
            let numbers = self.rows.front();
            let names = self.columns.iter().zip(&widths).enumerate();
            let names = names.map(|(at, (name, width))| {
                let is_number = numbers.is_some_and(|row| row[at].is_number);
                fit(&tame(name), is_number, *width)
            });
            let names: Vec<String> = names.collect();
            lines.push(format!(
                "{BOLD}{}{PLAIN}",
                names.join(&" ".repeat(GAP)).trim_end()
            ));
        }
        for row in self.rows.iter().take(shown) {
            let cells = row.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| fit(&cell.text, cell.is_number, *width));
            let cells: Vec<String> = cells.collect();
            lines.push(cells.join(&" ".repeat(GAP)).trim_end().to_owned());
        }
        if self.count > shown {
            let more = format!(
                "… and {}",
                counted(self.count - shown, "row more", "rows more")
            );
            lines.push(format!("{DIM}{}{PLAIN}", cut(&more, width).0));
        }
        lines
    }

    /// How things stand, on a line.
    fn standing(&self) -> String {
        let Some(at) = self.at else {
            return match &*self.words {
                "" => "waiting for the first result".to_owned(),
                words => words.to_owned(),
            };
        };
        let rows = counted(self.count, "row", "rows");
        let updates = counted(self.updates as usize, "update", "updates");
        let age = at.elapsed().as_secs();
        let standing = format!("{rows}, {age} s old, {updates}");
        match &*self.words {
            "" => standing,
            words => format!("{standing}; {words}"),
        }
    }

    /// As wide as what is shown, and together no wider than the terminal: the last ones give way.
    fn widths(&self, shown: usize, most: usize) -> Vec<usize> {
        let columns = self.columns.len().max(1);
        let mut widths: Vec<usize> = (0..columns)
            .map(|at| self.columns.get(at).map_or(0, |name| width_of(&tame(name))))
            .collect();
        for row in self.rows.iter().take(shown) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(width_of(&cell.text));
            }
        }
        let mut left = most;
        for width in &mut widths {
            *width = (*width).min(left);
            left = left.saturating_sub(*width + GAP);
        }
        // What has no room has no gap either.
        while widths.len() > 1 && widths.last() == Some(&0) {
            widths.pop();
        }
        widths
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn width_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// As much of a text as is so wide, and how wide that is.
fn cut(text: &str, most: usize) -> (String, usize) {
    if width_of(text) <= most {
        return (text.to_owned(), width_of(text));
    }
    let mut kept = String::new();
    let mut width = 0;
    let mut buffer = [0; 4];
    for c in text.chars() {
        let next = width_of(c.encode_utf8(&mut buffer));
        if width + next + 1 > most {
            break;
        }
        kept.push(c);
        width += next;
    }
    if most > 0 {
        kept.push('…');
        width += 1;
    }
    (kept, width)
}

/// A cell, so wide; numbers stand at its right.
fn fit(text: &str, is_number: bool, width: usize) -> String {
    let (text, is) = cut(text, width);
    let blank = " ".repeat(width - is);
    match is_number {
        true => blank + &text,
        false => text + &blank,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(json: &str) -> Update {
        Update::parse(json).expect("a result")
    }

    fn plain(table: &Table, width: usize, height: usize) -> Vec<String> {
        let lines = table.lines(width, height);
        let plain = |line: &String| {
            [BOLD, DIM, PLAIN]
                .iter()
                .fold(line.clone(), |l, c| l.replace(c, ""))
        };
        lines.iter().map(plain).collect()
    }

    #[test]
    fn a_table_of_rows() {
        let mut table = Table::new(false);
        assert_eq!(plain(&table, 40, 24), ["waiting for the first result"]);
        let result = r#"{"result":[{"name":"cpu","n":1},{"name":"日本\u001b","n":100},{"name":null,"n":2.5}]}"#;
        assert_eq!(table.take(&update(result)).expect("rows"), 1);
        let want = [
            "3 rows, 0 s old, 1 update",
            "name     n",
            "cpu      1",
            "日本   100",
            "NULL   2.5",
        ];
        assert_eq!(plain(&table, 40, 24), want);
        let narrow = ["3 rows…", "name", "cpu", "日本", "… and…"];
        assert_eq!(plain(&table, 7, 6).len(), narrow.len());
        for width in 0..12 {
            for line in plain(&table, width, 24) {
                assert!(width_of(&line) <= width, "{width}: {line:?}");
            }
        }
        assert_eq!(
            plain(&table, 40, 6).last().expect("lines"),
            "… and 1 row more"
        );
    }

    #[test]
    fn a_value_alone() {
        let mut table = Table::new(false);
        table.take(&update(r#"{"result":10}"#)).expect("a value");
        table.take(&update(r#"{"result":11}"#)).expect("a value");
        assert_eq!(plain(&table, 40, 24), ["1 row, 0 s old, 2 updates", "11"]);
        table.say("gone; again in 0.5 s");
        assert!(plain(&table, 80, 24)[0].ends_with("2 updates; gone; again in 0.5 s"));
    }

    #[test]
    fn more_rows_are_on_top() {
        let mut table = Table::new(true);
        table
            .take(&update(r#"{"result":[{"n":1},{"n":2}]}"#))
            .expect("rows");
        let more = r#"{"result":[{"n":3},{"n":4}],"mode":"append"}"#;
        assert_eq!(table.take(&update(more)).expect("rows"), 2);
        assert_eq!(plain(&table, 40, 24)[2..], ["4", "3", "2", "1"]);
        for n in 0..2 * ROWS {
            let more = format!(r#"{{"result":[{{"n":{n}}}],"mode":"append"}}"#);
            table.take(&update(&more)).expect("a row");
        }
        assert_eq!((table.rows.len(), table.count), (ROWS, 2 * ROWS + 4));
    }
}
