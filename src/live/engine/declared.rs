//! The tables that are declared, by name, and who publishes to them when.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;

use super::Engine;
use super::table::Shared;
use super::threads::{Ask, Threads};
use crate::event::{EventId, Topic};
use crate::live::schema::Schema;
use crate::problem::Problem;

/// Rows that wait are taken at once when they are more than this part of what the log may retain of their topic.
const MANY: u64 = 4;

/// From so many tables on that were dropped it is looked at which of their topics have nothing from before any more.
const DROPPED: usize = 1_000;

/// A table, as it is now.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it is made of.
    pub schema: Arc<Schema>,
    /// Events up to this place are none of its rows.
    pub since: EventId,
    /// Rows retained.
    pub rows: u64,
    /// Bytes that they hold, about.
    pub bytes: u64,
    /// Events of its topic that were no rows: not JSON objects, or not of its columns.
    pub refused: u64,
    /// Events that fell off the log before they could be rows.
    pub missed: u64,
}

/// Who publishes to tables. When it ends, the threads are told if there are many rows.
pub struct Turn<'a> {
    threads: &'a Threads,
    are_many: bool,
    _publishing: MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.are_many {
            self.threads.look();
        }
    }
}

impl Engine {
    /// Declares a table.
    ///
    /// # Errors
    /// 400 for what is no schema, 409 when there is one of that name, 429 when it is one too many.
    pub async fn create(&self, schema: Schema) -> Result<(), Problem> {
        let name = schema.name.clone();
        let declared = self.declare(schema, EventId::ZERO)?;
        let created = declared.await;
        if created.is_err() {
            let _ = self.forget(&name, self.log.head());
        }
        created
    }

    /// The same without waiting for what SQLite says of it; who calls it takes it back if that is no. Events up to a place
    /// are none of its rows.
    ///
    /// # Errors
    /// The same.
    pub fn declare(
        &self,
        schema: Schema,
        since: EventId,
    ) -> Result<impl Future<Output = Result<(), Problem>> + use<>, Problem> {
        let schema = Arc::new(schema.checked(self.limits.columns)?);
        let shared = self.enter(&schema, since)?;
        self.threads.fresh(Ask::Create(shared.clone()));
        self.threads.whole(Ask::Create(shared));
        Ok(self.threads.create(schema))
    }

    /// Whether it can be a table, and one more is not too much.
    ///
    /// # Errors
    /// 400 for what is no schema, 429 when there are enough tables.
    pub fn room(&self, schema: &Schema) -> Result<(), Problem> {
        schema.clone().checked(self.limits.columns)?;
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        match tables.contains_key(&schema.name) {
            // That is another matter.
            true => Ok(()),
            false => self.is_room(schema, tables.len()),
        }
    }

    fn is_room(&self, schema: &Schema, there_are: usize) -> Result<(), Problem> {
        let most = self.limits.table_rows;
        if schema.retention.rows > most {
            let detail = format!(
                "a table retains at most {most} rows (table-rows); ask for fewer or raise the limit"
            );
            return Err(Problem::bad_request("schema", detail));
        }
        if there_are >= self.limits.tables {
            let detail = format!(
                "there are {there_are} tables, which is the limit (tables); drop one or raise the limit"
            );
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tables", detail);
            return Err(problem.with(RETRY_AFTER, "60"));
        }
        Ok(())
    }

    fn enter(&self, schema: &Arc<Schema>, since: EventId) -> Result<Arc<Shared>, Problem> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let name = schema.name.as_str();
        if let Some(known) = tables
            .keys()
            .find(|t| t.as_str().eq_ignore_ascii_case(name))
        {
            let detail = format!("there is a table {known}; names are told apart without case");
            return Err(Problem::new(StatusCode::CONFLICT, "table-exists", detail));
        }
        self.is_room(schema, tables.len())?;
        let since = self.dropped().remove(&schema.name).unwrap_or(since);
        let shared = Arc::new(Shared::new(schema.clone(), &self.log, since));
        tables.insert(schema.name.clone(), shared.clone());
        Ok(shared)
    }

    /// Forgets a table and its rows, which are the events up to a place; queries that read it end.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn forget(&self, name: &Topic, until: EventId) -> Result<(), Problem> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.remove(name).is_none() {
            let detail = format!("there is no table {name}");
            return Err(Problem::new(StatusCode::NOT_FOUND, "table", detail));
        }
        let mut dropped = self.dropped();
        dropped.insert(name.clone(), until);
        if dropped.len() > DROPPED {
            dropped.retain(|name, until| {
                let scan = self.log.scan(name);
                scan.first() < scan.number_after(*until)
            });
        }
        drop(dropped);
        // Under the lock, so that no table of the same name comes in between.
        self.threads.forget(name);
        Ok(())
    }

    fn dropped(&self) -> MutexGuard<'_, BTreeMap<Topic, EventId>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, by name.
    pub fn tables(&self) -> Vec<Table> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.values().map(|shared| shared.table()).collect()
    }

    /// A turn to publish so many events and bytes to tables: rows wait in the log, which lets the oldest go, so nobody
    /// may publish more than there is room for. To be held until they are in the log.
    ///
    /// # Errors
    /// 503 when a table has not taken half of what the log may retain of it, or the rest has no room for so much.
    pub fn turn(&self, wanted: &BTreeMap<&Topic, (u64, u64)>) -> Result<Turn<'_>, Problem> {
        let limits = self.log.limits();
        let (most_events, most_bytes) = (limits.topic_events as u64, limits.topic_bytes);
        let publishing = self.publishing.lock();
        let mut turn = Turn {
            threads: &self.threads,
            are_many: false,
            _publishing: publishing.unwrap_or_else(PoisonError::into_inner),
        };
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        for (name, (events, bytes)) in wanted {
            let waiting = tables.get(*name).map_or((0, 0), |shared| shared.waiting());
            let then = (waiting.0 + events, waiting.1 + bytes);
            turn.are_many |= then.0 > most_events / MANY || then.1 > most_bytes / MANY;
            let is_late = waiting.0 > most_events / 2 || waiting.1 > most_bytes / 2;
            let is_too_much = then.0 > most_events || then.1 > most_bytes;
            if waiting.0 > 0 && (is_late || is_too_much) {
                let detail = format!(
                    "table {name} has not taken {} events yet that came before, and the log retains only so many of them (topic-events, topic-bytes); retry a moment later, or publish less at once",
                    waiting.0
                );
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "table-late", detail);
                return Err(problem.with(RETRY_AFTER, "1"));
            }
        }
        Ok(turn)
    }

    /// The schema of a topic that is a table: whoever publishes there is held to it.
    pub fn schema(&self, topic: &Topic) -> Option<Arc<Schema>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(topic).map(|shared| shared.schema.clone())
    }
}
