//! The functions that strangers may call: SQLite's own that cost no more than what they read and make, and a few that
//! are registered here, in place of SQLite's that cost more, or because users of such SQL expect them.

use std::sync::Arc;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value;
use rusqlite::{Connection, Result};

use crate::live::sandbox::{Watch, edges, like, moments, quantile, streams, text};

/// The aggregates, among them those that are registered here.
pub const AGGREGATES: &[&str] = &[
    "avg",
    "count",
    "earliest",
    "group_concat",
    "json_group_array",
    "json_group_object",
    "latest",
    "max",
    "median",
    "min",
    "quantile",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "total",
    "var_pop",
    "var_samp",
    "variance",
];

/// Those that are of use with OVER only.
pub const WINDOWS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Those of one row.
pub const SCALARS: &[&str] = &[
    "abs",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "date",
    "datetime",
    "exp",
    "floor",
    "format",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_object",
    "json_quote",
    "json_type",
    "json_valid",
    "julianday",
    "length",
    "like",
    "ln",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "nullif",
    "octet_length",
    "pow",
    "power",
    "printf",
    "random",
    "replace",
    "round",
    "rtrim",
    "sign",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "time",
    "trim",
    "typeof",
    "unicode",
    "unixepoch",
    "upper",
];

/// What SQLite calls operators when it asks whether they are permitted.
const OPERATORS: &[&str] = &["->", "->>"];

/// What the dialect of streams is written with.
const OF_STREAMS: &[&str] = &["json_text", "start_of", "time_text", "wrapped"];

/// Whether a stranger may call it.
pub fn is_permitted(name: &str) -> bool {
    [SCALARS, AGGREGATES, WINDOWS, OPERATORS, OF_STREAMS]
        .iter()
        .any(|list| list.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

/// Registers what is not SQLite's own. `longest` is the most bytes that a value may have.
pub(super) fn register(connection: &Connection, longest: usize, watch: &Arc<Watch>) -> Result<()> {
    text::register(connection, longest, watch)?;
    like::register(connection, watch)?;
    moments::register(connection)?;
    quantile::register(connection)?;
    edges::register(connection)?;
    streams::register(connection)?;
    for (name, of) in [
        ("sqrt", f64::sqrt as fn(f64) -> f64),
        ("exp", f64::exp),
        ("ln", f64::ln),
        ("log10", f64::log10),
        ("log2", f64::log2),
    ] {
        connection.create_scalar_function(name, 1, PURE, move |c| real(c, of))?;
    }
    for (name, of) in [
        ("floor", f64::floor as fn(f64) -> f64),
        ("ceil", f64::ceil),
        ("ceiling", f64::ceil),
    ] {
        connection.create_scalar_function(name, 1, PURE, move |c| whole(c, of))?;
    }
    for name in ["pow", "power"] {
        connection.create_scalar_function(name, 2, PURE, |c| {
            let (base, exponent) = (number(c, 0), number(c, 1));
            Ok(base.zip(exponent).and_then(|(b, e)| defined(b.powf(e))))
        })?;
    }
    Ok(())
}

/// Of the arguments alone, and harmless.
pub const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// NULL where it has no value, as SQLite's own functions do.
fn real(context: &Context<'_>, of: fn(f64) -> f64) -> Result<Option<f64>> {
    Ok(number(context, 0).and_then(|x| defined(of(x))))
}

/// An integer stays one.
fn whole(context: &Context<'_>, of: fn(f64) -> f64) -> Result<Value> {
    if let rusqlite::types::ValueRef::Integer(n) = context.get_raw(0) {
        return Ok(Value::Integer(n));
    }
    Ok(number(context, 0).map_or(Value::Null, |x| Value::Real(of(x))))
}

fn defined(x: f64) -> Option<f64> {
    (!x.is_nan()).then_some(x)
}

fn number(context: &Context<'_>, at: usize) -> Option<f64> {
    use rusqlite::types::ValueRef;
    match context.get_raw(at) {
        ValueRef::Integer(n) => Some(n as f64),
        ValueRef::Real(x) => Some(x),
        ValueRef::Text(t) => std::str::from_utf8(t).ok()?.trim().parse().ok(),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}
