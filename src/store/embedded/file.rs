//! The database itself: how it is opened, and what is in it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{Connection, Error, OpenFlags, ffi};

use super::Settings;
use crate::store::name::Id;

/// Says that a SQLite file is one of these: "trwd".
const APPLICATION: i32 = 0x7472_7764;

/// Which tables it has.
const VERSION: i32 = 1;

/// What it is called, within the directory of what outlives a restart.
pub(super) const NAME: &str = "collections.sqlite";

/// Each collection has a table of its own, `c1`, so that it has indexes of its own.
const TABLES: &str = "
    create table collections (
        number integer primary key, name text not null unique, documents integer not null,
        next integer not null, schema text
    ) strict;
    create table indexes (
        number integer primary key, collection integer not null, field text not null,
        unique (collection, field)
    ) strict;
    create table outbox (
        seq integer primary key autoincrement, collection text not null, kind text not null, id any not null,
        version integer not null, document text, patch text
    ) strict;";

/// What a page of the cache is, in KiB, as SQLite wants it: negative.
const WRITER_CACHE: i32 = -32 * 1024;
const READER_CACHE: i32 = -8 * 1024;

/// Opens the database for the thread that writes.
pub(super) fn open(settings: &Settings) -> Result<Connection, Error> {
    let connection = match &settings.dir {
        Some(dir) => {
            fs::create_dir_all(dir)
                .map_err(|error| said(ffi::SQLITE_CANTOPEN, error.to_string()))?;
            let connection = Connection::open(dir.join(NAME))?;
            // Who holds the directory is the only one; readers of this process may stand in the way for a moment.
            connection.busy_timeout(Duration::from_secs(5))?;
            connection
        }
        None => Connection::open_in_memory()?,
    };
    connection.set_prepared_statement_cache_capacity(256);
    connection.pragma_update(None, "cache_size", WRITER_CACHE)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    prepare(&connection)?;
    if settings.dir.is_some() {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
    } else {
        let size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let most = i64::try_from(settings.memory_bytes).unwrap_or(i64::MAX) / size;
        connection.pragma_update(None, "max_page_count", most)?;
    }
    Ok(connection)
}

/// Opens it for a thread that reads.
pub(super) fn open_to_read(dir: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join(NAME), flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", READER_CACHE)?;
    Ok(connection)
}

/// Makes the tables, or looks whether they are ours.
fn prepare(connection: &Connection) -> Result<(), Error> {
    let tables: i64 =
        connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    let (application, version): (i32, i32) = (number("application_id")?, number("user_version")?);
    if tables == 0 && application == 0 {
        return connection.execute_batch(&format!(
            "begin; {TABLES} pragma application_id = {APPLICATION}; pragma user_version = {VERSION}; commit"
        ));
    }
    if application != APPLICATION {
        let why = "it is the file of another program";
        return Err(said(ffi::SQLITE_NOTADB, why.to_owned()));
    }
    if version != VERSION {
        let why = format!(
            "its tables are of version {version}, and this triwire knows version {VERSION}; use the triwire that made it"
        );
        return Err(said(ffi::SQLITE_SCHEMA, why));
    }
    Ok(())
}

fn said(code: i32, why: String) -> Error {
    Error::SqliteFailure(ffi::Error::new(code), Some(why))
}

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Id::Integer(number) => number.to_sql(),
            Id::Text(text) => Ok(ToSqlOutput::from(&**text)),
        }
    }
}
