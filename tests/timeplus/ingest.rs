//! Rows in every format, all or none, and what is said of the first bad one.

use serde_json::{Value, json};

use super::client::{Client, at, message};
use super::support::client::link::Call;
use super::support::server::Server;

const JSON: &str = "application/json";

#[tokio::test]
async fn every_format_by_parameter_and_by_type() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    let compact = r#"{"columns":["raw","n"],"data":[["a",1],["b",null]]}"#;
    let objects = "{\"raw\":\"a\",\"n\":1}{\"raw\":\"b\"}\n{\"n\":3,\"raw\":\"c\"}";
    let text = "a\nb \"quoted\"\n";
    let row = |raw: &str| json!({ "raw": raw });
    let of_compact = vec![
        json!({ "raw": "a", "n": 1 }),
        json!({ "raw": "b", "n": null }),
    ];
    let of_objects = vec![
        json!({ "raw": "a", "n": 1 }),
        row("b"),
        json!({ "raw": "c", "n": 3 }),
    ];
    let of_lines = vec![row("a"), row("b \"quoted\"")];
    for (index, (query, content_type, body, rows)) in [
        ("", JSON, compact, &of_compact),
        (
            "?format=compact&db=default",
            "text/plain",
            compact,
            &of_compact,
        ),
        (
            "",
            "application/vnd.timeplus+json;format=compact",
            compact,
            &of_compact,
        ),
        ("?format=streaming", JSON, objects, &of_objects),
        ("", "application/x-ndjson", objects, &of_objects),
        (
            "",
            "application/vnd.timeplus+json; format=streaming",
            objects,
            &of_objects,
        ),
        ("?format=lines", JSON, text, &of_lines),
        ("", "text/plain", text, &of_lines),
        ("?format=raw", JSON, text, &vec![row(text)]),
        ("", "text/plain;format=raw", text, &vec![row(text)]),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = format!("s{index}");
        client
            .stream(&stream, &[("raw", "string"), ("n", "nullable(int8)")])
            .await;
        let target = format!("/streams/{stream}/ingest{query}");
        let done = client.ingest(&target, content_type, body).await;
        assert_eq!(done.status, 200, "{query} {content_type}: {done:?}");
        assert_eq!(done.body["count"], rows.len(), "{query} {content_type}");
        assert_eq!(
            &client.rows(&stream, rows.len()).await,
            rows,
            "{query} {content_type}"
        );
    }
}

#[tokio::test]
async fn a_batch_that_breaks_near_its_end_leaves_nothing() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    client
        .stream("t", &[("n", "int64"), ("raw", "nullable(string)")])
        .await;
    let cell = |index: usize| {
        if index == 9_999 {
            json!("x")
        } else {
            json!(index)
        }
    };
    let data: Vec<[Value; 1]> = (1..=10_000).map(|index| [cell(index)]).collect();
    let compact = json!({ "columns": ["n"], "data": data }).to_string();
    let objects = (1..=10_000).map(|index| json!({ "n": cell(index) }).to_string());
    let objects: Vec<String> = objects.collect();
    let cut = &objects[..9_998].concat();
    for (format, body, parts) in [
        (
            "compact",
            &compact,
            ["row 9999, column \"n\"", "\"x\" is no int64"],
        ),
        (
            "streaming",
            &objects.join("\n"),
            ["row 9999: ", "column \"n\": \"x\" is no int64"],
        ),
        (
            "streaming",
            &format!("{cut}{{\"n\":"),
            ["row 9999 is not JSON", "EOF"],
        ),
        (
            "lines",
            &"x\n".repeat(10_000),
            ["row 1: ", "\"n\" is missing"],
        ),
        (
            "streaming",
            &format!("{cut}{{\"n\":1}}{{\"n\":1}}{{\"n\":1}}"),
            ["10000", "batch-events"],
        ),
    ] {
        let target = format!("/streams/t/ingest?format={format}");
        let answer = client.ingest(&target, JSON, body).await;
        let status = if parts[1] == "batch-events" { 413 } else { 400 };
        let said = message(&answer, status);
        assert!(
            parts.iter().all(|part| said.contains(part)),
            "{format}: {said}"
        );
    }
    assert_eq!(server.stats()["log"]["events"], 0);
    // As large, and all of it good.
    let good: String = (0..10_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    let done = client
        .ingest("/streams/t/ingest?format=streaming", JSON, &good)
        .await;
    assert_eq!((done.status, &done.body["count"]), (200, &json!(10_000)));
    assert_eq!(server.stats()["log"]["events"], 10_000);
}

#[tokio::test]
async fn what_is_wrong_with_rows_is_named() {
    let server = Server::start(&["--event-bytes=1KiB"]);
    let mut client = Client::of(&server).await;
    client
        .stream("t", &[("n", "int8"), ("s", "nullable(string)")])
        .await;
    client.stream("raw", &[("raw", "string")]).await;
    let large = "x".repeat(1025);
    for (target, body, status, part) in [
        ("t/ingest", "null", 400, "not of the form"),
        ("t/ingest", "", 400, "not of the form"),
        (
            "t/ingest",
            r#"{"columns":["n"],"data":null}"#,
            400,
            "not of the form",
        ),
        (
            "t/ingest",
            r#"{"columns":["n","n"],"data":[[1,1]]}"#,
            400,
            "\"n\" is there twice",
        ),
        (
            "t/ingest",
            r#"{"columns":["s"],"data":[["x"]]}"#,
            400,
            "\"n\" is left out",
        ),
        (
            "t/ingest",
            r#"{"columns":["m"],"data":[[1]]}"#,
            400,
            "no column \"m\"",
        ),
        (
            "t/ingest",
            r#"{"columns":["n"],"data":[[1],[2,3]]}"#,
            400,
            "row 2 has 2 values",
        ),
        (
            "t/ingest",
            r#"{"columns":["n"],"data":[[300]]}"#,
            400,
            "row 1, column \"n\": 300",
        ),
        (
            "t/ingest",
            r#"{"columns":["n"],"data":[]}"#,
            400,
            "no event",
        ),
        (
            "t/ingest?format=streaming",
            "null",
            400,
            "row 1 is no JSON object",
        ),
        ("t/ingest?format=raw", "x", 400, "no column \"raw\""),
        ("t/ingest?format=csv", "x", 400, "\"csv\""),
        ("none/ingest", r#"{"data":[[1]]}"#, 404, "none"),
        ("raw/ingest?format=raw", &large, 413, "event-bytes"),
    ] {
        let answer = client
            .ingest(&format!("/streams/{target}"), JSON, body)
            .await;
        let said = message(&answer, status);
        assert!(said.contains(part), "{target} {body}: {said}");
    }
    assert_eq!(server.stats()["log"]["events"], 0);
}

#[tokio::test]
async fn a_retry_with_its_key_appends_nothing() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    client.stream("t", &[("n", "int8")]).await;
    let call = Call::post(at("/streams/t/ingest"), r#"{"data":[[1]]}"#);
    let call = call.with("idempotency-key", "once");
    let first = client.publisher.call(call.clone()).await;
    let again = client.publisher.call(call).await;
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_eq!(server.stats()["log"]["events"], 1);
}
