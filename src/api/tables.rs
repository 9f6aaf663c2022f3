//! Tables, which the paths call streams: `/streams`, `/streams/{name}` and `/streams/{name}/ingest`.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::publish::{self, Publisher};
use super::{Api, Context, below, created, no_content, read_body, read_json, understood, whole};
use crate::body::Body;
use crate::event::{Draft, EventType, Payload};
use crate::live::engine::Table;
use crate::live::tables::{self, Asked};
use crate::openapi::{
    Path, answer, count, cursor, json_body, object, parameter, problem, problem_with, text,
};
use crate::problem::Problem;

/// `/streams`.
pub struct Tables;

const INGEST: &str = "/ingest";

impl Api for Tables {
    fn paths(&self) -> &'static [Path] {
        &[
            Path {
                at: "/streams",
                operations: &[("GET", describe_list), ("POST", describe_post)],
            },
            Path {
                at: "/streams/{name}/ingest",
                operations: &[("POST", describe_ingest)],
            },
            Path {
                at: "/streams/{name}",
                operations: &[("GET", describe_one), ("DELETE", describe_delete)],
            },
        ]
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        let path = request.uri().path();
        match (path, request.method()) {
            ("/streams", &Method::POST) => declare(request, context).boxed(),
            ("/streams", _) => std::future::ready(Ok(list(context))).boxed(),
            _ if path.ends_with(INGEST) => ingest(request, context).boxed(),
            _ => one(request, context).boxed(),
        }
    }
}

async fn declare(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let asked: Asked = read_json(&head, body, context).await?;
    let table = whole(context.live.clone().create_table(asked)).await?;
    let place = format!("/streams/{}", table["name"].as_str().unwrap_or_default());
    let response = super::json(StatusCode::CREATED, table.to_string());
    Ok(created(response, &place))
}

fn list(context: &Context) -> Response<Body> {
    let all: Vec<Value> = context.live.tables().iter().map(tables::describe).collect();
    super::json(StatusCode::OK, json!({ "streams": all }).to_string())
}

async fn one(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    super::discard(body);
    let name = below("/streams/", &head)?;
    if head.method == Method::DELETE {
        whole(context.live.clone().forget_table(name)).await?;
        return Ok(no_content());
    }
    let table = context.live.find_table(&name).await?;
    let about = tables::describe(&table).to_string();
    Ok(super::json(StatusCode::OK, about))
}

async fn ingest(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let ((table, key), body) = understood(of_ingest(&head, context).await, body)?;
    let publisher: &Publisher = &context.publisher;
    let limits = publisher.limits;
    let body = read_body(body, limits.batch_bytes, "batch-bytes", limits.body_time).await?;
    let rows = table.schema.ingest(&body)?;
    let done = append(publisher, &table, rows, key.as_deref()).await?;
    Ok(super::json(StatusCode::CREATED, done.to_string()))
}

/// Publishes rows, all or none, and says what was done.
pub(super) async fn append(
    publisher: &Publisher,
    table: &Table,
    rows: Vec<Bytes>,
    key: Option<&str>,
) -> Result<Value, Problem> {
    let most = publisher.limits.batch_events;
    if rows.len() > most {
        return Err(publish::too_many_events(most));
    }
    let drafts = rows.into_iter().map(|row| {
        Ok(Draft {
            topic: table.schema.name.clone(),
            event_type: EventType::default(),
            payload: Payload::json(row)?,
        })
    });
    let drafts = drafts.collect::<Result<_, Problem>>()?;
    let done = publisher.publish(drafts, key).await?;
    Ok(json!({
        "count": done.count,
        "first": done.first.to_string(),
        "last": done.last.to_string(),
    }))
}

async fn of_ingest(head: &Parts, context: &Context) -> Result<(Table, Option<String>), Problem> {
    super::not_encoded(&head.headers)?;
    let name = below("/streams/", head)?;
    let name = name.strip_suffix(INGEST).unwrap_or(&name);
    let table = context.live.find_table(name).await?;
    Ok((table, publish::key(&head.headers)?))
}

fn name() -> Value {
    let schema = json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$" });
    parameter(
        "path",
        "name",
        "The table's name, which is its topic's",
        schema,
    )
}

fn columns() -> Value {
    let column = object(json!({ "name": text(), "type": text() }));
    json!({ "type": "array", "items": column })
}

fn about() -> Value {
    let retention = object(json!({
        "rows": count(),
        "age": { "type": ["string", "null"] },
    }));
    object(json!({
        "name": text(),
        "columns": columns(),
        "retention": retention,
        "built_in": { "type": "boolean" },
        "rows": count(),
        "bytes": count(),
        "refused": count(),
        "missed": count(),
    }))
}

fn describe_list() -> Value {
    let list = object(json!({ "streams": { "type": "array", "items": about() } }));
    json!({
        "summary": "The tables that SQL reads",
        "responses": { "200": answer("The tables, by name", "application/json", list) },
    })
}

fn describe_post() -> Value {
    let mut column = object(json!({ "name": text(), "type": text() }));
    column["additionalProperties"] = false.into();
    let retention = json!({
        "type": "object",
        "properties": {
            "rows": { "type": "integer", "minimum": 1 },
            "age": { "type": "string", "description": "Such as 30s, 10min, 1h or 7d" },
        },
        "additionalProperties": false,
    });
    let mut schema = object(json!({
        "name": text(),
        "columns": { "type": "array", "items": column, "minItems": 1 },
    }));
    schema["properties"]["retention"] = retention;
    schema["additionalProperties"] = false.into();
    json!({
        "summary": "Declare a table: from now on the JSON objects of its topic are its rows",
        "requestBody": json_body(schema),
        "responses": {
            "201": {
                "description": "It is there",
                "headers": { "location": { "required": true, "schema": text() } },
                "content": { "application/json": { "schema": about() } },
            },
            "400": problem("The body is malformed, or no schema: `detail` names the column"),
            "409": problem("There is a table of this name"),
            "413": problem("The body is over event-bytes"),
            "429": problem_with("retry-after", "One table (tables) too many"),
        },
    })
}

fn describe_one() -> Value {
    json!({
        "summary": "A table: its columns, and how many rows it holds",
        "parameters": [name()],
        "responses": {
            "200": answer("The table", "application/json", about()),
            "404": problem("There is none of this name"),
        },
    })
}

fn describe_delete() -> Value {
    json!({
        "summary": "Forget a table and its rows; queries that read it end",
        "parameters": [name()],
        "responses": {
            "204": { "description": "It is gone; its topic is one like others now" },
            "403": problem("It is built in, or asked by a page of a foreign origin"),
            "404": problem("There is none of this name"),
        },
    })
}

fn describe_ingest() -> Value {
    let schema = json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "columns": {
                "type": "array",
                "items": text(),
                "description": "What each value of a row is of; without it, all columns as they were declared",
            },
            "data": { "type": "array", "items": { "type": "array" } },
        },
        "additionalProperties": false,
    });
    let done = object(json!({ "count": count(), "first": cursor(), "last": cursor() }));
    json!({
        "summary": "Append rows, all or none; each is an event of the table's topic",
        "parameters": [name(), publish::describe_key()],
        "requestBody": json_body(schema),
        "responses": {
            "201": answer("In the log: how many, and the first and the last id", "application/json", done),
            "400": problem("The key or the body is malformed, or a value is not of its column: `detail` names row and column"),
            "404": problem("There is no table of this name"),
            "413": problem("The body is over batch-bytes or batch-events, or a row over event-bytes"),
            "429": problem_with("retry-after", "One idempotency key (idempotency-keys) too many"),
        },
    })
}
