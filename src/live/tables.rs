//! Tables: as their authors say them and as they are told, how they are made and forgotten, and what their topics take.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Live;
use super::change::Op;
use super::definitions::{Change, Kind};
use super::engine::{Limits, Table, Turn};
use super::schema::{Column, Retention, Schema};
use crate::event::{Draft, Topic};
use crate::problem::Problem;

/// A table as its author says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    name: String,
    columns: Vec<AskedColumn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<AskedRetention>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedColumn {
    name: String,
    r#type: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A table of these columns, each a name and a type, whose rows are retained for so long at most.
    pub fn new(name: String, columns: Vec<(String, String)>, age_ms: Option<u64>) -> Asked {
        let column = |(name, r#type)| AskedColumn { name, r#type };
        Asked {
            name,
            columns: columns.into_iter().map(column).collect(),
            retention: age_ms.map(|ms| AskedRetention {
                rows: None,
                age: Some(age(ms)),
            }),
        }
    }

    /// What it is to be called.
    pub fn name(&self) -> &str {
        &self.name
    }

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
    // An age in months would be no age: `m` can only be minutes.
    let unit = if unit == "m" { "min" } else { unit };
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

/// Others have a table, and this replica has not.
pub(super) fn is_missing(name: &str, problem: &Problem) {
    tracing::error!("table {name} of the other replicas is not here: {problem}");
}

impl Live {
    /// Takes up a table from before a restart.
    pub(super) async fn restore_table(&self, body: &str) {
        let schema = Asked::parse(body).and_then(|asked| asked.schema(&self.limits.engine));
        let made = match schema {
            Ok(schema) => self.engine.create(schema).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = made {
            tracing::warn!("a table from before the restart is not there: {problem}: {body}");
        }
    }

    /// Declares a table.
    ///
    /// # Errors
    /// 400 for what is no schema, 409 when there is one of that name, 429 when it is one too many.
    pub async fn create_table(self: Arc<Live>, asked: Asked) -> Result<Value, Problem> {
        let schema = asked.schema(&self.limits.engine)?;
        let name = schema.name.clone();
        if self.is_shared() {
            // Else others would have it, though it was refused here. What was dropped elsewhere makes room.
            if let Err(problem) = self.engine.room(&schema) {
                if problem.status == StatusCode::TOO_MANY_REQUESTS {
                    self.settle().await?;
                }
                self.engine.room(&schema)?;
            }
            self.change(Op::Declare(asked), None).await?;
            return Ok(describe(&self.table(name.as_str())?));
        }
        let _turn = self.changing.lock().await;
        self.engine.create(schema).await?;
        let table = self.table(name.as_str())?;
        let body = Asked::of(&table.schema);
        let body = serde_json::to_string(&body).expect("text and numbers");
        let kept = self.keep(Change::Put(Kind::Table, name.to_string(), body));
        if let Err(problem) = kept.await {
            self.engine.forget(&name, self.log.head())?;
            return Err(problem);
        }
        Ok(describe(&table))
    }

    /// Forgets a table and its rows; queries that read it end.
    ///
    /// # Errors
    /// 404 when there is none, 403 for one that is built in.
    pub async fn forget_table(self: Arc<Live>, name: String) -> Result<(), Problem> {
        self.change(Op::Forget(name), None).await
    }

    /// The tables, by name.
    pub fn tables(&self) -> Vec<Table> {
        self.engine.tables()
    }

    /// One table.
    ///
    /// # Errors
    /// 404 when there is none of this name.
    pub fn table(&self, name: &str) -> Result<Table, Problem> {
        let mut tables = self.engine.tables().into_iter();
        let found = tables.find(|table| table.schema.name.as_str() == name);
        found.ok_or_else(|| {
            let detail = format!("there is no table {name}; POST /streams makes one");
            Problem::new(StatusCode::NOT_FOUND, "unknown-table", detail)
        })
    }

    /// The same, on whichever replica it was declared a moment ago.
    ///
    /// # Errors
    /// The same, and 503 when the relay is away.
    pub async fn find_table(&self, name: &str) -> Result<Table, Problem> {
        match self.table(name) {
            Err(_) if self.is_shared() => {
                self.settle().await?;
                self.table(name)
            }
            found => found,
        }
    }

    /// The schema that a topic's events are held to, if it is a table.
    pub fn schema(&self, topic: &Topic) -> Option<Arc<Schema>> {
        self.engine.schema(topic)
    }

    /// Holds what is published to the schemas of the tables that it would be rows of, and waits for the turn of it, which
    /// is to be held until it is in the log; nothing that goes to no table waits.
    ///
    /// # Errors
    /// 400 that names the first event, if they are several, and the column; 503 when a table has no room for it yet.
    pub fn admit(&self, drafts: &[Draft]) -> Result<Option<Turn<'_>>, Problem> {
        let mut wanted: BTreeMap<&Topic, (u64, u64)> = BTreeMap::new();
        let mut last: Option<(&Topic, Option<Arc<Schema>>)> = None;
        for (index, draft) in drafts.iter().enumerate() {
            if last
                .as_ref()
                .is_none_or(|(topic, _)| **topic != draft.topic)
            {
                last = Some((&draft.topic, self.schema(&draft.topic)));
            }
            let Some((_, Some(schema))) = &last else {
                continue;
            };
            if draft.payload.is_json() {
                schema.check(draft.payload.bytes()).map_err(|problem| {
                    let detail = match drafts.len() {
                        1 => problem.detail,
                        _ => format!("event {}: {}", index + 1, problem.detail).into(),
                    };
                    Problem { detail, ..problem }
                })?;
            }
            let (events, bytes) = wanted.entry(&draft.topic).or_default();
            *events += 1;
            *bytes += draft.payload.bytes().len() as u64;
        }
        match wanted.is_empty() {
            true => Ok(None),
            false => self.engine.turn(&wanted).map(Some),
        }
    }
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
        assert_eq!(age_ms("10m").expect("a time"), 600_000);
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
