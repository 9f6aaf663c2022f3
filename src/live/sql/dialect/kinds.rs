//! Which type each expression has, by the schemas: a result's header names them. On the way a star becomes the columns
//! that it stands for, and a text that is compared with a time becomes that time.

mod scope;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, JoinConstraint, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};

use self::scope::{Scope, TEXT, common, nullable};
use crate::live::schema::{Schema, TIME_TYPE, Type, moment};
use crate::live::sql::dialect::functions::TIME_TEXT;
use crate::live::sql::function::{OF_TIME, single};
use crate::live::sql::parse::refuse;
use crate::live::sql::print::start;
use crate::problem::Problem;

/// Columns that windows have.
const WINDOW: [&str; 2] = ["window_start", "window_end"];

/// Levels of an expression.
const LEVELS: usize = 220;

/// Columns that a name may mean.
type Columns = Vec<(String, Type)>;

/// Looks through a query.
pub struct Kinds<'a> {
    pub tables: &'a BTreeMap<String, Schema>,
    /// Common table expressions by their names in lower case.
    with: Vec<(String, Columns)>,
    /// The streams that are read, in lower case.
    pub streams: Vec<String>,
    pub has_join: bool,
    pub has_union: bool,
}

impl<'a> Kinds<'a> {
    pub fn new(tables: &'a BTreeMap<String, Schema>) -> Kinds<'a> {
        Kinds {
            tables,
            with: Vec::new(),
            streams: Vec::new(),
            has_join: false,
            has_union: false,
        }
    }

    /// The columns of a query's result.
    ///
    /// # Errors
    /// 400 for a text that should be a time and is none.
    pub fn of(&mut self, query: &mut Query) -> Result<Columns, Problem> {
        match VisitMut::visit(query, &mut Depth::default()) {
            ControlFlow::Continue(()) => self.query(query),
            ControlFlow::Break(problem) => Err(problem),
        }
    }

    fn query(&mut self, query: &mut Query) -> Result<Columns, Problem> {
        let outer = self.with.len();
        if let Some(with) = &mut query.with {
            for table in &mut with.cte_tables {
                let name = table.alias.name.value.to_ascii_lowercase();
                let known = self.with.len();
                if let (true, SetExpr::SetOperation { left, .. }) =
                    (with.recursive, &*table.query.body)
                {
                    // It reads itself, as what it begins with.
                    let streams = self.streams.len();
                    let columns = self.set(&mut left.clone(), None)?;
                    self.streams.truncate(streams);
                    self.with
                        .push((name.clone(), renamed(columns, &table.alias)));
                }
                let mut columns = self.query(&mut table.query)?;
                if self.with.len() > known {
                    self.with.truncate(known);
                    columns.iter_mut().for_each(|(_, kind)| *kind = grown(kind));
                }
                self.with.push((name, renamed(columns, &table.alias)));
            }
        }
        let order_by = query.order_by.as_mut().map(|by| &mut by.kind);
        let columns = self.set(&mut query.body, order_by);
        self.with.truncate(outer);
        columns
    }

    fn set(
        &mut self,
        set: &mut SetExpr,
        order_by: Option<&mut OrderByKind>,
    ) -> Result<Columns, Problem> {
        match set {
            SetExpr::Select(select) => self.select(select, order_by),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.has_union = true;
                let (left, right) = (self.set(left, None)?, self.set(right, None)?);
                let both = left.into_iter().zip(right);
                Ok(both.map(|(a, b)| (a.0, common(&a.1, &b.1))).collect())
            }
            SetExpr::Values(values) => {
                let scope = Scope::default();
                let row = values.rows.first().map_or(&[][..], |row| &row.content);
                let kinds = row.iter().map(|e| scope.kind(e)).enumerate();
                Ok(kinds
                    .map(|(n, kind)| (format!("column{}", n + 1), kind))
                    .collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn select(
        &mut self,
        select: &mut Select,
        order_by: Option<&mut OrderByKind>,
    ) -> Result<Columns, Problem> {
        let mut scope = Scope::default();
        for table in &mut select.from {
            self.joined(table, &mut scope)?;
        }
        self.has_join |= select.from.len() > 1;
        select.projection = std::mem::take(&mut select.projection)
            .into_iter()
            .flat_map(|item| scope.expanded(item))
            .collect();
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item {
                let kind = scope.kind(expr);
                scope.aliases.push((alias.value.to_ascii_lowercase(), kind));
            }
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                self.expr(expr, &scope)?;
            }
        }
        let conditions = [&mut select.selection, &mut select.having];
        let joins = select.from.iter_mut().flat_map(|table| &mut table.joins);
        let joins = joins.filter_map(|join| condition_of(&mut join.join_operator));
        for condition in conditions.into_iter().flatten().chain(joins) {
            self.expr(condition, &scope)?;
        }
        if let Some(OrderByKind::Expressions(terms)) = order_by {
            for term in terms {
                self.expr(&mut term.expr, &scope)?;
            }
        }
        if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
            for key in keys {
                self.expr(key, &scope)?;
            }
        }
        let columns = select.projection.iter().map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => (alias.value.clone(), scope.kind(expr)),
            SelectItem::UnnamedExpr(expr) => (named(expr), scope.kind(expr)),
            other => (other.to_string(), TEXT),
        });
        Ok(columns.collect())
    }

    fn joined(&mut self, table: &mut TableWithJoins, scope: &mut Scope) -> Result<(), Problem> {
        let first = scope.columns.len();
        self.factor(&mut table.relation, scope)?;
        for join in &mut table.joins {
            use JoinOperator as Op;
            self.has_join = true;
            let before = scope.columns.len();
            self.factor(&mut join.relation, scope)?;
            // Of a row that has no other, these have no value.
            let end = scope.columns.len();
            let missing = match join.join_operator {
                Op::Left(_) | Op::LeftOuter(_) => before..end,
                Op::Right(_) | Op::RightOuter(_) => first..before,
                Op::FullOuter(_) => first..end,
                _ => end..end,
            };
            let missing = &mut scope.columns[missing];
            missing
                .iter_mut()
                .for_each(|(_, _, kind)| *kind = nullable(kind));
        }
        Ok(())
    }

    fn factor(&mut self, factor: &mut TableFactor, scope: &mut Scope) -> Result<(), Problem> {
        let (columns, own, alias) = match factor {
            TableFactor::Table {
                name, args, alias, ..
            } => {
                let called = single(name).unwrap_or_default();
                let of_it = match args {
                    // `tumble(stream, …)`
                    Some(args) => args.args.first().map(ToString::to_string),
                    None => Some(called.clone()),
                };
                let of_it = of_it.unwrap_or_default().to_ascii_lowercase();
                let with = self.with.iter().rev().find(|(name, _)| *name == called);
                let columns = match (with, args.is_some()) {
                    (Some((_, columns)), false) => columns.clone(),
                    (_, in_windows) => {
                        self.streams.push(of_it.clone());
                        self.stream(&of_it, in_windows)
                    }
                };
                (columns, of_it, alias)
            }
            TableFactor::Derived {
                subquery, alias, ..
            } => (self.query(subquery)?, String::new(), alias),
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => return self.joined(table_with_joins, scope),
            _ => return Ok(()),
        };
        let alias = alias.as_ref().map(|a| a.name.value.to_ascii_lowercase());
        let table = alias.unwrap_or(own);
        let columns = columns.into_iter();
        scope
            .columns
            .extend(columns.map(|(name, kind)| (table.clone(), name, kind)));
        Ok(())
    }

    fn stream(&self, name: &str, in_windows: bool) -> Columns {
        let mut columns: Columns = Vec::new();
        if let Some(schema) = self.tables.get(name) {
            let declared = schema.all_columns();
            columns.extend(declared.map(|(name, kind)| (name.to_owned(), kind.clone())));
        }
        // Those of the windows stand before its own.
        columns.retain(|(name, _)| {
            !in_windows || !WINDOW.contains(&name.to_ascii_lowercase().as_str())
        });
        if in_windows {
            let times = WINDOW.map(|name| (name.to_owned(), TIME_TYPE));
            columns.extend(times);
        }
        columns
    }

    /// Looks at what is compared with what, and at the queries within.
    fn expr(&mut self, expr: &mut Expr, scope: &Scope) -> Result<(), Problem> {
        let mut visit = Compared {
            kinds: self,
            scope,
            within: 0,
        };
        match VisitMut::visit(expr, &mut visit) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(problem) => Err(problem),
        }
    }

    fn compared(&mut self, expr: &mut Expr, scope: &Scope) -> Result<(), Problem> {
        use BinaryOperator as Op;
        let of_times = |left: &mut Expr, right: &mut Expr| match (
            is_time(&scope.kind(left)),
            is_time(&scope.kind(right)),
        ) {
            (true, false) => as_time(right),
            (false, true) => as_time(left),
            _ => Ok(()),
        };
        match expr {
            Expr::BinaryOp {
                left,
                op: Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq,
                right,
            } => of_times(left, right),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                of_times(left, right)
            }
            Expr::Case {
                operand: Some(operand),
                conditions,
                ..
            } if is_time(&scope.kind(operand)) => {
                let mut conditions = conditions.iter_mut();
                conditions.try_for_each(|when| as_time(&mut when.condition))
            }
            Expr::Between {
                expr, low, high, ..
            } if is_time(&scope.kind(expr)) => as_time(low).and_then(|()| as_time(high)),
            Expr::InList { expr, list, .. } if is_time(&scope.kind(expr)) => {
                list.iter_mut().try_for_each(as_time)
            }
            Expr::Function(function) => {
                said(function, scope);
                Ok(())
            }
            Expr::Subquery(query) => {
                let columns = self.query(query)?;
                if let Some((_, kind)) = columns.first() {
                    let mut subqueries = scope.subqueries.borrow_mut();
                    subqueries.insert(query.to_string(), nullable(kind));
                }
                Ok(())
            }
            Expr::InSubquery { subquery, .. } | Expr::Exists { subquery, .. } => {
                self.query(subquery).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Counts levels before anything else looks at them, which recurses; chains of AND and OR count none.
#[derive(Default)]
struct Depth(usize);

impl VisitorMut for Depth {
    type Break = Problem;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Problem> {
        self.0 += usize::from(!is_chain(expr));
        match self.0 > LEVELS {
            true => ControlFlow::Break(refuse(
                start(expr),
                format!("nested too deep: {LEVELS} levels are the most; write a simpler query"),
            )),
            false => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Problem> {
        self.0 -= usize::from(!is_chain(expr));
        ControlFlow::Continue(())
    }
}

fn is_chain(expr: &Expr) -> bool {
    use BinaryOperator as Op;
    matches!(
        expr,
        Expr::BinaryOp {
            op: Op::And | Op::Or,
            ..
        }
    )
}

/// Looks at comparisons; those in a query within are of its own scope.
struct Compared<'k, 'a> {
    kinds: &'k mut Kinds<'a>,
    scope: &'k Scope,
    within: usize,
}

impl VisitorMut for Compared<'_, '_> {
    type Break = Problem;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Problem> {
        self.within += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Problem> {
        self.within -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Problem> {
        if self.within > 0 {
            return ControlFlow::Continue(());
        }
        match self.kinds.compared(expr, self.scope) {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(problem),
        }
    }
}

fn renamed(mut columns: Columns, alias: &TableAlias) -> Columns {
    for (column, renamed) in columns.iter_mut().zip(&alias.columns) {
        column.0.clone_from(&renamed.name.value);
    }
    columns
}

/// What a number may become that is counted on.
fn grown(kind: &Type) -> Type {
    match kind {
        Type::Int { .. } => Type::Int {
            bits: 64,
            signed: true,
        },
        Type::Nullable(inner) => nullable(&grown(inner)),
        kind => kind.clone(),
    }
}

fn is_time(kind: &Type) -> bool {
    matches!(kind.bare().0, Type::DateTime { .. })
}

/// A text becomes the milliseconds that it says.
fn as_time(expr: &mut Expr) -> Result<(), Problem> {
    let at = start(expr);
    let value = match expr {
        Expr::Nested(inner) => return as_time(inner),
        Expr::Value(value) => value,
        _ => return Ok(()),
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return Ok(());
    };
    let why = || format!("'{text}' is no time; write '2026-11-22 15:49:29.000'");
    let ms = moment(text).ok_or_else(|| refuse(at, why()))?;
    value.value = Value::Number(ms.to_string(), false);
    Ok(())
}

/// A time becomes the text that functions of time take, which know no milliseconds.
fn said(function: &mut Function, scope: &Scope) {
    let name = single(&function.name).unwrap_or_default();
    let Some((_, at)) = OF_TIME.iter().find(|(own, _)| *own == name) else {
        return;
    };
    let outer = function.clone();
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let mut inner = list.clone();
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(time))) = list.args.get_mut(*at)
        && is_time(&scope.kind(time))
    {
        inner.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(time.clone()))];
        let name = Ident::new(TIME_TEXT);
        *time = Expr::Function(Function {
            name: name.into(),
            args: FunctionArguments::List(inner),
            filter: None,
            over: None,
            ..outer
        });
    }
}

/// What a join holds rows to.
fn condition_of(join: &mut JoinOperator) -> Option<&mut Expr> {
    use JoinOperator as Op;
    match join {
        Op::Join(on)
        | Op::Inner(on)
        | Op::Left(on)
        | Op::LeftOuter(on)
        | Op::Right(on)
        | Op::RightOuter(on)
        | Op::FullOuter(on)
        | Op::CrossJoin(on) => match on {
            JoinConstraint::On(condition) => Some(condition),
            _ => None,
        },
        _ => None,
    }
}

fn named(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(path) => path.last().map_or(String::new(), |n| n.value.clone()),
        other => other.to_string(),
    }
}
