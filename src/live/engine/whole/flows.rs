//! Queries of the dialect take turns. Small pieces of work are before large ones, which are among all that takes long
//! (`large`). What can only be done at once is tried as a small piece first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::Whole;
use crate::event::Topic;
use crate::live::engine::flow::{Around, Begin, Flowing, Piece, Told};
use crate::live::engine::table::Shared;
use crate::live::engine::{Time, query};
use crate::problem::Problem;

/// How long the turn of small pieces is, at most about.
const TURN: Duration = Duration::from_millis(20);

/// Those that are under way.
#[derive(Default)]
pub(super) struct Flows {
    pub(super) all: BTreeMap<u64, Flowing>,
    /// Of small pieces, the one that was done last.
    last: u64,
    /// Counts the runs of large ones.
    pub(super) runs: u64,
}

impl Whole<'_> {
    /// Begins a query of the dialect.
    pub(in crate::live::engine) fn begin(&mut self, begin: Begin, now: &Time) {
        let shared = |(name, _): &(Topic, u64)| {
            let kept = self.tables.get(name);
            kept.map(|kept| kept.feed.shared.clone())
        };
        let tables: Option<Vec<Arc<Shared>>> = begin.places.iter().map(shared).collect();
        let all = begin.flow.about.streams.len();
        match tables.filter(|tables| tables.len() == all) {
            Some(tables) => {
                let flowing = Flowing::new(begin, tables, self.flows.runs, now);
                self.flows.all.insert(flowing.id(), flowing);
                self.size_cache();
            }
            None => {
                let detail =
                    "a stream of the query was dropped; create it again, or ask for another";
                let problem = Problem::new(StatusCode::GONE, "table-dropped", detail);
                begin.reader.tell(Told::Ended(Err(problem)));
            }
        }
    }

    /// Nobody reads it any more.
    pub(in crate::live::engine) fn leave(&mut self, id: u64) {
        if let Some(flowing) = self.flows.all.remove(&id) {
            flowing.end(self.sandbox);
        }
        if self.flows.all.is_empty() && self.reruns.is_empty() {
            self.sandbox.connection().flush_prepared_statement_cache();
        }
    }

    /// Up to which row the table of a query has its rows; 0 while another of its tables has not.
    pub(super) fn taken(&self, flowing: &Flowing) -> u64 {
        let place = |name: &Topic| self.tables.get(name).map_or(0, |kept| kept.feed.place);
        let (first, others) = match flowing.places().split_first() {
            Some(((name, _), others)) => (place(name), others),
            None => return 0,
        };
        let have_all = others.iter().all(|(name, end)| place(name) >= *end);
        if have_all { first } else { 0 }
    }

    /// How long until there is something to do for one of them.
    pub(super) fn pause(&self, flowing: &Flowing, now: &Time) -> Option<Duration> {
        let pause = flowing.pause(self.taken(flowing), now)?;
        Some(match flowing.is_large() {
            true => pause.max(self.large.pause(now)),
            false => pause,
        })
    }

    fn is_due(&self, flowing: &Flowing, now: &Time) -> bool {
        self.pause(flowing, now) == Some(Duration::ZERO)
    }

    /// Does small pieces of work, as many as a turn has room for. Whether there was something to do.
    pub(super) fn flow(&mut self, now: &Time) -> bool {
        let all = &self.flows.all;
        let after = all
            .range(self.flows.last + 1..)
            .chain(all.range(..=self.flows.last));
        let small = after.filter(|(_, flowing)| !flowing.is_large() && self.is_due(flowing, now));
        let small: Vec<u64> = small.map(|(id, _)| *id).collect();
        let began = Instant::now();
        for id in &small {
            self.piece(*id, now);
            self.flows.last = *id;
            if began.elapsed() > TURN {
                break;
            }
        }
        self.hold_states();
        !small.is_empty()
    }

    /// Holds what all groups hold to its limit: whoever has most goes.
    fn hold_states(&mut self) {
        let held = |flows: &Flows| flows.all.values().map(Flowing::held).sum::<usize>();
        while held(&self.flows) > self.limits.states_bytes {
            let most = self.flows.all.values().max_by_key(|flowing| flowing.held());
            let Some(id) = most.map(Flowing::id) else {
                return;
            };
            if let Some(flowing) = self.flows.all.get(&id) {
                flowing.tell(Told::Ended(Err(query::too_much_held(&self.limits))));
            }
            self.leave(id);
        }
    }

    /// Does a large piece of work: by turns of the one that has waited longest, and of the one that has had least. Whether
    /// there was one.
    pub(super) fn large_flow(&mut self, now: &Time, by_cost: bool) -> bool {
        let all = self.flows.all.values();
        let due = all.filter(|f| f.is_large() && self.is_due(f, now));
        let next = due.min_by_key(|flowing| {
            let had = if by_cost {
                flowing.quantum
            } else {
                Duration::ZERO
            };
            (had, flowing.ran, flowing.id())
        });
        let Some(id) = next.map(Flowing::id) else {
            return false;
        };
        self.piece(id, now);
        self.hold_states();
        true
    }

    fn piece(&mut self, id: u64, now: &Time) {
        let Some(flowing) = self.flows.all.get(&id) else {
            return;
        };
        let taken = self.taken(flowing);
        let first = flowing.places().first();
        let kept = first.and_then(|(name, _)| self.tables.get(name));
        let around = Around {
            sandbox: self.sandbox,
            limits: &self.limits,
            now: *now,
            bytes: &|numbers| kept.map_or(0, |kept| kept.bytes_of(numbers)),
        };
        let Some(flowing) = self.flows.all.get_mut(&id) else {
            return;
        };
        if flowing.is_large() {
            self.flows.runs += 1;
            flowing.ran = self.flows.runs;
        }
        if let Piece::Ended(how) = flowing.step(taken, &around) {
            flowing.tell(Told::Ended(how));
            self.leave(id);
        }
    }
}
