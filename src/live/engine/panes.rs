//! How rows become states of groups, kept apart by pane of time and block of rows, so that both can move on without the
//! rows.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use rusqlite::Row;
use rusqlite::types::{Value, ValueRef};

use super::query;
use super::room::{Room, Size};
use super::slots::{Key, Slots};
use super::state::{Cell, State};
use super::table::Block;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::schema::TIME;
use crate::live::sql::{Aggregate, Grouped};

/// A group, by its key.
pub(super) type Total = (Key, Box<[State]>);

/// Each tick looks at each pane, if only for whether it stays: more of them cost more than that is worth.
const MOST_PANES: u64 = 10_000;

/// Groups and values that are kept in all panes together, for each group that a query may have.
const PANES_OF_A_GROUP: usize = 10;

/// What a row's number is called beside its columns.
pub(super) const NUMBER: &str = "$number";

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
    every_ms: u64,
    /// Of a pane; 0 without a window.
    width: u64,
    pub(super) aggregates: Vec<Aggregate>,
    /// For each aggregate, the column of its argument.
    arguments: Vec<Option<usize>>,
    sql: String,
}

impl Program {
    /// For totals that are wanted every so often, at whole multiples of it.
    pub(super) fn new(grouped: &Grouped, every_ms: u64, aggregates: Vec<Aggregate>) -> Program {
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
            "WITH \"{table}\" AS (SELECT *, rowid AS \"{NUMBER}\" FROM main.\"{table}\" WHERE rowid >= :first AND rowid < :end) SELECT {} FROM {}",
            columns.join(", "),
            grouped.from,
            table = grouped.table,
        );
        Program {
            grouped: grouped.clone(),
            every_ms,
            width: width(grouped, every_ms).unwrap_or_default(),
            aggregates,
            arguments,
            sql,
        }
    }

    /// The first pane of the window at a time.
    pub(super) fn floor(&self, now_ms: u64) -> i64 {
        match &self.grouped.window {
            Some(window) => (now_ms as i64 - window.size as i64).div_euclid(self.width as i64),
            None => i64::MIN,
        }
    }

    /// The first pane of any window from a time on.
    pub(super) fn floor_from(&self, now_ms: u64) -> i64 {
        self.floor(now_ms - now_ms.checked_rem(self.every_ms).unwrap_or_default())
    }

    /// Whether rows may be in a pane from this one on, as far as the greatest `_tp_time` of them tells.
    pub(super) fn may_want(&self, latest: i64, floor: i64) -> bool {
        let window = self.grouped.window.as_ref();
        let is_by_it = window.is_some_and(|w| w.time.trim_matches('"').eq_ignore_ascii_case(TIME));
        let pane = self.pane(ValueRef::Integer(latest));
        !is_by_it || pane.is_none_or(|pane| pane >= floor)
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
        let Panes {
            slots,
            has_changed,
            beside,
            room,
        } = panes;
        let mut is_full = false;
        let added = self.each(sandbox, &parameters, time, |key, row| {
            let Some(pane) = self.pane(row.get_ref(0)?).filter(|pane| *pane >= floor) else {
                return Ok(true);
            };
            let (new, take) = (
                || self.states(),
                |states: &mut [State]| self.take(states, row),
            );
            slots.add((pane, block), &numbers, key, new, take)?;
            *has_changed = true;
            is_full = !room.hold(slots.bytes() + *beside);
            Ok(!is_full)
        });
        match is_full {
            true => Err(Stopped::Groups),
            false => added,
        }
    }

    /// Each row with its keys, until one is not wanted any more.
    pub(super) fn each(
        &self,
        sandbox: &Sandbox,
        parameters: &[(&str, u64)],
        time: Duration,
        mut take: impl FnMut(&[Cell], &Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), Stopped> {
        let keys = self.grouped.keys.len();
        let mut key = Vec::with_capacity(keys);
        query::each(sandbox, &self.sql, parameters, time, |row| {
            key.clear();
            for column in 1..=keys {
                key.push(Cell::of(row.get_ref(column)?));
            }
            take(&key, row)
        })
    }

    /// Has the states take a row; how much more they keep.
    pub(super) fn take(&self, states: &mut [State], row: &Row<'_>) -> rusqlite::Result<Size> {
        let mut more = Size::default();
        for (state, argument) in states.iter_mut().zip(&self.arguments) {
            more += match argument {
                Some(column) => state.add(row.get_ref(*column)?),
                None => state.add(ValueRef::Integer(1)),
            };
        }
        Ok(more)
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

    pub(super) fn states(&self) -> Box<[State]> {
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

/// The states of all groups.
#[derive(Debug)]
pub(super) struct Panes {
    slots: Slots,
    /// Whether the totals are others than when it was asked for them.
    has_changed: bool,
    /// Bytes of what was merged, and of the totals, when they were asked for last.
    beside: usize,
    room: Room,
}

impl Panes {
    /// None yet; what they will hold is of this room.
    pub(super) fn new(room: Room) -> Panes {
        Panes {
            slots: Slots::default(),
            has_changed: false,
            beside: 0,
            room,
        }
    }

    /// Forgets what the window has left behind, and the blocks before an event. False when something of a block is
    /// retained no more, and the rest of it is: only the rows can tell what of it is left.
    pub(super) fn prune(&mut self, floor: i64, first: u64) -> bool {
        self.has_changed |= self.slots.prune(floor, first);
        !self.slots.is_within(first)
    }

    /// Holds all that is kept to a limit. It is of all queries of a shape together, which is nobody's fault: run again
    /// one by one, those with too many groups are found.
    pub(super) fn fit(&self, most_groups: usize) -> Result<(), Stopped> {
        let cells = self.slots.cells();
        if cells > most_groups.saturating_mul(PANES_OF_A_GROUP) {
            let why = format!("{cells} parts of groups are too many to keep");
            return Err(Stopped::Other(why));
        }
        Ok(())
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
    ///
    /// # Errors
    /// When they hold more than there is room for.
    pub(super) fn totals(&mut self, program: &Program) -> Result<Vec<Total>, Stopped> {
        let (mut groups, bytes) = self.slots.total();
        self.beside = self.slots.merged_bytes() + bytes;
        if !self.room.hold(self.slots.bytes() + self.beside) {
            return Err(Stopped::Groups);
        }
        if program.grouped.keys.is_empty() {
            groups.entry([].into()).or_insert_with(|| program.states());
        }
        let mut totals: Vec<_> = groups.into_iter().collect();
        totals.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(totals)
    }
}
