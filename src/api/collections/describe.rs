//! What `/openapi.json` says of collections.

use serde_json::{Value, json};

use crate::openapi::{
    answer, count, cursor, if_match, made_answer, object, parameter, problem, problem_with,
    tagged_answer, text,
};

fn collection() -> Value {
    let name = json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$" });
    parameter("path", "collection", "The collection's name", name)
}

fn id() -> Value {
    let id = json!({ "oneOf": [{ "type": "integer" }, {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[^$/]",
    }] });
    parameter(
        "path",
        "id",
        "The document's id; what reads as an integer is one",
        id,
    )
}

fn a_document() -> Value {
    json!({
        "type": "object",
        "properties": { "id": { "type": ["integer", "string"] } },
    })
}

/// A document has its id.
fn kept_document() -> Value {
    let mut document = a_document();
    document["required"] = json!(["id"]);
    document
}

fn body() -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": a_document() } } })
}

fn if_none_match(what: &str) -> Value {
    parameter("header", "If-None-Match", what, text())
}

/// An answer to a change, which names its event.
fn told(mut answer: Value) -> Value {
    answer["headers"]["triwire-event"] = json!({
        "description": "The id of the event that tells of the change",
        "required": true,
        "schema": cursor(),
    });
    answer
}

fn too_large() -> Value {
    problem("It is over document-bytes or document-depth")
}

fn malformed() -> Value {
    problem(
        "The name, the id or the body is malformed, or the document is not what its schema says",
    )
}

fn no_document() -> Value {
    problem("There is no such document")
}

fn too_many() -> Value {
    problem_with("retry-after", "One collection (collections) too many")
}

pub(super) fn list() -> Value {
    let number = |most: u64| json!({ "type": "integer", "minimum": 1, "maximum": most });
    let page = object(json!({
        "items": { "type": "array", "items": kept_document() },
        "versions": { "type": "array", "items": count() },
        "page": count(),
        "per_page": count(),
        "total": count(),
        "cursor": cursor(),
    }));
    let filters = json!({ "type": "object", "additionalProperties": text() });
    json!({
        "summary": "List documents, or, with watch=1, read the changes of those that are asked for",
        "parameters": [
            collection(),
            parameter("query", "page", "Which page; the first is 1", number(1 << 53)),
            parameter("query", "per_page", "Documents of a page, up to page-documents; 50 without it", number(100_000)),
            parameter(
                "query", "sort",
                "Fields with commas between, each with - before it for the greatest first; then by id",
                text(),
            ),
            parameter(
                "query", "filter[FIELD]",
                "The value of a field, with dots for what is further inside; filter[FIELD][OPERATOR] compares by ne, lt, lte, gt, gte or in",
                filters,
            ),
            parameter("query", "watch", "1 is a stream of changes", json!({ "enum": ["0", "1"] })),
        ],
        "responses": {
            "200": answer("A page, how many there are on all, and the cursor from which to watch", "application/json", page),
            "400": problem("A name, a number, a field or a filter is malformed, or the schema has no such field"),
        },
    })
}

pub(super) fn post() -> Value {
    let bulk = object(json!({ "count": count(), "first": cursor(), "last": cursor() }));
    let lines = json!({ "type": "string", "description": "One document a line; all or none" });
    let mut body = body();
    body["content"]["application/x-ndjson"] = json!({ "schema": lines });
    let made = json!({ "oneOf": [kept_document(), bulk] });
    let mut answer = made_answer(
        "The document as it is kept; of many, their number and events",
        made,
    );
    for name in ["etag", "location"] {
        // Many have no one place.
        answer["headers"][name]["required"] = false.into();
    }
    json!({
        "summary": "Create a document, or many; an id that is not given is made",
        "parameters": [collection(), if_match(), if_none_match("* is understood: what is there is not replaced anyway")],
        "requestBody": body,
        "responses": {
            "201": told(answer),
            "400": malformed(),
            "409": problem("There is a document with this id"),
            "413": problem("It is over document-bytes or document-depth, or for many batch-bytes or batch-events"),
            "429": too_many(),
        },
    })
}

pub(super) fn document() -> Value {
    json!({
        "summary": "A document",
        "parameters": [collection(), id(), if_none_match("The etags that are known already")],
        "responses": {
            "200": tagged_answer("The document", kept_document()),
            "304": {
                "description": "It is one of the versions that If-None-Match names",
                "headers": { "etag": { "required": true, "schema": text() } },
            },
            "404": no_document(),
        },
    })
}

pub(super) fn put() -> Value {
    json!({
        "summary": "Replace a document, or create it",
        "parameters": [collection(), id(), if_match(), if_none_match("* creates and does not replace")],
        "requestBody": body(),
        "responses": {
            "200": told(tagged_answer("It is replaced", kept_document())),
            "201": told(made_answer("It is created", kept_document())),
            "400": malformed(),
            "413": too_large(),
            "429": too_many(),
        },
    })
}

pub(super) fn patch() -> Value {
    let patch = json!({ "type": "array", "items": { "type": "object" } });
    let body = json!({ "required": true, "content": {
        "application/merge-patch+json": { "schema": { "type": "object" } },
        "application/json-patch+json": { "schema": patch },
        "application/json": { "schema": { "type": ["object", "array"] } },
    } });
    json!({
        "summary": "Change a document by a merge patch (RFC 7396) or a JSON Patch (RFC 6902)",
        "parameters": [collection(), id(), if_match(), if_none_match("Only * is taken, which no document that is there matches")],
        "requestBody": body,
        "responses": {
            "200": told(tagged_answer("It is changed", kept_document())),
            "400": malformed(),
            "404": no_document(),
            "409": problem("The JSON Patch does not fit the document: a place is not there, or a test fails"),
            "413": problem("It is over document-bytes, document-depth or patch-operations"),
            "415": problem("The body has a content-encoding, or is of a type that is no patch, in which case accept-patch says which are"),
        },
    })
}

pub(super) fn delete() -> Value {
    json!({
        "summary": "Delete a document",
        "parameters": [collection(), id(), if_match(), if_none_match("Only * is taken, which no document that is there matches")],
        "responses": {
            "204": told(json!({ "description": "It is gone" })),
            "404": no_document(),
        },
    })
}

pub(super) fn schema() -> Value {
    json!({
        "summary": "What the documents of a collection must be",
        "parameters": [collection()],
        "responses": {
            "200": answer("A JSON Schema", "application/json", json!({ "type": "object" })),
            "404": problem("Nothing is said"),
        },
    })
}

pub(super) fn put_schema() -> Value {
    let schema = || json!({ "type": "object" });
    json!({
        "summary": "Say what the documents of a collection must be from now on",
        "parameters": [collection()],
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema() } } },
        "responses": {
            "200": answer("It is another now", "application/json", schema()),
            "201": json!({
                "description": "It is in force",
                "headers": { "location": { "required": true, "schema": text() } },
                "content": { "application/json": { "schema": schema() } },
            }),
            "400": problem("The name is malformed, or the body is no JSON Schema that can be used"),
            "413": too_large(),
            "429": too_many(),
        },
    })
}

pub(super) fn delete_schema() -> Value {
    json!({
        "summary": "Say no more what the documents of a collection must be; those that are there stay",
        "parameters": [collection()],
        "responses": {
            "204": { "description": "Documents may be anything" },
            "404": problem("Nothing was said"),
        },
    })
}
