//! The one loop over a bridge, whichever it is: subscribes, tries again, makes events of messages, publishes them in their
//! order, and says and counts what becomes of each. Nothing is dropped in silence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesOrdered;
use hyper::StatusCode;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Arrival, Fault, Message, PATIENCE, Promise, Route, Settled, Subscribed, asked};
use crate::counts::bridges::BridgeCounts;
use crate::event::{Draft, Payload, Topic};
use crate::log::{Appended, Publishing};
use crate::pace::Pace;
use crate::problem::Problem;

/// Messages that are being published at once.
const AT_ONCE: usize = 256;

/// What a message costs beside its bytes.
const AROUND: usize = 256;

/// The way into the log that everybody's events take.
pub type Publish = Box<dyn Fn(Draft, Option<&str>) -> Publishing + Send + Sync>;

/// How much a bridge may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a message.
    pub event_bytes: usize,
    /// Bytes of all messages that are not published yet.
    pub held_bytes: usize,
}

/// Carries for as long as it is polled.
pub async fn run(route: Route, publish: Publish, limits: Limits, counts: Arc<BridgeCounts>) {
    let mut carrying = Carrying {
        promise: route.bridge.promise(),
        route,
        publish,
        limits,
        counts,
        life: 0,
        waiting: VecDeque::new(),
        publishing: FuturesOrdered::new(),
        held: VecDeque::new(),
        bytes: 0,
        pace: Pace::default(),
        resumes: None,
        said: None,
    };
    let (mut pace, mut last) = (Pace::default(), None);
    loop {
        let subscribed = timeout(PATIENCE, carrying.route.bridge.subscribe()).await;
        let fault = match subscribed {
            Ok(Ok(mut subscribed)) => {
                tracing::info!("bridge {}: subscribed", carrying.route.name);
                carrying.counts.is_up.store(true, Relaxed);
                let began = Instant::now();
                let fault = carrying.connected(&mut *subscribed).await;
                carrying.lost();
                // One that is lost at once each time is no better than one that is not there.
                if began.elapsed() > PATIENCE {
                    pace.reset();
                }
                last = None;
                fault
            }
            Ok(Err(fault)) => fault,
            Err(_) => Fault::new(format!("no answer within {PATIENCE:?}")),
        };
        if last.as_ref() != Some(&fault) {
            tracing::warn!("bridge {}: {fault}; it is tried again", carrying.route.name);
            last = Some(fault);
        }
        carrying.alone(Instant::now() + pace.wait()).await;
    }
}

struct Carrying {
    route: Route,
    promise: Promise,
    publish: Publish,
    limits: Limits,
    counts: Arc<BridgeCounts>,
    /// Which connection it is: a receipt means nothing to another.
    life: u64,
    /// In their order: not begun; begun; and those that could not be published, before all that are not begun.
    waiting: VecDeque<Message>,
    publishing: FuturesOrdered<BoxFuture<'static, Done>>,
    held: VecDeque<Message>,
    /// What all of them take.
    bytes: usize,
    pace: Pace,
    /// Until then nothing is begun: publishing was refused.
    resumes: Option<Instant>,
    /// Why, once that was said.
    said: Option<&'static str>,
}

/// A message that was to be published, by which connection it came, and what became of it.
struct Done {
    message: Message,
    life: u64,
    what: Result<Appended, Problem>,
}

impl Carrying {
    /// By one connection, as long as it lasts.
    async fn connected(&mut self, subscribed: &mut dyn Subscribed) -> Fault {
        loop {
            self.begin();
            let (takes, resumes) = (self.takes_more(), self.resumes);
            let went = tokio::select! {
                biased;
                Some(done) = self.publishing.next(), if !self.publishing.is_empty() => {
                    match self.done(done, Some(&mut *subscribed)).await {
                        Ok(()) if !self.held.is_empty() => self.give_back(subscribed).await,
                        went => went,
                    }
                }
                arrival = subscribed.next(), if takes => match arrival {
                    Ok(Arrival::Message(message)) => self.take(message, subscribed).await,
                    Ok(Arrival::Lost(count)) => {
                        self.drop(count, "they came faster than they could be taken");
                        Ok(())
                    }
                    Err(fault) => Err(fault),
                },
                () = at(resumes) => {
                    self.resumes = None;
                    Ok(())
                }
            };
            if let Err(fault) = went {
                return fault;
            }
        }
    }

    /// Without a connection, until then: what was taken before is published all the same.
    async fn alone(&mut self, until: Instant) {
        loop {
            self.begin();
            let resumes = self.resumes;
            tokio::select! {
                Some(done) = self.publishing.next(), if !self.publishing.is_empty() => {
                    // Nobody is told, so nobody can fail.
                    let _ = self.done(done, None).await;
                }
                () = at(resumes) => self.resumes = None,
                () = sleep_until(until) => return,
            }
        }
    }

    /// The connection is gone. What is sent again comes again; what is not is published when it can be.
    fn lost(&mut self) {
        self.life += 1;
        self.counts.is_up.store(false, Relaxed);
        self.counts.lost.fetch_add(1, Relaxed);
        if self.promise == Promise::AtLeastOnce {
            for message in self.held.drain(..).chain(self.waiting.drain(..)) {
                self.bytes -= size(&message);
                self.counts.returned.fetch_add(1, Relaxed);
            }
        }
    }

    /// What is sent again can wait where it is. What is not is taken, and dropped where there is no room: so it is known how
    /// much that was.
    fn takes_more(&self) -> bool {
        self.promise == Promise::AtMostOnce || self.bytes < self.limits.held_bytes
    }

    async fn take(
        &mut self,
        message: Message,
        subscribed: &mut dyn Subscribed,
    ) -> Result<(), Fault> {
        self.counts.received.fetch_add(1, Relaxed);
        if message.bytes.len() > self.limits.event_bytes {
            let limit = self.limits.event_bytes as u64;
            let problem = Problem::too_large("the message", limit, "event-bytes");
            return self.refuse(&message, &problem, Some(subscribed)).await;
        }
        let is_full = self.bytes > 0 && self.bytes + size(&message) > self.limits.held_bytes;
        if is_full && self.promise == Promise::AtMostOnce {
            self.drop(1, "as much waits to be published as may (bridge-bytes)");
            return Ok(());
        }
        self.bytes += size(&message);
        self.waiting.push_back(message);
        Ok(())
    }

    /// Begins to publish what can be begun.
    fn begin(&mut self) {
        if self.resumes.is_some() {
            return;
        }
        if !self.held.is_empty() {
            // Others that were begun with them may have to be held as well, and are behind them.
            if !self.publishing.is_empty() {
                return;
            }
            self.held.append(&mut self.waiting);
            std::mem::swap(&mut self.held, &mut self.waiting);
        }
        while self.publishing.len() < AT_ONCE
            && let Some(message) = self.waiting.pop_front()
        {
            let publishing = match self.draft(&message) {
                Ok(draft) => self.publish(draft, message.key.as_deref()),
                Err(problem) => Publishing::refused(problem),
            };
            let life = self.life;
            let done = async move {
                let what = publishing.await;
                Done {
                    message,
                    life,
                    what,
                }
            };
            self.publishing.push_back(done.boxed());
        }
    }

    fn publish(&self, draft: Draft, key: Option<&str>) -> Publishing {
        match (self.publish)(draft.clone(), key) {
            // Without its key it may come to be there twice; for want of room for keys it would not be there at all.
            Publishing::Done(Some(Err(problem))) if problem.kind == "too-many-keys" => {
                (self.publish)(draft, None)
            }
            publishing => publishing,
        }
    }

    fn draft(&self, message: &Message) -> Result<Draft, Problem> {
        let topic = match &self.route.topic {
            Some(topic) => topic.clone(),
            None => {
                let topic = Topic::new(&message.name)?;
                asked::unreserved(&topic).map_err(|why| Problem::bad_request("topic", why))?;
                topic
            }
        };
        let payload = Payload::json(message.bytes.clone());
        Ok(Draft {
            topic,
            event_type: self.route.event_type.clone(),
            payload: payload.or_else(|_| Payload::text(message.bytes.clone()))?,
        })
    }

    /// It is published, or not. Without its connection nobody is told.
    async fn done(
        &mut self,
        done: Done,
        subscribed: Option<&mut dyn Subscribed>,
    ) -> Result<(), Fault> {
        let Done {
            message,
            life,
            what,
        } = done;
        let subscribed = subscribed.filter(|_| life == self.life);
        self.bytes -= size(&message);
        let problem = match what {
            Ok(_) => {
                self.counts.published.fetch_add(1, Relaxed);
                self.pace.reset();
                if self.said.take().is_some() {
                    tracing::info!("bridge {}: what comes is published again", self.route.name);
                }
                return match subscribed {
                    Some(source) => source.settle(message.receipt, Settled::Published).await,
                    None => Ok(()),
                };
            }
            Err(problem) => problem,
        };
        if !is_passing(&problem) {
            return self.refuse(&message, &problem, subscribed).await;
        }
        if self.said != Some(problem.kind) {
            tracing::warn!("bridge {}: not published now: {problem}", self.route.name);
            self.said = Some(problem.kind);
        }
        if self.resumes.is_none() {
            self.resumes = Some(Instant::now() + self.pace.wait());
        }
        match (self.promise, subscribed) {
            // It may be there already, and must not be there twice.
            (Promise::AtMostOnce, _) if problem.kind == "relay-unknown" => {
                self.drop(1, "the relay did not say whether it has them");
            }
            (Promise::AtLeastOnce, None) => {
                self.counts.returned.fetch_add(1, Relaxed);
            }
            _ => {
                self.bytes += size(&message);
                self.held.push_back(message);
            }
        }
        Ok(())
    }

    /// All that can not be published goes back, if the source takes it: all at once, and with what is behind it, so that it
    /// comes again in its order.
    async fn give_back(&mut self, source: &mut dyn Subscribed) -> Result<(), Fault> {
        while self.publishing.is_empty()
            && let Some(first) = self.held.front().or(self.waiting.front())
        {
            if !source.give_back(first.receipt).await? {
                break;
            }
            let first = self.held.pop_front().or_else(|| self.waiting.pop_front());
            self.bytes -= first.as_ref().map_or(0, size);
            self.counts.returned.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// It can be no event, however often it comes.
    async fn refuse(
        &mut self,
        message: &Message,
        problem: &Problem,
        subscribed: Option<&mut dyn Subscribed>,
    ) -> Result<(), Fault> {
        if let Some(count) = many(&self.counts.refused, 1) {
            tracing::warn!(
                "bridge {}: refused, the {count}. so far: a message of {} bytes on {:?}: {problem}",
                self.route.name,
                message.bytes.len(),
                shortened(&message.name),
            );
        }
        match subscribed {
            Some(source) => source.settle(message.receipt, Settled::Refused).await,
            None => Ok(()),
        }
    }

    fn drop(&self, some: u64, why: &str) {
        if let Some(count) = many(&self.counts.dropped, some) {
            tracing::warn!(
                "bridge {}: messages are dropped, {count} so far: {why}",
                self.route.name
            );
        }
    }
}

/// Counts, and says how many it are when that is to be said: one line, and not one for each of a million.
fn many(counter: &AtomicU64, some: u64) -> Option<u64> {
    let before = counter.fetch_add(some, Relaxed);
    let now = before + some;
    (before.checked_ilog2() != now.checked_ilog2()).then_some(now)
}

/// Whether it may go better another time.
fn is_passing(problem: &Problem) -> bool {
    matches!(
        problem.status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    )
}

fn size(message: &Message) -> usize {
    message.bytes.len() + message.name.len() + AROUND
}

fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
