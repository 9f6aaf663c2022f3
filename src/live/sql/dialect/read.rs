//! Reading a query of the dialect: which way of evaluating it there is, and in which SQL.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, LimitClause, Query, Select, SelectItem, SetExpr, Spanned, TableFactor,
    Value, visit_expressions,
};
use sqlparser::tokenizer::Location;

use super::clauses::{self, Clauses, Emit};
use super::ddl;
use super::kinds::Kinds;
use super::{About, Flow, Gathered, Heading, InWindows, Statement, Times, Work};
use crate::live::schema::{TIME, Type};
use crate::live::sql::groups::take_apart;
use crate::live::sql::names::quoted;
use crate::live::sql::parse::{self, refuse};
use crate::live::sql::print::{Level, Printer, links};
use crate::live::sql::query::Parts;
use crate::live::sql::source::{Derived, Source};
use crate::live::sql::{Front, aliases, locate};
use crate::problem::Problem;

/// How often totals without windows are told when the query does not say it, in milliseconds.
const PERIOD: u64 = 2_000;

impl Front {
    /// Understands what is sent as a query of the dialect.
    ///
    /// # Errors
    /// 400 with line and column, naming the clause; 413 when it is too long.
    pub fn statement(&self, sql: &str) -> Result<Statement, Problem> {
        let tokens = parse::tokens(sql, self.limits.query_bytes)?;
        match ddl::read(&tokens)? {
            Some(statement) => Ok(statement),
            None => {
                let (tokens, clauses) = clauses::read(tokens)?;
                let query = parse::parsed(tokens, sql)?;
                let flow = self.flow(query, clauses)?;
                Ok(Statement::Select(Box::new(flow)))
            }
        }
    }

    fn flow(&self, mut query: Query, clauses: Clauses) -> Result<Flow, Problem> {
        // Parentheses around all of it say nothing.
        while let Query {
            with: None,
            order_by: None,
            limit_clause: None,
            body,
            ..
        } = &query
            && let SetExpr::Query(inner) = &**body
        {
            query = (**inner).clone();
        }
        let mut kinds = Kinds::new(&self.tables);
        let columns = kinds.of(&mut query)?;
        let is_live = is_live(&kinds.streams, &clauses)?;
        let (skip, limit) = rows_wanted(&query)?;
        let mut plain = Printer::new(&self.tables);
        plain.dialect = true;
        let source = self.flattened(&plain, &query)?;
        if let (Some(source), SetExpr::Select(select)) = (&source, &*query.body) {
            plain.source = Some(source);
            plain.aliases = aliases(select);
        }
        let text = plain.query(&query)?;
        let names = self.check(&query, &text)?;
        let about = self.about(&kinds, &plain, &query);
        let headings = names.into_iter().enumerate().map(|(at, name)| Heading {
            kind: columns.get(at).map_or(Type::String, |c| c.1.clone()),
            // As the dialect calls it.
            name: name.replace("count(*)", "count()"),
        });
        let header: Vec<Heading> = headings.collect();
        let mut flow = Flow {
            times: Times::of(&header),
            header,
            is_live,
            from_earliest: !is_live || clauses.from_earliest || seeks(&query),
            skip: 0,
            limit: None,
            work: Work::Whole { sql: text.clone() },
            about,
        };
        let is_whole = plain.seen.whole.get() || query.order_by.is_some();
        let SetExpr::Select(select) = &*query.body else {
            let what = match &*query.body {
                SetExpr::SetOperation { .. } => "UNION, EXCEPT and INTERSECT",
                _ => "anything but a SELECT",
            };
            return whole(flow, &query, &clauses, what);
        };
        let Some(source) = &source else {
            let what = match (flow.about.has_join, &query.with) {
                (true, _) => "JOIN",
                (_, Some(_)) => "WITH",
                _ => {
                    "a subquery that does more than filter and rename, or stands in an expression,"
                }
            };
            return whole(flow, &query, &clauses, what);
        };
        if source.hops() && !is_live {
            let why = "hop(…) is of a live stream, not of table(…)";
            return Err(refuse(at(&query), why));
        }
        if flow.about.has_aggregates {
            if is_live && query.order_by.is_some() {
                return whole(flow, &query, &clauses, "ORDER BY");
            }
            if is_live {
                (flow.skip, flow.limit) = (skip, limit);
                (query.order_by, query.limit_clause) = (None, None);
            }
            return self.gathered(flow, &plain, source, &query, &clauses);
        }
        if let Some((_, at)) = clauses.emit {
            return Err(refuse(at, "EMIT is for groups: this has no aggregate"));
        }
        if Parts::of(select, "")?.distinct || is_whole {
            let what = match (Parts::of(select, "")?.distinct, query.order_by.is_some()) {
                (true, _) => "DISTINCT",
                (_, true) => "ORDER BY",
                _ => "OVER, a subquery in an expression, COLLATE and random()",
            };
            return whole(flow, &query, &clauses, what);
        }
        (flow.skip, flow.limit) = (skip, limit);
        let number = format!("{}._rowid_", quoted(source.schema.name.as_str()));
        let mut terms: Vec<String> = source.filter().map(str::to_owned).into_iter().collect();
        if let Some(condition) = &select.selection {
            terms.push(plain.condition(|| plain.held(condition, Level::Not))?);
        }
        terms.push(format!("{number} >= :first and {number} < :end"));
        let (items, from) = (plain.items(&select.projection)?, source.from());
        let sql = format!(
            "select {items}, {number} from {from} where {} order by {number}",
            terms.join(" and ")
        );
        flow.work = Work::Rows { sql };
        Ok(flow)
    }

    /// The one stream of a query that reads one: as it is, in windows, or through a subquery that filters and renames.
    fn flattened<'a>(
        &'a self,
        plain: &Printer<'a>,
        query: &Query,
    ) -> Result<Option<Source<'a>>, Problem> {
        let (SetExpr::Select(select), None) = (&*query.body, &query.with) else {
            return Ok(None);
        };
        let queries = queries_in(query);
        let [table] = select.from.as_slice() else {
            return Ok(None);
        };
        if !table.joins.is_empty() {
            return Ok(None);
        }
        let printer = plain.like();
        let (subquery, alias) = match &table.relation {
            // A query in an expression reads another.
            TableFactor::Table { .. } if queries > 1 => return Ok(None),
            relation @ TableFactor::Table { .. } => return printer.source_of(relation).map(Some),
            TableFactor::Derived {
                subquery,
                alias,
                lateral: false,
                sample: None,
            } => (subquery, alias),
            _ => return Ok(None),
        };
        if queries > 2 {
            return Ok(None);
        }
        let Query {
            with: None,
            order_by: None,
            limit_clause: None,
            ..
        } = &**subquery
        else {
            return Ok(None);
        };
        let SetExpr::Select(inner) = &*subquery.body else {
            return Ok(None);
        };
        let parts = Parts::of(inner, "")?;
        let ([table], true) = (inner.from.as_slice(), parts.group_by.is_empty()) else {
            return Ok(None);
        };
        let is_plain = matches!(table.relation, TableFactor::Table { .. });
        if parts.distinct || inner.having.is_some() || !table.joins.is_empty() || !is_plain {
            return Ok(None);
        }
        let source = printer.source_of(&table.relation)?;
        let mut printer = plain.like();
        printer.source = Some(&source);
        let mut columns = Vec::new();
        for item in &inner.projection {
            let (expr, name) = match item {
                SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value.clone()),
                SelectItem::UnnamedExpr(expr) => (expr, printer.titled(expr)?),
                _ => return Ok(None),
            };
            let is_time = match expr {
                Expr::Identifier(name) => source.is_time(&name.value.to_ascii_lowercase()),
                _ => false,
            };
            columns.push((name, printer.expr(expr)?, is_time));
        }
        let filter = inner.selection.as_ref();
        let filter = filter.map(|filter| {
            let text = printer.condition(|| printer.text(filter))?;
            Ok::<_, Problem>(format!("({text})"))
        });
        let filter = filter.transpose()?;
        if printer.seen.aggregate.get() || printer.seen.whole.get() {
            return Ok(None);
        }
        drop(printer);
        let alias = alias.as_ref().map(|a| a.name.value.clone());
        Ok(Some(source.derived(alias, Derived { columns, filter })))
    }

    fn gathered<'a>(
        &'a self,
        mut flow: Flow,
        plain: &Printer<'a>,
        source: &'a Source<'a>,
        query: &'a Query,
        clauses: &Clauses,
    ) -> Result<Flow, Problem> {
        let SetExpr::Select(select) = &*query.body else {
            return Ok(flow);
        };
        let groups = match take_apart(plain, source, query, select) {
            Some(groups) => groups,
            None => return whole(flow, query, clauses, "this GROUP BY or aggregate"),
        };
        let windows = source.in_windows().map(|(start, end, size, time)| {
            let key = |wanted: &str| groups.rows.keys.iter().position(|key| key == wanted);
            let (key, to_end) = match (key(&start), key(&end)) {
                (Some(key), _) => (key, size),
                (_, Some(key)) => (key, 0),
                _ => {
                    let why = "GROUP BY window_start or window_end, as the rows are in windows";
                    return Err(refuse(at(query), why));
                }
            };
            Ok(InWindows {
                key,
                to_end,
                time: time.to_owned(),
            })
        });
        let windows = windows.transpose()?;
        let asked = clauses.emit;
        let emit = match (flow.is_live, asked, &windows) {
            (false, Some((_, at)), _) => {
                return Err(refuse(at, "EMIT is for live streams, not for table(…)"));
            }
            (false, None, _) => None,
            (true, Some((Emit::AfterClose { .. }, at)), None) => {
                let why = "EMIT AFTER WINDOW CLOSE is for windows: read from tumble(…) or hop(…)";
                return Err(refuse(at, why));
            }
            (true, Some((emit, _)), _) => Some(emit),
            (true, None, Some(_)) => Some(Emit::AfterClose {
                delay_ms: 0,
                timeout_ms: None,
            }),
            (true, None, None) => Some(Emit::Periodic {
                every_ms: PERIOD,
                repeat: false,
            }),
        };
        flow.work = Work::Groups(Box::new(Gathered {
            groups,
            emit,
            windows,
        }));
        Ok(flow)
    }

    fn about(&self, kinds: &Kinds<'_>, plain: &Printer<'_>, query: &Query) -> About {
        let streams: BTreeSet<&String> = kinds.streams.iter().collect();
        let schemas = streams.iter().filter_map(|name| self.tables.get(*name));
        let mut columns: Vec<(String, Heading)> = Vec::new();
        let _: ControlFlow<()> = visit_expressions(query, |expr| {
            let name = match expr {
                Expr::Identifier(name) => Some(name),
                Expr::CompoundIdentifier(path) => path.last(),
                _ => None,
            };
            let name = name.and_then(|name| {
                let mut all = schemas.clone().flat_map(|schema| {
                    let columns = schema.all_columns();
                    columns.map(|column| (schema.name.to_string(), column))
                });
                all.find(|(_, (own, _))| own.eq_ignore_ascii_case(&name.value))
            });
            let column = name.map(|(stream, (name, kind))| {
                let (name, kind) = (name.to_owned(), kind.clone());
                (stream, Heading { name, kind })
            });
            columns.extend(column.filter(|column| !columns.contains(column)));
            ControlFlow::Continue(())
        });
        let group_by: Vec<String> = match &*query.body {
            SetExpr::Select(select) => Parts::of(select, "")
                .map(|parts| parts.group_by.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        let having = matches!(&*query.body, SetExpr::Select(s) if s.having.is_some());
        About {
            has_aggregates: !group_by.is_empty() || plain.seen.aggregate.get() || having,
            has_join: kinds.has_join,
            has_union: kinds.has_union,
            has_subquery: queries_in(query) > 1,
            streams: schemas.map(|schema| schema.name.to_string()).collect(),
            group_by,
            columns,
        }
    }
}

fn is_live(streams: &[String], clauses: &Clauses) -> Result<bool, Problem> {
    // Each may be read several times.
    let times = |all: &[String], name: &String| all.iter().filter(|own| *own == name).count();
    let is_live = |name: &&String| times(streams, name) > times(&clauses.tables, name);
    match streams.iter().filter(is_live).count() {
        0 => Ok(false),
        _ if !clauses.tables.is_empty() => Err(Problem::bad_request(
            "sql",
            "a live stream and table(…) cannot be read together; write table(…) around each",
        )),
        _ => Ok(true),
    }
}

/// It, and those within.
fn queries_in(query: &Query) -> usize {
    let mut queries = 0;
    let _: ControlFlow<()> = locate::visit_queries(query, |_| {
        queries += 1;
        ControlFlow::Continue(())
    });
    queries
}

/// What only all rows together can tell: of `table(…)` it is asked once, of a live stream it cannot be.
fn whole(flow: Flow, query: &Query, clauses: &Clauses, what: &str) -> Result<Flow, Problem> {
    if flow.is_live {
        let why = format!("{what} cannot be used on a live stream; read from table(…)");
        return Err(refuse(at(query), why));
    }
    match clauses.emit {
        Some((_, at)) => Err(refuse(at, "EMIT is for live streams, not for table(…)")),
        None => Ok(flow),
    }
}

fn at(query: &Query) -> Location {
    query.span().start
}

/// Whether it asks for rows by a time from which on it wants them.
fn seeks(query: &Query) -> bool {
    let SetExpr::Select(select) = &*query.body else {
        return false;
    };
    seeks_in(select)
}

fn seeks_in(select: &Select) -> bool {
    let is_time = |expr: &Expr| match expr {
        Expr::Identifier(name) => name.value.eq_ignore_ascii_case(TIME),
        Expr::CompoundIdentifier(path) => path
            .last()
            .is_some_and(|name| name.value.eq_ignore_ascii_case(TIME)),
        _ => false,
    };
    let seeks = |term: &&Expr| match term {
        Expr::BinaryOp { left, op, right } => match op {
            BinaryOperator::Gt | BinaryOperator::GtEq => is_time(left),
            BinaryOperator::Lt | BinaryOperator::LtEq => is_time(right),
            BinaryOperator::Eq => is_time(left) || is_time(right),
            _ => false,
        },
        Expr::Between { expr, negated, .. } => is_time(expr) && !negated,
        _ => false,
    };
    let condition = select.selection.as_ref();
    let own = condition.is_some_and(|c| links(c, &BinaryOperator::And).iter().any(seeks));
    own || select.from.iter().any(|table| match &table.relation {
        TableFactor::Derived { subquery, .. } => self::seeks(subquery),
        _ => false,
    })
}

/// OFFSET and LIMIT.
fn rows_wanted(query: &Query) -> Result<(u64, Option<u64>), Problem> {
    let (limit, offset) = match &query.limit_clause {
        None => return Ok((0, None)),
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.as_ref(), offset.as_ref().map(|o| &o.value))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
    };
    let number = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<u64>().ok(),
            _ => None,
        },
        _ => None,
    };
    let number = |expr: &Expr, clause: &str| {
        number(expr).ok_or_else(|| refuse(expr.span().start, format!("{clause} takes a number")))
    };
    let limit = limit.map(|limit| number(limit, "LIMIT")).transpose()?;
    let offset = offset.map(|offset| number(offset, "OFFSET")).transpose()?;
    Ok((offset.unwrap_or_default(), limit))
}
