//! Live SQL: tables are topics with a declared schema, queries read them, and what a query yields is told whenever it
//! changes. Nothing is evaluated that nobody watches, and equal queries are evaluated once.
//!
//! [`Live`] is all of it: definitions and who follows them. It announces through `log` and names no wire.

mod change;
pub mod definitions;
pub mod engine;
pub mod queries;
mod query;
pub mod sandbox;
pub mod schema;
mod shared;
pub mod sql;
pub mod subscriptions;
pub mod tables;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

use self::change::Op;
use self::definitions::{Change, Definitions, Stored};
use self::engine::{Engine, Load, Reader, Run};
use self::queries::Name;
use self::query::Query;
use self::shared::Shared;
use self::sql::dialect::{Flow, Statement};
use self::subscriptions::Subscription;
use crate::log::{self, Log};
use crate::problem::Problem;

/// How many definitions there may be, and for how long those that nobody uses.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Queries.
    pub queries: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// How long a subscription is kept that no stream uses.
    pub subscription_ttl: Duration,
    /// Queries and topics of a subscription.
    pub reader_topics: usize,
    /// What the engine may hold and do.
    pub engine: engine::Limits,
}

/// Tables, queries and subscriptions, and who follows them.
pub struct Live {
    log: Arc<Log>,
    engine: Arc<Engine>,
    limits: Limits,
    definitions: Option<Definitions>,
    /// One change of the definitions after the other.
    changing: tokio::sync::Mutex<()>,
    queries: Mutex<BTreeMap<Name, Arc<Query>>>,
    subscriptions: Mutex<HashMap<Box<str>, Arc<Subscription>>>,
    shared: Shared,
}

/// How many definitions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Queries.
    pub queries: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Tables.
    pub tables: usize,
}

/// The etags that a thing may have if it is to be changed; `None` where any will do.
pub type Expected = Option<Vec<String>>;

impl Live {
    /// Without definitions yet; those that outlive a restart are read by [`Live::restore`].
    pub fn new(
        log: Arc<Log>,
        engine: Engine,
        limits: Limits,
        definitions: Option<Definitions>,
    ) -> Arc<Live> {
        Arc::new(Live {
            log,
            engine: Arc::new(engine),
            limits,
            definitions,
            changing: tokio::sync::Mutex::new(()),
            queries: Mutex::default(),
            subscriptions: Mutex::default(),
            shared: Shared::new(),
        })
    }

    /// Takes up what was there before a restart. What cannot be taken up is kept, and said.
    pub async fn restore(&self, stored: Stored) {
        for body in stored.tables {
            self.restore_table(&body).await;
        }
        for (name, body) in stored.queries {
            self.restore_query(&name, &body).await;
        }
        for (id, body) in stored.subscriptions {
            self.restore_subscription(&id, &body);
        }
    }

    /// Lets go of what nobody uses any more, for as long as it is polled.
    pub async fn tidy(self: Arc<Live>) {
        let pause = (self.limits.subscription_ttl / 4).min(Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause.max(Duration::from_millis(20))).await;
            self.end_unused_subscriptions().await;
            self.end_temporary_queries().await;
            self.say_again();
            self.rest_queries();
        }
    }

    /// How many definitions there are.
    pub fn held(&self) -> Held {
        Held {
            queries: self.defined_queries(),
            subscriptions: self.subscriptions().len(),
            tables: self.engine.tables().len(),
        }
    }

    /// What the engine has done.
    pub fn load(&self) -> Load {
        self.engine.load()
    }

    /// Reads what is sent as a query of the dialect of streams.
    ///
    /// # Errors
    /// 400 with line and column, naming the clause; 413 when it is too long; 503 when too many wait.
    pub async fn read_dialect(&self, sql: String) -> Result<Statement, Problem> {
        self.engine.statement(sql).await
    }

    /// Begins a query of the dialect; it ends when the run is dropped.
    pub fn run(&self, flow: &Arc<Flow>, reader: Arc<dyn Reader>) -> Run {
        self.engine.run(flow, reader)
    }

    async fn keep(&self, change: Change) -> Result<(), Problem> {
        match &self.definitions {
            Some(definitions) => definitions.keep(change).await,
            None => Ok(()),
        }
    }
}

fn is_expected(expected: &Expected, etag: &str) -> Result<(), Problem> {
    let Some(tags) = expected else { return Ok(()) };
    if tags.iter().any(|tag| tag == etag) {
        return Ok(());
    }
    let detail = "somebody has changed it meanwhile; GET it, and try again with its etag";
    Err(Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed",
        detail,
    ))
}

/// More of these than the setting of their name allows.
fn too_many(what: &str, limit: usize) -> Problem {
    let detail =
        format!("there are {limit} {what}, which is the limit ({what}); delete some or raise it");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail).with(RETRY_AFTER, "60")
}

/// So many bytes that nobody can guess, in hexadecimal digits.
fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    let filled = default_provider().secure_random.fill(&mut buffer);
    filled.expect("the machine has random bytes");
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What versions of a definition are told apart by: the same of the same text, whatever build of this reads it.
fn digest(text: &[u8]) -> String {
    format!("{:016x}", log::hash(text))
}
