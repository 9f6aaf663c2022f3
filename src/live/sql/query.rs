//! Queries around expressions: SELECT and its clauses, where rows come from, `tumble` and `hop`. Each clause that is not
//! known is refused.

use sqlparser::ast::{
    Distinct, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, Ident, Join, JoinConstraint,
    JoinOperator, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort,
    Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator,
    SetQuantifier, Spanned, TableAlias, TableFactor, TableFunctionArgs, TableWithJoins, Values,
    WildcardAdditionalOptions, With,
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

impl Source<'_> {
    /// What a name means, if it is a column.
    pub fn column(&self, key: &str) -> Option<Piece> {
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
        declared.chain(windows.iter().copied())
    }

    /// What a column holds; windows begin and end at times.
    pub fn is_time(&self, key: &str) -> bool {
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
    /// A query, with its own common table expressions.
    pub fn query(&self, query: &Query) -> Written<String> {
        let outer = self.with.borrow().len();
        let written = self.deeper(query.span().start, || self.query_here(query));
        self.with.borrow_mut().truncate(outer);
        written
    }

    /// A query within an expression.
    pub fn subquery(&self, query: &Query) -> Written<String> {
        if self.naming {
            return Ok("select".to_owned());
        }
        self.seen.whole.set(true);
        self.query(query)
    }

    fn query_here(&self, query: &Query) -> Written<String> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let at = query.span().start;
        for (is_there, clause) in [
            (fetch.is_some(), "FETCH (write LIMIT)"),
            (!locks.is_empty() || for_clause.is_some(), "FOR"),
            (settings.is_some(), "SETTINGS"),
            (format_clause.is_some(), "FORMAT"),
            (!pipe_operators.is_empty(), "|>"),
        ] {
            if is_there {
                return Err(refuse(at, format!("{clause} cannot be used here")));
            }
        }
        let mut text = String::new();
        if let Some(with) = with {
            text += &self.with(with)?;
        }
        text += &self.set(body)?;
        if let Some(order_by) = order_by {
            text += &format!(" order by {}", self.order_by(order_by)?);
        }
        if let Some(limit) = limit_clause {
            text += &self.limit(limit)?;
        }
        Ok(text)
    }

    fn with(&self, with: &With) -> Written<String> {
        let names = with
            .cte_tables
            .iter()
            .map(|t| t.alias.name.value.to_ascii_lowercase());
        self.with.borrow_mut().extend(names);
        let mut tables = Vec::new();
        for table in &with.cte_tables {
            if let Some(from) = &table.from {
                return Err(refuse(from.span.start, "FROM cannot be used here"));
            }
            let alias = self.alias(&table.alias)?;
            tables.push(format!("{alias} as ({})", self.query(&table.query)?));
        }
        let recursive = if with.recursive { "recursive " } else { "" };
        Ok(format!("with {recursive}{} ", tables.join(", ")))
    }

    fn set(&self, body: &SetExpr) -> Written<String> {
        self.deeper(Location::empty(), || match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => Ok(format!("select * from ({})", self.query(query)?)),
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                let op = match (op, set_quantifier) {
                    (SetOperator::Union, SetQuantifier::All) => "union all",
                    (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => "union",
                    (SetOperator::Except, SetQuantifier::None) => "except",
                    (SetOperator::Intersect, SetQuantifier::None) => "intersect",
                    _ => {
                        let why = format!("{op} {set_quantifier} cannot be used here");
                        return Err(refuse(body.span().start, why));
                    }
                };
                // SQLite goes from left to right and knows no parentheses.
                let right = match &**right {
                    nested @ SetExpr::SetOperation { .. } => {
                        format!("select * from ({})", self.set(nested)?)
                    }
                    plain => self.set(plain)?,
                };
                Ok(format!("{} {op} {right}", self.set(left)?))
            }
            _ => Err(refuse(
                body.span().start,
                "only SELECT can be used here: nothing is written or changed",
            )),
        })
    }

    fn values(&self, values: &Values) -> Written<String> {
        let mut rows = Vec::new();
        for row in &values.rows {
            rows.push(format!("({})", self.texts(&row.content)?));
        }
        Ok(format!("values {}", rows.join(", ")))
    }

    fn select(&self, select: &Select) -> Written<String> {
        let parts = Parts::of(select)?;
        let distinct = if parts.distinct { "distinct " } else { "" };
        let mut text = format!("select {distinct}{}", self.items(&select.projection)?);
        if !select.from.is_empty() {
            text += &format!(" from {}", self.from(&select.from)?);
        }
        if let Some(condition) = &select.selection {
            text += &format!(" where {}", self.text(condition)?);
        }
        if !parts.group_by.is_empty() {
            text += &format!(" group by {}", self.texts(parts.group_by)?);
        }
        if let Some(condition) = &select.having {
            text += &format!(" having {}", self.text(condition)?);
        }
        Ok(text)
    }

    /// The select list, each with the name that its column has in the result.
    pub fn items(&self, projection: &[SelectItem]) -> Written<String> {
        let mut items = Vec::new();
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let name = quoted(&self.titled(expr)?);
                    let text = self.text(expr)?;
                    items.push(if text == name {
                        text
                    } else {
                        format!("{text} as {name}")
                    });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let name = quoted(&alias.value);
                    let text = self.text(expr)?;
                    items.push(if text == name {
                        text
                    } else {
                        format!("{text} as {name}")
                    });
                }
                SelectItem::Wildcard(options) => items.push(self.star(None, options)?),
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(table),
                    options,
                ) => {
                    let at = table.span().start;
                    let name = single(table).ok_or_else(|| refuse(at, "write table.*"))?;
                    items.push(self.star(Some((name, at)), options)?);
                }
                other => {
                    let why = format!("{other} cannot be selected");
                    return Err(refuse(other.span().start, why));
                }
            }
        }
        Ok(items.join(", "))
    }

    fn star(
        &self,
        table: Option<(String, Location)>,
        options: &WildcardAdditionalOptions,
    ) -> Written<String> {
        let plain = WildcardAdditionalOptions {
            wildcard_token: options.wildcard_token.clone(),
            ..WildcardAdditionalOptions::default()
        };
        if *options != plain {
            let at = options.wildcard_token.0.span.start;
            return Err(refuse(at, "* cannot be changed; name the columns"));
        }
        if let (Some(source), Some((name, at))) = (self.source, &table)
            && !source.answers_to(name)
        {
            let hint = nearest(name, [source.alias()]);
            return Err(refuse(*at, format!("there is no table {name} here{hint}")));
        }
        if let Some(source) = self.source {
            let names: Vec<SelectItem> = source
                .names()
                .map(|name| SelectItem::UnnamedExpr(Expr::Identifier(Ident::new(name))))
                .collect();
            return self.items(&names);
        }
        Ok(match table {
            Some((name, _)) => format!("{}.*", quoted(&name)),
            None => "*".to_owned(),
        })
    }

    fn from(&self, from: &[TableWithJoins]) -> Written<String> {
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
                    (source.subquery(), alias)
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
    fn alias(&self, alias: &TableAlias) -> Written<String> {
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
        let called = single(name).ok_or_else(|| refuse(at, "a table has a name of one part"))?;
        let mut source = match (args, called.as_str()) {
            (None, _) => Source {
                schema: self.table(&called, at)?,
                alias: None,
                windows: None,
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
        };
        let time = source.spelled(time).unwrap_or(TIME);
        source.windows = Some(Windows {
            time: quoted(time),
            slide,
            size,
        });
        Ok(source)
    }

    pub fn order_by(&self, order_by: &OrderBy) -> Written<String> {
        match order_by {
            OrderBy {
                kind: OrderByKind::Expressions(terms),
                interpolate: None,
            } => self.ordering(terms),
            other => Err(refuse(other.span().start, "ORDER BY takes expressions")),
        }
    }

    pub fn ordering(&self, terms: &[OrderByExpr]) -> Written<String> {
        let mut written = Vec::new();
        for OrderByExpr {
            expr,
            options,
            with_fill,
        } in terms
        {
            let OrderByOptions { sort, nulls_first } = options;
            let sort = match sort {
                None | Some(OrderBySort::Asc) => "",
                Some(OrderBySort::Desc) => " desc",
                Some(OrderBySort::Using(_)) => {
                    return Err(refuse(start(expr), "USING cannot be used here"));
                }
            };
            if with_fill.is_some() {
                return Err(refuse(start(expr), "WITH FILL cannot be used here"));
            }
            let nulls = match nulls_first {
                None => "",
                Some(true) => " nulls first",
                Some(false) => " nulls last",
            };
            // A name alone is that of a column of the result, if there is one.
            let text = match expr {
                Expr::Identifier(name) if self.is_alias(name) => {
                    quoted(&name.value.to_ascii_lowercase())
                }
                expr => self.text(expr)?,
            };
            written.push(format!("{text}{sort}{nulls}"));
        }
        Ok(written.join(", "))
    }

    fn is_alias(&self, name: &Ident) -> bool {
        self.aliases.contains_key(&name.value.to_ascii_lowercase())
    }

    pub fn limit(&self, clause: &LimitClause) -> Written<String> {
        let (limit, offset) = match clause {
            LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            } if limit_by.is_empty() => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            LimitClause::OffsetCommaLimit { offset, limit } => (Some(limit), Some(offset)),
            LimitClause::LimitOffset { .. } => {
                return Err(Problem::bad_request("sql", "LIMIT BY cannot be used here"));
            }
        };
        let limit = limit.map_or(Ok("-1".to_owned()), |limit| self.text(limit))?;
        Ok(match offset {
            None => format!(" limit {limit}"),
            Some(offset) => format!(" limit {limit} offset {}", self.text(offset)?),
        })
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

/// The clauses of a SELECT that are not written as they stand.
pub struct Parts<'e> {
    pub distinct: bool,
    pub group_by: &'e [Expr],
}

impl Parts<'_> {
    /// Looks at all clauses that a SELECT of any dialect can have.
    pub fn of(select: &Select) -> Result<Parts<'_>, Problem> {
        let Select {
            select_token,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection: _,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let at = select_token.0.span.start;
        let (group_by, modified) = match group_by {
            GroupByExpr::Expressions(list, modifiers) => (list.as_slice(), !modifiers.is_empty()),
            GroupByExpr::All(_) => (&[][..], true),
        };
        for (is_there, clause) in [
            (into.is_some(), "INTO"),
            (top.is_some(), "TOP (write LIMIT)"),
            (modified, "GROUP BY ALL, ROLLUP, CUBE and the like"),
            (!named_window.is_empty(), "WINDOW (write it after OVER)"),
            (qualify.is_some(), "QUALIFY"),
            (!lateral_views.is_empty(), "LATERAL VIEW"),
            (prewhere.is_some(), "PREWHERE"),
            (!connect_by.is_empty(), "CONNECT BY"),
            (!cluster_by.is_empty(), "CLUSTER BY"),
            (!distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!sort_by.is_empty(), "SORT BY"),
            (exclude.is_some(), "EXCLUDE"),
            (
                !optimizer_hints.is_empty() || select_modifiers.is_some(),
                "a hint",
            ),
            (value_table_mode.is_some(), "SELECT AS"),
            (*flavor != SelectFlavor::Standard, "FROM before SELECT"),
            (matches!(distinct, Some(Distinct::On(_))), "DISTINCT ON"),
        ] {
            if is_there {
                return Err(refuse(at, format!("{clause} cannot be used here")));
            }
        }
        Ok(Parts {
            distinct: matches!(distinct, Some(Distinct::Distinct)),
            group_by,
        })
    }
}
