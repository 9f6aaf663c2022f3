//! The SQL of streams, as the clients of Timeplus write it: `FROM s` is what comes, `FROM table(s)` what is there.
//!
//! `clauses` takes away what the parser does not know, `kinds` tells the types, and the rest is read, checked and written
//! for SQLite like any other query by `read`; what `Flow` says is done by the engine.

mod clauses;
mod ddl;
pub mod functions;
mod kinds;
mod read;

pub use self::clauses::Emit;
use crate::live::schema::{TIME, Type};
use crate::live::sql::Groups;

/// What may be sent as a query.
#[derive(Clone, Debug)]
pub enum Statement {
    /// SELECT.
    Select(Box<Flow>),
    /// CREATE STREAM.
    Create {
        /// Its name.
        name: String,
        /// Names and types of its columns.
        columns: Vec<(String, String)>,
        /// IF NOT EXISTS.
        if_absent: bool,
    },
    /// DROP STREAM.
    Drop {
        /// Its name.
        name: String,
        /// IF EXISTS.
        if_there: bool,
    },
}

/// A query of the dialect, understood.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The columns of the result.
    pub header: Vec<Heading>,
    /// Whether it goes on with what comes; else it ends with what is there.
    pub is_live: bool,
    /// Which columns are times of the stream's own.
    pub times: Times,
    /// What it is made of.
    pub about: About,
    /// Whether it begins with the rows from before.
    pub(crate) from_earliest: bool,
    /// Rows of the result that are left out at first.
    pub(crate) skip: u64,
    /// Rows of the result after which it ends.
    pub(crate) limit: Option<u64>,
    pub(crate) work: Work,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Type,
}

/// Places in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// `_tp_time`.
    pub event: Option<usize>,
    /// `window_start`.
    pub window_start: Option<usize>,
    /// `window_end`.
    pub window_end: Option<usize>,
}

/// What a query is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// GROUP BY, or aggregates.
    pub has_aggregates: bool,
    /// Several streams.
    pub has_join: bool,
    /// UNION, EXCEPT or INTERSECT.
    pub has_union: bool,
    /// A query within the query.
    pub has_subquery: bool,
    /// The streams that it reads.
    pub streams: Vec<String>,
    /// GROUP BY, as it was written.
    pub group_by: Vec<String>,
    /// The columns that it reads, each with its stream.
    pub columns: Vec<(String, Heading)>,
}

/// How it is evaluated. In SQL, `:first` and `:end` are the numbers of the first row and the one after the last, `:start`
/// is when the query began, `:now` the time of the evaluation, `:version` counts the results.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Each row by itself, in their order; its number is the last column.
    Rows { sql: String },
    /// Groups of rows.
    Groups(Box<Gathered>),
    /// All that is there at once.
    Whole { sql: String },
}

/// Groups, and when they are told.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    pub(crate) groups: Groups,
    /// `None`: once, at the end.
    pub(crate) emit: Option<Emit>,
    pub(crate) windows: Option<InWindows>,
}

/// Windows by the time that rows say.
#[derive(Clone, Debug)]
pub(crate) struct InWindows {
    /// The key that is a window's beginning or end, and what is to be added to it for the end, in milliseconds.
    pub(crate) key: usize,
    pub(crate) to_end: i64,
    /// The column of times.
    pub(crate) time: String,
}

impl Times {
    pub(crate) fn of(header: &[Heading]) -> Times {
        let place = |name: &str| header.iter().position(|heading| heading.name == name);
        Times {
            event: place(TIME),
            window_start: place("window_start"),
            window_end: place("window_end"),
        }
    }
}
