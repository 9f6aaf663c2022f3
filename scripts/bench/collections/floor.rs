//! What there is to reach: the same inserts by SQLite alone, in the same kind of table, and what the disk can do.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use rusqlite::{Connection, params};
use triwire::load::Result;
use triwire::load::clock;

use super::directory::Directory;
use super::writes::{Figures, document};

/// A page of SQLite's, which is the least that it writes.
const PAGE: [u8; 4096] = [b'x'; 4096];

/// As the server keeps documents.
const TABLE: &str = "create table c1 (id any not null primary key, version integer not null, json text not null) strict";

/// SQLite without a server.
pub struct Sqlite {
    connection: Connection,
    next: u64,
}

impl Sqlite {
    /// A new file, as durable as the server's.
    pub fn open(directory: &Directory) -> Result<Sqlite> {
        let connection = Connection::open(directory.file("alone.sqlite"))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(TABLE)?;
        Ok(Sqlite {
            connection,
            next: 1,
        })
    }

    /// Inserts for so long, so many in each transaction; an answer is the end of one.
    pub fn insert(&mut self, group: u64, time: Duration, figures: &mut Figures) -> Result<()> {
        let start = clock::now();
        let end = start + time.as_nanos() as u64;
        let mut from = start;
        while from < end {
            let transaction = self.connection.transaction()?;
            for id in self.next..self.next + group {
                let mut insert = transaction
                    .prepare_cached("insert into c1 (id, version, json) values (?1, ?2, ?3)")?;
                insert.execute(params![id as i64, 1, document(id)])?;
            }
            transaction.commit()?;
            self.next += group;
            let now = clock::now();
            figures.answers.record(now - from);
            figures.writes += group;
            from = now;
        }
        figures.time += clock::now() - start;
        Ok(())
    }
}

/// A file that grows.
pub struct Disk(File);

impl Disk {
    pub fn open(directory: &Directory) -> Result<Disk> {
        Ok(Disk(File::create(directory.file("disk"))?))
    }

    /// Appends pages for so long, each of them brought to the disk.
    pub fn sync(&mut self, time: Duration, figures: &mut Figures) -> Result<()> {
        let start = clock::now();
        let end = start + time.as_nanos() as u64;
        let mut from = start;
        while from < end {
            self.0.write_all(&PAGE)?;
            self.0.sync_all()?;
            let now = clock::now();
            figures.answers.record(now - from);
            figures.writes += 1;
            from = now;
        }
        figures.time += clock::now() - start;
        Ok(())
    }
}
