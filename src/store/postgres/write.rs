//! Changes: looked at, decided and made in one transaction, and answered when they are committed and told.

mod ask;
mod make;
pub(super) mod turn;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join3;
use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use self::make::{Decided, Kept};
use self::turn::{Failed, Turn};
use super::definitions::Known;
use super::shelf::Shelf;
use super::step::Step;
use super::waiting::{self, Expected};
use super::{Shared, commit, failure};
use crate::problem::Problem;
use crate::store::Limits;
use crate::store::apply::{self, Rules};
use crate::store::name::{Collection, Id};
use crate::store::write::{Document, Kind, Write, Written};

/// How often a transaction is tried in which another one came in between.
const TRIES: usize = 6;

/// A document whose JSON the database writes so much longer than it was sent has numbers in it that do so.
pub(super) const LONGER: usize = 4;

/// Makes all of these changes, or none, and has them told.
pub(super) async fn write(shared: &Shared, writes: Vec<Write>) -> Result<Vec<Written>, Problem> {
    let (mut last, mut looked) = (None, false);
    for round in 0..TRIES {
        // Nothing is committed that could not be told.
        shared.announcer.log().ready()?;
        if round > 0 {
            // Whoever came in between is likely to be there still.
            sleep(Duration::from_millis(fastrand::u64(0..10 << round))).await;
        }
        let known = shared.definitions.known();
        match attempt(shared, &known, &writes).await {
            Ok(written) => return Ok(written),
            Err(Failed::For(problem)) if failure::is_stale(&problem) && !looked => {
                looked = true;
                shared.look_again().await?;
                last = Some(problem);
            }
            Err(Failed::For(problem)) => return Err(problem),
            Err(Failed::Turn(problem)) => last = Some(problem),
        }
    }
    Err(last.unwrap_or_else(|| failure::away("it is too busy")))
}

async fn attempt(
    shared: &Shared,
    known: &Arc<Known>,
    writes: &[Write],
) -> Result<Vec<Written>, Failed> {
    let turn = Turn::new(shared.connections.one().await.map_err(Failed::For)?);
    let token = waiting::token();
    let (decided, kept) = match done(shared, &turn, known, writes, token).await {
        Ok(done) => done,
        Err(failed) => {
            turn.roll_back().await;
            return Err(failed);
        }
    };
    let expected = decided.iter().map(|one| Expected {
        collection: one.collection.clone(),
        id: one.id.clone(),
        kind: one.applied.kind,
        version: one.applied.version,
    });
    if let Err(problem) = shared.announcer.log().ready() {
        turn.roll_back().await;
        return Err(Failed::For(problem));
    }
    let ticket = shared.waiting.expect(token, expected.collect());
    let number = kept.first().map_or("", |(_, number)| number);
    let committed = turn.commit().await;
    let events = commit::settle(shared, committed, ticket, number).await?;
    shared.see(decided.iter().map(|one| &one.collection));
    let written = decided.into_iter().zip(kept).zip(events);
    Ok(written
        .map(|((one, (json, _)), event)| Written {
            document: json.map(|json| Document {
                id: one.id.clone(),
                version: one.applied.version,
                json,
            }),
            id: one.id,
            version: one.applied.version,
            event,
            made: one.applied.kind == Kind::Added,
        })
        .collect())
}

/// All of it but the commit.
async fn done(
    shared: &Shared,
    turn: &Turn,
    known: &Arc<Known>,
    writes: &[Write],
    token: i64,
) -> Result<(Vec<Decided>, Vec<Kept>), Failed> {
    let client = turn.client();
    // Said together, in this order.
    let (begun, ids, documents) = join3(
        turn.begin(),
        ask::made(client, known, writes),
        ask::look(client, known, writes),
    )
    .await;
    begun.map_err(Failed::of)?;
    let ids = ids?;
    let Some(documents) = documents.map_err(Failed::of)? else {
        let read = shared.definitions.read(client).await;
        read.map_err(Failed::of)?;
        let problem = failure::away("what is defined in it changes all the time");
        return Err(Failed::Turn(problem));
    };
    let decided = decide(shared, known, writes, ids, documents, token);
    let decided = decided.map_err(Failed::For)?;
    room(shared, client, known, &decided).await?;
    let kept = make::make(client, known, &decided).await?;
    check(shared, &decided, &kept).map_err(Failed::For)?;
    Ok((decided, kept))
}

/// What becomes of each: one after the other, since several can be of the same document.
fn decide(
    shared: &Shared,
    known: &Known,
    writes: &[Write],
    ids: Vec<Id>,
    mut documents: HashMap<(Collection, Id), Document>,
    token: i64,
) -> Result<Vec<Decided>, Problem> {
    let mut decided = Vec::with_capacity(writes.len());
    for (write, id) in writes.iter().zip(ids) {
        let mut decide = || {
            let collection = &write.collection;
            let schema = known.schema(collection)?;
            let rules = Rules {
                limits: shared.limits(),
                schema: schema.as_deref(),
            };
            let old = documents.remove(&(collection.clone(), id.clone()));
            let about = (collection, &id);
            let op = write.op.clone();
            let applied = apply::apply(op, about, &write.expected, old.as_ref(), rules)?;
            let shelf = Shelf::of(collection, known);
            if let Shelf::Table(table) = &shelf
                && applied.kind == Kind::Added
                && table.key.filled
                && write.id.is_some()
            {
                let detail = "the database alone makes ids here; POST the document without one";
                return Err(Problem::bad_request("id", detail));
            }
            let step = Step::of(&shelf, token, about, old.as_ref(), &applied)?;
            if let Some(json) = applied.json.clone() {
                let new = Document {
                    id: id.clone(),
                    version: applied.version,
                    json,
                };
                documents.insert((collection.clone(), id.clone()), new);
            }
            Ok(Decided {
                line: write.line,
                collection: collection.clone(),
                id: id.clone(),
                applied,
                step,
            })
        };
        decided.push(decide().map_err(|problem: Problem| problem.of_line(write.line))?);
    }
    Ok(decided)
}

/// Whether there may be the collections that these make.
async fn room(
    shared: &Shared,
    client: &Client,
    known: &Known,
    decided: &[Decided],
) -> Result<(), Failed> {
    const COUNT: &str = "
        with recursive names as (
            select min(collection) as name from triwire.documents
            union all
            select (select min(d.collection) from triwire.documents d where d.collection > n.name)
            from names n where n.name is not null
        )
        select count(name), coalesce(bool_or(name = $1), false) from names";
    for one in decided {
        let collection = &one.collection;
        if one.applied.kind != Kind::Added
            || known.table(collection).is_some()
            || shared.is_seen(collection)
        {
            continue;
        }
        let name = collection.as_str();
        let typed = [(&name as &(dyn ToSql + Sync), Type::TEXT)];
        let row = client.query_typed_one(COUNT, &typed).await;
        let row = row.map_err(Failed::of)?;
        let count: i64 = row.try_get(0).map_err(Failed::of)?;
        let there: bool = row.try_get(1).map_err(Failed::of)?;
        if !there && count.unsigned_abs() >= shared.limits().collections as u64 {
            return Err(Failed::For(too_many(shared.limits())));
        }
    }
    Ok(())
}

/// # Errors
/// 413 for what is much larger in the database than it was when it came.
fn check(shared: &Shared, decided: &[Decided], kept: &[Kept]) -> Result<(), Problem> {
    let most = LONGER * shared.limits().document_bytes;
    for (one, (json, _)) in decided.iter().zip(kept) {
        if json.as_ref().is_some_and(|json| json.len() > most) {
            let what = "the document, as the database writes its numbers,";
            let problem = Problem::too_large(what, most as u64, "document-bytes");
            return Err(problem.of_line(one.line));
        }
    }
    Ok(())
}

/// 429 for a collection.
fn too_many(limits: &Limits) -> Problem {
    let detail = format!(
        "there are {} collections, which is the limit (collections); use one of them or raise it",
        limits.collections
    );
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail).with(RETRY_AFTER, "60")
}
