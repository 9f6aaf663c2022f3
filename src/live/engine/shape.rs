//! Queries that group the same rows by the same keys: their panes, and the table of totals that their results are
//! made from.

use std::collections::HashSet;
use std::sync::Arc;

use super::fill::Fill;
use super::late::Late;
use super::panes::{Panes, Program};
use super::room::Room;
use super::totals::Totals;
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::sql::{Aggregate, Grouped};

/// One table of totals, kept fresh.
pub(super) struct Shape {
    id: u64,
    grouped: Grouped,
    every_ms: u64,
    /// What is kept, once it has been filled.
    pub(super) program: Option<Arc<Program>>,
    pub(super) panes: Panes,
    /// What its queries want.
    wanted: Vec<Aggregate>,
    /// What has been asked for and has not come yet.
    asked: Option<Arc<Program>>,
    /// Whether what is kept has to be made anew, and whether it is what it should be.
    is_torn: bool,
    is_sound: bool,
    pub(super) queries: usize,
    /// It has had the events before this one, if it is further than its table is.
    pub(super) place: u64,
    pub(super) late: Late,
    /// The time that the totals are of.
    pub(super) tick: u64,
    /// The first event that they are of.
    first: u64,
    pub(super) totals: Totals,
    /// Counts the changes of the totals.
    pub(super) version: u64,
    /// Aggregates that have no value.
    pub(super) broken: HashSet<String>,
}

/// Why there are no totals.
pub(super) enum NoTotals {
    /// They are being made anew.
    Torn,
    TooMany,
    Stopped(Stopped),
}

impl Shape {
    pub(super) fn new(id: u64, grouped: &Grouped, every_ms: u64, room: Room) -> Shape {
        Shape {
            id,
            grouped: grouped.clone(),
            every_ms,
            program: None,
            panes: Panes::new(room),
            wanted: Vec::new(),
            asked: None,
            is_torn: false,
            is_sound: true,
            queries: 0,
            place: 0,
            late: Late::default(),
            tick: 0,
            first: 0,
            totals: Totals::new(&id.to_string()),
            version: 0,
            broken: HashSet::new(),
        }
    }

    /// One more query.
    pub(super) fn join(&mut self, aggregates: &[Aggregate]) {
        self.queries += 1;
        for aggregate in aggregates {
            if !self.wanted.contains(aggregate) {
                self.wanted.push(aggregate.clone());
            }
        }
    }

    pub(super) fn table(&self) -> &Topic {
        &self.grouped.table
    }

    /// Whether it can be told what these aggregates are.
    pub(super) fn has_all(&self, names: &[String]) -> bool {
        let kept =
            |program: &Program, name: &String| program.aggregates.iter().any(|a| a.name == *name);
        let program = self.program.as_deref().filter(|_| self.is_sound);
        program.is_some_and(|program| names.iter().all(|name| kept(program, name)))
    }

    /// Whether all that a query wants is kept.
    pub(super) fn has(&self, aggregates: &[Aggregate]) -> bool {
        let has = |program: &Program| aggregates.iter().all(|a| program.aggregates.contains(a));
        self.program.as_deref().is_some_and(has)
    }

    /// Has everything made anew: something was lost.
    pub(super) fn tear(&mut self) {
        (self.is_torn, self.is_sound) = (true, false);
        self.late.place = None;
        // The clock may have been turned back, so that nothing is too old.
        self.tick = 0;
    }

    /// What was asked for has come, and cannot be used.
    pub(super) fn is_of_no_use(&mut self) {
        self.asked = None;
        self.is_torn = true;
    }

    /// What is to be asked for now, one at a time.
    pub(super) fn fill(&mut self) -> Option<Fill> {
        if self.asked.is_some() || (self.has(&self.wanted) && !self.is_torn) {
            return None;
        }
        self.is_torn = false;
        let program = Program::new(&self.grouped, self.every_ms, self.wanted.clone());
        let program = Arc::new(program);
        let fill = Fill::Groups {
            shape: self.id,
            table: self.grouped.table.clone(),
            program: Arc::downgrade(&program),
            begun: None,
        };
        self.asked = Some(program);
        Some(fill)
    }

    /// Takes what was asked for.
    pub(super) fn filled(&mut self, program: Arc<Program>, panes: Panes) {
        self.asked = None;
        let is_same = self
            .program
            .as_ref()
            .is_some_and(|old| old.aggregates == program.aggregates);
        if !is_same {
            self.totals.is_made = false;
        }
        self.program = Some(program);
        self.panes = panes;
        // It may have been torn again meanwhile.
        self.is_sound = !self.is_torn;
        if !self.panes.prune(self.floor(), self.first) {
            self.tear();
        }
        self.panes.touch();
    }

    /// The first pane that is wanted.
    pub(super) fn floor(&self) -> i64 {
        self.program
            .as_ref()
            .map_or(i64::MIN, |p| p.floor(self.tick))
    }

    /// Brings the totals to a time, when the rows before an event are retained no more.
    pub(super) fn settle(
        &mut self,
        sandbox: &Sandbox,
        at: u64,
        first: u64,
        most_groups: usize,
    ) -> Result<(), NoTotals> {
        if (self.tick, self.first) != (at, first) {
            (self.tick, self.first) = (at, first);
            if !self.panes.prune(self.floor(), first) {
                self.tear();
            }
        }
        if !self.is_sound {
            return Err(NoTotals::Torn);
        }
        if !self.panes.has_changed() {
            return Ok(());
        }
        let Some(program) = self.program.clone() else {
            return Ok(());
        };
        self.panes.fit(most_groups).map_err(NoTotals::Stopped)?;
        let totals = self.panes.totals(&program);
        let totals = totals.map_err(NoTotals::Stopped)?;
        if totals.len() > most_groups {
            return Err(NoTotals::TooMany);
        }
        let rows = totals.iter().map(|(key, states)| (&**key, &**states));
        let written = self.totals.write(sandbox, &program, rows);
        let broken = written.map_err(NoTotals::Stopped)?;
        self.broken = broken;
        self.panes.settled();
        self.version += 1;
        Ok(())
    }
}
