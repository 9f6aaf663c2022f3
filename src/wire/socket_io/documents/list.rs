//! What is asked of a list, from an object to the query of a URL, which the store reads for all faces.

use form_urlencoded::Serializer;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What is asked of a list.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct List {
    page: Option<u64>,
    #[serde(alias = "perPage")]
    per_page: Option<u64>,
    sort: Option<Sort>,
    #[serde(alias = "filter")]
    filters: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Sort {
    One(String),
    Several(Vec<String>),
}

impl List {
    /// As a query has it.
    pub(super) fn query(&self) -> String {
        let mut pairs = filters(&self.filters);
        let numbers = [("page", self.page), ("per_page", self.per_page)];
        for (name, number) in numbers {
            pairs.extend(number.map(|number| (name.to_owned(), number.to_string())));
        }
        let sort = self.sort.as_ref().map(|sort| match sort {
            Sort::One(sort) => sort.clone(),
            Sort::Several(sorts) => sorts.join(","),
        });
        pairs.extend(sort.map(|sort| ("sort".to_owned(), sort)));
        Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}

/// Filters as a query has them: `{"name": "x", "age": {"gte": 18}, "state": ["open", "new"]}`.
pub(in crate::wire::socket_io) fn filters(filters: &Map<String, Value>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (field, value) in filters {
        match value {
            Value::Object(operators) => {
                pairs.extend(operators.iter().map(|(operator, value)| {
                    (format!("filter[{field}][{operator}]"), operand(value))
                }))
            }
            Value::Array(_) => pairs.push((format!("filter[{field}][in]"), operand(value))),
            value => pairs.push((format!("filter[{field}]"), operand(value))),
        }
    }
    pairs
}

/// A value as a query has it. There a text needs quotes only if it has some; in a list, also if it has a comma.
fn operand(value: &Value) -> String {
    match value {
        Value::String(text) if !text.starts_with('"') => text.clone(),
        Value::Array(values) => {
            let one = |value: &Value| match value {
                Value::String(text) if !text.contains([',', '"']) => text.clone(),
                value => value.to_string(),
            };
            values.iter().map(one).collect::<Vec<_>>().join(",")
        }
        value => value.to_string(),
    }
}
