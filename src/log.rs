//! The log: a bounded, totally ordered history of events. Readers are cursors into it; there are no queues.
//!
//! One short lock orders the appends. Retention is per topic, so that a noisy topic cannot push out a quiet one,
//! with one bound over all. A topic that was forgotten leaves only the common floor behind it: a cursor below
//! the floor may have lost something, and is told so.

mod follow;
mod guide;
mod hub;
mod kept;
mod keys;
mod notice;
mod reader;
mod scan;
mod tell;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;

use crate::event::{Draft, Event, EventId, Origin, Topic};
use crate::problem::Problem;

pub use self::follow::{Carried, Outlet, Party, Publishing, Word};
pub use self::guide::{Guide, News, Ringer};
use self::hub::Hub;
pub use self::hub::ticks;
use self::kept::TopicLog;
use self::keys::Keys;
pub use self::notice::{End, Gap, Lag, Next, Reason, Start};
pub use self::reader::Reader;
pub use self::scan::{Batch, Scan};
pub use self::tell::{Told, hash, mark};

/// What the log may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payload bytes retained a topic.
    pub topic_bytes: u64,
    /// Events retained a topic.
    pub topic_events: usize,
    /// Bytes held in all: payloads, what each event costs, and encoded framings.
    pub total_bytes: u64,
    /// Topics that hold events.
    pub topics: usize,
    /// Topics a reader.
    pub reader_topics: usize,
    /// Idempotency keys remembered.
    pub keys: usize,
    /// How long an idempotency key is remembered.
    pub keys_for: Duration,
}

impl Limits {
    /// Events retained of a topic of the server's own (`$stats`): who comes late wants the newest.
    pub const OWN_TOPIC_EVENTS: usize = 60;

    /// Events retained of a query's topic: who comes back after a while wants what has changed meanwhile, and who comes
    /// back later gets the present result in any case.
    pub const QUERY_TOPIC_EVENTS: usize = 1000;

    /// Events retained of a topic that tells some changes of a collection: who comes back later lists anew.
    pub const WATCH_TOPIC_EVENTS: usize = 10_000;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            topic_bytes: 64 << 20,
            topic_events: 100_000,
            total_bytes: 512 << 20,
            topics: 10_000,
            reader_topics: 256,
            keys: 100_000,
            keys_for: Duration::from_secs(300),
        }
    }
}

/// Milliseconds since the Unix epoch; a parameter so that a test can turn the clock back.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// What an append has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first event's id.
    pub first: EventId,
    /// The last event's id.
    pub last: EventId,
    /// How many.
    pub count: usize,
}

/// What `/stats` says of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Topics that hold events.
    pub topics: usize,
    /// Events retained.
    pub events: u64,
    /// Bytes held, framings included.
    pub bytes: u64,
    /// The oldest event retained, if there is one.
    pub oldest: Option<EventId>,
    /// The newest event ever appended, or the log's beginning.
    pub newest: EventId,
}

/// The shared log of one process.
pub struct Log {
    limits: Limits,
    clock: Clock,
    origin: Arc<Origin>,
    state: Mutex<State>,
    /// `seq` of the newest event that every reader can see.
    appended: AtomicU64,
    ended: AtomicBool,
    hubs: Box<[Hub]>,
    /// Who orders what is published, when it is not this log itself.
    outlet: OnceLock<Arc<dyn Outlet>>,
    /// Who hears what is said by way of it.
    parties: Mutex<BTreeMap<&'static str, Arc<dyn Party>>>,
}

struct State {
    topics: HashMap<Topic, Arc<TopicLog>>,
    /// Each topic that holds events, by the `seq` that its oldest event had when it was entered here.
    by_age: BTreeMap<u64, Arc<TopicLog>>,
    head: EventId,
    /// Below it, something may have been that nothing here remembers.
    floor: EventId,
    /// The same of the topics of queries and watches, which come and go with them and are no reason to doubt others.
    query_floor: EventId,
    /// How many of `by_age` are the server's own, which take nobody's place.
    own: usize,
    events: u64,
    bytes: u64,
    keys: Keys,
}

impl Log {
    /// An empty log for as many shards; `server` is the replica's name.
    pub fn new(limits: Limits, server: &str, shards: usize, clock: Clock) -> Arc<Log> {
        let begin = EventId { ms: clock(), n: 0 };
        let origin = Origin {
            server_json: serde_json::Value::from(server).to_string(),
            framed: AtomicU64::new(0),
        };
        Arc::new(Log {
            limits,
            clock,
            origin: Arc::new(origin),
            state: Mutex::new(State {
                topics: HashMap::new(),
                by_age: BTreeMap::new(),
                head: begin,
                floor: begin,
                query_floor: begin,
                own: 0,
                events: 0,
                bytes: 0,
                keys: Keys::new(limits.keys, limits.keys_for),
            }),
            appended: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            hubs: (0..shards).map(|_| Hub::new()).collect(),
            outlet: OnceLock::new(),
            parties: Mutex::default(),
        })
    }

    /// Appends one event, here and nowhere else.
    ///
    /// # Errors
    /// 429 when its topic would be one too many, 503 when there is no id for it until the relay has ordered something.
    pub fn append(&self, draft: Draft) -> Result<EventId, Problem> {
        self.append_all(vec![draft], None).map(|done| done.last)
    }

    /// Appends all drafts, in order and with nothing in between, or none; here and nowhere else. A `key` that was used
    /// on the same topic within [`Limits::keys_for`] appends nothing and answers as it did the first time.
    ///
    /// # Errors
    /// 429 when a topic or a key would be one too many; 400 when there is nothing to append; 503 when there are no ids
    /// until the relay has ordered something.
    pub fn append_all(&self, drafts: Vec<Draft>, key: Option<&str>) -> Result<Appended, Problem> {
        let Some(topic) = drafts.first().map(|d| d.topic.clone()) else {
            return Err(Problem::bad_request(
                "empty",
                "there is no event in the body",
            ));
        };
        let mut state = self.state();
        let now = (self.clock)().max(state.head.ms);
        if let Some(key) = key
            && let Some(done) = state.keys.find(&topic, key, now)?
        {
            return Ok(done);
        }
        self.check_topics(&state, &drafts)?;
        if self.is_following() && (state.head.own_left() as usize) < drafts.len() {
            return Err(follow::no_ids());
        }
        let first = self.next_id(&state, now);
        let done = self.append_from(&mut state, first, drafts);
        if let Some(key) = key {
            state.keys.keep(topic, key, now, done);
        }
        drop(state);
        self.hubs.iter().for_each(Hub::ring);
        Ok(done)
    }

    /// Appends all, the first with this id, which must be after the head.
    fn append_from(&self, state: &mut State, first: EventId, drafts: Vec<Draft>) -> Appended {
        let count = drafts.len();
        let mut id = first;
        for draft in drafts {
            self.append_one(state, id, draft);
            id = id.next(id.ms);
        }
        self.trim_total(state);
        Appended {
            first,
            last: state.head,
            count,
        }
    }

    /// The id after the newest one, for what is told here and nowhere else.
    fn next_id(&self, state: &State, now: u64) -> EventId {
        match self.is_following() {
            true => state.head.next(state.head.ms),
            false => state.head.next(now),
        }
    }

    fn check_topics(&self, state: &State, drafts: &[Draft]) -> Result<(), Problem> {
        let holds_events = |topic: &Topic| state.topics.get(topic).is_some_and(|t| !t.is_empty());
        let mut fresh: Vec<&Topic> = drafts
            .iter()
            .map(|d| &d.topic)
            .filter(|t| !holds_events(t))
            .collect();
        fresh.dedup();
        let own = fresh.iter().all(|t| t.is_reserved());
        if own || state.by_age.len() - state.own + fresh.len() <= self.limits.topics {
            return Ok(());
        }
        let detail = format!(
            "the log holds its limit of {} topics (topics); publish to one that exists or raise the limit",
            self.limits.topics
        );
        Err(
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-topics", detail)
                .with(RETRY_AFTER, "60"),
        )
    }

    fn append_one(&self, state: &mut State, id: EventId, draft: Draft) {
        state.head = id;
        let seq = self.appended.load(Ordering::Relaxed) + 1;
        let topic = self.topic(state, &draft.topic);
        let event = Arc::new(Event::new(state.head, seq, draft, self.origin.clone()));
        let max_events = self.limits.topic_events.min(match &topic.name {
            name if !name.is_reserved() || name.is_of_collection() => usize::MAX,
            name if name.is_of_query() => Limits::QUERY_TOPIC_EVENTS,
            name if name.is_of_watch() => Limits::WATCH_TOPIC_EVENTS,
            _ => Limits::OWN_TOPIC_EVENTS,
        });
        state.events += 1;
        state.bytes += event.held_bytes();
        let was_empty = topic.is_empty();
        for old in topic.push(event, max_events, self.limits.topic_bytes) {
            state.events -= 1;
            state.bytes -= old.held_bytes();
        }
        if was_empty {
            state.own += usize::from(topic.name.is_reserved());
            state.by_age.insert(seq, topic.clone());
        }
        // Only now may a reader take it: whatever has a smaller `seq` is in its topic already.
        self.appended.store(seq, Ordering::Release);
        for (shard, hub) in self.hubs.iter().enumerate() {
            hub.notify(shard, &topic);
        }
    }

    /// Takes the oldest events over all topics away until the log is within its bound again.
    fn trim_total(&self, state: &mut State) {
        let over = |state: &State| {
            state.bytes + self.origin.framed.load(Ordering::Relaxed) > self.limits.total_bytes
        };
        while over(state) && state.events > 1 {
            let Some((entered_at, topic)) = state.by_age.pop_first() else {
                return;
            };
            // The entry may be older than what the topic's own bound has left.
            if topic.oldest_seq() == Some(entered_at)
                && let Some(old) = topic.pop()
            {
                state.events -= 1;
                state.bytes -= old.held_bytes();
            }
            match topic.oldest_seq() {
                Some(seq) => drop(state.by_age.insert(seq, topic)),
                None => {
                    state.own -= usize::from(topic.name.is_reserved());
                    state.forget_if_unused(&topic);
                }
            }
        }
    }

    fn topic(&self, state: &mut State, name: &Topic) -> Arc<TopicLog> {
        let floor = *state.floor(name);
        let make = || Arc::new(TopicLog::new(name.clone(), floor, self.hubs.len()));
        state
            .topics
            .entry(name.clone())
            .or_insert_with(make)
            .clone()
    }

    /// Takes all events of these topics of the server's own away: what they told of is no more.
    pub fn clear(&self, names: &[Topic]) {
        let mut state = self.state();
        let known = names.iter().filter_map(|name| state.topics.get(name));
        let topics: Vec<Arc<TopicLog>> = known.cloned().collect();
        let before = state.by_age.len();
        state.by_age.retain(|_, t| !names.contains(&t.name));
        let gone = before - state.by_age.len();
        state.own -= gone;
        for topic in topics {
            while let Some(old) = topic.pop() {
                state.events -= 1;
                state.bytes -= old.held_bytes();
            }
            state.forget_if_unused(&topic);
        }
    }

    /// Something was not told on these topics, and nobody knows what: whoever reads one of them now is told so, and so is
    /// whoever comes back to one with a cursor from before.
    pub fn lose(&self, why: Reason, is: impl Fn(&Topic) -> bool) {
        let mut state = self.state();
        let at = self.step(&mut state);
        // Those that are not remembered cannot be told apart.
        state.floor = at;
        let topics: Vec<Arc<TopicLog>> = state.topics.values().cloned().collect();
        // Of all at once: there may be millions.
        state.by_age.retain(|_, topic| !is(&topic.name));
        for topic in topics.into_iter().filter(|topic| is(&topic.name)) {
            let own = topic.name.is_reserved();
            let known = topic.oldest_seq();
            state.own -= usize::from(own && known.is_some());
            for old in topic.lose(at, why) {
                state.events -= 1;
                state.bytes -= old.held_bytes();
            }
            for (shard, hub) in self.hubs.iter().enumerate() {
                hub.notify(shard, &topic);
            }
        }
        drop(state);
        self.hubs.iter().for_each(Hub::ring);
    }

    /// Forgets a topic that holds no event and that nobody reads or scans.
    fn forget_if_unused(&self, topic: &Arc<TopicLog>) {
        self.state().forget_if_unused(topic);
    }

    /// What it may hold.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// An event that is in no log: for readers who must be told what was before they came.
    pub fn unlogged(&self, draft: Draft) -> Arc<Event> {
        Arc::new(Event::new(EventId::ZERO, 0, draft, self.origin.clone()))
    }

    /// Whether the event with this id is still retained, if it ever was one of the topic.
    pub fn retains(&self, topic: &Topic, id: EventId) -> bool {
        let state = self.state();
        state.topics.get(topic).is_some_and(|t| t.floor() < id)
    }

    /// A place in the log that is after every cursor which anybody has, and before every event that is still to come.
    pub fn mark(&self) -> EventId {
        self.step(&mut self.state())
    }

    /// Goes on by one id that no event has; where there is none left for that, it stays.
    fn step(&self, state: &mut State) -> EventId {
        let now = (self.clock)().max(state.head.ms);
        if !self.is_following() || state.head.own_left() > 0 {
            state.head = self.next_id(state, now);
        }
        state.head
    }

    /// The newest id: nothing after it has been appended yet.
    pub fn head(&self) -> EventId {
        self.state().head
    }

    /// What the log holds now.
    pub fn held(&self) -> Held {
        let state = self.state();
        let oldest = state.by_age.values().filter_map(|t| t.oldest_id()).min();
        Held {
            topics: state.by_age.len(),
            events: state.events,
            bytes: state.bytes + self.origin.framed.load(Ordering::Relaxed),
            oldest,
            newest: state.head,
        }
    }

    /// Whether anybody reads this topic now.
    pub fn has_readers(&self, topic: &Topic) -> bool {
        let state = self.state();
        state.topics.get(topic).is_some_and(|t| t.has_readers())
    }

    /// Ends every reader, now and from now on: the server is draining.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.hubs.iter().for_each(Hub::end);
    }

    /// Wakes the readers of one shard, for as long as it is polled: one of these runs on each shard.
    pub async fn run_hub(&self, shard: usize) {
        self.hubs[shard].run(shard).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics under the log's lock")
    }
}

impl State {
    fn floor(&mut self, of: &Topic) -> &mut EventId {
        match of.is_of_query() || of.is_of_watch() {
            true => &mut self.query_floor,
            false => &mut self.floor,
        }
    }

    fn forget_if_unused(&mut self, topic: &Arc<TopicLog>) {
        let known = self
            .topics
            .get(&topic.name)
            .is_some_and(|t| Arc::ptr_eq(t, topic));
        if known && topic.is_empty() && !topic.has_readers() && !topic.is_scanned() {
            let floor = self.floor(&topic.name);
            *floor = topic.floor().max(*floor);
            self.topics.remove(&topic.name);
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("held", &self.held()).finish()
    }
}
