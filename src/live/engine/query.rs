//! A query that is watched: who watches it, what it costs, and one run of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use rusqlite::{ErrorCode, Row};

use super::encode::{Columns, Written};
use super::panes;
use super::{Cost, Limits, Outcome, Rows, Told};
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::sql::{Class, Plan};
use crate::problem::Problem;

/// What is evaluated once: the same text at the same times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) every_ms: u64,
    pub(super) text: Arc<str>,
}

/// Somebody begins to watch.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) id: u64,
    pub(super) plan: Arc<Plan>,
    pub(super) every_ms: u64,
    pub(super) told: Told,
    pub(super) cost: Arc<CostOf>,
}

impl Watch {
    /// Whether the new rows alone keep it fresh.
    pub(super) fn is_incremental(&self) -> bool {
        match &self.plan.class {
            Class::Rows { .. } => true,
            Class::Groups(groups) => panes::width(&groups.rows, self.every_ms).is_some(),
            Class::Whole => false,
        }
    }

    pub(super) fn key(&self) -> Key {
        Key {
            every_ms: self.every_ms,
            text: self.plan.text.as_str().into(),
        }
    }
}

/// The cost of whatever evaluation a view has joined.
#[derive(Debug, Default)]
pub(super) struct CostOf(Mutex<Option<Arc<Mutex<Cost>>>>);

impl CostOf {
    pub(super) fn join(&self, cost: &Arc<Mutex<Cost>>) {
        *lock(&self.0) = Some(cost.clone());
    }

    pub(super) fn read(&self) -> Cost {
        lock(&self.0)
            .as_ref()
            .map_or_else(Cost::default, |cost| lock(cost).clone())
    }
}

/// Those who watch one evaluation.
pub(super) struct Viewers {
    watches: Vec<Watch>,
    pub(super) cost: Arc<Mutex<Cost>>,
}

impl Viewers {
    pub(super) fn new(class: u8) -> Viewers {
        let cost = Cost {
            class,
            ..Cost::default()
        };
        Viewers {
            watches: Vec::new(),
            cost: Arc::new(Mutex::new(cost)),
        }
    }

    pub(super) fn add(&mut self, watch: Watch) {
        watch.cost.join(&self.cost);
        self.watches.push(watch);
    }

    /// Whether nobody is left.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        self.watches.retain(|watch| watch.id != id);
        self.watches.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    pub(super) fn tell(&self, outcome: &Outcome) {
        for watch in &self.watches {
            watch.told.tell(outcome.clone());
        }
    }

    /// Takes all of them away.
    pub(super) fn take(&mut self) -> Vec<Watch> {
        std::mem::take(&mut self.watches)
    }

    pub(super) fn ran(&self, took: Duration) {
        let mut cost = lock(&self.cost);
        cost.runs += 1;
        cost.last_us = took.as_micros() as u64;
        cost.all_us += cost.last_us;
    }
}

/// The kind of problem when its time was over.
pub(super) const TIME: &str = "query-time";

/// The kind of problem when there was no memory.
pub(super) const MEMORY: &str = "query-memory";

/// A SELECT that is run again and again.
#[derive(Debug)]
pub(super) struct Select {
    sql: String,
    /// Known once it has run.
    columns: Option<Columns>,
}

impl Select {
    pub(super) fn new(sql: String) -> Select {
        Select { sql, columns: None }
    }

    /// The same as [`each`], with what the rows are written by.
    pub(super) fn each(
        &mut self,
        sandbox: &Sandbox,
        parameters: &[(&str, u64)],
        time: Duration,
        mut take: impl FnMut(&Columns, &Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), Stopped> {
        if self.columns.is_none() {
            self.columns = Some(Columns::of(&*sandbox.prepare_stranger(&self.sql)?));
        }
        let Some(columns) = &self.columns else {
            return Ok(());
        };
        each(sandbox, &self.sql, parameters, time, |row| {
            take(columns, row)
        })
    }

    /// All of its result, which has a limit.
    pub(super) fn whole(
        &mut self,
        sandbox: &Sandbox,
        now_ms: u64,
        limits: &Limits,
    ) -> Result<Rows, Problem> {
        self.whole_within(sandbox, now_ms, limits, limits.query_time)
    }

    /// The same in less time.
    pub(super) fn whole_within(
        &mut self,
        sandbox: &Sandbox,
        now_ms: u64,
        limits: &Limits,
        time: Duration,
    ) -> Result<Rows, Problem> {
        let mut written = Written::default();
        let now = [(":now", now_ms)];
        self.each(sandbox, &now, time, |columns, row| {
            written.push(columns, row)?;
            Ok(written.len() <= limits.result_bytes)
        })
        .map_err(|why| stopped(why, limits))?;
        match written.len() > limits.result_bytes {
            true => Err(too_large(limits)),
            false => Ok(written.finish()),
        }
    }
}

/// Runs a SELECT, and hands each row on until one is not wanted any more. A parameter that it has not is left out.
pub(super) fn each(
    sandbox: &Sandbox,
    sql: &str,
    parameters: &[(&str, u64)],
    time: Duration,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
) -> Result<(), Stopped> {
    let mut statement = sandbox.prepare_stranger(sql)?;
    sandbox.within(time, || {
        for (name, value) in parameters {
            if let Some(index) = statement.parameter_index(name)? {
                let value = i64::try_from(*value).unwrap_or(i64::MAX);
                statement.raw_bind_parameter(index, value)?;
            }
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if !take(row)? {
                break;
            }
        }
        Ok(())
    })
}

/// What stopped a statement of the engine's own.
pub(super) fn own(error: &rusqlite::Error) -> Stopped {
    match error.sqlite_error_code() {
        Some(ErrorCode::OutOfMemory | ErrorCode::TooBig) => Stopped::Memory,
        _ => Stopped::Other(error.to_string()),
    }
}

/// Why a query ends that was stopped.
pub(super) fn stopped(why: Stopped, limits: &Limits) -> Problem {
    match why {
        Stopped::Time => ended(
            TIME,
            format!(
                "the query took longer than {:?} (query-time); let it read or compute less",
                limits.query_time
            ),
        ),
        Stopped::Memory => ended(
            MEMORY,
            format!(
                "the query wanted more memory than there is of {} bytes (query-memory), or made a value of more than {} bytes (query-result); let it hold less",
                limits.query_memory, limits.result_bytes
            ),
        ),
        Stopped::Groups => ended(
            "groups-memory",
            format!(
                "the groups of this query and of the others want more memory than there is of {} bytes (groups-memory); group by less, or read less",
                limits.groups_bytes
            ),
        ),
        Stopped::Aborted => Problem::unavailable("draining", "the server is about to end"),
        Stopped::Other(words) => ended("query", format!("SQLite says: {words}")),
    }
}

/// Why a query ends whose result is too large.
pub(super) fn too_large(limits: &Limits) -> Problem {
    ended(
        "query-result",
        format!(
            "the result is over its limit of {} bytes (query-result); select less, or add a LIMIT",
            limits.result_bytes
        ),
    )
}

/// Why a query ends that has too many groups.
pub(super) fn too_many_groups(limits: &Limits) -> Problem {
    ended(
        "query-groups",
        format!(
            "the query has more than {} groups (query-groups); group by less, or read less",
            limits.groups
        ),
    )
}

/// Why a query of the dialect ends whose groups hold too much.
pub(super) fn too_much_held(limits: &Limits) -> Problem {
    ended(
        MEMORY,
        format!(
            "groups hold more than {} bytes (a quarter of query-memory), and those of this query the most; group by less, or tell fewer values apart",
            limits.states_bytes
        ),
    )
}

/// Why a query ends when one of its tables does.
pub(super) fn dropped(table: &Topic) -> Problem {
    let detail = format!("table {table} was dropped; create it again, or ask for another");
    Problem::new(StatusCode::GONE, "table-dropped", detail)
}

fn ended(kind: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, detail)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
