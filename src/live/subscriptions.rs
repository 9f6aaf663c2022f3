//! Subscriptions: sets of queries and topics that their streams follow, however often they are changed.

mod follower;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slab::Slab;

use self::follower::Follower;
use super::definitions::{Change, Kind};
use super::queries::{Name, unknown_queries};
use super::query::Query;
use super::{Expected, Live, digest, is_expected, random, too_many};
use crate::event::{EventId, Topic};
use crate::log::{Log, Reader, Ringer, Start};
use crate::problem::Problem;

/// A subscription as its author says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Names of queries.
    #[serde(default)]
    pub queries: Vec<String>,
    /// Names of topics.
    #[serde(default)]
    pub topics: Vec<String>,
}

impl Live {
    /// Takes up a subscription from before a restart.
    pub(super) fn restore_subscription(&self, id: &str, body: &str) {
        let asked = serde_json::from_str::<Asked>(body);
        let members = asked.map(|asked| self.members(&asked, true));
        let Ok(Ok(members)) = members else {
            tracing::warn!("a subscription from before the restart cannot be read: {body}");
            return;
        };
        self.add(id, members);
    }

    /// Makes a subscription; returns its id.
    ///
    /// # Errors
    /// 400 for what is none, 404 that names the queries which there are not, 429 when it is one too many.
    pub async fn subscribe(self: Arc<Live>, asked: Asked) -> Result<String, Problem> {
        let _turn = self.changing.lock().await;
        let members = self.members(&asked, false)?;
        let most = self.limits.subscriptions;
        if self.subscriptions().len() >= most {
            return Err(too_many("subscriptions", most));
        }
        let id = random(16);
        self.keep(put_subscription(&id, &members)).await?;
        self.add(&id, members);
        Ok(id)
    }

    /// Changes a subscription; its streams follow at once.
    ///
    /// # Errors
    /// As there, 404 also when there is none with this id, and 412 when it is not the one that was expected.
    pub async fn change_subscription(
        self: Arc<Live>,
        id: String,
        asked: Asked,
        expected: Expected,
    ) -> Result<(), Problem> {
        let _turn = self.changing.lock().await;
        let subscription = self.subscription(&id)?;
        is_expected(&expected, &subscription.etag())?;
        let members = self.members(&asked, false)?;
        self.keep(put_subscription(&id, &members)).await?;
        subscription.change(members);
        Ok(())
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

    fn add(&self, id: &str, members: Vec<Member>) {
        let subscription = Subscription::new(id, self.log.clone(), members);
        self.subscriptions()
            .insert(id.into(), Arc::new(subscription));
    }

    /// What a subscription consists of, each once. One that was made follows its names even if they stand for nothing.
    fn members(&self, asked: &Asked, was_made: bool) -> Result<Vec<Member>, Problem> {
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
        let queries = members.iter().filter_map(|m| m.query.as_ref());
        queries.for_each(|query| query.name_it());
        Ok(members)
    }

    /// Ends those that no stream has used for long.
    pub(super) async fn end_unused_subscriptions(&self) {
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

    pub(super) fn subscriptions(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Subscription>>> {
        self.subscriptions
            .lock()
            .expect("nothing panics under this lock")
    }
}

/// What is the same of the same members, also after a restart.
fn etag(members: &[Member]) -> String {
    digest(&serde_json::to_vec(&Subscription::asked(members)).expect("texts"))
}

fn put_subscription(id: &str, members: &[Member]) -> Change {
    let body = serde_json::to_string(&Subscription::asked(members)).expect("texts");
    Change::Put(Kind::Subscription, id.to_owned(), body)
}

fn unknown_subscription() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-subscription",
        "there is no such subscription; one that no stream uses ends by itself (subscription-ttl): POST /subscriptions",
    )
}

/// What a subscription consists of.
#[derive(Clone)]
pub(super) struct Member {
    pub topic: Topic,
    /// The query that this is the topic of, if it is that of one.
    pub query: Option<Arc<Query>>,
    /// The place in the log where it was added; of what was there from the start, its beginning.
    pub since: EventId,
}

impl Member {
    pub(super) fn of_topic(topic: Topic) -> Member {
        Member {
            topic,
            query: None,
            since: EventId::ZERO,
        }
    }

    pub(super) fn of_query(query: Arc<Query>) -> Member {
        Member {
            topic: query.topic.clone(),
            query: Some(query),
            since: EventId::ZERO,
        }
    }
}

/// One subscription.
pub struct Subscription {
    id: Box<str>,
    log: Arc<Log>,
    /// Counts the changes: a stream that has seen fewer has news.
    changes: AtomicU64,
    /// Locked before anything of a query.
    state: Mutex<State>,
}

struct State {
    members: Vec<Member>,
    followers: Slab<Ringer>,
    is_over: bool,
    etag: String,
    /// When the last stream left, or when there was none yet.
    used_at: Instant,
}

impl Subscription {
    pub(super) fn new(id: &str, log: Arc<Log>, members: Vec<Member>) -> Subscription {
        Subscription {
            id: id.into(),
            log,
            changes: AtomicU64::new(0),
            state: Mutex::new(State {
                etag: etag(&members),
                members,
                followers: Slab::new(),
                is_over: false,
                used_at: Instant::now(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// Its id, which nobody can guess.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is told apart from other versions of itself by.
    pub(super) fn etag(&self) -> String {
        self.state().etag.clone()
    }

    /// From now on it consists of these, and so do its streams.
    pub(super) fn change(&self, mut members: Vec<Member>) {
        let mut state = self.state();
        // First of all: what is appended after the mark, no stream takes before it has seen that there is a change.
        self.changes.fetch_add(1, Ordering::AcqRel);
        let mark = self.log.mark();
        for member in &mut members {
            let had = state.members.iter().find(|m| m.topic == member.topic);
            member.since = had.map_or(mark, |had| had.since);
        }
        let streams = state.followers.len();
        let old = std::mem::replace(&mut state.members, members);
        state.etag = etag(&state.members);
        // Those that stay are watched all the time.
        state.watched().for_each(|query| query.watch(streams));
        unwatch(&old, streams);
        state.ring();
    }

    /// Ends it, and its streams; whether it was not over yet.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_over, true) {
            return false;
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
        state.ring();
        true
    }

    /// Ends it if no stream has used it for so long; whether it did.
    pub(super) fn end_if_unused(&self, ttl: Duration) -> bool {
        let mut state = self.state();
        if state.is_over || !state.followers.is_empty() || state.used_at.elapsed() < ttl {
            return false;
        }
        state.is_over = true;
        true
    }

    /// What is said of it to who asks.
    pub(super) fn describe(&self, ttl: Duration) -> Value {
        let state = self.state();
        let names = |is_query: bool| -> Vec<&str> {
            let members = state.members.iter();
            let members = members.filter(|m| m.query.is_some() == is_query);
            members
                .map(|m| match &m.query {
                    Some(query) => query.name.as_str(),
                    None => m.topic.as_str(),
                })
                .collect()
        };
        let left = ttl.saturating_sub(state.used_at.elapsed());
        json!({
            "subscription_id": self.id,
            "queries": names(true),
            "topics": names(false),
            "streams": state.followers.len(),
            "ends_in_s": state.followers.is_empty().then_some(left.as_secs()),
            "etag": state.etag,
        })
    }

    /// As its author would say it.
    pub(super) fn asked(members: &[Member]) -> Asked {
        let queries = members.iter().filter_map(|m| m.query.as_ref());
        let topics = members.iter().filter(|m| m.query.is_none());
        Asked {
            queries: queries.map(|q| q.name.to_string()).collect(),
            topics: topics.map(|m| m.topic.to_string()).collect(),
        }
    }

    /// Sets a new reader at its place, and guides it from there; whether it could, which is not so when all is over.
    pub(super) fn guide(
        self: &Arc<Subscription>,
        reader: &mut Reader,
        start: Start,
        is_poll: bool,
    ) -> bool {
        // Before anything is looked at: what comes later is in the log after this, and what is changed later too.
        let place = match start {
            Start::Head => Start::After(reader.cursor()),
            place => place,
        };
        let mut state = self.state();
        if state.is_over {
            return false;
        }
        let key = state.followers.insert(reader.ringer());
        state.watched().for_each(|query| query.watch(1));
        let follower = Follower::new(self.clone(), key, state.members.clone());
        drop(state);
        follower.guide(reader, place, start, is_poll);
        true
    }
}

impl State {
    fn watched(&self) -> impl Iterator<Item = &Arc<Query>> {
        self.members.iter().filter_map(|m| m.query.as_ref())
    }

    fn ring(&self) {
        self.followers.iter().for_each(|(_, ringer)| ringer.ring());
    }
}

fn unwatch(members: &[Member], streams: usize) {
    let queries = members.iter().filter_map(|m| m.query.as_ref());
    queries.for_each(|query| query.unwatch(streams));
}
