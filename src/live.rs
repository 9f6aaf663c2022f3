//! Live SQL: tables are topics with a declared schema, queries read them, and what a query yields is told whenever it
//! changes. Nothing is evaluated that nobody watches, and equal queries are evaluated once.
//!
//! [`Live`] is all of it: definitions and who follows them. It announces through `log` and names no wire.

pub mod definitions;
pub mod engine;
pub mod queries;
pub mod sandbox;
pub mod schema;
pub mod sql;
pub mod subscriptions;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use serde_json::Value;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

use self::definitions::{Change, Definitions, Kind, Stored};
use self::engine::{Engine, Load, Table};
use self::queries::{Definition, Name, Query};
use self::schema::Schema;
use self::subscriptions::{Member, Subscription};
use crate::event::{Draft, Topic};
use crate::log::{Log, Reader, Start};
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

/// What `If-Match` wants a thing to be before it is changed.
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
        })
    }

    /// Takes up what was there before a restart. What cannot be taken up is kept, and said.
    pub async fn restore(&self, stored: Stored) {
        for body in stored.tables {
            let schema = tables::Asked::parse(&body).and_then(|a| a.schema(&self.limits.engine));
            let made = match schema {
                Ok(schema) => self.engine.create(schema).await,
                Err(problem) => Err(problem),
            };
            if let Err(problem) = made {
                tracing::warn!("a table from before the restart is not there: {problem}: {body}");
            }
        }
        for (name, body) in stored.queries {
            let asked = serde_json::from_str::<queries::Asked>(&body);
            let (Ok(name), Ok(asked)) = (Name::new(&name), asked) else {
                tracing::warn!("a query from before the restart cannot be read: {name}: {body}");
                continue;
            };
            let plan = self.engine.plan(asked.sql.clone()).await;
            if let Err(problem) = &plan {
                tracing::warn!("query {name} from before the restart: {problem}");
            }
            let etag = random(8);
            if let Ok(query) = self.slot(&name) {
                query.define(Definition { asked, plan, etag });
            }
        }
        for (id, body) in stored.subscriptions {
            let asked = serde_json::from_str::<subscriptions::Asked>(&body);
            let members = asked.map(|asked| self.members(&asked, true));
            let Ok(Ok(members)) = members else {
                tracing::warn!("a subscription from before the restart cannot be read: {body}");
                continue;
            };
            self.add(&id, members);
        }
    }

    /// Lets go of what nobody uses any more, for as long as it is polled.
    pub async fn tidy(self: Arc<Live>) {
        let pause = (self.limits.subscription_ttl / 4).min(Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause.max(Duration::from_millis(20))).await;
            self.end_unused().await;
            self.rest();
        }
    }

    /// How many definitions there are.
    pub fn held(&self) -> Held {
        Held {
            queries: self.queries().values().filter(|q| q.is_defined()).count(),
            subscriptions: self.subscriptions().len(),
            tables: self.engine.tables().len(),
        }
    }

    /// What the engine has done.
    pub fn load(&self) -> Load {
        self.engine.load()
    }

    async fn end_unused(&self) {
        let ttl = self.limits.subscription_ttl;
        let all: Vec<_> = self.subscriptions().values().cloned().collect();
        for subscription in all {
            if subscription.end_if_unused(ttl) {
                self.subscriptions().remove(subscription.id());
                let id = subscription.id().to_owned();
                // After a restart that comes first, it ends once more.
                let _ = self.keep(Change::Remove(Kind::Subscription, id)).await;
            }
        }
    }

    fn rest(&self) {
        let all: Vec<_> = self.queries().values().cloned().collect();
        all.iter().for_each(|query| query.rest());
        drop(all);
        let mut queries = self.queries();
        // A name that stands for nothing and that nobody follows.
        let gone = queries.extract_if(.., |_, q| Arc::strong_count(q) == 1 && !q.is_defined());
        let gone: Vec<Topic> = gone.map(|(_, query)| query.topic.clone()).collect();
        if !gone.is_empty() {
            self.log.clear(&gone);
        }
    }

    fn queries(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Query>>> {
        self.queries.lock().expect("nothing panics under this lock")
    }

    fn subscriptions(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Subscription>>> {
        self.subscriptions
            .lock()
            .expect("nothing panics under this lock")
    }

    /// The query of this name, or an empty place for it.
    fn slot(&self, name: &Name) -> Result<Arc<Query>, Problem> {
        let mut queries = self.queries();
        if let Some(query) = queries.get(name) {
            return Ok(query.clone());
        }
        let query = Query::new(name.clone(), self.log.clone(), self.engine.clone())?;
        queries.insert(name.clone(), query.clone());
        Ok(query)
    }

    fn defined(&self, name: &Name) -> Option<Arc<Query>> {
        let query = self.queries().get(name).cloned();
        query.filter(|query| query.is_defined())
    }

    async fn keep(&self, change: Change) -> Result<(), Problem> {
        match &self.definitions {
            Some(definitions) => definitions.keep(change).await,
            None => Ok(()),
        }
    }
}

/// Queries.
impl Live {
    /// Makes a query.
    ///
    /// # Errors
    /// 400 for what is none, 409 when the name is taken, 429 when it is one too many.
    pub async fn create_query(
        self: Arc<Live>,
        name: Name,
        asked: queries::Asked,
    ) -> Result<String, Problem> {
        asked.check()?;
        let taken = || {
            let detail =
                format!("there is a query {name}; change it by PUT, or choose another name");
            Problem::new(StatusCode::CONFLICT, "query-exists", detail)
        };
        if self.defined(&name).is_some() {
            return Err(taken());
        }
        let plan = self.engine.plan(asked.sql.clone()).await?;
        let _turn = self.changing.lock().await;
        if self.defined(&name).is_some() {
            return Err(taken());
        }
        if self.held().queries >= self.limits.queries {
            return Err(too_many("queries", self.limits.queries, "queries"));
        }
        self.put_query(&name, asked, plan).await
    }

    /// Changes a query; its streams go on with the new one.
    ///
    /// # Errors
    /// 400 for what is none, 404 when there is none of this name, 412 when it is not the one that was expected.
    pub async fn change_query(
        self: Arc<Live>,
        name: Name,
        asked: queries::Asked,
        expected: Expected,
    ) -> Result<String, Problem> {
        asked.check()?;
        self.expect_query(&name, &expected)?;
        let plan = self.engine.plan(asked.sql.clone()).await?;
        let _turn = self.changing.lock().await;
        self.expect_query(&name, &expected)?;
        self.put_query(&name, asked, plan).await
    }

    /// Forgets a query; its streams are told.
    ///
    /// # Errors
    /// 404 when there is none of this name, 412 when it is not the one that was expected.
    pub async fn delete_query(
        self: Arc<Live>,
        name: Name,
        expected: Expected,
    ) -> Result<(), Problem> {
        let _turn = self.changing.lock().await;
        let query = self.expect_query(&name, &expected)?;
        self.keep(Change::Remove(Kind::Query, name.to_string()))
            .await?;
        query.delete();
        Ok(())
    }

    /// One query, as JSON, and its ETag.
    ///
    /// # Errors
    /// 404 when there is none of this name.
    pub fn query(&self, name: &Name) -> Result<String, Problem> {
        let query = self.defined(name);
        let about = query.and_then(|query| query.describe(true));
        about.ok_or_else(|| unknown_queries(&[name.as_str()]))
    }

    /// So many queries after this name, as JSON, and whether there are more.
    pub fn list_queries(&self, after: Option<&Name>, most: usize) -> (Vec<String>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queries = self.queries();
        let later = queries.range::<Name, _>((from, Bound::Unbounded));
        let mut found: Vec<Arc<Query>> = later
            .map(|(_, query)| query)
            .filter(|query| query.is_defined())
            .take(most + 1)
            .cloned()
            .collect();
        drop(queries);
        let are_more = found.len() > most;
        found.truncate(most);
        let found = found.iter().filter_map(|query| query.describe(false));
        (found.collect(), are_more)
    }

    fn expect_query(&self, name: &Name, expected: &Expected) -> Result<Arc<Query>, Problem> {
        let query = self.defined(name);
        let query = query.ok_or_else(|| unknown_queries(&[name.as_str()]))?;
        match query.definition() {
            Some(definition) => is_expected(expected, &definition.etag)?,
            None => return Err(unknown_queries(&[name.as_str()])),
        }
        Ok(query)
    }

    async fn put_query(
        &self,
        name: &Name,
        asked: queries::Asked,
        plan: Arc<sql::Plan>,
    ) -> Result<String, Problem> {
        let body = serde_json::to_string(&asked).expect("text and a number");
        self.keep(Change::Put(Kind::Query, name.to_string(), body))
            .await?;
        let etag = random(8);
        let definition = Definition {
            asked,
            plan: Ok(plan),
            etag: etag.clone(),
        };
        self.slot(name)?.define(definition);
        Ok(etag)
    }
}

/// Subscriptions.
impl Live {
    /// Makes a subscription; returns its id and its ETag.
    ///
    /// # Errors
    /// 400 for what is none, 404 that names the queries which there are not, 429 when it is one too many.
    pub async fn subscribe(
        self: Arc<Live>,
        asked: subscriptions::Asked,
    ) -> Result<(String, String), Problem> {
        let _turn = self.changing.lock().await;
        let members = self.members(&asked, false)?;
        let most = self.limits.subscriptions;
        if self.subscriptions().len() >= most {
            return Err(too_many("subscriptions", most, "subscriptions"));
        }
        let id = random(16);
        self.keep(put_subscription(&id, &members)).await?;
        let etag = self.add(&id, members);
        Ok((id, etag))
    }

    /// Changes a subscription; its streams follow at once.
    ///
    /// # Errors
    /// As there, 404 also when there is none with this id, and 412 when it is not the one that was expected.
    pub async fn change_subscription(
        self: Arc<Live>,
        id: String,
        asked: subscriptions::Asked,
        expected: Expected,
    ) -> Result<String, Problem> {
        let _turn = self.changing.lock().await;
        let subscription = self.subscription(&id)?;
        is_expected(&expected, &subscription.etag())?;
        let members = self.members(&asked, false)?;
        self.keep(put_subscription(&id, &members)).await?;
        let etag = random(8);
        subscription.change(etag.clone(), members);
        Ok(etag)
    }

    /// Ends a subscription, and its streams.
    ///
    /// # Errors
    /// 404 when there is none with this id, 412 when it is not the one that was expected.
    pub async fn unsubscribe(
        self: Arc<Live>,
        id: String,
        expected: Expected,
    ) -> Result<(), Problem> {
        let _turn = self.changing.lock().await;
        let subscription = self.subscription(&id)?;
        is_expected(&expected, &subscription.etag())?;
        self.keep(Change::Remove(Kind::Subscription, id)).await?;
        self.subscriptions().remove(subscription.id());
        subscription.end();
        Ok(())
    }

    /// The subscription with this id.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn subscription(&self, id: &str) -> Result<Arc<Subscription>, Problem> {
        let found = self.subscriptions().get(id).cloned();
        found.ok_or_else(unknown_subscription)
    }

    /// One subscription, as JSON.
    ///
    /// # Errors
    /// 404 when there is none with this id.
    pub fn describe_subscription(&self, id: &str) -> Result<Value, Problem> {
        let ttl = self.limits.subscription_ttl;
        Ok(self.subscription(id)?.describe(ttl))
    }

    /// Has a new reader follow a subscription, from its place on.
    ///
    /// # Errors
    /// 404 when it is over.
    pub fn follow(
        &self,
        subscription: &Arc<Subscription>,
        reader: &mut Reader,
        start: Start,
        is_poll: bool,
    ) -> Result<(), Problem> {
        match subscription.guide(reader, start, is_poll) {
            true => Ok(()),
            false => Err(unknown_subscription()),
        }
    }

    fn add(&self, id: &str, members: Vec<Member>) -> String {
        let etag = random(8);
        let subscription = Subscription::new(id, etag.clone(), self.log.clone(), members);
        self.subscriptions()
            .insert(id.into(), Arc::new(subscription));
        etag
    }

    /// What a subscription consists of, each once. One that was made follows its names even if they stand for nothing.
    fn members(
        &self,
        asked: &subscriptions::Asked,
        was_made: bool,
    ) -> Result<Vec<Member>, Problem> {
        let names: BTreeSet<&String> = asked.queries.iter().collect();
        let topics: BTreeSet<&String> = asked.topics.iter().collect();
        let most = self.limits.reader_topics;
        if names.len() + topics.len() > most {
            let detail = format!(
                "a subscription may have {most} queries and topics (reader-topics); make another"
            );
            return Err(Problem::bad_request("too-many-topics", detail));
        }
        let mut members = Vec::new();
        let mut unknown = Vec::new();
        for text in names {
            let name = Name::new(text)?;
            match was_made || self.defined(&name).is_some() {
                true => members.push(Member::of_query(self.slot(&name)?)),
                false => unknown.push(text.as_str()),
            }
        }
        if !unknown.is_empty() {
            return Err(unknown_queries(&unknown));
        }
        for text in topics {
            let topic = Topic::new(text)?;
            if topic.is_of_query() {
                let detail = format!("{topic} is told by its query; name that in `queries`");
                return Err(Problem::bad_request("topic", detail));
            }
            members.push(Member::of_topic(topic));
        }
        Ok(members)
    }
}

/// Tables.
impl Live {
    /// Declares a table.
    ///
    /// # Errors
    /// 400 for what is no schema, 409 when there is one of that name, 429 when it is one too many.
    pub async fn create_table(self: Arc<Live>, asked: tables::Asked) -> Result<Value, Problem> {
        let schema = asked.schema(&self.limits.engine)?;
        let name = schema.name.clone();
        let _turn = self.changing.lock().await;
        self.engine.create(schema).await?;
        let table = self.table(name.as_str())?;
        let body = tables::Asked::of(&table.schema);
        let body = serde_json::to_string(&body).expect("text and numbers");
        let kept = self.keep(Change::Put(Kind::Table, name.to_string(), body));
        if let Err(problem) = kept.await {
            self.engine.forget(&name).await?;
            return Err(problem);
        }
        Ok(tables::describe(&table))
    }

    /// Forgets a table and its rows; queries that read it end.
    ///
    /// # Errors
    /// 404 when there is none, 403 for one that is built in.
    pub async fn forget_table(self: Arc<Live>, name: String) -> Result<(), Problem> {
        let _turn = self.changing.lock().await;
        let table = self.table(&name)?;
        if tables::is_built_in(table.schema.name.as_str()) {
            let detail = format!("{name} is built in: the server itself fills it");
            return Err(Problem::new(StatusCode::FORBIDDEN, "built-in", detail));
        }
        self.keep(Change::Remove(Kind::Table, table.schema.name.to_string()))
            .await?;
        self.engine.forget(&table.schema.name).await
    }

    /// The tables, by name.
    pub fn tables(&self) -> Vec<Table> {
        self.engine.tables()
    }

    /// One table.
    ///
    /// # Errors
    /// 404 when there is none of this name.
    pub fn table(&self, name: &str) -> Result<Table, Problem> {
        let mut tables = self.engine.tables().into_iter();
        let found = tables.find(|table| table.schema.name.as_str() == name);
        found.ok_or_else(|| {
            let detail = format!("there is no table {name}; POST /streams makes one");
            Problem::new(StatusCode::NOT_FOUND, "unknown-table", detail)
        })
    }

    /// The schema that a topic's events are held to, if it is a table.
    pub fn schema(&self, topic: &Topic) -> Option<Arc<Schema>> {
        self.engine.schema(topic)
    }

    /// Holds what is published to the schemas of the tables that it would be rows of; how many of it go to tables.
    ///
    /// # Errors
    /// 400 that names the first event, if they are several, and the column.
    pub fn check(&self, drafts: &[Draft]) -> Result<usize, Problem> {
        let mut rows = 0;
        let mut last: Option<(&Topic, Option<Arc<Schema>>)> = None;
        for (index, draft) in drafts.iter().enumerate() {
            if last
                .as_ref()
                .is_none_or(|(topic, _)| **topic != draft.topic)
            {
                last = Some((&draft.topic, self.schema(&draft.topic)));
            }
            let Some((_, Some(schema))) = &last else {
                continue;
            };
            if !draft.payload.is_json() {
                continue;
            }
            schema.check(draft.payload.bytes()).map_err(|problem| {
                let detail = match drafts.len() {
                    1 => problem.detail,
                    _ => format!("event {}: {}", index + 1, problem.detail).into(),
                };
                Problem { detail, ..problem }
            })?;
            rows += 1;
        }
        Ok(rows)
    }

    /// What was checked has been appended.
    pub fn came(&self, rows: usize) {
        self.engine.came(rows);
    }
}

fn put_subscription(id: &str, members: &[Member]) -> Change {
    let body = serde_json::to_string(&Subscription::asked(members)).expect("texts");
    Change::Put(Kind::Subscription, id.to_owned(), body)
}

fn is_expected(expected: &Expected, etag: &str) -> Result<(), Problem> {
    let Some(tags) = expected else { return Ok(()) };
    if tags.iter().any(|tag| tag == "*" || tag == etag) {
        return Ok(());
    }
    let detail = "somebody has changed it meanwhile; GET it, and try again with its etag";
    Err(Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed",
        detail,
    ))
}

fn unknown_queries(names: &[&str]) -> Problem {
    let (are, names) = (
        if names.len() == 1 { "is" } else { "are" },
        names.join(", "),
    );
    let detail = format!("there {are} no query {names}; POST /queries/NAME makes one");
    Problem::new(StatusCode::NOT_FOUND, "unknown-query", detail)
}

fn unknown_subscription() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-subscription",
        "there is no such subscription; one that no stream uses ends by itself (subscription-ttl): POST /subscriptions",
    )
}

fn too_many(what: &str, limit: usize, key: &str) -> Problem {
    let detail =
        format!("there are {limit} {what}, which is the limit ({key}); delete some or raise it");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail).with(RETRY_AFTER, "60")
}

/// So many bytes that nobody can guess, in hexadecimal digits.
fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    let filled = default_provider().secure_random.fill(&mut buffer);
    filled.expect("the machine has random bytes");
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}
