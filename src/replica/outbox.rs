//! The one loop that appends to a relay, whichever it is: in the order in which entries were given to it, many at once,
//! and again after a connection was lost, until somebody has seen them or nobody waits for them any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::pull::within;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::relay::{Fault, Relay, Writing};

/// Entries, and their bytes, that are handed to a broker at once.
const AT_ONCE: usize = 512;
const BYTES_AT_ONCE: usize = 4 << 20;

/// What is to be appended, with those who wait for it. `T` is what an entry comes to.
pub struct Outbox<T> {
    relay: Arc<dyn Relay>,
    terms: Terms,
    given: Mutex<Given<T>>,
    jobs: mpsc::UnboundedSender<Job>,
    /// Why nothing can be appended.
    away: Mutex<Option<String>>,
}

/// What it takes, and for how long it tries.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long the broker may take to answer.
    pub answer: Duration,
    /// How long an entry may be under way, however often it has to be sent.
    pub done: Duration,
    /// Entries under way at once.
    pub most: usize,
    /// Whether it takes any while the broker is away.
    pub holds: bool,
}

struct Given<T> {
    /// The number of the last one.
    last: u64,
    /// The number of the last one that a broker was handed.
    handed: u64,
    waiting: BTreeMap<u64, Waiting<T>>,
}

struct Waiting<T> {
    until: Instant,
    tell: oneshot::Sender<Result<T, Problem>>,
}

/// An entry, and its number.
pub(super) struct Job {
    number: u64,
    bytes: Bytes,
}

/// What the loop takes entries from.
pub struct Jobs(mpsc::UnboundedReceiver<Job>);

impl<T: Clone + Send + 'static> Outbox<T> {
    /// Nothing is connected until [`Outbox::run`] is polled.
    pub fn new(relay: Arc<dyn Relay>, terms: Terms) -> (Arc<Outbox<T>>, Jobs) {
        let (jobs, taken) = mpsc::unbounded_channel();
        let outbox = Outbox {
            relay,
            terms,
            given: Mutex::new(Given {
                last: 0,
                handed: 0,
                waiting: BTreeMap::new(),
            }),
            jobs,
            away: Mutex::new(Some("not connected yet".to_owned())),
        };
        (Arc::new(outbox), Jobs(taken))
    }

    /// Gives it an entry, which is written with its number; what comes of it.
    ///
    /// # Errors
    /// 503 when nothing can be appended now, or when too much is under way; nothing was appended then.
    pub fn give(
        self: &Arc<Outbox<T>>,
        write: &mut dyn FnMut(u64) -> Bytes,
    ) -> Result<BoxFuture<'static, Result<T, Problem>>, Problem> {
        if !self.terms.holds {
            self.ready()?;
        }
        let (tell, told) = oneshot::channel();
        let now = Instant::now();
        let until = now + self.terms.done;
        let mut given = self.given();
        // Who has gone away does not take out what never comes back.
        while let Some(first) = given.waiting.first_entry()
            && first.get().until < now
        {
            first.remove();
        }
        if given.waiting.len() >= self.terms.most {
            return Err(Problem::unavailable(
                "relay-busy",
                format!(
                    "{} batches are on their way to the relay, which is the limit (relay-waiting); retry",
                    self.terms.most
                ),
            ));
        }
        given.last += 1;
        let number = given.last;
        given.waiting.insert(number, Waiting { until, tell });
        let bytes = write(number);
        // Under the lock, so that they go in the order of their numbers.
        let sent = self.jobs.send(Job { number, bytes });
        drop(given);
        sent.map_err(|_| self.unavailable("the server is ending"))?;
        let outbox = self.clone();
        let done = async move {
            match timeout_at(until, told).await {
                Ok(Ok(done)) => done,
                _ => {
                    let mut given = outbox.given();
                    given.waiting.remove(&number);
                    Err(match number <= given.handed {
                        true => unknown(outbox.terms.done),
                        false => outbox.unavailable("it has not taken yet what came before this"),
                    })
                }
            }
        };
        Ok(done.boxed())
    }

    /// Whether anything can be appended now.
    ///
    /// # Errors
    /// 503 with the reason.
    pub fn ready(&self) -> Result<(), Problem> {
        match &*self.away() {
            Some(why) => Err(self.unavailable(why)),
            None => Ok(()),
        }
    }

    fn unavailable(&self, why: &str) -> Problem {
        let detail = format!("the relay ({}) can not be used: {why}", self.relay.kind());
        Problem::unavailable("relay-away", detail)
    }

    /// An entry has come to this.
    pub fn done(&self, number: u64, what: Result<T, Problem>) {
        let waiting = self.given().waiting.remove(&number);
        if let Some(waiting) = waiting {
            let _ = waiting.tell.send(what);
        }
    }

    /// Appends for ever, or to a fault that will stay before anything was appended. `taken` is told of each entry that the
    /// broker has.
    pub async fn run(&self, Jobs(jobs): &mut Jobs, taken: impl Fn(u64)) -> Fault {
        let mut pending: Vec<Job> = Vec::new();
        let mut pace = Pace::default();
        let mut was_there = false;
        loop {
            let fault = match within(self.terms.answer, self.relay.writing()).await {
                Ok(mut writing) => {
                    was_there = true;
                    *self.away() = None;
                    pace.reset();
                    self.connected(&mut *writing, jobs, &mut pending, &taken)
                        .await
                }
                Err(fault) => fault,
            };
            *self.away() = Some(fault.words.clone());
            if fault.is_final && !was_there {
                return fault;
            }
            tokio::time::sleep(pace.wait()).await;
        }
    }

    async fn connected(
        &self,
        writing: &mut dyn Writing,
        jobs: &mut mpsc::UnboundedReceiver<Job>,
        pending: &mut Vec<Job>,
        taken: &impl Fn(u64),
    ) -> Fault {
        loop {
            if pending.is_empty() && jobs.recv_many(pending, AT_ONCE).await == 0 {
                std::future::pending::<()>().await;
            }
            let count = self.hand_out(pending);
            if count == 0 {
                continue;
            }
            let entries: Vec<Bytes> = pending[..count].iter().map(|j| j.bytes.clone()).collect();
            match within(self.terms.answer, writing.append(&entries)).await {
                Ok(all) => {
                    for (job, what) in pending.drain(..count).zip(all) {
                        match what {
                            Ok(()) => taken(job.number),
                            Err(problem) => self.done(job.number, Err(problem)),
                        }
                    }
                }
                Err(fault) => return fault,
            }
        }
    }

    /// How many of them are next.
    fn hand_out(&self, pending: &mut Vec<Job>) -> usize {
        let mut given = self.given();
        // Whoever waits no more was told that it is not there, or that nobody knows: it must not be appended now.
        pending.retain(|job| given.waiting.contains_key(&job.number));
        let mut bytes = 0;
        let fits = pending.iter().take_while(|job| {
            bytes += job.bytes.len();
            bytes <= BYTES_AT_ONCE
        });
        let count = fits.count().max(1).min(pending.len());
        if let Some(last) = pending[..count].last() {
            given.handed = given.handed.max(last.number);
        }
        count
    }

    fn given(&self) -> MutexGuard<'_, Given<T>> {
        self.given.lock().expect("nothing panics under this lock")
    }

    fn away(&self) -> MutexGuard<'_, Option<String>> {
        self.away.lock().expect("nothing panics under this lock")
    }
}

fn unknown(wait: Duration) -> Problem {
    Problem::unavailable(
        "relay-unknown",
        format!(
            "the relay has not answered within {wait:?} (relay-timeout): it may have taken this, or not; retry with the same \
             Idempotency-Key and it is in the log once"
        ),
    )
}
