//! Which type each expression has, by the schemas: a result's header names them. On the way a star becomes the columns
//! that it stands for, and a text that is compared with a time becomes that time.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, Ident, JoinConstraint, JoinOperator, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor,
    TableWithJoins, UnaryOperator, Value, VisitMut, VisitorMut,
};

use crate::live::schema::{Schema, TIME, TIME_TYPE, Type, moment};
use crate::live::sql::dialect::functions;
use crate::live::sql::function::{call, single};
use crate::live::sql::parse::refuse;
use crate::live::sql::print::{links, start};
use crate::problem::Problem;

const BOOL: Type = Type::Bool;
const TEXT: Type = Type::String;
const FLOAT: Type = Type::Float { bits: 64 };
const COUNT: Type = int(64, false);

/// Columns that windows have.
const WINDOW: [&str; 2] = ["window_start", "window_end"];

/// Levels of an expression.
const LEVELS: usize = 220;

/// Columns that a name may mean.
type Columns = Vec<(String, Type)>;

const fn int(bits: u8, signed: bool) -> Type {
    Type::Int { bits, signed }
}

/// What can be named somewhere: each column with the table that it is of, in lower case.
#[derive(Default)]
struct Scope {
    columns: Vec<(String, String, Type)>,
    /// Names of the select list.
    aliases: Vec<(String, Type)>,
    /// What queries in expressions yield, by their texts.
    subqueries: RefCell<HashMap<String, Type>>,
}

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
                let mut columns = self.query(&mut table.query)?;
                for (column, renamed) in columns.iter_mut().zip(&table.alias.columns) {
                    column.0.clone_from(&renamed.name.value);
                }
                let name = table.alias.name.value.to_ascii_lowercase();
                self.with.push((name, columns));
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
        self.factor(&mut table.relation, scope)?;
        for join in &mut table.joins {
            self.has_join = true;
            self.factor(&mut join.relation, scope)?;
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

impl Scope {
    /// The columns that a star stands for: those that were declared, and the windows'.
    fn expanded(&self, item: SelectItem) -> Vec<SelectItem> {
        let of = match &item {
            SelectItem::Wildcard(_) => None,
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(table),
                _,
            ) => single(table),
            _ => return vec![item],
        };
        let is_meant = |table: &str| of.as_ref().is_none_or(|of| of == table);
        let columns = self.columns.iter();
        let columns = columns.filter(|(table, name, _)| is_meant(table) && name != TIME);
        let several = self.columns.iter().any(|c| c.0 != self.columns[0].0);
        let columns = columns.map(|(table, name, _)| {
            let name = Ident::with_quote('"', name);
            SelectItem::UnnamedExpr(match several && !table.is_empty() {
                true => Expr::CompoundIdentifier(vec![Ident::with_quote('"', table), name]),
                false => Expr::Identifier(name),
            })
        });
        let columns: Vec<SelectItem> = columns.collect();
        match columns.is_empty() {
            true => vec![item],
            false => columns,
        }
    }

    fn column(&self, table: Option<&str>, name: &str) -> Option<Type> {
        let is_meant = |own: &str| table.is_none_or(|table| own.eq_ignore_ascii_case(table));
        let mut columns = self.columns.iter();
        let found = columns
            .find(|(of, own, _)| is_meant(of) && own.eq_ignore_ascii_case(name))
            .map(|(_, _, kind)| kind.clone());
        found.or_else(|| {
            let mut aliases = self.aliases.iter().filter(|_| table.is_none());
            let found = aliases.find(|(own, _)| own.eq_ignore_ascii_case(name));
            found.map(|(_, kind)| kind.clone())
        })
    }

    /// The type of an expression; what is not known is text.
    fn kind(&self, expr: &Expr) -> Type {
        match expr {
            Expr::Nested(inner) => self.kind(inner),
            Expr::Identifier(name) => self.column(None, &name.value).unwrap_or(TEXT),
            Expr::CompoundIdentifier(path) => match path.as_slice() {
                [table, name] => self.column(Some(&table.value), &name.value),
                _ => None,
            }
            .unwrap_or(TEXT),
            Expr::Value(value) => of_value(&value.value),
            Expr::Interval(_) => int(64, true),
            Expr::Subquery(query) => {
                let subqueries = self.subqueries.borrow();
                subqueries.get(&query.to_string()).cloned().unwrap_or(TEXT)
            }
            // However long the chain.
            Expr::BinaryOp {
                op: op @ (BinaryOperator::And | BinaryOperator::Or),
                ..
            } => {
                let terms = links(expr, op).into_iter().map(|term| self.kind(term));
                terms.fold(BOOL, |kind, term| like(&kind, &term))
            }
            Expr::BinaryOp { left, op, right } => {
                of_operator(op, &self.kind(left), &self.kind(right))
            }
            Expr::UnaryOp { op, expr } => match op {
                UnaryOperator::Not => like(&BOOL, &self.kind(expr)),
                UnaryOperator::Minus => match self.kind(expr).bare() {
                    (Type::Int { bits, signed }, _) => {
                        int(if *signed { *bits } else { wider(*bits) }, true)
                    }
                    (kind, _) => kind.clone(),
                },
                _ => self.kind(expr),
            },
            Expr::Function(function) => self.of_call(function),
            Expr::Cast {
                data_type, expr, ..
            } => {
                let kind = data_type.to_string().parse().unwrap_or(TEXT);
                like(&kind, &self.kind(expr))
            }
            Expr::Case {
                conditions,
                else_result,
                ..
            } => {
                let results = conditions.iter().map(|when| self.kind(&when.result));
                let otherwise = else_result
                    .as_ref()
                    .map_or_else(|| of_value(&Value::Null), |expr| self.kind(expr));
                results.fold(otherwise, |a, b| common(&a, &b))
            }
            Expr::Ceil { .. } | Expr::Floor { .. } => FLOAT,
            Expr::Position { .. } => COUNT,
            Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Exists { .. } => BOOL,
            Expr::InList { expr, .. }
            | Expr::InSubquery { expr, .. }
            | Expr::Between { expr, .. }
            | Expr::Like { expr, .. }
            | Expr::ILike { expr, .. } => like(&BOOL, &self.kind(expr)),
            _ => TEXT,
        }
    }

    fn of_call(&self, function: &Function) -> Type {
        let Ok(call) = call(function) else {
            return TEXT;
        };
        // Each once: calls are nested.
        let kinds: Vec<Type> = call.arguments.iter().map(|expr| self.kind(expr)).collect();
        let argument = |index: usize| kinds.get(index).cloned().unwrap_or(TEXT);
        let all = || kinds.iter().skip(1).fold(argument(0), |a, b| common(&a, b));
        let name = call.name.as_str();
        match name {
            "count" | "row_number" | "rank" | "dense_rank" | "ntile" => COUNT,
            "sum" => match argument(0).bare() {
                (Type::Int { signed, .. }, _) => int(64, *signed),
                (Type::Bool, _) => COUNT,
                (Type::Decimal { scale, .. }, _) => Type::Decimal {
                    precision: 15,
                    scale: *scale,
                },
                _ => FLOAT,
            },
            "min" | "max" if kinds.len() > 1 => all(),
            "min" | "max" | "earliest" | "latest" | "lag" | "lead" | "first_value"
            | "last_value" | "nth_value" => argument(0),
            "coalesce" | "ifnull" => match kinds.iter().any(|kind| !kind.bare().1) {
                true => all().bare().0.clone(),
                false => all(),
            },
            "iif" => common(&argument(1), &argument(2)),
            "nullif" => nullable(&argument(0)),
            "abs" => like(&unsigned(&argument(0)), &argument(0)),
            "now" => Type::DateTime { precision: 0 },
            "now64" => TIME_TYPE,
            "emit_version" | "unixepoch" => int(64, true),
            "int_div" => int(64, true),
            "is_null" | "json_valid" => BOOL,
            "length" | "instr" | "octet_length" | "unicode" | "json_array_length" => {
                like(&COUNT, &argument(0))
            }
            "sign" => int(8, true),
            "random" => int(64, true),
            "date" => Type::Date,
            _ if name.starts_with("to_start_of_") => argument(0),
            _ if functions::cast(name).is_some() => {
                let kind = name.trim_start_matches("to_");
                let kind = match kind {
                    "float" => "float64",
                    "uint" => "uint64",
                    "int" => "int64",
                    kind => kind,
                };
                like(&kind.parse().unwrap_or(TEXT), &argument(0))
            }
            "avg" | "total" | "median" | "quantile" | "stddev" | "stddev_pop" | "stddev_samp"
            | "variance" | "var_pop" | "var_samp" | "percent_rank" | "cume_dist" => FLOAT,
            "ceil" | "exp" | "floor" | "julianday" | "ln" | "log10" | "log2" | "pow" | "round"
            | "sqrt" => like(&FLOAT, &argument(0)),
            "json_text" => TEXT,
            _ => like(&TEXT, &argument(0)),
        }
    }
}

fn of_value(value: &Value) -> Type {
    match value {
        Value::Number(digits, _) => match digits.parse::<u64>() {
            Ok(0..=0xff) => int(8, false),
            Ok(0x100..=0xffff) => int(16, false),
            Ok(0x1_0000..=0xffff_ffff) => int(32, false),
            Ok(_) => COUNT,
            Err(_) => FLOAT,
        },
        Value::Boolean(_) => BOOL,
        Value::Null => nullable(&TEXT),
        _ => TEXT,
    }
}

fn of_operator(op: &BinaryOperator, left: &Type, right: &Type) -> Type {
    use BinaryOperator as Op;
    let ((a, _), (b, _)) = (left.bare(), right.bare());
    let kind = match op {
        Op::StringConcat => TEXT,
        Op::Divide => FLOAT,
        Op::Plus | Op::Minus | Op::Multiply | Op::Modulo => match (a, b) {
            (Type::DateTime { .. }, Type::DateTime { .. }) => int(64, true),
            (Type::DateTime { .. }, _) => a.clone(),
            (_, Type::DateTime { .. }) => b.clone(),
            (
                Type::Int { bits, signed },
                Type::Int {
                    bits: others,
                    signed: is_signed,
                },
            ) => {
                let bits = *bits.max(others);
                match op {
                    Op::Modulo => int(bits, *signed || *is_signed),
                    Op::Minus => int(wider(bits), true),
                    _ => int(wider(bits), *signed || *is_signed),
                }
            }
            (Type::Int { .. } | Type::Bool, Type::Int { .. } | Type::Bool) => int(64, true),
            (Type::Decimal { scale, .. }, Type::Decimal { scale: other, .. })
                if *op == Op::Multiply =>
            {
                Type::Decimal {
                    precision: 15,
                    scale: (scale + other).min(15),
                }
            }
            (Type::Decimal { .. }, Type::Decimal { .. } | Type::Int { .. })
            | (Type::Int { .. }, Type::Decimal { .. }) => common(a, b),
            _ => FLOAT,
        },
        Op::BitwiseAnd | Op::BitwiseOr | Op::PGBitwiseShiftLeft | Op::PGBitwiseShiftRight => {
            common(a, b)
        }
        Op::Arrow | Op::LongArrow => nullable(&TEXT),
        _ => BOOL,
    };
    like(&like(&kind, left), right)
}

fn wider(bits: u8) -> u8 {
    bits.saturating_mul(2).min(64)
}

fn unsigned(kind: &Type) -> Type {
    match kind.bare().0 {
        Type::Int { bits, .. } => int(*bits, false),
        other => other.clone(),
    }
}

fn nullable(kind: &Type) -> Type {
    Type::Nullable(Box::new(kind.bare().0.clone()))
}

/// NULL where the other may be.
fn like(kind: &Type, other: &Type) -> Type {
    match other.bare().1 {
        true => nullable(kind),
        false => kind.clone(),
    }
}

/// What holds values of both.
fn common(left: &Type, right: &Type) -> Type {
    let ((a, _), (b, _)) = (left.bare(), right.bare());
    let null = nullable(&TEXT);
    let kind = match (a, b) {
        (a, b) if a == b => a.clone(),
        // NULL itself is taken for a text.
        (a, _) if *right == null => a.clone(),
        (_, b) if *left == null => b.clone(),
        (
            Type::Int { bits, signed },
            Type::Int {
                bits: others,
                signed: is_signed,
            },
        ) => {
            let mixed = signed != is_signed;
            let bits = *bits.max(others);
            int(
                if mixed { wider(bits) } else { bits },
                *signed || *is_signed,
            )
        }
        (Type::Int { .. } | Type::Float { .. } | Type::Decimal { .. }, Type::Float { .. })
        | (Type::Float { .. }, Type::Int { .. } | Type::Decimal { .. }) => FLOAT,
        (Type::DateTime { .. }, Type::DateTime { .. }) => TIME_TYPE,
        (Type::Decimal { scale, .. }, Type::Int { .. })
        | (Type::Int { .. }, Type::Decimal { scale, .. }) => Type::Decimal {
            precision: 15,
            scale: *scale,
        },
        (Type::Decimal { scale, .. }, Type::Decimal { scale: other, .. }) => Type::Decimal {
            precision: 15,
            scale: *scale.max(other),
        },
        _ => TEXT,
    };
    like(&like(&kind, left), right)
}
