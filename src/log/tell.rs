//! Events that have come of something that was said in the relay's order: with the ids of its place, which are the same on
//! every replica.

use super::hub::Hub;
use super::{Draft, EventId, Log};
use crate::event::Place;

/// An event that all replicas have, and what this one tells of it on other topics. That has the same id, so that a cursor
/// of one of these topics means on other replicas what it means here. Who reads two of these topics on one stream, which
/// is of little use, gets two events with one id.
pub struct Told {
    /// What all have.
    pub event: Draft,
    /// What is told of it here.
    pub also: Vec<Draft>,
}

impl Log {
    /// Appends what has come of something that was said there, with nothing in between; the id of each event. None are
    /// appended when the place is not after all that is here.
    pub fn tell(&self, at: Place, told: Vec<Told>) -> Vec<EventId> {
        let mut state = self.state();
        let Some(first) = at.id().filter(|first| *first > state.head) else {
            return Vec::new();
        };
        let mut ids = Vec::with_capacity(told.len());
        let mut id = first;
        for one in told {
            self.append_one(&mut state, id, one.event);
            for draft in one.also {
                self.append_one(&mut state, id, draft);
            }
            ids.push(id);
            id = id.next(id.ms);
        }
        self.trim_total(&mut state);
        drop(state);
        self.hubs.iter().for_each(Hub::ring);
        ids
    }

    /// Nothing comes any more from before this place.
    pub fn reach(&self, at: Place) {
        let mut state = self.state();
        state.head = state.head.max(at.id().unwrap_or_default());
    }
}
