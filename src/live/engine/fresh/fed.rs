//! A table of which only new rows are here, a batch at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::live::engine::query::{self, Key};
use crate::live::engine::table::{Batch, Feed, Pulled, Shared};
use crate::live::sandbox::{Sandbox, Stopped};

/// Events that are looked at at once.
pub(super) const BATCH: usize = 10_000;

/// A table, and who reads its new rows.
pub(super) struct Fed {
    pub(super) feed: Feed,
    pub(super) batch: Batch,
    pub(super) rows: BTreeSet<Key>,
    pub(super) shapes: BTreeSet<u64>,
    /// Queries and shapes that want the next rows.
    pub(super) readers: usize,
    /// Queries of rows that have had the events before a place, which the others have not. One that has moved on since
    /// may still be here.
    ahead: BTreeMap<u64, BTreeSet<Key>>,
}

impl Fed {
    pub(super) fn new(shared: &Arc<Shared>) -> Fed {
        Fed {
            feed: Feed::new(shared),
            batch: Batch::new(&shared.schema),
            rows: BTreeSet::new(),
            shapes: BTreeSet::new(),
            readers: 0,
            ahead: BTreeMap::new(),
        }
    }

    /// When nobody has read its new rows, they begin at this place.
    pub(super) fn wake(&mut self, place: u64) {
        if self.readers == 0 {
            self.goes_on(place);
        }
    }

    /// A query has had the events before a place.
    pub(super) fn goes_ahead(&mut self, key: &Key, place: u64) {
        if place > self.feed.place {
            self.ahead.entry(place).or_default().insert(key.clone());
        }
    }

    /// Those that have had some of these events and not all, the furthest first.
    pub(super) fn ahead(&self, pulled: &Pulled) -> Vec<(u64, BTreeSet<Key>)> {
        let within = self.ahead.range(self.feed.place + 1..pulled.end);
        within.rev().map(|(p, keys)| (*p, keys.clone())).collect()
    }

    /// All have had the events before a place.
    pub(super) fn goes_on(&mut self, place: u64) {
        self.feed.place = place;
        self.ahead = self.ahead.split_off(&(place + 1));
    }

    /// The next events, up to a place.
    pub(super) fn next(&self, end: u64) -> Pulled {
        self.feed.read(self.feed.place, end, BATCH)
    }

    /// Has the rows among some events in SQLite, a batch after the other, and does something with each. False when the
    /// log has let go some of them.
    pub(super) fn each(
        &mut self,
        sandbox: &Sandbox,
        (mut from, end): (u64, u64),
        mut take: impl FnMut(&Pulled) -> Result<(), Stopped>,
    ) -> Result<bool, Stopped> {
        let mut missed = 0;
        let mut done = self.batch.make(sandbox).map_err(|e| query::own(&e));
        while from < end && done.is_ok() {
            let pulled = self.feed.read(from, end, BATCH);
            let loaded = self.batch.load(sandbox, &pulled.rows);
            done = loaded
                .map_err(|e| query::own(&e))
                .and_then(|()| take(&pulled));
            from = pulled.end;
            missed += pulled.missed;
        }
        self.batch.clear(sandbox);
        done.map(|()| missed == 0)
    }
}
