//! Queries of rows: what their text yields of the new rows is told in addition.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use super::fed::Fed;
use super::{BREATH, Fresh, PART, TRIES};
use crate::event::Topic;
use crate::live::engine::encode::Written;
use crate::live::engine::fill::Fill;
use crate::live::engine::late::Late;
use crate::live::engine::quantum::Quantum;
use crate::live::engine::query::{self, Key, Select, Viewers, Watch};
use crate::live::engine::threads::Ask;
use crate::live::engine::{Limits, Outcome, Time};
use crate::live::sandbox::{Sandbox, Stopped};
use crate::problem::Problem;

pub(super) struct RowsQuery {
    pub(super) table: Topic,
    select: Select,
    newest: Arc<str>,
    /// It has had the events before this one, if it is further than its table is.
    pub(super) place: u64,
    pub(super) late: Late,
    /// What has not been told yet.
    pending: Written,
    pub(super) viewers: Viewers,
    /// Those who have not had their first result.
    joining: Vec<Watch>,
}

impl Fresh<'_> {
    /// `ordered` yields the rows in the order in which they came.
    pub(super) fn watch_rows(&mut self, key: Key, watch: Watch, table: Topic, ordered: &str) {
        if let Some(fed) = self.tables.get_mut(&table)
            && fed.rows.insert(key.clone())
        {
            fed.batch.compared(self.sandbox, &key.text, 1, true);
        }
        let query = self.rows.entry(key).or_insert_with(|| RowsQuery {
            table,
            select: Select::new(ordered.to_owned()),
            newest: format!("{ordered} desc limit :most").into(),
            place: 0,
            late: Late::default(),
            pending: Written::default(),
            viewers: Viewers::new(1),
            joining: Vec::new(),
        });
        self.out.push(query.fill(watch.id, self.limits.query_time));
        query.joining.push(watch);
    }

    pub(super) fn unwatch_rows(&mut self, key: &Key, id: u64) {
        let Some(query) = self.rows.get_mut(key) else {
            return;
        };
        let was_read = !query.viewers.is_empty();
        query.joining.retain(|watch| watch.id != id);
        let is_read = !query.viewers.remove(id);
        if was_read && !is_read {
            query.pending = Written::default();
            query.late.place = None;
            let table = query.table.clone();
            self.leave(&table);
        }
        let query = self.rows.get(key);
        if query.is_some_and(RowsQuery::is_over) {
            self.end_rows(key);
        }
    }

    /// Forgets a query. Those who watched it.
    pub(super) fn end_rows(&mut self, key: &Key) -> Vec<Watch> {
        let Some(mut query) = self.rows.remove(key) else {
            return Vec::new();
        };
        if !query.viewers.is_empty() {
            self.leave(&query.table);
        }
        if let Some(fed) = self.tables.get_mut(&query.table) {
            fed.rows.remove(key);
            fed.batch.compared(self.sandbox, &key.text, -1, true);
        }
        let mut watches = query.viewers.take();
        watches.append(&mut query.joining);
        watches
    }

    /// One reader of a table less.
    fn leave(&mut self, table: &Topic) {
        if let Some(fed) = self.tables.get_mut(table) {
            fed.readers -= 1;
        }
    }

    /// Gives a newcomer its first result, which is of the events before a place.
    pub(super) fn begin_rows(
        &mut self,
        view: u64,
        place: u64,
        rows: Result<Written, Problem>,
        now: &Time,
    ) {
        let Some(key) = self.views.get(&view).cloned() else {
            return;
        };
        let Some(query) = self.rows.get_mut(&key) else {
            return;
        };
        let (Some(fed), Some(index)) = (
            self.tables.get_mut(&query.table),
            query.joining.iter().position(|watch| watch.id == view),
        ) else {
            return;
        };
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(problem) => return self.refuse(&key, index, problem),
        };
        fed.wake(place);
        let is_first = query.viewers.is_empty();
        let others = if is_first { place } else { query.place };
        let others = query.late.place.unwrap_or(others.max(fed.feed.place));
        let all = (self.sandbox, &self.limits, now);
        let met = match others < place {
            true => query.over(fed, (others, place), all, None),
            false => query.over(fed, (place, others), all, Some(&mut rows)),
        };
        match met {
            // The log has let go some of them.
            Ok(false) => self.begin_again(&key),
            Ok(true) => {
                query.place = others.max(place);
                if query.late.place.is_some() {
                    query.late.go_on(query.place, fed.feed.place);
                }
                fed.goes_ahead(&key, query.place);
                fed.readers += usize::from(is_first);
                let watch = query.joining.remove(index);
                watch.told.tell(Outcome::Whole(rows.finish()));
                // What was not told yet is in what this one has been told.
                query.flush();
                query.viewers.add(watch);
            }
            Err(why) if others < place => self.fail(&key, &self.stopped(why)),
            Err(why) => self.refuse(&key, index, self.stopped(why)),
        }
    }

    /// Has all who watch a query begin anew, with the newest rows.
    pub(super) fn begin_again(&mut self, key: &Key) {
        let Some(query) = self.rows.get_mut(key) else {
            return;
        };
        let (had, time) = (query.viewers.take(), self.limits.query_time);
        let table = query.table.clone();
        query.pending = Written::default();
        query.late.place = None;
        let is_read = !had.is_empty();
        query.joining.extend(had);
        self.out
            .extend(query.joining.iter().map(|watch| query.fill(watch.id, time)));
        if is_read {
            self.leave(&table);
        }
    }

    /// Ends the watching of one who has had no result.
    fn refuse(&mut self, key: &Key, index: usize, problem: Problem) {
        let Some(query) = self.rows.get_mut(key) else {
            return;
        };
        let watch = query.joining.remove(index);
        self.views.remove(&watch.id);
        watch.told.tell(Outcome::Failed(problem));
        if query.is_over() {
            self.end_rows(key);
            self.tidy();
        }
    }

    /// Runs a query over the rows that are there, and keeps what is to be told.
    pub(super) fn run_rows(&mut self, key: &Key, now: &Time) {
        let Some(query) = self.rows.get_mut(key).filter(|q| !q.viewers.is_empty()) else {
            return;
        };
        let began = Instant::now();
        let run = query.run((self.sandbox, &self.limits, now), None);
        query.viewers.ran(began.elapsed());
        self.counters.runs[0].fetch_add(1, Ordering::Relaxed);
        match run {
            Ok(()) if query.pending.len() > self.limits.result_bytes / 2 => query.flush(),
            Ok(()) => {}
            Err(why) => self.fail(key, &self.stopped(why)),
        }
    }

    /// Why a query ends that was stopped over the new rows.
    fn stopped(&self, why: Stopped) -> Problem {
        let is_late = matches!(why, Stopped::Time);
        let problem = query::stopped(why, &self.limits);
        match is_late {
            true => Problem {
                detail: format!(
                    "the query took longer over the new rows than the {PART}th part of {:?} (query-time), for which the others wait; let it compute less",
                    self.limits.query_time
                )
                .into(),
                ..problem
            },
            false => problem,
        }
    }
}

/// What a run needs to know.
type With<'a> = (&'a Sandbox, &'a Limits, &'a Time);

impl RowsQuery {
    /// Whether it is to be run over new rows.
    pub(super) fn is_read(&self) -> bool {
        !self.viewers.is_empty()
    }

    /// Whether nobody watches it, or is about to.
    fn is_over(&self) -> bool {
        self.viewers.is_empty() && self.joining.is_empty()
    }

    /// Asks for what a newcomer begins with.
    fn fill(&self, view: u64, query_time: Duration) -> Ask {
        Ask::Fill(Fill::Newest {
            view,
            table: self.table.clone(),
            sql: Arc::downgrade(&self.newest),
            quantum: Quantum::new(query_time),
        })
    }

    /// Runs over the rows among some events; false when the log has let go some of them.
    fn over(
        &mut self,
        fed: &mut Fed,
        events: (u64, u64),
        with: With<'_>,
        mut into: Option<&mut Written>,
    ) -> Result<bool, Stopped> {
        fed.each(with.0, events, |_| self.run(with, into.as_deref_mut()))
    }

    /// Runs over the rows that are there, into what is pending or into what a newcomer is told.
    fn run(
        &mut self,
        (sandbox, limits, now): With<'_>,
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

    pub(super) fn flush(&mut self) {
        if !self.pending.is_empty() {
            let rows = std::mem::take(&mut self.pending).finish();
            self.viewers.tell(&Outcome::More(rows));
        }
    }
}
