//! The engine: threads that hold the tables and keep the results of what is watched fresh.
//!
//! `front` reads SQL, `whole` has all retained rows, `fresh` the new ones and what is kept of the others.

mod declared;
mod encode;
mod fill;
mod flow;
mod fresh;
mod late;
mod limits;
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
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

use crate::event::{EventId, Topic};
use crate::live::schema::{Schema, built_in};
use crate::live::sql::Plan;
use crate::live::sql::dialect::{Flow, Statement};
use crate::log::Log;
use crate::problem::Problem;

pub use self::declared::{Table, Turn};
use self::flow::{Begin, Tally};
pub use self::flow::{Progress, Reader, Run, Told as FlowTold};
pub use self::limits::Limits;
use self::query::{CostOf, Watch};
use self::room::Room;
use self::table::Shared;
use self::threads::{Ask, Threads};

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
