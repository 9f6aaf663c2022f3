//! Results as JSON: each row an object, written once for all that are told.

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement};

use super::Rows;
use crate::live::schema::{BOOLEAN, JSON};

/// What the columns of a result are called and how they are written.
#[derive(Debug)]
pub(super) struct Columns(Vec<Column>);

#[derive(Debug)]
struct Column {
    /// As a member of an object: `"name":`.
    key: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Held as 0 or 1.
    Boolean,
    /// Held as JSON text.
    Json,
}

impl Columns {
    /// Those of a statement. An object has each name once, so one that comes again is numbered.
    pub(super) fn of(statement: &Statement<'_>) -> Columns {
        let mut names: Vec<String> = Vec::new();
        let columns = statement.columns().map(|column| {
            let mut name = column.name().to_owned();
            let mut number = 2;
            while names.contains(&name) {
                name = format!("{}_{number}", column.name());
                number += 1;
            }
            names.push(name.clone());
            let kind = match column.decl_type() {
                Some(BOOLEAN) => Kind::Boolean,
                Some(JSON) => Kind::Json,
                _ => Kind::Plain,
            };
            Column {
                key: format!("{}:", serde_json::Value::from(name)),
                kind,
            }
        });
        Columns(columns.collect())
    }
}

/// Rows as they are written, one after the other.
#[derive(Debug, Default)]
pub(super) struct Written {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// Bytes before the value, when a row is but one.
    before_value: Option<usize>,
}

impl Written {
    /// Writes one more row.
    pub(super) fn push(&mut self, columns: &Columns, row: &Row<'_>) -> rusqlite::Result<()> {
        self.before_value = match &*columns.0 {
            [column] => Some(1 + column.key.len()),
            _ => None,
        };
        self.bytes.push(b'{');
        for (index, column) in columns.0.iter().enumerate() {
            if index > 0 {
                self.bytes.push(b',');
            }
            self.bytes.extend(column.key.as_bytes());
            value(row.get_ref(index)?, column.kind, &mut self.bytes);
        }
        self.bytes.push(b'}');
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Takes back all but the first.
    pub(super) fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Bytes of an array of them.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.ends.len() + 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Turns their order round.
    pub(super) fn reversed(self) -> Written {
        let mut turned = Written {
            before_value: self.before_value,
            ..Written::default()
        };
        for index in (0..self.ends.len()).rev() {
            let from = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            turned.bytes.extend(&self.bytes[from..self.ends[index]]);
            turned.ends.push(turned.bytes.len());
        }
        turned
    }

    /// The same as what is told; the value alone, if that is all there is.
    pub(super) fn finish(self) -> Rows {
        let all = Bytes::from(self.bytes);
        let mut from = 0;
        let objects: Vec<Bytes> = self
            .ends
            .iter()
            .map(|end| all.slice(std::mem::replace(&mut from, *end)..*end))
            .collect();
        let bare = match (&*objects, self.before_value) {
            ([object], Some(before)) => Some(object.slice(before..object.len() - 1)),
            _ => None,
        };
        Rows { objects, bare }
    }
}

fn value(value: ValueRef<'_>, kind: Kind, out: &mut Vec<u8>) {
    match (value, kind) {
        (ValueRef::Null, _) => out.extend(b"null"),
        (ValueRef::Integer(0), Kind::Boolean) => out.extend(b"false"),
        (ValueRef::Integer(1), Kind::Boolean) => out.extend(b"true"),
        (ValueRef::Text(json), Kind::Json) => out.extend(json),
        (ValueRef::Integer(number), _) => out.extend(number.to_string().as_bytes()),
        (ValueRef::Real(number), _) => float(number, out),
        (ValueRef::Text(text), _) => {
            let text = String::from_utf8_lossy(text);
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut *out, &*text);
        }
        (ValueRef::Blob(bytes), _) => {
            let hex = bytes.iter().map(|b| format!("{b:02x}"));
            out.push(b'"');
            hex.for_each(|digits| out.extend(digits.as_bytes()));
            out.push(b'"');
        }
    }
}

/// JSON has one kind of number: 10.0 is written as 10. It has no infinities; SQLite has no NaN.
fn float(number: f64, out: &mut Vec<u8>) {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        out.extend((number as i64).to_string().as_bytes());
    } else if number.is_finite() {
        let _ = serde_json::to_writer(out, &number);
    } else {
        let sign = if number < 0.0 { "-" } else { "" };
        out.extend(format!("\"{sign}Infinity\"").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    fn result(sql: &str) -> Rows {
        let connection = Connection::open_in_memory().expect("a database");
        let table =
            "create table t (b BOOLEAN, j JSONTEXT); insert into t values (1, '[1, 2]'), (0, null)";
        connection.execute_batch(table).expect("a table");
        let mut statement = connection.prepare(sql).expect("a statement");
        let columns = Columns::of(&statement);
        let mut written = Written::default();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            written.push(&columns, row).expect("a row");
        }
        written.finish()
    }

    #[test]
    fn rows_are_written_as_json() {
        for (sql, json) in [
            ("select 10.0", "10"),
            ("select -2.5", "-2.5"),
            ("select 9e999", "\"Infinity\""),
            ("select 1.5e300", "1.5e+300"),
            ("select null", "null"),
            ("select 'a\"' || char(10)", "\"a\\\"\\n\""),
            ("select x'00ff'", "\"00ff\""),
            (
                "select 1 as a, 2 as a, 3 as a",
                r#"[{"a":1,"a_2":2,"a_3":3}]"#,
            ),
            (
                "select b, j from t",
                r#"[{"b":true,"j":[1, 2]},{"b":false,"j":null}]"#,
            ),
            (
                "select b, count(*) as n from t group by b order by b",
                r#"[{"b":false,"n":1},{"b":true,"n":1}]"#,
            ),
            ("select x.b from (select b from t limit 1) as x", "true"),
            ("select 1 where false", "[]"),
        ] {
            assert_eq!(result(sql).json(), json, "{sql}");
        }
    }

    #[test]
    fn rows_can_be_turned_round() {
        let connection = Connection::open_in_memory().expect("a database");
        let mut statement = connection
            .prepare("select value as v from json_each('[1, 22, 333]')")
            .expect("a statement");
        let columns = Columns::of(&statement);
        let mut written = Written::default();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            written.push(&columns, row).expect("a row");
        }
        let json = r#"[{"v":333},{"v":22},{"v":1}]"#;
        assert_eq!(written.len(), json.len());
        assert_eq!(written.reversed().finish().json(), json);
    }
}
