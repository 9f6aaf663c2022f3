//! The threads that read: a document, or a page of them and how many there are.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Row, params_from_iter};
use tokio::sync::{mpsc, oneshot};

use super::select::Select;
use super::{Settings, Shared};
use crate::problem::Problem;
use crate::store::Limits;
use crate::store::ask::Ask;
use crate::store::large_page;
use crate::store::name::Id;
use crate::store::write::Document;

/// How many steps of SQLite's machine lie between two looks at the clock.
const STEPS: i32 = 10_000;

/// Asked of a thread that reads: in which collection, and what.
pub(super) enum Read {
    Get(i64, Id, oneshot::Sender<Result<Option<Document>, Problem>>),
    List(
        i64,
        Ask,
        oneshot::Sender<Result<(Vec<Document>, u64), Problem>>,
    ),
}

/// Starts a thread for each connection; together they do what is asked.
pub(super) fn start(
    name: &str,
    connections: Vec<Shared>,
    waiting: mpsc::Receiver<Read>,
    settings: &Settings,
) -> io::Result<()> {
    let waiting = Arc::new(Mutex::new(waiting));
    for connection in connections {
        let (waiting, settings) = (waiting.clone(), settings.clone());
        let next = move || {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.blocking_recv()
        };
        Builder::new()
            .name(format!("triwire-{name}"))
            .spawn(move || {
                while let Some(read) = next() {
                    let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    read.done(&mut connection, &settings);
                }
            })?;
    }
    Ok(())
}

impl Read {
    fn done(self, connection: &mut Connection, settings: &Settings) {
        let (longest, limits) = (settings.list_time, &settings.limits);
        // Who asked may have left, which is no reason to do anything.
        match self {
            Read::Get(_, _, done) if done.is_closed() => {}
            Read::List(_, _, done) if done.is_closed() => {}
            Read::Get(number, id, done) => {
                let found = get(connection, number, &id);
                let _ = done.send(found.map_err(|error| failed(&error, longest)));
            }
            Read::List(number, ask, done) => {
                let found = within(connection, longest, |connection| {
                    list(connection, number, &ask, limits)
                });
                let found = found.map_err(|error| failed(&error, longest));
                let _ = done.send(found.and_then(|page| page));
            }
        }
    }
}

/// One document, if it is there.
pub(super) fn get(
    connection: &Connection,
    number: i64,
    id: &Id,
) -> Result<Option<Document>, Error> {
    let sql = format!("select id, version, json from c{number} where id = ?1");
    let mut select = connection.prepare_cached(&sql)?;
    select.query_row([id], document).optional()
}

/// The documents of a page, unless they are too large together, and how many there are on all.
fn list(
    connection: &Connection,
    number: i64,
    ask: &Ask,
    limits: &Limits,
) -> Result<Result<(Vec<Document>, u64), Problem>, Error> {
    // One look at both: between them nothing is committed.
    let whole = connection.unchecked_transaction()?;
    let select = Select::new(number, ask);
    let mut count = whole.prepare_cached(&select.count)?;
    let total: i64 = count.query_row(params_from_iter(&select.values), |row| row.get(0))?;
    drop(count);
    let mut documents = Vec::new();
    if ask.offset() < total as u64 {
        let mut page = whole.prepare_cached(&select.page)?;
        let mut rows = page.query(params_from_iter(&select.values))?;
        let mut room = limits.page_bytes;
        while let Some(row) = rows.next()? {
            let document = document(row)?;
            match room.checked_sub(document.json.len()) {
                Some(left) => room = left,
                None => return Ok(Err(large_page(limits))),
            }
            documents.push(document);
        }
    }
    Ok(Ok((documents, total as u64)))
}

/// Does what must end in time.
fn within<T>(
    connection: &mut Connection,
    longest: Duration,
    work: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    let end = Instant::now() + longest;
    connection.progress_handler(STEPS, Some(move || Instant::now() >= end))?;
    let done = work(connection);
    connection.progress_handler(0, None::<fn() -> bool>)?;
    done
}

/// A row of id, version and JSON.
fn document(row: &Row<'_>) -> Result<Document, Error> {
    Ok(Document {
        id: id(row.get_ref(0)?),
        version: row.get::<_, i64>(1)? as u64,
        json: Bytes::copy_from_slice(row.get_ref(2)?.as_bytes()?),
    })
}

/// An id as it is kept. Nothing but integers and texts was ever put there.
pub(super) fn id(value: ValueRef<'_>) -> Id {
    match value {
        ValueRef::Integer(number) => Id::Integer(number),
        other => Id::Text(String::from_utf8_lossy(other.as_bytes().unwrap_or_default()).into()),
    }
}

fn failed(error: &Error, longest: Duration) -> Problem {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => Problem::unavailable(
            "slow-list",
            format!(
                "the list took longer than {longest:?} (list-time); filter or sort by fewer fields, or by one that has an index"
            ),
        ),
        _ => Problem::unavailable("store", format!("the store could not read: {error}")),
    }
}
