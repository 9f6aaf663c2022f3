//! A log that follows an order from elsewhere: what is published goes out to a relay and comes back from it, with its
//! place, on every replica alike. What a server tells by itself has ids between those of the relay's order.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::hub::Hub;
use super::{Appended, Log, State};
use crate::event::{Draft, EventId, Place};
use crate::problem::Problem;

/// How much further on another replica may be, by the relay's clock, in milliseconds: a cursor from beyond is none.
const APART_MS: u64 = 60_000;

/// Between two looks whether something has come.
const LOOK: Duration = Duration::from_millis(2);

/// Who orders what is published, when a log does not do it itself.
pub trait Outlet: Send + Sync {
    /// Publishes all, in order and with nothing in between, or none; what is published by one caller after the other
    /// is ordered so. Done once it is in the log.
    fn publish(
        &self,
        drafts: Vec<Draft>,
        key: Option<&str>,
    ) -> BoxFuture<'static, Result<Appended, Problem>>;

    /// Says something, which is JSON, to a [`Party`] of all replicas; done once it was heard here, and what came of it.
    fn say(&self, to: &'static str, word: String) -> BoxFuture<'static, Result<(), Problem>>;

    /// Bytes of a word.
    fn word_bytes(&self) -> usize;

    /// What names this life of this replica.
    fn life(&self) -> &str;

    /// Whether a life of a replica may still go on, as far as is known here.
    fn is_alive(&self, life: &str) -> bool;

    /// Whether something could be published now, and what others publish comes here.
    ///
    /// # Errors
    /// 503 that says what is wrong.
    fn ready(&self) -> Result<(), Problem>;

    /// How it does.
    fn state(&self) -> Carried;
}

/// A part of a server that is the same on all replicas, since each of them does what any has said, in the relay's order.
pub trait Party: Send + Sync {
    /// Something was said: nothing that has come before it is still to be done, and nothing that comes later was. Must not
    /// wait for anything.
    ///
    /// # Errors
    /// Why nothing is done; the same on all replicas.
    fn hear(&self, word: &Word) -> Result<(), Problem>;

    /// So many entries were read in all, of which the relay retains about so many: what nobody says anew is forgotten.
    fn passed(&self, _entries: u64, _retained: u64) {}

    /// All that the relay has is here; whether that is all that there ever was in it, as far as it is known.
    fn caught_up(&self, _is_whole: bool) {}

    /// Something that was said is lost, and nobody here knows what; whether others may, who have read it in time.
    fn lost(&self, _is_here_alone: bool) {}
}

/// What was said, where in the relay's order, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// Its place.
    pub place: Place,
    /// The life of the replica that said it.
    pub by: &'a str,
    /// What, as JSON.
    pub text: &'a str,
}

/// What a relay has carried, for who looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// What kind it is; empty is none.
    pub kind: &'static str,
    /// Entries that came from it, events in them, and entries that were passed over.
    pub entries: u64,
    /// Events in them.
    pub events: u64,
    /// Entries that could not be read.
    pub foreign: u64,
    /// Batches that were handed to it.
    pub published: u64,
    /// Those of them that it did not take.
    pub refused: u64,
    /// How often the connection was lost.
    pub lost: u64,
    /// How often something may have been lost, which readers were told.
    pub gaps: u64,
    /// Microseconds that the last probe took there and back; 0 is none yet.
    pub probe_us: u64,
}

/// What comes of publishing: at once, or when the relay has it.
pub enum Publishing {
    /// It is done, or refused.
    Done(Option<Result<Appended, Problem>>),
    /// It is under way.
    Waiting(BoxFuture<'static, Result<Appended, Problem>>),
}

impl Future for Publishing {
    type Output = Result<Appended, Problem>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Publishing::Done(done) => Poll::Ready(done.take().expect("it is asked once")),
            Publishing::Waiting(waiting) => waiting.poll_unpin(cx),
        }
    }
}

impl Publishing {
    /// Refused at once.
    pub fn refused(problem: Problem) -> Publishing {
        Publishing::Done(Some(Err(problem)))
    }
}

impl Log {
    /// From now on somebody else orders what is published. To be said before anything is appended, and once.
    pub fn follow(&self, outlet: Arc<dyn Outlet>) {
        let mut state = self.state();
        if self.outlet.set(outlet).is_ok() {
            state.head = EventId::ZERO;
            state.floor = EventId::ZERO;
            state.query_floor = EventId::ZERO;
        }
    }

    /// From now on this part hears what is said to it; before anything is read.
    pub fn join(&self, to: &'static str, party: Arc<dyn Party>) {
        self.parties().insert(to, party);
    }

    /// Says something to a part of all replicas: as [`Outlet::say`].
    ///
    /// # Errors
    /// 503 when there is no relay, or it takes none of it.
    pub async fn say(&self, to: &'static str, word: String) -> Result<(), Problem> {
        match self.outlet.get() {
            Some(outlet) => outlet.say(to, word).await,
            None => Err(Problem::unavailable("no-relay", "there is no relay")),
        }
    }

    /// How many bytes can be said at once.
    pub fn word_bytes(&self) -> usize {
        self.outlet.get().map_or(0, |outlet| outlet.word_bytes())
    }

    /// What names this life of this replica, if there are several.
    pub fn life(&self) -> Option<&str> {
        self.outlet.get().map(|outlet| outlet.life())
    }

    /// Whether another replica may still be there.
    pub fn is_alive(&self, life: &str) -> bool {
        self.outlet
            .get()
            .is_some_and(|outlet| outlet.is_alive(life))
    }

    /// Hands a word to whom it is for, which comes to no event of its own accord; `None` when the place is not after all
    /// that is here.
    pub fn hear(&self, to: &str, word: &Word) -> Option<Result<Appended, Problem>> {
        let first = word.place.id()?;
        if first <= self.head() {
            return None;
        }
        let party = self.parties().get(to).cloned();
        let done = match party {
            Some(party) => party.hear(word),
            None => Err(Problem::unavailable(
                "no-party",
                "nobody here hears what is said to it",
            )),
        };
        let mut state = self.state();
        state.head = state.head.max(first);
        let last = state.head;
        drop(state);
        let count = 0;
        Some(done.map(|()| Appended { first, last, count }))
    }

    /// Tells every part that is the same on all replicas.
    pub fn tell_parties(&self, tell: impl Fn(&dyn Party)) {
        let parties: Vec<Arc<dyn Party>> = self.parties().values().cloned().collect();
        parties.iter().for_each(|party| tell(&**party));
    }

    fn parties(&self) -> MutexGuard<'_, BTreeMap<&'static str, Arc<dyn Party>>> {
        self.parties.lock().expect("nothing panics under this lock")
    }

    /// Nothing before this place will come: a cursor from before it may have lost something.
    pub fn begin_after(&self, place: Place) {
        let mut state = self.state();
        let Some(floor) = place.id() else { return };
        let floor = floor.max(state.head);
        state.head = floor;
        state.floor = floor;
        state.query_floor = floor;
    }

    /// Publishes, on every replica if there are several: as [`Log::append_all`], or as [`Outlet::publish`].
    pub fn publish(&self, drafts: Vec<Draft>, key: Option<&str>) -> Publishing {
        let (Some(outlet), Some(first)) = (self.outlet.get(), drafts.first()) else {
            return Publishing::Done(Some(self.append_all(drafts, key)));
        };
        let mut state = self.state();
        let now = state.head.ms;
        let known = match key {
            Some(key) => state.keys.find(&first.topic, key, now),
            None => Ok(None),
        };
        let known = known.and_then(|done| self.check_topics(&state, &drafts).map(|()| done));
        drop(state);
        match known {
            Ok(None) => Publishing::Waiting(outlet.publish(drafts, key)),
            Ok(Some(done)) => Publishing::Done(Some(Ok(done))),
            Err(problem) => Publishing::refused(problem),
        }
    }

    /// Appends what has come from the relay. A `key` that was used on the same topic not long ago appends nothing and
    /// comes to what it came to the first time. `None` when the place is not after all that is here.
    pub fn apply(&self, place: Place, drafts: Vec<Draft>, key: Option<&str>) -> Option<Appended> {
        let first = place.id()?;
        let topic = drafts.first()?.topic.clone();
        let mut state = self.state();
        let has_room = (drafts.len() as u64) < first.own_left();
        if first <= state.head || !has_room {
            return None;
        }
        // One too many is not remembered; whoever published it here was refused before.
        let (key, known) = match key.map(|key| state.keys.find(&topic, key, place.ms)) {
            None | Some(Err(_)) => (None, None),
            Some(Ok(known)) => (key, known),
        };
        if known.is_some() {
            state.head = first;
            return known;
        }
        let done = self.append_from(&mut state, first, drafts);
        if let Some(key) = key {
            state.keys.keep(topic, key, place.ms, done);
        }
        self.trim_topics(&mut state);
        drop(state);
        self.hubs.iter().for_each(Hub::ring);
        Some(done)
    }

    /// What others publish can not be refused: where it makes a topic too many, the one that is oldest goes.
    fn trim_topics(&self, state: &mut State) {
        while state.by_age.len() - state.own > self.limits.topics {
            let oldest = state.by_age.iter().find(|(_, t)| !t.name.is_reserved());
            let Some((entered_at, topic)) = oldest.map(|(at, t)| (*at, t.clone())) else {
                return;
            };
            state.by_age.remove(&entered_at);
            while let Some(old) = topic.pop() {
                state.events -= 1;
                state.bytes -= old.held_bytes();
            }
            state.forget_if_unused(&topic);
        }
    }

    /// Whether somebody else orders what is published.
    pub fn is_following(&self) -> bool {
        self.outlet.get().is_some()
    }

    /// Whether it is fit for publishing and reading.
    ///
    /// # Errors
    /// As [`Outlet::ready`].
    pub fn ready(&self) -> Result<(), Problem> {
        self.outlet.get().map_or(Ok(()), |outlet| outlet.ready())
    }

    /// How the relay does, if there is one.
    pub fn carried(&self) -> Option<Carried> {
        self.outlet.get().map(|outlet| outlet.state())
    }

    /// Waits until all up to a cursor is here, which another replica has given, but not longer than this.
    pub async fn come_to(&self, cursor: EventId, longest: Duration) {
        let until = Instant::now() + longest;
        while self.head() < cursor
            && self.may_come_to(self.head(), cursor)
            && Instant::now() < until
        {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether a cursor beyond the head may be one that another replica has given, which is further on.
    pub(super) fn may_come_to(&self, head: EventId, cursor: EventId) -> bool {
        let now = (self.clock)().max(head.ms);
        self.is_following() && cursor.ms <= now.saturating_add(APART_MS)
    }
}

pub(super) fn no_ids() -> Problem {
    Problem::unavailable(
        "no-ids",
        "all ids until the relay's next event are taken; retry when the relay is back",
    )
}
