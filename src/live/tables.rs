//! Tables as their authors say them and as they are told: names of types, and times with a unit.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::engine::{Limits, Table};
use super::schema::{Column, Retention, Schema};
use crate::event::Topic;
use crate::problem::Problem;

/// A table as its author says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    name: String,
    columns: Vec<AskedColumn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<AskedRetention>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedColumn {
    name: String,
    r#type: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedRetention {
    rows: Option<u64>,
    age: Option<String>,
}

/// Milliseconds of each unit, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl Asked {
    pub(super) fn parse(body: &str) -> Result<Asked, Problem> {
        serde_json::from_str(body)
            .map_err(|error| Problem::bad_request("body", format!("this is no table: {error}")))
    }

    /// As a table would have been asked for.
    pub(super) fn of(schema: &Schema) -> Asked {
        let column = |column: &Column| AskedColumn {
            name: column.name.clone(),
            r#type: column.kind.to_string(),
        };
        Asked {
            name: schema.name.to_string(),
            columns: schema.columns.iter().map(column).collect(),
            retention: Some(AskedRetention {
                rows: Some(schema.retention.rows),
                age: schema.retention.age_ms.map(age),
            }),
        }
    }

    /// # Errors
    /// 400 that names the column or the member.
    pub(super) fn schema(&self, limits: &Limits) -> Result<Schema, Problem> {
        let mut columns = Vec::new();
        for AskedColumn { name, r#type } in &self.columns {
            let kind = r#type.parse().map_err(|problem: Problem| Problem {
                detail: format!("column {name:?}: {}", problem.detail).into(),
                ..problem
            })?;
            let name = name.clone();
            columns.push(Column { name, kind });
        }
        let asked = self.retention.clone().unwrap_or_default();
        let rows = asked.rows.unwrap_or(limits.table_rows);
        if !(1..=limits.table_rows).contains(&rows) {
            let detail = format!(
                "retention.rows is a number of rows, 1 to {} (table-rows)",
                limits.table_rows
            );
            return Err(Problem::bad_request("retention", detail));
        }
        let age_ms = asked.age.as_deref().map(age_ms).transpose()?;
        Ok(Schema {
            name: Topic::new(&self.name)?,
            columns,
            retention: Retention { rows, age_ms },
        })
    }
}

fn age_ms(text: &str) -> Result<u64, Problem> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = UNITS.iter().find(|(name, _)| unit == *name);
    let age = digits.parse::<u64>().ok().zip(unit);
    age.and_then(|(count, (_, each))| count.checked_mul(*each))
        .filter(|ms| *ms > 0)
        .ok_or_else(|| {
            let detail = format!(
                "retention.age {text:?} is not a time; write one like 30s, 10min, 1h or 7d"
            );
            Problem::bad_request("retention", detail)
        })
}

fn age(ms: u64) -> String {
    let unit = UNITS.iter().find(|(_, each)| ms.is_multiple_of(*each));
    let (name, each) = unit.expect("a millisecond divides everything");
    format!("{}{name}", ms / each)
}

/// Whether the server fills it itself.
pub fn is_built_in(name: &str) -> bool {
    ["metrics", "calls"].contains(&name)
}

/// What is said of a table to who asks.
pub fn describe(table: &Table) -> Value {
    let Schema {
        name,
        columns,
        retention,
    } = &*table.schema;
    let columns: Vec<Value> = columns
        .iter()
        .map(|column| json!({ "name": column.name, "type": column.kind.to_string() }))
        .collect();
    json!({
        "name": name.as_str(),
        "columns": columns,
        "retention": { "rows": retention.rows, "age": retention.age_ms.map(age) },
        "built_in": is_built_in(name.as_str()),
        "rows": table.rows,
        "bytes": table.bytes,
        "refused": table.refused,
        "missed": table.missed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        for (text, ms) in [
            ("1500ms", 1500),
            ("30s", 30_000),
            ("90min", 5_400_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(age_ms(text).expect("a time"), ms);
            assert_eq!(age(ms), text);
        }
        for text in [
            "",
            "5",
            "h",
            "0s",
            "-1s",
            "1.5h",
            "1 h",
            "99999999999999999d",
        ] {
            assert!(age_ms(text).is_err(), "{text}");
        }
    }
}
