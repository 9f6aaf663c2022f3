//! Looks through syntax trees: how many queries there are in one, and where that is what SQLite complains of.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, OrderByKind, Query, SelectItem, SetExpr, Spanned, Visit, Visitor};
use sqlparser::tokenizer::Location;

use crate::live::schema::Schema;
use crate::live::sql::names::nearest;
use crate::live::sql::parse::refuse;
use crate::live::sql::print::start;
use crate::problem::Problem;

/// Looks at each query in a query, itself first.
pub fn visit_queries<B>(
    query: &Query,
    look: impl FnMut(&Query) -> ControlFlow<B>,
) -> ControlFlow<B> {
    struct Queries<F>(F);
    impl<B, F: FnMut(&Query) -> ControlFlow<B>> Visitor for Queries<F> {
        type Break = B;
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<B> {
            (self.0)(query)
        }
    }
    query.visit(&mut Queries(look))
}

/// What SQLite says, with the place of the name that it speaks of, and the name that was meant.
pub fn explain(query: &Query, tables: &BTreeMap<String, Schema>, words: &str) -> Problem {
    // A name in double quotes that nobody knows: it says so, and guesses.
    let words = words.split(" - should this be").next().unwrap_or(words);
    let words = words.replace('"', "");
    for (says, kind) in [
        ("no such column: ", "there is no column "),
        (
            "ambiguous column name: ",
            "write table.column, since several tables have a column ",
        ),
    ] {
        if let Some(name) = words.strip_prefix(says) {
            let column = name.rsplit('.').next().unwrap_or(name);
            let known = tables.values().flat_map(|schema| schema.all_columns());
            let hint = match says.starts_with("no") {
                true => nearest(column, known.map(|(name, _)| name)),
                false => String::new(),
            };
            return refuse(find(query, name), format!("{kind}{name}{hint}"));
        }
    }
    if let Some(at) = clause(query, &words) {
        return refuse(at, words);
    }
    // "wrong number of arguments to function f()", "misuse of aggregate function f()": the name comes last.
    let last = words.split([' ', ':']).next_back().unwrap_or_default();
    refuse(find(query, last.trim_end_matches("()")), words)
}

/// Where the clause is that SQLite complains of.
fn clause(query: &Query, words: &str) -> Option<Location> {
    let is_having = words.starts_with("HAVING clause on a non-aggregate");
    let is_columns = words.contains("do not have the same number of result columns");
    let term = words.split_once(" ORDER BY term out of range");
    let term: Option<usize> = term.and_then(|(number, _)| {
        let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        digits.parse().ok()
    });
    let found = visit_queries(query, |query| {
        let at = match &*query.body {
            SetExpr::Select(select) if is_having => select.having.as_ref().map(|h| h.span().start),
            SetExpr::SetOperation { .. } if is_columns => uneven(&query.body),
            _ => None,
        };
        let ordered = query.order_by.as_ref().and_then(|order| match &order.kind {
            OrderByKind::Expressions(terms) => terms.get(term?.checked_sub(1)?),
            OrderByKind::All(_) => None,
        });
        let ordered = ordered.filter(|term| matches!(term.expr, Expr::Value(_)));
        match at.or(ordered.map(|term| start(&term.expr))) {
            Some(at) => ControlFlow::Break(at),
            None => ControlFlow::Continue(()),
        }
    });
    found.break_value()
}

/// The first part of a UNION that has another number of columns than the one before, as far as they are counted.
fn uneven(body: &SetExpr) -> Option<Location> {
    let SetExpr::SetOperation { left, right, .. } = body else {
        return None;
    };
    let uneven_before = uneven(left);
    let last = match &**left {
        SetExpr::SetOperation { right, .. } => right,
        _ => left,
    };
    let differ = match (width(last), width(right)) {
        (Some(a), Some(b)) => a != b,
        _ => true,
    };
    uneven_before.or(differ.then(|| right.span().start))
}

/// How many columns there are, unless `*` tells.
fn width(body: &SetExpr) -> Option<usize> {
    let SetExpr::Select(select) = body else {
        return None;
    };
    let is_one = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        )
    };
    let all = select.projection.iter().all(is_one);
    all.then_some(select.projection.len())
}

/// Where the second column of this name is in the result; the one that `*` brings has no place.
pub fn second(query: &Query, name: &str) -> Location {
    let SetExpr::Select(select) = &*query.body else {
        return Location::empty();
    };
    let called = |item: &&SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(own)) => own.value.eq_ignore_ascii_case(name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path
            .last()
            .is_some_and(|own| own.value.eq_ignore_ascii_case(name)),
        SelectItem::ExprWithAlias { alias, .. } => alias.value == name,
        _ => false,
    };
    let last = select.projection.iter().rfind(called);
    last.map_or(Location::empty(), |item| item.span().start)
}

/// The place of a column, `table.column` or function, by its name.
fn find(query: &Query, name: &str) -> Location {
    struct Names<'n>(&'n str);
    impl Visitor for Names<'_> {
        type Break = Location;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Location> {
            let written = match expr {
                Expr::Identifier(name) => name.value.clone(),
                Expr::CompoundIdentifier(path) => {
                    let names: Vec<&str> = path.iter().map(|part| part.value.as_str()).collect();
                    names.join(".")
                }
                Expr::Function(function) => function.name.to_string(),
                _ => return ControlFlow::Continue(()),
            };
            match written.eq_ignore_ascii_case(self.0) {
                true if matches!(expr, Expr::Function(_)) => ControlFlow::Break(expr.span().start),
                true => ControlFlow::Break(start(expr)),
                false => ControlFlow::Continue(()),
            }
        }
    }
    match query.visit(&mut Names(name)) {
        ControlFlow::Break(at) => at,
        ControlFlow::Continue(()) => Location::empty(),
    }
}
