//! Groups of a query of the dialect: what is kept of each, and when they are told. Those of windows are told and forgotten
//! when the time that rows say has passed the window's end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::scan::Counted;
use super::{Around, stopped};
use crate::live::engine::panes::{NUMBER, Program};
use crate::live::engine::state::{ALLOCATION, Cell, State};
use crate::live::engine::totals::Totals;
use crate::live::engine::{Time, query, typed};
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::sql::Window;
use crate::live::sql::dialect::{Emit, Gathered, Heading, InWindows};
use crate::live::sql::names::quoted;
use crate::problem::Problem;
use bytes::Bytes;

type Key = Arc<[Cell]>;

/// The groups of one query.
pub(super) struct Gathering {
    program: Program,
    result: String,
    totals: Totals,
    groups: BTreeMap<Key, Box<[State]>>,
    /// Bytes that they hold, about.
    held: usize,
    /// Those that rows have come to since they were told.
    changed: BTreeSet<Key>,
    emit: Option<Emit>,
    windows: Option<InWindows>,
    /// Windows up to this end are over: by what the rows say, whether the query wants them or not.
    closed: i64,
    /// When rows came last.
    heard: Duration,
    /// When they are told next, if that is by the clock.
    due: Duration,
    /// Counts the results.
    version: u64,
}

impl Gathering {
    pub(super) fn new(id: u64, gathered: &Gathered, now: &Time) -> Gathering {
        let groups = &gathered.groups;
        let mut rows = groups.rows.clone();
        // Each row comes with its number.
        rows.window = Some(Window {
            time: quoted(NUMBER),
            size: 1,
            inclusive: true,
        });
        rows.from += &format!(" order by {}", quoted(NUMBER));
        let totals = Totals::new(&format!("flow{id}"));
        let period = match gathered.emit {
            Some(Emit::Periodic { every_ms, .. }) => Duration::from_millis(every_ms),
            _ => Duration::ZERO,
        };
        Gathering {
            program: Program::new(&rows, 1, groups.aggregates.clone()),
            result: totals.under(&groups.result),
            totals,
            groups: BTreeMap::new(),
            held: 0,
            changed: BTreeSet::new(),
            emit: gathered.emit,
            windows: gathered.windows.clone(),
            closed: i64::MIN,
            heard: now.steady,
            due: now.steady + period,
            version: 0,
        }
    }

    /// When there is something to do without any row.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.emit? {
            Emit::Periodic { repeat, .. } => {
                (repeat || !self.changed.is_empty()).then_some(self.due)
            }
            Emit::AfterClose {
                timeout_ms: Some(ms),
                ..
            } => (!self.groups.is_empty()).then_some(self.heard + Duration::from_millis(ms)),
            _ => None,
        }
    }

    /// Where a piece ends.
    pub(super) fn piece(&self, place: u64, end: u64) -> u64 {
        match self.emit {
            Some(Emit::PerEvent) => place + 1,
            _ => end,
        }
    }

    /// Takes rows; how many of them came too late for a window of theirs. `read` is what was read among which they are.
    pub(super) fn take(
        &mut self,
        numbers: Range<u64>,
        read: &Counted,
        start_ms: u64,
        around: &Around<'_>,
    ) -> Result<u64, Problem> {
        let Around {
            sandbox,
            limits,
            now,
            ..
        } = around;
        let parameters = [
            (":first", numbers.start),
            (":end", numbers.end),
            (":start", start_ms),
            (":now", now.wall_ms),
            (":version", self.version),
        ];
        if self.changed.is_empty() {
            // Nothing was told while nothing came.
            self.next_due(now.steady);
        }
        let (mut late, mut last_late) = (0, None);
        let (windows, most, delay) = (&self.windows, limits.groups, self.delay());
        let mut closed = self.closed;
        // Whether rows come together or one by one makes no difference: each moves the end of what is over for those
        // that come after it.
        let mut steps = read.steps.iter().peekable();
        let mut close = |closed: &mut i64, before: i64| {
            while let Some((_, time)) = steps.next_if(|(number, _)| *number < before) {
                *closed = delay.map_or(*closed, |delay| time.saturating_sub(delay).max(*closed));
            }
        };
        let (program, groups, changed) = (&self.program, &mut self.groups, &mut self.changed);
        let held = &mut self.held;
        let taken = program.each(sandbox, &parameters, limits.query_time, |key, row| {
            if let Some(windows) = windows {
                let number = row.get::<_, i64>(0)?;
                close(&mut closed, number);
                // Without a time it is in no window.
                let Some(end) = end_of(windows, key) else {
                    return Ok(true);
                };
                if end <= closed {
                    // It may be late for several.
                    late += u64::from(last_late.replace(number) != Some(number));
                    return Ok(true);
                }
            }
            let known = groups.get_key_value(key).map(|(key, _)| key.clone());
            let key = known.unwrap_or_else(|| key.into());
            let states = groups.entry(key.clone()).or_insert_with(|| {
                let states = program.states();
                *held += size(&key, &states);
                states
            });
            let before = bytes(states);
            program.take(states, row)?;
            *held = (*held + bytes(states)).saturating_sub(before);
            changed.insert(key);
            Ok(*held <= limits.states_bytes)
        });
        taken.map_err(|why| stopped(why, limits))?;
        close(&mut closed, i64::MAX);
        self.closed = closed;
        if read.rows > 0 {
            self.heard = now.steady;
        }
        if self.held > limits.states_bytes {
            return Err(query::too_much_held(limits));
        }
        if self.groups.len() > most {
            return Err(query::too_many_groups(limits));
        }
        Ok(late)
    }

    /// The results that are to be told now; `is_over` when no more rows will come.
    pub(super) fn results(
        &mut self,
        is_over: bool,
        header: &[Heading],
        start_ms: u64,
        around: &Around<'_>,
    ) -> Result<Vec<Bytes>, Problem> {
        let now = around.now.steady;
        let keys: Vec<Key> = match self.emit {
            None if !is_over => return Ok(Vec::new()),
            None => {
                if self.program.grouped.keys.is_empty() {
                    let states = self.program.states();
                    self.groups.entry([].into()).or_insert(states);
                }
                self.groups.keys().cloned().collect()
            }
            Some(Emit::OnUpdate | Emit::PerEvent) => self.changed.iter().cloned().collect(),
            Some(Emit::Periodic { repeat, .. }) => {
                if now < self.due {
                    return Ok(Vec::new());
                }
                self.next_due(now);
                match repeat || !self.changed.is_empty() {
                    true => self.groups.keys().cloned().collect(),
                    false => Vec::new(),
                }
            }
            Some(Emit::AfterClose { timeout_ms, .. }) => {
                let timeout = timeout_ms.map(Duration::from_millis);
                if timeout.is_some_and(|timeout| now >= self.heard + timeout) {
                    self.closed = self
                        .last_end()
                        .map_or(self.closed, |end| end.max(self.closed));
                }
                self.ended()
            }
        };
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.told(&keys, header, start_ms, around)?;
        self.changed.clear();
        match self.emit {
            Some(Emit::AfterClose { .. }) => {
                keys.iter().for_each(|key| self.forget(key));
            }
            Some(_) => self.forget_ended(),
            None => {}
        }
        Ok(rows)
    }

    /// How much later than a window's end a row must be for it to be over; `None` where no row is too late.
    fn delay(&self) -> Option<i64> {
        match self.emit? {
            Emit::AfterClose { delay_ms, .. } => Some(delay_ms as i64),
            _ => Some(0),
        }
    }

    /// The next of the times at which they are told by the clock.
    fn next_due(&mut self, now: Duration) {
        if let Some(Emit::Periodic { every_ms, .. }) = self.emit
            && self.due <= now
        {
            let period = u128::from(every_ms);
            let periods = (now - self.due).as_millis() / period + 1;
            self.due += Duration::from_millis((periods * period) as u64);
        }
    }

    /// Forgets windows that are over, and have been told.
    fn forget_ended(&mut self) {
        for key in self.ended() {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(states) = self.groups.remove(key) {
            self.held = self.held.saturating_sub(size(key, &states));
        }
    }

    /// Bytes that its groups hold, about.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The groups of windows that are over.
    fn ended(&self) -> Vec<Key> {
        let Some(windows) = &self.windows else {
            return Vec::new();
        };
        let is_over = |key: &Key| end_of(windows, key).is_some_and(|end| end <= self.closed);
        let keys = self.groups.keys();
        keys.filter(|key| is_over(key)).cloned().collect()
    }

    fn last_end(&self) -> Option<i64> {
        let windows = self.windows.as_ref()?;
        self.groups
            .keys()
            .filter_map(|key| end_of(windows, key))
            .max()
    }

    /// Makes the result of some groups.
    fn told(
        &mut self,
        keys: &[Key],
        header: &[Heading],
        start_ms: u64,
        around: &Around<'_>,
    ) -> Result<Vec<Bytes>, Problem> {
        let Around {
            sandbox,
            limits,
            now,
            ..
        } = around;
        self.version += 1;
        let groups = keys.iter().filter_map(|key| self.groups.get_key_value(key));
        let groups = groups.map(|(key, states)| (&**key, &**states));
        let written = self.totals.write(sandbox, &self.program, groups);
        if !written.map_err(|why| stopped(why, limits))?.is_empty() {
            let why = Stopped::Other("integer overflow".to_owned());
            return Err(stopped(why, limits));
        }
        let parameters = [
            (":start", start_ms),
            (":now", now.wall_ms),
            (":version", self.version),
        ];
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let all = query::each(
            sandbox,
            &self.result,
            &parameters,
            limits.query_time,
            |row| {
                let row = typed::row(header, row)?;
                bytes += row.len();
                rows.push(Bytes::from(row));
                Ok(bytes <= limits.flow_bytes)
            },
        );
        all.map_err(|why| stopped(why, limits))?;
        match bytes > limits.flow_bytes {
            true => Err(super::too_large(limits)),
            false => Ok(rows),
        }
    }

    pub(super) fn drop_table(&self, sandbox: &Sandbox) {
        self.totals.drop_table(sandbox);
    }
}

/// Bytes of a group, about, in the two trees that it is in.
fn size(key: &Key, states: &[State]) -> usize {
    let cells: usize = key.iter().map(Cell::heap).sum();
    let own = 6 * ALLOCATION + size_of_val(&**key) + size_of_val(states);
    own + cells + bytes(states)
}

fn bytes(states: &[State]) -> usize {
    states.iter().map(|state| state.size().bytes()).sum()
}

/// When the window of a group ends, in milliseconds since the Unix epoch.
fn end_of(windows: &InWindows, key: &[Cell]) -> Option<i64> {
    match key.get(windows.key)? {
        Cell::Integer(ms) => Some(ms.saturating_add(windows.to_end)),
        Cell::Real(ms) => Some((*ms as i64).saturating_add(windows.to_end)),
        _ => None,
    }
}
