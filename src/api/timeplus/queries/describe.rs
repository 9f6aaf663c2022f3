//! What `/openapi.json` says of the dialect's queries.

use serde_json::{Value, json};

use super::{COUNT, DESCRIPTION_BYTES, MOST_COUNT, MOST_TIME_MS, NAME_BYTES, TAGS, TIME_MS};
use crate::openapi::{answer, count, json_body, object, parameter, problem, problem_with, text};

/// What is the same of both ways to make a query.
fn create(summary: &str) -> Value {
    let maybe = |kind: &str| json!({ "type": [kind, "null"] });
    let bounded = |kind: &str, bytes: usize| json!({ "type": [kind, "null"], "maxLength": bytes });
    let batching = json!({
        "type": ["object", "null"],
        "description": "How rows are gathered: so many, or those of so long; 0 and null say nothing",
        "properties": {
            "count": { "type": ["integer", "null"], "minimum": 0, "maximum": MOST_COUNT, "default": COUNT },
            "time_ms": { "type": ["integer", "null"], "minimum": 0, "maximum": MOST_TIME_MS, "default": TIME_MS },
        },
    });
    let mut tags = maybe("array");
    tags["maxItems"] = json!(TAGS);
    tags["items"] = json!({ "type": "string", "maxLength": NAME_BYTES });
    let schema = json!({
        "type": "object",
        "required": ["sql"],
        "properties": {
            "sql": text(),
            "name": bounded("string", NAME_BYTES),
            "description": bounded("string", DESCRIPTION_BYTES),
            "tags": tags,
            "batching_policy": batching,
        },
    });
    json!({
        "summary": summary,
        "requestBody": json_body(schema),
        "responses": {
            "204": { "description": "It was CREATE STREAM or DROP STREAM, and is done" },
            "400": problem("The body is malformed, or the SQL is not understood: `message` names the clause and its place"),
            "403": problem("DROP STREAM of one that is built in, or asked by a page of a foreign origin"),
            "404": problem("DROP STREAM of one that is not there"),
            "409": problem("CREATE STREAM of a name that is taken"),
            "413": problem("The body is over event-bytes, or the SQL over query-bytes"),
            "429": problem_with("retry-after", "One query (timeplus-queries) or stream (tables) too many"),
        },
    })
}

pub(in super::super) fn describe_create() -> Value {
    let mut operation = create("Run a query, and read its rows for as long as it runs");
    let what = "Events: `query` first, with the query; rows without a name, an array of arrays each; `metrics` each \
        second; `query` again when it has ended. A client that leaves cancels it";
    operation["responses"]["200"] = answer(what, "text/event-stream", text());
    operation
}

pub(in super::super) fn describe_made() -> Value {
    let mut operation = create("Run a query whose rows are read on a WebSocket: /ws/queries/{id}");
    operation["responses"]["201"] = json!({
        "description": "It runs, and ends if nobody comes for its rows within ten seconds",
        "headers": { "location": { "required": true, "schema": text() } },
        "content": { "application/json": { "schema": query() } },
    });
    operation
}

pub(in super::super) fn describe_list() -> Value {
    list_of(&query())
}

pub(in super::super) fn describe_list_with_metrics() -> Value {
    list_of(&with_metrics())
}

fn list_of(query: &Value) -> Value {
    let tag = parameter("query", "tag", "Only those with this tag", text());
    let all = json!({ "type": "array", "items": query });
    json!({
        "summary": "The queries that run, and those that have ended not long ago",
        "parameters": [tag],
        "responses": { "200": answer("The queries, the oldest first", "application/json", all) },
    })
}

pub(in super::super) fn describe_one() -> Value {
    one_of(query())
}

pub(in super::super) fn describe_one_with_metrics() -> Value {
    one_of(with_metrics())
}

fn one_of(query: Value) -> Value {
    json!({
        "summary": "A query",
        "parameters": [id()],
        "responses": {
            "200": answer("The query", "application/json", query),
            "404": unknown(),
        },
    })
}

pub(in super::super) fn describe_delete() -> Value {
    json!({
        "summary": "Cancel a query, and forget it",
        "parameters": [id()],
        "responses": {
            "204": { "description": "It is gone; its stream ends" },
            "404": unknown(),
        },
    })
}

pub(in super::super) fn describe_cancel() -> Value {
    json!({
        "summary": "Cancel a query; one that has ended stays as it is",
        "parameters": [id()],
        "responses": {
            "204": { "description": "It does not run; its stream ends" },
            "404": unknown(),
        },
    })
}

pub(in super::super) fn describe_analyze() -> Value {
    let mut asked = object(json!({ "sql": text() }));
    asked["description"] = json!("What could be sent as a query");
    json!({
        "summary": "What a query is made of, without running it",
        "requestBody": json_body(asked),
        "responses": {
            "200": answer("What it is made of", "application/json", analysis()),
            "400": problem("The body is malformed, or the SQL is not understood: `message` names the clause and its place"),
            "413": problem("The body is over event-bytes, or the SQL over query-bytes"),
        },
    })
}

fn id() -> Value {
    parameter("path", "id", "The query's id", text())
}

fn unknown() -> Value {
    problem("There is none with this id, or it has ended and is forgotten")
}

fn query() -> Value {
    let place = json!({ "type": "integer", "minimum": -1 });
    let column = object(json!({ "name": text(), "type": text() }));
    object(json!({
        "id": { "type": "string", "format": "uuid" },
        "sql": text(),
        "name": text(),
        "description": text(),
        "tags": { "type": "array", "items": text() },
        "sinks": { "type": "object" },
        "status": { "enum": ["running", "finished", "failed", "canceled"] },
        "message": text(),
        "start_time": count(),
        "end_time": count(),
        "duration": count(),
        "response_time": count(),
        "analysis": analysis(),
        "timeColumns": object(json!({ "eventTime": place, "indexTime": place, "windowStart": place, "windowEnd": place })),
        "result": object(json!({ "header": { "type": "array", "items": column } })),
    }))
}

fn with_metrics() -> Value {
    let mut query = query();
    query["properties"]["metrics"] = object(json!({
        "count": count(),
        "eps": count(),
        "processing_time": count(),
        "last_event_time": count(),
        "response_time": count(),
        "scanned_rows": count(),
        "scanned_bytes": count(),
    }));
    if let Some(required) = query["required"].as_array_mut() {
        required.push(json!("metrics"));
    }
    query
}

fn analysis() -> Value {
    let is = json!({ "type": "boolean" });
    let column = object(json!({
        "column": text(),
        "column_type": text(),
        "database": text(),
        "table": text(),
        "is_view": is,
    }));
    let columns = json!({ "type": "array", "items": column });
    object(json!({
        "has_aggr": is,
        "has_table_join": is,
        "has_union": is,
        "has_subquery": is,
        "is_streaming": is,
        "query_type": { "enum": ["SELECT", "CREATE", "DROP"] },
        "original_query": text(),
        "rewritten_query": text(),
        "required_columns": columns,
        "group_by_columns": { "type": "array", "items": text() },
        "result_columns": columns,
    }))
}
