//! What SQL of streams is written with: as functions, so that an argument is written once however deep calls are nested.

use rusqlite::functions::Context;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result};
use serde_json::Value as Json;

use crate::live::sandbox::functions::PURE;
use crate::live::schema::iso;

pub fn register(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("json_text", 2, PURE, |c| Ok(json_text(c)))?;
    connection.create_scalar_function("start_of", 2, PURE, |c| Ok(start_of(c)))?;
    connection.create_scalar_function("time_text", 1, PURE, |c| Ok(time_text(c)))?;
    connection.create_scalar_function("wrapped", 2, PURE, |c| Ok(wrapped(c)))
}

/// What JSON in a text has at a path of names, `$."a"."b"`, as a text; `''` when there is nothing.
fn json_text(context: &Context<'_>) -> String {
    let (Ok(text), Ok(path)) = (context.get_raw(0).as_str(), context.get_raw(1).as_str()) else {
        return String::new();
    };
    let names = path
        .trim_start_matches("$.")
        .trim_matches('"')
        .split("\".\"");
    let json = serde_json::from_str::<Json>(text).ok();
    let found = json.as_ref().and_then(|json| {
        names
            .into_iter()
            .try_fold(json, |json, name| json.get(name))
    });
    match found {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A number, down to a whole multiple of another; before 0 too.
fn start_of(context: &Context<'_>) -> Value {
    let number = match context.get_raw(0) {
        ValueRef::Integer(number) => number,
        ValueRef::Real(number) => number.floor() as i64,
        _ => return Value::Null,
    };
    match context.get_raw(1) {
        ValueRef::Integer(unit) if unit > 0 => Value::Integer(number - number.rem_euclid(unit)),
        _ => Value::Null,
    }
}

/// A time in milliseconds as a text.
fn time_text(context: &Context<'_>) -> Option<String> {
    match context.get_raw(0) {
        ValueRef::Integer(ms) => Some(iso(ms, 3)),
        ValueRef::Real(ms) => Some(iso(ms.floor() as i64, 3)),
        _ => None,
    }
}

/// A whole number as so many bits hold it, negative with a sign: what is beyond them is cut off.
fn wrapped(context: &Context<'_>) -> Option<i64> {
    let (ValueRef::Integer(number), ValueRef::Integer(bits)) =
        (context.get_raw(0), context.get_raw(1))
    else {
        return None;
    };
    let beyond = u32::try_from(64 - bits.abs())
        .ok()
        .filter(|beyond| *beyond < 64)?;
    let cut = number << beyond;
    Some(match bits < 0 {
        true => cut >> beyond,
        false => (cut as u64 >> beyond) as i64,
    })
}
