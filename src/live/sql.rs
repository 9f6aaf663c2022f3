//! SQL as strangers write it: read, checked against the tables, told apart by how it can be evaluated, and rewritten for
//! SQLite.

mod atoms;
pub mod dialect;
mod function;
mod groups;
mod interval;
mod locate;
pub mod names;
mod parse;
mod print;
mod query;
mod source;
mod words;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use sqlparser::ast::{Expr, GroupByExpr, Query, Select, SelectItem, SetExpr};

use crate::event::Topic;
use crate::live::engine::Limits;
use crate::live::sandbox::{Sandbox, Stopped};
use crate::live::schema::Schema;
use crate::live::sql::locate::visit_queries;
use crate::live::sql::print::Printer;
use crate::live::sql::source::Source;
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
        /// The same in the order in which the rows came: `desc limit …` may follow.
        ordered: String,
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
    /// What stands after FROM: `… WHERE …`, but for the window; it names the table as itself.
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
    /// The value of the row that came first; only where rows are taken in their order.
    Earliest,
    /// The value of the row that came last; only where rows are taken in their order.
    Latest,
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
        self.sandbox.connection().execute(&schema.ddl(), [])?;
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
        let source = self.source(&query);
        let mut printer = Printer::new(&self.tables);
        printer.sql = sql;
        if let (Some(source), SetExpr::Select(select)) = (&source, &*query.body) {
            printer.source = Some(source);
            printer.aliases = aliases(select);
        }
        let text = printer.query(&query)?;
        let names = self.check(&query, &text)?;
        if let Some(name) = doubled(&names) {
            let why = format!("two columns of the result are called {name}; rename one with AS");
            return Err(parse::refuse(locate::second(&query, name), why));
        }
        let class = match (&source, &*query.body) {
            (Some(source), SetExpr::Select(select)) => {
                classify(&printer, source, &query, select, &text)
            }
            _ => Class::Whole,
        };
        let seen = printer.seen;
        Ok(Plan {
            text,
            tables: seen.tables.into_inner(),
            timed: seen.now.get(),
            class,
        })
    }

    /// The one table of a query that reads one and in which no query is nested.
    fn source(&self, query: &Query) -> Option<Source<'_>> {
        let mut queries = 0;
        let _: ControlFlow<()> = visit_queries(query, |_| {
            queries += 1;
            ControlFlow::Continue(())
        });
        match (&*query.body, &query.with, queries) {
            (SetExpr::Select(select), None, 1) => match select.from.as_slice() {
                [table] if table.joins.is_empty() => {
                    Printer::new(&self.tables).source_of(&table.relation).ok()
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Asks SQLite, which knows more: types of arguments, names in several tables, aggregates in wrong places.
    /// The names of the result's columns.
    fn check(&self, query: &Query, text: &str) -> Result<Vec<String>, Problem> {
        let prepared = self.sandbox.within(THINKING, || {
            Ok(self.sandbox.prepare_stranger(text).map(|statement| {
                let names = statement.column_names();
                let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
                // It is asked once: nothing is gained by remembering it.
                statement.discard();
                names
            }))
        });
        match prepared.and_then(|prepared| prepared) {
            Ok(names) => Ok(names),
            Err(Stopped::Other(words)) => Err(locate::explain(query, &self.tables, &words)),
            Err(stopped) => Err(Problem::bad_request(
                "sql",
                format!("the query is too large to be understood: {stopped}"),
            )),
        }
    }
}

fn doubled(names: &[String]) -> Option<&str> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    let pair = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    pair.map(|pair| pair[0].as_str())
}

/// The columns of the result that were given names.
fn aliases(select: &Select) -> BTreeMap<String, &Expr> {
    let named = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((alias.value.to_ascii_lowercase(), expr)),
        _ => None,
    });
    named.collect()
}

fn classify<'a>(
    printer: &Printer<'a>,
    source: &'a Source<'a>,
    query: &'a Query,
    select: &'a Select,
    text: &str,
) -> Class {
    let seen = &printer.seen;
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => !keys.is_empty(),
        GroupByExpr::All(_) => true,
    };
    if seen.whole.get() {
        Class::Whole
    } else if grouped || seen.aggregate.get() || select.having.is_some() {
        groups::take_apart(printer, source, query, select)
            .map_or(Class::Whole, |groups| Class::Groups(Box::new(groups)))
    } else if select.distinct.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && !seen.now.get()
    {
        let table = names::quoted(source.schema.name.as_str());
        Class::Rows {
            ordered: format!("{text} order by {table}._rowid_"),
        }
    } else {
        Class::Whole
    }
}

#[cfg(test)]
mod tests;
