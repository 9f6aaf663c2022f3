//! What a query begins with that is kept fresh by the new rows alone: asked of the thread that has all rows.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Limits;
use super::encode::Written;
use super::panes::{Panes, Program};
use super::query::{self, Select};
use super::room::Room;
use super::table::{Block, Held};
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::problem::Problem;

/// The first result of a query of rows: so many.
const NEWEST: u64 = 100;

/// How many times [`Limits::query_time`] the rows of a shape may take in all, block by block.
const PATIENCE: u32 = 10;

/// The rows of one block that are retained.
pub(super) struct Span {
    pub(super) block: Block,
    /// From the first of them to the one after the last.
    pub(super) numbers: Range<u64>,
    /// The greatest `_tp_time` of them.
    pub(super) latest: i64,
}

/// What is asked for, as long as somebody has a use for it: thousands may wait, and those who asked be gone.
pub(super) enum Fill {
    /// The newest rows, for one who begins to watch.
    Newest {
        view: u64,
        table: Topic,
        sql: Weak<str>,
    },
    /// The states of all groups.
    Groups {
        shape: u64,
        table: Topic,
        program: Weak<Program>,
    },
}

/// What has come of it: everything before the event `place`.
pub(super) enum Filled {
    Newest {
        view: u64,
        place: Held,
        /// The oldest of them first.
        rows: Result<Written, Problem>,
    },
    Groups {
        shape: u64,
        program: Arc<Program>,
        place: Held,
        panes: Result<Panes, Stopped>,
    },
}

impl Fill {
    pub(super) fn table(&self) -> &Topic {
        match self {
            Fill::Newest { table, .. } | Fill::Groups { table, .. } => table,
        }
    }

    /// Does it, over what is retained; `None` when nobody wants it any more.
    pub(super) fn run(
        self,
        sandbox: &Sandbox,
        limits: &Limits,
        now_ms: u64,
        place: Held,
        spans: &[Span],
        room: Room,
    ) -> Option<Filled> {
        Some(match self {
            Fill::Newest { view, sql, .. } => Filled::Newest {
                view,
                place,
                rows: newest(sandbox, limits, now_ms, &sql.upgrade()?),
            },
            Fill::Groups { shape, program, .. } => {
                let program = program.upgrade()?;
                Filled::Groups {
                    shape,
                    place,
                    panes: groups(sandbox, limits, now_ms, &program, spans, room),
                    program,
                }
            }
        })
    }
}

/// As many of the newest as a result may hold.
fn newest(sandbox: &Sandbox, limits: &Limits, now_ms: u64, sql: &str) -> Result<Written, Problem> {
    let mut written = Written::default();
    let parameters = [(":now", now_ms), (":most", NEWEST)];
    let mut select = Select::new(sql.to_owned());
    let each = select.each(sandbox, &parameters, limits.query_time, |columns, row| {
        written.push(columns, row)?;
        let fits = written.len() <= limits.result_bytes;
        if !fits {
            written.truncate(written.count() - 1);
        }
        Ok(fits)
    });
    each.map_err(|why| query::stopped(why, limits))?;
    Ok(written.reversed())
}

fn groups(
    sandbox: &Sandbox,
    limits: &Limits,
    now_ms: u64,
    program: &Program,
    spans: &[Span],
    room: Room,
) -> Result<Panes, Stopped> {
    let mut panes = Panes::new(room);
    let floor = program.floor_from(now_ms);
    let mut left: Duration = limits.query_time * PATIENCE;
    for span in spans.iter().filter(|s| program.may_want(s.latest, floor)) {
        let began = Instant::now();
        let time = limits.query_time.min(left);
        let numbers = span.numbers.clone();
        program.add(sandbox, time, span.block, numbers, floor, &mut panes)?;
        panes.fit(limits.groups)?;
        left = left.saturating_sub(began.elapsed());
    }
    Ok(panes)
}
