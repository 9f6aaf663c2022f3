//! What takes long comes after what does not: first results that go on in pieces, and queries over all rows that a short
//! time was not enough for. There is one of them at a time, and all together no more than half of the time while there is
//! somebody else: one that runs as long as it may is waited for, and not twenty of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Whole;
use crate::live::engine::Time;
use crate::live::engine::fill::{Fill, Filled};

/// What takes less needs no pause after it.
const SHORT: Duration = Duration::from_millis(20);

/// First results, queries that run again, and queries of the dialect: each kind has its turn.
const KINDS: u64 = 3;

/// What is known to take long.
#[derive(Default)]
pub(super) struct Large {
    /// First results that have been begun, or tried.
    pub(super) fills: VecDeque<Fill>,
    /// When the next of all may be.
    not_before: Duration,
    /// Counts the turns.
    turns: u64,
}

impl Large {
    /// How long until something may be done.
    pub(super) fn pause(&self, now: &Time) -> Duration {
        self.not_before.saturating_sub(now.steady)
    }
}

impl Whole<'_> {
    /// Does something that takes long, if there is anything and it may be. Whether there was.
    pub(super) fn step_large(&mut self, now: &Time, filled: &mut Vec<Filled>) -> bool {
        if self.large.pause(now) > Duration::ZERO {
            return false;
        }
        let began = Instant::now();
        self.large.turns += 1;
        let turn = self.large.turns;
        // By turns the one that has had least time, so that what takes little has not to wait for all that takes much, and
        // the one that has waited longest.
        let by_cost = (turn / KINDS).is_multiple_of(2);
        let is_done = (0..KINDS).any(|kind| match (turn + kind) % KINDS {
            0 => self.large_fill(now, by_cost, filled),
            1 => self.large_rerun(now, by_cost),
            _ => self.large_flow(now, by_cost),
        });
        let took = began.elapsed();
        if is_done && took > SHORT && !self.is_alone() {
            self.large.not_before = now.steady + took * 2;
        }
        is_done
    }

    /// Whether there is nobody else.
    fn is_alone(&self) -> bool {
        self.reruns.values().all(|rerun| rerun.quantum.is_large())
            && self.flows.all.values().all(|flowing| flowing.is_large())
    }

    fn large_fill(&mut self, now: &Time, by_cost: bool, filled: &mut Vec<Filled>) -> bool {
        let fills = self.large.fills.iter().enumerate();
        let cheapest = fills.min_by_key(|(index, fill)| (fill.cost(), *index));
        let Some((index, _)) = cheapest else {
            return false;
        };
        let next = self.large.fills.remove(if by_cost { index } else { 0 });
        filled.extend(next.and_then(|fill| self.filled(fill, now)));
        true
    }

    fn large_rerun(&mut self, now: &Time, by_cost: bool) -> bool {
        let due = self.reruns.iter();
        let due = due.filter(|(_, rerun)| rerun.quantum.is_large() && rerun.may_run(now));
        let next = due.min_by_key(|(_, rerun)| {
            let time = if by_cost {
                rerun.quantum.time()
            } else {
                Duration::ZERO
            };
            (time, rerun.ran)
        });
        let Some(key) = next.map(|(key, _)| key.clone()) else {
            return false;
        };
        self.run(&key, now);
        true
    }

    /// Whether something that takes long waits for its time.
    #[cfg(test)]
    pub(in crate::live::engine) fn has_to_wait(&self, now: &Time) -> bool {
        let mut reruns = self.reruns.values();
        self.large.pause(now) > Duration::ZERO
            && (!self.large.fills.is_empty()
                || reruns.any(|rerun| rerun.quantum.is_large() && rerun.may_run(now)))
    }
}
