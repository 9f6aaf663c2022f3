//! SQLite's functions of text whose cost is a product of lengths, and which nothing can interrupt, made linear: `instr`,
//! `replace`, and `trim` with the characters to trim. Their results are the same for text and numbers.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::functions::Context;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, ffi};

use crate::live::sandbox::functions::PURE;
use crate::live::sandbox::{Watch, failure};

pub fn register(connection: &Connection, longest: usize, watch: &Arc<Watch>) -> Result<()> {
    let clock = Arc::clone(watch);
    connection.create_scalar_function("instr", 2, PURE, move |c| {
        clock.check()?;
        instr(c)
    })?;
    let clock = Arc::clone(watch);
    connection.create_scalar_function("replace", 3, PURE, move |c| {
        clock.check()?;
        replace(c, longest)
    })?;
    for (name, left, right) in [
        ("trim", true, true),
        ("ltrim", true, false),
        ("rtrim", false, true),
    ] {
        let clock = Arc::clone(watch);
        connection.create_scalar_function(name, 2, PURE, move |c| {
            clock.check()?;
            trim(c, left, right)
        })?;
    }
    Ok(())
}

/// The place of the first character of the second in the first, from 1; 0 if it is not in it.
fn instr(context: &mut Context<'_>) -> Result<Option<i64>> {
    let (Some(text), Some(part)) = (string(context, 0), string(context, 1)) else {
        return Ok(None);
    };
    let place = text.find(&*part).map(|at| text[..at].chars().count() + 1);
    Ok(Some(place.unwrap_or(0) as i64))
}

fn replace(context: &mut Context<'_>, longest: usize) -> Result<Option<String>> {
    let (Some(text), Some(from), Some(to)) =
        (string(context, 0), string(context, 1), string(context, 2))
    else {
        return Ok(None);
    };
    if from.is_empty() {
        return Ok(Some(text.into_owned()));
    }
    let found = text.matches(&*from).count();
    if text.len() - found * from.len() + found * to.len() > longest {
        return Err(failure(ffi::SQLITE_TOOBIG));
    }
    Ok(Some(text.replace(&*from, &to)))
}

fn trim(context: &mut Context<'_>, left: bool, right: bool) -> Result<Option<String>> {
    let (Some(text), Some(these)) = (string(context, 0), string(context, 1)) else {
        return Ok(None);
    };
    let these: HashSet<char> = these.chars().collect();
    let mut rest: &str = &text;
    if left {
        rest = rest.trim_start_matches(|c| these.contains(&c));
    }
    if right {
        rest = rest.trim_end_matches(|c| these.contains(&c));
    }
    Ok(Some(rest.to_owned()))
}

/// A value as text; `None` is NULL.
pub fn string<'a>(context: &'a Context<'_>, at: usize) -> Option<Cow<'a, str>> {
    match context.get_raw(at) {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string().into()),
        ValueRef::Real(x) => Some(real(x).into()),
        ValueRef::Text(t) | ValueRef::Blob(t) => Some(String::from_utf8_lossy(t)),
    }
}

/// A float as a text that is one: 1.0 and not 1.
fn real(x: f64) -> String {
    format!("{x:?}")
}
