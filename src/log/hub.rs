//! Wake-ups: an append leaves one message a shard, and the shard wakes its own readers of that topic.
//!
//! The messages carry no events, only topics, each at most once: a shard that is busy owes nothing but a look.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use slab::Slab;

use super::kept::TopicLog;

/// Where one reader sleeps.
pub(super) type Slot = Arc<AtomicWaker>;

/// One shard's side of the log.
#[derive(Default)]
pub(super) struct Hub {
    inbox: Mutex<Vec<Arc<TopicLog>>>,
    waker: AtomicWaker,
    /// Every reader of the shard, those without a topic too.
    readers: Mutex<Slab<Slot>>,
    /// Whether something was left since the last [`Hub::ring`].
    due: AtomicBool,
    ending: AtomicBool,
}

/// The readers of one topic on one shard.
#[derive(Default)]
pub(super) struct Listeners {
    noted: AtomicBool,
    count: AtomicUsize,
    slots: Mutex<Slab<Slot>>,
}

impl Listeners {
    pub(super) fn add(&self, slot: Slot) -> usize {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.slots
            .lock()
            .expect("nothing panics under this lock")
            .insert(slot)
    }

    pub(super) fn remove(&self, key: usize) {
        let mut slots = self.slots.lock().expect("nothing panics under this lock");
        slots.remove(key);
        if slots.is_empty() {
            slots.shrink_to_fit();
        }
        self.count.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

impl Hub {
    pub(super) fn add(&self, slot: Slot) -> usize {
        self.readers
            .lock()
            .expect("nothing panics under this lock")
            .insert(slot)
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

    pub(super) async fn run(&self, shard: usize) {
        poll_fn(|cx| self.pass(shard, cx)).await
    }

    fn pass(&self, shard: usize, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.ending.swap(false, Ordering::AcqRel) {
            let readers = self.readers.lock().expect("nothing panics under this lock");
            readers.iter().for_each(|(_, slot)| slot.wake());
        }
        let topics =
            std::mem::take(&mut *self.inbox.lock().expect("nothing panics under this lock"));
        for topic in topics {
            let listeners = &topic.listeners[shard];
            // Cleared first: what is appended from here on leaves a new message.
            listeners.noted.store(false, Ordering::Release);
            let slots = listeners
                .slots
                .lock()
                .expect("nothing panics under this lock");
            slots.iter().for_each(|(_, slot)| slot.wake());
        }
        Poll::Pending
    }
}
