//! Where rows come from: tables, joins, subqueries, and `tumble` and `hop`, which put a table's rows into windows of time.

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, Spanned, TableAlias,
    TableFactor, TableFunctionArgs, TableWithJoins,
};
use sqlparser::tokenizer::Location;

use crate::live::schema::{Schema, TIME, Type};
use crate::live::sql::function::single;
use crate::live::sql::interval;
use crate::live::sql::names::{nearest, quoted};
use crate::live::sql::parse::refuse;
use crate::live::sql::print::{Level, Piece, Printer, Written, start};
use crate::problem::Problem;

/// Windows of `hop` that a row is in, at most.
const HOPS: i64 = 1_000;

/// One table, as it is or in windows of time.
#[derive(Debug)]
pub struct Source<'a> {
    pub schema: &'a Schema,
    alias: Option<String>,
    windows: Option<Windows>,
    derived: Option<Derived>,
}

/// A subquery that filters and renames: what is asked of it is asked of its table.
#[derive(Debug)]
pub struct Derived {
    /// Each with its name, and whether it is a time.
    pub columns: Vec<(String, Piece, bool)>,
    pub filter: Option<String>,
}

/// Windows by a column of time: as long as `size`, one beginning each `slide`.
#[derive(Debug)]
struct Windows {
    time: String,
    slide: i64,
    size: i64,
}

impl Windows {
    fn start(&self) -> String {
        let Windows { time, slide, size } = self;
        // Down to a whole number of slides, before 1970 too.
        let first = format!("{time} - ({time} % {slide} + {slide}) % {slide}");
        if slide == size {
            first
        } else {
            format!("{first} - \"$hop\" * {slide}")
        }
    }
}

impl<'a> Source<'a> {
    /// What a name means, if it is a column.
    pub fn column(&self, key: &str) -> Option<Piece> {
        if let Some(derived) = &self.derived {
            let mut columns = derived.columns.iter();
            let found = columns.find(|(name, ..)| name.eq_ignore_ascii_case(key));
            return found.map(|(_, piece, _)| piece.clone());
        }
        if let Some(windows) = &self.windows {
            match key {
                "window_start" => return Some(Piece::new(windows.start(), Level::Sum)),
                "window_end" => {
                    let end = format!("{} + {}", windows.start(), windows.size);
                    return Some(Piece::new(end, Level::Sum));
                }
                _ => {}
            }
        }
        self.spelled(key).map(|name| Piece::atom(quoted(name)))
    }

    /// A column's name as it was declared.
    pub fn spelled(&self, key: &str) -> Option<&str> {
        self.names().find(|name| name.eq_ignore_ascii_case(key))
    }

    /// The names of all columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let windows: &[&str] = match self.windows {
            Some(_) => &["window_start", "window_end"],
            None => &[],
        };
        let declared = self.schema.all_columns().map(|(name, _)| name);
        let own = declared.chain(windows.iter().copied());
        let is_own = self.derived.is_none();
        let derived = self.derived.iter().flat_map(|d| &d.columns);
        let derived = derived.map(|(name, ..)| name.as_str());
        own.filter(move |_| is_own).chain(derived)
    }

    /// What a subquery says that it stands for.
    pub fn filter(&self) -> Option<&str> {
        self.derived.as_ref()?.filter.as_deref()
    }

    /// The same in the place of a subquery that reads it.
    pub fn derived(self, alias: Option<String>, derived: Derived) -> Source<'a> {
        Source {
            alias: alias.or(Some(String::new())),
            derived: Some(derived),
            ..self
        }
    }

    /// The windows that rows are in: their beginning and their end as expressions, how long they are, and by which
    /// column; in milliseconds.
    pub fn in_windows(&self) -> Option<(String, String, i64, &str)> {
        let windows = self.windows.as_ref()?;
        let start = windows.start();
        let end = format!("{start} + {}", windows.size);
        Some((start, end, windows.size, &windows.time))
    }

    /// Whether a row may be in several windows.
    pub fn hops(&self) -> bool {
        let windows = self.windows.as_ref();
        windows.is_some_and(|windows| windows.slide != windows.size)
    }

    /// What a column holds; windows begin and end at times.
    pub fn is_time(&self, key: &str) -> bool {
        if let Some(derived) = &self.derived {
            let mut columns = derived.columns.iter();
            return columns.any(|(name, _, is_time)| *is_time && name.eq_ignore_ascii_case(key));
        }
        let windows = ["window_start", "window_end"].contains(&key) && self.windows.is_some();
        windows || is_time(self.schema, key)
    }

    /// The name that it goes by in the query.
    pub fn alias(&self) -> &str {
        self.alias.as_deref().unwrap_or(self.schema.name.as_str())
    }

    pub fn answers_to(&self, table: &str) -> bool {
        self.alias().eq_ignore_ascii_case(table)
    }

    /// For FROM. It names the table as itself, so that its rows have numbers.
    pub fn from(&self) -> String {
        let table = quoted(self.schema.name.as_str());
        match &self.windows {
            Some(Windows { slide, size, .. }) if slide != size => {
                let hops: Vec<String> = (0..size / slide).map(|n| format!("({n})")).collect();
                let hops = hops.join(", ");
                format!("{table} cross join (select column1 as \"$hop\" from (values {hops}))")
            }
            _ => table,
        }
    }

    /// The same as a subquery with the windows' times as columns.
    fn subquery(&self) -> String {
        if self.windows.is_none() {
            return quoted(self.schema.name.as_str());
        }
        let names = self.names().filter_map(|name| {
            let Piece { text, .. } = self.column(&name.to_ascii_lowercase())?;
            Some(format!("{text} as {}", quoted(name)))
        });
        let names: Vec<String> = names.collect();
        format!("(select {} from {})", names.join(", "), self.from())
    }
}

/// Whether a column holds whole milliseconds, or other whole numbers.
fn is_time(schema: &Schema, key: &str) -> bool {
    fn whole(kind: &Type) -> bool {
        match kind {
            Type::Nullable(of) => whole(of),
            Type::DateTime { .. } | Type::Int { .. } => true,
            _ => false,
        }
    }
    let mut columns = schema.all_columns();
    columns.any(|(name, kind)| name.eq_ignore_ascii_case(key) && whole(kind))
}

impl<'a> Printer<'a> {
    /// All that stands behind FROM.
    pub fn from(&self, from: &[TableWithJoins]) -> Written<String> {
        if let Some(source) = self.source {
            self.note(source.schema);
            return Ok(source.from());
        }
        let mut tables = Vec::new();
        for table in from {
            tables.push(self.joined(table)?);
        }
        Ok(tables.join(", "))
    }

    fn joined(&self, table: &TableWithJoins) -> Written<String> {
        let mut text = self.factor(&table.relation)?;
        for Join {
            relation,
            global,
            join_operator,
        } in &table.joins
        {
            use JoinOperator as Op;
            let (word, constraint) = match join_operator {
                Op::Join(on) | Op::Inner(on) => ("join", on),
                Op::Left(on) | Op::LeftOuter(on) => ("left join", on),
                Op::Right(on) | Op::RightOuter(on) => ("right join", on),
                Op::FullOuter(on) => ("full join", on),
                Op::CrossJoin(on) => ("cross join", on),
                _ => return Err(refuse(relation.span().start, "there is no such join here")),
            };
            if *global {
                return Err(refuse(relation.span().start, "GLOBAL cannot be used here"));
            }
            let natural = if *constraint == JoinConstraint::Natural {
                "natural "
            } else {
                ""
            };
            text += &format!(" {natural}{word} {}", self.factor(relation)?);
            match constraint {
                JoinConstraint::On(condition) => {
                    text += &format!(" on {}", self.text(condition)?);
                }
                JoinConstraint::Using(columns) => {
                    let names = columns.iter().map(|name| single(name).map(|n| quoted(&n)));
                    let names: Option<Vec<String>> = names.collect();
                    let names = names.ok_or_else(|| {
                        refuse(relation.span().start, "USING takes names of columns")
                    })?;
                    text += &format!(" using ({})", names.join(", "));
                }
                JoinConstraint::Natural | JoinConstraint::None => {}
            }
        }
        Ok(text)
    }

    fn factor(&self, factor: &TableFactor) -> Written<String> {
        let (text, alias) = match factor {
            TableFactor::Table {
                name, alias, args, ..
            } => {
                let known = single(name).filter(|name| self.with.borrow().contains(name));
                if let (Some(name), None) = (known, args) {
                    plain(factor)?;
                    (quoted(&name), alias)
                } else {
                    let source = self.source_of(factor)?;
                    self.note(source.schema);
                    let table = quoted(&source.schema.name.as_str().to_ascii_lowercase());
                    let text = source.subquery();
                    if source.windows.is_some() && alias.is_none() {
                        return Ok(format!("{text} as {table}"));
                    }
                    (text, alias)
                }
            }
            TableFactor::Derived {
                lateral: false,
                subquery,
                alias,
                sample: None,
            } => (format!("({})", self.subquery(subquery)?), alias),
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => {
                let inner = self.deeper(Location::empty(), || self.joined(table_with_joins))?;
                return Ok(format!("({inner})"));
            }
            other => {
                let why = "rows come from tables, from tumble(…) and hop(…), and from subqueries";
                return Err(refuse(other.span().start, why));
            }
        };
        match alias {
            Some(alias) if alias.columns.is_empty() => {
                Ok(format!("{text} as {}", self.alias(alias)?))
            }
            Some(alias) => Err(refuse(
                alias.name.span.start,
                "columns are renamed with AS in a subquery",
            )),
            None => Ok(text),
        }
    }

    /// A name and perhaps those of columns.
    pub fn alias(&self, alias: &TableAlias) -> Written<String> {
        let at = alias.name.span.start;
        let names = alias.columns.iter().map(|c| match c.data_type {
            None => Ok(quoted(&c.name.value.to_ascii_lowercase())),
            Some(_) => Err(refuse(at, "columns have no types here")),
        });
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        let name = quoted(&alias.name.value.to_ascii_lowercase());
        Ok(match names.as_slice() {
            [] => name,
            names => format!("{name}({})", names.join(", ")),
        })
    }

    fn note(&self, schema: &Schema) {
        let mut tables = self.seen.tables.borrow_mut();
        if !tables.contains(&schema.name) {
            tables.push(schema.name.clone());
        }
    }

    /// A declared table, or one of its windows.
    pub fn source_of(&self, factor: &TableFactor) -> Result<Source<'a>, Problem> {
        let at = factor.span().start;
        let TableFactor::Table {
            name, alias, args, ..
        } = factor
        else {
            return Err(refuse(at, "this is no table"));
        };
        plain(factor)?;
        if let Some(alias) = alias.as_ref().filter(|alias| !alias.columns.is_empty()) {
            let why = "columns are renamed with AS in a subquery";
            return Err(refuse(alias.name.span.start, why));
        }
        let called = single(name).ok_or_else(|| refuse(at, "a table has a name of one part"))?;
        let mut source = match (args, called.as_str()) {
            (None, _) => Source {
                schema: self.table(&called, at)?,
                alias: None,
                windows: None,
                derived: None,
            },
            (Some(args), "tumble" | "hop") => self.windows(&called, args, at)?,
            (Some(_), _) => {
                let hint = nearest(&called, ["tumble", "hop"]);
                let why = format!("there is no function {called} that gives rows{hint}");
                return Err(refuse(at, why));
            }
        };
        source.alias = alias.as_ref().map(|a| a.name.value.clone());
        Ok(source)
    }

    fn table(&self, name: &str, at: Location) -> Result<&'a Schema, Problem> {
        self.tables.get(name).ok_or_else(|| {
            let with = self.with.borrow();
            if with.iter().any(|own| own == name) {
                return refuse(
                    at,
                    format!("{name} is no declared table, as it must be here"),
                );
            }
            let known = self.tables.values().map(|s| s.name.as_str());
            let hint = nearest(name, known.chain(with.iter().map(String::as_str)));
            refuse(at, format!("there is no table {name}{hint}"))
        })
    }

    /// `tumble(table [, time], size)` and `hop(table [, time], slide, size)`.
    fn windows(
        &self,
        function: &str,
        args: &TableFunctionArgs,
        at: Location,
    ) -> Result<Source<'a>, Problem> {
        let usage = || {
            refuse(
                at,
                "write tumble(table [, time], interval '5' second) or hop(table [, time], interval '1' second, interval '5' second)",
            )
        };
        let mut names = Vec::new();
        let mut lengths = Vec::new();
        for arg in &args.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))
                    if lengths.is_empty() =>
                {
                    names.push(name);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr @ Expr::Interval(i))) => {
                    lengths.push(interval::millis(i, start(expr))?);
                }
                _ => return Err(usage()),
            }
        }
        let (slide, size) = match (function, lengths.as_slice()) {
            ("tumble", [size]) => (*size, *size),
            ("hop", [slide, size]) => (*slide, *size),
            _ => return Err(usage()),
        };
        if slide < 1 || size % slide != 0 || size / slide > HOPS {
            let why = format!(
                "a window is at least 1 ms long, and a whole number of slides, at most {HOPS}"
            );
            return Err(refuse(at, why));
        }
        let (table, time) = match names.as_slice() {
            [table] => (table, TIME),
            [table, time] => (table, time.value.as_str()),
            _ => return Err(usage()),
        };
        let schema = self.table(&table.value.to_ascii_lowercase(), table.span.start)?;
        if !is_time(schema, time) {
            let columns = schema.all_columns().map(|(name, _)| name);
            let times = columns.filter(|name| is_time(schema, name));
            let hint = nearest(time, times);
            let at = names.last().map_or(at, |name| name.span.start);
            let why = format!("{} has no column {time} that is a time{hint}", schema.name);
            return Err(refuse(at, why));
        }
        let mut source = Source {
            schema,
            alias: None,
            windows: None,
            derived: None,
        };
        let time = source.spelled(time).unwrap_or(TIME);
        source.windows = Some(Windows {
            time: quoted(time),
            slide,
            size,
        });
        Ok(source)
    }
}

/// Refuses what can follow a table's name in other dialects.
fn plain(factor: &TableFactor) -> Result<(), Problem> {
    match factor {
        TableFactor::Table {
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
            ..
        } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => Ok(()),
        other => Err(refuse(
            other.span().start,
            "a table is named, and perhaps renamed with AS; nothing else",
        )),
    }
}
