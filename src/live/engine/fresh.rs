//! The new rows: queries of rows yield more rows from them, and queries of groups keep their panes.
//!
//! A private database has the tables by their names, with nothing in them but the rows that have just come, so that a
//! query's own text can be run over these. A state machine: it is told the time and does a step.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::encode::Written;
use super::fill::{Fill, Filled};
use super::panes::{self, Panes, Program};
use super::query::{self, Key, Select, Viewers, Watch};
use super::shape::{NoTotals, Shape};
use super::table::{Batch, Feed, Shared};
use super::threads::Ask;
use super::{Counters, Limits, Outcome, Rows, Time};
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::sql::{Class, Grouped};
use crate::log::Log;
use crate::problem::Problem;

/// Events that are looked at at once.
const BATCH: usize = 10_000;

/// How long rows may wait when nothing is due: the log does not retain them for ever.
const PAUSE: Duration = Duration::from_secs(1);

/// With more queries of rows than so many, newcomers of this time begin together: each beginning takes the new rows, for
/// all queries, and a thousand newcomers would otherwise run a thousand queries each.
const FEW: usize = 50;
const TOGETHER: Duration = Duration::from_millis(100);

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
    log: Arc<Log>,
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
    /// What queries and shapes begin with, and is not in use yet.
    beginnings: Vec<Filled>,
    pulled_at: Duration,
    wall_ms: u64,
    out: Vec<Ask>,
}

/// A table, of which only new rows are here.
struct Fed {
    feed: Feed,
    batch: Batch,
    rows: BTreeSet<Key>,
    shapes: BTreeSet<u64>,
    /// Queries and shapes that want the next rows.
    readers: usize,
}

struct RowsQuery {
    table: Topic,
    select: Select,
    /// What has not been told yet.
    pending: Written,
    viewers: Viewers,
    /// Those who have not had their first result.
    joining: Vec<Watch>,
}

struct GroupsQuery {
    shape: u64,
    aggregates: Vec<String>,
    select: Select,
    viewers: Viewers,
    last: Option<Rows>,
    /// The version of the totals that the last result is of.
    seen: u64,
    /// Ticks without memory for it.
    tries: u32,
}

impl<'s> Fresh<'s> {
    pub(super) fn new(
        sandbox: &'s Sandbox,
        log: &Arc<Log>,
        limits: Limits,
        counters: &Arc<Counters>,
    ) -> Fresh<'s> {
        Fresh {
            sandbox,
            log: log.clone(),
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
            beginnings: Vec::new(),
            pulled_at: Duration::ZERO,
            wall_ms: 0,
            out: Vec::new(),
        }
    }

    pub(super) fn create(&mut self, shared: &Arc<Shared>) {
        let fed = Fed {
            feed: Feed::new(shared, &self.log),
            batch: Batch::new(&shared.schema),
            rows: BTreeSet::new(),
            shapes: BTreeSet::new(),
            readers: 0,
        };
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
            Class::Rows { newest } => self.watch_rows(key, watch, table, newest),
            Class::Groups(groups) => {
                let width = panes::width(&groups.rows, key.every_ms).unwrap_or_default();
                // Without a window, the time makes no difference.
                let every_ms = if width == 0 { 0 } else { key.every_ms };
                let shape = self.shape(&groups.rows, every_ms, width);
                self.watch_groups(key, watch, shape);
            }
            Class::Whole => {}
        }
        self.size_cache();
    }

    fn watch_rows(&mut self, key: Key, watch: Watch, table: Topic, newest: &str) {
        self.out.push(Ask::Fill(Fill::Newest {
            view: watch.id,
            table: table.clone(),
            sql: newest.to_owned(),
        }));
        if let Some(fed) = self.tables.get_mut(&table)
            && fed.rows.insert(key.clone())
        {
            fed.batch.compared(self.sandbox, &key.text, 1);
        }
        let query = self.rows.entry(key).or_insert_with(|| RowsQuery {
            table,
            select: Select::new(watch.plan.text.clone()),
            pending: Written::default(),
            viewers: Viewers::new(1),
            joining: Vec::new(),
        });
        query.joining.push(watch);
    }

    fn shape(&mut self, grouped: &Grouped, every_ms: u64, width: u64) -> u64 {
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
            .or_insert_with(|| Shape::new(id, grouped, width));
        if let Some(fed) = self.tables.get_mut(&grouped.table) {
            fed.shapes.insert(id);
        }
        id
    }

    fn watch_groups(&mut self, key: Key, watch: Watch, id: u64) {
        let (Class::Groups(groups), Some(shape)) = (&watch.plan.class, self.shapes.get_mut(&id))
        else {
            return;
        };
        let query = self.groups.entry(key.clone()).or_insert_with(|| {
            shape.join(&groups.aggregates);
            GroupsQuery {
                shape: id,
                aggregates: groups.aggregates.iter().map(|a| a.name.clone()).collect(),
                select: Select::new(shape.over_totals(&groups.result)),
                viewers: Viewers::new(2),
                last: None,
                seen: 0,
                tries: 0,
            }
        });
        match &query.last {
            Some(last) => watch.told.tell(Outcome::Whole(last.clone())),
            None => drop(self.unseen.insert(key)),
        }
        query.viewers.add(watch);
    }

    pub(super) fn unwatch(&mut self, id: u64) {
        let Some(key) = self.views.remove(&id) else {
            // It may be on its way to the other thread, and must not come after its own end.
            self.out.push(Ask::Unwatch(id));
            return;
        };
        if let Some(query) = self.rows.get_mut(&key) {
            query.joining.retain(|watch| watch.id != id);
            let was_reader = !query.viewers.is_empty();
            if query.viewers.remove(id) && query.joining.is_empty() {
                self.end_rows(&key, was_reader);
            } else if was_reader && query.viewers.is_empty() {
                query.pending = Written::default();
                self.leave(&key);
            }
        }
        if let Some(query) = self.groups.get_mut(&key)
            && query.viewers.remove(id)
        {
            self.end_groups(&key);
        }
        self.tidy();
    }

    /// One reader of a table less.
    fn leave(&mut self, key: &Key) {
        if let Some(query) = self.rows.get(key)
            && let Some(fed) = self.tables.get_mut(&query.table)
        {
            fed.readers -= 1;
        }
    }

    fn end_rows(&mut self, key: &Key, was_reader: bool) -> Vec<Watch> {
        if was_reader {
            self.leave(key);
        }
        let Some(mut query) = self.rows.remove(key) else {
            return Vec::new();
        };
        if let Some(fed) = self.tables.get_mut(&query.table) {
            fed.rows.remove(key);
            fed.batch.compared(self.sandbox, &key.text, -1);
        }
        let mut watches = query.viewers.take();
        watches.append(&mut query.joining);
        watches
    }

    fn end_groups(&mut self, key: &Key) -> Vec<Watch> {
        self.unseen.remove(key);
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
        shape.drop_table(self.sandbox);
        if let Some(fed) = self.tables.get_mut(shape.table()) {
            fed.shapes.remove(&id);
            fed.readers -= usize::from(shape.program.is_some());
        }
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
        let was_reader = self.rows.get(key).is_some_and(|q| !q.viewers.is_empty());
        let mut watches = self.end_rows(key, was_reader);
        watches.append(&mut self.end_groups(key));
        for watch in watches {
            self.views.remove(&watch.id);
            watch.told.tell(Outcome::Failed(problem.clone()));
        }
        self.tidy();
    }

    /// Gives the queries of a shape to those who can run them one by one, so that only those fail that must.
    fn give_up(&mut self, shape: u64, why: &Stopped) {
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

    /// Takes what a query or a shape begins with; it is put to use when the rows up to there have been taken for all.
    pub(super) fn filled(&mut self, filled: Filled) {
        self.beginnings.push(filled);
    }

    /// Whether the beginnings are worth a pass over all queries: each pass costs every one of them.
    fn may_begin(&self, now: &Time) -> bool {
        let are_few = self.rows.len() <= FEW;
        !self.beginnings.is_empty() && (are_few || now.steady >= self.pulled_at + TOGETHER)
    }

    fn begin(&mut self, filled: Filled, now: &Time) {
        match filled {
            Filled::Newest { view, place, rows } => self.filled_rows(view, place, rows, now),
            Filled::Groups {
                shape,
                program,
                place,
                panes,
            } => match panes {
                Ok(panes) => self.filled_groups(shape, program, place, panes, now),
                Err(why) => self.give_up(shape, &why),
            },
        }
    }

    fn filled_rows(&mut self, view: u64, place: u64, rows: Result<Written, Problem>, now: &Time) {
        let Some(key) = self.views.get(&view).cloned() else {
            return;
        };
        let Some(table) = self.rows.get(&key).map(|query| query.table.clone()) else {
            return;
        };
        self.come_to(&table, place, now);
        // It may have ended by that.
        let Some(query) = self.rows.get_mut(&key) else {
            return;
        };
        let Some(index) = query.joining.iter().position(|watch| watch.id == view) else {
            return;
        };
        let watch = query.joining.remove(index);
        let caught_up = rows.and_then(|rows| self.catch_up(&key, place, rows, now));
        match caught_up {
            Ok(rows) => {
                watch.told.tell(Outcome::Whole(rows.finish()));
                let Some(query) = self.rows.get_mut(&key) else {
                    return;
                };
                if query.viewers.is_empty()
                    && let Some(fed) = self.tables.get_mut(&table)
                {
                    fed.readers += 1;
                }
                // What was not told yet is in what this one has been told.
                query.flush();
                query.viewers.add(watch);
            }
            Err(problem) => {
                self.views.remove(&view);
                watch.told.tell(Outcome::Failed(problem));
                let query = self.rows.get(&key);
                if query.is_some_and(|q| q.viewers.is_empty() && q.joining.is_empty()) {
                    self.end_rows(&key, false);
                    self.tidy();
                }
            }
        }
    }

    /// Brings a table as far as what has come for a newcomer.
    fn come_to(&mut self, table: &Topic, place: u64, now: &Time) {
        let Some(fed) = self.tables.get_mut(table) else {
            return;
        };
        if fed.readers == 0 {
            fed.feed.place = place;
        } else if fed.feed.place < place {
            self.advance(table, place, now);
        }
    }

    /// Adds to a newcomer's rows those that others have had already.
    fn catch_up(
        &mut self,
        key: &Key,
        place: u64,
        mut rows: Written,
        now: &Time,
    ) -> Result<Written, Problem> {
        let (sandbox, limits) = (self.sandbox, &self.limits);
        let Some(query) = self.rows.get_mut(key) else {
            return Ok(rows);
        };
        let Some(fed) = self.tables.get_mut(&query.table) else {
            return Ok(rows);
        };
        let mut from = place;
        fed.batch
            .make(sandbox)
            .map_err(|e| query::stopped(query::own(&e), limits))?;
        while from < fed.feed.place {
            let pulled = fed.feed.read(from, fed.feed.place, BATCH);
            let loaded = fed.batch.load(sandbox, &pulled.rows);
            let run = loaded.map_err(|e| query::own(&e));
            let run = run.and_then(|()| query.run(sandbox, limits, now, Some(&mut rows)));
            run.map_err(|why| query::stopped(why, limits))?;
            from = pulled.end;
        }
        fed.batch.clear(sandbox);
        Ok(rows)
    }

    fn filled_groups(
        &mut self,
        id: u64,
        program: Arc<Program>,
        place: u64,
        mut panes: Panes,
        now: &Time,
    ) {
        let Some(table) = self.shapes.get(&id).map(|shape| shape.table().clone()) else {
            return;
        };
        self.come_to(&table, place, now);
        let (Some(fed), Some(shape)) = (self.tables.get_mut(&table), self.shapes.get_mut(&id))
        else {
            return;
        };
        if let Err(error) = fed.batch.make(self.sandbox) {
            return self.give_up(id, &query::own(&error));
        }
        let mut from = place;
        while from < fed.feed.place {
            let pulled = fed.feed.read(from, fed.feed.place, BATCH);
            let time = self.limits.query_time;
            let loaded = fed.batch.load(self.sandbox, &pulled.rows);
            let added = loaded.map_err(|e| query::own(&e)).and_then(|()| {
                for (block, numbers) in pulled.blocks() {
                    let floor = program.floor(shape.tick);
                    program.add(self.sandbox, time, block, numbers, floor, &mut panes)?;
                }
                Ok(())
            });
            if let Err(why) = added {
                return self.give_up(id, &why);
            }
            from = pulled.end;
        }
        fed.batch.clear(self.sandbox);
        fed.readers += usize::from(shape.program.is_none());
        shape.filled(program, panes);
    }

    /// Does what is due. What is to be asked of others; how long until there is something to do.
    pub(super) fn step(&mut self, now: &Time, out: &mut Vec<Ask>) -> Duration {
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
        if !due.is_empty() || now.steady >= self.pulled_at + PAUSE || self.may_begin(now) {
            self.pulled_at = now.steady;
            let tables: Vec<Topic> = self.tables.keys().cloned().collect();
            for table in tables {
                self.advance(&table, u64::MAX, now);
            }
            for filled in std::mem::take(&mut self.beginnings) {
                self.begin(filled, now);
            }
        }
        for every_ms in due {
            self.tell(every_ms, now);
        }
        for key in std::mem::take(&mut self.unseen) {
            self.evaluate(&key, now);
        }
        out.append(&mut self.out);
        let next = self.ticks.keys().map(|every_ms| now.until(*every_ms)).min();
        let pause = if self.beginnings.is_empty() {
            PAUSE
        } else {
            TOGETHER
        };
        next.map_or(SLEEP, |next| next.min(pause))
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
        for key in groups {
            self.evaluate(&key, now);
        }
        if !is_used {
            self.ticks.remove(&every_ms);
        }
    }

    /// Makes a query's result from the totals, and tells it when it is another.
    fn evaluate(&mut self, key: &Key, now: &Time) {
        let Some(query) = self.groups.get_mut(key) else {
            return;
        };
        let Some(shape) = self.shapes.get_mut(&query.shape) else {
            return;
        };
        if !shape.has_all(&query.aggregates) {
            // It is told when what it needs has come.
            self.unseen.insert(key.clone());
            return;
        }
        let first = self.tables.get(shape.table());
        let first = first.map_or(0, |fed| fed.feed.shared.first.load(Ordering::Acquire));
        let at = now.tick(key.every_ms);
        match shape.settle(self.sandbox, at, first, self.limits.groups) {
            Ok(()) => {}
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

    /// Takes the new rows of a table, up to an event.
    fn advance(&mut self, table: &Topic, end: u64, now: &Time) {
        loop {
            let Some(fed) = self.tables.get_mut(table) else {
                return;
            };
            let end = end.min(fed.feed.end());
            if fed.readers == 0 || fed.feed.place >= end {
                return;
            }
            let pulled = fed.feed.read(fed.feed.place, end, BATCH);
            if pulled.rows.is_empty() {
                fed.feed.place = pulled.end;
                continue;
            }
            if let Err(error) = fed.batch.load(self.sandbox, &pulled.rows) {
                // Nothing was taken: it is tried again.
                tracing::warn!("table {table}: new rows have to wait: {error}");
                return;
            }
            fed.feed.place = pulled.end;
            let (keys, shapes) = (fed.rows.clone(), fed.shapes.clone());
            for key in keys {
                self.run_rows(&key, now);
            }
            for id in shapes {
                self.add_to_shape(id, &pulled.blocks());
            }
            if let Some(fed) = self.tables.get_mut(table) {
                fed.batch.clear(self.sandbox);
            }
        }
    }

    fn run_rows(&mut self, key: &Key, now: &Time) {
        let Some(query) = self.rows.get_mut(key).filter(|q| !q.viewers.is_empty()) else {
            return;
        };
        let began = Instant::now();
        let run = query.run(self.sandbox, &self.limits, now, None);
        query.viewers.ran(began.elapsed());
        self.counters.runs[0].fetch_add(1, Ordering::Relaxed);
        match run {
            Ok(()) if query.pending.len() > self.limits.result_bytes / 2 => query.flush(),
            Ok(()) => {}
            Err(why) => self.fail(key, &query::stopped(why, &self.limits)),
        }
    }

    fn add_to_shape(&mut self, id: u64, blocks: &[(super::table::Block, std::ops::Range<u64>)]) {
        let Some(shape) = self.shapes.get_mut(&id) else {
            return;
        };
        let Some(program) = shape.program.clone() else {
            return;
        };
        let time = self.limits.query_time / PART;
        let floor = shape.floor();
        for (block, numbers) in blocks {
            let numbers = numbers.clone();
            let added = program.add(self.sandbox, time, *block, numbers, floor, &mut shape.panes);
            match added {
                Ok(()) => {}
                Err(Stopped::Memory) => return shape.tear(),
                Err(why) => return self.give_up(id, &why),
            }
        }
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

impl RowsQuery {
    /// Runs over the rows that are there, into what is pending or into what a newcomer is told.
    fn run(
        &mut self,
        sandbox: &Sandbox,
        limits: &Limits,
        now: &Time,
        mut into: Option<&mut Written>,
    ) -> Result<(), Stopped> {
        let (time, parameters) = (limits.query_time / PART, [(":now", now.wall_ms)]);
        let viewers = &self.viewers;
        let is_pending = into.is_none();
        let mut tries = 0;
        loop {
            let written = into.as_deref_mut().unwrap_or(&mut self.pending);
            let before = written.count();
            let mut has_told = false;
            let run = self
                .select
                .each(sandbox, &parameters, time, |columns, row| {
                    written.push(columns, row)?;
                    // In as many pieces as it takes.
                    if is_pending && written.len() > limits.result_bytes / 2 {
                        viewers.tell(&Outcome::More(std::mem::take(written).finish()));
                        has_told = true;
                    }
                    Ok(true)
                });
            match run {
                // Another query may have it all for the moment.
                Err(Stopped::Memory) if tries < TRIES && !has_told => {
                    tries += 1;
                    written.truncate(before);
                    std::thread::sleep(BREATH);
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let rows = std::mem::take(&mut self.pending).finish();
            self.viewers.tell(&Outcome::More(rows));
        }
    }
}
