//! The same of the Timeplus dialect. Its stream is again the only topic that there is room for.

use super::live::bodies;
use super::{Recipe, recipe};

pub fn all() -> Vec<Recipe> {
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
    all.extend(queries());
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

/// What is not there yet says so.
fn queries() -> Vec<Recipe> {
    let of = |(method, path)| recipe(method, path, 501, path, "", "");
    let all = [
        ("GET", "/api/v1beta2/queries"),
        ("HEAD", "/api/v1beta2/queries"),
        ("POST", "/api/v1beta2/queries"),
        ("GET", "/api/v1beta2/queries/{id}"),
        ("HEAD", "/api/v1beta2/queries/{id}"),
        ("DELETE", "/api/v1beta2/queries/{id}"),
        ("POST", "/api/v1beta2/queries/{id}/cancel"),
        ("POST", "/api/v1beta2/sqlanalyze"),
    ];
    all.map(of).into()
}
