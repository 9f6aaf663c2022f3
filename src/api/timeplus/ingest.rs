//! Rows for a stream, in each of the four formats that clients send: all of them are taken, or none.

use std::fmt;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{ok, streams};
use crate::api::publish::{self, too_many_events};
use crate::api::{Context, not_encoded, read_body, tables, understood};
use crate::body::Body;
use crate::live::engine::Table;
use crate::live::schema::Schema;
use crate::openapi::{answer, count, cursor, object, parameter, problem, problem_with, text};
use crate::problem::Problem;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// `{"columns":[…],"data":[[…],…]}`.
    Compact,
    /// JSON objects one after the other, each a row; nothing need be between them.
    Streaming,
    /// The whole body is the column `raw` of one row.
    Raw,
    /// Each line is the column `raw` of a row.
    Lines,
}

/// The column that text goes to.
const RAW: &str = "raw";

pub(super) async fn ingest(
    head: &Parts,
    name: &str,
    body: Incoming,
    context: &Context,
) -> Result<Response<Body>, Problem> {
    let ((format, table, key), body) = understood(asked(head, name, context).await, body)?;
    let limits = context.publisher.limits;
    let body = read_body(body, limits.batch_bytes, "batch-bytes", limits.body_time).await?;
    let rows = format.rows(&table.schema, &body, limits.batch_events)?;
    let done = tables::append(&context.publisher, &table, rows, key.as_deref()).await;
    done.map(ok)
}

async fn asked(
    head: &Parts,
    name: &str,
    context: &Context,
) -> Result<(Format, Table, Option<String>), Problem> {
    not_encoded(&head.headers)?;
    let format = Format::asked(head.uri.query().unwrap_or(""), &head.headers)?;
    let key = publish::key(&head.headers)?;
    Ok((format, context.live.find_table(name).await?, key))
}

impl Format {
    /// By `?format=`, since some clients say `application/json` of all that they send, else by the type of the body.
    fn asked(query: &str, headers: &HeaderMap) -> Result<Format, Problem> {
        let mut parameters = form_urlencoded::parse(query.as_bytes());
        if let Some((_, name)) = parameters.find(|(name, _)| name == "format") {
            return Format::named(&name);
        }
        let value = headers.get(header::CONTENT_TYPE);
        let value = value.and_then(|v| v.to_str().ok()).unwrap_or("");
        let value = value.to_ascii_lowercase();
        let mut parts = value.split(';').map(str::trim);
        let essence = parts.next().unwrap_or("");
        match (parts.find_map(|part| part.strip_prefix("format=")), essence) {
            (Some(name), _) => Format::named(name.trim_matches('"')),
            (None, "application/x-ndjson") => Ok(Format::Streaming),
            (None, "text/plain") => Ok(Format::Lines),
            (None, _) => Ok(Format::Compact),
        }
    }

    fn named(name: &str) -> Result<Format, Problem> {
        match name {
            "" | "compact" => Ok(Format::Compact),
            "streaming" => Ok(Format::Streaming),
            "raw" => Ok(Format::Raw),
            "lines" => Ok(Format::Lines),
            _ => Err(refused(format!(
                "format {name:?} is not known; there are compact, streaming, raw and lines"
            ))),
        }
    }

    /// The rows of a body, each the JSON object that is published of it.
    ///
    /// # Errors
    /// 400 that names the row, counted from 1, and the column of the first bad value; 413 for more rows than `most`.
    fn rows(self, schema: &Schema, body: &[u8], most: usize) -> Result<Vec<Bytes>, Problem> {
        match self {
            Format::Compact => schema.ingest(body),
            Format::Streaming => {
                let objects = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
                let objects = objects.map(|object| object.map(|json| json.get().to_owned()));
                checked(schema, objects, most)
            }
            Format::Raw => of_texts(schema, [text_of(body)?], most),
            Format::Lines if body.is_empty() => Ok(Vec::new()),
            Format::Lines => {
                // The last line's end is the end of the body, not the beginning of an empty line.
                let text = text_of(body)?;
                let lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
                let lines = lines.map(|line| line.strip_suffix('\r').unwrap_or(line));
                of_texts(schema, lines, most)
            }
        }
    }
}

fn of_texts<'t>(
    schema: &Schema,
    texts: impl IntoIterator<Item = &'t str>,
    most: usize,
) -> Result<Vec<Bytes>, Problem> {
    if schema.position(RAW).is_none() {
        return Err(refused(format!(
            "stream {} has no column {RAW:?}, which is where text goes; send JSON, as format compact or streaming",
            schema.name
        )));
    }
    let objects = texts
        .into_iter()
        .map(|text| Ok(json!({ RAW: text }).to_string()));
    checked(schema, objects, most)
}

/// A column that a row names twice.
fn doubled(schema: &Schema, object: &str) -> Option<String> {
    let Names(names) = serde_json::from_str(object).ok()?;
    let mut places = Vec::with_capacity(names.len());
    names.into_iter().find(|name| {
        let place = schema.position(name);
        let is_there = place.is_some() && places.contains(&place);
        places.push(place);
        is_there
    })
}

/// The names of an object's members, as often as they are there.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        deserializer.deserialize_map(Names(Vec::new()))
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Names, A::Error> {
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            self.0.push(name);
        }
        Ok(self)
    }
}

/// Holds each to the schema, before any is published.
fn checked(
    schema: &Schema,
    objects: impl Iterator<Item = serde_json::Result<String>>,
    most: usize,
) -> Result<Vec<Bytes>, Problem> {
    let mut rows = Vec::new();
    for (index, object) in objects.enumerate() {
        let number = index + 1;
        if index == most {
            return Err(too_many_events(most));
        }
        let object =
            object.map_err(|error| refused(format!("row {number} is not JSON: {error}")))?;
        if !object.starts_with('{') {
            return Err(refused(format!("row {number} is no JSON object")));
        }
        if let Some(name) = doubled(schema, &object) {
            return Err(refused(format!(
                "row {number}: column {name:?} is there twice"
            )));
        }
        schema.check(object.as_bytes()).map_err(|problem| Problem {
            detail: format!("row {number}: {}", problem.detail).into(),
            ..problem
        })?;
        rows.push(object.into());
    }
    Ok(rows)
}

fn text_of(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| refused(format!("the body is not UTF-8: {error}")))
}

fn refused(detail: String) -> Problem {
    Problem::bad_request("rows", detail)
}

pub(super) fn describe() -> Value {
    let formats = json!({ "enum": ["compact", "streaming", "raw", "lines"] });
    let compact = json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "columns": { "type": ["array", "null"], "items": text() },
            "data": { "type": "array", "items": { "type": "array" } },
        },
        "additionalProperties": false,
    });
    let objects =
        json!({ "type": "string", "description": "JSON objects one after the other, each a row" });
    let lines = json!({ "type": "string", "description": "Each line is the column raw of a row" });
    let done = object(json!({ "count": count(), "first": cursor(), "last": cursor() }));
    let which = "How the rows are written; without it, the type of the body says so";
    json!({
        "summary": "Append rows, all or none",
        "parameters": [
            streams::name(),
            parameter("query", "format", which, formats),
            publish::describe_key(),
        ],
        "requestBody": {
            "required": true,
            "description": "A parameter format of the content type names any of the formats",
            "content": {
                "application/json": { "schema": compact },
                "application/x-ndjson": { "schema": objects },
                "text/plain": { "schema": lines },
            },
        },
        "responses": {
            "200": answer("In the log: how many, and the first and the last id", "application/json", done),
            "400": problem("The key, the format or the body is malformed, or a value is not of its column: `message` names row and column"),
            "404": problem("There is no stream of this name"),
            "413": problem("The body is over batch-bytes or batch-events, or a row over event-bytes"),
            "429": problem_with("retry-after", "One idempotency key (idempotency-keys) too many"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Topic;
    use crate::live::schema::{Column, Retention};
    use hyper::header::HeaderValue;

    fn schema(columns: &[(&str, &str)]) -> Schema {
        let column = |(name, kind): &(&str, &str)| Column {
            name: (*name).to_owned(),
            kind: kind.parse().expect(kind),
        };
        Schema {
            name: Topic::new("t").expect("a topic"),
            columns: columns.iter().map(column).collect(),
            retention: Retention {
                rows: 1,
                age_ms: None,
            },
        }
    }

    #[test]
    fn no_column_is_there_twice() {
        let schema = schema(&[("n", "int32")]);
        for body in [r#"{"n":1,"n":2}"#, r#"{"n":1}{"n":1,"N":2}"#] {
            let refused = Format::Streaming.rows(&schema, body.as_bytes(), 10);
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains("is there twice"), "{refused}");
        }
    }

    #[test]
    fn which_format_is_meant() {
        for (query, content_type, format) in [
            ("", "", Some(Format::Compact)),
            ("", "application/json; charset=utf-8", Some(Format::Compact)),
            (
                "",
                "application/x-www-form-urlencoded",
                Some(Format::Compact),
            ),
            ("", "Application/X-NDJSON", Some(Format::Streaming)),
            ("", "text/plain;charset=utf-8", Some(Format::Lines)),
            ("", "text/plain; format=raw", Some(Format::Raw)),
            (
                "",
                "application/vnd.timeplus+json;format=streaming",
                Some(Format::Streaming),
            ),
            (
                "",
                "application/vnd.timeplus+json; format=\"compact\"",
                Some(Format::Compact),
            ),
            (
                "db=default&format=raw",
                "application/json",
                Some(Format::Raw),
            ),
            ("format=lines", "application/x-ndjson", Some(Format::Lines)),
            ("format=", "text/plain", Some(Format::Compact)),
            ("format=csv", "application/json", None),
            ("", "text/plain; format=csv", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            let asked = Format::asked(query, &headers).ok();
            assert_eq!(asked, format, "{query} {content_type}");
        }
    }

    #[test]
    fn bodies_become_rows() {
        let numbers = schema(&[("n", "int8")]);
        let texts = schema(&[("raw", "string"), ("n", "nullable(int8)")]);
        for (schema, format, body, rows) in [
            (
                &numbers,
                Format::Compact,
                r#"{"data":[[1],[2]]}"#,
                &[r#"{"n":1}"#, r#"{"n":2}"#][..],
            ),
            (
                &numbers,
                Format::Streaming,
                "{\"n\":1}{\"n\": 2}\n\n{\"n\":3}\n",
                &[r#"{"n":1}"#, r#"{"n": 2}"#, r#"{"n":3}"#],
            ),
            (&numbers, Format::Streaming, " \n", &[]),
            (
                &texts,
                Format::Raw,
                "a \"b\"\nc\n",
                &[r#"{"raw":"a \"b\"\nc\n"}"#],
            ),
            (&texts, Format::Raw, "", &[r#"{"raw":""}"#]),
            (
                &texts,
                Format::Lines,
                "a\r\n\nb\n",
                &[r#"{"raw":"a"}"#, r#"{"raw":""}"#, r#"{"raw":"b"}"#],
            ),
            (&texts, Format::Lines, "a", &[r#"{"raw":"a"}"#]),
            (&texts, Format::Lines, "", &[]),
        ] {
            let got = format.rows(schema, body.as_bytes(), 3).expect(body);
            assert_eq!(got, rows, "{format:?} {body}");
        }
    }

    #[test]
    fn the_first_bad_row_is_named() {
        let numbers = schema(&[("n", "int8")]);
        let texts = schema(&[("raw", "string"), ("n", "int8")]);
        for (schema, format, body, part) in [
            (
                &numbers,
                Format::Streaming,
                &b"{\"n\":1}{\"n\":\"x\"}"[..],
                "row 2: this is no row of table t: column \"n\"",
            ),
            (
                &numbers,
                Format::Streaming,
                b"{\"n\":1}{\"m\":2}",
                "row 2: this is no row of table t: column \"n\" is missing",
            ),
            (
                &numbers,
                Format::Streaming,
                b"{\"n\":1}{\"n\":",
                "row 2 is not JSON",
            ),
            (
                &numbers,
                Format::Streaming,
                b"{\"n\":1},{\"n\":2}",
                "row 2 is not JSON",
            ),
            (
                &numbers,
                Format::Streaming,
                b"[{\"n\":1}]",
                "row 1 is no JSON object",
            ),
            (
                &numbers,
                Format::Streaming,
                b"null",
                "row 1 is no JSON object",
            ),
            (&numbers, Format::Compact, b"null", "not of the form"),
            (&numbers, Format::Raw, b"a", "no column \"raw\""),
            (
                &texts,
                Format::Lines,
                b"a\nb",
                "row 1: this is no row of table t: column \"n\" is missing",
            ),
            (&texts, Format::Raw, b"\xff", "not UTF-8"),
            (
                &numbers,
                Format::Streaming,
                b"{\"n\":1}{\"n\":1}{\"n\":1}{\"n\":1}",
                "at most 3 events",
            ),
        ] {
            let problem = format.rows(schema, body, 3).expect_err(part);
            assert!(problem.detail.contains(part), "{format:?}: {problem}");
        }
    }
}
