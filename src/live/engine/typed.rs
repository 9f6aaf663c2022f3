//! Rows as JSON arrays, each value as the type of its column says it.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::live::schema::{Type, iso};
use crate::live::sql::dialect::Heading;

const WRITTEN: &str = "it can be written to memory";

/// One row, in the header's order.
pub(super) fn row(header: &[Heading], row: &Row<'_>) -> rusqlite::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(16 * header.len());
    out.push(b'[');
    for (at, heading) in header.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        value(row.get_ref(at)?, heading.kind.bare().0, &mut out);
    }
    out.push(b']');
    Ok(out)
}

fn value(value: ValueRef<'_>, kind: &Type, out: &mut Vec<u8>) {
    match (value, kind) {
        (ValueRef::Null | ValueRef::Blob(_), _) => out.extend(b"null"),
        (ValueRef::Integer(number), Type::Bool) => {
            let word: &[u8] = if number == 0 { b"false" } else { b"true" };
            out.extend(word);
        }
        (ValueRef::Integer(ms), Type::DateTime { precision }) => {
            text(&iso(ms, *precision), out);
        }
        (ValueRef::Real(ms), Type::DateTime { precision }) => {
            text(&iso(ms as i64, *precision), out);
        }
        (ValueRef::Integer(number), Type::String | Type::Uuid | Type::Date) => {
            text(&number.to_string(), out);
        }
        // Held with a sign.
        (
            ValueRef::Integer(number),
            Type::Int {
                bits: 64,
                signed: false,
            },
        ) => out.extend((number as u64).to_string().as_bytes()),
        (ValueRef::Integer(number), _) => out.extend(number.to_string().as_bytes()),
        (ValueRef::Real(number), Type::String | Type::Uuid | Type::Date) => {
            text(&number.to_string(), out);
        }
        (ValueRef::Real(number), Type::Decimal { scale, .. }) if number.is_finite() => {
            out.extend(format!("{number:.*}", usize::from(*scale)).as_bytes());
        }
        // As short as tells it from other floats of its width.
        (ValueRef::Real(number), Type::Float { bits: 32 }) if number.is_finite() => {
            serde_json::to_writer(out, &(number as f32)).expect(WRITTEN);
        }
        (ValueRef::Real(number), _) => real(number, out),
        // Held as JSON.
        (ValueRef::Text(json), Type::Array(_) | Type::Map(..)) => out.extend(json),
        (ValueRef::Text(words), _) => text(&String::from_utf8_lossy(words), out),
    }
}

/// JSON has no infinities: they are texts.
fn real(number: f64, out: &mut Vec<u8>) {
    match serde_json::Number::from_f64(number) {
        Some(number) => out.extend(number.to_string().as_bytes()),
        None if number > 0.0 => out.extend(b"\"inf\""),
        None => out.extend(b"\"-inf\""),
    }
}

fn text(words: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, words).expect(WRITTEN);
}
