//! What a query begins with that is kept fresh by the new rows alone: asked of the thread that has all rows.

use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::encode::Written;
use super::panes::{Panes, Program};
use super::query::{self, Select};
use super::table::Block;
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::problem::Problem;

/// The first result of a query of rows: so many.
const NEWEST: u64 = 100;

/// How many times [`Limits::query_time`] the rows of a shape may take in all, block by block.
const PATIENCE: u32 = 10;

/// What is asked for.
pub(super) enum Fill {
    /// The newest rows, for one who begins to watch.
    Newest {
        view: u64,
        table: Topic,
        sql: String,
    },
    /// The states of all groups.
    Groups { shape: u64, program: Arc<Program> },
}

/// What has come of it: everything before the event `place`.
pub(super) enum Filled {
    Newest {
        view: u64,
        place: u64,
        /// The oldest of them first.
        rows: Result<Written, Problem>,
    },
    Groups {
        shape: u64,
        program: Arc<Program>,
        place: u64,
        panes: Result<Panes, Stopped>,
    },
}

impl Fill {
    pub(super) fn table(&self) -> &Topic {
        match self {
            Fill::Newest { table, .. } => table,
            Fill::Groups { program, .. } => program.table(),
        }
    }

    /// Does it, over the blocks that are retained.
    pub(super) fn run(
        self,
        sandbox: &Sandbox,
        limits: &Limits,
        now_ms: u64,
        place: u64,
        blocks: &[(Block, u64, u64)],
    ) -> Filled {
        match self {
            Fill::Newest { view, sql, .. } => Filled::Newest {
                view,
                place,
                rows: newest(sandbox, limits, now_ms, sql),
            },
            Fill::Groups { shape, program } => Filled::Groups {
                shape,
                place,
                panes: groups(sandbox, limits, &program, blocks),
                program,
            },
        }
    }
}

/// As many of the newest as a result may hold.
fn newest(
    sandbox: &Sandbox,
    limits: &Limits,
    now_ms: u64,
    sql: String,
) -> Result<Written, Problem> {
    let mut written = Written::default();
    let parameters = [(":now", now_ms), (":most", NEWEST)];
    let each = Select::new(sql).each(sandbox, &parameters, limits.query_time, |columns, row| {
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
    program: &Program,
    blocks: &[(Block, u64, u64)],
) -> Result<Panes, Stopped> {
    let mut panes = Panes::default();
    let mut left: Duration = limits.query_time * PATIENCE;
    for (block, first, end) in blocks {
        let began = std::time::Instant::now();
        let time = limits.query_time.min(left);
        program.add(sandbox, time, *block, *first..*end, i64::MIN, &mut panes)?;
        left = left.saturating_sub(began.elapsed());
    }
    Ok(panes)
}
