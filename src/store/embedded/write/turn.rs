//! One transaction: many requests, each of which is done or refused.

use std::collections::HashMap;

use rusqlite::{Connection, Error, OptionalExtension, params};

use super::outbox;
use crate::event::EventId;
use crate::problem::Problem;
use crate::store::Limits;
use crate::store::apply::{Rules, apply};
use crate::store::embedded::known::Known;
use crate::store::embedded::read;
use crate::store::name::{Collection, Id};
use crate::store::write::{Change, Document, Kind, Write, Written};

/// What is counted of a collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) number: i64,
    pub(super) documents: i64,
    /// The id that is made next.
    next: i64,
}

/// Why something is not done: because of what was asked, or because nothing can be done.
enum Refusal {
    Asked(Problem),
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Asked(problem)
    }
}

/// What a turn has done.
pub(super) struct Done {
    /// What to answer, by request.
    pub(super) outcomes: Vec<Result<Vec<Written>, Problem>>,
    /// What to announce, in the order in which it was written.
    pub(super) changes: Vec<Change>,
    /// The collections that are new, and their numbers.
    pub(super) made: Vec<(Collection, i64)>,
}

pub(super) struct Turn<'t> {
    connection: &'t Connection,
    known: &'t Known,
    limits: &'t Limits,
    counted: &'t mut HashMap<Collection, Counted>,
    durable: bool,
    changes: Vec<Change>,
    made: Vec<(Collection, i64)>,
}

impl<'t> Turn<'t> {
    pub(super) fn new(
        connection: &'t Connection,
        known: &'t Known,
        limits: &'t Limits,
        counted: &'t mut HashMap<Collection, Counted>,
        durable: bool,
    ) -> Turn<'t> {
        Turn {
            connection,
            known,
            limits,
            counted,
            durable,
            changes: Vec::new(),
            made: Vec::new(),
        }
    }

    /// Does it all, takes what was left out of the outbox, and commits. What fails here fails as a whole.
    pub(super) fn run(mut self, asked: &[Vec<Write>], left: Option<u64>) -> Result<Done, Error> {
        self.connection
            .prepare_cached("begin immediate")?
            .execute([])?;
        if let Some(left) = left {
            outbox::remove(self.connection, left)?;
        }
        let mut outcomes = Vec::new();
        for writes in asked {
            outcomes.push(match self.request(writes) {
                Ok(written) => Ok(written),
                Err(Refusal::Asked(problem)) => Err(problem),
                Err(Refusal::Failed(error)) => return Err(error),
            });
        }
        self.keep_counts()?;
        self.connection.prepare_cached("commit")?.execute([])?;
        Ok(Done {
            outcomes,
            changes: self.changes,
            made: self.made,
        })
    }

    /// One request: all of its writes, or none.
    fn request(&mut self, writes: &[Write]) -> Result<Vec<Written>, Refusal> {
        if let [write] = writes {
            // What is refused has changed nothing yet.
            let written = self.one(write).map_err(|refusal| match refusal {
                Refusal::Asked(problem) => problem.of_line(write.line).into(),
                failed => failed,
            });
            return written.map(|written| vec![written]);
        }
        let (counted, changes, made) = (self.counted.clone(), self.changes.len(), self.made.len());
        self.connection.execute_batch("savepoint request")?;
        let mut all = Vec::new();
        for write in writes {
            match self.one(write) {
                Ok(written) => all.push(written),
                Err(Refusal::Asked(problem)) => {
                    self.connection
                        .execute_batch("rollback to request; release request")?;
                    *self.counted = counted;
                    self.changes.truncate(changes);
                    self.made.truncate(made);
                    return Err(problem.of_line(write.line).into());
                }
                Err(failed) => return Err(failed),
            }
        }
        self.connection.execute_batch("release request")?;
        Ok(all)
    }

    fn one(&mut self, write: &Write) -> Result<Written, Refusal> {
        let collection = &write.collection;
        let counted = self.counted(collection)?;
        let id = match &write.id {
            Some(id) => id.clone(),
            None => Id::Integer(counted.map_or(Ok(1), Counted::made)?),
        };
        let old = match counted {
            Some(counted) => read::get(self.connection, counted.number, &id)?,
            None => None,
        };
        let place = self.known.find(collection);
        let rules = Rules {
            limits: self.limits,
            schema: place.as_ref().and_then(|place| place.schema.as_deref()),
        };
        let done = apply(
            write.op.clone(),
            (collection, &id),
            &write.expected,
            old.as_ref(),
            rules,
        )?;
        let mut counted = match counted {
            Some(counted) => counted,
            None => self.make(collection)?,
        };
        let change = Change {
            seq: 0,
            collection: collection.clone(),
            kind: done.kind,
            id: id.clone(),
            version: done.version,
            document: done.json.clone(),
            before: old.map(|old| old.json),
            patch: done.patch,
        };
        self.keep(counted.number, &change)?;
        counted.follow(&change);
        self.counted.insert(collection.clone(), counted);
        let seq = match self.durable {
            true => outbox::add(self.connection, &change)?,
            false => 0,
        };
        self.changes.push(Change { seq, ..change });
        Ok(Written {
            document: done.json.map(|json| Document {
                id: id.clone(),
                version: done.version,
                json,
            }),
            id,
            version: done.version,
            event: EventId::ZERO,
            made: done.kind == Kind::Added,
        })
    }

    fn keep(&self, number: i64, change: &Change) -> Result<(), Error> {
        let text = change.document.as_deref().unwrap_or_default();
        let text = std::str::from_utf8(text).unwrap_or_default();
        let version = change.version as i64;
        match change.kind {
            Kind::Added => self
                .connection
                .prepare_cached(&format!(
                    "insert into c{number} (id, version, json) values (?1, ?2, ?3)"
                ))?
                .execute(params![change.id, version, text]),
            Kind::Modified => self
                .connection
                .prepare_cached(&format!(
                    "update c{number} set version = ?2, json = ?3 where id = ?1"
                ))?
                .execute(params![change.id, version, text]),
            Kind::Deleted => self
                .connection
                .prepare_cached(&format!("delete from c{number} where id = ?1"))?
                .execute([&change.id]),
        }
        .map(drop)
    }

    /// What is counted of a collection, if it is there.
    fn counted(&mut self, collection: &Collection) -> Result<Option<Counted>, Error> {
        if let Some(counted) = self.counted.get(collection) {
            return Ok(Some(*counted));
        }
        let mut select = self
            .connection
            .prepare_cached("select number, documents, next from collections where name = ?1")?;
        let counted = select.query_row([collection.as_str()], |row| {
            Ok(Counted {
                number: row.get(0)?,
                documents: row.get(1)?,
                next: row.get(2)?,
            })
        });
        let counted = counted.optional()?;
        if let Some(counted) = counted {
            self.counted.insert(collection.clone(), counted);
        }
        Ok(counted)
    }

    fn make(&mut self, collection: &Collection) -> Result<Counted, Refusal> {
        if self.known.len() + self.made.len() >= self.limits.collections {
            return Err(too_many(self.limits).into());
        }
        let number = make(self.connection, collection)?;
        self.made.push((collection.clone(), number));
        Ok(Counted {
            number,
            documents: 0,
            next: 1,
        })
    }

    fn keep_counts(&self) -> Result<(), Error> {
        let mut update = self
            .connection
            .prepare_cached("update collections set documents = ?2, next = ?3 where number = ?1")?;
        let mut changed: Vec<&Collection> = self.changes.iter().map(|c| &c.collection).collect();
        changed.sort_unstable();
        changed.dedup();
        for counted in changed.into_iter().filter_map(|c| self.counted.get(c)) {
            update.execute([counted.number, counted.documents, counted.next])?;
        }
        Ok(())
    }
}

impl Counted {
    fn made(self) -> Result<i64, Problem> {
        match self.next <= Id::MOST_MADE {
            true => Ok(self.next),
            false => {
                let detail = "there is no greater id that could be made; give the document one";
                Err(Problem::bad_request("id", detail))
            }
        }
    }

    fn follow(&mut self, change: &Change) {
        match change.kind {
            Kind::Added => self.documents += 1,
            Kind::Modified => {}
            Kind::Deleted => self.documents -= 1,
        }
        if let Id::Integer(id) = change.id
            && (self.next..=Id::MOST_MADE).contains(&id)
        {
            self.next = id + 1;
        }
    }
}

/// Makes the table of a collection.
pub(super) fn make(connection: &Connection, collection: &Collection) -> Result<i64, Error> {
    let sql = "insert into collections (name, documents, next) values (?1, 0, 1)";
    connection.execute(sql, [collection.as_str()])?;
    let number = connection.last_insert_rowid();
    connection.execute_batch(&format!(
        "create table c{number} (id any not null primary key, version integer not null, json text not null) strict"
    ))?;
    Ok(number)
}

/// 429 for a collection.
pub(super) fn too_many(limits: &Limits) -> Problem {
    let detail = format!(
        "there are {} collections, which is the limit (collections); use one of them or raise it",
        limits.collections
    );
    Problem::new(hyper::StatusCode::TOO_MANY_REQUESTS, "too-many", detail)
        .with(hyper::header::RETRY_AFTER, "60")
}
