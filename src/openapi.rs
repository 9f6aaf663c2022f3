//! `/openapi.json` (OpenAPI 3.1.1): the words in which paths are described, and the whole made of them.
//!
//! It knows no path but its own. Each is described beside the code that answers it, and `routes` gives the same
//! table to this module by which it answers requests.

use serde_json::{Map, Value, json};

/// Where the description is.
pub const PATH: &str = "/openapi.json";

/// A path, as OpenAPI writes it, and what it takes. `/publish/{topic}` is everything below `/publish/`; braces before
/// the end stand for one segment, of which there may be several. Those of the Timeplus dialect are written `[/{tenant}]/…[/]`: what is in brackets may
/// be left out.
#[derive(Debug)]
pub struct Path {
    /// The path.
    pub at: &'static str,
    /// Its methods. HEAD (as GET) and OPTIONS go without saying.
    pub operations: &'static [Operation],
}

/// A method, and its Operation Object.
pub type Operation = (&'static str, fn() -> Value);

impl Path {
    /// Its Operation Objects, by method as OpenAPI writes them.
    pub fn describe(&self) -> Map<String, Value> {
        let described = |(method, describe): &Operation| (method.to_lowercase(), describe());
        self.operations.iter().map(described).collect()
    }
}

/// How a path of the Timeplus dialect begins, which may stand below the name of a tenant, and how it ends.
const TENANT: &str = "[/{tenant}]";
const SLASH: &str = "[/]";

/// Whether `path` is meant by a path of the description.
pub fn means(at: &str, path: &str) -> bool {
    if let Some(at) = at.strip_prefix(TENANT) {
        return means(at, path) || below_tenant(path).is_some_and(|path| means(at, path));
    }
    if let Some(at) = at.strip_suffix(SLASH) {
        return means(at, path.strip_suffix('/').unwrap_or(path));
    }
    let Some((above, rest)) = at.split_once('{') else {
        return at == path;
    };
    let below = rest.split_once('}').map_or("", |(_, below)| below);
    path.strip_prefix(above).is_some_and(|rest| match below {
        "" => true,
        below => rest
            .split_once('/')
            .is_some_and(|(_, rest)| means(below, &format!("/{rest}"))),
    })
}

/// A path without its first segment, if more follows it.
pub fn below_tenant(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/')?;
    let end = path.find('/').filter(|end| *end > 0)?;
    Some(&path[end..])
}

/// The document of these paths, each with its Operation Objects by method.
pub fn document(paths: impl Iterator<Item = (&'static str, Map<String, Value>)>) -> Value {
    let paths: Map<String, Value> = paths
        .map(|(at, operations)| match at.strip_prefix(TENANT) {
            Some(at) => (
                at.trim_end_matches(SLASH).to_owned(),
                of_dialect(operations),
            ),
            None => (at.to_owned(), item(operations)),
        })
        .collect();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "triwire",
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Cursor": {
                    "description": "A place in the log, and the id of an event; opaque to clients",
                    "type": "string",
                    "pattern": "^[0-9]{1,20}-[0-9]{1,20}$",
                },
                "Problem": problem_schema(),
                "TimeplusError": timeplus_error(),
                "Topic": topic_schema(),
            },
            "responses": shared_responses(),
            "securitySchemes": {
                "ApiKey": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
                "Basic": { "type": "http", "scheme": "basic", "description": "A key as the password, of any user" },
            },
        },
    })
}

/// What [`always`] refers to.
fn shared_responses() -> Value {
    json!({
        "Malformed": problem("Malformed; `detail` says what, and what would be right"),
        "Foreign": problem("Asked by a page of a foreign origin, which may only GET, and without a WebSocket"),
        "Misdirected": problem("`Host` is neither an address nor a name of the certificate or allow-host"),
        "Unavailable": unavailable(),
    })
}

/// What holds for every path, and what OpenAPI has no place for.
const ABOUT: &str = "One event log on every wire. All listeners serve the same paths; they differ in the version of \
    HTTP, and in TLS.\n\n\
    Refusals are `application/problem+json` (RFC 9457). A path that is not here gets 404, a method that is not listed \
    405 with `allow`. What could not be parsed as HTTP gets 400 or 431 without a body, and HTTP/1.1 on the listener \
    of cleartext HTTP/2 gets 426 unless it can be upgraded.\n\n\
    While the server is full or draining, a request whose `Accept` names `text/event-stream` gets 200 in place of \
    503, with one event `busy` that says when to come back: an EventSource gives up for ever on any other status.\n\n\
    A WebSocket on HTTP/2 is an extended CONNECT (RFC 8441) to the same path, answered 200.\n\n\
    Paths below `/api/v1beta2` are the Timeplus dialect: they are there with and without the name of a tenant before \
    them, which says nothing, and with and without a slash at the end; their refusals have a form of their own, and \
    if the server has keys (api-key), a request needs one of them.";

/// The Path Item Object: what was described, what follows from it, and what holds for all.
fn item(mut operations: Map<String, Value>) -> Value {
    if let Some(get) = operations.get("get")
        && !operations.contains_key("head")
    {
        let head = head_of(get);
        operations.insert("head".to_owned(), head);
    }
    operations.insert("options".to_owned(), options());
    for (method, operation) in &mut operations {
        let takes = to_what_it_takes(operation);
        let responses = operation["responses"].as_object_mut();
        let responses = responses.expect("an operation has responses");
        for (status, response) in takes {
            responses.entry(status).or_insert(response);
        }
        for (status, name) in always(method) {
            let response = match method.as_str() {
                "head" => json!({ "description": format!("As of GET: {name}") }),
                _ => json!({ "$ref": format!("#/components/responses/{name}") }),
            };
            responses.entry(*status).or_insert(response);
        }
        responses.sort_keys();
    }
    let mut item = Map::new();
    let named = of_the_path(&mut operations);
    if !named.is_empty() {
        item.insert("parameters".to_owned(), named.into());
    }
    item.extend(operations);
    item.into()
}

/// The same for the Timeplus dialect: also below a tenant, perhaps with a key, and with refusals of its own form.
fn of_dialect(mut operations: Map<String, Value>) -> Value {
    for (method, operation) in &mut operations {
        let no_key = "The server has keys (api-key), and the request has none of them";
        operation["responses"]["401"] = problem_with("www-authenticate", no_key);
        if method == "head" {
            *operation = head_of(operation);
        }
        operation["security"] = json!([{}, { "ApiKey": [] }, { "Basic": [] }]);
    }
    let mut item = item(operations);
    let shared = shared_responses();
    let operations = item.as_object_mut().expect("an item is an object");
    let responses = operations
        .values_mut()
        .filter_map(|operation| operation.get_mut("responses")?.as_object_mut());
    for response in responses.flat_map(Map::values_mut) {
        if let Some(name) = response["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            *response = shared[name].clone();
        }
        if let Some(content) = response.get_mut("content").and_then(Value::as_object_mut)
            && content.remove("application/problem+json").is_some()
        {
            let schema = json!({ "$ref": "#/components/schemas/TimeplusError" });
            content.insert("application/json".to_owned(), json!({ "schema": schema }));
        }
    }
    let tenant = json!({ "default": "default", "description": "Any one segment" });
    item["servers"] =
        json!([{ "url": "/" }, { "url": "/{tenant}", "variables": { "tenant": tenant } }]);
    item
}

/// What stands in braces is there for every method, OPTIONS too.
fn of_the_path(operations: &mut Map<String, Value>) -> Vec<Value> {
    let mut named = Vec::new();
    for operation in operations.values_mut() {
        if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
            for parameter in parameters.extract_if(.., |p| p["in"] == "path") {
                if !named.contains(&parameter) {
                    named.push(parameter);
                }
            }
        }
    }
    named
}

/// What an operation may answer because it takes a body, or `If-Match`.
fn to_what_it_takes(operation: &Value) -> Vec<(&'static str, Value)> {
    let mut answers = Vec::new();
    if operation.get("requestBody").is_some() {
        let slow = "The body took longer than request-body to arrive";
        answers.push(("408", problem(slow)));
        answers.push(("415", problem("The body has a content-encoding")));
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    if parameters.is_some_and(|all| all.contains(&if_match())) {
        answers.push(("412", problem("It is not the one that If-Match names")));
    }
    answers
}

/// What every operation may answer.
fn always(method: &str) -> &'static [(&'static str, &'static str)] {
    const MALFORMED: (&str, &str) = ("400", "Malformed");
    const FOREIGN: (&str, &str) = ("403", "Foreign");
    const MISDIRECTED: (&str, &str) = ("421", "Misdirected");
    const UNAVAILABLE: (&str, &str) = ("503", "Unavailable");
    match method {
        "options" => &[MALFORMED, MISDIRECTED],
        "head" => &[MALFORMED, MISDIRECTED, UNAVAILABLE],
        _ => &[MALFORMED, FOREIGN, MISDIRECTED, UNAVAILABLE],
    }
}

/// HEAD is GET without a body, and no handshake.
pub fn head_of(get: &Value) -> Value {
    let mut head = get.clone();
    let responses = head["responses"].as_object_mut();
    let responses = responses.expect("an operation has responses");
    responses.retain(|status, _| !matches!(&**status, "101" | "403"));
    for (_, response) in responses {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    head
}

fn options() -> Value {
    let allow = json!({ "required": true, "schema": { "type": "string" } });
    let answer = json!({
        "description": "What this path takes; to a page of an allowed origin, also what CORS wants to know",
        "headers": { "allow": allow },
    });
    json!({ "summary": "What this path takes", "responses": { "204": answer } })
}

/// An answer that ends at once.
pub fn answer(description: &str, content_type: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { content_type: { "schema": schema } } })
}

/// An answer that says which version of a thing it is.
pub fn tagged_answer(description: &str, schema: Value) -> Value {
    let mut answer = answer(description, "application/json", schema);
    answer["headers"] = json!({ "etag": { "required": true, "schema": text() } });
    answer
}

/// An answer that says where what was made is, and which version of it this is.
pub fn made_answer(description: &str, schema: Value) -> Value {
    json!({
        "description": description,
        "headers": {
            "etag": { "required": true, "schema": text() },
            "location": { "required": true, "schema": text() },
        },
        "content": { "application/json": { "schema": schema } },
    })
}

/// A body that there must be.
pub fn json_body(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

/// `If-Match`, for a change that must not undo another's.
pub fn if_match() -> Value {
    let what = "Change it only if it is still this version: its etag";
    let tags = r##"^(\*|"[!#-+\--~]+"(, ?"[!#-+\--~]+")*)$"##;
    parameter(
        "header",
        "If-Match",
        what,
        json!({ "type": "string", "pattern": tags }),
    )
}

/// A refusal.
pub fn problem(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    answer(description, "application/problem+json", schema)
}

/// The same with a header that it always has.
pub fn problem_with(header: &str, description: &str) -> Value {
    let mut problem = problem(description);
    problem["headers"] = json!({ header: { "required": true, "schema": { "type": "string" } } });
    problem
}

fn unavailable() -> Value {
    problem_with(
        "retry-after",
        "The server is full or draining, or a table has not taken what was published before; come back later",
    )
}

/// A parameter: `place` is `query`, `header` or `path`.
pub fn parameter(place: &str, name: &str, description: &str, schema: Value) -> Value {
    json!({
        "name": name,
        "in": place,
        "description": description,
        "required": place == "path",
        "schema": schema,
    })
}

/// An object that has all of these members.
pub fn object(members: Value) -> Value {
    let required: Vec<&String> = members
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    json!({ "type": "object", "required": required, "properties": members })
}

/// A whole number, from 0 up.
pub fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

/// Any text.
pub fn text() -> Value {
    json!({ "type": "string" })
}

/// A cursor.
pub fn cursor() -> Value {
    json!({ "$ref": "#/components/schemas/Cursor" })
}

/// A topic's name: segments between / which are not empty, `.` or `..`.
pub fn topic() -> Value {
    json!({ "$ref": "#/components/schemas/Topic" })
}

fn topic_schema() -> Value {
    const SEGMENT: &str = r"(\.{0,2}[A-Za-z0-9_:-]|\.{3})[A-Za-z0-9._:-]*";
    json!({
        "description": "One that begins with $ is the server's own: it can be read, and not published on",
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": format!(r"^\$?{SEGMENT}(/{SEGMENT})*$"),
    })
}

fn problem_schema() -> Value {
    let mut schema = object(json!({
        "type": { "type": "string", "format": "uri-reference" },
        "title": text(),
        "status": { "type": "integer", "minimum": 400, "maximum": 599 },
        "detail": text(),
    }));
    schema["description"] = json!("RFC 9457; `detail` says what to do about it");
    let error = object(json!({ "pointer": text(), "detail": text() }));
    schema["properties"]["errors"] = json!({
        "description": "Where what was sent is wrong, by JSON Pointers",
        "type": "array",
        "items": error,
    });
    schema
}

fn timeplus_error() -> Value {
    let mut schema = object(json!({
        "code": { "type": "integer", "minimum": 400, "maximum": 599 },
        "message": text(),
        "system": text(),
    }));
    schema["description"] = json!(
        "How the Timeplus dialect refuses: `code` is the status, `message` says what to do about it"
    );
    schema
}

/// The description of the description.
pub fn describe() -> Value {
    let schema = object(
        json!({ "openapi": text(), "info": { "type": "object" }, "paths": { "type": "object" } }),
    );
    json!({
        "summary": "This description",
        "responses": { "200": answer("OpenAPI 3.1", "application/json", schema) },
    })
}

/// One operation of two that share a path and a method, told apart by what a request asks for.
pub fn merge(one: &mut Value, other: &Value) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in other {
                match one.get_mut(key) {
                    Some(had) => merge(had, value),
                    None => drop(one.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            let new: Vec<&Value> = other.iter().filter(|value| !one.contains(value)).collect();
            one.extend(new.into_iter().cloned());
        }
        (Value::String(one), Value::String(other)) if one != other => {
            one.push_str("; or: ");
            one.push_str(other);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_means() {
        let table = [
            ("/stats", "/stats", true),
            ("/stats", "/stats/", false),
            ("/publish/{topic}", "/publish/a/b", true),
            ("/publish/{topic}", "/publish", false),
            ("/streams/{name}/ingest", "/streams/t/ingest", true),
            ("/streams/{name}/ingest", "/streams/t", false),
            ("/streams/{name}/ingest", "/streams/a/b/ingest", false),
            ("/stream/{id}", "/streams/t", false),
            ("[/{tenant}]/a/b[/]", "/a/b", true),
            ("[/{tenant}]/a/b[/]", "/a/b/", true),
            ("[/{tenant}]/a/b[/]", "/a/b//", false),
            ("[/{tenant}]/a/b[/]", "/t/a/b/", true),
            ("[/{tenant}]/a/b[/]", "/a/a/b", true),
            ("[/{tenant}]/a/b[/]", "//a/b", false),
            ("[/{tenant}]/a/b[/]", "/t/u/a/b", false),
            ("[/{tenant}]/a/b[/]", "/b", false),
            ("[/{tenant}]/a/{b}[/]", "/t/a/c/", true),
            ("[/{tenant}]/a/{b}[/]", "/a/", false),
            ("[/{tenant}]/a/{b}/c[/]", "/t/a/b/c/", true),
        ];
        for (at, path, want) in table {
            assert_eq!(means(at, path), want, "{at} {path}");
        }
    }
}
