//! What a query begins with that is kept fresh by the new rows alone: asked of the thread that has all rows.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Limits;
use super::encode::Written;
use super::panes::{Panes, Program};
use super::quantum::{self, Quantum};
use super::query::{self, Select};
use super::room::Room;
use super::table::{Block, Held, Shared};
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::problem::Problem;

/// The first result of a query of rows: so many.
const NEWEST: u64 = 100;

/// How many times [`Limits::query_time`] the rows of a shape may take in all: nobody else waits for all of it, since it
/// is done in pieces.
const PATIENCE: u32 = 10;

/// Events that are taken for a shape before it is looked at the time: at first, and when that was not long.
const FEW: u64 = 64;
const MANY: u64 = 4_096;

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
        quantum: Quantum,
    },
    /// The states of all groups.
    Groups {
        shape: u64,
        table: Topic,
        program: Weak<Program>,
        begun: Option<Box<Begun>>,
    },
}

/// What has been done of a shape.
pub(super) struct Begun {
    panes: Panes,
    /// The first pane that was wanted when it was begun.
    floor: i64,
    /// The first event that it has not had.
    next: u64,
    /// How many to take at once.
    events: u64,
    took: Duration,
}

/// What comes of an ask.
pub(super) enum Done {
    Filled(Filled),
    /// It takes long, and is to be gone on with.
    More(Fill),
    /// Nobody wants it any more.
    Gone,
}

/// What is there to do it with.
pub(super) struct With<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) limits: &'a Limits,
    pub(super) now_ms: u64,
    pub(super) shared: &'a Arc<Shared>,
    /// The first event that is not there yet.
    pub(super) place: u64,
    pub(super) spans: &'a [Span],
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

    /// How much time it has had, or is about to have at once.
    pub(super) fn cost(&self) -> Duration {
        match self {
            Fill::Newest { quantum, .. } => quantum.time(),
            Fill::Groups { begun, .. } => begun.as_ref().map_or(Duration::ZERO, |b| b.took),
        }
    }

    /// Does it, or a piece of it, over what is retained.
    pub(super) fn run(self, with: &With<'_>, room: Room) -> Done {
        match self {
            Fill::Newest {
                view,
                table,
                sql,
                mut quantum,
            } => {
                let Some(text) = sql.upgrade() else {
                    return Done::Gone;
                };
                match newest(with, &text, quantum.time()) {
                    Err(Stopped::Time) if quantum.grow() => Done::More(Fill::Newest {
                        view,
                        table,
                        sql,
                        quantum,
                    }),
                    rows => Done::Filled(Filled::Newest {
                        view,
                        place: with.shared.hold(with.place),
                        rows: rows.map_err(|why| query::stopped(why, with.limits)),
                    }),
                }
            }
            Fill::Groups {
                shape,
                table,
                program,
                begun,
            } => {
                let Some(wanted) = program.upgrade() else {
                    return Done::Gone;
                };
                let mut begun = begun.unwrap_or_else(|| Box::new(Begun::new(with, &wanted, room)));
                let panes = match begun.go_on(with, &wanted) {
                    Ok(false) => {
                        return Done::More(Fill::Groups {
                            shape,
                            table,
                            program,
                            begun: Some(begun),
                        });
                    }
                    Ok(true) => Ok(begun.panes),
                    Err(why) => Err(why),
                };
                Done::Filled(Filled::Groups {
                    shape,
                    program: wanted,
                    place: with.shared.hold(with.place),
                    panes,
                })
            }
        }
    }
}

/// As many of the newest as a result may hold.
fn newest(with: &With<'_>, sql: &str, time: Duration) -> Result<Written, Stopped> {
    let limits = with.limits;
    let mut written = Written::default();
    let parameters = [(":now", with.now_ms), (":most", NEWEST)];
    let mut select = Select::new(sql.to_owned());
    select.each(with.sandbox, &parameters, time, |columns, row| {
        written.push(columns, row)?;
        let fits = written.len() <= limits.result_bytes;
        if !fits {
            written.truncate(written.count() - 1);
        }
        Ok(fits)
    })?;
    Ok(written.reversed())
}

impl Begun {
    fn new(with: &With<'_>, program: &Program, room: Room) -> Begun {
        Begun {
            panes: Panes::new(room),
            floor: program.floor_from(with.now_ms),
            next: 0,
            events: FEW,
            took: Duration::ZERO,
        }
    }

    /// Takes rows for a while; whether that were all. Those that have come since are among them. Those that were let go
    /// since are still in the panes, in blocks of their own, as are those that are let go later: whoever takes the panes
    /// lets them go too.
    fn go_on(&mut self, with: &With<'_>, program: &Program) -> Result<bool, Stopped> {
        let began = with.sandbox.now();
        let done = self.take(with, program, began);
        self.took += with.sandbox.now() - began;
        done
    }

    fn take(
        &mut self,
        with: &With<'_>,
        program: &Program,
        began: Duration,
    ) -> Result<bool, Stopped> {
        let limits = with.limits;
        let piece = quantum::trial(limits.query_time);
        let left = (limits.query_time * PATIENCE).saturating_sub(self.took);
        let wanted = |span: &&Span| program.may_want(span.latest, self.floor);
        for span in with.spans.iter().filter(wanted) {
            let mut from = span.numbers.start.max(self.next);
            while from < span.numbers.end {
                let before = with.sandbox.now() - began;
                if before >= left {
                    return Err(Stopped::Time);
                }
                if before >= piece {
                    return Ok(false);
                }
                let numbers = from..span.numbers.end.min(from + self.events);
                from = numbers.end;
                let time = limits.query_time.min(left - before);
                let panes = &mut self.panes;
                program.add(with.sandbox, time, span.block, numbers, self.floor, panes)?;
                panes.fit(limits.groups)?;
                self.next = from;
                let took = with.sandbox.now() - began - before;
                self.events = match took < piece / 8 {
                    true => (self.events * 2).min(MANY),
                    false => (self.events / 2).max(1),
                };
            }
        }
        Ok(true)
    }
}
