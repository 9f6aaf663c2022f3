//! Queries: the query first, rows, metrics each second, and the query again when it has ended, whatever ends it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, at, message};
use super::running::{Event, Running, check};
use super::support::client::link::{Call, Link, Target};
use super::support::server::{PATIENCE, Server};

const COLUMNS: [(&str, &str); 2] = [("in_use", "bool"), ("speed", "float64")];

/// A server with a stream `iot`.
async fn with_iot(args: &[&str]) -> (Server, Target, Client) {
    let server = Server::start(args);
    let mut client = Client::of(&server).await;
    client.stream("iot", &COLUMNS).await;
    let target = Target::of(&server);
    (server, target, client)
}

async fn ingest(client: &mut Client, rows: &Value) {
    let body = json!({ "columns": ["in_use", "speed"], "data": rows }).to_string();
    let done = client
        .ingest("/streams/iot/ingest", "application/json", &body)
        .await;
    assert_eq!(done.status, 200, "{done:?}");
}

/// Asks about a query until it is in this state.
async fn until(client: &mut Client, id: &str, status: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let query = client.get(&format!("/queries/{id}")).await;
        assert_eq!(query.status, 200, "{query:?}");
        if query.body["status"] == status {
            check(&query.body);
            return query.body;
        }
        assert!(Instant::now() < deadline, "not {status}: {query:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn running(client: &mut Client) -> usize {
    let all = client.get("/queries").await;
    let all = all.body.as_array().expect("a list").clone();
    all.iter().filter(|q| q["status"] == "running").count()
}

async fn until_none_runs(client: &mut Client) {
    let deadline = Instant::now() + PATIENCE;
    while running(client).await > 0 {
        assert!(Instant::now() < deadline, "some still run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn stored_rows_and_the_end_on_every_link() {
    let (_server, target, mut client) = with_iot(&[]).await;
    let rows = json!([[true, 73.85], [false, 77.1], [true, 80.0]]);
    ingest(&mut client, &rows).await;
    // The request that upgrades has no body.
    for link in Link::ALL.into_iter().filter(|l| *l != Link::H2cUpgrade) {
        let body = json!({
            "sql": "select in_use, speed from table(iot)",
            "name": "stored", "description": "all", "tags": ["a", "b"],
            "batching_policy": { "count": 2, "time_ms": 10 },
        });
        let mut query = Running::over(&target, link, body).await;
        let begun = query.query.clone();
        assert_eq!(begun["status"], "running", "{link}");
        assert_eq!(
            (&begun["name"], &begun["description"]),
            (&json!("stored"), &json!("all"))
        );
        assert_eq!(
            (&begun["end_time"], &begun["duration"]),
            (&json!(0), &json!(0))
        );
        let header = json!([
            { "name": "in_use", "type": "bool" },
            { "name": "speed", "type": "float64" },
        ]);
        assert_eq!(begun["result"]["header"], header, "{link}");
        assert_eq!(begun["analysis"]["is_streaming"], false);
        let (got, ended) = query.rest().await;
        assert_eq!(json!(got), rows, "{link}");
        assert_eq!(ended["status"], "finished", "{link}: {ended}");
        assert_eq!(ended["message"], "");
        let times = ["start_time", "end_time", "duration"].map(|t| ended[t].as_u64().expect("ms"));
        assert_eq!(times[0] + times[2], times[1]);
        // Not what it was when it began, and the same as is said of it now.
        let kept = client.get(&format!("/queries/{}", query.id)).await;
        assert_eq!(kept.body, ended, "{link}");
    }
}

#[tokio::test]
async fn live_rows_go_by_count_and_by_time() {
    let (_server, target, mut client) = with_iot(&[]).await;
    let body = |count: u64, time_ms: u64| {
        json!({
            "sql": "select speed from iot",
            "batching_policy": { "count": count, "time_ms": time_ms },
        })
    };
    let mut by_count = Running::over(&target, Link::Http1, body(2, 60_000)).await;
    let mut by_time = Running::over(&target, Link::Http1, body(10_000, 50)).await;
    ingest(
        &mut client,
        &json!([[true, 1], [true, 2], [true, 3], [true, 4], [true, 5]]),
    )
    .await;
    for want in [json!([[1.0], [2.0]]), json!([[3.0], [4.0]])] {
        loop {
            match by_count.next().await {
                Some(Event::Rows(rows)) => {
                    assert_eq!(json!(rows), want);
                    break;
                }
                Some(Event::Metrics(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(by_time.rows(5).await.len(), 5);
    // The fifth waits for a sixth, and is not forgotten when the query ends by itself; a cancel wants no more.
    ingest(&mut client, &json!([[true, 6]])).await;
    assert_eq!(json!(by_count.rows(2).await), json!([[5.0], [6.0]]));
}

#[tokio::test]
async fn metrics_come_each_second_and_are_true() {
    let (_server, target, mut client) = with_iot(&[]).await;
    let mut query = Running::of(&target, "select * from iot where speed > 1").await;
    let began = Instant::now();
    let metrics = query.metrics().await;
    assert_eq!(
        (&metrics["count"], &metrics["scanned_rows"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(
        (&metrics["response_time"], &metrics["last_event_time"]),
        (&json!(0), &json!(0))
    );
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "not before a second is over"
    );
    ingest(&mut client, &json!([[true, 1], [true, 2], [true, 3]])).await;
    query.rows(2).await;
    let metrics = query.metrics().await;
    assert_eq!(
        (&metrics["count"], &metrics["scanned_rows"]),
        (&json!(2), &json!(3))
    );
    for member in [
        "scanned_bytes",
        "last_event_time",
        "response_time",
        "processing_time",
    ] {
        assert!(
            metrics[member].as_u64().is_some_and(|n| n > 0),
            "{member}: {metrics}"
        );
    }
    let [count, eps, ms] = ["count", "eps", "processing_time"].map(|m| metrics[m].as_u64());
    assert_eq!(eps, count.zip(ms).map(|(count, ms)| count * 1000 / ms));
}

#[tokio::test]
async fn rows_that_are_late_are_counted() {
    let (_server, target, mut client) = with_iot(&[]).await;
    let sql = "select window_start, count() from tumble(iot, 5s) group by window_start";
    let mut query = Running::of(&target, sql).await;
    let rows = json!({
        "columns": ["in_use", "speed", "_tp_time"],
        "data": [[true, 1, 1_000], [true, 1, 6_000], [true, 1, 2_000]],
    });
    let done = client.post("/streams/iot/ingest", rows).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(
        query.rows(1).await,
        [json!(["1970-01-01T00:00:00.000Z", 1])]
    );
    let metrics = query.metrics().await;
    assert_eq!(metrics["late_rows"], 1, "{metrics}");
}

#[tokio::test]
async fn cancelled_is_ended_and_said() {
    let (_server, target, mut client) = with_iot(&[]).await;
    for link in [Link::Http1, Link::Http2] {
        let body = json!({ "sql": "select * from iot" });
        let mut query = Running::over(&target, link, body).await;
        let path = format!("/queries/{}", query.id);
        let cancel = format!("{path}/cancel");
        for _ in 0..2 {
            let call = Call::post(at(&cancel), "null");
            assert_eq!(client.publisher.call(call).await.status, 204);
        }
        let (rows, ended) = query.rest().await;
        assert_eq!(
            (rows.len(), &ended["status"]),
            (0, &json!("canceled")),
            "{ended}"
        );
        assert_eq!(client.get(&path).await.body, ended);
    }
    let mut query = Running::of(&target, "select * from iot").await;
    let path = format!("/queries/{}", query.id);
    assert_eq!(client.delete(&path).await.status, 204);
    assert_eq!(query.rest().await.1["status"], "canceled");
    for answer in [
        client.get(&path).await,
        client.delete(&path).await,
        client.post(&format!("{path}/cancel"), Value::Null).await,
    ] {
        assert!(message(&answer, 404).contains(&query.id));
    }
}

#[tokio::test]
async fn who_leaves_cancels() {
    let (server, target, mut client) = with_iot(&[]).await;
    for link in [Link::Http1, Link::H2c, Link::Http2, Link::Http1s] {
        let body = json!({ "sql": "select * from iot" });
        let query = Running::over(&target, link, body).await;
        let id = query.id.clone();
        drop(query);
        let ended = until(&mut client, &id, "canceled").await;
        assert!(
            ended["message"]
                .as_str()
                .is_some_and(|m| m.contains("left")),
            "{ended}"
        );
    }
    server.until("no stream is left", |stats| {
        ["sse_http1", "sse_http2"]
            .iter()
            .all(|w| stats["wires"][w]["streams"] == 0)
    });
}

#[tokio::test]
async fn a_thousand_that_leave_at_once_leave_nothing() {
    let (server, target, mut client) = with_iot(&["--timeplus-ended=3"]).await;
    let mut queries = Vec::new();
    for _ in 0..1000 {
        let body = json!({ "sql": "select * from iot" });
        queries.push(Running::over(&target, Link::Http1, body).await);
    }
    assert_eq!(running(&mut client).await, 1000);
    let one_more = json!({ "sql": "select * from iot" });
    let refused = Running::try_over(&target, Link::Http1, one_more).await;
    let refused = refused.err().expect("one too many");
    assert!(message(&refused, 429).contains("timeplus-queries"));
    assert!(refused.headers.contains_key("retry-after"));
    drop(queries);
    until_none_runs(&mut client).await;
    let kept = client.get("/queries").await;
    assert_eq!(kept.body.as_array().map(Vec::len), Some(3));
    server.until("all have left", |stats| {
        stats["wires"]["sse_http1"]["streams"] == 0
    });
}

#[tokio::test]
async fn what_has_ended_is_forgotten() {
    let (_server, target, mut client) = with_iot(&["--timeplus-ended-for=0s"]).await;
    let mut query = Running::of(&target, "select * from table(iot)").await;
    query.rest().await;
    let path = format!("/queries/{}", query.id);
    message(&client.get(&path).await, 404);
    assert_eq!(client.get("/queries").await.body, json!([]));
}

#[tokio::test]
async fn lists_have_the_oldest_first_and_those_with_a_tag() {
    let (_server, target, mut client) = with_iot(&[]).await;
    let mut open = Vec::new();
    for tags in [json!(["x"]), json!(null), json!(["y", "x"])] {
        let body = json!({ "sql": "select * from iot", "tags": tags });
        open.push(Running::over(&target, Link::Http1, body).await);
    }
    let ids = async |client: &mut Client, path: &str| -> Vec<String> {
        let list = client.get(path).await;
        let list = list.body.as_array().expect("a bare array").clone();
        list.iter().for_each(check);
        let id = |query: &Value| query["id"].as_str().expect("an id").to_owned();
        list.iter().map(id).collect()
    };
    let all: Vec<String> = open.iter().map(|query| query.id.clone()).collect();
    assert_eq!(ids(&mut client, "/queries").await, all);
    assert_eq!(
        ids(&mut client, "/queries/?tag=x").await,
        [all[0].clone(), all[2].clone()]
    );
    assert_eq!(ids(&mut client, "/queries?tag=z").await, [""; 0]);
}

/// Above a line's size a row goes alone, and below it no line does.
#[tokio::test]
async fn lines_are_short_unless_a_row_is_not() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    client.stream("texts", &[("text", "string")]).await;
    let lengths = [30_000, 30_000, 30_000, 100_000, 10];
    let rows: Vec<Value> = lengths
        .iter()
        .map(|length| json!(["x".repeat(*length)]))
        .collect();
    let body = json!({ "data": rows }).to_string();
    let done = client
        .ingest("/streams/texts/ingest", "application/json", &body)
        .await;
    assert_eq!(done.status, 200, "{done:?}");
    let mut query = Running::of(&Target::of(&server), "select text from table(texts)").await;
    let mut lines = Vec::new();
    while let Some(event) = query.next().await {
        if let Event::Rows(rows) = event {
            lines.push(rows.len());
        }
    }
    assert_eq!(lines, [2, 1, 1, 1]);
}

/// What ends a line for some readers of lines is escaped wherever it stands.
#[tokio::test]
async fn a_line_is_a_line_to_everybody() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    client.stream("texts", &[("text", "string")]).await;
    let text = "a\u{2028}b\u{85}c\r\nd";
    let body = json!({ "data": [[text]] }).to_string();
    client
        .ingest("/streams/texts/ingest", "application/json", &body)
        .await;
    let sql = format!("select text from table(texts) where text = '{text}'");
    let mut query = Running::of(&Target::of(&server), &sql).await;
    assert_eq!(query.query["sql"], *sql);
    assert_eq!(json!(query.rest().await.0), json!([[text]]));
}

/// Its connection is full, its query rests, and both end by the limit for those that take nothing.
#[tokio::test]
async fn who_reads_nothing_is_let_go() {
    let (server, target, mut client) = with_iot(&["--stall=1s", "--timeplus-queries=2"]).await;
    client.stream("texts", &[("text", "string")]).await;
    for link in [Link::Http1, Link::Http2] {
        let query = Running::over(&target, link, json!({ "sql": "select text from texts" })).await;
        query.connection.valve.close();
        let rows: Vec<Value> = (0..30).map(|_| json!(["x".repeat(100_000)])).collect();
        let body = json!({ "data": rows }).to_string();
        for _ in 0..8 {
            let done = client
                .ingest("/streams/texts/ingest", "application/json", &body)
                .await;
            assert_eq!(done.status, 200, "{done:?}");
        }
        until(&mut client, &query.id, "canceled").await;
    }
    server.until("no stream is left", |stats| {
        ["sse_http1", "sse_http2"]
            .iter()
            .all(|w| stats["wires"][w]["streams"] == 0)
    });
}

#[tokio::test]
async fn a_query_that_fails_says_why() {
    let (_server, target, mut client) = with_iot(&["--query-groups=2"]).await;
    let rows: Vec<Value> = (0..10).map(|n| json!([true, n])).collect();
    ingest(&mut client, &json!(rows)).await;
    let sql = "select speed, count() from table(iot) group by speed";
    let mut query = Running::of(&target, sql).await;
    let (_, ended) = query.rest().await;
    assert_eq!(ended["status"], "failed", "{ended}");
    let why = ended["message"].as_str().expect("text");
    assert!(why.contains("query-groups"), "{why}");
}

#[tokio::test]
async fn a_server_that_leaves_ends_its_queries() {
    let (mut server, target, _client) = with_iot(&[]).await;
    let mut query = Running::of(&target, "select * from iot").await;
    server.signal("TERM");
    let (_, ended) = query.rest().await;
    assert_eq!(ended["status"], "canceled", "{ended}");
    assert!(
        ended["message"]
            .as_str()
            .is_some_and(|m| m.contains("draining")),
        "{ended}"
    );
    drop(query);
    assert!(server.wait().success());
}

#[tokio::test]
async fn streams_are_made_and_dropped_by_queries() {
    let (_server, _target, mut client) = with_iot(&[]).await;
    let mut run = async |sql: &str| client.post("/queries", json!({ "sql": sql })).await;
    for (sql, status) in [
        ("create stream made (a int64, b string)", 204),
        ("create stream made (a int64)", 409),
        ("create stream if not exists made (a int64)", 204),
        ("drop stream made", 204),
        ("drop stream made", 404),
        ("drop stream if exists made", 204),
    ] {
        let answer = run(sql).await;
        assert_eq!(
            (answer.status, answer.body.is_null()),
            (status, status == 204),
            "{sql}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_it_begins() {
    let (_server, _target, mut client) = with_iot(&["--query-bytes=200"]).await;
    let long = format!("select '{}' from iot", "x".repeat(200));
    for (body, status, part) in [
        (json!({}), 400, "sql"),
        (json!({ "sql": null }), 400, "sql"),
        (json!({ "sql": 1 }), 400, "string"),
        (
            json!({ "sql": "select * from iot", "tags": "a" }),
            400,
            "sequence",
        ),
        (
            json!({ "sql": "select * from iot", "batching_policy": { "count": -1 } }),
            400,
            "-1",
        ),
        (
            json!({ "sql": "select * from iot", "batching_policy": { "count": 10_001 } }),
            400,
            "count",
        ),
        (json!({ "sql": "select * from none" }), 400, "none"),
        (json!({ "sql": "selec" }), 400, ""),
        (json!({ "sql": "insert into iot values (1)" }), 400, ""),
        (json!({ "sql": long }), 413, "query-bytes"),
    ] {
        for path in ["/queries", "/sqlanalyze"] {
            if path == "/sqlanalyze"
                && (body.get("tags").is_some() || body.get("batching_policy").is_some())
            {
                continue;
            }
            let answer = client.post(path, body.clone()).await;
            assert!(
                message(&answer, status).contains(part),
                "{path} {body}: {answer:?}"
            );
        }
    }
    assert_eq!(client.get("/queries").await.body, json!([]));
}

#[tokio::test]
async fn what_a_query_is_made_of() {
    let (_server, _target, mut client) = with_iot(&[]).await;
    let sql = "select in_use, avg(speed) as mean from iot group by in_use";
    let about = client.post("/sqlanalyze", json!({ "sql": sql })).await;
    assert_eq!(about.status, 200, "{about:?}");
    let column = |name: &str, kind: &str| json!({ "column": name, "column_type": kind, "database": "default", "table": "iot", "is_view": false });
    for (member, want) in [
        ("has_aggr", json!(true)),
        ("has_table_join", json!(false)),
        ("has_union", json!(false)),
        ("has_subquery", json!(false)),
        ("is_streaming", json!(true)),
        ("query_type", json!("SELECT")),
        ("original_query", json!(sql)),
        ("group_by_columns", json!(["in_use"])),
        (
            "required_columns",
            json!([column("in_use", "bool"), column("speed", "float64")]),
        ),
        (
            "result_columns",
            json!([column("in_use", "bool"), column("mean", "float64")]),
        ),
    ] {
        assert_eq!(about.body[member], want, "{member}");
    }
    let stored = client
        .post("/sqlanalyze", json!({ "sql": "select * from table(iot)" }))
        .await;
    assert_eq!(stored.body["is_streaming"], false);
    let made = client
        .post("/sqlanalyze", json!({ "sql": "create stream s (a int8)" }))
        .await;
    assert_eq!(made.body["query_type"], "CREATE", "{made:?}");
    assert_eq!(
        client.get("/queries").await.body,
        json!([]),
        "nothing was run"
    );
}
