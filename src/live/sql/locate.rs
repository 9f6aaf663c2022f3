//! Looks through syntax trees: how many queries there are in one, and where that is what SQLite complains of.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Spanned, Visit, Visitor};
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
    // "wrong number of arguments to function f()", "misuse of aggregate function f()": the name comes last.
    let last = words.split([' ', ':']).next_back().unwrap_or_default();
    refuse(find(query, last.trim_end_matches("()")), words)
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
