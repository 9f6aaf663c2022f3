//! Named queries: `/queries` and `/queries/{name}`.

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{
    Api, Context, below, created, expected, no_content, read_json, tagged, understood, whole,
};
use crate::body::Body;
use crate::live::queries::{Asked, EVERY_MS, Name};
use crate::openapi::{
    Path, answer, count, cursor, if_match, json_body, made_answer, object, parameter, problem,
    problem_with, tagged_answer, text,
};
use crate::problem::Problem;

/// How many queries a list has, unless it is asked for fewer.
const LISTED: usize = 1000;

/// `/queries`.
pub struct Queries;

impl Api for Queries {
    fn paths(&self) -> &'static [Path] {
        &[
            Path {
                at: "/queries",
                operations: &[("GET", describe_list)],
            },
            Path {
                at: "/queries/{name}",
                operations: &[
                    ("GET", describe_one),
                    ("POST", describe_post),
                    ("PUT", describe_put),
                    ("DELETE", describe_delete),
                ],
            },
        ]
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        match request.uri().path() {
            "/queries" => std::future::ready(list(&request, context)).boxed(),
            _ => one(request, context).boxed(),
        }
    }
}

fn list(request: &Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (mut after, mut most) = (None, LISTED);
    let query = request.uri().query().unwrap_or("");
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "after" => after = Some(Name::new(&value)?),
            "limit" => most = limit(&value)?,
            _ => {}
        }
    }
    let (queries, are_more) = context.live.list_queries(after.as_ref(), most);
    let body = format!(r#"{{"queries":[{}],"more":{are_more}}}"#, queries.join(","));
    Ok(super::json(StatusCode::OK, body))
}

fn limit(text: &str) -> Result<usize, Problem> {
    let number = text.parse().ok().filter(|n| (1..=LISTED).contains(n));
    number.ok_or_else(|| {
        let detail = format!("limit is a number of queries, 1 to {LISTED}");
        Problem::bad_request("limit", detail)
    })
}

async fn one(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let read = below("/queries/", &head).and_then(|name| Name::new(&name));
    let read = read.and_then(|name| Ok((name, expected(&head)?)));
    let ((name, expected), body) = understood(read, body)?;
    let live = context.live.clone();
    let describe = |status| {
        let about = context.live.query(&name)?;
        Ok(tagged(super::json(status, about.clone()), &about))
    };
    match head.method {
        Method::POST => {
            let asked: Asked = read_json(&head, body, context).await?;
            whole(live.create_query(name.clone(), asked)).await?;
            Ok(created(
                describe(StatusCode::CREATED)?,
                &format!("/queries/{name}"),
            ))
        }
        Method::PUT => {
            let asked: Asked = read_json(&head, body, context).await?;
            whole(live.change_query(name.clone(), asked, expected)).await?;
            describe(StatusCode::OK)
        }
        Method::DELETE => {
            super::discard(body);
            whole(live.delete_query(name, expected)).await?;
            Ok(no_content())
        }
        _ => {
            super::discard(body);
            match describe(StatusCode::OK) {
                Err(_) => {
                    context.live.settle().await?;
                    describe(StatusCode::OK)
                }
                known => known,
            }
        }
    }
}

fn name() -> Value {
    parameter("path", "name", "The query's name", a_name())
}

/// What a query's name looks like, in JSON Schema.
pub(super) fn a_name() -> Value {
    json!({
        "type": "string",
        "pattern": r"^([A-Za-z0-9_:-]|\.[A-Za-z0-9_:-]|\.\.[A-Za-z0-9._:-])[A-Za-z0-9._:-]{0,127}$",
        "maxLength": 128,
    })
}

fn asked() -> Value {
    let every = json!({
        "type": "integer",
        "minimum": EVERY_MS.start(),
        "maximum": EVERY_MS.end(),
        "default": 1000,
        "description": "How often its result is looked at for changes, in milliseconds",
    });
    let temporary = json!({
        "type": "boolean",
        "default": false,
        "description": "Whether it goes with the last subscription that names it",
    });
    let schema = json!({
        "type": "object",
        "required": ["sql"],
        "properties": { "sql": text(), "every_ms": every, "temporary": temporary },
        "additionalProperties": false,
    });
    json_body(schema)
}

fn about(with_result: bool) -> Value {
    let or_null = |schema: Value| json!({ "oneOf": [schema, { "type": "null" }] });
    let mut members = json!({
        "name": text(),
        "sql": text(),
        "every_ms": count(),
        "temporary": { "type": "boolean" },
        "class": or_null(json!({ "enum": [1, 2, 3] })),
        "kind": or_null(json!({ "enum": ["rows", "groups", "whole"] })),
        "state": { "enum": ["idle", "running", "failed"] },
        "streams": count(),
        "results": count(),
        "runs": count(),
        "last_run_us": count(),
        "all_runs_us": count(),
        "etag": text(),
        "error": or_null(json!({ "$ref": "#/components/schemas/Problem" })),
    });
    if with_result {
        members["result_cursor"] = or_null(cursor());
        members["result"] = json!({});
    }
    object(members)
}

fn described(description: &str) -> Value {
    tagged_answer(description, about(true))
}

fn describe_list() -> Value {
    let queries = json!({ "type": "array", "items": about(false) });
    let list = object(json!({ "queries": queries, "more": { "type": "boolean" } }));
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LISTED, "default": LISTED });
    json!({
        "summary": "The queries, by name",
        "parameters": [
            parameter("query", "after", "Only those after this name", a_name()),
            parameter("query", "limit", "At most so many", limit),
        ],
        "responses": { "200": answer("The queries", "application/json", list) },
    })
}

fn describe_one() -> Value {
    json!({
        "summary": "A query, with its last result",
        "parameters": [name()],
        "responses": {
            "200": described("The query"),
            "404": problem("There is none of this name"),
        },
    })
}

fn describe_post() -> Value {
    json!({
        "summary": "Make a query",
        "parameters": [name()],
        "requestBody": asked(),
        "responses": {
            "201": made_answer("It is there, and runs while somebody watches it", about(true)),
            "400": problem("The name or the body is malformed, or the SQL is; `detail` says where"),
            "409": problem("There is a query of this name"),
            "413": problem("The body is over event-bytes, or the SQL over query-bytes"),
            "429": problem_with("retry-after", "One query (queries) too many"),
        },
    })
}

fn describe_put() -> Value {
    json!({
        "summary": "Change a query; its streams go on with the new one",
        "parameters": [name(), if_match()],
        "requestBody": asked(),
        "responses": {
            "200": described("It is changed"),
            "400": problem("The name, If-Match or the body is malformed, or the SQL is; `detail` says where"),
            "404": problem("There is none of this name"),
            "413": problem("The body is over event-bytes, or the SQL over query-bytes"),
        },
    })
}

fn describe_delete() -> Value {
    json!({
        "summary": "Delete a query; its streams are told",
        "parameters": [name(), if_match()],
        "responses": {
            "204": { "description": "It is gone" },
            "404": problem("There is none of this name"),
        },
    })
}
