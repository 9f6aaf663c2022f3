//! The same of collections. In this order: what is made first is changed later, and deleted in the end.

use super::live::bodies;
use super::{HANDSHAKE, Recipe, recipe};

const ALL: &str = "/api/v2/{collection}";
const ONE: &str = "/api/v2/{collection}/{id}";
const SCHEMA: &str = "/api/v2/{collection}/$schema";
const STALE: &str = "if-match: \"7\"\r\n";
const LINES: &str = "content-type: application/x-ndjson\r\n";

pub fn all() -> Vec<Recipe> {
    let mut all = documents();
    all.extend(lists());
    all.extend(schemas());
    all
}

fn documents() -> Vec<Recipe> {
    let post = |status, name: &str, headers: &str, body: &str| {
        recipe(
            "POST",
            ALL,
            status,
            &format!("/api/v2/{name}"),
            headers,
            body,
        )
    };
    let one = |method: &str, status, id: &str, headers: &str, body: &str| {
        recipe(
            method,
            ONE,
            status,
            &format!("/api/v2/c/{id}"),
            headers,
            body,
        )
    };
    let merge = "content-type: application/merge-patch+json\r\n";
    let json = "content-type: application/json-patch+json\r\n";
    let test = r#"[{"op":"test","path":"/n","value":7}]"#;
    let mut all = vec![
        post(201, "c", "", r#"{"id":1,"n":1}"#),
        post(201, "c", LINES, "{\"n\":2}\n"),
        post(409, "c", "", r#"{"id":1}"#),
        post(412, "c", STALE, r#"{"id":9}"#),
        post(400, "c", "", r#"{"id":true}"#),
        post(400, "1", "", "{}"),
        post(413, "c", LINES, "{}\n{}\n"),
        post(201, "d", "", "{}"),
        post(429, "e", "", "{}"),
        one("PUT", 201, "x", "", "{}"),
        one("PUT", 200, "x", "", "{}"),
        one("PUT", 412, "x", STALE, "{}"),
        one("PUT", 400, "x", "if-match: x\r\n", "{}"),
        recipe("PUT", ONE, 429, "/api/v2/e/1", "", "{}"),
        one("PATCH", 200, "x", merge, r#"{"n":1}"#),
        one("PATCH", 409, "x", json, test),
        one("PATCH", 412, "x", STALE, "{}"),
        one("PATCH", 404, "none", "", "{}"),
        one("PATCH", 415, "x", "content-type: text/plain\r\n", "{}"),
        one("DELETE", 412, "x", STALE, ""),
        one("DELETE", 404, "none", "", ""),
        one("DELETE", 400, "a%2Fb", "", ""),
        one("DELETE", 204, "x", "", ""),
    ];
    all.extend(bodies("POST", ALL, "/api/v2/c").map(malformed));
    all.extend(bodies("PUT", ONE, "/api/v2/c/1").map(malformed));
    all.extend(bodies("PATCH", ONE, "/api/v2/c/1").map(malformed));
    for method in ["GET", "HEAD"] {
        all.push(one(method, 200, "1", "", ""));
        all.push(one(method, 304, "1", "if-none-match: *\r\n", ""));
        all.push(one(method, 400, "a%2Fb", "", ""));
        all.push(one(method, 404, "none", "", ""));
    }
    all
}

/// What is no table or query may be a document: any object is.
fn malformed(of_bodies: Recipe) -> Recipe {
    let request = of_bodies
        .request
        .replace(r#"{"other":1}"#, r#"["other",1]"#);
    Recipe {
        request,
        ..of_bodies
    }
}

fn lists() -> Vec<Recipe> {
    let of = |method: &str, status, query: &str, headers: &str| {
        recipe(
            method,
            ALL,
            status,
            &format!("/api/v2/c?{query}"),
            headers,
            "",
        )
    };
    let html = "accept: text/html\r\n";
    let old = HANDSHAKE.replace("13", "8");
    let offer = |protocol: &str| format!("{HANDSHAKE}sec-websocket-protocol: {protocol}\r\n");
    let mut all = Vec::new();
    for method in ["GET", "HEAD"] {
        all.push(of(
            method,
            200,
            "page=1&per_page=2&sort=-n&filter[n][gt]=0",
            "",
        ));
        all.push(of(method, 400, "page=0", ""));
        all.push(of(method, 200, "watch=1&after=0-0&limit=1", ""));
        all.push(of(method, 200, "watch=1&poll=1&after=0-0", ""));
        all.push(of(method, 406, "watch=1", html));
    }
    all.push(of("GET", 101, "watch=1", HANDSHAKE));
    all.push(of("GET", 101, "", &offer("triwire.v1.json")));
    all.push(of("GET", 400, "watch=1", &offer("other")));
    all.push(of("GET", 400, "watch=1&topic=t", ""));
    all.push(of("GET", 426, "watch=1", &old));
    all.push(of("GET", 200, "watch=1&filter[n]=1&after=0-0&limit=1", ""));
    all.push(of("GET", 429, "watch=1&filter[n]=2", ""));
    all
}

fn schemas() -> Vec<Recipe> {
    let of = |method: &str, status, name: &str, body: &str| {
        recipe(
            method,
            SCHEMA,
            status,
            &format!("/api/v2/{name}/$schema"),
            "",
            body,
        )
    };
    let mut all = vec![
        of("PUT", 201, "c", "{}"),
        of("PUT", 200, "c", "{}"),
        of("PUT", 400, "c", r#"{"type":"none"}"#),
        of("PUT", 400, "1", "{}"),
        of("PUT", 429, "e", "{}"),
    ];
    all.extend(bodies("PUT", SCHEMA, "/api/v2/c/$schema").map(malformed));
    for method in ["GET", "HEAD"] {
        all.push(of(method, 200, "c", ""));
        all.push(of(method, 404, "d", ""));
        all.push(of(method, 400, "1", ""));
    }
    all.push(of("DELETE", 204, "c", ""));
    all.push(of("DELETE", 404, "c", ""));
    all.push(of("DELETE", 400, "1", ""));
    all
}
