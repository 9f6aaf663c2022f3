//! SQL as strangers write it: read, checked against the tables, told apart by how it can be evaluated, and rewritten for
//! SQLite.

mod parse;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use sqlparser::ast::visit_relations;

use crate::event::Topic;
use crate::live::engine::Limits;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::schema::{Schema, TIME};
use crate::problem::Problem;

/// A query, understood.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For SQLite, over tables of the same names; equal for queries that are equal but for how they are written. The
    /// parameter `:now` is the time of the evaluation, in milliseconds since the Unix epoch.
    pub text: String,
    /// The tables that it reads.
    pub tables: Vec<Topic>,
    /// Whether its result may change by time alone.
    pub timed: bool,
    /// How it is kept fresh.
    pub class: Class,
}

/// How a query is kept fresh.
#[derive(Clone, Debug)]
pub enum Class {
    /// Filter and projection of one table: [`Plan::text`] runs on the rows that have come, and yields rows in addition.
    Rows {
        /// The newest rows of the table that it yields, newest first: the parameter `:most` says how many.
        newest: String,
    },
    /// Groups of one table's rows, by aggregates that can be put together from those of parts.
    Groups(Box<Groups>),
    /// Anything else: [`Plan::text`] is run again over all that is retained.
    Whole,
}

/// A query of groups, taken apart.
#[derive(Clone, Debug)]
pub struct Groups {
    /// The rows that are grouped. Queries of equal rows share their panes.
    pub rows: Grouped,
    /// What is kept of each group.
    pub aggregates: Vec<Aggregate>,
    /// The result, from a table `totals` that has a row for each group: its columns are `k0`, `k1`, … for the keys, and
    /// for each aggregate one that has its [`Aggregate::name`]. HAVING, ORDER BY and LIMIT are in it.
    pub result: String,
}

/// Which rows are grouped, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grouped {
    /// The table.
    pub table: Topic,
    /// `FROM … WHERE …` but for the window; it names the table as itself.
    pub from: String,
    /// The keys, as expressions; none groups all rows together, and then there is a group without any row too.
    pub keys: Vec<String>,
    /// Which rows by time, if not all that are retained.
    pub window: Option<Window>,
}

/// `time > :now - size` or `time >= :now - size`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// An expression: milliseconds since the Unix epoch.
    pub time: String,
    /// Milliseconds.
    pub size: u64,
    /// Whether a row that is just so old is in it.
    pub inclusive: bool,
}

/// An aggregate of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aggregate {
    /// What is made of the values.
    pub function: Function,
    /// The value of a row, as an expression; NULL is left out. Without one (`count(*)`), rows are counted.
    pub argument: Option<String>,
    /// The column of `totals`: function and argument, normalised, so that equal ones have equal names.
    pub name: String,
}

/// Aggregate functions whose results of parts make that of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// How many.
    Count,
    /// How many different ones.
    CountDistinct,
    /// The sum; NULL of none, and an error beyond 64 bits, as in SQLite.
    Sum,
    /// The sum as a float; 0.0 of none.
    Total,
    /// The mean.
    Avg,
    /// The least, in SQLite's order of values.
    Min,
    /// The greatest.
    Max,
    /// Population variance.
    VarPop,
    /// Sample variance; NULL of fewer than two.
    VarSamp,
    /// Population standard deviation.
    StddevPop,
    /// Sample standard deviation; NULL of fewer than two.
    StddevSamp,
}

/// Reads queries and knows the tables that there are. For one thread, with a stack of at least [`STACK`].
#[derive(Debug)]
pub struct Front {
    /// All tables, without rows.
    sandbox: Sandbox,
    tables: BTreeMap<String, Schema>,
    limits: Limits,
}

/// Bytes of stack that reading takes at most: what strangers write is nested deep.
pub const STACK: usize = 64 << 20;

/// How long SQLite may think about a query before it runs.
const THINKING: Duration = Duration::from_millis(250);

impl Front {
    /// Knows no tables yet.
    ///
    /// # Errors
    /// When SQLite cannot be started.
    pub fn new(limits: Limits) -> rusqlite::Result<Front> {
        Ok(Front {
            sandbox: Sandbox::open(&limits)?,
            tables: BTreeMap::new(),
            limits,
        })
    }

    /// Learns of a table; its schema was checked.
    ///
    /// # Errors
    /// What SQLite says of it.
    pub fn create(&mut self, schema: &Schema) -> rusqlite::Result<()> {
        let names = schema.columns.iter().map(|c| c.name.as_str()).chain([TIME]);
        let names: Vec<String> = names.map(|n| format!("\"{n}\"")).collect();
        let ddl = format!("CREATE TABLE \"{}\" ({})", schema.name, names.join(", "));
        self.sandbox.connection().execute(&ddl, [])?;
        self.sandbox.permit(schema.name.as_str());
        let key = schema.name.as_str().to_ascii_lowercase();
        self.tables.insert(key, schema.clone());
        Ok(())
    }

    /// Forgets a table.
    ///
    /// # Errors
    /// What SQLite says of it.
    pub fn forget(&mut self, name: &Topic) -> rusqlite::Result<()> {
        self.tables.remove(&name.as_str().to_ascii_lowercase());
        self.sandbox.forbid(name.as_str());
        let drop = format!("DROP TABLE IF EXISTS \"{name}\"");
        self.sandbox.connection().execute(&drop, []).map(|_| ())
    }

    /// Understands a query.
    ///
    /// # Errors
    /// 400 with line and column; 413 when it is too long.
    pub fn plan(&self, sql: &str) -> Result<Plan, Problem> {
        let query = parse::query(sql, self.limits.query_bytes)?;
        let mut tables = Vec::new();
        let _: ControlFlow<()> = visit_relations(&query, |name| {
            let name = name.to_string().to_ascii_lowercase();
            if let Some(schema) = self.tables.get(&name)
                && !tables.contains(&schema.name)
            {
                tables.push(schema.name.clone());
            }
            ControlFlow::Continue(())
        });
        let text = sql.trim().trim_end_matches(';').to_owned();
        let checked = self.sandbox.within(THINKING, || {
            Ok(self.sandbox.prepare_stranger(&text).map(drop))
        });
        match checked.and_then(|prepared| prepared) {
            Ok(()) => Ok(Plan {
                text,
                tables,
                timed: false,
                class: Class::Whole,
            }),
            Err(Stopped::Other(words)) => Err(Problem::bad_request("sql", words)),
            Err(stopped) => Err(Problem::bad_request(
                "sql",
                format!("the query is too large to be understood: {stopped}"),
            )),
        }
    }
}
