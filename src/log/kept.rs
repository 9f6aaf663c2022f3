//! What is retained of one topic, and who reads it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::event::{Event, EventId, Topic};

use super::hub::Listeners;
use super::notice::Reason;

/// One topic of the log. Its events are numbered from 0, without holes, for as long as the topic is remembered.
pub(super) struct TopicLog {
    pub(super) name: Topic,
    kept: Mutex<Kept>,
    /// The number that the next event will have; read without the lock.
    end: AtomicU64,
    /// Scans of it: it is remembered while there is one.
    pub(super) scans: AtomicUsize,
    /// By shard.
    pub(super) listeners: Box<[Listeners]>,
}

pub(super) struct Kept {
    events: VecDeque<Arc<Event>>,
    /// The number of the oldest retained event.
    pub(super) first: u64,
    /// The last id that is gone, or may have been before the topic was: a cursor below it has lost something.
    pub(super) floor: EventId,
    /// Whoever has not come to this number has lost nobody knows how many.
    pub(super) unknown: u64,
    /// A cursor below this has lost something for a reason that is known.
    pub(super) why: (EventId, Reason),
    pub(super) bytes: u64,
}

impl TopicLog {
    pub(super) fn new(name: Topic, floor: EventId, shards: usize) -> TopicLog {
        TopicLog {
            name,
            kept: Mutex::new(Kept {
                events: VecDeque::new(),
                first: 0,
                floor,
                unknown: 0,
                why: (EventId::ZERO, Reason::Expired),
                bytes: 0,
            }),
            end: AtomicU64::new(0),
            scans: AtomicUsize::new(0),
            listeners: (0..shards).map(|_| Listeners::default()).collect(),
        }
    }

    /// Appends, and returns what that pushed out.
    pub(super) fn push(
        &self,
        event: Arc<Event>,
        max_events: usize,
        max_bytes: u64,
    ) -> Vec<Arc<Event>> {
        let mut kept = self.kept();
        kept.bytes += event.draft.payload.bytes().len() as u64;
        kept.events.push_back(event);
        self.end.store(kept.end(), Ordering::Release);
        let mut gone = Vec::new();
        while kept.events.len() > 1 && (kept.events.len() > max_events || kept.bytes > max_bytes) {
            gone.extend(kept.pop());
        }
        gone
    }

    /// Takes the oldest event away.
    pub(super) fn pop(&self) -> Option<Arc<Event>> {
        self.kept().pop()
    }

    /// Takes all away, and with it what was never there: one number, which stands for nobody knows what.
    pub(super) fn lose(&self, at: EventId, why: Reason) -> Vec<Arc<Event>> {
        let mut kept = self.kept();
        let gone = std::iter::from_fn(|| kept.pop()).collect();
        kept.first += 1;
        kept.unknown = kept.first;
        kept.floor = at;
        kept.why = (at, why);
        self.end.store(kept.end(), Ordering::Release);
        gone
    }

    pub(super) fn oldest_seq(&self) -> Option<u64> {
        self.kept().events.front().map(|e| e.seq)
    }

    pub(super) fn oldest_id(&self) -> Option<EventId> {
        self.kept().events.front().map(|e| e.id)
    }

    pub(super) fn floor(&self) -> EventId {
        self.kept().floor
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept().events.is_empty()
    }

    /// The number that the next event will have.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn is_scanned(&self) -> bool {
        self.scans.load(Ordering::Acquire) > 0
    }

    pub(super) fn has_readers(&self) -> bool {
        self.listeners.iter().any(|l| !l.is_empty())
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept
            .lock()
            .expect("nothing panics under a topic's lock")
    }
}

impl Kept {
    fn pop(&mut self) -> Option<Arc<Event>> {
        let old = self.events.pop_front()?;
        self.first += 1;
        self.floor = old.id;
        self.bytes -= old.draft.payload.bytes().len() as u64;
        // A burst must not hold its space for ever.
        if self.events.capacity() > 64 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
        Some(old)
    }

    /// Why a cursor has lost something.
    pub(super) fn why(&self, cursor: EventId) -> Reason {
        match self.why {
            (below, why) if cursor < below => why,
            _ => Reason::Expired,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The event with this number, if it is retained.
    pub(super) fn get(&self, number: u64) -> Option<&Arc<Event>> {
        let index = number.checked_sub(self.first)?;
        self.events.get(usize::try_from(index).ok()?)
    }

    /// The number of the first retained event after a cursor.
    pub(super) fn after(&self, cursor: EventId) -> u64 {
        self.first + self.events.partition_point(|e| e.id <= cursor) as u64
    }

    /// The cursor just before the event with this number, which must be retained or the next.
    pub(super) fn cursor_before(&self, number: u64) -> EventId {
        match number.checked_sub(1).and_then(|n| self.get(n)) {
            Some(event) => event.id,
            None => self.floor,
        }
    }
}
