//! JSON Schema (2020-12) as far as the description goes: a keyword that is not known here fails the test, so that
//! nothing in the description is only decoration.

use serde_json::{Value, json};
use triwire::event::{EventId, Topic};

/// Says where a value is not what a schema of this document says.
pub fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, rule) in keywords {
        let holds = match keyword.as_str() {
            "description" | "default" | "format" => true,
            "$ref" => {
                let place = rule.as_str().expect("a reference").trim_start_matches('#');
                let schema = document.pointer(place);
                check(document, schema.expect("what is referred to"), value)?;
                true
            }
            "type" => match rule.as_array() {
                Some(types) => types.iter().any(|name| is(value, name)),
                None => is(value, rule),
            },
            "enum" => rule.as_array().expect("values").contains(value),
            "minimum" => value.as_f64() >= rule.as_f64() || !value.is_number(),
            "maximum" => value.as_f64() <= rule.as_f64() || !value.is_number(),
            "minLength" => length(value) >= rule.as_u64() || !value.is_string(),
            "maxLength" => length(value) <= rule.as_u64() || !value.is_string(),
            "pattern" => fits(rule.as_str().expect("a pattern"), value),
            "required" => {
                let names = rule.as_array().expect("names");
                names
                    .iter()
                    .all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "properties" => {
                for (name, schema) in rule.as_object().expect("schemas") {
                    if let Some(member) = value.get(name) {
                        check(document, schema, member).map_err(|e| format!("{name}: {e}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    check(document, rule, member).map_err(|e| format!("{name}: {e}"))?;
                }
                true
            }
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item).map_err(|e| format!("{n}: {e}"))?;
                }
                true
            }
            "oneOf" => {
                let schemas = rule.as_array().expect("schemas").iter();
                schemas
                    .filter(|schema| check(document, schema, value).is_ok())
                    .count()
                    == 1
            }
            other => panic!("{other} is not known here; teach it"),
        };
        if !holds {
            return Err(format!("{value} is not {keyword} {rule}"));
        }
    }
    Ok(())
}

fn is(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("there is no type {other}"),
    }
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

/// Without a library for it: the patterns that are in answers are those of values that the server itself parses.
fn fits(pattern: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match pattern {
        "^[0-9]{1,20}-[0-9]{1,20}$" => text.parse::<EventId>().is_ok(),
        other if other.starts_with(r"^\$?(") => Topic::new(text).is_ok(),
        other => panic!("{other} is not known here; teach it"),
    }
}

#[test]
fn schemas_are_held() {
    let document = json!({ "low": { "type": "integer", "maximum": 3 } });
    let table = [
        (json!({"$ref":"#/low"}), json!(3), true),
        (json!({"$ref":"#/low"}), json!(4), false),
        (json!({"$ref":"#/low"}), json!(2.5), false),
        (
            json!({"type":["integer","null"],"minimum":0}),
            json!(null),
            true,
        ),
        (
            json!({"type":["integer","null"],"minimum":0}),
            json!(-1),
            false,
        ),
        (
            json!({"required":["a"],"properties":{"a":{"enum":[1]}}}),
            json!({"a":1}),
            true,
        ),
        (json!({"required":["a"]}), json!({"b":1}), false),
        (
            json!({"properties":{"a":{"enum":[1]}}}),
            json!({"a":2}),
            false,
        ),
        (
            json!({"additionalProperties":{"type":"string"}}),
            json!({"a":2}),
            false,
        ),
        (
            json!({"items":{"minLength":2,"maxLength":3}}),
            json!(["ab", "abc"]),
            true,
        ),
        (json!({"items":{"minLength":2}}), json!(["a"]), false),
        (json!({"items":{"maxLength":2}}), json!(["abc"]), false),
        (
            json!({"oneOf":[{"type":"null"},{"type":"string"}]}),
            json!(""),
            true,
        ),
        (json!({"oneOf":[{"type":"null"},{}]}), json!(null), false),
        (
            json!({"pattern":"^[0-9]{1,20}-[0-9]{1,20}$"}),
            json!("1-22"),
            true,
        ),
        (
            json!({"pattern":"^[0-9]{1,20}-[0-9]{1,20}$"}),
            json!("1-"),
            false,
        ),
    ];
    for (schema, value, holds) in table {
        let checked = check(&document, &schema, &value);
        assert_eq!(checked.is_ok(), holds, "{schema} {value} {checked:?}");
    }
}
