//! Who has written and waits until his changes are told. A write draws a token, which the triggers put into the outbox;
//! whoever reads it there tells its change and knows by the token whom to wake.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::oneshot;

use crate::event::EventId;
use crate::store::name::{Collection, Id};
use crate::store::write::{Change, Kind};

/// What is expected to be told of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) collection: Collection,
    pub(super) id: Id,
    pub(super) kind: Kind,
    pub(super) version: u64,
}

impl Expected {
    fn is(&self, change: &Change) -> bool {
        self.version == change.version
            && self.kind == change.kind
            && self.id == change.id
            && self.collection == change.collection
    }
}

/// All who wait.
#[derive(Default)]
pub(super) struct Waiting {
    by_token: Mutex<HashMap<i64, One>>,
}

struct One {
    expected: Vec<Expected>,
    told: Vec<Option<EventId>>,
    /// The first that is not told yet.
    next: usize,
    done: oneshot::Sender<Vec<EventId>>,
}

/// One who waits; when it is dropped nobody does.
pub(super) struct Ticket<'w> {
    waiting: &'w Waiting,
    pub(super) token: i64,
    pub(super) told: oneshot::Receiver<Vec<EventId>>,
}

impl Waiting {
    /// From now on these changes, in this order, are waited for.
    pub(super) fn expect(&self, token: i64, expected: Vec<Expected>) -> Ticket<'_> {
        let (done, told) = oneshot::channel();
        let one = One {
            told: vec![None; expected.len()],
            expected,
            next: 0,
            done,
        };
        self.all().insert(token, one);
        Ticket {
            waiting: self,
            token,
            told,
        }
    }

    /// A change of a write was told. A trigger of the table's own may have added others to it.
    pub(super) fn told(&self, token: i64, change: &Change, id: EventId) {
        let mut all = self.all();
        let Some(one) = all.get_mut(&token) else {
            return;
        };
        let mut open = (one.next..one.expected.len()).filter(|at| one.told[*at].is_none());
        if let Some(at) = open.find(|at| one.expected[*at].is(change)) {
            one.told[at] = Some(id);
        }
        while one.told.get(one.next).is_some_and(Option::is_some) {
            one.next += 1;
        }
        if one.next == one.told.len()
            && let Some(one) = all.remove(&token)
        {
            // Who asked may have left.
            let _ = one.done.send(one.told.into_iter().flatten().collect());
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<i64, One>> {
        self.by_token
            .lock()
            .expect("nothing panics while tokens are looked at")
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.waiting.all().remove(&self.token);
    }
}

/// A token that no other write has.
pub(super) fn token() -> i64 {
    fastrand::i64(1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: i64, version: u64, kind: Kind) -> Change {
        Change {
            seq: 0,
            collection: Collection::new("items").expect("a name"),
            kind,
            id: Id::Integer(id),
            version,
            document: None,
            before: None,
            patch: None,
        }
    }

    fn expected(change: &Change) -> Expected {
        Expected {
            collection: change.collection.clone(),
            id: change.id.clone(),
            kind: change.kind,
            version: change.version,
        }
    }

    fn event(n: u64) -> EventId {
        EventId { ms: 1, n }
    }

    #[test]
    fn who_waits_hears_of_each_of_his_changes_in_his_order() {
        let waiting = Waiting::default();
        let changes = [
            change(1, 1, Kind::Added),
            change(1, 1, Kind::Deleted),
            change(1, 1, Kind::Added),
            change(2, 1, Kind::Added),
        ];
        let mut ticket = waiting.expect(5, changes.iter().map(expected).collect());
        waiting.told(6, &changes[0], event(0));
        for (n, at) in [0, 1, 3, 3, 2].into_iter().enumerate() {
            assert!(ticket.told.try_recv().is_err());
            waiting.told(5, &changes[at], event(n as u64));
        }
        let told = ticket.told.try_recv().expect("all are told");
        assert_eq!(told, [event(0), event(1), event(4), event(2)]);
    }

    #[test]
    fn nobody_waits_who_has_left() {
        let waiting = Waiting::default();
        drop(waiting.expect(5, vec![expected(&change(1, 1, Kind::Added))]));
        assert!(waiting.all().is_empty());
    }
}
