//! The same of queries, subscriptions, their streams and tables. In this order: what is made first is changed later, and
//! deleted in the end.

use super::{HANDSHAKE, Made, Recipe, recipe};

const ENCODED: &str = "content-encoding: gzip\r\n";
const STALE: &str = "if-match: \"stale\"\r\n";

/// What any request with a JSON body may be answered.
pub fn bodies(method: &str, path: &str, target: &str) -> [Recipe; 4] {
    let large = "x".repeat(1025);
    let endless = recipe(method, path, 408, target, "", "");
    let endless = Recipe {
        request: format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nx"
        ),
        ..endless
    };
    [
        recipe(method, path, 400, target, "", r#"{"other":1}"#),
        endless,
        recipe(method, path, 413, target, "", &large),
        recipe(method, path, 415, target, ENCODED, "{}"),
    ]
}

pub fn queries() -> Vec<Recipe> {
    const PATH: &str = "/queries/{name}";
    let sql = r#"{"sql":"select count(*) from metrics"}"#;
    let of = |method: &str, status, name: &str, headers: &str, body: &str| {
        let target = format!("/queries/{name}");
        recipe(method, PATH, status, &target, headers, body)
    };
    let mut all = vec![
        of("POST", 201, "q", "", sql),
        of("POST", 409, "q", "", sql),
        of("POST", 201, "r", "", sql),
        of("POST", 429, "s", "", sql),
        of("POST", 400, "a%2Fb", "", sql),
        of("POST", 400, "s", "", r#"{"sql":"select"}"#),
        of(
            "POST",
            400,
            "s",
            "",
            r#"{"sql":"select count(*) from metrics","every_ms":1}"#,
        ),
        of("PUT", 200, "q", "", sql),
        of("PUT", 200, "q", "if-match: \"a\", *\r\n", sql),
        of("PUT", 412, "q", STALE, sql),
        of("PUT", 400, "q", "if-match: stale\r\n", sql),
        of("PUT", 404, "none", "", sql),
    ];
    all.extend(bodies("POST", PATH, "/queries/s"));
    all.extend(bodies("PUT", PATH, "/queries/q"));
    for method in ["GET", "HEAD"] {
        all.push(of(method, 200, "q", "", ""));
        all.push(of(method, 404, "none", "", ""));
        all.push(of(method, 400, "a%2Fb", "", ""));
        let list = "/queries?limit=1&after=q";
        all.push(recipe(method, "/queries", 200, list, "", ""));
    }
    all.push(of("DELETE", 412, "q", STALE, ""));
    all.push(of("DELETE", 204, "q", "", ""));
    all.push(of("DELETE", 404, "q", "", ""));
    all
}

pub fn subscriptions(made: &Made) -> Vec<Recipe> {
    const ALL: &str = "/subscriptions";
    const PATH: &str = "/subscriptions/{id}";
    let of = |method: &str, status, id: &str, headers: &str, body: &str| {
        let target = format!("/subscriptions/{id}");
        recipe(method, PATH, status, &target, headers, body)
    };
    let body = r#"{"queries":["r"],"topics":["t"]}"#;
    let unknown = r#"{"queries":["none"]}"#;
    let mut all = vec![
        recipe("POST", ALL, 201, ALL, "", body),
        recipe("POST", ALL, 429, ALL, "", body),
        recipe("POST", ALL, 404, ALL, "", unknown),
        of("PUT", 200, &made.kept, "", r#"{"topics":["t"]}"#),
        of("PUT", 404, &made.kept, "", unknown),
        of("PUT", 404, "none", "", body),
        of("PUT", 412, &made.kept, STALE, body),
    ];
    all.extend(bodies("POST", ALL, ALL));
    all.extend(bodies(
        "PUT",
        PATH,
        &format!("/subscriptions/{}", made.kept),
    ));
    for method in ["GET", "HEAD"] {
        all.push(of(method, 200, &made.kept, "", ""));
        all.push(of(method, 404, "none", "", ""));
    }
    all.push(of("DELETE", 412, &made.deleted, STALE, ""));
    all.push(of("DELETE", 204, &made.deleted, "", ""));
    all.push(of("DELETE", 404, &made.deleted, "", ""));
    all
}

pub fn stream(id: &str) -> Vec<Recipe> {
    const PATH: &str = "/stream/{id}";
    let html = "accept: text/html\r\n";
    let old = HANDSHAKE.replace("13", "8");
    let mut all = Vec::new();
    for (method, status, query, headers) in [
        ("GET", 200, "?after=0-0&limit=1", ""),
        ("GET", 200, "?poll=1&after=0-0", ""),
        ("GET", 101, "", HANDSHAKE),
        ("GET", 400, "?after=x", ""),
        ("GET", 400, "?topic=t", ""),
        ("GET", 406, "", html),
        ("GET", 426, "", &*old),
        ("HEAD", 200, "", ""),
        ("HEAD", 200, "?poll=1", ""),
        ("HEAD", 406, "", html),
    ] {
        let target = format!("/stream/{id}{query}");
        all.push(recipe(method, PATH, status, &target, headers, ""));
    }
    all.push(recipe("GET", PATH, 404, "/stream/none", "", ""));
    all.push(recipe("HEAD", PATH, 404, "/stream/none", "", ""));
    all
}

pub fn tables() -> Vec<Recipe> {
    const ALL: &str = "/streams";
    const PATH: &str = "/streams/{name}";
    const INGEST: &str = "/streams/{name}/ingest";
    let of = |method: &str, status, name: &str| {
        recipe(method, PATH, status, &format!("/streams/{name}"), "", "")
    };
    let ingest = |status, name: &str, headers: &str, body: &str| {
        let target = format!("/streams/{name}/ingest");
        recipe("POST", INGEST, status, &target, headers, body)
    };
    let table = r#"{"name":"t","columns":[{"name":"a","type":"int64"}],"retention":{"rows":10,"age":"1h"}}"#;
    let another = table.replace(r#""name":"t""#, r#""name":"another""#);
    let row = r#"{"columns":["a"],"data":[[1]]}"#;
    let mut all = vec![
        recipe("POST", ALL, 201, ALL, "", table),
        recipe("POST", ALL, 409, ALL, "", table),
        recipe("POST", ALL, 429, ALL, "", &another),
        ingest(201, "t", "", row),
        ingest(201, "t", "", r#"{"data":[[1]]}"#),
        ingest(201, "t", "idempotency-key: one\r\n", row),
        ingest(429, "t", "idempotency-key: two\r\n", row),
        ingest(404, "none", "", row),
        ingest(400, "t", "", r#"{"data":[["x"]]}"#),
        ingest(413, "t", "", r#"{"data":[[1],[2]]}"#),
        recipe(
            "POST",
            "/publish/{topic}",
            400,
            "/publish/t",
            "content-type: application/json\r\n",
            r#"{"a":"x"}"#,
        ),
    ];
    all.extend(bodies("POST", ALL, ALL));
    let of_ingest = bodies("POST", INGEST, "/streams/t/ingest");
    // A batch may be larger.
    all.extend(of_ingest.into_iter().filter(|recipe| recipe.status != 413));
    for method in ["GET", "HEAD"] {
        all.push(recipe(method, ALL, 200, ALL, "", ""));
        all.push(of(method, 200, "t"));
        all.push(of(method, 404, "none"));
    }
    all.push(of("DELETE", 403, "metrics"));
    all.push(of("DELETE", 204, "t"));
    all.push(of("DELETE", 404, "t"));
    all
}
