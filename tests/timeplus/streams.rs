//! Streams of the dialect: made, listed, told and forgotten, with what may be wrong about them.

use std::fs;

use serde_json::{Value, json};

use super::client::{Client, at, message};
use super::support::client::link::Call;
use super::support::raw;
use super::support::server::{Server, new_dir};

/// Byte for byte what the Python client sends, with all that its HTTP library adds.
#[test]
fn what_the_python_client_sends() {
    let server = Server::start(&[]);
    let ask = |method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} /tenant/api/v1beta2{path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n\
             Accept: application/json\r\nContent-Type: application/json\r\nX-Api-Key: {}\r\n\
             User-Agent: Swagger-Codegen/1.0.0/python\r\nContent-Length: {}\r\n\r\n{body}",
            "k".repeat(60),
            body.len()
        );
        raw::ask(&server, "http1", &request)
    };
    let made = ask(
        "POST",
        "/streams",
        r#"{"columns": [{"name": "in_use", "type": "bool"}, {"name": "speed", "type": "float32"}], "name": "iot", "event_time_column": null, "event_time_timezone": null, "logstore_retention_bytes": null, "logstore_retention_ms": null, "ttl_expression": null, "description": null, "mode": "append", "primary_key": null}"#,
    );
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("content-type"), "application/json");
    let stream: Value = serde_json::from_str(&made.body).expect("JSON");
    let column = |name: &str, kind: &str, default: &str| json!({ "name": name, "type": kind, "nullable": false, "default": default, "codec": "" });
    assert_eq!(
        stream,
        json!({
            "name": "iot",
            "columns": [
                column("in_use", "bool", ""),
                column("speed", "float32", ""),
                column("_tp_time", "datetime64(3)", "now64(3)"),
            ],
            "description": "",
            "engine": "Stream",
            "mode": "append",
            "is_external": false,
            "logstore_retention_bytes": 0,
            "logstore_retention_ms": 0,
            "ttl": "",
            "ttl_expression": "",
        })
    );
    let rows = r#"{"columns": ["in_use", "speed"], "data": [[true, 73.85], [false, 77.1]]}"#;
    assert_eq!(ask("POST", "/streams/iot/ingest", rows).status, 200);
    let rows = "{\"in_use\":true,\"speed\":1}\n{\"in_use\":false,\"speed\":2}";
    let streaming = "/streams/iot/ingest?format=streaming";
    assert_eq!(ask("POST", streaming, rows).status, 200);
    let list = ask("GET", "/streams", "");
    assert!(
        list.body.starts_with('[') && list.body.contains("\"iot\""),
        "{list:?}"
    );
    assert_eq!(ask("DELETE", "/streams/iot", "null").status, 204);
    assert_eq!(ask("DELETE", "/streams/iot", "null").status, 404);
}

#[tokio::test]
async fn what_the_go_client_sends() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    let body = r#"{"name":"iot","columns":[{"name":"n","type":"int64","default":""}],"ttl_expression":"to_datetime(_tp_time) + INTERVAL 30 DAY","logstore_retention_bytes":604800000,"logstore_retention_ms":1342177280}"#;
    let made = client
        .publisher
        .call(Call::post(at("/streams"), body))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        made.body["ttl_expression"],
        "to_datetime(_tp_time) + INTERVAL 30 DAY"
    );
    let table = client.publisher.call(Call::get("/streams/iot")).await;
    assert_eq!(table.body["retention"]["age"], "30d");
}

#[tokio::test]
async fn a_stream_that_was_told_can_be_made_again() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    client
        .stream("t", &[("a", "nullable(string)"), ("b", "array(int8)")])
        .await;
    let mut told = client.get("/streams/t").await.body;
    told["name"] = "again".into();
    let again = client.post("/streams", told.clone()).await;
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(again.body, told);
}

#[tokio::test]
async fn types_in_the_spellings_of_the_dialect() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    for (index, (asked, held)) in [
        ("int", "int32"),
        ("uint64", "uint64"),
        ("float", "float32"),
        ("double", "float64"),
        ("decimal(10,2)", "decimal(10, 2)"),
        ("uuid", "uuid"),
        ("date", "date"),
        ("datetime", "datetime"),
        ("datetime64(3,'UTC')", "datetime64(3)"),
        ("array(int32)", "array(int32)"),
        ("map(string,float64)", "map(string, float64)"),
        ("nullable(string)", "nullable(string)"),
        ("low_cardinality(string)", "string"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("t{index}");
        client.stream(&name, &[("c", asked)]).await;
        let told = client.get(&format!("/streams/{name}")).await;
        assert_eq!(told.body["columns"][0]["type"], held, "{asked}");
    }
    let nullable =
        json!({ "name": "n", "columns": [{ "name": "c", "type": "int8", "nullable": true }] });
    let made = client.post("/streams", nullable).await;
    assert_eq!(made.body["columns"][0]["type"], "nullable(int8)");
    assert_eq!(made.body["columns"][0]["nullable"], true);
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_is_named() {
    let server = Server::start(&["--tables=3"]);
    let mut client = Client::of(&server).await;
    let column = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    let with = |member: &str, value: Value| {
        let mut body = json!({ "name": "s", "columns": [column("a", "int8")] });
        body[member] = value;
        body
    };
    for (body, part) in [
        (with("name", json!(null)), "name"),
        (with("name", json!("")), "name"),
        (with("name", json!("a b")), "topic"),
        (with("name", json!("a/b")), "\"a/b\" cannot be the name"),
        (with("name", json!("ström")), "topic"),
        (with("columns", json!(null)), "at least one column"),
        (with("columns", json!([])), "at least one column"),
        (
            with("columns", json!([{ "name": "a" }])),
            "\"a\" has no type",
        ),
        (with("columns", json!([{ "type": "int8" }])), "\"\""),
        (with("columns", json!([column("é", "int8")])), "\"é\""),
        (
            with("columns", json!([column("a", "int8"), column("A", "int8")])),
            "\"A\" is there twice",
        ),
        (
            with("columns", json!([column("a", "tuple(int8, string)")])),
            "column \"a\": type \"tuple(int8, string)\": a tuple cannot be held",
        ),
        (with("columns", json!([column("a", "int256")])), "int256"),
        (
            with("columns", json!([column("_tp_time", "string")])),
            "_tp_time",
        ),
        (
            with(
                "columns",
                json!([{ "name": "a", "type": "int8", "default": "7" }]),
            ),
            "default",
        ),
        (with("mode", json!("versioned_kv")), "versioned_kv"),
        (with("primary_key", json!("a")), "primary_key"),
        (
            with("event_time_column", json!("to_datetime(a)")),
            "_tp_time",
        ),
        (with("event_time_timezone", json!("Asia/Tokyo")), "UTC"),
        (
            with("ttl_expression", json!("a + INTERVAL 1 DAY")),
            "ttl_expression",
        ),
    ] {
        let answer = client.post("/streams", body.clone()).await;
        let said = message(&answer, 400);
        assert!(said.contains(part), "{body}: {said}");
    }
    client.stream("s", &[("a", "int8")]).await;
    for name in ["s", "S"] {
        let again = client.post("/streams", with("name", json!(name))).await;
        assert!(message(&again, 409).contains("table s"), "{again:?}");
    }
    let more = client.post("/streams", with("name", json!("more"))).await;
    assert!(message(&more, 429).contains("(tables)"), "{more:?}");
    assert!(more.headers.contains_key("retry-after"), "{more:?}");
}

#[tokio::test]
async fn a_stream_with_many_columns() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    let names: Vec<String> = (0..63).map(|n| format!("column_{n}")).collect();
    let columns: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "float64")).collect();
    client.stream("wide", &columns).await;
    let told = client.get("/streams/wide").await;
    assert_eq!(told.body["columns"].as_array().map(Vec::len), Some(64));
    let rows = json!({ "columns": names, "data": [vec![1.5; 63]] });
    assert_eq!(client.post("/streams/wide/ingest", rows).await.status, 200);
    assert_eq!(client.rows("wide", 1).await[0]["column_62"], 1.5);
}

#[tokio::test]
async fn streams_outlive_a_restart() {
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    let server = Server::start(&[&flag]);
    let mut client = Client::of(&server).await;
    let body = json!({
        "name": "t",
        "columns": [{ "name": "n", "type": "low_cardinality(string)" }],
        "ttl_expression": "to_datetime(_tp_time) + INTERVAL 90 MINUTE",
    });
    let made = client.post("/streams", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let server = Server::start_in(server.kill(), &[&flag]);
    let mut client = Client::of(&server).await;
    assert_eq!(client.get("/streams/t").await.body, made.body);
    drop(server);
    fs::remove_dir_all(data).expect("it can be removed");
}
