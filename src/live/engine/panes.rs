//! Groups by parts: what is kept of each group in each pane of time and each block of rows, so that both can move on
//! without the rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use rusqlite::types::{Value, ValueRef};

use super::query;
use super::state::{Cell, State};
use super::table::Block;
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::sql::{Aggregate, Grouped};

/// More panes than that cost more than the rows.
const MOST_PANES: u64 = 1_000;

/// How wide a pane is, so that windows begin at its edge at each tick: 0 is without a window, `None` when the panes
/// would be too many.
pub(super) fn width(rows: &Grouped, every_ms: u64) -> Option<u64> {
    let Some(window) = &rows.window else {
        return Some(0);
    };
    let (mut a, mut b) = (window.size, every_ms);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    (a > 0 && window.size / a <= MOST_PANES).then_some(a)
}

/// How rows become states: one SELECT of time, keys and arguments, and what is kept of them.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) grouped: Grouped,
    /// Of a pane; 0 without a window.
    width: u64,
    pub(super) aggregates: Vec<Aggregate>,
    /// For each aggregate, the column of its argument.
    arguments: Vec<Option<usize>>,
    sql: String,
}

impl Program {
    pub(super) fn new(grouped: &Grouped, width: u64, aggregates: Vec<Aggregate>) -> Program {
        let time = grouped.window.as_ref().map_or("NULL", |w| &w.time);
        let mut columns: Vec<&str> = vec![time];
        columns.extend(grouped.keys.iter().map(|key| &**key));
        let first_argument = columns.len();
        let mut arguments = Vec::new();
        for aggregate in &aggregates {
            let column = aggregate.argument.as_deref().map(|argument| {
                let known = columns[first_argument..]
                    .iter()
                    .position(|c| *c == argument);
                known.map_or_else(
                    || {
                        columns.push(argument);
                        columns.len() - 1
                    },
                    |place| first_argument + place,
                )
            });
            arguments.push(column);
        }
        // The table's name stands for the rows of one block.
        let sql = format!(
            "WITH \"{table}\" AS (SELECT * FROM main.\"{table}\" WHERE rowid >= :first AND rowid < :end) SELECT {} FROM {}",
            columns.join(", "),
            grouped.from,
            table = grouped.table,
        );
        Program {
            grouped: grouped.clone(),
            width,
            aggregates,
            arguments,
            sql,
        }
    }

    pub(super) fn table(&self) -> &Topic {
        &self.grouped.table
    }

    /// The first pane of the window at a time.
    pub(super) fn floor(&self, now_ms: u64) -> i64 {
        match &self.grouped.window {
            Some(window) => (now_ms as i64 - window.size as i64).div_euclid(self.width as i64),
            None => i64::MIN,
        }
    }

    /// Takes the rows of one block with these numbers; those before a pane are not wanted any more.
    pub(super) fn add(
        &self,
        sandbox: &Sandbox,
        time: Duration,
        block: Block,
        numbers: Range<u64>,
        floor: i64,
        panes: &mut Panes,
    ) -> Result<(), Stopped> {
        let parameters = [(":first", numbers.start), (":end", numbers.end)];
        let keys = self.grouped.keys.len();
        let part = panes.parts.entry(block).or_default();
        part.end = numbers.end;
        let (cells, has_changed) = (&mut panes.cells, &mut panes.has_changed);
        query::each(sandbox, &self.sql, &parameters, time, |row| {
            let Some(pane) = self.pane(row.get_ref(0)?).filter(|pane| *pane >= floor) else {
                return Ok(true);
            };
            let key = (1..=keys).map(|column| row.get_ref(column).map(Cell::of));
            let key: Box<[Cell]> = key.collect::<Result<_, _>>()?;
            let groups = part.panes.entry(pane).or_default();
            let states = groups.entry(key).or_insert_with(|| {
                *cells += 1;
                self.states()
            });
            for (state, argument) in states.iter_mut().zip(&self.arguments) {
                *cells += match argument {
                    Some(column) => state.add(row.get_ref(*column)?),
                    None => state.add(ValueRef::Integer(1)),
                };
            }
            *has_changed = true;
            Ok(true)
        })
    }

    /// What SQLite is told of each key, so that results are written as those of the table's own columns.
    pub(super) fn key_types(&self, sandbox: &Sandbox) -> Result<Vec<String>, Stopped> {
        let statement = sandbox.prepare_stranger(&self.sql)?;
        let columns = statement.columns();
        let keys = columns.skip(1).take(self.grouped.keys.len());
        Ok(keys
            .map(|column| column.decl_type().unwrap_or_default().to_owned())
            .collect())
    }

    fn states(&self) -> Box<[State]> {
        let functions = self.aggregates.iter().map(|a| a.function);
        functions.map(State::new).collect()
    }

    fn pane(&self, time: ValueRef<'_>) -> Option<i64> {
        let Some(window) = &self.grouped.window else {
            return Some(0);
        };
        let width = self.width as i64;
        let shift = i64::from(!window.inclusive);
        match time {
            ValueRef::Null => None,
            ValueRef::Integer(ms) => Some(ms.saturating_sub(shift).div_euclid(width)),
            ValueRef::Real(ms) => {
                let ms = if window.inclusive {
                    ms.floor()
                } else {
                    ms.ceil()
                };
                Some((ms as i64).saturating_sub(shift).div_euclid(width))
            }
            // To SQLite, any text is after any number.
            ValueRef::Text(_) | ValueRef::Blob(_) => Some(i64::MAX),
        }
    }

    /// The values of a group's aggregates; one that has none is noted by its name.
    pub(super) fn finish(&self, states: &[State], broken: &mut HashSet<String>) -> Vec<Value> {
        let states = states.iter().zip(&self.aggregates);
        let value = |(state, aggregate): (&State, &Aggregate)| {
            state.finish(aggregate.function).unwrap_or_else(|_| {
                broken.insert(aggregate.name.clone());
                Value::Null
            })
        };
        states.map(value).collect()
    }
}

type Groups = HashMap<Box<[Cell]>, Box<[State]>>;

/// The states of all groups.
#[derive(Debug, Default)]
pub(super) struct Panes {
    parts: BTreeMap<Block, Part>,
    /// Groups in all parts, and values that are kept to tell them apart.
    pub(super) cells: usize,
    /// Whether the totals are others than when it was asked for them.
    has_changed: bool,
}

#[derive(Debug, Default)]
struct Part {
    /// The number after the last event.
    end: u64,
    panes: BTreeMap<i64, Groups>,
}

impl Panes {
    /// Forgets what the window has left behind, and the blocks before an event.
    pub(super) fn prune(&mut self, floor: i64, first: u64) {
        let mut gone = 0;
        let mut drop_groups = |groups: Groups| {
            for states in groups.values() {
                let distinct = states.iter().map(|state| match state {
                    State::Distinct(values) => values.len(),
                    _ => 0,
                });
                gone += 1 + distinct.sum::<usize>();
            }
        };
        self.parts.retain(|_, part| {
            let stays = part.end > first;
            let floor = if stays { floor } else { i64::MAX };
            while let Some(oldest) = part.panes.first_entry()
                && (*oldest.key() < floor || !stays)
            {
                drop_groups(oldest.remove());
            }
            stays
        });
        self.cells -= gone;
        self.has_changed |= gone > 0;
    }

    /// Whether the totals are others than when they were settled.
    pub(super) fn has_changed(&self) -> bool {
        self.has_changed
    }

    pub(super) fn settled(&mut self) {
        self.has_changed = false;
    }

    pub(super) fn touch(&mut self) {
        self.has_changed = true;
    }

    /// Every group, in SQLite's order of its keys.
    pub(super) fn totals(&self, program: &Program) -> BTreeMap<&[Cell], Box<[State]>> {
        let mut totals: BTreeMap<&[Cell], Box<[State]>> = BTreeMap::new();
        if program.grouped.keys.is_empty() {
            totals.insert(&[], program.states());
        }
        let groups = self.parts.values().flat_map(|part| part.panes.values());
        for (key, states) in groups.flatten() {
            let total = totals.entry(key).or_insert_with(|| program.states());
            for (total, state) in total.iter_mut().zip(states) {
                total.merge(state);
            }
        }
        totals
    }
}
