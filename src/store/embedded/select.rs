//! What is asked of a list, as SQL. Nothing that a peer wrote stands in it but the names of fields, which are
//! identifiers; values are bound.

use rusqlite::types::Value;
use serde_json::Number;

use crate::store::ask::filter::{Compare, Filter, Literal, Term};
use crate::store::ask::{Ask, Field};

/// From where on it counts that documents are not looked at to be skipped.
const FAR: u64 = 1000;

/// Two statements with the same values.
pub(super) struct Select {
    /// How many documents there are.
    pub(super) count: String,
    /// The documents of the page.
    pub(super) page: String,
    pub(super) values: Vec<Value>,
}

impl Select {
    /// What is asked of the collection with this number.
    pub(super) fn new(number: i64, ask: &Ask) -> Select {
        let mut values = Vec::new();
        let conditions = ask.filters.iter();
        let conditions: Vec<String> = conditions.map(|f| condition(f, &mut values)).collect();
        let wherever = match conditions.is_empty() {
            true => String::new(),
            false => format!(" where {}", conditions.join(" and ")),
        };
        let count = match conditions.is_empty() {
            // Counted already.
            true => format!("select documents from collections where number = {number}"),
            false => format!("select count(*) from c{number}{wherever}"),
        };
        let order = ask.order();
        let order = order.iter().map(|sort| {
            let direction = if sort.descending { " desc" } else { "" };
            format!("{}{direction}", value(&sort.field))
        });
        let order = order.collect::<Vec<_>>().join(", ");
        let (limit, offset) = (ask.per_page, ask.offset());
        let cut = format!("order by {order} limit {limit} offset {offset}");
        let page = match offset < FAR {
            true => format!("select id, version, json from c{number}{wherever} {cut}"),
            // What is skipped is skipped in the index alone.
            false => format!(
                "select id, version, json from c{number} where rowid in \
                 (select rowid from c{number}{wherever} {cut}) order by {order}"
            ),
        };
        Select {
            count,
            page,
            values,
        }
    }
}

/// A field of a document; indexes are of just this.
pub(super) fn value(field: &Field) -> String {
    match field.is_id() {
        true => "id".to_owned(),
        false => format!("json_extract(json, '{}')", path(field)),
    }
}

fn kind(field: &Field) -> String {
    match field.is_id() {
        true => "typeof(id)".to_owned(),
        false => format!("json_type(json, '{}')", path(field)),
    }
}

/// An identifier has no quote in it.
fn path(field: &Field) -> String {
    let members = field.members().map(|name| format!(".\"{name}\""));
    format!("${}", members.collect::<String>())
}

fn condition(filter: &Filter, values: &mut Vec<Value>) -> String {
    let field = &filter.field;
    match (filter.compare, &*filter.terms) {
        (Compare::Eq | Compare::In, terms) => is_one_of(field, terms, values),
        (Compare::Ne, terms) => format!("({}) is not true", is_one_of(field, terms, values)),
        (_, []) => "false".to_owned(),
        (compare, [term, ..]) => {
            let operator = match compare {
                Compare::Lt => "<",
                Compare::Lte => "<=",
                Compare::Gt => ">",
                _ => ">=",
            };
            let (value, kind) = (value(field), kind(field));
            match &term.literal {
                // Numbers come before texts, which an index need not go through. The kind is looked up in the document,
                // which takes ten times as long, and only where the value leaves it open: truth is 0 and 1.
                Some(Literal::Number(asked)) => {
                    let asked = bind(number(asked), values);
                    format!(
                        "({value} {operator} {asked} and {value} < '' and \
                         ({value} not in (0, 1) or {kind} in ('integer', 'real')))"
                    )
                }
                // Objects and lists are texts.
                _ => {
                    let asked = bind(text(term), values);
                    format!(
                        "({value} {operator} {asked} and {value} >= '' and \
                         (substr({value}, 1, 1) not in ('[', '{{') or {kind} = 'text'))"
                    )
                }
            }
        }
    }
}

/// Terms that are alone in their value are looked up together, so that one index does it.
fn is_one_of(field: &Field, terms: &[Term], values: &mut Vec<Value>) -> String {
    let (plain, other): (Vec<&Term>, Vec<&Term>) = terms.iter().partition(|term| is_plain(term));
    let mut any: Vec<String> = Vec::new();
    if !plain.is_empty() {
        let mut all = Vec::new();
        for term in plain {
            all.push(bind(text(term), values));
            if let Some(Literal::Number(asked)) = &term.literal {
                all.push(bind(number(asked), values));
            }
        }
        any.push(format!("{} in ({})", value(field), all.join(", ")));
    }
    any.extend(other.into_iter().map(|term| is(field, term, values)));
    format!("({})", any.join(" or "))
}

/// Whether nothing else has the same value: SQL has truth as 0 and 1, and objects and lists as texts.
fn is_plain(term: &Term) -> bool {
    let is_digit = |number: &Number| matches!(number.as_f64(), Some(0.0 | 1.0));
    match &term.literal {
        None => !term.text.starts_with(['{', '[']),
        Some(Literal::Number(number)) => !is_digit(number),
        Some(Literal::Null | Literal::Bool(_)) => false,
    }
}

fn is(field: &Field, term: &Term, values: &mut Vec<Value>) -> String {
    let (value, kind) = (value(field), kind(field));
    let asked = bind(text(term), values);
    match &term.literal {
        None => format!("({value} = {asked} and {kind} = 'text')"),
        Some(Literal::Null) => format!("({value} is null or {value} = {asked})"),
        Some(Literal::Bool(truth)) => {
            let digit = u8::from(*truth);
            format!("({value} in ({asked}, {digit}) and {kind} in ('text', '{truth}'))")
        }
        Some(Literal::Number(number_asked)) => {
            let digit = bind(number(number_asked), values);
            format!("({value} in ({asked}, {digit}) and {kind} in ('text', 'integer', 'real'))")
        }
    }
}

fn bind(value: Value, values: &mut Vec<Value>) -> String {
    values.push(value);
    format!("?{}", values.len())
}

fn text(term: &Term) -> Value {
    Value::Text(term.text.to_string())
}

fn number(number: &Number) -> Value {
    match number.as_i64() {
        Some(integer) => Value::Integer(integer),
        None => Value::Real(number.as_f64().unwrap_or_default()),
    }
}
