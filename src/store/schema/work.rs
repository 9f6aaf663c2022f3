//! How much work a schema makes of a document: counted before it is used, since nothing stops it once it runs.
//!
//! What is counted is how often one value of a document can be looked at. A schema whose parts are asked of the same value
//! multiplies that, and one that refers to itself does so at each depth that a document may have: two references side by
//! side are more than anybody could wait for.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// How often one value may be looked at.
const MOST: u64 = 1000;

/// How many parts are counted, each at each depth.
const PARTS: usize = 100_000;

/// How far parts may be within each other, references among them: what looks at a document goes down by recursion.
const LEVELS: usize = 1000;

/// Asked of the same value.
const HERE: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];

/// The same, by names.
const HERE_NAMED: [&str; 2] = ["dependentSchemas", "dependencies"];

/// Asked of what is within a value, all of them perhaps of the same.
const WITHIN: [&str; 8] = [
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "contentSchema",
];

/// The same, by names.
const WITHIN_NAMED: [&str; 1] = ["patternProperties"];

/// Asked of what is within a value, each of another.
const APART: [&str; 2] = ["properties", "prefixItems"];

/// Refuses a schema that would be too much work, or none that ends.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(schema: &Value, depth: usize) -> Result<(), String> {
    let mut count = Count {
        root: schema,
        known: HashMap::new(),
    };
    count.of(schema, depth, 0).map(drop)
}

struct Count<'s> {
    root: &'s Value,
    /// By place and depth; nothing for what is being counted.
    known: HashMap<(*const Value, usize), Option<u64>>,
}

impl<'s> Count<'s> {
    fn of(&mut self, schema: &'s Value, depth: usize, level: usize) -> Result<u64, String> {
        let Value::Object(members) = schema else {
            return Ok(1);
        };
        let key = (std::ptr::from_ref(schema), depth);
        match self.known.get(&key) {
            Some(Some(work)) => return Ok(*work),
            Some(None) => return Err("it refers to itself without going further down".into()),
            None => {}
        }
        if level >= LEVELS || self.known.len() >= PARTS {
            return Err("it has too many parts within each other".into());
        }
        self.known.insert(key, None);
        let work = self.members(members, depth, level)?;
        if work > MOST {
            return Err(format!(
                "it would look at one value more than {MOST} times; let fewer alternatives be within each other"
            ));
        }
        self.known.insert(key, Some(work));
        Ok(work)
    }

    fn members(
        &mut self,
        members: &'s Map<String, Value>,
        depth: usize,
        level: usize,
    ) -> Result<u64, String> {
        let mut work = 1 + alone(members) / 8;
        if let Some(referred) = self.referred(members, level)? {
            work += self.of(referred, depth, level + 1)?;
        }
        let mut here = 0;
        for part in parts(members, &HERE, &HERE_NAMED) {
            here += self.of(part, depth, level + 1)?;
        }
        // Who asks what the others have left out asks them again.
        let is_asked_again = members.keys().any(|name| name.starts_with("unevaluated"));
        work += if is_asked_again { 2 * here } else { here };
        let Some(depth) = depth.checked_sub(1) else {
            return Ok(work);
        };
        for part in parts(members, &WITHIN, &WITHIN_NAMED) {
            work += self.of(part, depth, level + 1)?;
        }
        for all in APART.iter().filter_map(|name| members.get(*name)) {
            let mut most = 0;
            for part in within(all) {
                most = most.max(self.of(part, depth, level + 1)?);
            }
            work += most;
        }
        Ok(work)
    }

    /// What a part refers to.
    fn referred(
        &self,
        members: &Map<String, Value>,
        level: usize,
    ) -> Result<Option<&'s Value>, String> {
        let own = "it refers to more than its own parts; write references as #/$defs/NAME";
        if members.contains_key("$dynamicRef") || members.contains_key("$recursiveRef") {
            return Err(own.into());
        }
        // References below it would begin there.
        let is_named = ["$id", "id"]
            .iter()
            .any(|name| members.get(*name).is_some_and(Value::is_string));
        if level > 0 && is_named {
            return Err("one of its parts has an $id; only the whole may".into());
        }
        let Some(reference) = members.get("$ref") else {
            return Ok(None);
        };
        let place = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let place = place.and_then(|place| percent_decode_str(place).decode_utf8().ok());
        let place = place.ok_or(own)?;
        match self.root.pointer(&place) {
            Some(referred) => Ok(Some(referred)),
            None if place.starts_with('/') => Err(format!("there is nothing at #{place}")),
            None => Err(own.into()),
        }
    }
}

/// What a part has to compare or look up by itself.
fn alone(members: &Map<String, Value>) -> u64 {
    let size = |name: &str| members.get(name).map_or(0, |value| within(value).count());
    let all = ["enum", "required", "properties", "dependentRequired"];
    // Each of these is an expression.
    let patterns = 4 * size("patternProperties");
    (all.iter().map(|name| size(name)).sum::<usize>() + patterns) as u64
}

/// The schemas that these members are or have in a list, and that the others have by names.
fn parts<'s>(
    members: &'s Map<String, Value>,
    plain: &'static [&str],
    named: &'static [&str],
) -> impl Iterator<Item = &'s Value> {
    let plain = plain.iter().filter_map(|name| members.get(*name));
    let plain = plain.flat_map(|value| match value {
        Value::Array(_) => within(value),
        _ => Box::new(std::iter::once(value)),
    });
    let named = named.iter().filter_map(|name| members.get(*name));
    plain.chain(named.flat_map(within))
}

/// What is in a list or an object.
fn within(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_write_is_little() {
        let properties: Map<String, Value> = (0..100)
            .map(|n| (format!("p{n}"), json!({"type": "string"})))
            .collect();
        let alternatives: Vec<Value> = (0..20)
            .map(|n| json!({"properties": {"kind": {"const": n}, "x": {"enum": [1, 2]}}}))
            .collect();
        for schema in [
            json!({}),
            json!({"properties": properties, "required": ["p1"], "additionalProperties": false}),
            json!({"oneOf": alternatives}),
            json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "all": {"items": {"$ref": "#"}}}}),
            json!({"$id": "https://example.com/x", "$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "object"}}}),
            json!({"properties": {"id": {"type": "string"}, "$ref": {"type": "string"}}}),
            json!({"not": {"properties": {"$ref": {"type": "string"}, "items": {}}}}),
            json!({"dependentSchemas": {"$ref": {"required": ["a"]}}}),
            json!({"if": {"required": ["a"]}, "then": {"not": {"required": ["b"]}}}),
        ] {
            assert_eq!(check(&schema, 64), Ok(()), "{schema}");
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut doubling: Map<String, Value> = (0..20)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/a{}", n + 1)});
                (format!("a{n}"), json!({"anyOf": [next, next]}))
            })
            .collect();
        doubling.insert("a20".into(), json!({}));
        let chain: Map<String, Value> = (0..2000)
            .map(|n| {
                (
                    format!("a{n}"),
                    json!({"$ref": format!("#/$defs/a{}", (n + 1) % 2000)}),
                )
            })
            .collect();
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"not": {"$ref": "#"}}]}),
            json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}),
            json!({"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]}),
            json!({"patternProperties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}),
            json!({"unevaluatedProperties": false, "anyOf": [{"properties": {"a": {"$ref": "#"}}}]}),
            json!({"$ref": "#/$defs/a0", "$defs": doubling}),
            json!({"$ref": "#/$defs/a0", "$defs": chain}),
            json!({"$ref": "other.json"}),
            json!({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}),
            json!({"$ref": "#/$defs/none"}),
            json!({"$ref": 1}),
            json!({"items": {"$dynamicRef": "#x"}}),
            json!({"items": {"$id": "x", "items": {"$ref": "#/items"}}}),
            json!({"items": {"enum": (0..10_000).collect::<Vec<_>>()}}),
        ] {
            assert!(check(&schema, 64).is_err(), "{schema}");
        }
    }
}
