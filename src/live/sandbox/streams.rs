//! What SQL of streams is written with: as functions, so that an argument is written once however deep calls are nested.

use rusqlite::functions::Context;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result};
use serde_json::Value as Json;

use crate::live::sandbox::functions::PURE;

pub fn register(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("json_text", 2, PURE, |c| Ok(json_text(c)))?;
    connection.create_scalar_function("start_of", 2, PURE, |c| Ok(start_of(c)))
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
