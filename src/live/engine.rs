//! The engine: threads that hold the tables and keep the results of what is watched fresh.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::event::Topic;
use crate::live::schema::Schema;
use crate::live::sql::Plan;
use crate::log::Log;
use crate::problem::Problem;

/// Who is told what a query yields. Called on the engine's threads, one call at a time, so it must not wait for anybody.
pub trait Sink: Send + Sync {
    /// Takes what has come of it.
    fn tell(&self, outcome: Outcome);
}

/// What comes of a query that is watched.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The result, in place of what was told before: first of all, and then whenever it has changed.
    Whole(Rows),
    /// More rows, in addition: of a query of rows, after the first.
    More(Rows),
    /// It has ended, by itself or by a limit. Nothing more is told.
    Failed(Problem),
}

/// Rows of a result, encoded once.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Each a JSON object.
    pub objects: Vec<Bytes>,
    /// The value alone, when there is one row of one column.
    pub bare: Option<Bytes>,
}

impl Rows {
    /// As `result` says it: the bare value, or an array of the objects.
    pub fn json(&self) -> Bytes {
        match &self.bare {
            Some(value) => value.clone(),
            None => [&b"["[..], &self.objects.join(&b","[..]), b"]"]
                .concat()
                .into(),
        }
    }
}

/// What a view has cost, and how it is kept fresh.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// 1, 2 or 3: rows, groups, or all again.
    pub class: u8,
    /// Evaluations.
    pub runs: u64,
    /// Microseconds of the last one, and of all.
    pub last_us: u64,
    /// Microseconds of all of them.
    pub all_us: u64,
}

/// A query that is watched, for as long as this lives.
#[derive(Debug)]
pub struct View {}

impl View {
    /// What it has cost.
    pub fn cost(&self) -> Cost {
        Cost::default()
    }
}

/// Who shares the result of an evaluation.
pub type Told = Arc<dyn Sink>;

/// What strangers can make the engine hold and do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Tables, those that are built in among them.
    pub tables: usize,
    /// Columns of a table.
    pub columns: usize,
    /// Rows retained of a table that says nothing of it, and the most that it may say.
    pub table_rows: u64,
    /// Bytes retained of a table, as they are held.
    pub table_bytes: u64,
    /// Bytes retained of all tables; the oldest go first.
    pub tables_bytes: u64,
    /// Bytes of a query.
    pub query_bytes: usize,
    /// How long one evaluation may take.
    pub query_time: Duration,
    /// Bytes that SQLite may take for everything; what is beyond the tables is for the query that runs.
    pub query_memory: u64,
    /// Groups of a query.
    pub groups: usize,
    /// Bytes of a result.
    pub result_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            tables: 100,
            columns: 100,
            table_rows: 1_000_000,
            table_bytes: 128 << 20,
            tables_bytes: 256 << 20,
            query_bytes: 16 << 10,
            query_time: Duration::from_secs(1),
            query_memory: 768 << 20,
            groups: 100_000,
            result_bytes: 256 << 10,
        }
    }
}

/// A table, as it is now.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it is made of.
    pub schema: Arc<Schema>,
    /// Rows retained.
    pub rows: u64,
    /// Bytes that they hold, about.
    pub bytes: u64,
    /// Events of its topic that were no rows: not JSON objects, or not of its columns.
    pub refused: u64,
    /// Events that fell off the log before they could be rows.
    pub missed: u64,
}

/// The engine's threads; they end with it.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Starts the threads. Rows are read from the log, from the oldest that it retains of a table's topic.
    ///
    /// # Errors
    /// When a thread or SQLite cannot be started.
    pub fn start(_log: &Arc<Log>, _limits: Limits) -> io::Result<Engine> {
        Ok(Engine {})
    }

    /// Declares a table.
    ///
    /// # Errors
    /// 400 for what is no schema, 409 when there is one of that name, 429 when it is one too many.
    pub async fn create(&self, _schema: Schema) -> Result<(), Problem> {
        Err(not_yet())
    }

    /// Forgets a table and its rows; queries that read it end.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn forget(&self, _name: &Topic) -> Result<(), Problem> {
        Err(not_yet())
    }

    /// The tables, by name.
    pub fn tables(&self) -> Vec<Table> {
        Vec::new()
    }

    /// The schema of a topic that is a table: whoever publishes there is held to it.
    pub fn schema(&self, _topic: &Topic) -> Option<Arc<Schema>> {
        None
    }

    /// Reads a query.
    ///
    /// # Errors
    /// 400 with line and column; 413 when it is too long; 503 when too many wait.
    pub async fn plan(&self, _sql: String) -> Result<Arc<Plan>, Problem> {
        Err(not_yet())
    }

    /// Keeps a query fresh: every so often, at whole multiples of `every` since the Unix epoch, and told at once first.
    /// Equal plans at equal times are evaluated once.
    pub fn watch(&self, _plan: &Arc<Plan>, _every: Duration, _told: Told) -> View {
        View {}
    }
}

fn not_yet() -> Problem {
    Problem::unavailable("engine", "there is no engine yet")
}
