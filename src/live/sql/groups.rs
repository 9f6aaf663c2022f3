//! A query of groups, taken apart: which rows, by which keys, what is kept of each group, and the result from that. A
//! query that cannot be is run again over all rows.

use std::cell::RefCell;

use sqlparser::ast::{BinaryOperator, Expr, Interval, Query, Select, SelectItem, Value};

use crate::live::sql::function::{Call, call};
use crate::live::sql::print::{Level, Piece, Printer, Written, links, start};
use crate::live::sql::query::Parts;
use crate::live::sql::source::Source;
use crate::live::sql::{Aggregate, Function, Grouped, Groups, Window, interval};
use crate::problem::Problem;

/// What stands for what, while the result is written.
pub struct Totals {
    keys: Vec<String>,
    aggregates: RefCell<Vec<Aggregate>>,
}

/// Takes it apart, if it can be. The query was written as a whole before, so nothing in it is wrong.
pub fn take_apart<'a>(
    plain: &Printer<'a>,
    source: &'a Source<'a>,
    query: &'a Query,
    select: &'a Select,
) -> Option<Groups> {
    let parts = Parts::of(select, plain.sql).ok()?;
    let mut base = plain.like();
    base.source = Some(source);
    let keys: Option<Vec<String>> = parts
        .group_by
        .iter()
        .map(|key| base.text(resolved(key, plain, source, select)?).ok())
        .collect();
    let keys = keys?;
    let (window, from) = rows(&base, source, select.selection.as_ref())?;
    // In the dialect, a time is the parameter that it is for.
    let has_time = |printer: &Printer<'_>| printer.seen.now.get() && !printer.dialect;
    if base.seen.aggregate.get() || has_time(&base) {
        return None;
    }
    let totals = Totals {
        keys: keys.clone(),
        aggregates: RefCell::default(),
    };
    let mut printer = plain.like();
    printer.source = Some(source);
    printer.aliases.clone_from(&plain.aliases);
    printer.totals = Some(&totals);
    let result = result(&printer, &parts, query, select).ok()?;
    if has_time(&printer) {
        return None;
    }
    Some(Groups {
        rows: Grouped {
            table: source.schema.name.clone(),
            from,
            keys,
            window,
        },
        aggregates: totals.aggregates.into_inner(),
        result,
    })
}

/// What a key means: a column, else a column of the result by its place or name.
fn resolved<'a>(
    key: &'a Expr,
    plain: &Printer<'a>,
    source: &Source<'_>,
    select: &'a Select,
) -> Option<&'a Expr> {
    match key {
        Expr::Nested(inner) => resolved(inner, plain, source, select),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => {
                let at: usize = digits.parse().ok()?;
                // A star stands for many.
                let stars = |item: &SelectItem| {
                    matches!(
                        item,
                        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
                    )
                };
                if select.projection.iter().any(stars) {
                    return None;
                }
                match select.projection.get(at.checked_sub(1)?)? {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                        Some(expr)
                    }
                    _ => None,
                }
            }
            _ => Some(key),
        },
        Expr::Identifier(name) => {
            let name = name.value.to_ascii_lowercase();
            match source.column(&name) {
                Some(_) => Some(key),
                None => plain.aliases.get(&name).copied(),
            }
        }
        _ => Some(key),
    }
}

/// FROM and WHERE, without the one term that says how old rows may be.
fn rows(
    base: &Printer<'_>,
    source: &Source<'_>,
    condition: Option<&Expr>,
) -> Option<(Option<Window>, String)> {
    let mut window = None;
    let mut terms: Vec<String> = source.filter().map(str::to_owned).into_iter().collect();
    for term in condition.map_or(Vec::new(), |c| links(c, &BinaryOperator::And)) {
        if window.is_none() && !base.dialect {
            window = as_window(base, source, term);
            if window.is_some() {
                continue;
            }
        }
        let term = base.condition(|| base.expr(term));
        terms.push(term.ok()?.at_least(Level::Not));
    }
    let mut from = source.from();
    if !terms.is_empty() {
        from += &format!(" where {}", terms.join(" and "));
    }
    Some((window, from))
}

/// `time > now() - size`, `time >= now() - size`, and mirrored.
fn as_window(base: &Printer<'_>, source: &Source<'_>, term: &Expr) -> Option<Window> {
    let Expr::BinaryOp { left, op, right } = term else {
        return None;
    };
    let (time, inclusive, since) = match op {
        BinaryOperator::Gt => (left, false, right),
        BinaryOperator::GtEq => (left, true, right),
        BinaryOperator::Lt => (right, false, left),
        BinaryOperator::LtEq => (right, true, left),
        _ => return None,
    };
    let Expr::BinaryOp {
        left: now,
        op: BinaryOperator::Minus,
        right: size,
    } = bare(since)
    else {
        return None;
    };
    let is_now = matches!(bare(now), Expr::Function(f) if call(f).is_ok_and(|c| c.name == "now"));
    let column = match bare(time) {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(path) => path.last(),
        _ => None,
    };
    // What is no whole number has no pane.
    if !is_now || !source.is_time(&column?.value.to_ascii_lowercase()) {
        return None;
    }
    let size = match bare(size) {
        Expr::Interval(i) => interval::millis(i as &Interval, start(size)).ok()?,
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok()?,
            _ => return None,
        },
        _ => return None,
    };
    Some(Window {
        time: base.text(time).ok()?,
        size: u64::try_from(size).ok().filter(|size| *size > 0)?,
        inclusive,
    })
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        expr => expr,
    }
}

fn result(
    printer: &Printer<'_>,
    parts: &Parts<'_>,
    query: &Query,
    select: &Select,
) -> Written<String> {
    let distinct = if parts.distinct { "distinct " } else { "" };
    let mut text = format!(
        "select {distinct}{} from totals",
        printer.items(&select.projection)?
    );
    if let Some(condition) = &select.having {
        text += &format!(" where {}", printer.text(condition)?);
    }
    if let Some(order_by) = &query.order_by {
        text += &format!(" order by {}", printer.order_by(order_by)?);
    }
    if let Some(limit) = &query.limit_clause {
        text += &printer.limit(limit)?;
    }
    Ok(text)
}

impl Totals {
    /// A key, an aggregate, or what is made of them.
    pub fn stand_in(&self, printer: &Printer<'_>, expr: &Expr) -> Written {
        let mut base = printer.like();
        base.source = printer.source;
        // A number by itself may also be a place, and is what it is without a key.
        if !matches!(expr, Expr::Value(_))
            && let Ok(text) = base.text(expr)
            && let Some(at) = self.keys.iter().position(|key| *key == text)
        {
            // What is compared with a cast takes its type; a column of totals has none.
            let cast = matches!(bare(expr), Expr::Cast { .. });
            return Ok(Piece::atom(match text.rsplit_once(" as ") {
                Some((_, kind)) if cast => format!("cast(k{at} as {kind}"),
                _ => format!("k{at}"),
            }));
        }
        match expr {
            Expr::Identifier(name) => {
                let name = name.value.to_ascii_lowercase();
                let column = printer.source.and_then(|source| source.column(&name));
                match printer.aliases.get(&name) {
                    Some(meant) if column.is_none() => printer.expr(meant),
                    _ => Err(whole()),
                }
            }
            Expr::CompoundIdentifier(_) => Err(whole()),
            Expr::Function(function) => {
                let call = call(function)?;
                if !call.is_aggregate() {
                    return printer.plain(expr);
                }
                let name = self.keep(&base, &call)?;
                Ok(Piece::atom(format!("\"{name}\"")))
            }
            expr => printer.plain(expr),
        }
    }

    /// Keeps an aggregate, once, and gives the name of its column.
    fn keep(&self, base: &Printer<'_>, call: &Call<'_>) -> Written<String> {
        let function = match (call.name.as_str(), call.distinct) {
            ("count", false) => Function::Count,
            ("count", true) => Function::CountDistinct,
            ("min", _) => Function::Min,
            ("max", _) => Function::Max,
            ("sum", false) => Function::Sum,
            ("total", false) => Function::Total,
            ("avg", false) => Function::Avg,
            ("var_pop", false) => Function::VarPop,
            ("var_samp", false) => Function::VarSamp,
            ("stddev_pop", false) => Function::StddevPop,
            ("stddev_samp", false) => Function::StddevSamp,
            // Of parts it cannot be told which came first.
            ("earliest", false) if base.dialect => Function::Earliest,
            ("latest", false) if base.dialect => Function::Latest,
            _ => return Err(whole()),
        };
        let argument = match call.arguments.as_slice() {
            [] => None,
            [one] => Some(base.text(one)?),
            _ => return Err(whole()),
        };
        let argument = match call.filter {
            None => argument,
            Some(filter) => {
                let value = argument.as_deref().unwrap_or("1");
                Some(format!("case when {} then {value} end", base.text(filter)?))
            }
        };
        if base.seen.now.get() && !base.dialect {
            return Err(whole());
        }
        let distinct = if function == Function::CountDistinct {
            "distinct "
        } else {
            ""
        };
        let name = format!(
            "{}({distinct}{})",
            call.name,
            argument.as_deref().unwrap_or("*")
        );
        // It stands in double quotes, and equal names must be equal aggregates.
        let name = name
            .replace('\\', "\\\\")
            .replace('`', "\\`")
            .replace('"', "`")
            .replace('^', "^^");
        // SQLite tells names of columns apart without case.
        let name = name.chars().fold(String::new(), |mut name, letter| {
            if letter.is_ascii_uppercase() {
                name.push('^');
            }
            name.push(letter.to_ascii_lowercase());
            name
        });
        let mut aggregates = self.aggregates.borrow_mut();
        if !aggregates.iter().any(|a| a.name == name) {
            aggregates.push(Aggregate {
                function,
                argument,
                name: name.clone(),
            });
        }
        Ok(name)
    }
}

/// Not said to anybody: the query is then run again over all rows.
fn whole() -> Problem {
    Problem::bad_request("sql", "only the whole can tell")
}
