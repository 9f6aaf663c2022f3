//! What documents are called: a collection's name, and a document's id within it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::event::Topic;
use crate::problem::Problem;

/// A collection's name: 1 to 64 of `[A-Za-z0-9_-]`, the first a letter or `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collection(Arc<str>);

impl Collection {
    /// Checks a name as a peer gave it.
    ///
    /// # Errors
    /// A 400 that says what a name may be.
    pub fn new(text: &str) -> Result<Collection, Problem> {
        match text.len() <= 64 && is_identifier(text) {
            true => Ok(Collection(text.into())),
            false => Err(Problem::bad_request(
                "collection",
                "a collection's name is 1 to 64 of A-Z a-z 0-9 _ -, the first a letter or _",
            )),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic that tells its changes.
    pub fn topic(&self) -> Topic {
        Topic::of_collection(&self.0).expect("a name has only what a topic may have")
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is a letter or `_`, and then letters, digits, `_` and `-`.
pub(super) fn is_identifier(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && text.bytes().all(allowed)
}

/// A document's id. Integers come before texts, and texts are in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// A number; in a path, what reads as one.
    Integer(i64),
    /// 1 to 255 bytes without `/` and control characters, and nothing that reads as an integer.
    Text(Arc<str>),
}

impl Id {
    /// The most that is made or counted on: what every reader of JSON can hold exactly.
    pub const MOST_MADE: i64 = (1 << 53) - 1;

    /// Reads what a path says, which knows no types: `1` is an integer.
    ///
    /// # Errors
    /// A 400 that says what an id may be.
    pub fn parse(text: &str) -> Result<Id, Problem> {
        match integer(text) {
            Some(number) => Ok(Id::Integer(number)),
            None => Id::text(text),
        }
    }

    /// Reads what a document says.
    ///
    /// # Errors
    /// A 400 that says what an id may be.
    pub fn of(value: &Value) -> Result<Id, Problem> {
        match value {
            Value::Number(number) => number.as_i64().map(Id::Integer).ok_or_else(malformed),
            Value::String(text) if integer(text).is_some() => {
                let detail = format!(
                    "the id {value} is a text that reads as a number, which a path could not tell from it; write {text} without quotes"
                );
                Err(Problem::bad_request("id", detail))
            }
            Value::String(text) => Id::text(text),
            _ => Err(malformed()),
        }
    }

    fn text(text: &str) -> Result<Id, Problem> {
        let good = (1..=255).contains(&text.len())
            && !text.chars().any(|c| c.is_control() || c == '/')
            && !text.starts_with('$')
            && !matches!(text, "." | "..");
        match good {
            true => Ok(Id::Text(text.into())),
            false => Err(malformed()),
        }
    }

    /// As it stands in a document.
    pub fn json(&self) -> Value {
        match self {
            Id::Integer(number) => (*number).into(),
            Id::Text(text) => (&**text).into(),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Integer(number) => number.fmt(f),
            Id::Text(text) => f.write_str(text),
        }
    }
}

/// What is written as an integer is written: `01` and `-0` are not.
fn integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn malformed() -> Problem {
    Problem::bad_request(
        "id",
        "an id is an integer of 64 bits, or a text of 1 to 255 bytes without / and control characters that does not begin with $ and is not . or ..",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers() {
        for good in ["a", "_", "A-1_b", &"x".repeat(64)] {
            assert!(Collection::new(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "a.b", "a/b", "$a", "é", &"x".repeat(65)] {
            assert!(Collection::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_and_a_document_agree() {
        for (text, id) in [("1", Id::Integer(1)), ("-9", Id::Integer(-9))] {
            assert_eq!(Id::parse(text).ok(), Some(id.clone()));
            assert_eq!(Id::of(&id.json()).ok(), Some(id));
        }
        for text in [
            "01",
            "-0",
            "1.0",
            "99999999999999999999",
            "a b",
            "é",
            "\"",
            "'; drop",
        ] {
            let id = Id::Text(text.into());
            assert_eq!(Id::parse(text).ok(), Some(id.clone()), "{text}");
            assert_eq!(Id::of(&id.json()).ok(), Some(id), "{text}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "\0",
            "a\nb",
            "$schema",
            &"x".repeat(256),
        ] {
            assert!(Id::parse(text).is_err(), "{text:?}");
            assert!(Id::of(&text.into()).is_err(), "{text:?}");
        }
        for value in [
            "\"1\"",
            "1.5",
            "1.0",
            "9223372036854775808",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            let value: Value = serde_json::from_str(value).expect("JSON");
            assert!(Id::of(&value).is_err(), "{value}");
        }
    }
}
