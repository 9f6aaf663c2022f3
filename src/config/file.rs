//! The TOML file of `--config`: flat, its keys the names of the settings, with `-` or `_`.
//!
//! What can be read of it is used even when the rest cannot, so that all mistakes come to light;
//! only after a key without `=` the parser finds nothing more.

use std::collections::BTreeMap;

use toml::de::DeTable;
use toml::de::DeValue;
use toml::de::Error;

use crate::config::sources::Given;
use crate::config::table::Setting;
use crate::config::table::settings;

/// The settings of the file, by key.
#[derive(Debug, Default)]
pub(super) struct File {
    given: BTreeMap<String, Given>,
    /// A line for everything that is wrong with the file itself.
    pub(super) mistakes: Vec<String>,
}

impl File {
    /// Reads the file at a path that `place` named.
    pub(super) fn read((place, path): (&str, String)) -> Self {
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) => Self {
                mistakes: vec![format!("{place}: {path:?} cannot be read: {error}")],
                ..Self::default()
            },
        }
    }

    /// What the file says of a setting.
    pub(super) fn given(&self, setting: &Setting) -> Option<Given> {
        self.given.get(setting.key).cloned()
    }

    fn parse(path: &str, text: &str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut file = Self {
            mistakes: syntax(path, text, &errors),
            ..Self::default()
        };
        for (key, value) in table.get_ref() {
            // What the parser guessed at has its mistake already.
            let (start, end) = (value.span().start, value.span().end);
            let guessed = |error: &Error| (start..=end).contains(&start_of(error));
            if !errors.iter().any(guessed) {
                let place = format!("{path}: {}", key.get_ref().escape_debug());
                file.add(key.get_ref(), value.get_ref(), place);
            }
        }
        file
    }

    /// Adds a key, unless it is a table, unknown, or there already in its other spelling.
    fn add(&mut self, key: &str, value: &DeValue<'_>, place: String) {
        let key = key.replace('_', "-");
        let mistake = match texts(value) {
            None => {
                "is a table; the keys of this file stand alone, as in drain = \"5s\"".to_owned()
            }
            Some(_) if !settings().any(|setting| setting.key == key) => {
                format!("is not a setting; {}", advice(&key))
            }
            Some(_) if let Some(before) = self.given.get(&key) => {
                format!("is there twice, also as {}; leave one", before.place)
            }
            Some(values) => {
                self.given.insert(key, Given { place, values });
                return;
            }
        };
        self.mistakes.push(format!("{place}: {mistake}"));
    }
}

/// The first mistake of each line: the others are its echoes.
fn syntax(path: &str, text: &str, errors: &[Error]) -> Vec<String> {
    let mut lines = BTreeMap::new();
    for error in errors {
        let before = text.bytes().take(start_of(error));
        let line = 1 + before.filter(|&byte| byte == b'\n').count();
        lines
            .entry(line)
            .or_insert_with(|| error.message().replace('\n', " "));
    }
    let told = |(line, message)| format!("{path}: line {line}: {message}");
    lines.into_iter().map(told).collect()
}

fn start_of(error: &Error) -> usize {
    error.span().map_or(0, |span| span.start)
}

/// A value as the text that a flag would have had; an array has one for each item, a table none.
fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| texts(item.get_ref())).collect();
            return Some(texts?.concat());
        }
        DeValue::Table(_) => return None,
    };
    Some(vec![text])
}

fn advice(key: &str) -> String {
    let distances = settings().map(|setting| (distance(key, setting.key), setting.key));
    match distances.min() {
        // With half of the letters wrong it is another word.
        Some((distance, nearest)) if distance * 2 <= nearest.len() => {
            format!("did you mean {nearest}?")
        }
        _ => "docs/limits.md lists them all".to_owned(),
    }
}

/// Letters to insert, remove or replace between two words (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (column, candidate) in other.chars().enumerate() {
            let replaced = diagonal + usize::from(letter != candidate);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, letters) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("drain", "drian", 2),
            ("topic-byte", "topic-bytes", 1),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
        assert_eq!(advice("toppic-bytes"), "did you mean topic-bytes?");
        assert_eq!(advice("colour"), "docs/limits.md lists them all");
    }

    #[test]
    fn what_is_wrong_with_a_file_itself() {
        let table = "is a table; the keys of this file stand alone, as in drain = \"5s\"";
        let list = "docs/limits.md lists them all";
        let quotes = "string values must be quoted, expected literal string";
        for (text, lines) in [
            ("drain = '5s'\ntopic_bytes = 1", vec![]),
            (
                "colour = 1",
                vec![format!("colour: is not a setting; {list}")],
            ),
            (
                "config = 'x'",
                vec![format!("config: is not a setting; {list}")],
            ),
            (
                "\"a\\nb\" = 1",
                vec![format!("a\\nb: is not a setting; {list}")],
            ),
            (
                "topic_byte = 1",
                vec!["topic_byte: is not a setting; did you mean topic-bytes?".to_owned()],
            ),
            ("[limits]\ntopics = 1", vec![format!("limits: {table}")]),
            ("drain.s = 5", vec![format!("drain: {table}")]),
            (
                "allow-host = [{ name = 'a' }]",
                vec![format!("allow-host: {table}")],
            ),
            (
                "topic-bytes = 1\ntopic_bytes = 1",
                vec!["topic_bytes: is there twice, also as f: topic-bytes; leave one".to_owned()],
            ),
            (
                "http1 = localhost:8080\ncolour = 1\ndrain 5s",
                vec![
                    format!("line 1: {quotes}"),
                    "line 3: key with no value, expected `=`".to_owned(),
                    format!("colour: is not a setting; {list}"),
                ],
            ),
            ("drain =\n", vec![format!("line 1: {quotes}")]),
            (
                "drain = '1s'\ndrain = '2s'",
                vec!["line 2: duplicate key".to_owned()],
            ),
        ] {
            let lines: Vec<_> = lines.into_iter().map(|line| format!("f: {line}")).collect();
            assert_eq!(File::parse("f", text).mistakes, lines, "{text}");
        }
    }
}
