//! What is refused, and how it is said.

use serde_json::{Value, json};

use super::desk::Desk;
use super::support::client::link::Call;
use super::support::client::publisher::Answer;
use super::support::server::Server;

fn refused(answer: &Answer, status: u16, kind: &str, part: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.body["type"],
        format!("/problems/{kind}"),
        "{answer:?}"
    );
    let detail = answer.body["detail"].as_str().expect("a detail");
    assert!(detail.contains(part), "{detail}");
}

fn etag(answer: &Answer) -> String {
    let tag = answer.headers["etag"].to_str().expect("ASCII").to_owned();
    assert_eq!(
        tag,
        format!("\"{}\"", answer.body["etag"].as_str().expect("an etag"))
    );
    tag
}

#[tokio::test]
async fn queries() {
    let server = Server::start(&["--queries=2"]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    let count = json!({ "sql": "select count(*) from t" });
    let made = desk.post("/queries/q", count.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.headers["location"], "/queries/q");
    assert_eq!(made.body["every_ms"], 1000);
    assert_eq!(made.body["state"], "idle");
    refused(
        &desk.post("/queries/q", count.clone()).await,
        409,
        "query-exists",
        "q",
    );
    refused(
        &desk.put("/queries/x", count.clone()).await,
        404,
        "unknown-query",
        "x",
    );
    refused(&desk.get("/queries/x").await, 404, "unknown-query", "x");
    refused(&desk.delete("/queries/x").await, 404, "unknown-query", "x");
    for name in ["a%20b", "a%2Fb", "%C3%A4", "..", "", &"x".repeat(129)] {
        let answer = desk.post(&format!("/queries/{name}"), count.clone()).await;
        refused(&answer, 400, "query-name", "1 to 128");
    }
    for (body, kind, part) in [
        (json!({}), "body", "sql"),
        (json!({ "sql": 1 }), "body", "string"),
        (
            json!({ "sql": "select 1", "evry_ms": 5 }),
            "body",
            "evry_ms",
        ),
        (
            json!({ "sql": "select 1", "every_ms": 49 }),
            "every-ms",
            "50 to 3600000",
        ),
        (
            json!({ "sql": "select 1", "every_ms": 3_600_001 }),
            "every-ms",
            "50 to 3600000",
        ),
    ] {
        refused(&desk.post("/queries/r", body).await, 400, kind, part);
    }
    let wrong = desk
        .post(
            "/queries/r",
            json!({ "sql": "select count(*)\nfrom t where" }),
        )
        .await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let wrong = desk
        .post("/queries/r", json!({ "sql": "select nn from t" }))
        .await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    assert_eq!(desk.post("/queries/r", count.clone()).await.status, 201);
    let many = desk.post("/queries/s", count.clone()).await;
    refused(&many, 429, "too-many", "queries");
    assert!(many.headers.contains_key("retry-after"));

    let list = desk.get("/queries").await.body;
    let queries = list["queries"].as_array().expect("a list");
    let names: Vec<&Value> = queries.iter().map(|query| &query["name"]).collect();
    assert_eq!(names, ["q", "r"]);
    assert_eq!(list["more"], false);
    let list = desk.get("/queries?limit=1&after=q").await.body;
    assert_eq!(
        (&list["queries"][0]["name"], &list["more"]),
        (&json!("r"), &json!(false))
    );
    assert_eq!(desk.get("/queries?limit=1").await.body["more"], true);
}

#[tokio::test]
async fn a_change_that_would_undo_anothers_is_refused() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.query("q", "select count(*) from t").await;
    let id = desk.subscription(&[], &["a"]).await;
    let bodies = [
        (
            "/queries/q".to_owned(),
            json!({ "sql": "select sum(n) from t" }),
        ),
        (format!("/subscriptions/{id}"), json!({ "topics": ["b"] })),
    ];
    for (path, body) in bodies {
        let first = etag(&desk.get(&path).await);
        let put = |tag: &str| Call::put(path.clone(), body.to_string()).with("if-match", tag);
        let changed = desk.publisher.call(put(&first)).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        let second = etag(&changed);
        assert_ne!(first, second);
        // In quotes a star is an etag like others.
        for tag in [&first, &format!("W/{second}"), "\"*\""] {
            refused(&desk.publisher.call(put(tag)).await, 412, "changed", "etag");
        }
        refused(
            &desk.publisher.call(put("bare")).await,
            400,
            "if-match",
            "quotes",
        );
        assert_eq!(etag(&desk.get(&path).await), second);
        let several = format!("{first}, {second}");
        assert_eq!(desk.publisher.call(put(&several)).await.status, 200);
        let stale = Call::delete(path.clone()).with("if-match", &first);
        refused(&desk.publisher.call(stale).await, 412, "changed", "etag");
        let any = Call::delete(path.clone()).with("if-match", "*");
        assert_eq!(desk.publisher.call(any).await.status, 204);
        assert_eq!(desk.get(&path).await.status, 404);
    }
}

#[tokio::test]
async fn subscriptions() {
    let server = Server::start(&["--subscriptions=1", "--reader-topics=3"]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.query("q", "select count(*) from t").await;
    let asked = json!({ "queries": ["q", "x", "y"] });
    let unknown = desk.post("/subscriptions", asked).await;
    refused(&unknown, 404, "unknown-query", "x, y");
    for (body, kind, part) in [
        (json!([]), "body", "object"),
        (json!({ "query": ["q"] }), "body", "query"),
        (
            json!({ "topics": ["a", "b", "c", "d"] }),
            "too-many-topics",
            "3",
        ),
        (json!({ "topics": ["a//b"] }), "topic", "topic"),
        (json!({ "topics": ["$query/q"] }), "topic", "queries"),
    ] {
        let answer = desk.post("/subscriptions", body).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        if kind != "body" {
            refused(&answer, 400, kind, part);
        }
    }
    let doubled = json!({ "queries": ["q", "q"], "topics": ["a", "a", "b"] });
    let made = desk.post("/subscriptions", doubled).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["queries"], json!(["q"]));
    assert_eq!(made.body["topics"], json!(["a", "b"]));
    let id = made.body["subscription_id"].as_str().expect("an id");
    assert_eq!(
        made.headers["location"],
        format!("/subscriptions/{id}").as_str()
    );
    assert!(
        id.len() >= 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    let many = desk.post("/subscriptions", json!({})).await;
    refused(&many, 429, "too-many", "subscriptions");
    let path = format!("/subscriptions/{id}");
    let unknown = desk.put(&path, json!({ "queries": ["x"] })).await;
    refused(&unknown, 404, "unknown-query", "x");
    for path in ["/subscriptions/x", "/stream/x", "/stream/x?poll=1"] {
        refused(
            &desk.get(path).await,
            404,
            "unknown-subscription",
            "subscription",
        );
    }
    let topic = desk.get(&format!("/stream/{id}?topic=a")).await;
    refused(&topic, 400, "topic", "PUT");
}

#[tokio::test]
async fn tables() {
    let server = Server::start(&["--tables=3", "--table-rows=1000"]);
    let mut desk = Desk::of(&server).await;
    let columns = json!([{ "name": "n", "type": "int64" }]);
    for (body, part) in [
        (json!({ "name": "t" }), "columns"),
        (json!({ "name": "t", "columns": [] }), "column"),
        (json!({ "name": "a/b", "columns": columns }), "a/b"),
        (
            json!({ "name": "t", "columns": [{ "name": "n", "type": "blob" }] }),
            "blob",
        ),
        (
            json!({ "name": "t", "columns": columns, "retention": { "rows": 0 } }),
            "1 to 1000",
        ),
        (
            json!({ "name": "t", "columns": columns, "retention": { "rows": 1001 } }),
            "table-rows",
        ),
        (
            json!({ "name": "t", "columns": columns, "retention": { "age": "1" } }),
            "30s",
        ),
        (json!({ "name": "t", "columns": columns, "ttl": 1 }), "ttl"),
    ] {
        let answer = desk.post("/streams", body).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let detail = answer.body["detail"].as_str().expect("a detail");
        assert!(detail.contains(part), "{detail}: {part}");
    }
    desk.table("t").await;
    let about = desk.get("/streams/t").await.body;
    assert_eq!(about["columns"], columns);
    assert_eq!(about["retention"], json!({ "rows": 1000, "age": null }));
    let again = json!({ "name": "t", "columns": columns });
    assert_eq!(desk.post("/streams", again).await.status, 409);
    let another = json!({ "name": "u", "columns": columns });
    assert_eq!(desk.post("/streams", another).await.status, 429);
    refused(
        &desk.delete("/streams/metrics").await,
        403,
        "built-in",
        "metrics",
    );
    assert_eq!(desk.delete("/streams/t").await.status, 204);
    refused(&desk.get("/streams/t").await, 404, "unknown-table", "t");
    let names = desk.get("/streams").await.body;
    let names = names["streams"].as_array().expect("a list").iter();
    let names: Vec<&Value> = names.map(|table| &table["name"]).collect();
    assert!(
        names.contains(&&json!("calls")) && names.contains(&&json!("metrics")),
        "{names:?}"
    );
    assert_eq!(names.len(), 2);
}
