//! What is said to the database to make one change. All that a peer has sent is a parameter.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::shelf::Shelf;
use super::table::{Column, Table};
use crate::problem::Problem;
use crate::store::apply::Applied;
use crate::store::name::{Collection, Id};
use crate::store::write::{Document, Kind};

/// One statement. It returns one row: the document as it is kept now, and the number of the transaction.
pub(super) struct Step {
    /// Always the same for borrowed ones, which are worth preparing.
    pub(super) sql: Cow<'static, str>,
    /// Its parameters, all texts.
    pub(super) values: Vec<String>,
}

/// The token and the patch are settings of the transaction, which the triggers read.
const INSERT: &str = "
    insert into triwire.documents (collection, id, version, document)
    select $3::text, $4::text, 1, $5::text::jsonb
    from set_config('triwire.token', $1::text, true) a, set_config('triwire.patch', $2::text, true) b
    returning document::text, pg_current_xact_id()::text";
const UPDATE: &str = "
    update triwire.documents d set document = $5::text::jsonb
    from set_config('triwire.token', $1::text, true) a, set_config('triwire.patch', $2::text, true) b
    where d.collection = $3::text and d.id = $4::text
    returning d.document::text, pg_current_xact_id()::text";
const DELETE: &str = "
    delete from triwire.documents d
    using set_config('triwire.token', $1::text, true) a, set_config('triwire.patch', $2::text, true) b
    where d.collection = $3::text and d.id = $4::text
    returning null::text, pg_current_xact_id()::text";

impl Step {
    /// What makes a document of the old one what was applied.
    ///
    /// # Errors
    /// 400 for what a table does not hold.
    pub(super) fn of(
        shelf: &Shelf,
        token: i64,
        (collection, id): (&Collection, &Id),
        old: Option<&Document>,
        applied: &Applied,
    ) -> Result<Step, Problem> {
        let patch = applied.patch.as_ref();
        let patch = patch.map(|patch| format!("{collection}/{id}\n{}", text(patch)));
        let mut values = vec![token.to_string(), patch.unwrap_or_default()];
        let table = match shelf {
            Shelf::Documents => {
                values.extend([collection.to_string(), id.to_string()]);
                values.extend(applied.json.as_ref().map(|json| text(json).to_owned()));
                let sql = match applied.kind {
                    Kind::Added => INSERT,
                    Kind::Modified => UPDATE,
                    Kind::Deleted => DELETE,
                };
                return Ok(Step {
                    sql: sql.into(),
                    values,
                });
            }
            Shelf::Table(table) => table,
        };
        let key = table.key_of(id).ok_or_else(|| table.no_key(id))?;
        let new = applied.json.as_ref().map(parsed).unwrap_or_default();
        let old = old.map(|old| parsed(&old.json));
        let sql = match (applied.kind, old) {
            (Kind::Deleted, _) => {
                values.push(key);
                delete(table)
            }
            (_, None) => {
                let (sql, row) = insert(table, id, new)?;
                values.push(row);
                sql
            }
            (_, Some(old)) => {
                let (sql, row) = update(table, &old, new)?;
                values.extend([key, row]);
                sql
            }
        };
        Ok(Step {
            sql: sql.into(),
            values,
        })
    }
}

fn delete(table: &Table) -> String {
    format!(
        "delete from {relation} t
            using set_config('triwire.token', $1::text, true) a, set_config('triwire.patch', $2::text, true) b
            where {is_key} returning null::text, pg_current_xact_id()::text",
        relation = table.relation,
        is_key = table.is_key(3),
    )
}

/// Members are columns; a column that is no member gets its default.
fn insert(table: &Table, id: &Id, new: Map<String, Value>) -> Result<(String, String), Problem> {
    let mut row = Map::new();
    let mut names = vec![&*table.key.quoted];
    for (member, value) in new {
        if member == "id" {
            continue;
        }
        let column = writable(table, &member)?;
        names.push(&column.quoted);
        row.insert(member, value);
    }
    row.insert(table.key.name.clone(), id.json());
    let given = table.key.filled && table.made.is_some();
    let sql = format!(
        "insert into {relation} as t ({columns}) {overriding}
            select {values} from jsonb_populate_record(null::{relation}, $3::text::jsonb) r,
                set_config('triwire.token', $1::text, true) a, set_config('triwire.patch', $2::text, true) b
            returning {json}, pg_current_xact_id()::text",
        relation = table.relation,
        columns = names.join(", "),
        values = of_row(&names),
        json = table.json(),
        // The number was drawn from the column's own sequence.
        overriding = if given { "overriding system value" } else { "" },
    );
    Ok((sql, Value::Object(row).to_string()))
}

/// Only what is another value is set, so that a row keeps what JSON cannot hold. A member that is no more makes its column
/// what it is by default.
fn update(
    table: &Table,
    old: &Map<String, Value>,
    new: Map<String, Value>,
) -> Result<(String, String), Problem> {
    let mut sets = Vec::new();
    for member in old.keys().filter(|member| !new.contains_key(*member)) {
        let column = table.column(member);
        if let Some(column) = column.filter(|column| !column.filled && !old[member].is_null()) {
            sets.push(format!("{} = default", column.quoted));
        }
    }
    let mut row = Map::new();
    for (member, value) in new {
        if member != "id" && old.get(&member) != Some(&value) {
            let quoted = &writable(table, &member)?.quoted;
            sets.push(format!("{quoted} = r.{quoted}"));
            row.insert(member, value);
        }
    }
    if sets.is_empty() {
        // It counts as a change all the same, since it was asked for.
        let mut columns = table.columns.iter().filter(|column| !column.filled);
        let same = &columns.next().unwrap_or(&table.key).quoted;
        sets.push(format!("{same} = t.{same}"));
    }
    let sql = format!(
        "update {relation} t set {sets} from jsonb_populate_record(null::{relation}, $4::text::jsonb) r,
                set_config('triwire.token', $1::text, true) a, set_config('triwire.patch', $2::text, true) b
            where {is_key} returning {json}, pg_current_xact_id()::text",
        relation = table.relation,
        sets = sets.join(", "),
        is_key = table.is_key(3),
        json = table.json(),
    );
    Ok((sql, Value::Object(row).to_string()))
}

/// # Errors
/// 400 for a member that is no column, or one that the database alone fills.
fn writable<'t>(table: &'t Table, member: &str) -> Result<&'t Column, Problem> {
    let column = table
        .column(member)
        .ok_or_else(|| table.no_column(member))?;
    if column.filled {
        let detail = format!("the database alone fills {member:?}; leave it out, or as it is");
        return Err(Problem::bad_request("column", detail));
    }
    Ok(column)
}

fn of_row(names: &[&str]) -> String {
    let values: Vec<String> = names.iter().map(|name| format!("r.{name}")).collect();
    values.join(", ")
}

/// What was made by our own hand, or read from the database.
fn parsed(json: &Bytes) -> Map<String, Value> {
    serde_json::from_slice(json).unwrap_or_default()
}

fn text(json: &Bytes) -> &str {
    std::str::from_utf8(json).unwrap_or_default()
}
