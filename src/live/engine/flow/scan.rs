//! What a query reads, as it is counted: whether it wants the rows or not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::types::ValueRef;

use super::{Around, Flowing};
use crate::live::engine::query::{self, own};
use crate::live::engine::table::Shared;
use crate::live::schema::TIME;
use crate::live::sql::dialect::{Flow, Work};
use crate::live::sql::names::quoted;
use crate::problem::Problem;

/// Rows that were read.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) rows: u64,
    /// The latest `_tp_time`.
    last: Option<i64>,
    /// The numbers of those rows that say a later time than all before them, and that time.
    pub(super) steps: Vec<(i64, i64)>,
}

impl Counted {
    fn add(&mut self, number: i64, came: Option<i64>, time: Option<i64>) {
        self.rows += 1;
        self.last = self.last.max(came);
        if let Some(time) = time
            && self.steps.last().is_none_or(|(_, latest)| *latest < time)
        {
            self.steps.push((number, time));
        }
    }
}

/// The statement that counts rows of the first table.
pub(super) fn statement(flow: &Flow, tables: &[Arc<Shared>]) -> String {
    let windows = match &flow.work {
        Work::Groups(gathered) => gathered.windows.as_ref(),
        _ => None,
    };
    let time = windows.map_or("NULL", |windows| windows.time.as_str());
    let table = tables
        .first()
        .map_or("", |shared| shared.schema.name.as_str());
    format!(
        "SELECT _rowid_, \"{TIME}\", {time} FROM main.{} WHERE _rowid_ >= ? AND _rowid_ < ? ORDER BY _rowid_",
        quoted(table)
    )
}

impl Flowing {
    /// Counts the rows that are read.
    pub(super) fn count(&self, end: u64, around: &Around<'_>) -> Result<Counted, Problem> {
        let mut counted = Counted::default();
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut read = || {
            let connection = around.sandbox.connection();
            let mut statement = connection.prepare_cached(&self.count)?;
            let mut rows = statement.query([number(self.place), number(end)])?;
            while let Some(row) = rows.next()? {
                let [came, time] = [row.get_ref(1)?, row.get_ref(2)?].map(|value| match value {
                    ValueRef::Integer(time) => Some(time),
                    _ => None,
                });
                counted.add(row.get(0)?, came, time);
            }
            rusqlite::Result::Ok(())
        };
        read().map_err(|error| query::stopped(own(&error), around.limits))?;
        self.tally(counted.rows, (around.bytes)(self.place..end), counted.last);
        Ok(counted)
    }

    /// Counts all rows of all its tables.
    pub(super) fn count_all(&self, around: &Around<'_>) -> Result<(), Problem> {
        for shared in &self.tables {
            let name = quoted(shared.schema.name.as_str());
            let latest = format!("SELECT max(\"{TIME}\") FROM main.{name}");
            let connection = around.sandbox.connection();
            let latest = connection.query_row(&latest, [], |row| row.get(0));
            let latest = latest.map_err(|error| query::stopped(own(&error), around.limits))?;
            let rows = shared.rows.load(Ordering::Relaxed);
            self.tally(rows, shared.bytes.load(Ordering::Relaxed), latest);
        }
        Ok(())
    }

    fn tally(&self, rows: u64, bytes: u64, latest: Option<i64>) {
        let tally = &self.begin.tally;
        tally.rows.fetch_add(rows, Ordering::Relaxed);
        tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        let latest = latest.and_then(|latest| u64::try_from(latest).ok());
        tally
            .last_event_ms
            .fetch_max(latest.unwrap_or_default(), Ordering::Relaxed);
    }
}
