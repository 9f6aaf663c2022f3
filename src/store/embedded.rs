//! The embedded store: SQLite, in a file or in memory. One thread writes, and commits all that waits in one go; others
//! read.
//!
//! In a file, each change leaves a row in an outbox within its own transaction. The row goes when the change is
//! announced, before who asked for it is answered: what is found there at a start was not announced, and is announced
//! then.

mod file;
mod index;
mod known;
mod read;
mod select;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use self::known::Known;
use self::read::Read;
use self::write::{Job, Writer};
use super::announce::Announcer;
use super::ask::Ask;
use super::name::{Collection, Id};
use super::schema::Schema;
use super::write::{Document, Write, Written};
use super::{Limits, Store};
use crate::problem::Problem;

/// What may wait for a thread; who comes then waits to be let in.
const WAITING: usize = 4096;

/// Threads that read lists, which may take a while. Single documents have a thread of their own.
const LISTS: usize = 2;

/// What the store is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its file is; without it everything is in memory.
    pub dir: Option<PathBuf>,
    /// How much it may keep in memory, without a file.
    pub memory_bytes: usize,
    /// How long one list may take.
    pub list_time: Duration,
    /// What may be how large.
    pub limits: Limits,
}

/// A database for one thread, or, in memory, for all of them.
type Shared = Arc<Mutex<Connection>>;

/// A store in this process.
pub struct Embedded {
    known: Arc<Known>,
    writes: mpsc::Sender<Job>,
    gets: mpsc::Sender<Read>,
    lists: mpsc::Sender<Read>,
}

/// The same before anybody can ask.
pub struct Opened {
    settings: Settings,
    known: Arc<Known>,
    /// For the thread that writes.
    connection: Shared,
    /// For those that read: one for single documents, and then those for lists.
    readers: Vec<Shared>,
}

impl Opened {
    /// Opens the database. In a file, who calls this must be the only one who uses the directory.
    ///
    /// # Errors
    /// What is wrong with the directory or the file, for the person who starts the server.
    pub fn new(settings: Settings) -> Result<Opened, String> {
        let failed = |error: rusqlite::Error| match &settings.dir {
            Some(dir) => {
                let place = dir.join(file::NAME);
                let place = place.display();
                format!("{place} cannot be used: {error}; mend it, or move it away")
            }
            None => format!("there is no room for collections in memory: {error}"),
        };
        let connection = file::open(&settings).map_err(failed)?;
        let known = Known::read(&connection, &settings.limits).map_err(failed)?;
        let connection: Shared = Arc::new(Mutex::new(connection));
        let reader = |_| match &settings.dir {
            Some(dir) => Ok(Arc::new(Mutex::new(file::open_to_read(dir)?))),
            None => Ok(connection.clone()),
        };
        let readers = (0..=LISTS).map(reader).collect::<Result<_, _>>();
        let readers = readers.map_err(failed)?;
        Ok(Opened {
            known: Arc::new(known),
            connection,
            readers,
            settings,
        })
    }

    /// Announces what was committed and not announced before a restart, and starts the threads.
    ///
    /// # Errors
    /// What the system says when there can be no thread, or when the file cannot be read after all.
    pub fn start(self, announcer: Arc<Announcer>) -> io::Result<Embedded> {
        let (known, settings) = (self.known, self.settings);
        let mut readers = self.readers.into_iter();
        let start = |name, readers: Vec<Shared>| {
            let (asked, waiting) = mpsc::channel(WAITING);
            read::start(name, readers, waiting, &settings).map(|()| asked)
        };
        let gets = start("get", readers.by_ref().take(1).collect())?;
        let lists = start("list", readers.collect())?;
        let (writes, waiting) = mpsc::channel(WAITING);
        let writer = Writer::new(self.connection, known.clone(), announcer, &settings);
        let mut writer = writer.map_err(io::Error::other)?;
        Builder::new()
            .name("triwire-store".into())
            .spawn(move || writer.run(waiting))?;
        Ok(Embedded {
            known,
            writes,
            gets,
            lists,
        })
    }
}

impl Embedded {
    /// Asks a thread for something, and waits for it.
    async fn ask<J, T>(
        thread: &mpsc::Sender<J>,
        job: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> J,
    ) -> Result<T, Problem> {
        let gone = || Problem::unavailable("store", "the store's thread has ended");
        let (done, outcome) = oneshot::channel();
        thread.send(job(done)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

impl Store for Embedded {
    fn get<'a>(
        &'a self,
        collection: &'a Collection,
        id: &'a Id,
    ) -> BoxFuture<'a, Result<Option<Document>, Problem>> {
        async move {
            let Some(place) = self.known.find(collection) else {
                return Ok(None);
            };
            let id = id.clone();
            Self::ask(&self.gets, |done| Read::Get(place.number, id, done)).await
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        collection: &'a Collection,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<(Vec<Document>, u64), Problem>> {
        async move {
            let Some(place) = self.known.find(collection) else {
                return Ok((Vec::new(), 0));
            };
            for field in index::missing(&place, ask) {
                let collection = collection.clone();
                Self::ask(&self.writes, |done| Job::Index(collection, field, done)).await?;
            }
            let ask = ask.clone();
            Self::ask(&self.lists, |done| Read::List(place.number, ask, done)).await
        }
        .boxed()
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, Problem>> {
        Self::ask(&self.writes, |done| Job::Write(writes, done)).boxed()
    }

    fn schema<'a>(
        &'a self,
        collection: &'a Collection,
    ) -> BoxFuture<'a, Result<Option<Arc<Schema>>, Problem>> {
        let place = self.known.find(collection);
        std::future::ready(Ok(place.and_then(|place| place.schema.clone()))).boxed()
    }

    fn put_schema(
        &self,
        collection: Collection,
        schema: Option<Arc<Schema>>,
    ) -> BoxFuture<'_, Result<bool, Problem>> {
        Self::ask(&self.writes, |done| Job::Schema(collection, schema, done)).boxed()
    }
}
