//! What is kept of groups, apart by pane of time and by block of rows, so that either can be let go; and merged ahead,
//! so that all of it together costs about what the groups do, however long the window.
//!
//! Slots come at one end and go at the other, so two stacks make the queue. The older slots are merged from the newest
//! of them back: when the oldest goes, what is left of them is there already. The newer ones are merged into one part as
//! they come to rest. When the older ones are used up, or one of them gets a row, it is all merged anew.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::room::Size;
use super::state::{ALLOCATION, Cell, LEAST_MAP, State};
use super::table::Block;

/// Parts of the older slots are only kept where that is so many times less than what it spares to merge. So they hold
/// that much less than the slots do, and what is left to merge is never more than so many times the groups.
const SPARED: isize = 4;

/// Where a slot is: its pane, then its block.
type At = (i64, Block);

/// A group's, shared by all the parts that it is in.
pub(super) type Key = Arc<[Cell]>;

/// What is kept of the groups of some rows.
#[derive(Clone, Debug, Default)]
struct Part {
    groups: HashMap<Key, Box<[State]>>,
    size: Size,
}

/// Parts in order, and what has been merged of them.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: BTreeMap<At, Slot>,
    /// `None` when it is to be made anew.
    merged: Option<Merged>,
    /// The oldest slot that has had a row since they were merged.
    touched: Option<At>,
    /// Of all slots, without what is merged.
    size: Size,
}

#[derive(Debug, Default)]
struct Slot {
    part: Part,
    /// The events of it are among these.
    numbers: Option<Range<u64>>,
}

#[derive(Debug)]
struct Merged {
    /// From each of these slots to the middle: the one of the oldest is the last.
    older: Vec<(At, Part)>,
    middle: At,
    /// From the middle to the first slot that is not at rest.
    newer: Part,
    rest: At,
}

impl Part {
    /// Lets a group take something, from nothing if it is new; how much more there is.
    fn add<E>(
        &mut self,
        key: &[Cell],
        new: impl Fn() -> Box<[State]>,
        take: impl Fn(&mut [State]) -> Result<Size, E>,
    ) -> Result<Size, E> {
        let before = self.size;
        if let Some(states) = self.groups.get_mut(key) {
            self.size += take(states)?;
        } else {
            let mut states = new();
            self.size += take(&mut states)? + group(&states) + of_key(key);
            self.groups.insert(key.into(), states);
        }
        Ok(self.size - before)
    }

    fn merge(&mut self, other: &Part) {
        for (key, states) in &other.groups {
            if let Some(own) = self.groups.get_mut(key) {
                let merged = own.iter_mut().zip(states).map(|(own, s)| own.merge(s));
                self.size += merged.sum::<Size>();
            } else {
                // The key is the other's.
                self.size += group(states) + states.iter().map(State::size).sum::<Size>();
                self.groups.insert(key.clone(), states.clone());
            }
        }
    }
}

/// What a group takes, without what its states keep and without its key.
fn group(states: &[State]) -> Size {
    // A map is up to twice as large as what is in it.
    let entry = 2 * (size_of::<(Key, Box<[State]>)>() + 1);
    Size::of_cell(entry + ALLOCATION + size_of_val(states))
}

fn of_key(key: &[Cell]) -> Size {
    // Shared, so that it is counted too.
    let own = 2 * size_of::<usize>() + ALLOCATION + size_of_val(key);
    Size::of_bytes(own + key.iter().map(Cell::heap).sum::<usize>())
}

/// What a slot takes without any group.
const EMPTY: usize = 2 * size_of::<(At, Slot)>() + LEAST_MAP;

impl Slot {
    fn end(&self) -> u64 {
        self.numbers.as_ref().map_or(0, |numbers| numbers.end)
    }
}

impl Slots {
    /// Lets a group take something in a slot, of an event that is among these.
    pub(super) fn add<E>(
        &mut self,
        at: At,
        numbers: &Range<u64>,
        key: &[Cell],
        new: impl Fn() -> Box<[State]>,
        take: impl Fn(&mut [State]) -> Result<Size, E>,
    ) -> Result<(), E> {
        let slot = self.slots.entry(at).or_insert_with(|| {
            self.size += Size::of_bytes(EMPTY);
            Slot::default()
        });
        let of_it = slot.numbers.get_or_insert_with(|| numbers.clone());
        *of_it = of_it.start.min(numbers.start)..of_it.end.max(numbers.end);
        self.size += slot.part.add(key, &new, &take)?;
        self.touched = Some(self.touched.map_or(at, |touched| touched.min(at)));
        match &mut self.merged {
            Some(merged) if at < merged.middle => self.merged = None,
            Some(merged) if at < merged.rest => drop(merged.newer.add(key, new, take)?),
            _ => {}
        }
        Ok(())
    }

    /// Forgets the panes before one, and the blocks before an event; whether there were any.
    pub(super) fn prune(&mut self, floor: i64, first: u64) -> bool {
        let is_gone = |at: &At, slot: &mut Slot| at.0 < floor || slot.end() <= first;
        let mut newest = None;
        for (at, slot) in self.slots.extract_if(.., is_gone) {
            self.size -= slot.part.size + Size::of_bytes(EMPTY);
            newest = Some(at);
        }
        let Some(newest) = newest else {
            return false;
        };
        match &mut self.merged {
            Some(merged) if newest < merged.middle => {
                while merged.older.pop_if(|(at, _)| *at <= newest).is_some() {}
            }
            _ => self.merged = None,
        }
        true
    }

    /// Whether an event is among those of a slot, and not the first of them: what was before it cannot be let go alone.
    pub(super) fn is_within(&self, first: u64) -> bool {
        let numbers = self.slots.values().filter_map(|slot| slot.numbers.as_ref());
        numbers
            .into_iter()
            .any(|n| n.start < first && first < n.end)
    }

    /// Groups in all slots, and values that are kept to tell them apart. What is merged is not counted: it holds a part
    /// of that ([`SPARED`]), and each group once more.
    pub(super) fn cells(&self) -> usize {
        usize::try_from(self.size.cells).unwrap_or_default()
    }

    /// Bytes that the slots hold, without what is merged.
    pub(super) fn bytes(&self) -> usize {
        self.size.bytes()
    }

    /// Bytes of what is merged.
    pub(super) fn merged_bytes(&self) -> usize {
        let merged = self.merged.iter();
        let sizes = merged.map(|merged| {
            let older = merged.older.iter().map(|(_, part)| part.size);
            merged.newer.size + older.sum::<Size>()
        });
        sizes.sum::<Size>().bytes()
    }

    /// All slots together, and how many bytes that holds.
    pub(super) fn total(&mut self) -> (HashMap<Key, Box<[State]>>, usize) {
        self.merge();
        let mut parts = self.parts().into_iter();
        let mut total = parts.next().cloned().unwrap_or_default();
        parts.for_each(|part| total.merge(part));
        (total.groups, total.size.bytes())
    }

    /// Merges what has come to rest: the slots that had no row since it was merged last.
    fn merge(&mut self) {
        let newest = self.slots.last_key_value().map(|(at, _)| *at);
        let Some(rest) = self.touched.take().or(newest) else {
            return;
        };
        match &mut self.merged {
            Some(merged) if merged.rest < rest => {
                let come = self.slots.range(merged.rest..rest);
                come.for_each(|(_, slot)| merged.newer.merge(&slot.part));
                merged.rest = rest;
            }
            Some(_) => {}
            None => self.merged = Some(self.merged_before(rest)),
        }
    }

    fn merged_before(&self, rest: At) -> Merged {
        let (mut older, mut part, mut spared) = (Vec::new(), Part::default(), 0);
        for (at, slot) in self.slots.range(..rest).rev() {
            part.merge(&slot.part);
            spared += slot.part.size.cells;
            if spared >= part.size.cells * SPARED {
                older.push((*at, part.clone()));
                spared = 0;
            }
        }
        Merged {
            older,
            middle: rest,
            newer: Part::default(),
            rest,
        }
    }

    /// Few parts that make up all slots.
    fn parts(&self) -> Vec<&Part> {
        let Some(merged) = &self.merged else {
            return self.slots.values().map(|slot| &slot.part).collect();
        };
        let older = merged.older.last();
        let from = older.map_or(merged.middle, |(at, _)| *at);
        let slots = self
            .slots
            .range(..from)
            .chain(self.slots.range(merged.rest..));
        let slots = slots.map(|(_, slot)| &slot.part);
        let merged = older
            .map(|(_, part)| part)
            .into_iter()
            .chain([&merged.newer]);
        merged.chain(slots).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use rusqlite::types::{Value, ValueRef};

    use super::super::table::Shared;
    use super::*;
    use crate::event::EventId;
    use crate::event::Topic;
    use crate::live::schema::{Retention, Schema};
    use crate::live::sql::Function;
    use crate::log::{self, Log};

    const FUNCTIONS: [Function; 6] = [
        Function::Count,
        Function::CountDistinct,
        Function::Sum,
        Function::Min,
        Function::Max,
        Function::VarPop,
    ];
    /// Rows of a block.
    const BLOCK: u64 = 4;
    /// Panes of a window.
    const WINDOW: i64 = 24;

    /// Slots, and the rows that they are to be made of.
    struct Both {
        slots: Slots,
        rows: Vec<(At, i64, i64)>,
        shared: Shared,
        now: i64,
        number: u64,
    }

    impl Both {
        fn new() -> Both {
            let schema = Schema {
                name: Topic::new("t").expect("a topic"),
                columns: Vec::new(),
                retention: Retention {
                    rows: BLOCK * 64,
                    age_ms: None,
                },
            };
            let log = Log::new(log::Limits::default(), "here", 1, Box::new(|| 0));
            Both {
                slots: Slots::default(),
                rows: Vec::new(),
                shared: Shared::new(Arc::new(schema), &log, EventId::ZERO),
                now: 0,
                number: 0,
            }
        }

        fn add(&mut self, late: i64, key: i64, value: i64) {
            let at = (self.now - late, self.shared.block(self.number, 0));
            self.number += 1;
            self.rows.push((at, key, value));
            let new = || FUNCTIONS.map(State::new).into();
            let take = |states: &mut [State]| Ok::<_, ()>(take(states, value));
            let key = [Cell::Integer(key)];
            let numbers = self.number - 1..self.number;
            let added = self.slots.add(at, &numbers, &key, new, take);
            added.expect("nothing fails here");
        }

        fn prune(&mut self, block: u64) {
            let floor = self.now - WINDOW;
            let first = self.shared.block(block * BLOCK, 0);
            self.slots.prune(floor, block * BLOCK);
            self.rows
                .retain(|((pane, block), ..)| *pane >= floor && *block >= first);
        }

        /// Merges ahead, and holds what comes of it to what the rows make.
        fn check(&mut self) {
            let (total, _) = self.slots.total();
            let total = total.iter().map(|(key, states)| (&**key, finished(states)));
            let mut rows: BTreeMap<[Cell; 1], [State; 6]> = BTreeMap::new();
            let mut cells = BTreeSet::new();
            for (at, key, value) in &self.rows {
                let states = rows.entry([Cell::Integer(*key)]);
                let states = states.or_insert_with(|| FUNCTIONS.map(State::new));
                take(states, *value);
                cells.extend([(*at, *key, None), (*at, *key, Some(*value))]);
            }
            let rows = rows
                .iter()
                .map(|(key, states)| (&key[..], finished(states)));
            assert_eq!(total.collect::<BTreeMap<_, _>>(), rows.collect());
            assert_eq!(self.slots.cells(), cells.len());
            if let Some(merged) = &self.slots.merged {
                let held = merged.older.iter().map(|(_, part)| part.size.cells);
                assert!(held.sum::<isize>() * SPARED <= self.slots.cells() as isize);
            }
        }

        /// Groups that have to be merged at a tick.
        fn cost(&self) -> usize {
            self.slots
                .parts()
                .iter()
                .map(|part| part.groups.len())
                .sum()
        }
    }

    fn take(states: &mut [State], value: i64) -> Size {
        let states = states.iter_mut();
        states.map(|s| s.add(ValueRef::Integer(value))).sum()
    }

    /// The variance is all but exact.
    fn finished(states: &[State]) -> Vec<Value> {
        let values = states.iter().zip(FUNCTIONS).map(|(s, f)| s.finish(f));
        let rounded = values.map(|value| match value.expect("no overflow") {
            Value::Real(x) => Value::Real((x * 1e6).round()),
            value => value,
        });
        rounded.collect()
    }

    #[derive(Clone, Debug)]
    enum Act {
        Rows(Vec<(i64, i64, i64)>),
        Pass(i64),
        /// Lets so many blocks go.
        Drop(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        let late = prop_oneof![12 => Just(0_i64), 3 => 0..3_i64, 1 => -3..WINDOW];
        prop_oneof![
            8 => vec((late, 0..5_i64, -3..4_i64), 0..8).prop_map(Act::Rows),
            8 => (0..3_i64).prop_map(Act::Pass),
            // The clock is turned back, or was away.
            1 => (-10..WINDOW).prop_map(Act::Pass),
            2 => (1..3_u64).prop_map(Act::Drop),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_merged_ahead_is_what_the_rows_make(acts in vec(act(), 1..60)) {
            let mut both = Both::new();
            let mut block = 0;
            // A window that is full, and has been merged.
            for _ in 0..WINDOW + 4 {
                both.now += 1;
                (0..5).for_each(|key| both.add(0, key, both.now % 7));
                both.prune(block);
                both.check();
            }
            let merged = both.slots.merged.as_ref().expect("it was merged");
            prop_assert!(!merged.older.is_empty() && !merged.newer.groups.is_empty());
            for act in acts {
                match act {
                    Act::Rows(rows) => rows.iter().for_each(|(l, k, v)| both.add(*l, *k, *v)),
                    Act::Pass(panes) => both.now += panes,
                    Act::Drop(blocks) => block = (block + blocks).min(both.number / BLOCK),
                }
                both.prune(block);
                both.check();
            }
        }
    }

    /// Ticks of a minute's window: with so many groups, so many of them at a tick, and some rows late.
    fn cost_of(groups: i64, rows: i64, late: i64) -> (usize, usize) {
        let mut both = Both::new();
        let (mut made, mut most) = (0, 0);
        for tick in 0..20 * WINDOW {
            both.now += 1;
            for row in 0..rows {
                let late = if row % 5 == 0 { late } else { 0 };
                both.add(late, (tick * rows + row) % groups, row);
            }
            both.prune(0);
            made += usize::from(both.slots.merged.is_none());
            both.slots.merge();
            if tick >= WINDOW {
                most = most.max(both.cost());
            }
        }
        both.check();
        (made, most)
    }

    #[test]
    fn a_tick_costs_the_groups() {
        for (groups, rows, late) in [(8, 8, 0), (8, 80, 0), (8, 8, 2), (500, 50, 0), (500, 50, 2)] {
            let (made, most) = cost_of(groups, rows, late);
            let about = format!("{groups} groups, {rows} rows, {late} late: {made}, {most}");
            // Each time it lasts for about a window.
            assert!((15..40).contains(&made), "{about}");
            // What is not merged for having been sparse, what is, and the slots that are not at rest.
            let slots = (3 + late) * rows;
            let bound = (SPARED as i64 + 2) * groups + slots;
            assert!(most as i64 <= bound, "{about} of {bound}");
        }
    }
}
