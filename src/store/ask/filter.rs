//! Which documents are asked for: `filter[FIELD]=VALUE` and `filter[FIELD][OPERATOR]=VALUE`.
//!
//! A query knows no types. A value that reads as a number, `true`, `false` or `null` means that and also the text that
//! it is; in quotes it is the text and nothing else. What comes before or after another is asked within one type: numbers
//! with numbers, texts with texts by their bytes. A member that is not there is `null`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::Field;
use crate::problem::Problem;

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Of what.
    pub field: Field,
    /// How it is compared.
    pub compare: Compare,
    /// With what; more than one only for [`Compare::In`].
    pub terms: Vec<Term>,
}

/// How a value is compared with a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// It is the term.
    Eq,
    /// It is not.
    Ne,
    /// It is less.
    Lt,
    /// It is less, or the term.
    Lte,
    /// It is greater.
    Gt,
    /// It is greater, or the term.
    Gte,
    /// It is one of the terms.
    In,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// As a text.
    pub text: Arc<str>,
    /// What else it reads as; nothing, if it was in quotes.
    pub literal: Option<Literal>,
}

/// What a text can read as.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`, or a member that is not there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
}

impl Compare {
    const ALL: [Compare; 7] = [
        Compare::Eq,
        Compare::Ne,
        Compare::Lt,
        Compare::Lte,
        Compare::Gt,
        Compare::Gte,
        Compare::In,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Compare::Eq => "eq",
            Compare::Ne => "ne",
            Compare::Lt => "lt",
            Compare::Lte => "lte",
            Compare::Gt => "gt",
            Compare::Gte => "gte",
            Compare::In => "in",
        }
    }
}

impl Filter {
    /// Reads one pair of a query.
    ///
    /// # Errors
    /// A 400 that says what is wrong.
    pub fn parse(name: &str, value: &str) -> Result<Filter, Problem> {
        let inside = name
            .strip_prefix("filter[")
            .and_then(|rest| rest.strip_suffix(']'))
            .ok_or_else(malformed)?;
        let (field, compare) = match inside.split_once("][") {
            None => (inside, Compare::Eq),
            Some((field, operator)) => {
                let mut all = Compare::ALL.into_iter();
                let compare = all.find(|compare| compare.as_str() == operator);
                (field, compare.ok_or_else(malformed)?)
            }
        };
        let terms = match compare {
            Compare::In => split(value)?,
            _ => vec![Term::parse(value)?],
        };
        Ok(Filter {
            field: Field::new(field)?,
            compare,
            terms,
        })
    }

    /// Whether a document is asked for.
    pub fn matches(&self, document: &Map<String, Value>) -> bool {
        let value = find(document, &self.field);
        let is = |term: &Term| term.is(value);
        let order = || self.terms.first().and_then(|term| term.order(value));
        match self.compare {
            Compare::Eq | Compare::In => self.terms.iter().any(is),
            Compare::Ne => !self.terms.iter().any(is),
            Compare::Lt => order() == Some(Ordering::Less),
            Compare::Lte => order().is_some_and(Ordering::is_le),
            Compare::Gt => order() == Some(Ordering::Greater),
            Compare::Gte => order().is_some_and(Ordering::is_ge),
        }
    }
}

/// Written as it could be asked for, the same for filters that mean the same.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter[{}][{}]=", self.field, self.compare.as_str())?;
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match term.literal {
                Some(_) => write!(f, "{comma}{}", term.text)?,
                None => write!(f, "{comma}{}", Value::from(&*term.text))?,
            }
        }
        Ok(())
    }
}

impl Term {
    /// Reads a value.
    ///
    /// # Errors
    /// A 400 for what begins with a quote and is no text of JSON.
    pub fn parse(value: &str) -> Result<Term, Problem> {
        if value.len() > 1024 {
            let detail = "the value of a filter has at most 1024 bytes";
            return Err(Problem::bad_request("filter", detail));
        }
        if value.starts_with('"') {
            let text: String = serde_json::from_str(value).map_err(|_| {
                let detail =
                    format!("the filter's value {value} begins with a quote and is no JSON string");
                Problem::bad_request("filter", detail)
            })?;
            return Ok(Term {
                text: text.into(),
                literal: None,
            });
        }
        let literal = match value {
            "null" => Some(Literal::Null),
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            number => serde_json::from_str(number).ok().map(Literal::Number),
        };
        Ok(Term {
            text: value.into(),
            literal,
        })
    }

    fn is(&self, value: &Value) -> bool {
        match (value, &self.literal) {
            (Value::String(text), _) => **text == *self.text,
            (Value::Null, Some(Literal::Null)) => true,
            (Value::Bool(value), Some(Literal::Bool(asked))) => value == asked,
            (Value::Number(value), Some(Literal::Number(asked))) => {
                order(value, asked) == Ordering::Equal
            }
            _ => false,
        }
    }

    /// Where a value is, seen from the term; nowhere, if it is of another type.
    fn order(&self, value: &Value) -> Option<Ordering> {
        match (value, &self.literal) {
            (Value::Number(value), Some(Literal::Number(asked))) => Some(order(value, asked)),
            (_, Some(Literal::Number(_))) => None,
            (Value::String(text), _) => Some((**text).cmp(&*self.text)),
            _ => None,
        }
    }
}

/// Numbers as SQL compares them: exactly where both are integers.
fn order(left: &Number, right: &Number) -> Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => {
            let real = |number: &Number| number.as_f64().unwrap_or_default();
            // There is no NaN in JSON.
            let order = real(left).partial_cmp(&real(right));
            order.unwrap_or(Ordering::Equal)
        }
    }
}

/// What a document has there; `null` where it has nothing.
fn find<'d>(document: &'d Map<String, Value>, field: &Field) -> &'d Value {
    let mut members = field.members();
    let first = members.next().and_then(|name| document.get(name));
    let inside = |value: &'d Value, name| value.as_object().and_then(|inner| inner.get(name));
    first
        .and_then(|value| members.try_fold(value, inside))
        .unwrap_or(&Value::Null)
}

/// Several values with commas between, which may also be within quotes.
fn split(value: &str) -> Result<Vec<Term>, Problem> {
    const MOST: usize = 100;
    let mut terms = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    let ends = value.char_indices().filter(|(_, c)| {
        match c {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && *c == '\\' && !escaped;
        *c == ',' && !quoted
    });
    for end in ends.map(|(at, _)| at).chain([value.len()]) {
        terms.push(Term::parse(&value[start..end])?);
        start = end + 1;
        if terms.len() > MOST {
            let detail = format!("in takes at most {MOST} values");
            return Err(Problem::bad_request("filter", detail));
        }
    }
    Ok(terms)
}

fn malformed() -> Problem {
    Problem::bad_request(
        "filter",
        "a filter is filter[FIELD]=VALUE or filter[FIELD][OPERATOR]=VALUE, its operator one of eq ne lt lte gt gte in",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(name: &str, value: &str) -> Filter {
        Filter::parse(name, value).expect("a filter")
    }

    /// Which values of `f` are asked for.
    fn chosen(name: &str, value: &str, of: &[Value]) -> Vec<Value> {
        let filter = filter(name, value);
        let is_chosen = |value: &&Value| match json!({ "f": value }) {
            Value::Object(document) => filter.matches(&document),
            _ => false,
        };
        of.iter().filter(is_chosen).cloned().collect()
    }

    #[test]
    fn values_mean_what_they_read_as_and_their_text() {
        let all = [
            json!(null),
            json!(true),
            json!(1),
            json!(1.0),
            json!(2),
            json!("1"),
            json!("true"),
            json!("null"),
            json!("a,b"),
            json!([1]),
            json!("[1]"),
        ];
        for (operator, value, expected) in [
            ("", "1", vec![json!(1), json!(1.0), json!("1")]),
            ("", "1.0", vec![json!(1), json!(1.0)]),
            ("", "\"1\"", vec![json!("1")]),
            ("", "true", vec![json!(true), json!("true")]),
            ("", "null", vec![json!(null), json!("null")]),
            ("", "[1]", vec![json!("[1]")]),
            ("[in]", "2,\"a,b\",x", vec![json!(2), json!("a,b")]),
            ("[gt]", "1", vec![json!(2)]),
            ("[gte]", "1", vec![json!(1), json!(1.0), json!(2)]),
            (
                "[lt]",
                "\"b\"",
                vec![json!("1"), json!("a,b"), json!("[1]")],
            ),
            (
                "[lte]",
                "true",
                vec![
                    json!("1"),
                    json!("true"),
                    json!("null"),
                    json!("a,b"),
                    json!("[1]"),
                ],
            ),
        ] {
            let name = format!("filter[f]{operator}");
            assert_eq!(chosen(&name, value, &all), expected, "{name}={value}");
        }
        assert_eq!(chosen("filter[f][ne]", "1", &all).len(), all.len() - 3);
    }

    #[test]
    fn fields_further_inside_are_found_and_others_are_null() {
        let Value::Object(document) = json!({ "a": { "b": { "c": 1 } }, "l": [{ "c": 1 }] }) else {
            panic!("an object");
        };
        for (name, value, expected) in [
            ("filter[a.b.c]", "1", true),
            ("filter[a.b]", "null", false),
            ("filter[a.x.c]", "null", true),
            ("filter[l.c]", "null", true),
            ("filter[none][ne]", "1", true),
            ("filter[none][lt]", "1", false),
        ] {
            assert_eq!(
                filter(name, value).matches(&document),
                expected,
                "{name}={value}"
            );
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for (name, value) in [
            ("filter", "1"),
            ("filter[]", "1"),
            ("filter[a", "1"),
            ("filters[a]", "1"),
            ("filter[a][like]", "1"),
            ("filter[a][eq][x]", "1"),
            ("filter[a b]", "1"),
            ("filter[a'--]", "1"),
            ("filter[a..b]", "1"),
            ("filter[1]", "1"),
            ("filter[a]", "\"x"),
            ("filter[a]", "\"x\"y"),
            ("filter[a][in]", "\"x,y"),
            ("filter[a]", &"x".repeat(1025)),
            ("filter[a][in]", &"1,".repeat(101)),
        ] {
            assert!(Filter::parse(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn it_is_written_as_it_could_be_asked_for() {
        for (name, value, written) in [
            ("filter[a]", "x", r#"filter[a][eq]="x""#),
            ("filter[a]", "\"x\"", r#"filter[a][eq]="x""#),
            ("filter[a][in]", "1,\"1\",x", r#"filter[a][in]=1,"1","x""#),
        ] {
            let filter = filter(name, value);
            assert_eq!(filter.to_string(), written);
            let (name, value) = written.split_once('=').expect("a pair");
            assert_eq!(Filter::parse(name, value).expect("a filter"), filter);
        }
    }
}
