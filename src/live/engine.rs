//! The engine: threads that hold the tables and keep the results of what is watched fresh.
//!
//! `front` reads SQL, `whole` has all retained rows, `fresh` the new ones and what is kept of the others.

mod encode;
mod fill;
mod flow;
mod fresh;
mod late;
mod panes;
mod quantum;
mod query;
mod room;
mod shape;
mod slots;
mod state;
mod table;
mod threads;
mod totals;
mod typed;
mod whole;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::RETRY_AFTER;

use crate::event::{EventId, Topic};
use crate::live::schema::{Schema, built_in};
use crate::live::sql::Plan;
use crate::live::sql::dialect::{Flow, Statement};
use crate::log::Log;
use crate::problem::Problem;

use self::flow::{Begin, Tally};
pub use self::flow::{Progress, Reader, Run, Told as FlowTold};
use self::query::{CostOf, Watch};
use self::room::Room;
use self::table::Shared;
use self::threads::{Ask, Threads};

/// Rows that wait are taken at once when they are more than this part of what the log may retain of their topic.
const MANY: u64 = 4;

/// From so many tables on that were dropped it is looked at which of their topics have nothing from before any more.
const DROPPED: usize = 1_000;

/// Who is told what a query yields. Called on the engine's threads, one call at a time, so it must not wait for anybody.
pub trait Sink: Send + Sync {
    /// Takes what has come of it.
    fn tell(&self, outcome: Outcome);
}

/// What comes of a query that is watched.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The result, in place of what was told before: first of all, and then whenever it has changed. Of a query of
    /// rows the newest of those that are retained, in the order in which they came.
    Whole(Rows),
    /// More rows, in addition: of a query of rows, after the first.
    More(Rows),
    /// It has ended, by itself or by a limit. Nothing more is told.
    Failed(Problem),
}

/// Rows of a result, encoded once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
pub struct View {
    id: u64,
    threads: Arc<Threads>,
    cost: Arc<CostOf>,
}

impl View {
    /// What it has cost.
    pub fn cost(&self) -> Cost {
        self.cost.read()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // It may have moved from one to the other.
        self.threads.fresh(Ask::Unwatch(self.id));
        self.threads.whole(Ask::Unwatch(self.id));
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
    /// Bytes of groups that the queries of the dialect may hold all together; they are not SQLite's.
    pub states_bytes: usize,
    /// Groups of a query.
    pub groups: usize,
    /// Bytes that the groups of all queries may hold, as far as new rows keep them fresh.
    pub groups_bytes: usize,
    /// Bytes of a result.
    pub result_bytes: usize,
    /// Bytes of what a query of the dialect tells at once: all of it, if it is not told row by row.
    pub flow_bytes: usize,
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
            states_bytes: 192 << 20,
            groups: 100_000,
            groups_bytes: 256 << 20,
            result_bytes: 256 << 10,
            flow_bytes: 16 << 20,
        }
    }
}

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

/// What the engine has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Microseconds that the threads were busy: the one that reads SQL, the one of new rows, the one of all rows.
    pub busy_us: [u64; 3],
    /// Events that became rows.
    pub rows: u64,
    /// Evaluations by class: rows, groups, all again.
    pub runs: [u64; 3],
    /// First results that were made of all retained rows, for queries of rows and groups.
    pub fills: u64,
}

/// The same as it is counted.
#[derive(Debug, Default)]
struct Counters {
    busy_us: [AtomicU64; 3],
    rows: AtomicU64,
    runs: [AtomicU64; 3],
    fills: AtomicU64,
    /// Bytes that groups hold.
    groups: Arc<AtomicUsize>,
}

impl Counters {
    /// Of what groups may hold.
    fn room(&self, limits: &Limits) -> Room {
        Room::new(&self.groups, limits.groups_bytes)
    }
}

/// The time: of the day, and one that never steps.
#[derive(Clone, Copy, Debug)]
struct Time {
    wall_ms: u64,
    steady: Duration,
}

impl Time {
    /// The last whole multiple of `every_ms`.
    fn tick(&self, every_ms: u64) -> u64 {
        self.wall_ms - self.wall_ms % every_ms
    }

    /// How long until the next.
    fn until(&self, every_ms: u64) -> Duration {
        Duration::from_millis(every_ms - self.wall_ms % every_ms)
    }
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

/// The engine's threads; they end with it.
pub struct Engine {
    log: Arc<Log>,
    /// One publisher to tables after the other: what one has room for, no other takes.
    publishing: Mutex<()>,
    limits: Limits,
    tables: RwLock<BTreeMap<Topic, Arc<Shared>>>,
    /// Where the topics of tables that were dropped ended then: what is declared by such a name begins there.
    dropped: Mutex<BTreeMap<Topic, EventId>>,
    threads: Arc<Threads>,
    counters: Arc<Counters>,
    views: AtomicU64,
}

impl Engine {
    /// Starts the threads. Rows are read from the log, from the oldest that it retains of a table's topic.
    ///
    /// # Errors
    /// When a thread or SQLite cannot be started.
    pub fn start(log: &Arc<Log>, limits: Limits) -> io::Result<Engine> {
        let counters = Arc::default();
        let shared = |schema: Schema| Arc::new(Shared::new(schema.into(), log, EventId::ZERO));
        let shared = built_in(limits.table_rows).map(shared);
        let threads = Threads::start(limits, &counters, &shared)?;
        let named = shared.into_iter().map(|s| (s.schema.name.clone(), s));
        Ok(Engine {
            log: log.clone(),
            publishing: Mutex::new(()),
            limits,
            tables: RwLock::new(named.collect()),
            dropped: Mutex::default(),
            threads: Arc::new(threads),
            counters,
            views: AtomicU64::new(0),
        })
    }

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

    /// Reads a query.
    ///
    /// # Errors
    /// 400 with line and column; 413 when it is too long; 503 when too many wait.
    pub async fn plan(&self, sql: String) -> Result<Arc<Plan>, Problem> {
        self.threads.plan(sql).await.map(Arc::new)
    }

    /// Keeps a query fresh: every so often, at whole multiples of `every` since the Unix epoch, and told at once first.
    /// Equal plans at equal times are evaluated once.
    pub fn watch(&self, plan: &Arc<Plan>, every: Duration, told: Told) -> View {
        let id = self.views.fetch_add(1, Ordering::Relaxed);
        let cost = Arc::default();
        let watch = Watch {
            id,
            plan: plan.clone(),
            every_ms: (every.as_millis() as u64).max(1),
            told,
            cost: Arc::clone(&cost),
        };
        match watch.is_incremental() {
            true => self.threads.fresh(Ask::Watch(watch)),
            false => self.threads.whole(Ask::Watch(watch)),
        }
        View {
            id,
            threads: self.threads.clone(),
            cost,
        }
    }

    /// Reads what is sent as a query of the dialect.
    ///
    /// # Errors
    /// As [`Engine::plan`].
    pub async fn statement(&self, sql: String) -> Result<Statement, Problem> {
        self.threads.statement(sql).await
    }

    /// Begins a query of the dialect, with the rows that come from now on or those that are retained too; it ends when
    /// the run is dropped.
    pub fn run(&self, flow: &Arc<Flow>, reader: Arc<dyn Reader>) -> Run {
        let id = self.views.fetch_add(1, Ordering::Relaxed);
        let tally = Arc::<Tally>::default();
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let place = |name: &String| {
            let (name, shared) = tables.iter().find(|(own, _)| own.as_str() == name)?;
            Some((name.clone(), shared.end()))
        };
        let begin = Begin {
            id,
            flow: flow.clone(),
            reader,
            tally: tally.clone(),
            places: flow.about.streams.iter().filter_map(place).collect(),
        };
        self.threads.whole(Ask::Begin(begin));
        Run {
            id,
            threads: self.threads.clone(),
            tally,
        }
    }

    /// What it has done.
    pub fn load(&self) -> Load {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Load {
            busy_us: self.counters.busy_us.each_ref().map(read),
            rows: read(&self.counters.rows),
            runs: self.counters.runs.each_ref().map(read),
            fills: read(&self.counters.fills),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.threads.end();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("load", &self.load())
            .finish()
    }
}

#[cfg(test)]
mod tests;
