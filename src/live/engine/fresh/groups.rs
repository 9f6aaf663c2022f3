//! Queries of groups: states are kept by the new rows, and results made from their totals.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Fresh, PART, TRIES};
use crate::live::engine::panes::{Panes, Program};
use crate::live::engine::query::{self, Key, Select, Viewers, Watch};
use crate::live::engine::shape::{NoTotals, Shape};
use crate::live::engine::table::Pulled;
use crate::live::engine::threads::Ask;
use crate::live::engine::{Outcome, Rows, Time};
use crate::live::sandbox::Stopped;
use crate::live::sql::{Class, Grouped};
use crate::problem::Problem;

pub(super) struct GroupsQuery {
    pub(super) shape: u64,
    aggregates: Vec<String>,
    select: Select,
    pub(super) viewers: Viewers,
    last: Option<Rows>,
    /// The version of the totals that the last result is of.
    seen: u64,
    /// How long it took to evaluate it last.
    pub(super) took: Option<Duration>,
    /// Ticks without memory for it.
    tries: u32,
}

impl Fresh<'_> {
    pub(super) fn shape_of(&mut self, grouped: &Grouped, every_ms: u64) -> u64 {
        let room = self.counters.room(&self.limits);
        let made = &mut self.shapes_made;
        let id = *self
            .by_rows
            .entry((grouped.clone(), every_ms))
            .or_insert_with(|| {
                *made += 1;
                *made
            });
        self.shapes
            .entry(id)
            .or_insert_with(|| Shape::new(id, grouped, every_ms, room));
        if let Some(fed) = self.tables.get_mut(&grouped.table) {
            fed.shapes.insert(id);
        }
        id
    }

    pub(super) fn watch_groups(&mut self, key: Key, watch: Watch, id: u64) {
        let (Class::Groups(groups), Some(shape)) = (&watch.plan.class, self.shapes.get_mut(&id))
        else {
            return;
        };
        let query = self.groups.entry(key.clone()).or_insert_with(|| {
            shape.join(&groups.aggregates);
            GroupsQuery {
                shape: id,
                aggregates: groups.aggregates.iter().map(|a| a.name.clone()).collect(),
                select: Select::new(shape.totals.under(&groups.result)),
                viewers: Viewers::new(2),
                last: None,
                seen: 0,
                took: None,
                tries: 0,
            }
        });
        match &query.last {
            Some(last) => watch.told.tell(Outcome::Whole(last.clone())),
            None => drop(self.unseen.insert(key)),
        }
        query.viewers.add(watch);
    }

    pub(super) fn end_groups(&mut self, key: &Key) -> Vec<Watch> {
        self.unseen.remove(key);
        self.results.remove(key);
        let Some(mut query) = self.groups.remove(key) else {
            return Vec::new();
        };
        if let Some(shape) = self.shapes.get_mut(&query.shape) {
            shape.queries -= 1;
            if shape.queries == 0 {
                self.end_shape(query.shape);
            }
        }
        query.viewers.take()
    }

    fn end_shape(&mut self, id: u64) {
        let Some(shape) = self.shapes.remove(&id) else {
            return;
        };
        self.by_rows.retain(|_, other| *other != id);
        self.sandbox.connection().flush_prepared_statement_cache();
        shape.totals.drop_table(self.sandbox);
        if let Some(fed) = self.tables.get_mut(shape.table()) {
            fed.shapes.remove(&id);
            fed.readers -= usize::from(shape.program.is_some());
        }
    }

    /// Gives the queries of a shape to those who can run them one by one, so that only those fail that must. What has
    /// no room for its groups would have none there either.
    pub(super) fn give_up(&mut self, shape: u64, why: &Stopped) {
        if *why == Stopped::Groups {
            let problem = query::stopped(why.clone(), &self.limits);
            return self.fail_shape(shape, &problem);
        }
        tracing::warn!("queries of groups are run again over all rows from now on: {why}");
        let of_it = self.groups.iter().filter(|(_, query)| query.shape == shape);
        let keys: Vec<Key> = of_it.map(|(key, _)| key.clone()).collect();
        for key in keys {
            for watch in self.end_groups(&key) {
                self.views.remove(&watch.id);
                self.out.push(Ask::Watch(watch));
            }
        }
        self.tidy();
    }

    /// Has a shape go on from what it was of before an event.
    pub(super) fn begin_groups(
        &mut self,
        id: u64,
        program: Arc<Program>,
        place: u64,
        mut panes: Panes,
    ) {
        let Some(shape) = self.shapes.get_mut(&id) else {
            return;
        };
        let Some(fed) = self.tables.get_mut(shape.table()) else {
            return;
        };
        fed.wake(place);
        let (sandbox, time) = (self.sandbox, self.limits.query_time);
        let floor = program.floor(shape.tick);
        let all = fed.each(sandbox, (place, fed.feed.place), |pulled| {
            let mut blocks = pulled.blocks().into_iter();
            blocks.try_for_each(|(block, numbers)| {
                program.add(sandbox, time, block, numbers, floor, &mut panes)
            })
        });
        match all {
            Ok(true) => {}
            Ok(false) => return shape.is_of_no_use(),
            Err(why) => return self.give_up(id, &why),
        }
        shape.place = place.max(fed.feed.place);
        shape.late.place = None;
        fed.readers += usize::from(shape.program.is_none());
        shape.filled(program, panes);
    }

    /// Makes a query's result from the totals, and tells it when it is another.
    pub(super) fn evaluate(&mut self, key: &Key, now: &Time) {
        let Some(query) = self.groups.get_mut(key) else {
            return;
        };
        let Some(shape) = self.shapes.get_mut(&query.shape) else {
            return;
        };
        if !shape.has_all(&query.aggregates) || shape.late.place.is_some() {
            // It is told when what it needs has come.
            self.unseen.insert(key.clone());
            return;
        }
        let first = self.tables.get(shape.table());
        let first = first.map_or(0, |fed| fed.feed.shared.first.load(Ordering::Acquire));
        let at = now.tick(key.every_ms);
        match shape.settle(self.sandbox, at, first, self.limits.groups) {
            Ok(()) => {}
            Err(NoTotals::Torn) => {
                self.unseen.insert(key.clone());
                return;
            }
            // There will be memory again.
            Err(NoTotals::Stopped(Stopped::Memory)) => return,
            Err(NoTotals::Stopped(why)) => {
                let shape = query.shape;
                return self.give_up(shape, &why);
            }
            Err(NoTotals::TooMany) => {
                let (shape, problem) = (query.shape, query::too_many_groups(&self.limits));
                return self.fail_shape(shape, &problem);
            }
        }
        if query.last.is_some() && query.seen == shape.version {
            return;
        }
        if query
            .aggregates
            .iter()
            .any(|name| shape.broken.contains(name))
        {
            let problem = Stopped::Other("integer overflow".to_owned());
            return self.fail(key, &query::stopped(problem, &self.limits));
        }
        let began = Instant::now();
        let result = query.select.whole(self.sandbox, at, &self.limits);
        query.viewers.ran(began.elapsed());
        self.counters.runs[1].fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(rows) => {
                query.seen = shape.version;
                if query.last.as_ref() != Some(&rows) {
                    query.viewers.tell(&Outcome::Whole(rows.clone()));
                    query.last = Some(rows);
                }
                query.tries = 0;
            }
            Err(problem) if problem.kind == query::MEMORY && query.tries < TRIES => {
                query.tries += 1
            }
            Err(problem) => self.fail(key, &problem),
        }
    }

    fn fail_shape(&mut self, shape: u64, problem: &Problem) {
        let of_it = self.groups.iter().filter(|(_, query)| query.shape == shape);
        let keys: Vec<Key> = of_it.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.fail(key, problem));
    }

    /// Adds the rows that are there to what is kept of a shape.
    pub(super) fn add_to_shape(&mut self, id: u64, pulled: &Pulled) {
        let Some(shape) = self.shapes.get_mut(&id) else {
            return;
        };
        let Some(program) = shape.program.clone() else {
            return;
        };
        let time = self.limits.query_time / PART;
        let floor = shape.floor();
        for (block, numbers) in pulled.blocks() {
            let numbers = numbers.start.max(shape.place)..numbers.end;
            if numbers.is_empty() {
                continue;
            }
            match program.add(self.sandbox, time, block, numbers, floor, &mut shape.panes) {
                Ok(()) => {}
                Err(Stopped::Memory) => return shape.tear(),
                Err(why) => return self.give_up(id, &why),
            }
        }
    }
}
