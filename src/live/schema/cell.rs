//! Values as JSON says them, held to a column's type, in one pass over the text.

use std::fmt;

use rusqlite::types::Value;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Schema, Type, time};

/// A value, or why it is none of its type. A mistake in JSON itself is the deserializer's own error instead.
type Held = Result<Value, String>;

/// The values of an object in the order of the schema's columns; `None` for other JSON.
pub(super) fn object(
    schema: &Schema,
    json: &[u8],
    came_ms: u64,
) -> Result<Option<Vec<Value>>, String> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    let mut values = serde_json::Deserializer::from_slice(json)
        .deserialize_map(Members { schema })
        .map_err(|error| error.to_string())??;
    let came = Value::Integer(i64::try_from(came_ms).unwrap_or(i64::MAX));
    values.pop_if(|time| time.is_none());
    let given = values.len() > schema.columns.len();
    let mut row = Vec::with_capacity(schema.columns.len() + 1);
    for (value, (name, kind)) in values.into_iter().zip(schema.all_columns()) {
        row.push(match value {
            Some(value) => value,
            None if kind.bare().1 => Value::Null,
            None => return Err(format!("column {name:?} is missing, and is not nullable")),
        });
    }
    if !given {
        row.push(came);
    }
    Ok(Some(row))
}

/// Holds one value, as JSON text, to a type.
pub(super) fn check(kind: &Type, json: &str) -> Held {
    let mut text = serde_json::Deserializer::from_str(json);
    Cell { kind }
        .deserialize(&mut text)
        .map_err(|error| error.to_string())?
}

struct Members<'a> {
    schema: &'a Schema,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Result<Vec<Option<Value>>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let columns: Vec<(&str, &Type)> = self.schema.all_columns().collect();
        let mut values = vec![None; columns.len()];
        let mut wrong = None;
        // Members mostly come in the order of the columns.
        let mut likely = 0;
        while let Some(place) = members.next_key_seed(Place {
            columns: &columns,
            likely,
        })? {
            let Some(place) = place else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            likely = place + 1;
            let (name, kind) = columns[place];
            match members.next_value_seed(Cell { kind })? {
                Ok(value) => values[place] = Some(value),
                Err(why) => drop(wrong.get_or_insert(format!("column {name:?}: {why}"))),
            }
        }
        Ok(match wrong {
            Some(why) => Err(why),
            None => Ok(values),
        })
    }
}

/// Which column a member is for.
struct Place<'a> {
    columns: &'a [(&'a str, &'a Type)],
    likely: usize,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Self::Value, D::Error> {
        text.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        if self.columns.get(self.likely).is_some_and(|c| c.0 == name) {
            return Ok(Some(self.likely));
        }
        let is_it = |c: &(&str, &Type)| c.0.eq_ignore_ascii_case(name);
        Ok(self.columns.iter().position(is_it))
    }
}

/// One value of a type.
struct Cell<'a> {
    kind: &'a Type,
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = Held;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Held, D::Error> {
        match self.kind.bare().0 {
            Type::Array(_) | Type::Map(..) => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(text)?;
                Ok(self.nested(raw.get()))
            }
            _ => text.deserialize_any(self),
        }
    }
}

impl Cell<'_> {
    fn wrong(&self, what: impl fmt::Display) -> Held {
        Err(format!("{what} is no {}", self.kind.bare().0))
    }

    fn nested(&self, json: &str) -> Held {
        let (kind, is_nullable) = self.kind.bare();
        if json == "null" && is_nullable {
            return Ok(Value::Null);
        }
        let is_it = match kind {
            Type::Array(_) => json.starts_with('['),
            _ => json.starts_with('{'),
        };
        if !is_it {
            return self.wrong(shown(json));
        }
        match kind {
            Type::Array(inner) => {
                let items: Vec<&RawValue> = read(json)?;
                for (index, item) in items.iter().enumerate() {
                    check(inner, item.get()).map_err(|why| format!("item {index}: {why}"))?;
                }
            }
            Type::Map(key, value) => {
                let members: serde_json::Map<String, serde_json::Value> = read(json)?;
                for (name, member) in &members {
                    let is_text = matches!(**key, Type::String | Type::Uuid | Type::Date)
                        || matches!(**key, Type::DateTime { .. } if name.contains('-'));
                    let quoted = serde_json::Value::from(&**name).to_string();
                    check(key, if is_text { &quoted } else { name })
                        .map_err(|why| format!("key {name:?}: {why}"))?;
                    check(value, &member.to_string())
                        .map_err(|why| format!("member {name:?}: {why}"))?;
                }
            }
            _ => {}
        }
        Ok(Value::Text(json.to_owned()))
    }

    fn integer(&self, value: i64) -> Held {
        let outside = |low: i64, high: i64| {
            (value < low || value > high).then(|| {
                format!(
                    "{value} is outside of {}: {low} to {high}",
                    self.kind.bare().0
                )
            })
        };
        let wrong = match *self.kind.bare().0 {
            Type::Bool => outside(0, 1),
            Type::Int { bits: 64, signed } => outside(if signed { i64::MIN } else { 0 }, i64::MAX),
            Type::Int { bits, signed: true } => outside(-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
            Type::Int { bits, .. } => outside(0, (1 << bits) - 1),
            Type::DateTime { .. } => outside(*time::RANGE.start(), *time::RANGE.end()),
            Type::Float { .. } => return self.float(value as f64),
            Type::Decimal { .. } => return self.decimal(&value.to_string()),
            _ => return self.wrong(value),
        };
        wrong.map_or(Ok(Value::Integer(value)), Err)
    }

    fn float(&self, value: f64) -> Held {
        match self.kind.bare().0 {
            Type::Float { bits: 32 } if value.is_finite() && (value as f32).is_infinite() => Err(
                format!("{value:e} is outside of float32: up to {:e}", f32::MAX),
            ),
            Type::Float { bits: 32 } => Ok(Value::Real(f64::from(value as f32))),
            Type::Float { .. } => Ok(Value::Real(value)),
            Type::Decimal { .. } => self.decimal(&value.to_string()),
            // 1e3 and 5.0 are whole numbers too.
            Type::Int { .. } | Type::DateTime { .. }
                if value.fract() == 0.0 && value.abs() < 9e15 =>
            {
                self.integer(value as i64)
            }
            _ => self.wrong(value),
        }
    }

    fn decimal(&self, text: &str) -> Held {
        let Type::Decimal { precision, scale } = *self.kind.bare().0 else {
            return self.wrong(text);
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
        let value = text.parse::<f64>().ok();
        match value {
            Some(value) if are_digits(whole) && are_digits(part) => {
                let fits = whole.len() <= usize::from(precision - scale)
                    && part.len() <= usize::from(scale);
                match fits {
                    true => Ok(Value::Real(value)),
                    false => Err(format!(
                        "{} has more digits than {}",
                        shown(text),
                        self.kind.bare().0
                    )),
                }
            }
            _ => self.wrong(shown(text)),
        }
    }

    fn text(&self, text: &str) -> Held {
        let held = match *self.kind.bare().0 {
            Type::String => Some(text.to_owned()),
            Type::Uuid => is_uuid(text).then(|| text.to_ascii_lowercase()),
            Type::Date => time::days(text).map(|_| text.to_owned()),
            Type::DateTime { precision } => {
                let unit = 10_i64.pow(3 - u32::from(precision));
                let cut = |ms: i64| Value::Integer(ms - ms.rem_euclid(unit));
                return time::millis(text).map(cut).map_or_else(
                    || {
                        Err(format!(
                            "{} is no time: give milliseconds since 1970 or ISO 8601, such as 2026-01-31T12:00:00.000Z",
                            shown(text)
                        ))
                    },
                    Ok,
                );
            }
            Type::Decimal { .. } => return self.decimal(text),
            Type::Float { .. } => {
                return match text {
                    // As results say it too.
                    "Infinity" | "inf" => Ok(Value::Real(f64::INFINITY)),
                    "-Infinity" | "-inf" => Ok(Value::Real(f64::NEG_INFINITY)),
                    "NaN" => Err(
                        "NaN cannot be held; leave it out, or send null to a nullable column"
                            .into(),
                    ),
                    _ => self.wrong(shown(text)),
                };
            }
            _ => None,
        };
        held.map_or_else(|| self.wrong(shown(text)), |text| Ok(Value::Text(text)))
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = Held;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Held, E> {
        Ok(match self.kind.bare().0 {
            Type::Bool => Ok(Value::Integer(value.into())),
            _ => self.wrong(value),
        })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Held, E> {
        Ok(self.integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Held, E> {
        Ok(match (i64::try_from(value), self.kind.bare().0) {
            (Ok(value), _) => self.integer(value),
            (Err(_), Type::Float { .. } | Type::Decimal { .. }) => self.float(value as f64),
            (
                Err(_),
                Type::Int {
                    signed: false,
                    bits: 64,
                },
            ) => Err(format!(
                "{value} cannot be held: integers go up to {}; declare the column string or float64",
                i64::MAX
            )),
            (Err(_), _) => self.wrong(value),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Held, E> {
        Ok(self.float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Held, E> {
        Ok(self.text(text))
    }

    fn visit_unit<E>(self) -> Result<Held, E> {
        Ok(match self.kind.bare() {
            (_, true) => Ok(Value::Null),
            (kind, false) => Err(format!("null is no {kind}, and the column is not nullable")),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Held, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.wrong("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Held, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.wrong("an object"))
    }
}

fn read<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// A text of a stranger's as a message has it: quoted, and not whole when it is long.
fn shown(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, b)| match index {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::schema::{Column, Retention};

    #[test]
    fn values_are_held_to_their_types() {
        let int = Value::Integer;
        let text = |t: &str| Value::Text(t.to_owned());
        for (kind, json, held) in [
            ("bool", "true", int(1)),
            ("bool", "0", int(0)),
            ("int8", "-128", int(-128)),
            ("uint8", "255", int(255)),
            ("int64", "-9223372036854775808", int(i64::MIN)),
            ("uint64", "9223372036854775807", int(i64::MAX)),
            ("int32", "1e3", int(1000)),
            ("float32", "0.1", Value::Real(f64::from(0.1_f32))),
            (
                "float64",
                "18446744073709551615",
                Value::Real(18446744073709551615.0),
            ),
            ("float64", "\"-Infinity\"", Value::Real(f64::NEG_INFINITY)),
            ("float64", "\"-inf\"", Value::Real(f64::NEG_INFINITY)),
            ("float32", "\"inf\"", Value::Real(f64::INFINITY)),
            ("decimal(4, 2)", "-12.30", Value::Real(-12.3)),
            ("decimal(4, 2)", "\"99.99\"", Value::Real(99.99)),
            ("string", "\"a\\n\\u0000\"", text("a\n\0")),
            (
                "uuid",
                "\"6F9619FF-8B86-D011-B42D-00CF4FC964FF\"",
                text("6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
            ),
            ("date", "\"2026-01-31\"", text("2026-01-31")),
            ("datetime", "\"1970-01-01T00:00:01.999Z\"", int(1000)),
            ("datetime64(2)", "\"1969-12-31T23:59:59.999Z\"", int(-10)),
            ("datetime64(3)", "1763758000123", int(1_763_758_000_123)),
            ("array(nullable(int8))", "[1, null]", text("[1, null]")),
            ("map(string, bool)", "{\"a\":true}", text("{\"a\":true}")),
            ("map(int8, string)", "{\"-1\":\"\"}", text("{\"-1\":\"\"}")),
            ("nullable(array(int8))", "null", Value::Null),
            ("nullable(uuid)", "null", Value::Null),
        ] {
            let kind: Type = kind.parse().expect(kind);
            assert_eq!(check(&kind, json), Ok(held), "{json} as {kind}");
        }
    }

    #[test]
    fn other_values_are_refused_with_the_reason() {
        for (kind, json, part) in [
            ("bool", "2", "0 to 1"),
            ("bool", "\"true\"", "\"true\" is no bool"),
            ("int8", "128", "-128 to 127"),
            ("uint8", "-1", "0 to 255"),
            ("int64", "9223372036854775808", "is no int64"),
            ("uint64", "9223372036854775808", "cannot be held"),
            ("int32", "1.5", "1.5 is no int32"),
            ("int32", "[1, [2]]", "an array is no int32"),
            ("int32", "{\"a\": {}}", "an object is no int32"),
            ("int32", "null", "not nullable"),
            ("float32", "1e39", "float32"),
            ("float64", "\"NaN\"", "NaN"),
            ("float64", "\"1\"", "\"1\" is no float64"),
            ("decimal(4, 2)", "123.4", "more digits"),
            ("decimal(4, 2)", "1.234", "more digits"),
            ("decimal(4, 2)", "\"1e2\"", "is no decimal"),
            ("uuid", "\"6F9619FF8B86D011B42D00CF4FC964FF\"", "is no uuid"),
            ("date", "\"2026-02-29\"", "is no date"),
            ("datetime", "\"yesterday\"", "ISO 8601"),
            ("datetime", "1e18", "is no datetime"),
            ("array(int8)", "[1, 300]", "item 1: 300"),
            ("array(int8)", "{}", "is no array(int8)"),
            ("array(int8)", "null", "is no array(int8)"),
            ("map(int8, int8)", "{\"x\":1}", "key \"x\""),
            ("map(string, int8)", "{\"x\":\"y\"}", "member \"x\""),
        ] {
            let kind: Type = kind.parse().expect(kind);
            let why = check(&kind, json).expect_err(json);
            assert!(why.contains(part), "{json} as {kind}: {why}");
        }
    }

    #[test]
    fn objects_are_rows() {
        let column = |name: &str, kind: &str| Column {
            name: name.to_owned(),
            kind: kind.parse().expect(kind),
        };
        let schema = Schema {
            name: crate::event::Topic::new("t").expect("a topic"),
            columns: vec![column("a", "int8"), column("b", "nullable(string)")],
            retention: Retention {
                rows: 1,
                age_ms: None,
            },
        };
        let row = |json: &str| schema.row(json.as_bytes(), 7);
        let int = Value::Integer;
        for (json, values) in [
            (r#"{"a":1}"#, [int(1), Value::Null, int(7)]),
            (
                r#" {"z":[{}],"B":"x","A":2}"#,
                [int(2), Value::Text("x".into()), int(7)],
            ),
            (
                r#"{"_tp_time":"1970-01-01T00:00:00.009Z","a":3}"#,
                [int(3), Value::Null, int(9)],
            ),
            (r#"{"a":4,"a":5,"b":null}"#, [int(5), Value::Null, int(7)]),
        ] {
            assert_eq!(row(json).expect(json), Some(values.to_vec()), "{json}");
        }
        for json in ["1", "\"{}\"", "[{}]", "null", " true"] {
            assert_eq!(row(json).expect(json), None, "{json}");
        }
        for (json, part) in [
            ("{}", "\"a\" is missing"),
            (r#"{"a":null}"#, "\"a\": null"),
            (r#"{"a":1,"b":2,"c":{"d":3}}"#, "\"b\": 2 is no string"),
            (r#"{"a":1,"_tp_time":"x"}"#, "_tp_time"),
        ] {
            let problem = row(json).expect_err(json);
            assert!(problem.detail.contains(part), "{json}: {problem}");
        }
    }
}
