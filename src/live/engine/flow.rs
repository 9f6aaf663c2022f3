//! Queries of the dialect: each reads the rows of a table from a place on, those that are retained and then those that
//! come, by their numbers, so that there is no seam between them. It is done on the thread that has all rows, a piece at
//! a time, and only while the reader takes more.

mod gather;
mod scan;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use rusqlite::types::ValueRef;

use self::gather::Gathering;
use super::quantum::{MORE, TRIAL};
use super::query;
use super::table::Shared;
use super::threads::{Ask, Threads};
use super::typed;
use super::{Limits, Time};
use crate::event::Topic;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::sql::dialect::{Flow, Heading, Work};
use crate::problem::Problem;

/// From how long a piece on the next of the same query is large.
const LARGE: Duration = Duration::from_millis(100);

/// Numbers of rows that are looked at in a piece.
const PIECE: u64 = 2_500;

/// Bytes of rows that are told at once, about.
const TOLD_BYTES: usize = 256 << 10;

/// Who reads what a query of the dialect yields. Called on the engine's thread, so it must not wait.
pub trait Reader: Send + Sync {
    /// Whether it takes more now. Nothing is done for one who does not, until it is woken ([`Run::wake`]).
    fn has_room(&self) -> bool;
    /// Takes what has come.
    fn tell(&self, told: Told);
}

/// What comes of a query of the dialect.
#[derive(Clone, Debug)]
pub enum Told {
    /// Rows, each a JSON array in the header's order.
    Rows(Vec<Bytes>),
    /// It has ended, or why it failed. Nothing more is told.
    Ended(Result<(), Problem>),
}

/// What a query of the dialect has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were read.
    pub rows: u64,
    /// Bytes that they hold, about.
    pub bytes: u64,
    /// The latest time of them, in milliseconds since the Unix epoch; 0 for none.
    pub last_event_ms: u64,
    /// Microseconds of work.
    pub busy_us: u64,
    /// Rows that came after their window was told.
    pub late_rows: u64,
    /// Rows of the result.
    pub told_rows: u64,
}

/// The same as it is counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: AtomicU64,
    bytes: AtomicU64,
    last_event_ms: AtomicU64,
    busy_us: AtomicU64,
    late_rows: AtomicU64,
    told_rows: AtomicU64,
}

/// A query of the dialect that is under way, for as long as this lives.
pub struct Run {
    pub(super) id: u64,
    pub(super) threads: Arc<Threads>,
    pub(super) tally: Arc<Tally>,
}

impl Run {
    /// The reader has room again.
    pub fn wake(&self) {
        self.threads.whole(Ask::Look);
    }

    /// What it has done.
    pub fn progress(&self) -> Progress {
        Progress::of(&self.tally)
    }
}

impl Progress {
    pub(super) fn of(tally: &Tally) -> Progress {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            rows: read(&tally.rows),
            bytes: read(&tally.bytes),
            last_event_ms: read(&tally.last_event_ms),
            busy_us: read(&tally.busy_us),
            late_rows: read(&tally.late_rows),
            told_rows: read(&tally.told_rows),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.threads.whole(Ask::Leave(self.id));
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("id", &self.id).finish()
    }
}

/// Somebody begins to read.
pub(super) struct Begin {
    pub(super) id: u64,
    pub(super) flow: Arc<Flow>,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) tally: Arc<Tally>,
    /// Its tables, and the ends of their topics at that time.
    pub(super) places: Vec<(Topic, u64)>,
}

/// A query that is under way.
pub(super) struct Flowing {
    begin: Begin,
    /// Its tables, the first of which is read row by row if that can be.
    tables: Vec<Arc<Shared>>,
    /// The next row, and the one after the last, if there is a last.
    place: u64,
    end: Option<u64>,
    start_ms: u64,
    to_skip: u64,
    gathering: Option<Gathering>,
    /// The statement that counts rows.
    count: String,
    has_begun: bool,
    /// Whether its next piece of work is a large one.
    is_large: bool,
    /// Which of the runs of large pieces its last one was; else which was the last of all when it came.
    pub(super) ran: u64,
    /// How long it may take next, if it is done at once: if that is not enough, it is begun anew later, and may take more.
    pub(super) quantum: Duration,
}

/// What a piece of work has come to.
pub(super) enum Piece {
    Done,
    Ended(Result<(), Problem>),
}

/// What is there for a piece of work.
pub(super) struct Around<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) limits: &'a Limits,
    pub(super) now: Time,
    /// How many bytes the rows of its first table hold that have these numbers, about.
    pub(super) bytes: &'a dyn Fn(Range<u64>) -> u64,
}

impl Flowing {
    /// `tables` are those that it reads; so many runs of large pieces have been.
    pub(super) fn new(begin: Begin, tables: Vec<Arc<Shared>>, runs: u64, now: &Time) -> Flowing {
        let flow = &begin.flow;
        let place = begin.places.first().map_or(0, |(_, place)| *place);
        let first = tables
            .first()
            .map_or(0, |shared| shared.first.load(Ordering::Acquire));
        Flowing {
            place: match flow.from_earliest {
                true => first.min(place),
                false => place,
            },
            end: (!flow.is_live).then_some(place),
            start_ms: now.wall_ms,
            to_skip: flow.skip,
            gathering: match &flow.work {
                Work::Groups(gathered) => Some(Gathering::new(begin.id, gathered, now)),
                _ => None,
            },
            count: scan::statement(flow, &tables),
            has_begun: false,
            is_large: false,
            ran: runs,
            quantum: TRIAL,
            tables,
            begin,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.begin.id
    }

    /// Bytes that its groups hold, about.
    pub(super) fn held(&self) -> usize {
        self.gathering.as_ref().map_or(0, Gathering::held)
    }

    /// Whether it is done at once, when all is there.
    fn is_whole(&self) -> bool {
        matches!(self.begin.flow.work, Work::Whole { .. })
    }

    /// Whether others go before it.
    pub(super) fn is_large(&self) -> bool {
        self.is_large
    }

    pub(super) fn places(&self) -> &[(Topic, u64)] {
        &self.begin.places
    }

    pub(super) fn reads(&self, table: &Topic) -> bool {
        self.begin.places.iter().any(|(name, _)| name == table)
    }

    /// The first row that it still wants, while it is read.
    pub(super) fn wants(&self) -> Option<u64> {
        self.begin.reader.has_room().then_some(self.place)
    }

    pub(super) fn tell(&self, told: Told) {
        self.begin.reader.tell(told);
    }

    /// The end of what is there for it: `taken` is the place up to which the table has the rows.
    fn available(&self, taken: u64) -> u64 {
        self.end.map_or(taken, |end| end.min(taken))
    }

    /// How long until there is something to do; `taken` as for [`Flowing::step`].
    pub(super) fn pause(&self, taken: u64, now: &Time) -> Option<Duration> {
        if !self.begin.reader.has_room() {
            return None;
        }
        let is_over = self.end.is_some_and(|end| taken >= end);
        let is_some = self.place < self.available(taken) && !self.is_whole();
        if is_some || is_over || self.begin.flow.limit == Some(0) {
            return Some(Duration::ZERO);
        }
        let due = self.gathering.as_ref().and_then(Gathering::due);
        due.map(|due| due.saturating_sub(now.steady))
    }

    /// Does a piece of work.
    pub(super) fn step(&mut self, taken: u64, around: &Around<'_>) -> Piece {
        let began = Instant::now();
        let piece = self.work(taken, around);
        let took = began.elapsed();
        self.is_large = took > LARGE || self.quantum > TRIAL;
        let took = took.as_micros() as u64;
        self.begin.tally.busy_us.fetch_add(took, Ordering::Relaxed);
        match piece {
            Ok(true) => Piece::Ended(Ok(())),
            Ok(false) => Piece::Done,
            Err(problem) => Piece::Ended(Err(problem)),
        }
    }

    /// Whether it has ended.
    fn work(&mut self, taken: u64, around: &Around<'_>) -> Result<bool, Problem> {
        let flow = self.begin.flow.clone();
        if flow.limit == Some(0) {
            return Ok(true);
        }
        if let Work::Whole { sql } = &flow.work {
            return self.whole(sql, taken, around);
        }
        self.hold_to_retained()?;
        let available = self.available(taken);
        if self.place < available {
            let end = available.min(self.place + PIECE);
            match (&flow.work, &self.gathering) {
                (Work::Rows { sql, .. }, _) => {
                    let (end, rows) = self.rows(sql, end, &flow.header, around)?;
                    self.count(end, around)?;
                    self.place = end;
                    return Ok(self.told(rows));
                }
                (_, Some(gathering)) => {
                    let end = gathering.piece(self.place, end);
                    let read = self.count(end, around)?;
                    let numbers = self.place..end;
                    self.place = end;
                    if let Some(gathering) = &mut self.gathering {
                        let late = gathering.take(numbers, &read, self.start_ms, around)?;
                        self.begin
                            .tally
                            .late_rows
                            .fetch_add(late, Ordering::Relaxed);
                    }
                }
                _ => self.place = end,
            }
        }
        let is_over = self.end.is_some_and(|end| self.place >= end);
        if let Some(gathering) = &mut self.gathering {
            let rows = gathering.results(is_over, &flow.header, self.start_ms, around)?;
            if self.told(rows) {
                return Ok(true);
            }
        }
        Ok(is_over)
    }

    /// Begins with what is retained, and goes on only without a gap.
    fn hold_to_retained(&mut self) -> Result<(), Problem> {
        let first = self.tables.first().map(|s| s.first.load(Ordering::Acquire));
        let first = first.unwrap_or_default();
        if self.place < first {
            if self.has_begun {
                let detail = format!(
                    "the stream has let go {} rows that were not read yet; read faster, or have it retain more",
                    first - self.place
                );
                return Err(Problem::new(StatusCode::GONE, "rows-gone", detail));
            }
            self.place = first;
        }
        self.has_begun = true;
        Ok(())
    }

    /// The rows of the result up to a number, and where to go on: they may be too many for one piece.
    fn rows(
        &self,
        sql: &str,
        end: u64,
        header: &[Heading],
        around: &Around<'_>,
    ) -> Result<(u64, Vec<Bytes>), Problem> {
        let parameters = [
            (":first", self.place),
            (":end", end),
            (":start", self.start_ms),
            (":now", around.now.wall_ms),
            (":version", 0),
        ];
        let (mut told, mut bytes, mut last, mut next) = (Vec::new(), 0, self.place, end);
        let all = query::each(
            around.sandbox,
            sql,
            &parameters,
            around.limits.query_time,
            |row| {
                let number = match row.get_ref(header.len())? {
                    ValueRef::Integer(number) => number as u64,
                    _ => last,
                };
                if bytes > TOLD_BYTES && number != last {
                    next = number;
                    return Ok(false);
                }
                last = number;
                let row = typed::row(header, row)?;
                bytes += row.len();
                told.push(Bytes::from(row));
                Ok(true)
            },
        );
        all.map_err(|why| query::stopped(why, around.limits))?;
        Ok((next, told))
    }

    /// All of the result at once.
    fn whole(&mut self, sql: &str, taken: u64, around: &Around<'_>) -> Result<bool, Problem> {
        if self.end.is_some_and(|end| taken < end) {
            return Ok(false);
        }
        let Around {
            sandbox,
            limits,
            now,
            ..
        } = around;
        let header = &self.begin.flow.header;
        let parameters = [
            (":start", self.start_ms),
            (":now", now.wall_ms),
            (":version", 0),
        ];
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let time = self.quantum.min(limits.query_time);
        let all = query::each(sandbox, sql, &parameters, time, |row| {
            let row = typed::row(header, row)?;
            bytes += row.len();
            rows.push(Bytes::from(row));
            Ok(bytes <= limits.flow_bytes)
        });
        if all == Err(Stopped::Time) && time < limits.query_time {
            self.quantum *= MORE;
            return Ok(false);
        }
        all.map_err(|why| query::stopped(why, limits))?;
        if bytes > limits.flow_bytes {
            return Err(too_large(limits));
        }
        self.count_all(around)?;
        self.told(rows);
        Ok(true)
    }

    /// Tells rows of the result, but for those that OFFSET leaves out; whether LIMIT was reached.
    fn told(&mut self, mut rows: Vec<Bytes>) -> bool {
        let skipped = self.to_skip.min(rows.len() as u64);
        self.to_skip -= skipped;
        rows.drain(..skipped as usize);
        let tally = &self.begin.tally;
        let before = tally.told_rows.load(Ordering::Relaxed);
        let left = self
            .begin
            .flow
            .limit
            .map(|limit| limit.saturating_sub(before));
        if let Some(left) = left {
            rows.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        let count = rows.len() as u64;
        tally.told_rows.fetch_add(count, Ordering::Relaxed);
        if count > 0 {
            self.begin.reader.tell(Told::Rows(rows));
        }
        left.is_some_and(|left| count >= left)
    }

    /// Leaves nothing behind.
    pub(super) fn end(&self, sandbox: &Sandbox) {
        if let Some(gathering) = &self.gathering {
            gathering.drop_table(sandbox);
        }
    }
}

fn too_large(limits: &Limits) -> Problem {
    let detail = format!(
        "the result is over its limit of {} bytes (stream-result); select less, or add a LIMIT",
        limits.flow_bytes
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "stream-result", detail)
}

/// Why groups cannot be kept.
fn stopped(why: Stopped, limits: &Limits) -> Problem {
    query::stopped(why, limits)
}
