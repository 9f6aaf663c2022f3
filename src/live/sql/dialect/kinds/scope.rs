//! What can be named at a place of a query, and which type an expression has there. What is not known is text.

use std::cell::RefCell;
use std::collections::HashMap;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, Ident, SelectItem, SelectItemQualifiedWildcardKind,
    UnaryOperator, Value,
};

use crate::live::schema::{TIME, TIME_TYPE, Type};
use crate::live::sql::dialect::functions;
use crate::live::sql::function::{call, single};
use crate::live::sql::print::links;

const BOOL: Type = Type::Bool;
pub(super) const TEXT: Type = Type::String;
const FLOAT: Type = Type::Float { bits: 64 };
const COUNT: Type = int(64, false);

/// What can be named somewhere: each column with the table that it is of, in lower case.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) columns: Vec<(String, String, Type)>,
    /// Names of the select list.
    pub(super) aliases: Vec<(String, Type)>,
    /// What queries in expressions yield, by their texts.
    pub(super) subqueries: RefCell<HashMap<String, Type>>,
}

const fn int(bits: u8, signed: bool) -> Type {
    Type::Int { bits, signed }
}

impl Scope {
    /// The columns that a star stands for: those that were declared, and the windows'.
    pub(super) fn expanded(&self, item: SelectItem) -> Vec<SelectItem> {
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

    pub(super) fn column(&self, table: Option<&str>, name: &str) -> Option<Type> {
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
    pub(super) fn kind(&self, expr: &Expr) -> Type {
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
                let kind = of_operator(op, &self.kind(left), &self.kind(right));
                match op {
                    BinaryOperator::Divide | BinaryOperator::Modulo => quotient(kind, right),
                    _ => kind,
                }
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
            Expr::Ceil { expr, .. } | Expr::Floor { expr, .. } => like(&FLOAT, &self.kind(expr)),
            Expr::Position { expr, r#in } => {
                like(&like(&COUNT, &self.kind(expr)), &self.kind(r#in))
            }
            Expr::Substring { expr, .. } | Expr::Trim { expr, .. } => like(&TEXT, &self.kind(expr)),
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
            "min" | "max" | "earliest" | "latest" => argument(0),
            // With another value for where there is no such row.
            "lag" | "lead" if kinds.len() > 2 => common(&argument(0), &argument(2)),
            "lag" | "lead" | "first_value" | "last_value" | "nth_value" => nullable(&argument(0)),
            "coalesce" | "ifnull" => match kinds.iter().any(|kind| !kind.bare().1) {
                true => all().bare().0.clone(),
                false => all(),
            },
            "iif" if kinds.len() < 3 => nullable(&argument(1)),
            "iif" => common(&argument(1), &argument(2)),
            "nullif" => nullable(&argument(0)),
            "abs" => like(&unsigned(&argument(0)), &argument(0)),
            "now" => Type::DateTime { precision: 0 },
            "now64" => TIME_TYPE,
            "emit_version" => int(64, true),
            "int_div" => {
                let kind = like(&like(&int(64, true), &argument(0)), &argument(1));
                call.arguments
                    .get(1)
                    .map_or(kind.clone(), |right| quotient(kind, right))
            }
            "is_null" | "json_valid" => BOOL,
            "length" | "instr" | "octet_length" | "unicode" | "json_array_length" => {
                like(&COUNT, &argument(0))
            }
            "sign" => int(8, true),
            "random" => int(64, true),
            functions::TIME_TEXT => argument(0),
            "date" => of_time(Type::Date, kinds.first()),
            "unixepoch" => of_time(int(64, true), kinds.first()),
            "julianday" => of_time(FLOAT, kinds.first()),
            "datetime" | "time" => of_time(TEXT, kinds.first()),
            "strftime" => of_time(TEXT, kinds.get(1)),
            _ if name.starts_with("to_start_of_") => match argument(0).bare().0 {
                Type::DateTime { .. } | Type::Int { .. } | Type::Float { .. } => argument(0),
                _ => nullable(&argument(0)),
            },
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
            "ceil" | "exp" | "floor" | "round" => like(&FLOAT, &argument(0)),
            // Not of each number there is one.
            "ln" | "log" | "log10" | "log2" | "pow" | "sqrt" => nullable(&FLOAT),
            "json_text" => TEXT,
            // A path may lead nowhere.
            "json_extract" | "json_type" => nullable(&TEXT),
            _ => kinds
                .iter()
                .fold(TEXT, |kind, argument| like(&kind, argument)),
        }
    }
}

/// Nothing can be divided by 0.
fn quotient(kind: Type, by: &Expr) -> Type {
    let is_other = match by {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().is_ok_and(|number: f64| number != 0.0),
            _ => false,
        },
        _ => false,
    };
    if is_other { kind } else { nullable(&kind) }
}

/// What is made of a time; without one, of the present. A text may say none.
fn of_time(kind: Type, time: Option<&Type>) -> Type {
    match time {
        None | Some(Type::DateTime { .. }) => kind,
        Some(_) => nullable(&kind),
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

pub(super) fn nullable(kind: &Type) -> Type {
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
pub(super) fn common(left: &Type, right: &Type) -> Type {
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
