//! Events that have come of something that was said in the relay's order: with the ids of its place, which are the same on
//! every replica.

use std::sync::Arc;

use super::hub::Hub;
use super::{Draft, Event, EventId, Log};
use crate::event::Place;

/// Ids that each event of one place has for itself and for what is told of it: of 16 million, for 4,096 events.
const IDS: u64 = 1 << 12;

/// An event that all replicas have, and what this one tells of it on other topics.
pub struct Told {
    /// What all have.
    pub event: Draft,
    /// What is told of it here, each with what it is told apart from others by, [`mark`], in that order. Its id hangs on that,
    /// and so a cursor of one of these topics means on other replicas what it means here.
    pub also: Vec<(u64, Draft)>,
}

/// What tells things that are told of one event apart, on all replicas alike: made of what they are. Two may have the same,
/// one time in 4,095; then they have one id.
pub fn mark(of: &str) -> u64 {
    let hash = hash(of.as_bytes());
    1 + (hash ^ (hash >> 32)) % (IDS - 1)
}

/// The same of the same bytes, whatever build of this reads them (FNV-1a). No secret, and no proof of anything.
pub fn hash(of: &[u8]) -> u64 {
    of.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Log {
    /// Appends what has come of something that was said there, with nothing in between; the id of each event. None are
    /// appended when the place is not after all that is here, or has no room for so many.
    pub fn tell(&self, at: Place, told: Vec<Told>) -> Vec<EventId> {
        let mut state = self.state();
        let has_room =
            |first: &EventId| (told.len() as u64).saturating_mul(IDS) <= first.own_left();
        let is_next = |first: &EventId| *first > state.head && has_room(first);
        let Some(first) = at.id().filter(is_next) else {
            return Vec::new();
        };
        let mut ids = Vec::with_capacity(told.len());
        let mut n = first.n;
        for Told { event, mut also } in told {
            let id = EventId { n, ..first };
            self.append_one(&mut state, id, event);
            also.sort_by_key(|(mark, _)| *mark);
            for (mark, draft) in also {
                self.append_one(
                    &mut state,
                    EventId {
                        n: n + mark,
                        ..first
                    },
                    draft,
                );
            }
            ids.push(id);
            n += IDS;
        }
        // A cursor of now is after all that is told of these, here or elsewhere.
        if !ids.is_empty() {
            state.head = state.head.max(EventId { n: n - 1, ..first });
        }
        self.trim_total(&mut state);
        drop(state);
        self.hubs.iter().for_each(Hub::ring);
        ids
    }

    /// The event of a collection's topic as it would have been told of with this mark.
    pub fn retold(&self, event: &Event, draft: Draft, mark: u64) -> Arc<Event> {
        let id = EventId {
            n: event.id.n + if self.is_following() { mark } else { 0 },
            ..event.id
        };
        Arc::new(Event::new(id, event.seq, draft, self.origin.clone()))
    }

    /// Up to where an event was of which something is told after a cursor with this mark.
    pub fn told_after(&self, cursor: EventId, mark: u64) -> EventId {
        if !self.is_following() {
            return cursor;
        }
        match cursor.n.checked_sub(mark) {
            Some(n) => EventId { n, ..cursor },
            None => EventId { n: 0, ..cursor }.before(),
        }
    }

    /// Nothing comes any more from before this place.
    pub fn reach(&self, at: Place) {
        let mut state = self.state();
        state.head = state.head.max(at.id().unwrap_or_default());
    }
}
