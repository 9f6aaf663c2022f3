//! Which type each expression has, by the schemas: a result's header names them. On the way a star becomes the columns
//! that it stands for, and a text that is compared with a time becomes that time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, Ident, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, UnaryOperator, Value,
    visit_expressions_mut,
};

use crate::live::schema::{Schema, TIME, TIME_TYPE, Type, moment};
use crate::live::sql::dialect::functions;
use crate::live::sql::function::{call, single};
use crate::live::sql::parse::refuse;
use crate::live::sql::print::start;
use crate::problem::Problem;

const BOOL: Type = Type::Bool;
const TEXT: Type = Type::String;
const FLOAT: Type = Type::Float { bits: 64 };
const COUNT: Type = int(64, false);

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
    pub fn query(&mut self, query: &mut Query) -> Result<Columns, Problem> {
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
        let columns = self.set(&mut query.body);
        self.with.truncate(outer);
        columns
    }

    fn set(&mut self, set: &mut SetExpr) -> Result<Columns, Problem> {
        match set {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.has_union = true;
                let (left, right) = (self.set(left)?, self.set(right)?);
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

    fn select(&mut self, select: &mut Select) -> Result<Columns, Problem> {
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
        for condition in conditions.into_iter().flatten() {
            self.expr(condition, &scope)?;
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
        if in_windows {
            let times = ["window_start", "window_end"].map(|name| (name.to_owned(), TIME_TYPE));
            columns.extend(times);
        }
        columns
    }

    /// Looks at what is compared with what, and at the queries within.
    fn expr(&mut self, expr: &mut Expr, scope: &Scope) -> Result<(), Problem> {
        let seen = visit_expressions_mut(expr, |expr| match self.compared(expr, scope) {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(problem),
        });
        match seen {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(problem) => Err(problem),
        }
    }

    fn compared(&mut self, expr: &mut Expr, scope: &Scope) -> Result<(), Problem> {
        use BinaryOperator as Op;
        match expr {
            Expr::BinaryOp {
                left,
                op: Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq,
                right,
            } => match (is_time(&scope.kind(left)), is_time(&scope.kind(right))) {
                (true, false) => as_time(right),
                (false, true) => as_time(left),
                _ => Ok(()),
            },
            Expr::Between {
                expr, low, high, ..
            } if is_time(&scope.kind(expr)) => as_time(low).and_then(|()| as_time(high)),
            Expr::InList { expr, list, .. } if is_time(&scope.kind(expr)) => {
                list.iter_mut().try_for_each(as_time)
            }
            Expr::Subquery(query) => self.query(query).map(drop),
            Expr::InSubquery { subquery, .. } | Expr::Exists { subquery, .. } => {
                self.query(subquery).map(drop)
            }
            _ => Ok(()),
        }
    }
}

fn is_time(kind: &Type) -> bool {
    matches!(kind.bare().0, Type::DateTime { .. })
}

/// A text becomes the milliseconds that it says.
fn as_time(expr: &mut Expr) -> Result<(), Problem> {
    let at = start(expr);
    let Expr::Value(value) = expr else {
        return Ok(());
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return Ok(());
    };
    let why = || format!("'{text}' is no time; write '2026-11-22 15:49:29.000'");
    let ms = moment(text).ok_or_else(|| refuse(at, why()))?;
    value.value = Value::Number(ms.to_string(), false);
    Ok(())
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
        let argument = |index: usize| {
            let of = call.arguments.get(index);
            of.map_or(TEXT, |expr| self.kind(expr))
        };
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
            "min" | "max" | "earliest" | "latest" | "lag" | "lead" | "first_value"
            | "last_value" | "nth_value" => argument(0),
            "coalesce" | "ifnull" => {
                let kinds = (0..call.arguments.len()).map(argument);
                let kinds: Vec<Type> = kinds.collect();
                let is_sure = kinds.iter().any(|kind| !kind.bare().1);
                let kind = kinds.iter().skip(1).fold(argument(0), |a, b| common(&a, b));
                match is_sure {
                    true => kind.bare().0.clone(),
                    false => kind,
                }
            }
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
            (Type::Decimal { .. }, Type::Decimal { .. } | Type::Int { .. }) => a.clone(),
            (Type::Int { .. }, Type::Decimal { .. }) => b.clone(),
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
        _ => TEXT,
    };
    like(&like(&kind, left), right)
}
