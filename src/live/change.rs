//! Changes of what is defined: each is looked at, whether it can be, and then made, on this server alone or on all replicas.

use std::sync::Arc;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::definitions::{Change, Kind};
use super::queries::{self, Name, unknown_queries};
use super::query::Definition;
use super::sql::Plan;
use super::{Expected, Live, is_expected, subscriptions, tables, too_many};
use crate::event::{EventId, Topic};
use crate::problem::Problem;

/// A change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Op {
    MakeQuery(Name, queries::Asked),
    ChangeQuery(Name, queries::Asked, Expected),
    DeleteQuery(Name, Expected),
    /// A temporary one that nobody names any more, and where it was made.
    EndQuery(Name, EventId),
    Subscribe(String, subscriptions::Asked),
    ChangeSubscription(String, subscriptions::Asked, Expected),
    Unsubscribe(String, Expected),
    /// Streams of the replica that says it use these subscriptions.
    Hold(Vec<String>),
    /// They have not for long. What no replica uses ends.
    Release(Vec<String>),
    /// What this life of a replica has used, whoever says it does now: the other is gone.
    Inherit(String),
    Declare(tables::Asked),
    Forget(String),
}

impl Op {
    /// The query that is to be read for it.
    pub(super) fn sql(&self) -> Option<&str> {
        match self {
            Op::MakeQuery(_, asked) | Op::ChangeQuery(_, asked, _) => Some(&asked.sql),
            _ => None,
        }
    }
}

impl Live {
    /// Changes what is defined: here and on the disk, or on all replicas.
    pub(super) async fn change(
        self: &Arc<Live>,
        op: Op,
        plan: Option<Arc<Plan>>,
    ) -> Result<(), Problem> {
        if self.is_shared() {
            self.room(&op)?;
            return self.say(op, plan).await;
        }
        let _turn = self.changing.lock().await;
        self.check(&op)?;
        self.room(&op)?;
        if let Some(change) = kept(&op) {
            self.keep(change).await?;
        }
        self.apply(&op, plan, EventId::ZERO, "")
    }

    /// Whether one more can be. Of replicas, each decides that for what it is asked itself.
    fn room(&self, op: &Op) -> Result<(), Problem> {
        let (what, there_are, most) = match op {
            Op::MakeQuery(..) => ("queries", self.defined_queries(), self.limits.queries),
            Op::Subscribe(..) => {
                let there_are = self.subscriptions().len();
                ("subscriptions", there_are, self.limits.subscriptions)
            }
            _ => return Ok(()),
        };
        match there_are < most {
            true => Ok(()),
            false => Err(too_many(what, most)),
        }
    }

    /// Whether it can be made of what there is.
    pub(super) fn check(&self, op: &Op) -> Result<(), Problem> {
        match op {
            Op::MakeQuery(name, asked) => {
                asked.check()?;
                match self.defined(name) {
                    Some(_) => Err(taken(name)),
                    None => Ok(()),
                }
            }
            Op::ChangeQuery(name, asked, expected) => {
                asked.check()?;
                self.expect_query(name, expected).map(drop)
            }
            Op::DeleteQuery(name, expected) => self.expect_query(name, expected).map(drop),
            Op::EndQuery(name, made) => {
                let query = self.defined(name).filter(|query| query.is_left());
                let definition = query.and_then(|query| query.definition());
                match definition.is_some_and(|definition| definition.made == *made) {
                    true => Ok(()),
                    false => Err(unknown_queries(&[name.as_str()])),
                }
            }
            Op::Subscribe(_, asked) => self.check_members(asked),
            Op::ChangeSubscription(id, asked, expected) => {
                is_expected(expected, &self.subscription(id)?.etag())?;
                self.check_members(asked)
            }
            Op::Unsubscribe(id, expected) => is_expected(expected, &self.subscription(id)?.etag()),
            Op::Hold(_) | Op::Release(_) | Op::Inherit(_) => Ok(()),
            Op::Declare(asked) => asked.schema(&self.limits.engine).map(drop),
            Op::Forget(name) => {
                let table = self.table(name)?;
                if tables::is_built_in(table.schema.name.as_str()) {
                    let detail = format!("{name} is built in: the server itself fills it");
                    return Err(Problem::new(StatusCode::FORBIDDEN, "built-in", detail));
                }
                Ok(())
            }
        }
    }

    /// Makes it, which can be; at a place in the relay's order, by a replica, if there are several.
    pub(super) fn apply(
        self: &Arc<Live>,
        op: &Op,
        plan: Option<Arc<Plan>>,
        place: EventId,
        by: &str,
    ) -> Result<(), Problem> {
        match op {
            Op::MakeQuery(name, asked) | Op::ChangeQuery(name, asked, _) => {
                let definition = Definition::new(asked.clone(), plan.map(Ok), place);
                self.slot(name)?.define(definition);
            }
            Op::DeleteQuery(name, _) | Op::EndQuery(name, _) => self.slot(name)?.delete(),
            Op::Subscribe(id, asked) => {
                let subscription = self.add(id, self.members(asked)?);
                subscription.hold(by);
            }
            Op::ChangeSubscription(id, asked, _) => {
                let mark = (place != EventId::ZERO).then_some(place);
                self.subscription(id)?.change(self.members(asked)?, mark);
            }
            Op::Unsubscribe(id, _) => self.end_subscription(id),
            Op::Hold(ids) => {
                let held = ids.iter().filter_map(|id| self.subscription(id).ok());
                held.for_each(|subscription| subscription.hold(by));
            }
            Op::Release(ids) => {
                let released = ids.iter().filter_map(|id| self.subscription(id).ok());
                for subscription in released.filter(|subscription| subscription.release(by)) {
                    self.end_subscription(subscription.id());
                }
            }
            Op::Inherit(from) => {
                let all: Vec<_> = self.subscriptions().values().cloned().collect();
                for subscription in all.iter().filter(|s| s.is_held_by(from)) {
                    subscription.hold(by);
                    subscription.release(from);
                }
            }
            Op::Declare(asked) => {
                self.declare(asked.schema(&self.limits.engine)?, EventId::ZERO)?;
            }
            Op::Forget(name) => {
                let until = match self.is_shared() {
                    true => place,
                    false => self.log.head(),
                };
                self.engine.forget(&Topic::new(name)?, until)?;
            }
        }
        Ok(())
    }

    pub(super) fn end_subscription(&self, id: &str) {
        let ended = self.subscriptions().remove(id);
        if let Some(subscription) = ended {
            subscription.end();
        }
    }

    /// Declares a table of all replicas.
    pub(super) fn declare(
        self: &Arc<Live>,
        schema: super::schema::Schema,
        since: EventId,
    ) -> Result<(), Problem> {
        let name = schema.name.clone();
        let declared = self.engine.declare(schema, since)?;
        let live = self.clone();
        tokio::spawn(async move {
            if let Err(problem) = declared.await {
                tracing::error!("table {name} is not there, though it may be on others: {problem}");
                let _ = live.engine.forget(&name, live.log.head());
            }
        });
        Ok(())
    }
}

/// What of it outlives a restart.
fn kept(op: &Op) -> Option<Change> {
    match op {
        Op::MakeQuery(name, asked) | Op::ChangeQuery(name, asked, _) => {
            let body = serde_json::to_string(asked).expect("text and a number");
            Some(Change::Put(Kind::Query, name.to_string(), body))
        }
        Op::DeleteQuery(name, _) | Op::EndQuery(name, _) => {
            Some(Change::Remove(Kind::Query, name.to_string()))
        }
        Op::Subscribe(id, asked) | Op::ChangeSubscription(id, asked, _) => {
            let body = serde_json::to_string(&asked.sorted()).expect("texts");
            Some(Change::Put(Kind::Subscription, id.clone(), body))
        }
        Op::Unsubscribe(id, _) => Some(Change::Remove(Kind::Subscription, id.clone())),
        Op::Forget(name) => Some(Change::Remove(Kind::Table, name.clone())),
        Op::Declare(_) | Op::Hold(_) | Op::Release(_) | Op::Inherit(_) => None,
    }
}

pub(super) fn taken(name: &Name) -> Problem {
    let detail = format!("there is a query {name}; change it by PUT, or choose another name");
    Problem::new(StatusCode::CONFLICT, "query-exists", detail)
}
