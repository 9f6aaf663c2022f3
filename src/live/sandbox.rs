//! A SQLite database in memory that can be lent to strangers: what they may read and call is on a list, how long and
//! how much they may compute has a limit, and nothing leads out of it to files, settings or other databases.
//!
//! The engine's own statements (tables, rows) are under the limits of size only.

mod clock;
mod edges;
pub mod functions;
mod like;
pub mod moments;
mod quantile;
mod streams;
mod text;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{CachedStatement, Connection, Error, ErrorCode, OpenFlags, ffi};

use self::clock::{Clock, STEPS};
use crate::live::engine::Limits;

/// How the names of SQLite's own tables begin, those that are made by naming them among them.
const OWN: [&str; 8] = [
    "sqlite_",
    "pragma_",
    "json",
    "dbstat",
    "fts",
    "rtree",
    "bytecode",
    "tables_used",
];

/// A database of its own, for one thread.
#[derive(Debug)]
pub struct Sandbox {
    connection: Connection,
    watch: Arc<Watch>,
    gate: Arc<Gate>,
}

/// Why a statement did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Its time was over.
    Time,
    /// Somebody wanted it to stop.
    Aborted,
    /// It wanted more memory than there is for it, or made a value that is too long.
    Memory,
    /// What is kept of groups wanted more memory than there is for that.
    Groups,
    /// What SQLite says of it.
    Other(String),
}

/// Stops what runs in a sandbox, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Watch>);

/// When to stop.
#[derive(Debug)]
struct Watch {
    clock: Clock,
    /// Nanoseconds of the clock; `u64::MAX` is never.
    deadline: AtomicU64,
    aborted: AtomicBool,
}

/// What strangers may name.
#[derive(Debug, Default)]
struct Gate {
    closed: AtomicBool,
    tables: Mutex<HashSet<String>>,
}

impl Sandbox {
    /// An empty one.
    ///
    /// # Errors
    /// What SQLite says, if there is no memory even for that.
    pub fn open(limits: &Limits) -> rusqlite::Result<Sandbox> {
        Sandbox::timed(limits, Clock::start())
    }

    /// One whose time is the work that is done in it.
    ///
    /// # Errors
    /// The same.
    #[cfg(test)]
    pub fn by_work(limits: &Limits) -> rusqlite::Result<Sandbox> {
        Sandbox::timed(limits, Clock::Work(0.into()))
    }

    fn timed(limits: &Limits, clock: Clock) -> rusqlite::Result<Sandbox> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_in_memory_with_flags(flags)?;
        let mut sandbox = Sandbox {
            connection,
            watch: Arc::new(Watch {
                clock,
                deadline: AtomicU64::new(u64::MAX),
                aborted: AtomicBool::new(false),
            }),
            gate: Arc::default(),
        };
        sandbox.harden(limits)?;
        functions::register(&sandbox.connection, limits.result_bytes, &sandbox.watch)?;
        Ok(sandbox)
    }

    fn harden(&mut self, limits: &Limits) -> rusqlite::Result<()> {
        let connection = &mut self.connection;
        connection.pragma_update(None, "temp_store", "memory")?;
        // For the whole process, and it can only be made less: all sandboxes share it.
        connection.query_row(
            &format!("pragma hard_heap_limit = {}", limits.query_memory),
            [],
            |_| Ok(()),
        )?;
        for (what, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
            // A name in double quotes that nobody knows is an error and not a string.
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        ] {
            connection.set_db_config(what, on)?;
        }
        let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        for (what, most) in [
            (Limit::SQLITE_LIMIT_LENGTH, int(limits.result_bytes)),
            // What is rewritten is longer than what was written.
            (
                Limit::SQLITE_LIMIT_SQL_LENGTH,
                int(limits.query_bytes.saturating_mul(16).max(64 << 10)),
            ),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 250),
            (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
            // The engine's own tables of totals have one for each aggregate that anybody asks for.
            (Limit::SQLITE_LIMIT_COLUMN, 2_000),
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 2_000),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 64),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(what, most)?;
        }
        let gate = Arc::clone(&self.gate);
        // Set once: SQLite compiles all statements anew whenever it is set.
        connection.authorizer(Some(move |asked: AuthContext<'_>| gate.judge(asked)))?;
        let watch = Arc::clone(&self.watch);
        connection.progress_handler(
            STEPS,
            Some(move || {
                watch.clock.stepped();
                watch.is_over()
            }),
        )
    }

    /// For the engine's own statements.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Lets strangers read a table.
    pub fn permit(&self, table: &str) {
        self.gate.tables().insert(table.to_ascii_lowercase());
    }

    /// No longer lets strangers read it.
    pub fn forbid(&self, table: &str) {
        self.gate.tables().remove(&table.to_ascii_lowercase());
    }

    /// Prepares what a stranger wrote, or takes it from the connection's cache: one SELECT that names nothing but what
    /// is permitted.
    ///
    /// # Errors
    /// What SQLite says of it.
    pub fn prepare_stranger(&self, sql: &str) -> Result<CachedStatement<'_>, Stopped> {
        self.gate.closed.store(true, Ordering::Relaxed);
        let prepared = self.connection.prepare_cached(sql);
        self.gate.closed.store(false, Ordering::Relaxed);
        let statement = prepared.map_err(|e| self.watch.reason(&e))?;
        if !statement.readonly() || statement.is_explain() != 0 || statement.column_count() == 0 {
            return Err(Stopped::Other("only a SELECT can be run".to_owned()));
        }
        Ok(statement)
    }

    /// Does some work that must end in time.
    ///
    /// # Errors
    /// Why it did not.
    pub fn within<T>(
        &self,
        time: Duration,
        work: impl FnOnce() -> rusqlite::Result<T>,
    ) -> Result<T, Stopped> {
        self.watch.aborted.store(false, Ordering::Relaxed);
        self.watch.set(Some(time));
        let done = work().map_err(|e| self.watch.reason(&e));
        self.watch.set(None);
        done
    }

    /// The time, by which what is done here is measured.
    pub fn now(&self) -> Duration {
        self.watch.clock.now()
    }

    /// What stops it from elsewhere: what is within its time now, not what comes after.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.watch))
    }
}

impl Stopper {
    /// Stops what runs.
    pub fn stop(&self) {
        self.0.aborted.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    fn set(&self, time: Option<Duration>) {
        let deadline = time.map_or(u64::MAX, |t| nanos(self.clock.now() + t));
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        // The engine's own work has no deadline and cannot be aborted.
        deadline != u64::MAX
            && (self.aborted.load(Ordering::Relaxed) || nanos(self.clock.now()) >= deadline)
    }

    /// For functions that may be slow: between two looks at the clock there are some dozens of calls.
    fn check(&self) -> rusqlite::Result<()> {
        match self.is_over() {
            true => Err(failure(ffi::SQLITE_INTERRUPT)),
            false => Ok(()),
        }
    }

    fn reason(&self, error: &Error) -> Stopped {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) if self.aborted.load(Ordering::Relaxed) => {
                Stopped::Aborted
            }
            Some(ErrorCode::OperationInterrupted) => Stopped::Time,
            Some(ErrorCode::OutOfMemory | ErrorCode::TooBig) => Stopped::Memory,
            _ => Stopped::Other(match error {
                Error::SqlInputError { msg, .. } | Error::SqliteFailure(_, Some(msg)) => {
                    msg.clone()
                }
                other => other.to_string(),
            }),
        }
    }
}

/// What SQLite itself would say.
fn failure(code: i32) -> Error {
    Error::SqliteFailure(ffi::Error::new(code), None)
}

fn nanos(time: Duration) -> u64 {
    // 584 years, less the value that means never.
    u64::try_from(time.as_nanos()).map_or(u64::MAX - 1, |n| n.min(u64::MAX - 1))
}

impl Gate {
    fn tables(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, asked: AuthContext<'_>) -> Authorization {
        if !self.closed.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        let permitted = match asked.action {
            AuthAction::Select | AuthAction::Recursive => true,
            AuthAction::Read {
                table_name,
                column_name,
            } => {
                let table = table_name.to_ascii_lowercase();
                // Without a column: `count(*)` of a table, or of a subquery, which has a name that it was given or that
                // SQLite made up.
                self.tables().contains(&table)
                    || column_name.is_empty() && !OWN.iter().any(|prefix| table.starts_with(prefix))
            }
            AuthAction::Function { function_name } => functions::is_permitted(function_name),
            _ => false,
        };
        if permitted {
            Authorization::Allow
        } else {
            Authorization::Deny
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Time => f.write_str("its time was over"),
            Stopped::Aborted => f.write_str("it was stopped"),
            Stopped::Memory => f.write_str("it wanted more memory than it may have"),
            Stopped::Groups => f.write_str("its groups wanted more memory than they may have"),
            Stopped::Other(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Stopped {}

#[cfg(test)]
mod tests;
