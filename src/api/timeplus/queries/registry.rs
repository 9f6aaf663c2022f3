//! The queries of the dialect that run, and for a while those that have.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Context;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use tokio::time::Instant;

use super::outbox::{Batching, Taken};
use super::query::{Asked, Ending, Query};
use crate::live::Live;
use crate::live::sql::dialect::Flow;
use crate::problem::Problem;

/// How many queries there may be, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Those that run.
    pub running: usize,
    /// Those that have ended and can still be asked about.
    pub ended: usize,
    /// For how long they can.
    pub ended_for: Duration,
    /// How long a client may take nothing.
    pub stall: Duration,
}

/// How long a query that was made for a WebSocket waits for it.
const UNFOLLOWED: Duration = Duration::from_secs(10);

/// How often somebody who takes what comes is seen to: there are metrics as often.
const SEEN_EVERY: Duration = Duration::from_secs(1);

/// All of them.
pub struct Registry {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queries: HashMap<Arc<str>, Arc<Query>>,
    begun: u64,
    running: usize,
    /// In the order in which they did.
    ended: VecDeque<(Instant, Arc<str>)>,
    is_leaving: bool,
}

/// Somebody who takes the rows of a query, which ends with it at the latest.
pub struct Following {
    registry: Arc<Registry>,
    query: Arc<Query>,
}

impl Registry {
    /// Without a query.
    pub fn new(limits: Limits) -> Arc<Registry> {
        Arc::new(Registry {
            limits,
            state: Mutex::default(),
        })
    }

    /// Runs a query, which waits a while for somebody who follows it.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub fn begin(&self, asked: Asked, flow: Flow, live: &Live) -> Result<Arc<Query>, Problem> {
        let mut state = self.state();
        if state.is_leaving {
            return Err(Problem::unavailable(
                "draining",
                "the server is draining; use another",
            ));
        }
        let most = self.limits.running;
        if state.running >= most {
            let detail = format!(
                "{most} queries run, which is the limit (timeplus-queries); cancel some or raise it"
            );
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail);
            return Err(problem.with(RETRY_AFTER, "5"));
        }
        state.running += 1;
        state.begun += 1;
        let query = Arc::new(Query::begin(state.begun, asked, flow, live));
        state.queries.insert(query.id.clone(), query.clone());
        Ok(query)
    }

    /// Takes its rows.
    ///
    /// # Errors
    /// 404 when there is none, 409 when somebody does already.
    pub fn follow(self: &Arc<Self>, id: &str) -> Result<Following, Problem> {
        let query = self.find(id)?;
        if !query.follow() {
            let detail = "the rows of this query go to somebody else; make another query";
            return Err(Problem::new(StatusCode::CONFLICT, "followed", detail));
        }
        Ok(Following {
            registry: self.clone(),
            query,
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn find(&self, id: &str) -> Result<Arc<Query>, Problem> {
        let mut state = self.state();
        state.forget(&self.limits);
        let query = state.queries.get(id).cloned();
        query.ok_or_else(|| {
            let detail = format!("there is no query {id}; one that has ended is forgotten after a while (timeplus-ended-for)");
            Problem::new(StatusCode::NOT_FOUND, "unknown-query", detail)
        })
    }

    /// All of them, or those with a tag; the oldest first.
    pub fn list(&self, tag: Option<&str>) -> Vec<Arc<Query>> {
        let mut state = self.state();
        state.forget(&self.limits);
        let queries = state.queries.values();
        let mut found: Vec<Arc<Query>> = queries
            .filter(|query| tag.is_none_or(|tag| query.has_tag(tag)))
            .cloned()
            .collect();
        drop(state);
        found.sort_unstable_by_key(|query| query.number);
        found
    }

    /// Ends a query; of one that has ended, nothing.
    pub fn end(&self, query: &Query, ending: Ending) {
        if !query.end(ending) {
            return;
        }
        let mut state = self.state();
        state.running -= 1;
        if state.queries.contains_key(&query.id) {
            state.ended.push_back((Instant::now(), query.id.clone()));
            state.forget(&self.limits);
        }
    }

    /// Cancels a query and forgets it.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn remove(&self, id: &str) -> Result<(), Problem> {
        let query = self.find(id)?;
        let mut state = self.state();
        state.queries.remove(id);
        state.ended.retain(|(_, ended)| **ended != *id);
        drop(state);
        self.end(&query, Ending::Canceled(""));
        Ok(())
    }

    /// Ends all, and lets none begin.
    pub fn drain(&self) {
        self.state().is_leaving = true;
        for query in self.list(None) {
            self.end(&query, Ending::Canceled("the server is draining"));
        }
    }

    /// Ends what nobody follows or takes, for as long as it is polled.
    pub async fn tidy(self: Arc<Registry>) {
        loop {
            tokio::time::sleep(SEEN_EVERY).await;
            for query in self.list(None) {
                let why = match query.idle() {
                    (idle, false) if idle > UNFOLLOWED => "nobody has come to follow it",
                    (idle, true) if idle > self.limits.stall + 2 * SEEN_EVERY => {
                        "its client has taken nothing for too long (stall)"
                    }
                    _ => continue,
                };
                self.end(&query, Ending::Canceled(why));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    /// Lets go of what has ended long ago, or before too many others.
    fn forget(&mut self, limits: &Limits) {
        while let Some((at, id)) = self.ended.front() {
            if self.ended.len() <= limits.ended && at.elapsed() < limits.ended_for {
                return;
            }
            self.queries.remove(id);
            self.ended.pop_front();
        }
    }
}

impl Following {
    /// The query.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Takes what is due. After the last of it the query has ended.
    pub fn take(&self, cx: &Context<'_>, batching: Batching) -> Taken {
        let taken = self.query.take(cx, batching);
        if let Taken::Ended(outcome) = &taken {
            // It has not, if it was ended from elsewhere.
            self.registry.end(&self.query, outcome.clone().into());
        }
        taken
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.registry
            .end(&self.query, Ending::Canceled("its client has left"));
    }
}
