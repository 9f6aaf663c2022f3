//! The new rows: queries of rows yield more rows from them, and queries of groups keep their panes.
//!
//! A private database has the tables by their names, with nothing in them but the rows that have just come, so that a
//! query's own text can be run over these. A state machine: it is told the time and does a step.

mod behind;
mod fed;
mod groups;
mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use self::fed::Fed;
use self::groups::GroupsQuery;
use self::rows::RowsQuery;
use super::fill::Filled;
use super::query::{self, Key, Watch};
use super::shape::Shape;
use super::table::{Pulled, Row, Shared, Which};
use super::threads::Ask;
use super::{Counters, Limits, Outcome, Time};
use crate::event::Topic;
use crate::live::sandbox::Sandbox;
use crate::live::sql::{Class, Grouped};
use crate::problem::Problem;

/// How long rows may wait when nothing is due: the log does not retain them for ever.
const PAUSE: Duration = Duration::from_secs(1);

/// With nothing to keep fresh, only an ask wakes it.
const SLEEP: Duration = Duration::from_secs(3_600);

/// A run over the new rows may take this part of [`Limits::query_time`]: the others wait for it.
const PART: u32 = 4;

/// How often a run is tried again that found no memory, and after how long.
const TRIES: u32 = 20;
const BREATH: Duration = Duration::from_millis(10);

/// What is kept fresh by the new rows.
pub(super) struct Fresh<'s> {
    sandbox: &'s Sandbox,
    limits: Limits,
    counters: Arc<Counters>,
    tables: BTreeMap<Topic, Fed>,
    rows: BTreeMap<Key, RowsQuery>,
    groups: BTreeMap<Key, GroupsQuery>,
    shapes: BTreeMap<u64, Shape>,
    by_rows: HashMap<(Grouped, u64), u64>,
    shapes_made: u64,
    views: HashMap<u64, Key>,
    /// The last tick of each period.
    ticks: BTreeMap<u64, u64>,
    /// Queries that have no result yet and could have.
    unseen: BTreeSet<Key>,
    /// Queries of groups whose results are due and costly.
    results: BTreeSet<Key>,
    /// Whether anything is behind, and when it may catch up.
    is_behind: bool,
    catch_up_at: Duration,
    pulled_at: Duration,
    /// Whether it has taken new rows since it was told that there are many.
    has_looked: bool,
    wall_ms: u64,
    out: Vec<Ask>,
}

impl<'s> Fresh<'s> {
    pub(super) fn new(sandbox: &'s Sandbox, limits: Limits, counters: &Arc<Counters>) -> Fresh<'s> {
        Fresh {
            sandbox,
            limits,
            counters: counters.clone(),
            tables: BTreeMap::new(),
            rows: BTreeMap::new(),
            groups: BTreeMap::new(),
            shapes: BTreeMap::new(),
            by_rows: HashMap::new(),
            shapes_made: 0,
            views: HashMap::new(),
            ticks: BTreeMap::new(),
            unseen: BTreeSet::new(),
            results: BTreeSet::new(),
            is_behind: false,
            catch_up_at: Duration::ZERO,
            pulled_at: Duration::ZERO,
            has_looked: true,
            wall_ms: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn create(&mut self, shared: &Arc<Shared>) {
        let fed = Fed::new(shared);
        self.tables.insert(shared.schema.name.clone(), fed);
    }

    pub(super) fn forget(&mut self, name: &Topic) {
        let Some(fed) = self.tables.get(name) else {
            return;
        };
        let groups = self.groups.iter();
        let groups = groups.filter(|(_, query)| fed.shapes.contains(&query.shape));
        let ended: Vec<Key> = groups.map(|(key, _)| key.clone()).collect();
        for key in fed.rows.clone().into_iter().chain(ended) {
            self.fail(&key, &query::dropped(name));
        }
        if let Some(fed) = self.tables.remove(name) {
            self.sandbox.connection().flush_prepared_statement_cache();
            fed.batch.drop_table(self.sandbox);
        }
    }

    pub(super) fn watch(&mut self, watch: Watch) {
        let table = match &watch.plan.class {
            Class::Groups(groups) => Some(&groups.rows.table),
            _ => watch.plan.tables.first(),
        };
        let Some(table) = table
            .filter(|table| self.tables.contains_key(*table))
            .cloned()
        else {
            let problem = watch.plan.tables.first().map(query::dropped);
            let problem = problem.into_iter();
            problem.for_each(|problem| watch.told.tell(Outcome::Failed(problem)));
            return;
        };
        let key = watch.key();
        self.views.insert(watch.id, key.clone());
        self.ticks.entry(key.every_ms).or_default();
        match &watch.plan.clone().class {
            Class::Rows { ordered } => self.watch_rows(key, watch, table, ordered),
            Class::Groups(groups) => {
                // Without a window, the time makes no difference.
                let every_ms = groups.rows.window.as_ref().map_or(0, |_| key.every_ms);
                let shape = self.shape_of(&groups.rows, every_ms);
                self.watch_groups(key, watch, shape);
            }
            Class::Whole => {}
        }
        self.size_cache();
    }

    pub(super) fn unwatch(&mut self, id: u64) {
        let Some(key) = self.views.remove(&id) else {
            // It may be on its way to the other thread, and must not come after its own end.
            self.out.push(Ask::Unwatch(id));
            return;
        };
        self.unwatch_rows(&key, id);
        if let Some(query) = self.groups.get_mut(&key)
            && query.viewers.remove(id)
        {
            self.end_groups(&key);
        }
        self.tidy();
    }

    /// Has SQLite keep the statements of the queries that there are, and no others for long.
    fn size_cache(&self) {
        let queries = self.rows.len() + self.groups.len();
        let own = 4 * (self.shapes.len() + self.tables.len());
        let connection = self.sandbox.connection();
        connection.set_prepared_statement_cache_capacity(queries + own + 16);
    }

    /// Forgets what only the queries that are gone needed.
    fn tidy(&mut self) {
        self.size_cache();
        if self.rows.is_empty() && self.groups.is_empty() {
            self.ticks.clear();
            self.sandbox.connection().flush_prepared_statement_cache();
        }
    }

    /// Ends a query, and tells why.
    fn fail(&mut self, key: &Key, problem: &Problem) {
        let mut watches = self.end_rows(key);
        watches.append(&mut self.end_groups(key));
        for watch in watches {
            self.views.remove(&watch.id);
            watch.told.tell(Outcome::Failed(problem.clone()));
        }
        self.tidy();
    }

    /// Takes what a query or a shape begins with.
    pub(super) fn filled(&mut self, filled: Filled, now: &Time) {
        match filled {
            Filled::Newest { view, place, rows } => {
                self.begin_rows(view, place.place, rows, now);
                self.note_taken();
            }
            Filled::Groups {
                shape,
                program,
                place,
                panes,
            } => match panes {
                Ok(panes) => {
                    self.begin_groups(shape, program, place.place, panes);
                    self.note_taken();
                }
                Err(why) => self.give_up(shape, &why),
            },
        }
    }

    /// Says which events the others need not keep for it any more.
    fn note_taken(&self) {
        for fed in self.tables.values() {
            let place = (fed.readers > 0).then_some(fed.feed.place);
            fed.feed.shared.has_taken(Which::Fresh, place);
        }
    }

    /// Has the next step take the new rows.
    pub(super) fn look(&mut self) {
        self.has_looked = false;
    }

    /// Does what is due. What is to be asked of others; how long until there is something to do.
    pub(super) fn step(&mut self, now: &Time, out: &mut Vec<Ask>) -> Duration {
        let began = self.sandbox.now();
        self.look_at_clock(now);
        let shapes = self.shapes.values_mut();
        self.out
            .extend(shapes.filter_map(Shape::fill).map(Ask::Fill));
        let mut due = Vec::new();
        for (every_ms, last) in &mut self.ticks {
            let at = now.tick(*every_ms);
            if *last != at {
                *last = at;
                due.push(*every_ms);
            }
        }
        if !due.is_empty() || now.steady >= self.pulled_at + PAUSE || !self.has_looked {
            (self.pulled_at, self.has_looked) = (now.steady, true);
            let tables: Vec<Topic> = self.tables.keys().cloned().collect();
            for table in tables {
                self.advance(&table, now);
            }
        }
        for every_ms in due {
            self.tell(every_ms, now);
        }
        let unseen = std::mem::take(&mut self.unseen);
        self.evaluate_all(unseen, now);
        let behind = self.catch_up(now, began);
        self.note_taken();
        out.append(&mut self.out);
        let next = self.ticks.keys().map(|every_ms| now.until(*every_ms)).min();
        let next = next.map_or(SLEEP, |next| next.min(PAUSE));
        behind.map_or(next, |behind| behind.min(next))
    }

    /// Takes the new rows of a table: those that are there now, since what begins meanwhile begins after them.
    fn advance(&mut self, table: &Topic, now: &Time) {
        let Some(end) = self.tables.get(table).map(|fed| fed.feed.end()) else {
            return;
        };
        while let Some(fed) = self.tables.get(table)
            && fed.readers > 0
            && fed.feed.place < end
        {
            let pulled = fed.next(end);
            if pulled.missed > 0 {
                self.begin_again_all(table);
            }
            if let Err(error) = self.take(table, &pulled, now) {
                // It is tried again; who has had some of them does not get those twice.
                tracing::warn!("table {table}: new rows have to wait: {error}");
                return;
            }
            if let Some(fed) = self.tables.get_mut(table) {
                fed.goes_on(pulled.end);
            }
        }
    }

    /// The log has let go rows that were not taken: everything is begun anew, from those that are retained.
    fn begin_again_all(&mut self, table: &Topic) {
        let Some(fed) = self.tables.get(table) else {
            return;
        };
        tracing::warn!("table {table}: the log has let go new rows, so its queries begin anew");
        let (keys, shapes) = (fed.rows.clone(), fed.shapes.clone());
        for id in shapes {
            self.shapes.get_mut(&id).into_iter().for_each(Shape::tear);
        }
        for key in keys {
            if self
                .rows
                .get(&key)
                .is_some_and(|query| !query.viewers.is_empty())
            {
                self.begin_again(&key);
            }
        }
    }

    /// Runs everything over some new rows.
    fn take(&mut self, table: &Topic, pulled: &Pulled, now: &Time) -> rusqlite::Result<()> {
        let Some(fed) = self
            .tables
            .get_mut(table)
            .filter(|_| !pulled.rows.is_empty())
        else {
            return Ok(());
        };
        fed.batch.clear(self.sandbox);
        // The latest rows come first, and the others in front of them, as those want them who have had some already.
        let mut rest = &pulled.rows[..];
        for (place, keys) in fed.ahead(pulled) {
            let (before, after) = rest.split_at(rest.partition_point(|row| row.number < place));
            self.add(table, after)?;
            rest = before;
            for key in keys {
                if self
                    .rows
                    .get(&key)
                    .is_some_and(|query| query.place == place)
                {
                    self.run_rows(&key, now);
                    self.has_had(table, &key, pulled.end);
                }
            }
        }
        self.add(table, rest)?;
        self.run_all(table, pulled, now);
        if let Some(fed) = self.tables.get_mut(table) {
            fed.batch.clear(self.sandbox);
        }
        Ok(())
    }

    fn add(&mut self, table: &Topic, rows: &[Row]) -> rusqlite::Result<()> {
        let fed = self.tables.get_mut(table);
        fed.map_or(Ok(()), |fed| fed.batch.add(self.sandbox, rows))
    }

    fn has_had(&mut self, table: &Topic, key: &Key, place: u64) {
        if let (Some(query), Some(fed)) = (self.rows.get_mut(key), self.tables.get_mut(table)) {
            query.place = place;
            fed.goes_ahead(key, place);
        }
    }

    /// When the clock was turned back, windows have rows again that were let go.
    fn look_at_clock(&mut self, now: &Time) {
        if now.wall_ms < self.wall_ms {
            self.shapes.values_mut().for_each(Shape::tear);
        }
        self.wall_ms = now.wall_ms;
    }

    /// Tells what is due at a tick of this period.
    fn tell(&mut self, every_ms: u64, now: &Time) {
        let from = Key {
            every_ms,
            text: "".into(),
        };
        let of_it = |key: &Key| key.every_ms == every_ms;
        let rows = self.rows.range_mut(from.clone()..);
        let rows = rows.take_while(|(key, _)| of_it(key));
        rows.for_each(|(_, query)| query.flush());
        let groups = self.groups.range(from..).map(|(key, _)| key);
        let groups: Vec<Key> = groups.take_while(|key| of_it(key)).cloned().collect();
        let is_used = !groups.is_empty() || self.rows.keys().any(of_it);
        self.evaluate_all(groups, now);
        if !is_used {
            self.ticks.remove(&every_ms);
        }
    }

    /// Whether something waits for the others.
    #[cfg(test)]
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Queries, shapes, views and periods that there are.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize, usize, usize) {
        let queries = self.rows.len() + self.groups.len();
        (
            queries,
            self.shapes.len(),
            self.views.len(),
            self.ticks.len(),
        )
    }
}
