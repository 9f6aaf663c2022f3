//! Wake-ups: an append leaves one message a shard, and the shard wakes its own readers of that topic.
//!
//! The messages carry no events, only topics, each at most once: a shard that is busy owes nothing but a look.
//! The hub also keeps the shard's time, in coarse ticks, for those who want to be woken when they were not.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::time::{Instant, Sleep};

use super::kept::TopicLog;
use crate::bundle::Bell;
use crate::event::{Event, Framing, Run};

/// How finely a shard's time is divided.
const TICK: Duration = Duration::from_millis(20);

/// How many ticks of a shard's time this is, at least.
pub fn ticks(time: Duration) -> u64 {
    time.as_millis().div_ceil(TICK.as_millis()) as u64
}

/// One shard's side of the log.
pub(super) struct Hub {
    inbox: Mutex<Vec<Arc<TopicLog>>>,
    waker: AtomicWaker,
    /// Every reader of the shard, those without a topic too.
    readers: Mutex<Slab<Bell>>,
    /// Whether something was left since the last [`Hub::ring`].
    due: AtomicBool,
    ending: AtomicBool,
    began: Instant,
    /// Ticks since then, as of the last pass.
    tick: AtomicU64,
    /// Whom to wake at which tick.
    reminders: Mutex<BTreeMap<u64, Vec<Bell>>>,
    /// Topics that have a tail here.
    tails: Mutex<Vec<Arc<TopicLog>>>,
}

/// The readers of one topic on one shard.
#[derive(Default)]
pub(super) struct Listeners {
    noted: AtomicBool,
    count: AtomicUsize,
    bells: Mutex<Slab<Bell>>,
    tail: Mutex<Tail>,
}

/// What was appended last, in copies of one shard's own: on the path of an event, shards share no counter and no lock.
/// Empty when that was much, and soon after.
#[derive(Default)]
struct Tail {
    /// The number of the first.
    first: u64,
    events: Vec<Arc<Event>>,
    /// All of them in one piece, for each framing that was asked for.
    runs: Vec<Run>,
}

/// What a tail may hold of a topic, for one tick.
const TAIL_EVENTS: u64 = 64;
const TAIL_BYTES: usize = 64 * 1024;

impl Listeners {
    /// The event of the topic with this number, if it came with the last wake-up.
    pub(super) fn newest(&self, number: u64) -> Option<Arc<Event>> {
        let tail = self.tail();
        let index = number.checked_sub(tail.first)?;
        tail.events.get(usize::try_from(index).ok()?).cloned()
    }

    /// The events from this number on, if they are just what came with the last wake-up: how many, the last of them,
    /// and all in one piece.
    pub(super) fn run<T>(
        &self,
        first: u64,
        framing: Framing,
        take: impl FnOnce(u64, &Event, &Run) -> Option<T>,
    ) -> Option<T> {
        let mut tail = self.tail();
        if tail.first != first {
            return None;
        }
        let Tail { events, runs, .. } = &mut *tail;
        let last = events.last()?;
        let known = runs.iter().position(|run| run.framing == framing);
        let index = known.unwrap_or_else(|| {
            runs.push(Run::of(events, framing));
            runs.len() - 1
        });
        take(events.len() as u64, last, &runs[index])
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().expect("nothing panics under this lock")
    }

    /// Takes copies of what has come since the last time.
    fn copy_tail(&self, topic: &TopicLog) {
        let mut tail = self.tail();
        let seen = tail.first + tail.events.len() as u64;
        let kept = topic.kept();
        let from = seen.max(kept.first);
        let mut room = TAIL_BYTES;
        tail.events.clear();
        tail.runs.clear();
        if kept.end() - from <= TAIL_EVENTS {
            tail.first = from;
            let fits = |event: &&Arc<Event>| {
                let length = event.draft.payload.bytes().len();
                room.checked_sub(length)
                    .inspect(|left| room = *left)
                    .is_some()
            };
            let fresh = (from..kept.end()).map_while(|number| kept.get(number));
            tail.events
                .extend(fresh.take_while(fits).map(|event| Arc::new(event.twin())));
        } else {
            tail.first = kept.end();
        }
    }

    /// Lets the copies go.
    fn drop_tail(&self) {
        let mut tail = self.tail();
        tail.first += tail.events.len() as u64;
        tail.events = Vec::new();
        tail.runs = Vec::new();
    }

    pub(super) fn add(&self, bell: Bell) -> usize {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.bells
            .lock()
            .expect("nothing panics under this lock")
            .insert(bell)
    }

    pub(super) fn remove(&self, key: usize) {
        let mut bells = self.bells.lock().expect("nothing panics under this lock");
        bells.remove(key);
        if bells.is_empty() {
            bells.shrink_to_fit();
        }
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

impl Hub {
    pub(super) fn new() -> Hub {
        Hub {
            inbox: Mutex::default(),
            waker: AtomicWaker::new(),
            readers: Mutex::default(),
            due: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            began: Instant::now(),
            tick: AtomicU64::new(0),
            reminders: Mutex::default(),
            tails: Mutex::default(),
        }
    }

    pub(super) fn add(&self, bell: Bell) -> usize {
        self.readers
            .lock()
            .expect("nothing panics under this lock")
            .insert(bell)
    }

    pub(super) fn remove(&self, key: usize) {
        let mut readers = self.readers.lock().expect("nothing panics under this lock");
        readers.remove(key);
    }

    /// Leaves word that `topic` has something new.
    pub(super) fn notify(&self, shard: usize, topic: &Arc<TopicLog>) {
        let listeners = &topic.listeners[shard];
        if listeners.is_empty() || listeners.noted.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut inbox = self.inbox.lock().expect("nothing panics under this lock");
        inbox.push(topic.clone());
        self.due.store(true, Ordering::Release);
    }

    /// Wakes the shard if word was left for it. Apart from [`Hub::notify`], so that no system call is made
    /// under the log's lock.
    pub(super) fn ring(&self) {
        if self.due.load(Ordering::Acquire) && self.due.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Wakes everybody for the last time.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// The time of the last pass: at most as old as the last append that any reader of the shard was told of.
    pub(super) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// The time now.
    pub(super) fn now(&self) -> u64 {
        (self.began.elapsed().as_millis() / TICK.as_millis()) as u64
    }

    /// Has a bell rung when [`Hub::tick`] has come to `tick`.
    pub(super) fn remind(&self, tick: u64, bell: Bell) {
        let mut reminders = self.reminders();
        let is_first = reminders.keys().next().is_none_or(|first| tick < *first);
        reminders.entry(tick).or_default().push(bell);
        drop(reminders);
        if is_first {
            self.waker.wake();
        }
    }

    pub(super) async fn run(&self, shard: usize) {
        let mut alarm = pin!(tokio::time::sleep_until(self.began));
        poll_fn(|cx| self.pass(shard, cx, alarm.as_mut())).await
    }

    fn pass(&self, shard: usize, cx: &mut Context<'_>, alarm: Pin<&mut Sleep>) -> Poll<()> {
        self.waker.register(cx.waker());
        self.tick.store(self.now(), Ordering::Relaxed);
        if self.ending.swap(false, Ordering::AcqRel) {
            let readers = self.readers.lock().expect("nothing panics under this lock");
            Bell::ring_all(readers.iter().map(|(_, bell)| bell));
        }
        let topics =
            std::mem::take(&mut *self.inbox.lock().expect("nothing panics under this lock"));
        let mut tails = self.tails();
        for topic in tails.drain(..) {
            topic.listeners[shard].drop_tail();
        }
        for topic in topics {
            let listeners = &topic.listeners[shard];
            // Cleared first: what is appended from here on leaves a new message.
            listeners.noted.store(false, Ordering::Release);
            listeners.copy_tail(&topic);
            let bells = listeners
                .bells
                .lock()
                .expect("nothing panics under this lock");
            Bell::ring_all(bells.iter().map(|(_, bell)| bell));
            drop(bells);
            tails.push(topic);
        }
        drop(tails);
        self.ring_reminders(cx, alarm);
        Poll::Pending
    }

    fn ring_reminders(&self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) {
        loop {
            let mut reminders = self.reminders();
            let later = reminders.split_off(&(self.tick() + 1));
            let due = std::mem::replace(&mut *reminders, later);
            // Tails do not stay.
            let tail = (!self.tails().is_empty()).then(|| self.tick() + 1);
            let next = reminders
                .keys()
                .next()
                .copied()
                .into_iter()
                .chain(tail)
                .min();
            drop(reminders);
            due.values().for_each(Bell::ring_all);
            let Some(next) = next else { return };
            let at = self.began + TICK * u32::try_from(next).unwrap_or(u32::MAX);
            if alarm.deadline() != at {
                alarm.as_mut().reset(at);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            self.tick.store(self.now().max(next), Ordering::Relaxed);
        }
    }

    fn tails(&self) -> MutexGuard<'_, Vec<Arc<TopicLog>>> {
        self.tails.lock().expect("nothing panics under this lock")
    }

    fn reminders(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Bell>>> {
        self.reminders
            .lock()
            .expect("nothing panics under this lock")
    }
}
