//! What the relay's order says of the outbox: whose turn it is to tell what is in it, and how far it was told.
//!
//! Whoever begins a turn there ends all that began before: what comes of those later does not count, on no replica. So each
//! change is told once, whoever believes meanwhile that it is his turn; and who begins knows, as soon as that comes back
//! to him, up to which place others have told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Weak};

use super::Shared;
use super::outbox::Place;
use super::word::{self, What, Word};
use crate::event::EventId;
use crate::log;
use crate::log::Party;
use crate::problem::Problem;
use crate::store::write::Change;

/// As far as it has come here.
pub(super) struct Order {
    /// Names the database.
    pub(super) store: String,
    state: Mutex<State>,
    is_strange: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Names the turn, which has begun here.
    claim: String,
    since: EventId,
    /// Where something was told last, and up to which place of the outbox.
    told: Option<(EventId, Place)>,
}

impl Order {
    /// Nothing is known of it yet.
    pub(super) fn new(store: String) -> Order {
        Order {
            store,
            state: Mutex::default(),
            is_strange: AtomicBool::new(false),
        }
    }

    /// Where this turn has begun, if it is not over.
    pub(super) fn since(&self, claim: &str) -> Option<EventId> {
        let state = self.state();
        (state.claim == claim).then_some(state.since)
    }

    /// Where something was told last, and up to which place of the outbox.
    pub(super) fn told(&self) -> Option<(EventId, Place)> {
        self.state().told.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// Whether it is about this database.
    fn is_ours(&self, word: &Word) -> bool {
        let is_ours = word.store == self.store;
        if !is_ours && !self.is_strange.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "store: another server of this relay has its collections in another database, and their changes are not told here: give all the same --store"
            );
        }
        is_ours
    }
}

impl State {
    /// Whether what is said in this turn counts. One that began later than what is known here began before this replica
    /// has read the order.
    fn takes(&mut self, claim: &str, since: EventId) -> bool {
        if self.claim != claim && since > self.since {
            claim.clone_into(&mut self.claim);
            self.since = since;
        }
        self.claim == claim
    }
}

/// To whom words of an outbox are said.
pub(super) const STORE: &str = "store";

/// What kind of problem it is that another server has begun a turn.
pub(super) const PASSED_OVER: &str = "passed-over";

/// A store that hears what is said.
pub(super) struct Hearing(pub(super) Weak<Shared>);

impl Party for Hearing {
    fn hear(&self, said: &log::Word) -> Result<(), Problem> {
        let (Some(shared), Some(id)) = (self.0.upgrade(), said.place.id()) else {
            return Err(passed_over());
        };
        let word = word::read(said.text)?;
        if !shared.order.is_ours(&word) {
            return Err(passed_over());
        }
        let mut state = shared.order.state();
        let to = match word.what {
            What::Begins => {
                state.claim = word.claim;
                state.since = id;
                return Ok(());
            }
            What::Tells(since, ..) | What::Loses(since, _) if !state.takes(&word.claim, since) => {
                return Err(passed_over());
            }
            What::Tells(_, to, told) => {
                let announce =
                    |changes: &[Change]| shared.announcer.announce_at(said.place, changes);
                shared.tell(told, announce);
                to
            }
            What::Loses(_, to) => {
                shared.lose(|| shared.announcer.lose_at(said.place));
                to
            }
        };
        state.told = Some((id, to));
        Ok(())
    }
}

/// It came too late.
pub(super) fn passed_over() -> Problem {
    Problem::unavailable(PASSED_OVER, "another server tells what is in the outbox")
}
