//! The thread that writes: what waits is done in one transaction, announced in its order, and then answered.

mod outbox;
mod turn;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, Error, params};
use tokio::sync::{mpsc, oneshot};

use self::turn::{Counted, Turn};
use super::known::{Known, Place};
use super::{Settings, Shared, index};
use crate::problem::Problem;
use crate::store::Limits;
use crate::store::announce::Announcer;
use crate::store::ask::Field;
use crate::store::name::Collection;
use crate::store::schema::Schema;
use crate::store::write::{Change, Write, Written};

/// How many jobs one transaction does at most: who comes next waits for all of them.
const TURN: usize = 512;

/// Asked of the thread that writes.
pub(super) enum Job {
    Write(Vec<Write>, oneshot::Sender<Result<Vec<Written>, Problem>>),
    Schema(
        Collection,
        Option<Arc<Schema>>,
        oneshot::Sender<Result<bool, Problem>>,
    ),
    Index(Collection, Field, oneshot::Sender<Result<(), Problem>>),
}

type Waiting = (Vec<Write>, oneshot::Sender<Result<Vec<Written>, Problem>>);

/// What the thread has.
pub(super) struct Writer {
    connection: Shared,
    known: Arc<Known>,
    announcer: Arc<Announcer>,
    limits: Limits,
    /// Whether anything outlives a restart, and so needs an outbox.
    durable: bool,
    /// What is announced up to here and could not be taken out of the outbox, for want of room.
    left: Option<u64>,
    counted: HashMap<Collection, Counted>,
}

impl Writer {
    pub(super) fn new(
        connection: Shared,
        known: Arc<Known>,
        announcer: Arc<Announcer>,
        settings: &Settings,
    ) -> Result<Writer, Error> {
        let mut writer = Writer {
            connection,
            known,
            announcer,
            limits: settings.limits,
            durable: settings.dir.is_some(),
            left: None,
            counted: HashMap::new(),
        };
        if writer.durable {
            let shared = writer.connection.clone();
            let connection = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let left = outbox::read(&connection)?;
            if !left.is_empty() {
                tracing::info!(
                    "{} changes were not announced before the restart, and are now",
                    left.len()
                );
                writer.announcer.announce(&left);
                writer.clear(&connection, left.last());
            }
        }
        Ok(writer)
    }

    /// Does what is asked until nobody can ask any more.
    pub(super) fn run(&mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut writes: Vec<Waiting> = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Write(asked, done) => writes.push((asked, done)),
                    // What was asked before is done before.
                    Job::Schema(collection, schema, done) => {
                        self.write(std::mem::take(&mut writes));
                        let _ = done.send(self.put_schema(collection, schema));
                    }
                    Job::Index(collection, field, done) => {
                        self.write(std::mem::take(&mut writes));
                        self.index(&collection, &field);
                        let _ = done.send(Ok(()));
                    }
                }
                if writes.len() < TURN {
                    next = waiting.try_recv().ok();
                }
            }
            self.write(writes);
        }
    }

    /// Writes in one transaction, or, if that cannot be, each in its own: one that does not fit on the disk is no reason
    /// to refuse another that does.
    fn write(&mut self, waiting: Vec<Waiting>) {
        if waiting.is_empty() {
            return;
        }
        let (asked, done): (Vec<Vec<Write>>, Vec<_>) = waiting.into_iter().unzip();
        let outcomes = match self.turn(&asked) {
            Ok(outcomes) => outcomes,
            Err(error) if asked.len() == 1 => vec![Err(failed(&error))],
            Err(_) => {
                let alone = asked.chunks(1).map(|one| match self.turn(one) {
                    Ok(mut outcomes) => outcomes.pop().unwrap_or_else(|| Ok(Vec::new())),
                    Err(error) => Err(failed(&error)),
                });
                alone.collect()
            }
        };
        for (outcome, done) in outcomes.into_iter().zip(done) {
            // Who asked may have left; what is done is done.
            let _ = done.send(outcome);
        }
    }

    /// One transaction, and the announcement of what it has done.
    fn turn(&mut self, asked: &[Vec<Write>]) -> Result<Vec<Result<Vec<Written>, Problem>>, Error> {
        let shared = self.connection.clone();
        let connection = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, limits) = (&*self.known, &self.limits);
        let turn = Turn::new(&connection, known, limits, &mut self.counted, self.durable);
        let done = turn.run(asked, self.left).inspect_err(|_| {
            // SQLite may have done it itself.
            let _ = connection.execute_batch("rollback");
            // If there is no room left, what is in the file already makes some.
            let _ = connection.execute_batch("pragma wal_checkpoint(passive)");
            self.counted.clear();
        })?;
        for (collection, number) in done.made {
            self.known.put(collection, Place::new(number));
        }
        for change in &done.changes {
            let place = self.known.find(&change.collection);
            if let (Some(place), Some(counted)) = (place, self.counted.get(&change.collection)) {
                let documents = counted.documents as u64;
                place.documents.store(documents, Ordering::Relaxed);
            }
        }
        self.left = None;
        let mut events = self.announcer.announce(&done.changes).into_iter();
        if self.durable {
            self.clear(&connection, done.changes.last());
        }
        let mut outcomes = done.outcomes;
        // The changes are in the order of what was written.
        for written in outcomes.iter_mut().flatten().flatten() {
            written.event = events.next().unwrap_or(written.event);
        }
        Ok(outcomes)
    }

    /// Takes what is announced, up to this change, out of the outbox, now or with the next commit.
    fn clear(&mut self, connection: &Connection, last: Option<&Change>) {
        let Some(last) = last else { return };
        if let Err(error) = outbox::clear(connection, last.seq) {
            tracing::warn!(
                "the outbox keeps what was announced, and a crash now would have it announced again: {error}"
            );
            self.left = Some(last.seq);
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn put_schema(
        &mut self,
        collection: Collection,
        schema: Option<Arc<Schema>>,
    ) -> Result<bool, Problem> {
        let found = self.known.find(&collection);
        if found.is_none() && self.known.len() >= self.limits.collections {
            return Err(turn::too_many(&self.limits));
        }
        let number = found.as_ref().map(|place| place.number);
        let text = schema.as_ref().map(|schema| schema.text());
        let number = kept_schema(&self.connection(), &collection, number, text);
        let number = number.map_err(|error| failed(&error))?;
        let place = found.map_or_else(|| Place::new(number), |place| (*place).clone());
        let before = place.schema.is_some();
        self.known.put(collection, Place { schema, ..place });
        Ok(before)
    }

    /// What cannot be made is done without.
    fn index(&self, collection: &Collection, field: &Field) {
        let Some(place) = self.known.find(collection) else {
            return;
        };
        let connection = self.connection();
        match index::make(&connection, &place, field, self.limits.collection_indexes) {
            Ok(Some(place)) => self.known.put(collection.clone(), place),
            Ok(None) => {}
            Err(error) => tracing::warn!("{collection} has no index on {field}: {error}"),
        }
    }
}

/// Keeps a schema, of a collection that is made for it if it has no number yet; returns its number.
fn kept_schema(
    connection: &Connection,
    collection: &Collection,
    number: Option<i64>,
    schema: Option<&Bytes>,
) -> Result<i64, Error> {
    let whole = connection.unchecked_transaction()?;
    let number = match number {
        Some(number) => number,
        None => turn::make(&whole, collection)?,
    };
    let text = schema.map(|text| String::from_utf8_lossy(text));
    whole.execute(
        "update collections set schema = ?2 where number = ?1",
        params![number, text],
    )?;
    whole.commit()?;
    Ok(number)
}

fn failed(error: &Error) -> Problem {
    let detail = format!("it could not be written ({error}), and nothing has changed; try again");
    Problem::unavailable("store", detail)
}
