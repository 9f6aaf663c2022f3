//! A log and a relay: what is published goes out by an [`Outbox`], what comes back is appended, on every replica alike.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, TryFutureExt, ready};
use hyper::StatusCode;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::entry::{self, Published, What};
use super::outbox::{Jobs, Outbox, Terms};
use super::publishers::Publishers;
use super::pull::{self, Follower};
use crate::event::{Draft, Place};
use crate::log::{Appended, Carried, Log, Outlet, Reason, Word};
use crate::problem::Problem;
use crate::relay::{Bounds, Entry, Fault, LOST, Limits, Relay};

/// What goes around an event or a word in an entry, in bytes.
const AROUND: usize = 320;

/// How long a replica of which nothing is heard may still be there, at least: it may be cut off, and come back.
const ALIVE: Duration = Duration::from_secs(3);

/// Lives that are remembered: their names come from whoever may write to the broker.
const LIVES: usize = 1_000;

/// The way of what is published from this replica to all of them, and back.
pub struct Link {
    relay: Arc<dyn Relay>,
    log: Arc<Log>,
    limits: Limits,
    /// Names this life of this replica, among all there ever are.
    by: String,
    outbox: Arc<Outbox<Appended>>,
    jobs: Mutex<Option<Jobs>>,
    /// Why nothing comes.
    away: Mutex<Option<String>>,
    is_caught_up: watch::Sender<bool>,
    /// Whether this replica hears of itself by way of the broker.
    pub(super) is_heard: watch::Sender<bool>,
    pub(super) probe_us: AtomicU64,
    numbers: Numbers,
    begun: Instant,
    /// When each life of a replica was last heard of.
    lives: Mutex<HashMap<String, Instant>>,
}

#[derive(Default)]
struct Numbers {
    entries: AtomicU64,
    events: AtomicU64,
    foreign: AtomicU64,
    published: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    gaps: AtomicU64,
}

impl Link {
    /// Has the log follow the relay; before anything is appended to it.
    pub fn new(relay: Arc<dyn Relay>, log: &Arc<Log>, limits: Limits) -> Arc<Link> {
        let terms = Terms {
            answer: limits.timeout,
            done: limits.timeout,
            most: limits.waiting,
            holds: false,
        };
        let (outbox, jobs) = Outbox::new(relay.clone(), terms);
        let link = Arc::new(Link {
            by: format!("{:032x}", fastrand::u128(..)),
            relay,
            log: log.clone(),
            limits,
            outbox,
            jobs: Mutex::new(Some(jobs)),
            away: Mutex::new(Some("not connected yet".to_owned())),
            is_caught_up: watch::Sender::new(false),
            is_heard: watch::Sender::new(false),
            probe_us: AtomicU64::new(0),
            numbers: Numbers::default(),
            begun: Instant::now(),
            lives: Mutex::default(),
        });
        log.follow(link.clone());
        link
    }

    /// Names this life of this replica.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// Carries, for as long as it is polled, or to a fault at its very beginning that will stay: a wrong password.
    pub async fn run(self: Arc<Link>) -> Fault {
        let jobs = self.jobs.lock().expect("nothing panics under it").take();
        let Some(mut jobs) = jobs else {
            return Fault::lasting("it runs already");
        };
        let mut follower = Applying {
            link: self.clone(),
            publishers: Publishers::default(),
            is_whole: false,
        };
        let wait = self.limits.timeout;
        tokio::select! {
            fault = pull::run(self.relay.clone(), wait, &mut follower) => fault,
            fault = self.outbox.run(&mut jobs, |_| {}) => fault,
        }
    }

    /// Waits until all that the relay has is here.
    pub async fn caught_up(&self) {
        let mut caught_up = self.is_caught_up.subscribe();
        let _ = caught_up.wait_for(|is| *is).await;
    }

    /// Waits until this replica hears of itself.
    pub async fn heard(&self) {
        let mut heard = self.is_heard.subscribe();
        let _ = heard.wait_for(|is| *is).await;
    }

    /// What carries has ended, which it never should: from now on this replica says that it can not be used.
    pub fn has_ended(&self, why: &str) {
        let kind = self.relay.kind();
        tracing::error!("relay {kind}: what carries has ended, start this server again: {why}");
        *self.away() = Some(format!(
            "what carries has ended, start this server again: {why}"
        ));
    }

    fn away(&self) -> MutexGuard<'_, Option<String>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether entries come.
    ///
    /// # Errors
    /// 503 that says why they do not.
    pub fn hears(&self) -> Result<(), Problem> {
        match &*self.away() {
            None => Ok(()),
            Some(why) => {
                let detail = format!("the relay ({}) can not be read: {why}", self.relay.kind());
                Err(Problem::unavailable("relay-away", detail))
            }
        }
    }
}

impl Link {
    /// Gives an entry of about this size to the relay.
    fn give(
        &self,
        size: usize,
        mut write: impl FnMut(u64) -> Bytes,
    ) -> BoxFuture<'static, Result<Appended, Problem>> {
        let number = &self.numbers;
        number.published.fetch_add(1, Ordering::Relaxed);
        let given = self.hears().and_then(|()| {
            if size > self.limits.entry_bytes {
                return Err(too_large(size, self.limits.entry_bytes));
            }
            self.outbox.give(&mut write)
        });
        match given {
            Ok(done) => done,
            Err(problem) => {
                number.refused.fetch_add(1, Ordering::Relaxed);
                ready(Err(problem)).boxed()
            }
        }
    }

    /// Another life of a replica was heard of.
    pub(super) fn heard_of(&self, life: &str) {
        let mut lives = self.lives();
        let now = Instant::now();
        if let Some(at) = lives.get_mut(life) {
            *at = now;
            return;
        }
        let longest = self.alive();
        lives.retain(|_, at| now - *at < longest);
        if lives.len() < LIVES {
            lives.insert(life.to_owned(), now);
        }
    }

    fn alive(&self) -> Duration {
        ALIVE.max(self.limits.timeout * 3)
    }

    fn lives(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.lives.lock().expect("nothing panics under this lock")
    }
}

impl Outlet for Link {
    fn publish(
        &self,
        drafts: Vec<Draft>,
        key: Option<&str>,
    ) -> BoxFuture<'static, Result<Appended, Problem>> {
        let size = drafts
            .iter()
            .map(|d| d.payload.bytes().len() + AROUND)
            .sum();
        self.give(size, |n| entry::write(&self.by, n, key, &drafts))
    }

    fn say(&self, to: &'static str, word: String) -> BoxFuture<'static, Result<(), Problem>> {
        let size = word.len() + AROUND;
        let word = RawValue::from_string(word).expect("it was made of JSON");
        let said = self.give(size, |n| entry::write_word(&self.by, n, to, &word));
        said.map_ok(drop).boxed()
    }

    fn word_bytes(&self) -> usize {
        self.limits.entry_bytes.saturating_sub(AROUND)
    }

    fn life(&self) -> &str {
        &self.by
    }

    fn is_alive(&self, life: &str) -> bool {
        let now = Instant::now();
        let heard = self.lives().get(life).copied();
        let is_heard = heard.is_some_and(|at| now - at < self.alive());
        life == self.by || is_heard || self.begun.elapsed() < self.alive()
    }

    fn ready(&self) -> Result<(), Problem> {
        self.hears()?;
        self.outbox.ready()?;
        match *self.is_heard.borrow() {
            true => Ok(()),
            false => {
                let detail = format!(
                    "what this replica says of itself does not come back from the relay ({})",
                    self.relay.kind()
                );
                Err(Problem::unavailable("relay-away", detail))
            }
        }
    }

    fn state(&self) -> Carried {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let numbers = &self.numbers;
        Carried {
            kind: self.relay.kind(),
            entries: get(&numbers.entries),
            events: get(&numbers.events),
            foreign: get(&numbers.foreign),
            published: get(&numbers.published),
            refused: get(&numbers.refused),
            lost: get(&numbers.lost),
            gaps: get(&numbers.gaps),
            probe_us: get(&self.probe_us),
        }
    }
}

fn too_large(size: usize, most: usize) -> Problem {
    let detail = format!(
        "with what goes around it this is about {size} bytes, and an entry of the relay has at most {most} (relay-entry-bytes); \
         send several"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

/// Appends what comes.
struct Applying {
    link: Arc<Link>,
    publishers: Publishers,
    /// Whether nothing was gone yet where it began.
    is_whole: bool,
}

impl Follower for Applying {
    fn begin(&mut self, bounds: &Bounds) -> Place {
        self.link.log.begin_after(bounds.first);
        self.is_whole = bounds.is_whole;
        *self.link.away() = Some("what it has is not all here yet".to_owned());
        bounds.first
    }

    fn take(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.apply(&entry);
        }
        let entries = self.link.numbers.entries.load(Ordering::Relaxed);
        let retained = self.link.limits.entries;
        let log = &self.link.log;
        log.tell_parties(|party| party.passed(entries, retained));
    }

    fn is_caught_up(&mut self) {
        let was_away = self.link.away().take();
        self.link
            .log
            .tell_parties(|party| party.caught_up(self.is_whole));
        self.link.is_caught_up.send_replace(true);
        if was_away.is_some() {
            tracing::info!("relay {}: all that it has is here", self.link.relay.kind());
        }
    }

    fn lost(&mut self, why: &str, is_here_alone: bool) {
        self.is_whole = false;
        self.link.numbers.gaps.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("relay {}: {why}; readers are told", self.link.relay.kind());
        self.link.log.lose(Reason::Relay, |topic| {
            !topic.is_reserved() || topic.is_of_collection() || topic.is_of_watch()
        });
        let log = &self.link.log;
        log.tell_parties(|party| party.lost(is_here_alone));
    }

    fn away(&mut self, fault: &Fault) {
        let kind = self.link.relay.kind();
        let mut away = self.link.away();
        if away.as_ref() != Some(&fault.words) {
            tracing::warn!("relay {kind}: {fault}; it is tried again");
        }
        if away.is_none() {
            self.link.numbers.lost.fetch_add(1, Ordering::Relaxed);
        }
        *away = Some(fault.words.clone());
    }
}

impl Applying {
    fn apply(&mut self, found: &Entry) {
        let numbers = &self.link.numbers;
        numbers.entries.fetch_add(1, Ordering::Relaxed);
        // Whoever begins here can not know it by itself; and a cursor of what was lost may be after all that is here.
        if found.bytes == LOST {
            self.link.log.begin_after(found.place);
            self.lost("the relay has forgotten some of what it had", false);
            return;
        }
        let Published { by, what } = match entry::read(&found.bytes) {
            Ok(published) => published,
            Err(problem) => {
                let before = numbers.foreign.fetch_add(1, Ordering::Relaxed);
                // One line, and not one for each of a million.
                if before.is_power_of_two() || before == 0 {
                    tracing::warn!(
                        "relay: the entry at {} is passed over: {problem}",
                        found.place
                    );
                }
                return;
            }
        };
        if let Some((by, number)) = &by
            && !self.publishers.is_new(by, *number)
        {
            return;
        }
        let log = &self.link.log;
        let done = match what {
            What::Events(key, drafts) => {
                let count = drafts.len() as u64;
                numbers.events.fetch_add(count, Ordering::Relaxed);
                log.apply(found.place, drafts, key.as_deref()).map(Ok)
            }
            What::Word(to, text) => {
                let by = by.as_ref().map_or("", |(by, _)| by);
                let word = Word {
                    place: found.place,
                    by,
                    text: &text,
                };
                log.hear(&to, &word)
            }
        };
        let Some(done) = done else {
            return self.lost(
                "an entry has come whose place is not after all others",
                false,
            );
        };
        if let Some((by, number)) = by
            && by == self.link.by
        {
            self.link.outbox.done(number, done);
        }
    }
}
