//! Subscriptions: sets of queries and topics that their streams follow, however often they are changed.

mod follower;
mod holders;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slab::Slab;

use self::follower::Follower;
use super::change::Op;
use super::queries::{Name, unknown_queries};
use super::query::Query;
use super::{Expected, Live, digest, random};
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

impl Asked {
    /// Each once, in order.
    pub(super) fn sorted(&self) -> Asked {
        let sorted = |names: &[String]| -> Vec<String> {
            let names: BTreeSet<&String> = names.iter().collect();
            names.into_iter().cloned().collect()
        };
        Asked {
            queries: sorted(&self.queries),
            topics: sorted(&self.topics),
        }
    }
}

impl Live {
    /// Takes up a subscription from before a restart.
    pub(super) fn restore_subscription(&self, id: &str, body: &str) {
        let asked = serde_json::from_str::<Asked>(body);
        let members = asked.map(|asked| self.members(&asked));
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
        let id = random(16);
        self.change(Op::Subscribe(id.clone(), asked), None).await?;
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
        let op = Op::ChangeSubscription(id, asked, expected);
        self.change(op, None).await
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
        self.change(Op::Unsubscribe(id, expected), None).await
    }

    /// The subscription with this id.
    ///
    /// # Errors
    /// 404 when there is none.
    pub fn subscription(&self, id: &str) -> Result<Arc<Subscription>, Problem> {
        let found = self.subscriptions().get(id).cloned();
        found.ok_or_else(unknown_subscription)
    }

    /// The same, on whichever replica it was made a moment ago.
    ///
    /// # Errors
    /// The same, and 503 when the relay is away.
    pub async fn find_subscription(&self, id: &str) -> Result<Arc<Subscription>, Problem> {
        match self.subscription(id) {
            Err(_) if self.is_shared() => {
                self.settle().await?;
                self.subscription(id)
            }
            found => found,
        }
    }

    /// One subscription, as JSON.
    ///
    /// # Errors
    /// 404 when there is none with this id.
    pub fn describe_subscription(&self, id: &str) -> Result<Value, Problem> {
        let ttl = self.limits.subscription_ttl;
        Ok(self.subscription(id)?.describe(ttl, self.log.life()))
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

    pub(super) fn add(&self, id: &str, members: Vec<Member>) -> Arc<Subscription> {
        let subscription = Arc::new(Subscription::new(id, self.log.clone(), members));
        self.subscriptions().insert(id.into(), subscription.clone());
        subscription
    }

    /// Whether a subscription can consist of this.
    pub(super) fn check_members(&self, asked: &Asked) -> Result<(), Problem> {
        let Asked { queries, topics } = asked.sorted();
        let most = self.limits.reader_topics;
        if queries.len() + topics.len() > most {
            let detail = format!(
                "a subscription may have {most} queries and topics (reader-topics); make another"
            );
            return Err(Problem::bad_request("too-many-topics", detail));
        }
        let mut unknown = Vec::new();
        for text in &queries {
            if self.defined(&Name::new(text)?).is_none() {
                unknown.push(text.as_str());
            }
        }
        if !unknown.is_empty() {
            return Err(unknown_queries(&unknown));
        }
        for text in &topics {
            let topic = Topic::new(text)?;
            if topic.is_of_query() {
                let detail = format!("{topic} is told by its query; name that in `queries`");
                return Err(Problem::bad_request("topic", detail));
            }
        }
        Ok(())
    }

    /// What a subscription consists of, each once; it follows its names even if they stand for nothing.
    pub(super) fn members(&self, asked: &Asked) -> Result<Vec<Member>, Problem> {
        let Asked { queries, topics } = asked.sorted();
        let mut members = Vec::new();
        for text in &queries {
            members.push(Member::of_query(self.slot(&Name::new(text)?)?));
        }
        for text in &topics {
            members.push(Member::of_topic(Topic::new(text)?));
        }
        Ok(members)
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
    /// Whether a stream has used it here since it was let go of.
    is_used: bool,
    /// The lives of the replicas that use it, if there are several.
    holders: BTreeSet<Box<str>>,
}

impl Subscription {
    pub(super) fn new(id: &str, log: Arc<Log>, members: Vec<Member>) -> Subscription {
        name(&members);
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
                is_used: false,
                holders: BTreeSet::new(),
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

    /// From now on it consists of these, and so do its streams; those that are new from this mark on, or from now.
    pub(super) fn change(&self, mut members: Vec<Member>, mark: Option<EventId>) {
        self.replace(|state| {
            let mark = mark.unwrap_or_else(|| self.log.mark());
            for member in &mut members {
                let had = state.members.iter().find(|m| m.topic == member.topic);
                member.since = had.map_or(mark, |had| had.since);
            }
            members
        });
    }

    /// The same, each from where it says.
    pub(super) fn become_these(&self, members: Vec<Member>) {
        let state = self.state();
        let said = |members: &[Member]| -> Vec<(Topic, EventId)> {
            members.iter().map(|m| (m.topic.clone(), m.since)).collect()
        };
        let is_same = said(&state.members) == said(&members);
        drop(state);
        if !is_same {
            self.replace(|_| members);
        }
    }

    fn replace(&self, members: impl FnOnce(&State) -> Vec<Member>) {
        let mut state = self.state();
        // First of all: what is appended after the mark, no stream takes before it has seen that there is a change.
        self.changes.fetch_add(1, Ordering::AcqRel);
        let members = members(&state);
        name(&members);
        let streams = state.followers.len();
        let old = std::mem::replace(&mut state.members, members);
        state.etag = etag(&state.members);
        // Those that stay are watched all the time.
        state.watched().for_each(|query| query.watch(streams));
        unwatch(&old, streams);
        state.ring();
        drop(state);
        unname(&old);
    }

    /// Ends it, and its streams.
    pub(super) fn end(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_over, true) {
            return;
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
        unname(&state.members);
        state.ring();
    }

    /// What it consists of, and who uses it.
    pub(super) fn said(&self) -> (Vec<Member>, Vec<String>) {
        let state = self.state();
        let holders = state.holders.iter().map(|life| life.to_string());
        (state.members.clone(), holders.collect())
    }

    /// What is said of it to who asks. When one that other replicas use ends, is not known here.
    pub(super) fn describe(&self, ttl: Duration, life: Option<&str>) -> Value {
        let state = self.state();
        let is_used = !state.followers.is_empty()
            || state.holders.iter().any(|holder| Some(&**holder) != life);
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
            "ends_in_s": (!is_used).then_some(left.as_secs()),
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
        state.is_used = true;
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

fn name(members: &[Member]) {
    let queries = members.iter().filter_map(|m| m.query.as_ref());
    queries.for_each(|query| query.name_it());
}

fn unname(members: &[Member]) {
    let queries = members.iter().filter_map(|m| m.query.as_ref());
    queries.for_each(|query| query.unname_it());
}

fn unwatch(members: &[Member], streams: usize) {
    let queries = members.iter().filter_map(|m| m.query.as_ref());
    queries.for_each(|query| query.unwatch(streams));
}
