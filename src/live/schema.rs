//! What a table's rows are made of: names, types, and which values a type takes.

mod cell;
mod ingest;
mod kind;
mod time;

use std::borrow::Cow;

use hyper::StatusCode;
use rusqlite::types::Value;

use crate::event::Topic;
use crate::problem::Problem;

/// A table: a topic whose JSON objects are rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Its topic, and its name in SQL: `[A-Za-z_][A-Za-z0-9_]*`, at most 64 bytes.
    pub name: Topic,
    /// Its columns, as they were declared; `_tp_time` comes after them and is in every table.
    pub columns: Vec<Column>,
    /// How much of it is retained.
    pub retention: Retention,
}

/// The column that every table has: when the row came, in milliseconds since the Unix epoch, unless it says itself.
pub const TIME: &str = "_tp_time";

/// What its values are.
pub const TIME_TYPE: Type = Type::DateTime { precision: 3 };

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, told apart without case, as SQL does.
    pub name: String,
    /// What its values are.
    pub kind: Type,
}

/// How many rows, for how long; whichever is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows.
    pub rows: u64,
    /// Milliseconds since a row came.
    pub age_ms: Option<u64>,
}

/// What a column's values are, as JSON says them and as SQLite holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `bool`: held as 0 or 1.
    Bool,
    /// `int8` to `int64` and `uint8` to `uint64`, by their bits; held as an integer of 64 bits with a sign.
    Int {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it can be negative.
        signed: bool,
    },
    /// `float32` and `float64`: held as a double.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// `decimal(p, s)`: held as a double.
    Decimal {
        /// Digits in all, at most 15.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `string`.
    String,
    /// `uuid`: held as text, in lower case.
    Uuid,
    /// `date`: held as text, `YYYY-MM-DD`.
    Date,
    /// `datetime` and `datetime64(p)`: held as milliseconds since the Unix epoch.
    DateTime {
        /// Digits of a second, at most 3.
        precision: u8,
    },
    /// `array(T)`: held as JSON text.
    Array(Box<Type>),
    /// `map(K, V)`: held as JSON text.
    Map(Box<Type>, Box<Type>),
    /// `nullable(T)`.
    Nullable(Box<Type>),
}

/// The type of a column that SQLite is told, where a result is written by it: as `true` or `false`.
pub const BOOLEAN: &str = "BOOLEAN";

/// The same for JSON that is embedded as it is held.
pub const JSON: &str = "JSONTEXT";

/// What SQLite calls a row's number by itself.
const ROW_NUMBER: [&str; 3] = ["rowid", "oid", "_rowid_"];

impl Schema {
    /// Holds a declaration to the rules; `_tp_time` may be declared, as what it is anyway, and is then left out.
    ///
    /// # Errors
    /// 400 that names the column.
    pub fn checked(mut self, most_columns: usize) -> Result<Schema, Problem> {
        let table = self.name.as_str();
        if !is_identifier(table) || table.to_ascii_lowercase().starts_with("sqlite_") {
            return Err(wrong(format!(
                "{table:?} cannot be the name of a table: begin with a letter or _, go on with letters, digits and _, at most 64, and not with sqlite_"
            )));
        }
        let is_time = |c: &Column| c.name.eq_ignore_ascii_case(TIME);
        if let Some(own) = self.columns.iter().find(|c| is_time(c))
            && own.kind != TIME_TYPE
        {
            return Err(wrong(format!(
                "column {TIME:?} is in every table, as {TIME_TYPE}; leave it out or rename it"
            )));
        }
        self.columns.retain(|c| !is_time(c));
        if self.columns.is_empty() {
            return Err(wrong("a table has at least one column"));
        }
        if self.columns.len() > most_columns {
            return Err(wrong(format!(
                "{} columns are over the limit of {most_columns} (table-columns); declare fewer or raise the limit",
                self.columns.len()
            )));
        }
        for (index, Column { name, .. }) in self.columns.iter().enumerate() {
            let is_name = |other: &&str| other.eq_ignore_ascii_case(name);
            if !is_identifier(name) {
                return Err(wrong(format!(
                    "{name:?} cannot be the name of a column: begin with a letter or _, go on with letters, digits and _, at most 64"
                )));
            }
            if ROW_NUMBER.iter().any(is_name) {
                return Err(wrong(format!(
                    "column {name:?}: SQLite means something else by that name; choose another"
                )));
            }
            if self.columns[..index].iter().any(|c| is_name(&&*c.name)) {
                return Err(wrong(format!(
                    "column {name:?} is there twice; names are told apart without case"
                )));
            }
        }
        if self.retention.rows == 0 || self.retention.age_ms == Some(0) {
            return Err(wrong("a table retains at least one row, for some time"));
        }
        Ok(self)
    }

    /// The statement that makes the table in SQLite.
    pub fn ddl(&self) -> String {
        let columns = self.all_columns();
        let columns = columns.map(|(name, kind)| format!("\"{name}\" {}", kind.held_as()));
        let columns: Vec<String> = columns.collect();
        format!("CREATE TABLE \"{}\" ({})", self.name, columns.join(", "))
    }

    /// Every column with its type, `_tp_time` last.
    pub fn all_columns(&self) -> impl Iterator<Item = (&str, &Type)> {
        let declared = self.columns.iter().map(|c| (&*c.name, &c.kind));
        declared.chain([(TIME, &TIME_TYPE)])
    }

    /// Where a column stands, by its name without case.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.all_columns()
            .position(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    /// Holds what is published to the schema. What is no JSON object is no row, and nothing is held against it.
    ///
    /// # Errors
    /// 400 that names the column.
    pub fn check(&self, json: &[u8]) -> Result<(), Problem> {
        self.row(json, 0).map(drop)
    }

    /// A row's values, `_tp_time` last, from a JSON object; `None` for other JSON.
    ///
    /// # Errors
    /// 400 that names the column.
    pub fn row(&self, json: &[u8], came_ms: u64) -> Result<Option<Vec<Value>>, Problem> {
        cell::object(self, json, came_ms).map_err(|why| {
            let detail = format!("this is no row of table {}: {why}", self.name);
            Problem::bad_request("row", detail)
        })
    }
}

/// The tables that are there from the start: what the server's own sources publish.
pub fn built_in(rows: u64) -> [Schema; 2] {
    let table = |name: &str, columns: &[(&str, Type)]| Schema {
        name: Topic::new(name).expect("the name is well-formed"),
        columns: columns
            .iter()
            .map(|(name, kind)| Column {
                name: (*name).to_owned(),
                kind: kind.clone(),
            })
            .collect(),
        retention: Retention { rows, age_ms: None },
    };
    let float = Type::Float { bits: 64 };
    [
        table(
            "metrics",
            &[
                ("ts", TIME_TYPE),
                ("server", Type::String),
                ("host", Type::String),
                ("name", Type::String),
                ("value", float.clone()),
            ],
        ),
        table(
            "calls",
            &[
                ("ts", TIME_TYPE),
                ("agent", Type::String),
                ("queue", Type::String),
                ("duration_s", float.clone()),
                ("ivr_s", float),
            ],
        ),
    ]
}

/// Milliseconds since the Unix epoch of a time as text (ISO 8601); UTC if it says nothing else.
pub fn moment(text: &str) -> Option<i64> {
    time::millis(text)
}

/// A time as text (ISO 8601, UTC), with so many digits of a second.
pub fn iso(ms: i64, digits: u8) -> String {
    time::iso(ms, digits)
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.len() <= 64
}

fn wrong(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "schema", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(name: &str, columns: &[(&str, &str)]) -> Result<Schema, Problem> {
        let columns = columns.iter().map(|(name, kind)| {
            let name = (*name).to_owned();
            kind.parse().map(|kind| Column { name, kind })
        });
        let retention = Retention {
            rows: 10,
            age_ms: None,
        };
        Schema {
            name: Topic::new(name)?,
            columns: columns.collect::<Result<_, _>>()?,
            retention,
        }
        .checked(3)
    }

    #[test]
    fn what_is_wrong_with_a_schema_is_named() {
        for (name, columns, part) in [
            ("a/b", &[("x", "bool")][..], "\"a/b\""),
            ("sqlite_a", &[("x", "bool")], "sqlite_"),
            ("t", &[], "at least one"),
            ("t", &[("_tp_time", "datetime64(3)")], "at least one"),
            ("t", &[("x", "bool"), ("X", "int8")], "\"X\" is there twice"),
            ("t", &[("1x", "bool")], "\"1x\""),
            ("t", &[("x\"", "bool")], "\"x\\\"\""),
            ("t", &[("rowid", "int8")], "\"rowid\""),
            ("t", &[("_tp_time", "string")], "\"_tp_time\""),
            ("t", &[("a", "int8"); 4], "limit of 3 (table-columns)"),
            ("t", &[("a", "blob")], "\"blob\""),
        ] {
            let problem = schema(name, columns).expect_err(part);
            assert!(problem.detail.contains(part), "{problem}: {part}");
        }
    }

    #[test]
    fn sqlite_is_told_what_a_result_is_written_by() {
        let columns = [
            ("a", "array(int8)"),
            ("b", "nullable(bool)"),
            ("_TP_TIME", "datetime64(3)"),
        ];
        let schema = schema("t", &columns).expect("a schema");
        assert_eq!(
            schema.ddl(),
            r#"CREATE TABLE "t" ("a" JSONTEXT, "b" BOOLEAN, "_tp_time" INTEGER)"#
        );
    }

    #[test]
    fn what_the_sources_publish_are_rows() {
        let [metrics, calls] = built_in(10).map(|s| s.checked(10).expect("a schema"));
        let row = br#"{"ts":1,"server":"s","host":"h","name":"n","value":1.5}"#;
        assert!(metrics.row(row, 7).expect("a row").is_some());
        let row = br#"{"ts":1,"agent":"a","queue":"q","duration_s":1,"ivr_s":2.5}"#;
        assert!(calls.row(row, 7).expect("a row").is_some());
    }
}
