//! Types as they are written: `datetime64(3)`, `map(string, nullable(float64))`.

use std::fmt;
use std::str::FromStr;

use super::{BOOLEAN, JSON, Type, wrong};
use crate::problem::Problem;

/// How deep a type may be: what is held as JSON is checked by recursion.
const DEPTH: usize = 8;

impl Type {
    /// What SQLite is told, which decides how it compares values.
    pub(super) fn held_as(&self) -> &'static str {
        match self {
            Type::Bool => BOOLEAN,
            Type::Int { .. } | Type::DateTime { .. } => "INTEGER",
            Type::Float { .. } | Type::Decimal { .. } => "REAL",
            Type::String | Type::Uuid | Type::Date => "TEXT",
            Type::Array(_) | Type::Map(..) => JSON,
            Type::Nullable(inner) => inner.held_as(),
        }
    }

    /// Whether a row may lack it.
    pub fn is_nullable(&self) -> bool {
        matches!(self, Type::Nullable(_))
    }

    /// The type without `nullable`, and whether it was there.
    pub fn bare(&self) -> (&Type, bool) {
        match self {
            Type::Nullable(inner) => (inner, true),
            other => (other, false),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bool => f.write_str("bool"),
            Type::Int { bits, signed } => {
                write!(f, "{}int{bits}", if *signed { "" } else { "u" })
            }
            Type::Float { bits } => write!(f, "float{bits}"),
            Type::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Type::String => f.write_str("string"),
            Type::Uuid => f.write_str("uuid"),
            Type::Date => f.write_str("date"),
            Type::DateTime { precision: 0 } => f.write_str("datetime"),
            Type::DateTime { precision } => write!(f, "datetime64({precision})"),
            Type::Array(inner) => write!(f, "array({inner})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Nullable(inner) => write!(f, "nullable({inner})"),
        }
    }
}

impl FromStr for Type {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Type, Problem> {
        parse(text, DEPTH).map_err(|why| wrong(format!("type {text:?}: {why}")))
    }
}

fn parse(text: &str, depth: usize) -> Result<Type, String> {
    if depth == 0 {
        return Err(format!("more than {DEPTH} types within each other"));
    }
    let lower = text.trim().to_ascii_lowercase();
    let (name, arguments) = match lower.split_once('(') {
        Some((name, rest)) => {
            let inside = rest.strip_suffix(')').ok_or("a ) is missing at its end")?;
            (name.trim_end(), split(inside))
        }
        None => (&*lower, Vec::new()),
    };
    let number = |index: usize| -> Result<u8, String> {
        let digits: &str = arguments.get(index).copied().unwrap_or_default();
        digits
            .parse()
            .map_err(|_| format!("{digits:?} is no number of digits"))
    };
    let inner = |index: usize| parse(arguments[index], depth - 1).map(Box::new);
    let int = |bits, signed| Ok(Type::Int { bits, signed });
    match (name, arguments.len()) {
        ("bool" | "boolean", 0) => Ok(Type::Bool),
        ("int8" | "tinyint", 0) => int(8, true),
        ("int16" | "smallint", 0) => int(16, true),
        ("int32" | "int" | "integer", 0) => int(32, true),
        ("int64" | "bigint", 0) => int(64, true),
        ("uint8", 0) => int(8, false),
        ("uint16", 0) => int(16, false),
        ("uint32", 0) => int(32, false),
        ("uint64", 0) => int(64, false),
        ("float32" | "float" | "real", 0) => Ok(Type::Float { bits: 32 }),
        ("float64" | "double", 0) => Ok(Type::Float { bits: 64 }),
        ("string" | "text" | "varchar", 0) => Ok(Type::String),
        ("uuid", 0) => Ok(Type::Uuid),
        ("date", 0) => Ok(Type::Date),
        ("datetime", 0) => Ok(Type::DateTime { precision: 0 }),
        ("datetime", 1) => utc(arguments[0]).map(|()| Type::DateTime { precision: 0 }),
        ("datetime64", 0) => Ok(Type::DateTime { precision: 3 }),
        ("datetime64", 1 | 2) => {
            arguments.get(1).map_or(Ok(()), |zone| utc(zone))?;
            match number(0)? {
                precision @ 0..=3 => Ok(Type::DateTime { precision }),
                _ => Err("times are held in milliseconds, so at most 3 digits of a second".into()),
            }
        }
        ("decimal" | "numeric", 1 | 2) => {
            let precision = number(0)?;
            let scale = if arguments.len() == 2 { number(1)? } else { 0 };
            if !(1..=15).contains(&precision) || scale > precision {
                return Err("a decimal is held as a double: 1 to 15 digits in all, and no more of them after the point".into());
            }
            Ok(Type::Decimal { precision, scale })
        }
        ("array", 1) => Ok(Type::Array(inner(0)?)),
        ("map", 2) => match parse(arguments[0], depth - 1)? {
            Type::Array(_) | Type::Map(..) | Type::Nullable(_) => {
                Err("a map's keys are plain values".into())
            }
            key => Ok(Type::Map(Box::new(key), inner(1)?)),
        },
        ("nullable", 1) => match parse(arguments[0], depth - 1)? {
            Type::Nullable(_) => Err("nullable within nullable".into()),
            kind => Ok(Type::Nullable(Box::new(kind))),
        },
        // How others store it; its values are those of T.
        ("low_cardinality", 1) => parse(arguments[0], depth - 1),
        ("tuple", _) => {
            Err("a tuple cannot be held; declare a column for each member, or a map(K, V)".into())
        }
        _ => Err("known are bool, int8 to int64, uint8 to uint64, float32, float64, decimal(p, s), string, uuid, date, datetime, datetime64(p), array(T), map(K, V), nullable(T) and low_cardinality(T)".into()),
    }
}

/// The zone in which a type says times are shown.
fn utc(zone: &str) -> Result<(), String> {
    match zone.trim_matches('\'') {
        "utc" => Ok(()),
        _ => Err(format!(
            "{zone} is not taken: times are held and told in 'UTC'"
        )),
    }
}

/// At the commas that are in no parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let is_comma = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(is_comma).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_written() {
        for (text, written) in [
            ("BOOL", "bool"),
            (" Int8 ", "int8"),
            ("bigint", "int64"),
            ("uint64", "uint64"),
            ("double", "float64"),
            ("Decimal( 10 ,2 )", "decimal(10, 2)"),
            ("datetime64", "datetime64(3)"),
            ("datetime64(0)", "datetime"),
            ("datetime64(3,'UTC')", "datetime64(3)"),
            ("datetime('utc')", "datetime"),
            ("low_cardinality(string)", "string"),
            ("low_cardinality(nullable(string))", "nullable(string)"),
            (
                "map(string,array(nullable(decimal(4,1))))",
                "map(string, array(nullable(decimal(4, 1))))",
            ),
        ] {
            let kind: Type = text.parse().expect(text);
            assert_eq!(kind.to_string(), written);
            assert_eq!(written.parse::<Type>().expect(written), kind);
        }
    }

    #[test]
    fn what_is_no_type_is_refused_with_the_reason() {
        let deep = format!("{}int8{}", "array(".repeat(9), ")".repeat(9));
        for (text, part) in [
            ("", "known are"),
            ("int128", "known are"),
            ("int8(3)", "known are"),
            ("datetime64(6)", "milliseconds"),
            ("datetime64(3,'Asia/Tokyo')", "'asia/tokyo'"),
            ("tuple(int8, string)", "a tuple cannot be held"),
            ("datetime64(x)", "\"x\""),
            ("decimal(16, 2)", "15"),
            ("decimal(2, 3)", "15"),
            ("array(int8", ") is missing"),
            ("array(int8)x", ") is missing"),
            ("nullable(nullable(int8))", "within"),
            ("map(array(int8), int8)", "keys"),
            (&deep, "within each other"),
        ] {
            let problem = text.parse::<Type>().expect_err(text);
            assert!(problem.detail.contains(part), "{problem}: {part}");
        }
    }
}
