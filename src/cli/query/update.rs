//! What a stream says of a query.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::client::{Failure, Fault};

/// What is done with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is in place of what was before.
    Whole,
    /// Its rows are more of them.
    More,
}

/// A result, or more rows.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) kind: Kind,
    /// JSON, as it came.
    pub(super) result: Box<RawValue>,
}

impl Update {
    /// Reads a message.
    ///
    /// # Errors
    /// The query's own failure, or what is no such message.
    pub(super) fn parse(json: &str) -> Result<Update, Failure> {
        #[derive(Deserialize)]
        struct Message {
            mode: Option<String>,
            #[serde(default, deserialize_with = "given")]
            result: Option<Box<RawValue>>,
            error: Option<Problem>,
        }
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let message: Message = parse(json)?;
        let kind = match message.mode.as_deref() {
            Some("append") => Kind::More,
            _ => Kind::Whole,
        };
        match (message.result, message.error) {
            (_, Some(problem)) => Err(Failure::local(format!("the query: {}", problem.detail))),
            (Some(result), None) => Ok(Update { kind, result }),
            (None, None) => Err(foreign("a message without a result")),
        }
    }

    /// The rows, each as it came. A value alone is a row too.
    pub(super) fn rows(&self) -> Result<Vec<String>, Failure> {
        if !self.result.get().starts_with('[') {
            return Ok(vec![self.result.get().to_owned()]);
        }
        let rows: Vec<&RawValue> = parse(self.result.get())?;
        Ok(rows.iter().map(|row| row.get().to_owned()).collect())
    }
}

/// NULL is a result too, and not none.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| foreign(&error.to_string()))
}

fn foreign(what: &str) -> Failure {
    let words = format!("what came is no result of a query: {what}");
    Failure {
        fault: Fault::Foreign,
        ..Failure::local(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_rows_and_failures() {
        let whole = Update::parse(r#"{"query":"q","result":10.50}"#).expect("a result");
        assert_eq!((whole.kind, whole.result.get()), (Kind::Whole, "10.50"));
        let more = r#"{"query":"q","result":[{"b":1.0,"a":"x"},{"b":2}],"mode":"append"}"#;
        let more = Update::parse(more).expect("rows");
        let rows = more.rows().expect("an array");
        assert_eq!(
            (more.kind, rows),
            (
                Kind::More,
                vec![r#"{"b":1.0,"a":"x"}"#.to_owned(), r#"{"b":2}"#.into()]
            )
        );
        let failed =
            r#"{"query":"q","error":{"type":"/problems/query-time","detail":"it took over 1 s"}}"#;
        let failure = Update::parse(failed).expect_err("it failed");
        assert_eq!(failure.words, "the query: it took over 1 s");
        assert!(Update::parse("{}").is_err() && Update::parse("[]").is_err());
        let nothing = Update::parse(r#"{"query":"q","result":null}"#).expect("a result");
        assert_eq!(nothing.result.get(), "null");
    }
}
