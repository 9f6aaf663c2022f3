//! Who there is: each replica says each second, by way of the broker, what it counts. What it hears of itself is the probe
//! that decides whether the broker does what it is for.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::link::Link;
use super::outbox::{Jobs, Outbox, Terms};
use super::pull::{self, Follower};
use crate::event::Place;
use crate::pace::Pace;
use crate::relay::{Bounds, Entry, Fault, Limits, Relay};

/// How often a replica says what it counts.
const EVERY: Duration = Duration::from_secs(1);

/// After so long without a word a replica is taken to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Replicas that are remembered: names come from whoever may write to the broker.
const MOST: usize = 1_000;

/// What the replicas say of themselves.
pub struct Replicas {
    relay: Arc<dyn Relay>,
    link: Arc<Link>,
    server: String,
    limits: Limits,
    outbox: Arc<Outbox<()>>,
    jobs: Mutex<Option<Jobs>>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// By what names a life of a replica.
    replicas: BTreeMap<String, Replica>,
    /// When each of our own words was said, by its number.
    said: HashMap<u64, Instant>,
    own: Option<Instant>,
}

struct Replica {
    server: String,
    at: Instant,
    stats: Value,
}

/// What one says.
#[derive(Deserialize)]
struct Said<'a> {
    server: String,
    by: String,
    n: u64,
    #[serde(borrow)]
    stats: &'a RawValue,
}

impl Replicas {
    /// Nothing is said until [`Replicas::run`] is polled.
    pub fn new(
        relay: Arc<dyn Relay>,
        link: &Arc<Link>,
        server: &str,
        limits: Limits,
    ) -> Arc<Replicas> {
        let terms = Terms {
            answer: limits.timeout,
            done: limits.timeout,
            most: 16,
            holds: false,
        };
        let (outbox, jobs) = Outbox::new(relay.clone(), terms);
        Arc::new(Replicas {
            relay,
            link: link.clone(),
            server: server.to_owned(),
            limits,
            outbox,
            jobs: Mutex::new(Some(jobs)),
            heard: Mutex::default(),
        })
    }

    /// Says and hears, for as long as it is polled; `count` is what this replica counts.
    pub async fn run(self: Arc<Replicas>, count: impl Fn() -> Value) {
        let jobs = self.jobs.lock().expect("nothing panics under it").take();
        let Some(mut jobs) = jobs else { return };
        let mut hearing = Hearing(self.clone());
        let outbox = self.outbox.clone();
        let wait = self.limits.timeout;
        // A word that the broker has is done; what comes back is heard.
        let done = |number| outbox.done(number, Ok(()));
        let mut said = String::new();
        let mut pace = Pace::default();
        loop {
            let fault = tokio::select! {
                () = self.say(&count) => return,
                fault = self.outbox.run(&mut jobs, done) => fault,
                fault = pull::run(self.relay.clone(), wait, &mut hearing) => fault,
            };
            // The events' stream can be used, so it is worth waiting until somebody mends this one.
            if said != fault.words {
                let kind = self.relay.kind();
                tracing::error!(
                    "relay {kind}: what servers say of themselves is not heard: {fault}; it is tried again"
                );
                said = fault.words;
            }
            tokio::time::sleep(pace.wait()).await;
        }
    }

    async fn say(&self, count: &impl Fn() -> Value) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let stats = count();
            let mut told = None;
            let given = self.outbox.give(&mut |n| {
                told = Some(n);
                let said = json!({
                    "server": self.server,
                    "by": self.link.by(),
                    "n": n,
                    "stats": stats,
                });
                Bytes::from(said.to_string())
            });
            let now = Instant::now();
            let mut heard = self.heard();
            heard.said.retain(|_, at| now - *at < GONE);
            heard.said.extend(told.map(|n| (n, now)));
            let is_heard = heard
                .own
                .is_some_and(|at| now - at < self.limits.timeout + EVERY);
            drop(heard);
            self.link.is_heard.send_replace(is_heard);
            // Nobody waits for it: what comes back is heard, and what does not is known by that.
            drop(given);
        }
    }

    /// What each that is not gone has said last, with its name, what names its life, and how long ago that was.
    pub fn all(&self) -> Vec<Value> {
        let now = Instant::now();
        let heard = self.heard();
        let here = heard.replicas.iter().filter(|(_, r)| now - r.at < GONE);
        let all = here.map(|(by, replica)| {
            json!({
                "server": replica.server,
                "life": by,
                "age_ms": (now - replica.at).as_millis() as u64,
                "is_this": by == self.link.by(),
                "stats": replica.stats,
            })
        });
        all.collect()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("nothing panics under this lock")
    }

    fn hear(&self, said: Said) {
        let Ok(stats) = serde_json::from_str(said.stats.get()) else {
            return;
        };
        self.link.heard_of(&said.by);
        let now = Instant::now();
        let mut heard = self.heard();
        if said.by == self.link.by() {
            heard.own = Some(now);
            if let Some(at) = heard.said.remove(&said.n) {
                let micros = (now - at).as_micros() as u64;
                self.link.probe_us.store(micros.max(1), Ordering::Relaxed);
            }
            self.link.is_heard.send_replace(true);
        } else if said.server == self.server && !heard.replicas.contains_key(&said.by) {
            tracing::warn!(
                "another replica is called {} too: give each its own --name",
                self.server
            );
        }
        heard.replicas.retain(|_, replica| now - replica.at < GONE);
        if heard.replicas.len() < MOST || heard.replicas.contains_key(&said.by) {
            let replica = Replica {
                server: said.server,
                at: now,
                stats,
            };
            heard.replicas.insert(said.by, replica);
        }
    }
}

struct Hearing(Arc<Replicas>);

impl Follower for Hearing {
    fn begin(&mut self, bounds: &Bounds) -> Place {
        bounds.last
    }

    fn take(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if let Ok(said) = serde_json::from_slice(&entry.bytes) {
                self.0.hear(said);
            }
        }
    }

    fn is_caught_up(&mut self) {}

    // The next word says all anew.
    fn lost(&mut self, _: &str, _: bool) {}

    fn away(&mut self, _: &Fault) {}
}
