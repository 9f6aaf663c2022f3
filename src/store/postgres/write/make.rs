//! What was decided, as it is said to the database.

use std::borrow::Cow;
use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use hyper::StatusCode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::turn::Failed;
use crate::problem::Problem;
use crate::store::apply::Applied;
use crate::store::name::{Collection, Id};
use crate::store::postgres::definitions::Known;
use crate::store::postgres::failure;
use crate::store::postgres::step::Step;

/// A change that was decided.
pub(super) struct Decided {
    pub(super) line: Option<usize>,
    pub(super) collection: Collection,
    pub(super) id: Id,
    pub(super) applied: Applied,
    pub(super) step: Step,
}

/// What is kept now of a change, and the number of its transaction.
pub(super) type Kept = (Option<Bytes>, String);

/// Says all of it before the first answer comes.
pub(super) async fn make(
    client: &ClientWrapper,
    known: &Known,
    decided: &[Decided],
) -> Result<Vec<Kept>, Failed> {
    let mut asked = Vec::with_capacity(decided.len());
    for one in decided {
        let prepared = match &one.step.sql {
            Cow::Borrowed(sql) => Some(client.prepare_cached(sql).await.map_err(Failed::of)?),
            Cow::Owned(_) => None,
        };
        asked.push((one, prepared));
    }
    let mut answers = Vec::with_capacity(decided.len());
    for (one, prepared) in &asked {
        let mut answer = Box::pin(async move {
            match prepared {
                Some(prepared) => {
                    let values = one
                        .step
                        .values
                        .iter()
                        .map(|value| value as &(dyn ToSql + Sync));
                    let values: Vec<_> = values.collect();
                    client.query(prepared, &values).await
                }
                None => {
                    let typed = one.step.values.iter();
                    let typed = typed.map(|value| (value as &(dyn ToSql + Sync), Type::TEXT));
                    let typed: Vec<_> = typed.collect();
                    client.query_typed(&one.step.sql, &typed).await
                }
            }
        });
        // It is sent when it is looked at first.
        let begun = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
        answers.push((one, begun, answer));
    }
    let mut kept = Vec::with_capacity(decided.len());
    for (one, begun, answer) in answers {
        let rows = match begun {
            Poll::Ready(rows) => rows,
            Poll::Pending => answer.await,
        };
        let rows = rows.map_err(|error| one.failed(&error, known))?;
        kept.push(one.kept(&rows)?);
    }
    Ok(kept)
}

impl Decided {
    fn kept(&self, rows: &[Row]) -> Result<Kept, Failed> {
        let Some(row) = rows.first() else {
            // A trigger of the table's own can do that.
            let detail = format!("the database left {} as it is", self.id);
            let problem = Problem::new(StatusCode::CONFLICT, "refused", detail);
            return Err(Failed::For(problem.of_line(self.line)));
        };
        let json: Option<&str> = row.try_get(0).map_err(Failed::of)?;
        let number = row.try_get(1).map_err(Failed::of)?;
        Ok((
            json.map(|json| Bytes::copy_from_slice(json.as_bytes())),
            number,
        ))
    }

    fn failed(&self, error: &Error, known: &Known) -> Failed {
        let table = known.table(&self.collection);
        let key = table.as_ref().map(|table| &*table.constraint);
        if failure::is_taken(error, key.unwrap_or("documents_pkey")) {
            return Failed::Turn(failure::problem(error));
        }
        match Failed::turn(error) {
            Failed::For(problem) => Failed::For(problem.of_line(self.line)),
            turn => turn,
        }
    }
}
