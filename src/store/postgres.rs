//! Documents in Postgres: in a table of triwire's own, or in tables of the user's. Triggers put each change into an
//! outbox, whoever makes it; a reader tells what is in it, and a write is answered when its own change is told.

mod commit;
mod definitions;
mod failure;
mod index;
mod list;
pub mod migrate;
mod order;
mod outbox;
mod pool;
pub mod prune;
mod reader;
mod shelf;
mod step;
mod table;
mod waiting;
pub mod watch;
mod word;
mod write;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use self::definitions::Definitions;
use self::index::Indexes;
use self::order::{Hearing, Order};
use self::outbox::Told;
use self::pool::Connections;
use self::prune::Kept;
use self::reader::Session;
use self::shelf::Shelf;
use self::waiting::Waiting;
use super::announce::Announcer;
use super::ask::Ask;
use super::name::{Collection, Id};
use super::schema::Schema;
use super::write::{Change, Document, Write, Written};
use super::{Limits, Store};
use crate::database::{Place, pooler, why};
use crate::event::EventId;
use crate::problem::Problem;

/// How long a database may take to be there when the server starts: it may start at the same time.
const STARTS: Duration = Duration::from_secs(10);

/// What is set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Transactions at once, each of which has a connection.
    pub connections: usize,
    /// How long one list may take.
    pub list_time: Duration,
    /// How much is kept for servers that are away.
    pub outbox: Kept,
    /// What may be how large.
    pub limits: Limits,
}

/// Where the outbox is read, and who rings for that.
struct Source {
    place: Place,
    settings: Settings,
    woken: Arc<Notify>,
    /// Rung when a write has found the database while the reader waits for it to come back.
    found: Arc<Notify>,
}

/// A database that was found to be as it must be, and is not in use yet.
pub struct Opened {
    source: Source,
    definitions: Definitions,
    session: Session,
    begin: outbox::Place,
    /// Names the database.
    name: String,
}

impl Opened {
    /// Connects.
    ///
    /// # Errors
    /// Why it cannot be, and what to do first.
    pub async fn new(place: Place, settings: Settings) -> Result<Opened, String> {
        let shown = place.shown().to_owned();
        let failed = |why: String| match why.starts_with(&shown) {
            true => why,
            false => format!("{shown}: {why}"),
        };
        patience(&place).await.map_err(failed)?;
        let source = Source {
            place,
            settings,
            woken: Arc::new(Notify::new()),
            found: Arc::new(Notify::new()),
        };
        let definitions = Definitions::new(settings.limits);
        let session = Session::open(&source).await.map_err(failed)?;
        let (begin, name) = session.begin(&definitions).await.map_err(failed)?;
        Ok(Opened {
            source,
            definitions,
            session,
            begin,
            name,
        })
    }

    /// Begins to tell what changes, of what was committed since it was opened; behind a relay, to all its servers, and from
    /// where others have left off. What `relay` says tells that relay from others: servers that call it differently get in
    /// each other's way, and no more.
    pub fn start(self, announcer: Arc<Announcer>, relay: Option<String>) -> Postgres {
        let Settings { connections, .. } = self.source.settings;
        let shared = Arc::new(Shared {
            connections: Connections::new(&self.source.place, connections),
            source: self.source,
            definitions: self.definitions,
            announcer,
            order: Order::new(self.name),
            waiting: Waiting::default(),
            commits: AtomicU64::new(0),
            away: Mutex::new(None),
            indexes: Indexes::default(),
            seen: Mutex::new(HashSet::new()),
        });
        let weak = Arc::downgrade(&shared);
        if relay.is_some() {
            let hearing = Arc::new(Hearing(weak.clone()));
            shared.announcer.log().join(order::STORE, hearing);
        }
        let reading = reader::run(weak, self.session, self.begin, relay);
        let runtime = Handle::current();
        runtime.spawn(reading);
        Postgres { shared, runtime }
    }
}

/// A database. All that it does, it does on the runtime that it was started on: connections outlive who asks.
pub struct Postgres {
    shared: Arc<Shared>,
    runtime: Handle,
}

/// What requests and the reader share.
struct Shared {
    source: Source,
    connections: Connections,
    definitions: Definitions,
    announcer: Arc<Announcer>,
    /// What servers behind the same relay have told.
    order: Order,
    waiting: Waiting,
    /// How often something was committed here.
    commits: AtomicU64,
    /// Why the database is away, if it is.
    away: Mutex<Option<String>>,
    indexes: Indexes,
    /// Collections that are there, so that nobody need count them.
    seen: Mutex<HashSet<Collection>>,
}

impl Postgres {
    /// Runs where connections are, to its end, also when whoever asks does not wait for it.
    fn on_runtime<T, F>(
        &self,
        work: impl FnOnce(Arc<Shared>) -> F,
    ) -> BoxFuture<'static, Result<T, Problem>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let done = self.runtime.spawn(work(self.shared.clone()));
        done.map(|done| done.unwrap_or_else(|_| Err(failure::away("the server is leaving"))))
            .boxed()
    }
}

impl Store for Postgres {
    fn get<'a>(
        &'a self,
        collection: &'a Collection,
        id: &'a Id,
    ) -> BoxFuture<'a, Result<Option<Document>, Problem>> {
        let (collection, id) = (collection.clone(), id.clone());
        self.on_runtime(|shared| async move {
            match shared.get(&collection, &id).await {
                Err(problem) if failure::is_stale(&problem) => {
                    shared.look_again().await?;
                    shared.get(&collection, &id).await
                }
                got => got,
            }
        })
    }

    fn list<'a>(
        &'a self,
        collection: &'a Collection,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<(Vec<Document>, u64), Problem>> {
        let (collection, ask) = (collection.clone(), ask.clone());
        self.on_runtime(|shared| async move {
            let mut listed = shared.list(&collection, &ask).await;
            if listed.as_ref().is_err_and(failure::is_stale) {
                shared.look_again().await?;
                listed = shared.list(&collection, &ask).await;
            }
            if shared.definitions.known().table(&collection).is_none() {
                index::consider(&shared, &collection, &ask);
            }
            listed
        })
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, Problem>> {
        self.on_runtime(|shared| async move {
            match writes.is_empty() {
                true => Ok(Vec::new()),
                false => write::write(&shared, writes).await,
            }
        })
    }

    fn schema<'a>(
        &'a self,
        collection: &'a Collection,
    ) -> BoxFuture<'a, Result<Option<Arc<Schema>>, Problem>> {
        let schema = self.shared.definitions.known().schema(collection);
        std::future::ready(schema).boxed()
    }

    fn put_schema(
        &self,
        collection: Collection,
        schema: Option<Arc<Schema>>,
    ) -> BoxFuture<'_, Result<bool, Problem>> {
        self.on_runtime(|shared| async move {
            let client = shared.connections.one().await?;
            let put = shared
                .definitions
                .put(&client, &collection, schema.as_deref());
            put.await.map_err(|error| failure::problem(&error))
        })
    }

    fn ready(&self) -> Result<(), Problem> {
        let away = self.shared.away.lock();
        match &*away.expect("nothing panics while it is held") {
            None => Ok(()),
            Some(why) => Err(failure::away(why)),
        }
    }
}

impl Shared {
    async fn get(&self, collection: &Collection, id: &Id) -> Result<Option<Document>, Problem> {
        let shelf = Shelf::of(collection, &self.definitions.known());
        let client = self.connections.one().await?;
        let found = shelf
            .find(&client, collection, std::slice::from_ref(id))
            .await;
        let found = found.map_err(|error| failure::problem(&error))?;
        Ok(found.into_values().next())
    }

    async fn list(
        &self,
        collection: &Collection,
        ask: &Ask,
    ) -> Result<(Vec<Document>, u64), Problem> {
        let shelf = Shelf::of(collection, &self.definitions.known());
        let mut client = self.connections.one().await?;
        list::list(&mut client, &shelf, collection, ask, &self.source.settings).await
    }

    /// What is known of tables may not be so any more.
    async fn look_again(&self) -> Result<(), Problem> {
        let client = self.connections.one().await?;
        let read = self.definitions.read(&client).await;
        read.map(drop).map_err(|error| failure::problem(&error))
    }

    /// The database answers.
    fn here(&self) {
        let was = self.state(None);
        if was.is_some() {
            tracing::info!("store: {} is back", self.source.place.shown());
        }
    }

    /// It does not.
    fn away(&self, why: &str) {
        let was = self.state(Some(why.to_owned()));
        if was.is_none() {
            tracing::warn!("store: {} is away: {why}", self.source.place.shown());
        }
    }

    fn state(&self, now: Option<String>) -> Option<String> {
        let mut away = self.away.lock().expect("nothing panics while it is held");
        std::mem::replace(&mut *away, now)
    }

    /// Something was committed here: the reader has something to read, and to tell other servers.
    fn commits(&self) {
        self.commits.fetch_add(1, Ordering::Release);
        self.source.woken.notify_one();
        self.source.found.notify_one();
    }

    fn committed(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Tells changes, and whoever waits for them.
    fn tell(&self, told: Vec<Told>, announce: impl FnOnce(&[Change]) -> Vec<EventId>) {
        let (changes, tokens): (Vec<Change>, Vec<Option<i64>>) = told.into_iter().unzip();
        let ids = announce(&changes);
        for ((change, token), id) in changes.iter().zip(tokens).zip(ids) {
            if let Some(token) = token {
                self.waiting.told(token, change, id);
            }
        }
    }

    /// Changes were made that nobody has told here.
    fn lose(&self, announce: impl FnOnce()) {
        announce();
        tracing::error!(
            "store: changes in {} were not told: this server was away for longer than they are kept (store-outbox-age, store-outbox-changes), or the database has lost its newest",
            self.source.place.shown()
        );
    }

    fn is_seen(&self, collection: &Collection) -> bool {
        self.seen().contains(collection)
    }

    fn see<'c>(&self, collections: impl Iterator<Item = &'c Collection>) {
        let mut seen = self.seen();
        for collection in collections {
            if !seen.contains(collection) {
                seen.insert(collection.clone());
            }
        }
        // Some may be gone again.
        if seen.len() > self.limits().collections {
            seen.clear();
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashSet<Collection>> {
        self.seen.lock().expect("nothing panics while it is held")
    }

    fn limits(&self) -> &Limits {
        &self.source.settings.limits
    }
}

impl Source {
    /// The largest document that is told whole: one that the database writes in more bytes than it was sent in.
    fn told_bytes(&self) -> usize {
        write::LONGER * self.settings.limits.document_bytes
    }
}

/// Waits for a database that is about to be there.
async fn patience(place: &Place) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let error = match place.config.connect(place.tls.clone()).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return pooler::refuse(place, &client, pooler::LOOKED).await;
            }
            Err(error) => error,
        };
        let why = why(&error);
        if !migrate::is_starting(&error) || began.elapsed() > STARTS {
            return Err(why);
        }
        tracing::info!("store: {} is not there yet: {why}", place.shown());
        sleep(Duration::from_millis(500)).await;
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres")
            .field(&self.shared.source.place)
            .finish()
    }
}
