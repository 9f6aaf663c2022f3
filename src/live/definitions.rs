//! What outlives a restart: the definitions of tables, queries and subscriptions, in a SQLite file that one thread
//! writes. A change is on the disk before it is answered.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, Error, params};
use tokio::sync::oneshot;

use crate::problem::Problem;

/// The file in the directory of what outlives a restart.
const FILE: &str = "definitions.sqlite";

/// `trwr`, so that no other program's file is taken for ours.
const APPLICATION: i32 = 0x7472_7772;

/// Changes that may wait for the disk.
const WAITING: usize = 1000;

/// What kind of definition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table.
    Table,
    /// A query.
    Query,
    /// A subscription.
    Subscription,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Table => "table",
            Kind::Query => "query",
            Kind::Subscription => "subscription",
        }
    }
}

/// A change of one definition.
#[derive(Debug)]
pub enum Change {
    /// From now on it says this.
    Put(Kind, String, String),
    /// It is no more.
    Remove(Kind, String),
}

/// What was there before: of queries and subscriptions with name or id.
#[derive(Debug, Default)]
pub struct Stored {
    /// Tables.
    pub tables: Vec<String>,
    /// Queries.
    pub queries: Vec<(String, String)>,
    /// Subscriptions.
    pub subscriptions: Vec<(String, String)>,
}

type Waiting = (Change, oneshot::Sender<Result<(), Error>>);

/// The file, and the thread that writes it.
#[derive(Debug)]
pub struct Definitions {
    changes: mpsc::SyncSender<Waiting>,
}

impl Definitions {
    /// Opens the file in this directory, or makes both, and reads what is in it. Nobody else can open it until this ends.
    ///
    /// # Errors
    /// What is wrong with it, for a person to read.
    pub fn open(dir: &Path) -> Result<(Definitions, Stored), String> {
        let path = dir.join(FILE);
        let place = path.display();
        std::fs::create_dir_all(dir).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{} is no directory", dir.display()),
            _ => format!("{}: {error}", dir.display()),
        })?;
        let (file, stored) = open(&path).map_err(|error| match error {
            Error::SqliteFailure(code, _) if code.code == rusqlite::ErrorCode::DatabaseBusy => {
                format!("{place} is used by another process; give each its own directory")
            }
            error => format!("{place} cannot be used: {error}; mend it, or move it away"),
        })?;
        let (changes, waiting) = mpsc::sync_channel(WAITING);
        thread::Builder::new()
            .name("triwire-data".into())
            .spawn(move || write(&file, &waiting))
            .map_err(|error| format!("{place}: {error}"))?;
        Ok((Definitions { changes }, stored))
    }

    /// Makes a change, on the disk too.
    ///
    /// # Errors
    /// 503 when that cannot be; then nothing has changed.
    pub(super) async fn keep(&self, change: Change) -> Result<(), Problem> {
        let (done, outcome) = oneshot::channel();
        let failed = |why: String| {
            let detail = format!(
                "it could not be written to the disk ({why}), and is not in force; try again"
            );
            Problem::unavailable("data", detail)
        };
        self.changes
            .try_send((change, done))
            .map_err(|_| failed("too many changes wait".into()))?;
        match outcome.await {
            Ok(outcome) => outcome.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("the thread that writes has ended".into())),
        }
    }
}

fn open(path: &Path) -> Result<(Connection, Stored), Error> {
    let file = Connection::open(path)?;
    file.busy_timeout(Duration::from_millis(500))?;
    // Held from the first statement on, and given back when the process ends, however it does.
    file.pragma_update(None, "locking_mode", "exclusive")?;
    file.pragma_update(None, "synchronous", "full")?;
    file.execute_batch("begin exclusive; commit")?;
    let tables: i64 = file.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    let application: i32 = file.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if tables == 0 {
        file.pragma_update(None, "application_id", APPLICATION)?;
        file.execute_batch(
            "create table definitions (kind text, name text, body text not null, primary key (kind, name)) strict, without rowid",
        )?;
    } else if application != APPLICATION {
        let why = "it is the file of another program".to_owned();
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        return Err(Error::SqliteFailure(code, Some(why)));
    }
    let sound: String = file.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if sound != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(Error::SqliteFailure(code, Some(sound)));
    }
    let stored = read(&file)?;
    Ok((file, stored))
}

fn read(file: &Connection) -> Result<Stored, Error> {
    let mut stored = Stored::default();
    let mut select =
        file.prepare("select kind, name, body from definitions order by kind, name")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, body): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        match &*kind {
            "table" => stored.tables.push(body),
            "query" => stored.queries.push((name, body)),
            "subscription" => stored.subscriptions.push((name, body)),
            other => tracing::warn!("a definition of a kind that is not known: {other} {name}"),
        }
    }
    drop(rows);
    drop(select);
    Ok(stored)
}

fn write(file: &Connection, waiting: &mpsc::Receiver<Waiting>) {
    while let Ok((change, done)) = waiting.recv() {
        let outcome = match &change {
            Change::Put(kind, name, body) => file.execute(
                "insert or replace into definitions values (?1, ?2, ?3)",
                params![kind.as_str(), name, body],
            ),
            Change::Remove(kind, name) => file.execute(
                "delete from definitions where kind = ?1 and name = ?2",
                params![kind.as_str(), name],
            ),
        };
        // Who asked may have left; the change holds all the same.
        let _ = done.send(outcome.map(drop));
    }
}
