//! What is costly does not keep the others waiting: it comes after them, and beyond its room in a pass it stays behind
//! and catches up later, for no more than half of the thread's time. What cannot is ended, or run over all rows.

use std::time::Duration;

use super::Fresh;
use crate::event::Topic;
use crate::live::engine::Time;
use crate::live::engine::late::Late;
use crate::live::engine::query::{self, Key};
use crate::live::engine::table::Pulled;
use crate::live::sandbox::Stopped;
use crate::problem::Problem;

/// What takes this part of [`crate::live::engine::Limits::query_time`] or more is costly: it may have to wait.
const COSTLY: u32 = 500;

/// The part of it that costly ones have in one pass, and at once when they catch up.
const ROOM: u32 = 10;

/// How long something may be behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// Events that are given at once to what has never run.
const FEW: usize = 1_000;

/// Something that is kept fresh by new rows.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    Rows(Key),
    Shape(u64),
}

impl Fresh<'_> {
    /// The time that costly ones have at once.
    fn room(&self) -> Duration {
        self.limits.query_time / ROOM
    }

    /// How long it is since then.
    fn took(&self, began: Duration) -> Duration {
        self.sandbox.now().saturating_sub(began)
    }

    /// Whether something has to wait that will take so long, when so much time has gone for others.
    fn has_to_wait(&self, cost: Option<Duration>, gone: Duration) -> bool {
        cost.is_none_or(|cost| cost >= self.limits.query_time / COSTLY) && gone > self.room()
    }

    fn late(&mut self, turn: &Turn) -> Option<&mut Late> {
        match turn {
            Turn::Rows(key) => self.rows.get_mut(key).map(|query| &mut query.late),
            Turn::Shape(id) => self.shapes.get_mut(id).map(|shape| &mut shape.late),
        }
    }

    /// Runs everything over some rows that has not had them, the cheapest first.
    pub(super) fn run_all(&mut self, table: &Topic, pulled: &Pulled, now: &Time) {
        let Some(fed) = self.tables.get(table) else {
            return;
        };
        let (first, rows) = (fed.feed.place, pulled.rows.len());
        let keys = fed.rows.iter().filter(|key| {
            let query = self.rows.get(*key);
            query.is_some_and(|query| query.place <= first && query.is_read())
        });
        let turns = keys.cloned().map(Turn::Rows);
        let turns: Vec<Turn> = turns
            .chain(fed.shapes.iter().copied().map(Turn::Shape))
            .collect();
        let mut costs: Vec<(Option<Duration>, Turn)> = Vec::with_capacity(turns.len());
        for turn in turns {
            if let Some(late) = self.late(&turn)
                && late.place.is_none()
            {
                costs.push((late.cost(rows), turn));
            }
        }
        costs.sort_by_key(|(cost, _)| cost.unwrap_or_default());
        let began = self.sandbox.now();
        for (cost, turn) in costs {
            if self.has_to_wait(cost, self.took(began)) {
                let place = match &turn {
                    Turn::Rows(_) => first,
                    Turn::Shape(id) => self.shapes.get(id).map_or(first, |s| s.place.max(first)),
                };
                if let Some(late) = self.late(&turn) {
                    late.stay(place, now.steady);
                }
                self.is_behind = true;
            } else {
                self.run_turn(&turn, pulled, now);
            }
        }
    }

    fn run_turn(&mut self, turn: &Turn, pulled: &Pulled, now: &Time) {
        let began = self.sandbox.now();
        match turn {
            Turn::Rows(key) => self.run_rows(key, now),
            Turn::Shape(id) => self.add_to_shape(*id, pulled),
        }
        let (rows, took) = (pulled.rows.len(), self.took(began));
        if let Some(late) = self.late(turn) {
            late.ran(rows, took);
        }
    }

    /// Evaluates some queries of groups, the cheapest first; those that have no room are evaluated later.
    pub(super) fn evaluate_all(&mut self, keys: impl IntoIterator<Item = Key>, now: &Time) {
        let cost = |key: &Key| self.groups.get(key).and_then(|query| query.took);
        let costs = keys.into_iter().map(|key| (cost(&key), key));
        let mut costs: Vec<(Option<Duration>, Key)> = costs.collect();
        costs.sort_by_key(|(cost, _)| cost.unwrap_or_default());
        let began = self.sandbox.now();
        for (cost, key) in costs {
            match self.has_to_wait(cost, self.took(began)) {
                true => {
                    self.results.insert(key);
                    self.is_behind = true;
                }
                false => self.evaluate_timed(&key, now),
            }
        }
    }

    fn evaluate_timed(&mut self, key: &Key, now: &Time) {
        let began = self.sandbox.now();
        self.results.remove(key);
        self.evaluate(key, now);
        let took = self.took(began);
        if let Some(query) = self.groups.get_mut(key) {
            query.took = Some(took);
        }
    }

    /// What is behind its table.
    fn behind(&self) -> impl Iterator<Item = (Turn, &Late)> {
        let rows = self.rows.iter().filter(|(_, q)| q.late.place.is_some());
        let rows = rows.map(|(key, query)| (Turn::Rows(key.clone()), &query.late));
        let shapes = self.shapes.iter();
        let shapes = shapes.filter(|(_, shape)| shape.late.place.is_some());
        rows.chain(shapes.map(|(id, shape)| (Turn::Shape(*id), &shape.late)))
    }

    /// Lets what is behind catch up for a while. How long until it may again, if there is anything left; `began` is when
    /// the time was `now`.
    pub(super) fn catch_up(&mut self, now: &Time, began: Duration) -> Option<Duration> {
        if !self.is_behind {
            return None;
        }
        let at = now.steady + self.took(began);
        if at >= self.catch_up_at {
            self.end_late(at);
            let own = self.sandbox.now();
            self.evaluate_late(now);
            self.run_late(now);
            // As long for the others.
            self.catch_up_at = at + self.took(own) * 2;
        }
        let left = self
            .catch_up_at
            .saturating_sub(now.steady + self.took(began));
        self.is_behind = !self.results.is_empty() || self.behind().next().is_some();
        self.is_behind.then_some(left)
    }

    fn evaluate_late(&mut self, now: &Time) {
        let began = self.sandbox.now();
        let cost = |key: &Key| self.groups.get(key).and_then(|query| query.took);
        let mut keys: Vec<_> = self.results.iter().map(|k| (cost(k), k.clone())).collect();
        keys.sort_by_key(|(cost, _)| *cost);
        for (_, key) in keys {
            self.evaluate_timed(&key, now);
            if self.took(began) > self.room() {
                return;
            }
        }
    }

    /// Runs the cheapest of those that are behind, and those that are where it is.
    fn run_late(&mut self, now: &Time) {
        let cheapest = self
            .behind()
            .min_by_key(|(_, late)| late.cost(1).unwrap_or_default());
        let Some((turn, late)) = cheapest else {
            return;
        };
        let room = self.room();
        let most = late.rows_within(room).map_or(FEW, |rows| rows.max(1));
        let place = late.place.unwrap_or_default();
        let Some(table) = self.table_of(&turn) else {
            return;
        };
        let there = self.behind().filter(|(_, late)| late.place == Some(place));
        let mut there: Vec<(Option<Duration>, Turn)> = there
            .filter(|(turn, _)| self.table_of(turn).as_ref() == Some(&table))
            .map(|(turn, late)| (late.cost(1), turn))
            .collect();
        there.sort_by_key(|(cost, _)| cost.unwrap_or_default());
        let Some(fed) = self.tables.get_mut(&table) else {
            return;
        };
        let end = fed.feed.place;
        let pulled = fed.feed.read(place, end, most.min(super::fed::BATCH));
        if pulled.missed > 0 {
            there.iter().for_each(|(_, turn)| self.lose(turn));
            return;
        }
        if let Err(error) = fed.batch.load(self.sandbox, &pulled.rows) {
            tracing::warn!("table {table}: rows have to wait: {error}");
            return;
        }
        let began = self.sandbox.now();
        for (_, turn) in there {
            if !pulled.rows.is_empty() {
                self.run_turn(&turn, &pulled, now);
            }
            if let Some(late) = self.late(&turn) {
                late.go_on(pulled.end, end);
            }
            if self.took(began) > room {
                break;
            }
        }
        if let Some(fed) = self.tables.get_mut(&table) {
            fed.batch.clear(self.sandbox);
        }
    }

    fn table_of(&self, turn: &Turn) -> Option<Topic> {
        match turn {
            Turn::Rows(key) => self.rows.get(key).map(|query| query.table.clone()),
            Turn::Shape(id) => self.shapes.get(id).map(|shape| shape.table().clone()),
        }
    }

    /// Ends the costlier half of what has been behind for too long: there may be room for the others then.
    fn end_late(&mut self, now: Duration) {
        let late = self.behind();
        let late = late.filter(|(_, late)| now.saturating_sub(late.since) > PATIENCE);
        let mut late: Vec<_> = late.map(|(turn, late)| (late.cost(1), turn)).collect();
        late.sort_by_key(|(cost, _)| *cost);
        let stay = late.len() / 2;
        for (_, turn) in late.drain(stay..) {
            self.lose(&turn);
        }
        for (_, turn) in late {
            if let Some(late) = self.late(&turn) {
                late.since = now;
            }
        }
    }

    /// It cannot go on with the new rows.
    fn lose(&mut self, turn: &Turn) {
        match turn {
            Turn::Rows(key) => {
                let problem = self.too_slow();
                self.fail(key, &problem);
            }
            // Nothing is lost of groups that are made of all rows.
            Turn::Shape(id) => self.give_up(*id, &Stopped::Time),
        }
    }

    fn too_slow(&self) -> Problem {
        let problem = query::stopped(Stopped::Time, &self.limits);
        Problem {
            detail: format!(
                "the query computes more over the new rows than there is time for, beside the others, and was more than {PATIENCE:?} late (a part of query-time for each batch of rows); let it compute less"
            )
            .into(),
            ..problem
        }
    }
}
