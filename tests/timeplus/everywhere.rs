//! What holds for every path of the dialect: where it is, and how it refuses.

use serde_json::json;

use super::client::{Client, at, message};
use super::support::client::link::{Call, Link, Target};
use super::support::client::publisher::Publisher;
use super::support::raw::{self, Peer};
use super::support::server::Server;

#[tokio::test]
async fn a_tenant_and_a_slash_at_the_end_make_no_difference() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    for tenant in ["", "/tenant", "/api", "/a%20b"] {
        for slash in ["", "/"] {
            let base = format!("{tenant}/api/v1beta2");
            let mut ask = async |call| client.publisher.call(call).await;
            let body = json!({ "name": "t", "columns": [{ "name": "n", "type": "int8" }] });
            let all = format!("{base}/streams{slash}");
            let made = ask(Call::post(&all, body.to_string())).await;
            assert_eq!(made.status, 201, "{all}: {made:?}");
            let list = ask(Call::get(&all)).await;
            assert_eq!(list.body.as_array().map(Vec::len), Some(3), "{all}");
            let one = format!("{base}/streams/t{slash}");
            assert_eq!(ask(Call::get(&one)).await.body, made.body, "{one}");
            let ingest = format!("{base}/streams/t/ingest{slash}");
            let rows = ask(Call::post(&ingest, r#"{"data":[[1]]}"#)).await;
            assert_eq!(rows.status, 200, "{ingest}: {rows:?}");
            let views = ask(Call::get(format!("{base}/views{slash}"))).await;
            assert_eq!((views.status, views.body), (200, json!([])));
            assert_eq!(ask(Call::delete(&one)).await.status, 204, "{one}");
        }
    }
    // Neither are these below a tenant, nor does one have the name of another path.
    for (path, status) in [
        ("//api/v1beta2/streams", 404),
        ("/t/u/api/v1beta2/streams", 404),
        ("/streams/api/v1beta2/streams", 404),
        ("/publish/api/v1beta2/streams", 405),
    ] {
        let answer = client.publisher.call(Call::get(path)).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn every_listener_has_it() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for link in Link::ALL {
        let mut publisher = Publisher::over(&target, link).await;
        let answer = publisher.call(Call::get(at("/streams/metrics"))).await;
        assert_eq!(answer.status, 200, "{link}: {answer:?}");
        assert_eq!(answer.body["name"], "metrics", "{link}");
    }
}

#[tokio::test]
async fn refusals_have_the_form_of_the_dialect() {
    let server = Server::start(&["--event-bytes=1KiB"]);
    let mut client = Client::of(&server).await;
    let large = "x".repeat(1025);
    let foreign = ("origin", "https://foreign.example");
    let encoded = ("content-encoding", "gzip");
    for (call, status, part) in [
        (Call::get(at("")), 404, "/tenant/api/v1beta2"),
        (Call::get(at("/nothing")), 404, "/nothing"),
        (Call::get(at("/streams/none")), 404, "none"),
        (Call::get(at("/streams/a/b")), 404, "a/b"),
        (Call::get(at("/streams/%ff")), 400, "UTF-8"),
        (Call::put(at("/streams"), "{}"), 405, "GET, HEAD, POST"),
        (Call::get(at("/streams/t/ingest")), 405, "POST"),
        (Call::post(at("/views"), "{}"), 405, "GET, HEAD"),
        (Call::post(at("/streams"), "null"), 400, "body"),
        (Call::post(at("/streams"), ""), 400, "body"),
        (Call::post(at("/streams"), "[]"), 400, "object"),
        (Call::post(at("/streams"), large), 413, "event-bytes"),
        (
            Call::post(at("/streams"), "{}").with(encoded.0, encoded.1),
            415,
            "content-encoding",
        ),
        (
            Call::post(at("/streams/metrics/ingest"), "{}").with(encoded.0, encoded.1),
            415,
            "content-encoding",
        ),
        (
            Call::post(at("/streams"), "{}").with(foreign.0, foreign.1),
            403,
            "--allow-origin",
        ),
        (Call::delete(at("/streams/metrics")), 403, "built in"),
    ] {
        let (method, path) = (call.method.clone(), call.path.clone());
        let answer = client.publisher.call(call).await;
        let said = message(&answer, status);
        assert!(said.contains(part), "{method} {path}: {said}");
        if status == 405 {
            assert!(answer.headers.contains_key("allow"), "{answer:?}");
        }
    }
}

/// Its clients are no EventSource, and the word that one is told in place of 503 would be a result to them.
#[test]
fn a_full_server_says_so_with_a_status() {
    let server = Server::start(&["--connections=1"]);
    let mut reader = Peer::connect(&server, "http1");
    reader.say("GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\n\r\n");
    reader.until("event: ready\n").expect("a stream");
    let answer = raw::ask(
        &server,
        "http1",
        "POST /api/v1beta2/queries HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\ncontent-length: 4\r\n\r\nnull",
    );
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    assert!(
        answer.body.starts_with(r#"{"code":503,"message":""#),
        "{answer:?}"
    );
}
