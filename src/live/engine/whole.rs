//! All that is retained: rows come from the log and are let go again, what can only be evaluated as a whole is run
//! anew, and what is kept fresh by the new rows alone gets its beginning from here.
//!
//! A state machine: it is told the time and does a step. Its thread is in `threads`.

mod flows;
mod kept;
mod large;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::flows::Flows;
use self::kept::Kept;
use self::large::Large;
use super::fill::{Done, Fill, Filled, With};
use super::flow::{Flowing, Told};
use super::quantum::Quantum;
use super::query::{self, Key, Select, Viewers, Watch};
use super::table::{Feed, Shared};
use super::{Counters, Limits, Outcome, Rows, Time};
use crate::event::Topic;
use crate::live::sandbox::Sandbox;
use crate::live::sql::Plan;
use crate::problem::Problem;

/// Events that are taken from the log at once.
const BATCH: usize = 1_000;

/// Batches of one table before the others, and whoever asks for something, have their turn.
const TURNS: usize = 50;

/// Shapes, newcomers, queries of the dialect, those that have never run, those that have, and all that takes long: each
/// has its turn.
const TURNS_OF_ALL: usize = 6;

/// How long nothing is looked at when nothing is due.
const PAUSE: Duration = Duration::from_millis(100);

/// A re-run may take so many parts of the time.
const SHARE: u32 = 10;

/// The tables with all their rows, and the queries that need them.
pub(super) struct Whole<'s> {
    sandbox: &'s Sandbox,
    limits: Limits,
    counters: Arc<Counters>,
    tables: BTreeMap<Topic, Kept>,
    /// What shapes begin with, each of them for many, and what newcomers do.
    groups: VecDeque<Fill>,
    newest: VecDeque<Fill>,
    reruns: BTreeMap<Key, Rerun>,
    /// What takes long.
    large: Large,
    /// Queries of the dialect.
    flows: Flows,
    views: HashMap<u64, Key>,
    /// Counts the runs.
    runs: u64,
    /// Whose turn it was.
    turn: usize,
}

/// A query that is run again and again.
struct Rerun {
    plan: Arc<Plan>,
    select: Select,
    tables: Vec<Arc<Shared>>,
    viewers: Viewers,
    last: Option<Rows>,
    /// The time of the last tick, and whether what was due then has not been done yet.
    tick: Option<u64>,
    is_due: bool,
    /// What the tables were when it ran.
    seen: Vec<u64>,
    /// When it ran last, in the order of runs; 0 is never.
    ran: u64,
    quantum: Quantum,
    not_before: Duration,
}

impl<'s> Whole<'s> {
    pub(super) fn new(sandbox: &'s Sandbox, limits: Limits, counters: &Arc<Counters>) -> Whole<'s> {
        Whole {
            sandbox,
            limits,
            counters: counters.clone(),
            tables: BTreeMap::new(),
            groups: VecDeque::new(),
            newest: VecDeque::new(),
            reruns: BTreeMap::new(),
            large: Large::default(),
            flows: Flows::default(),
            views: HashMap::new(),
            runs: 0,
            turn: 0,
        }
    }

    pub(super) fn create(&mut self, shared: &Arc<Shared>) {
        let kept = Kept::new(Feed::new(shared), &self.limits);
        self.tables.insert(shared.schema.name.clone(), kept);
    }

    pub(super) fn forget(&mut self, name: &Topic) {
        let Some(kept) = self.tables.remove(name) else {
            return;
        };
        self.sandbox.connection().flush_prepared_statement_cache();
        kept.batch.drop_table(self.sandbox);
        self.large.fills.retain(|fill| fill.table() != name);
        let reads = |rerun: &Rerun| rerun.plan.tables.contains(name);
        let ended: Vec<Key> = self
            .reruns
            .iter()
            .filter(|(_, rerun)| reads(rerun))
            .map(|(key, _)| key.clone())
            .collect();
        for key in ended {
            self.fail(&key, query::dropped(name));
        }
        let flows = self
            .flows
            .all
            .values()
            .filter(|flowing| flowing.reads(name));
        let flows: Vec<u64> = flows.map(Flowing::id).collect();
        for id in flows {
            if let Some(flowing) = self.flows.all.get(&id) {
                flowing.tell(Told::Ended(Err(query::dropped(name))));
            }
            self.leave(id);
        }
    }

    pub(super) fn watch(&mut self, watch: Watch) {
        let key = watch.key();
        if !self.reruns.contains_key(&key) {
            let shared = |name| self.tables.get(name).map(|kept| kept.feed.shared.clone());
            let tables: Option<Vec<Arc<Shared>>> = watch.plan.tables.iter().map(shared).collect();
            let Some(tables) = tables else {
                let gone = watch
                    .plan
                    .tables
                    .iter()
                    .find(|t| !self.tables.contains_key(*t));
                let problem = gone.map(query::dropped);
                problem
                    .into_iter()
                    .for_each(|problem| watch.told.tell(Outcome::Failed(problem)));
                return;
            };
            let rerun = Rerun {
                select: Select::new(watch.plan.text.clone()),
                plan: watch.plan.clone(),
                tables,
                viewers: Viewers::new(3),
                last: None,
                tick: None,
                is_due: true,
                seen: Vec::new(),
                ran: 0,
                quantum: Quantum::new(self.limits.query_time),
                not_before: Duration::ZERO,
            };
            self.reruns.insert(key.clone(), rerun);
        }
        let rerun = self.reruns.get_mut(&key).expect("it is there now");
        if let Some(last) = &rerun.last {
            watch.told.tell(Outcome::Whole(last.clone()));
        }
        self.views.insert(watch.id, key);
        rerun.viewers.add(watch);
        self.size_cache();
    }

    /// Has SQLite keep the statements that are run again and again.
    fn size_cache(&self) {
        let queries = self.reruns.len() + 4 * self.flows.all.len() + 4 * self.tables.len();
        let connection = self.sandbox.connection();
        connection.set_prepared_statement_cache_capacity(queries + 16);
    }

    pub(super) fn unwatch(&mut self, id: u64) {
        let Some(key) = self.views.remove(&id) else {
            return;
        };
        if let Some(rerun) = self.reruns.get_mut(&key)
            && rerun.viewers.remove(id)
        {
            self.reruns.remove(&key);
        }
        if self.reruns.is_empty() && self.flows.all.is_empty() {
            self.sandbox.connection().flush_prepared_statement_cache();
        }
    }

    pub(super) fn fill(&mut self, fill: Fill) {
        match &fill {
            Fill::Groups { .. } => self.groups.push_back(fill),
            Fill::Newest { table, sql, .. } => {
                if let (Some(kept), Some(sql)) = (self.tables.get_mut(table), sql.upgrade()) {
                    kept.batch.compared(self.sandbox, &sql, 1, false);
                    self.newest.push_back(fill);
                }
            }
        }
    }

    /// Takes new rows from the log and lets old ones go; whether there may be more of them.
    pub(super) fn pull(&mut self, now: &Time) -> bool {
        let mut is_more = false;
        self.note_wanted();
        for kept in self.tables.values_mut() {
            // Many at once, and yet not for ever: somebody may want something else.
            for turn in 1..=TURNS {
                match kept.pull(self.sandbox, BATCH, &self.counters) {
                    Ok(true) => kept.retain(self.sandbox, now.wall_ms, &self.limits),
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(
                            "table {}: its rows have to wait: {error}",
                            kept.feed.shared.schema.name
                        );
                        break;
                    }
                }
                is_more |= turn == TURNS;
            }
            kept.retain(self.sandbox, now.wall_ms, &self.limits);
        }
        self.retain_all();
        is_more
    }

    /// Notes which rows queries of the dialect are about to read.
    fn note_wanted(&mut self) {
        self.tables.values_mut().for_each(|kept| kept.wanted = None);
        for flowing in self.flows.all.values() {
            let Some(place) = flowing.wants() else {
                continue;
            };
            for (name, _) in flowing.places() {
                if let Some(kept) = self.tables.get_mut(name) {
                    kept.wanted = Some(kept.wanted.map_or(place, |wanted| wanted.min(place)));
                }
            }
        }
    }

    /// Holds all tables together to their limit; the oldest rows go first.
    fn retain_all(&mut self) {
        let bytes = |kept: &Kept| kept.feed.shared.bytes.load(Ordering::Relaxed);
        while self.tables.values().map(bytes).sum::<u64>() > self.limits.tables_bytes {
            let with_rows = self.tables.values_mut().filter(|k| !k.blocks.is_empty());
            let Some(oldest) = with_rows.min_by_key(|k| k.blocks.front().map(|b| b.newest_ms))
            else {
                return;
            };
            if !oldest.drop_block(self.sandbox) {
                return;
            }
        }
    }

    /// Does one thing that is due, if there is one: shapes, newcomers and queries that run again take turns. What is to
    /// wait for else.
    pub(super) fn step(&mut self, now: &Time, filled: &mut Vec<Filled>) -> Duration {
        let mut pause = PAUSE;
        for (key, rerun) in &mut self.reruns {
            let due = rerun.tick(now, key.every_ms);
            pause = pause.min(match rerun.quantum.is_large() {
                true => due.max(self.large.pause(now)),
                false => due,
            });
        }
        for flowing in self.flows.all.values() {
            let due = self.pause(flowing, now);
            pause = due.map_or(pause, |due| pause.min(due));
        }
        if !self.large.fills.is_empty() {
            pause = pause.min(self.large.pause(now));
        }
        for _ in 0..TURNS_OF_ALL {
            self.turn = (self.turn + 1) % TURNS_OF_ALL;
            let fill = match self.turn {
                0 => self.groups.pop_front(),
                1 => self.newcomer(),
                2 => {
                    if self.flow(now) {
                        return Duration::ZERO;
                    }
                    None
                }
                5 => {
                    if self.step_large(now, filled) {
                        return Duration::ZERO;
                    }
                    None
                }
                turn => {
                    if let Some(key) = self.next(now, turn == 3) {
                        self.run(&key, now);
                        return Duration::ZERO;
                    }
                    None
                }
            };
            if let Some(fill) = fill {
                filled.extend(self.filled(fill, now));
                return Duration::ZERO;
            }
        }
        pause
    }

    /// The newcomer who has waited longest. While many wait, what they compare has an index.
    fn newcomer(&mut self) -> Option<Fill> {
        let fill = self.newest.pop_front();
        if fill.is_none() {
            let tables = self.tables.values_mut();
            tables.for_each(|kept| kept.batch.compared_no_more(self.sandbox));
        }
        fill
    }

    /// One that is due: of those that have never run, or the one that has run longest ago.
    fn next(&self, now: &Time, is_new: bool) -> Option<Key> {
        let due = |(_, rerun): &(&Key, &Rerun)| {
            rerun.may_run(now) && !rerun.quantum.is_large() && (rerun.ran == 0) == is_new
        };
        let next = self.reruns.iter().filter(due);
        let next = next.min_by_key(|(_, rerun)| rerun.ran);
        next.map(|(key, _)| key.clone())
    }

    fn run(&mut self, key: &Key, now: &Time) {
        self.runs += 1;
        let Some(rerun) = self.reruns.get_mut(key) else {
            return;
        };
        rerun.ran = self.runs;
        rerun.is_due = false;
        rerun.seen = rerun.versions();
        let at = rerun.tick.unwrap_or(now.wall_ms);
        let began = Instant::now();
        let time = rerun.quantum.time();
        let limits = &self.limits;
        let result = rerun.select.whole_within(self.sandbox, at, limits, time);
        let took = began.elapsed();
        if result.as_ref().is_err_and(|why| why.kind == query::TIME) && rerun.quantum.grow() {
            rerun.is_due = true;
            return;
        }
        rerun.quantum.took(took);
        rerun.not_before = now.steady + took * SHARE;
        rerun.viewers.ran(took);
        self.counters.runs[2].fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(rows) => {
                if rerun.last.as_ref() != Some(&rows) {
                    rerun.viewers.tell(&Outcome::Whole(rows.clone()));
                    rerun.last = Some(rows);
                }
            }
            Err(problem) => self.fail(key, problem),
        }
    }

    fn fail(&mut self, key: &Key, problem: Problem) {
        if let Some(mut rerun) = self.reruns.remove(key) {
            rerun.viewers.tell(&Outcome::Failed(problem));
            for watch in rerun.viewers.take() {
                self.views.remove(&watch.id);
            }
        }
    }

    /// What a query begins with that is kept fresh elsewhere, and up to which event; none when that takes longer.
    fn filled(&mut self, fill: Fill, now: &Time) -> Option<Filled> {
        let began = Instant::now();
        let kept = self.tables.get(fill.table())?;
        let with = With {
            sandbox: self.sandbox,
            limits: &self.limits,
            now_ms: now.wall_ms,
            shared: &kept.feed.shared,
            place: kept.feed.place,
            spans: &kept.spans(),
        };
        let done = fill.run(&with, self.counters.room(&self.limits));
        tracing::trace!("a beginning, or a piece of one, took {:?}", began.elapsed());
        match done {
            Done::Filled(filled) => {
                self.counters.fills.fetch_add(1, Ordering::Relaxed);
                Some(filled)
            }
            Done::More(fill) => {
                self.large.fills.push_back(fill);
                None
            }
            Done::Gone => None,
        }
    }

    /// How many columns have an index.
    #[cfg(test)]
    pub(super) fn indexes(&self) -> usize {
        let tables = self.tables.values();
        tables.map(|kept| kept.batch.indexes()).sum()
    }

    /// How many queries there are, and views of them.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.reruns.len(), self.views.len())
    }
}

impl Rerun {
    /// Whether it is due, and has its share of the time.
    fn may_run(&self, now: &Time) -> bool {
        self.is_due && self.not_before <= now.steady
    }

    fn versions(&self) -> Vec<u64> {
        let tables = self.tables.iter();
        tables.map(|t| t.version.load(Ordering::Relaxed)).collect()
    }

    /// Looks at the time: at each whole multiple of `every_ms` it may be due. How long until the next.
    fn tick(&mut self, now: &Time, every_ms: u64) -> Duration {
        let at = now.tick(every_ms);
        if self.tick != Some(at) {
            self.tick = Some(at);
            self.is_due |= self.plan.timed || self.seen != self.versions();
        }
        let next = now.until(every_ms);
        match self.is_due {
            true => self.not_before.saturating_sub(now.steady),
            false => next,
        }
    }
}
