//! The same of the Timeplus dialect. Its stream is again the only topic that there is room for.

use super::live::bodies;
use super::{HANDSHAKE, Made, Recipe, recipe};

pub fn all(made: &Made) -> Vec<Recipe> {
    let mut all = streams();
    all.extend(ingest());
    for method in ["GET", "HEAD"] {
        let views = "/api/v1beta2/views";
        all.push(recipe(
            method,
            views,
            200,
            "/tenant/api/v1beta2/views/",
            "",
            "",
        ));
    }
    all.extend(statements());
    all.extend(queries(made));
    let one = "/api/v1beta2/streams/{name}";
    for (status, name) in [(403, "metrics"), (204, "t"), (404, "t")] {
        let target = format!("/api/v1beta2/streams/{name}");
        all.push(recipe("DELETE", one, status, &target, "", ""));
    }
    all
}

fn streams() -> Vec<Recipe> {
    const ALL: &str = "/api/v1beta2/streams";
    const ONE: &str = "/api/v1beta2/streams/{name}";
    let stream = r#"{"name":"t","columns":[{"name":"a","type":"int64"}],"mode":"append","primary_key":null}"#;
    let another = stream.replace(r#""name":"t""#, r#""name":"another""#);
    let mut all = vec![
        recipe("POST", ALL, 201, "/tenant/api/v1beta2/streams/", "", stream),
        recipe("POST", ALL, 409, ALL, "", stream),
        recipe("POST", ALL, 429, ALL, "", &another),
    ];
    all.extend(bodies("POST", ALL, ALL));
    for method in ["GET", "HEAD"] {
        all.push(recipe(method, ALL, 200, ALL, "", ""));
        for (status, name) in [(200, "t"), (404, "none"), (400, "%ff")] {
            let target = format!("/api/v1beta2/streams/{name}");
            all.push(recipe(method, ONE, status, &target, "", ""));
        }
    }
    all
}

fn ingest() -> Vec<Recipe> {
    const PATH: &str = "/api/v1beta2/streams/{name}/ingest";
    let of = |status, target: &str, headers: &str, body: &str| {
        let target = format!("/api/v1beta2/streams/{target}");
        recipe("POST", PATH, status, &target, headers, body)
    };
    let row = r#"{"columns":["a"],"data":[[1]]}"#;
    let lines = "content-type: application/x-ndjson\r\n";
    let mut all = vec![
        of(200, "t/ingest", "", row),
        of(200, "t/ingest?format=streaming", "", r#"{"a":1}"#),
        of(200, "t/ingest", lines, r#"{"a":1}"#),
        of(200, "t/ingest", "idempotency-key: one\r\n", row),
        of(400, "t/ingest?format=csv", "", row),
        of(400, "t/ingest", "", r#"{"data":[["x"]]}"#),
        of(404, "none/ingest", "", row),
        of(413, "t/ingest", "", r#"{"data":[[1],[2]]}"#),
        of(429, "t/ingest", "idempotency-key: two\r\n", row),
    ];
    let bodies = bodies("POST", PATH, "/api/v1beta2/streams/t/ingest");
    // A batch may be larger.
    all.extend(bodies.into_iter().filter(|recipe| recipe.status != 413));
    all
}

/// What is run, in the order in which there is room for it.
fn statements() -> Vec<Recipe> {
    let mut all = Vec::new();
    for (base, status) in [("/api/v1beta2", 200), ("/api/v1beta1", 201)] {
        let path = format!("{base}/queries");
        let post = |status, sql: &str| {
            let body = serde_json::json!({ "sql": sql }).to_string();
            recipe("POST", &path, status, &format!("/tenant{path}/"), "", &body)
        };
        all.extend([
            post(status, "select a from table(t)"),
            post(204, "drop stream if exists none"),
            post(400, "select"),
            post(403, "drop stream metrics"),
            post(404, "drop stream none"),
            post(409, "create stream metrics (a int8)"),
            post(429, "create stream another (a int8)"),
        ]);
        all.extend(bodies("POST", &path, &path));
        for method in ["GET", "HEAD"] {
            all.push(recipe(method, &path, 200, &format!("{path}?tag=a"), "", ""));
            all.push(recipe(
                method,
                &path,
                400,
                &format!("{path}?tag=%00"),
                "",
                "",
            ));
        }
    }
    const ANALYZE: &str = "/api/v1beta2/sqlanalyze";
    for (status, sql) in [(200, "select a from t"), (400, "select b from t")] {
        let body = format!(r#"{{"sql":"{sql}"}}"#);
        all.push(recipe("POST", ANALYZE, status, ANALYZE, "", &body));
    }
    all.extend(bodies("POST", ANALYZE, ANALYZE));
    all
}

/// What is asked of a query; it is gone in the end.
fn queries(made: &Made) -> Vec<Recipe> {
    let mut all = Vec::new();
    const ROWS: &str = "/ws/queries/{id}";
    let old = HANDSHAKE.replace("13", "8");
    let bad = HANDSHAKE.replace("dGhl", "");
    for (status, id, headers) in [
        (101, &*made.queries[0], HANDSHAKE),
        (409, &made.queries[0], HANDSHAKE),
        (404, "none", HANDSHAKE),
        (400, "none", &bad),
        (426, "none", &old),
        (426, "none", ""),
    ] {
        let target = format!("/tenant/ws/queries/{id}");
        all.push(recipe("GET", ROWS, status, &target, headers, ""));
    }
    all.push(recipe("HEAD", ROWS, 426, ROWS, HANDSHAKE, ""));
    for base in ["/api/v1beta2", "/api/v1beta1"] {
        let of = |method: &str, status, id: &str, more: &str| {
            let path = format!("{base}/queries/{{id}}{more}");
            let target = format!("{base}/queries/{id}{more}/");
            recipe(method, &path, status, &target, "", "")
        };
        let id = match base {
            "/api/v1beta2" => &made.queries[0],
            _ => &made.queries[1],
        };
        for (status, id) in [(200, &**id), (404, "none"), (400, "%ff")] {
            all.extend(["GET", "HEAD"].map(|method| of(method, status, id, "")));
        }
        for (status, id) in [(204, &**id), (404, "none"), (400, "%ff")] {
            all.push(of("POST", status, id, "/cancel"));
        }
        for (status, id) in [(204, &**id), (404, "none"), (400, "%ff")] {
            all.push(of("DELETE", status, id, ""));
        }
    }
    all
}
