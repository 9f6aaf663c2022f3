//! Subscriptions: sets of queries and topics that their streams follow, however often they are changed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slab::Slab;

use super::queries::Query;
use crate::event::{Event, EventId, Topic};
use crate::log::{End, Guide, Log, News, Reader, Ringer, Start};

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
    pub(super) fn new(id: &str, etag: String, log: Arc<Log>, members: Vec<Member>) -> Subscription {
        Subscription {
            id: id.into(),
            log,
            changes: AtomicU64::new(0),
            state: Mutex::new(State {
                members,
                followers: Slab::new(),
                is_over: false,
                etag,
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
    pub(super) fn change(&self, etag: String, mut members: Vec<Member>) {
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
        state.etag = etag;
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
        let mut follower = Follower {
            subscription: self.clone(),
            key,
            seen: self.changes.load(Ordering::Acquire),
            members: state.members.clone(),
            news: VecDeque::new(),
        };
        drop(state);
        let cursor = follower.begin(reader, place);
        follower.present(cursor, is_poll && start != Start::Head);
        reader.follow(Box::new(follower));
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

/// Guides one stream. Dropping it leaves the subscription.
pub struct Follower {
    subscription: Arc<Subscription>,
    key: usize,
    /// The changes that it knows.
    seen: u64,
    /// What its reader reads.
    members: Vec<Member>,
    /// With the id that it had in the log, if it is something to tell.
    news: VecDeque<(EventId, News)>,
}

impl Follower {
    fn has_changed(&self) -> bool {
        self.subscription.changes.load(Ordering::Acquire) != self.seen
    }

    /// What was added after the reader's cursor starts where it was added, unless all is asked for.
    fn begin(&self, reader: &mut Reader, start: Start) -> EventId {
        let is_later = |member: &&Member| match start {
            Start::After(EventId::ZERO) => false,
            Start::After(cursor) => member.since > cursor,
            _ => false,
        };
        let (later, begun): (Vec<&Member>, Vec<&Member>) = self.members.iter().partition(is_later);
        const FEW: &str = "a subscription has no more topics than a reader may have";
        let topics: Vec<Topic> = begun.iter().map(|m| m.topic.clone()).collect();
        let cursor = reader.begin(&topics, start).expect(FEW);
        for member in later {
            let (topics, start) = ([member.topic.clone()], Start::After(member.since));
            reader.subscribe(&topics, start).expect(FEW);
        }
        cursor
    }

    /// Puts the present results in front of a reader that has begun: of those queries that have nothing after its
    /// cursor, since the log tells the others'.
    fn present(&mut self, cursor: EventId, only_added: bool) {
        let members = self.members.iter();
        let members = members.filter(|m| !only_added || m.since > cursor);
        self.tell(members.cloned().collect(), |m| m.since.max(cursor));
    }

    fn tell(&mut self, members: Vec<Member>, after: impl Fn(&Member) -> EventId) {
        let log = &self.subscription.log;
        let mut told: Vec<(EventId, News)> = Vec::new();
        for member in &members {
            let present = member.query.as_ref().and_then(|query| query.present());
            if let Some((id, event)) = present
                && (id <= after(member) || !log.retains(&member.topic, id))
            {
                told.push((id, News::Tell(event)));
            }
        }
        // So that a poll which has no room for all is told the rest by its cursor.
        told.sort_by_key(|(id, _)| *id);
        self.news.extend(told);
    }

    /// Looks what has changed.
    fn look(&mut self) {
        let subscription = self.subscription.clone();
        let state = subscription.state();
        self.seen = subscription.changes.load(Ordering::Acquire);
        if state.is_over {
            self.news
                .push_back((EventId::ZERO, News::End(End::Deleted)));
            return;
        }
        let members = state.members.clone();
        drop(state);
        let in_both = |one: &[Member], other: &Member| one.iter().any(|m| m.topic == other.topic);
        let gone = self.members.iter().filter(|m| !in_both(&members, m));
        let gone: Vec<Topic> = gone.map(|m| m.topic.clone()).collect();
        self.news.retain(|(_, news)| match news {
            News::Tell(event) => !gone.contains(&event.draft.topic),
            _ => true,
        });
        let fresh = members.iter().filter(|m| !in_both(&self.members, m));
        let fresh: Vec<Member> = fresh.cloned().collect();
        if !gone.is_empty() {
            self.news.push_back((EventId::ZERO, News::Leave(gone)));
        }
        let starts: BTreeSet<EventId> = fresh.iter().map(|m| m.since).collect();
        for since in starts {
            let at_once = fresh.iter().filter(|m| m.since == since);
            let topics = at_once.map(|m| m.topic.clone()).collect();
            let join = News::Join(topics, Start::After(since));
            self.news.push_back((EventId::ZERO, join));
        }
        self.tell(fresh, |member| member.since);
        self.members = members;
    }
}

impl Guide for Follower {
    fn has_news(&self) -> bool {
        !self.news.is_empty() || self.has_changed()
    }

    fn news(&mut self, fits: &dyn Fn(&Event) -> bool) -> Option<News> {
        if self.has_changed() {
            self.look();
        }
        if let Some((_, News::Tell(event))) = self.news.front()
            && !fits(event)
        {
            return None;
        }
        self.news.pop_front().map(|(_, news)| news)
    }

    fn held_at(&self) -> Option<EventId> {
        let told = |(id, news): &(EventId, News)| matches!(news, News::Tell(_)).then_some(*id);
        self.news.iter().filter_map(told).min().map(EventId::before)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.subscription.state();
        state.followers.remove(self.key);
        state.used_at = Instant::now();
        // The subscription's own: what the stream has not seen yet is watched for it already.
        state.watched().for_each(|query| query.unwatch(1));
    }
}
