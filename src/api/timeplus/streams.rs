//! Streams of the dialect: tables, said as its clients expect them. No member of what is answered is ever null, since
//! their models refuse that; a member of what they ask for may be.

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ok;
use crate::api::{Context, created, discard, no_content, read_json, whole};
use crate::body::Body;
use crate::live::engine::Table;
use crate::live::schema::{TIME, Type};
use crate::live::tables;
use crate::openapi::{answer, count, json_body, object, parameter, problem, problem_with, text};
use crate::problem::Problem;

/// A stream as its author says it. Other members are ignored: they say where and how Timeplus stores it.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Asked {
    name: Option<String>,
    columns: Option<Vec<AskedColumn>>,
    mode: Option<String>,
    primary_key: Option<String>,
    event_time_column: Option<String>,
    event_time_timezone: Option<String>,
    ttl_expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object of name and type")]
struct AskedColumn {
    name: Option<String>,
    r#type: Option<String>,
    default: Option<String>,
    nullable: Option<bool>,
}

pub(super) async fn create(
    head: &Parts,
    body: Incoming,
    context: &Context,
) -> Result<Response<Body>, Problem> {
    let asked: Asked = read_json(head, body, context).await?;
    let table = asked.table()?;
    let name = table.name().to_owned();
    whole(context.live.clone().create_table(table)).await?;
    let stream = about(&context.live.table(&name)?).to_string();
    let response = crate::api::json(StatusCode::CREATED, stream);
    Ok(created(
        response,
        &format!("{}/streams/{name}", super::BASE),
    ))
}

pub(super) fn list(body: Incoming, context: &Context) -> Response<Body> {
    discard(body);
    let all: Vec<Value> = context.live.tables().iter().map(about).collect();
    ok(Value::from(all))
}

pub(super) async fn one(
    method: &Method,
    name: String,
    body: Incoming,
    context: &Context,
) -> Result<Response<Body>, Problem> {
    // Python's client sends `null` with everything.
    discard(body);
    if method == Method::DELETE {
        whole(context.live.clone().forget_table(name)).await?;
        return Ok(no_content());
    }
    Ok(ok(about(&context.live.table(&name)?)))
}

/// There are none, and a client that reflects a name asks for them.
pub(super) fn views(body: Incoming) -> Response<Body> {
    discard(body);
    ok("[]")
}

impl Asked {
    fn table(self) -> Result<tables::Asked, Problem> {
        let given = |member: &Option<String>| member.clone().filter(|text| !text.is_empty());
        if let Some(mode) = given(&self.mode).filter(|mode| mode != "append") {
            return Err(refused(format!(
                "mode {mode:?} is not there: rows are only appended; leave it out, or say append"
            )));
        }
        if let Some(key) = given(&self.primary_key) {
            return Err(refused(format!(
                "primary_key {key:?} is of modes that are not there; leave it out"
            )));
        }
        if let Some(time) = given(&self.event_time_column).filter(|time| time != TIME) {
            return Err(refused(format!(
                "event_time_column {time:?}: nothing is computed of a row; leave it out, and send {TIME} in the rows, else it is when they come"
            )));
        }
        if let Some(zone) =
            given(&self.event_time_timezone).filter(|zone| !zone.eq_ignore_ascii_case("utc"))
        {
            return Err(refused(format!(
                "event_time_timezone {zone:?}: times are held in UTC; leave it out"
            )));
        }
        let name = given(&self.name).ok_or_else(|| refused("a stream has a name".to_owned()))?;
        let columns = self.columns.unwrap_or_default().into_iter();
        let columns = columns.map(AskedColumn::column).collect::<Result<_, _>>()?;
        let age_ms = given(&self.ttl_expression)
            .map(|ttl| age_ms(&ttl))
            .transpose()?;
        Ok(tables::Asked::new(name, columns, age_ms))
    }
}

impl AskedColumn {
    /// Its name and its type.
    fn column(self) -> Result<(String, String), Problem> {
        let name = self.name.unwrap_or_default();
        let Some(kind) = self.r#type else {
            return Err(refused(format!("column {name:?} has no type")));
        };
        // What comes from another stream's object has it.
        let is_time = name.eq_ignore_ascii_case(TIME);
        match self.default {
            Some(default) if !default.is_empty() && !is_time => Err(refused(format!(
                "column {name:?} has the default {default:?}, and there are none; leave it out, and make the type nullable if rows may lack it"
            ))),
            _ if self.nullable == Some(true)
                && kind.parse::<Type>().is_ok_and(|k| !k.is_nullable()) =>
            {
                Ok((name, format!("nullable({kind})")))
            }
            _ => Ok((name, kind)),
        }
    }
}

/// Milliseconds of each unit of an interval, the longest first.
const UNITS: [(&str, u64); 6] = [
    ("WEEK", 604_800_000),
    ("DAY", 86_400_000),
    ("HOUR", 3_600_000),
    ("MINUTE", 60_000),
    ("SECOND", 1000),
    ("MILLISECOND", 1),
];

/// How long rows are retained, of `to_datetime(_tp_time) + INTERVAL 30 DAY`: the one form in which clients write it.
fn age_ms(ttl: &str) -> Result<u64, Problem> {
    let upper = ttl.to_ascii_uppercase();
    let words: Vec<&str> = upper.split_ascii_whitespace().collect();
    let age = match words[..] {
        [
            "_TP_TIME" | "TO_DATETIME(_TP_TIME)",
            "+",
            "INTERVAL",
            count,
            unit,
        ] => {
            let unit = UNITS.iter().find(|(name, _)| unit == *name);
            let count = count.parse::<u64>().ok().filter(|count| *count > 0);
            count
                .zip(unit)
                .and_then(|(count, (_, each))| count.checked_mul(*each))
        }
        _ => None,
    };
    age.ok_or_else(|| {
        refused(format!(
            "ttl_expression {ttl:?} is not taken; write to_datetime({TIME}) + INTERVAL 30 DAY, or another number and WEEK, HOUR, MINUTE or SECOND"
        ))
    })
}

fn ttl(age_ms: Option<u64>) -> String {
    let Some(ms) = age_ms else {
        return String::new();
    };
    let unit = UNITS.iter().find(|(_, each)| ms.is_multiple_of(*each));
    let (unit, each) = unit.expect("a millisecond divides everything");
    format!("to_datetime({TIME}) + INTERVAL {} {unit}", ms / each)
}

/// The object of a stream. What is retained of the log is the server's setting and the same for all, so that it says 0.
fn about(table: &Table) -> Value {
    let schema = &table.schema;
    let columns = schema.all_columns().map(|(name, kind)| {
        json!({
            "name": name,
            "type": kind.to_string(),
            "nullable": kind.is_nullable(),
            "default": if name == TIME { "now64(3)" } else { "" },
            "codec": "",
        })
    });
    let ttl = ttl(schema.retention.age_ms);
    json!({
        "name": schema.name.as_str(),
        "columns": columns.collect::<Vec<_>>(),
        "description": "",
        "engine": "Stream",
        "mode": "append",
        "is_external": false,
        "logstore_retention_bytes": 0,
        "logstore_retention_ms": 0,
        "ttl": ttl,
        "ttl_expression": ttl,
    })
}

fn refused(detail: String) -> Problem {
    Problem::bad_request("stream", detail)
}

pub(super) fn name() -> Value {
    parameter(
        "path",
        "name",
        "The stream's name, which is its topic's",
        text(),
    )
}

/// Text that need not be there, and may be null.
fn maybe() -> Value {
    json!({ "type": ["string", "null"] })
}

fn stream() -> Value {
    let column = object(json!({
        "name": text(),
        "type": text(),
        "nullable": { "type": "boolean" },
        "default": text(),
        "codec": text(),
    }));
    object(json!({
        "name": text(),
        "columns": { "type": "array", "items": column },
        "description": text(),
        "engine": text(),
        "mode": { "enum": ["append"] },
        "is_external": { "type": "boolean" },
        "logstore_retention_bytes": count(),
        "logstore_retention_ms": count(),
        "ttl": text(),
        "ttl_expression": text(),
    }))
}

pub(super) fn describe_list() -> Value {
    let all = json!({ "type": "array", "items": stream() });
    json!({
        "summary": "The streams, by name; they are the tables of /streams",
        "responses": { "200": answer("The streams", "application/json", all) },
    })
}

pub(super) fn describe_create() -> Value {
    let column = json!({
        "type": "object",
        "required": ["name", "type"],
        "properties": {
            "name": text(),
            "type": text(),
            "default": { "type": ["string", "null"], "description": "Empty, if it is there" },
            "nullable": { "type": ["boolean", "null"] },
        },
    });
    let ttl = "to_datetime(_tp_time) + INTERVAL 30 DAY, or another number and unit, for how long rows are retained";
    let schema = json!({
        "type": "object",
        "required": ["name", "columns"],
        "properties": {
            "name": text(),
            "columns": { "type": "array", "items": column, "minItems": 1 },
            "mode": { "enum": ["append", "", null] },
            "ttl_expression": { "type": ["string", "null"], "description": ttl },
            "primary_key": maybe(),
            "event_time_column": maybe(),
            "event_time_timezone": maybe(),
        },
    });
    json!({
        "summary": "Make a stream; members that are not here are ignored",
        "requestBody": json_body(schema),
        "responses": {
            "201": {
                "description": "It is there",
                "headers": { "location": { "required": true, "schema": text() } },
                "content": { "application/json": { "schema": stream() } },
            },
            "400": problem("The body is malformed, or asks for what there is not: `message` names the column or the member"),
            "409": problem("There is a stream of this name"),
            "413": problem("The body is over event-bytes"),
            "429": problem_with("retry-after", "One stream (tables) too many"),
        },
    })
}

pub(super) fn describe_one() -> Value {
    json!({
        "summary": "A stream",
        "parameters": [name()],
        "responses": {
            "200": answer("The stream", "application/json", stream()),
            "404": problem("There is none of this name"),
        },
    })
}

pub(super) fn describe_delete() -> Value {
    json!({
        "summary": "Forget a stream and its rows",
        "parameters": [name()],
        "responses": {
            "204": { "description": "It is gone; its topic is one like others now" },
            "403": problem("It is built in, or asked by a page of a foreign origin"),
            "404": problem("There is none of this name"),
        },
    })
}

pub(super) fn describe_views() -> Value {
    let none = json!({ "type": "array", "items": { "type": "object" } });
    json!({
        "summary": "The views: there are none",
        "responses": { "200": answer("An empty list", "application/json", none) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_ages() {
        for (text, ms, written) in [
            (
                "to_datetime(_tp_time) + INTERVAL 30 DAY",
                2_592_000_000,
                "30 DAY",
            ),
            ("_tp_time  +\ninterval 90 minute", 5_400_000, "90 MINUTE"),
            ("_tp_time + INTERVAL 14 DAY", 1_209_600_000, "2 WEEK"),
            ("_tp_time + INTERVAL 1 MILLISECOND", 1, "1 MILLISECOND"),
        ] {
            assert_eq!(age_ms(text).expect(text), ms);
            let written = format!("to_datetime(_tp_time) + INTERVAL {written}");
            assert_eq!(ttl(Some(ms)), written);
            assert_eq!(age_ms(&written).expect("it reads what it writes"), ms);
        }
        for text in [
            "ts + INTERVAL 1 DAY",
            "_tp_time + INTERVAL 0 DAY",
            "_tp_time + INTERVAL -1 DAY",
            "_tp_time + INTERVAL 1 MONTH",
            "_tp_time + INTERVAL 99999999999999999 DAY",
            "_tp_time + INTERVAL 1 DAY DELETE",
            "1d",
        ] {
            let problem = age_ms(text).expect_err(text);
            assert!(problem.detail.contains(text), "{problem}");
        }
    }
}
