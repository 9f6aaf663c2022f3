//! What the documents of a collection must be, as JSON Schema says it. It stands on its own: nothing is fetched.

mod work;

use bytes::Bytes;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::Limits;
use super::apply::check_depth;
use super::ask::Field;
use crate::problem::Problem;

/// How many violations are told of.
const TOLD: usize = 16;

/// A schema, ready to be asked.
#[derive(Debug)]
pub struct Schema {
    text: Bytes,
    value: Value,
    validator: Validator,
}

impl Schema {
    /// Reads one.
    ///
    /// # Errors
    /// A 400 that says what is wrong.
    pub fn read(text: Bytes, limits: &Limits) -> Result<Schema, Problem> {
        let wrong = |why: String| {
            Problem::bad_request(
                "schema",
                format!("this is no JSON Schema that can be used: {why}"),
            )
        };
        let value: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        check_depth(&value, limits)?;
        if !value.is_object() {
            return Err(wrong("a schema is an object".to_owned()));
        }
        work::check(&value, limits.document_depth).map_err(wrong)?;
        // Expressions that look back can take a time that nobody would wait for.
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options
            .build(&value)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Schema {
            text,
            value,
            validator,
        })
    }

    /// As it was given.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Whether a document is what it must be.
    ///
    /// # Errors
    /// A 400 that names what is wrong, each by its JSON Pointer.
    pub fn check(&self, document: &Value) -> Result<(), Problem> {
        if self.validator.is_valid(document) {
            return Ok(());
        }
        let errors: Vec<(String, String)> = self
            .validator
            .iter_errors(document)
            .take(TOLD)
            .map(|error| {
                let place = error.instance_path().as_str().to_owned();
                (place, error.masked().to_string())
            })
            .collect();
        let told: Vec<String> = errors
            .iter()
            .map(|(place, why)| format!("{place:?}: {why}"))
            .collect();
        let detail = format!(
            "the document is not what its collection's schema says: {}",
            told.join("; ")
        );
        Err(Problem {
            errors,
            ..Problem::bad_request("against-schema", detail)
        })
    }

    /// Whether it knows these fields. A schema that does not say which members there are knows all.
    ///
    /// # Errors
    /// A 400 for the first field that it does not know, with the nearest that it does.
    pub fn check_fields<'f>(&self, fields: impl Iterator<Item = &'f Field>) -> Result<(), Problem> {
        let Some(known) = members(&self.value) else {
            return Ok(());
        };
        for field in fields.filter(|field| !field.is_id()) {
            self.check_field(field, known)?;
        }
        Ok(())
    }

    fn check_field(&self, field: &Field, known: &Map<String, Value>) -> Result<(), Problem> {
        let mut known = known;
        for name in field.members() {
            let Some(inside) = known.get(name) else {
                let nearest = nearest(name, known.keys().map(String::as_str));
                let hint = nearest.map_or(String::new(), |near| format!("; did you mean {near}?"));
                let detail = format!(
                    "the schema of the collection has no {field}: {name} is not in it{hint}"
                );
                return Err(Problem::bad_request("field", detail));
            };
            match members(inside) {
                Some(inner) => known = inner,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// The members that a schema names, if it names any.
fn members(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The name that is the least changes away, if those are few.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let most = name.len() / 2 + 1;
    known
        .map(|known| (distance(name, known), known))
        .filter(|(changes, _)| *changes <= most)
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, known)| known)
}

/// How many letters have to be added, taken away or changed.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().take(64).enumerate() {
        let mut corner = std::mem::replace(&mut row[0], index + 1);
        for (place, other) in right.iter().enumerate() {
            let change = corner + usize::from(letter != *other);
            corner = row[place + 1];
            row[place + 1] = change.min(corner + 1).min(row[place] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The threads that use schemas have the stack that the system gives them.
    #[test]
    fn the_longest_chain_of_references_needs_no_more_stack_than_there_is() {
        let limits = Limits {
            document_bytes: 1000,
            document_depth: 64,
            patch_operations: 30,
            bulk_bytes: 1000,
            bulk_documents: 10,
            per_page: 10,
            page_bytes: 10_000,
            collections: 10,
            collection_indexes: 2,
        };
        let chain: Map<String, Value> = (0..990)
            .map(|n| {
                (
                    format!("a{n}"),
                    json!({"allOf": [{"$ref": format!("#/$defs/a{}", n + 1)}]}),
                )
            })
            .collect();
        let mut schema = json!({"$ref": "#/$defs/a500", "$defs": chain});
        schema["$defs"]["a990"] = json!({"required": ["x"]});
        let text = schema.to_string();
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
            let schema = Schema::read(text.into(), &limits).expect("a schema");
            schema.check(&json!({"x": 1})).expect("it has x");
            assert!(schema.check(&json!({})).is_err());
            // One that goes down as far as a document may.
            let tree = json!({"properties": {"a": {"allOf": [{"allOf": [{"$ref": "#"}]}]}}, "required": ["a"]});
            let schema = Schema::read(tree.to_string().into(), &limits).expect("a schema");
            let deep = (0..64).fold(json!({}), |inner, _| json!({"a": inner}));
            assert!(schema.check(&deep).is_err());
        });
        thread
            .expect("a thread")
            .join()
            .expect("it does not overflow");
    }
}
