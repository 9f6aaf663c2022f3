//! Rows are events: an object that breaks the schema of its table is refused on every way of publishing, and a batch is
//! all or none.

use serde_json::{Value, json};

use super::desk::Desk;
use super::support::client::Framing;
use super::support::client::Transport;
use super::support::client::ask::Ask;
use super::support::client::link::{Call, Link};
use super::support::client::publisher::{Answer, Publisher};
use super::support::server::Server;
use super::{WIRES, wire};

async fn rows(desk: &mut Desk) -> u64 {
    let about = desk.get("/streams/t").await;
    about.body["rows"].as_u64().expect("a number")
}

fn names(answer: &Answer, parts: &[&str]) {
    assert_eq!(answer.status, 400, "{answer:?}");
    let detail = answer.body["detail"].as_str().expect("a detail");
    assert!(
        parts.iter().all(|part| detail.contains(part)),
        "{detail}: {parts:?}"
    );
}

#[tokio::test]
async fn what_breaks_the_schema_is_refused_whoever_publishes_it() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    // The request that upgrades has no body.
    for link in Link::ALL
        .into_iter()
        .filter(|link| *link != Link::H2cUpgrade)
    {
        let mut publisher = Publisher::over(&desk.target, link).await;
        let json = "application/json";
        let post = |body: &'static str, kind: &str| {
            Call::post("/publish/t", body).with("content-type", kind)
        };
        names(
            &publisher.call(post(r#"{"n":"x"}"#, json)).await,
            &["\"n\""],
        );
        let mut publisher = Publisher::over(&desk.target, link).await;
        let lines = post("{\"n\":1}\n{}\n", "application/x-ndjson");
        names(&publisher.call(lines).await, &["event 2", "\"n\""]);
    }
    for transport in WIRES.iter().filter(|t| t.framing == Framing::WebSocket) {
        let mut reader = transport
            .open(&desk.target, Ask::default().at("/events"))
            .await;
        reader.ready().await;
        for (data, status) in [(json!({ "n": 1.5 }), 400), (json!([1]), 201)] {
            let message = json!({ "type": "publish", "topic": "t", "data": data });
            reader.websocket().say(&message).await;
            let answer = reader.answer().await;
            let is_refused = answer["type"] == "$error" && answer["status"] == status;
            assert!(
                is_refused || (status == 201 && answer["type"] == "$ack"),
                "{answer}"
            );
        }
    }
    // What is no object is an event and no row.
    desk.publisher.text("t", "{}").await;
    desk.publisher.json("t", "7").await;
    desk.publisher.json("t", r#"{"n":5,"more":true}"#).await;
    desk.until("/streams/t", |about| about.body["rows"] == 1)
        .await;
}

#[tokio::test]
async fn a_batch_of_rows_is_all_or_none() {
    let server = Server::start(&["--batch-events=3"]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    let ingest = "/streams/t/ingest";
    for (body, parts) in [
        (
            json!({ "columns": ["n"], "data": [[1], ["x"]] }),
            &["row 2", "\"n\""][..],
        ),
        (json!({ "columns": ["m"], "data": [[1]] }), &["\"m\""]),
        (
            json!({ "columns": ["n", "n"], "data": [[1, 1]] }),
            &["\"n\""],
        ),
        (json!({ "columns": ["n"], "data": [[1, 2]] }), &["row 1"]),
        (json!({ "data": [] }), &["no event"]),
        (json!({ "rows": [] }), &["rows"]),
    ] {
        names(&desk.post(ingest, body).await, parts);
    }
    let four = json!({ "data": [[1], [2], [3], [4]] });
    assert_eq!(desk.post(ingest, four).await.status, 413);
    let body = json!({ "columns": ["n"], "data": [[1], [2], [3]] }).to_string();
    let call = Call::post(ingest, body).with("idempotency-key", "once");
    let first = desk.publisher.call(call.clone()).await;
    assert_eq!((first.status, &first.body["count"]), (201, &json!(3)));
    let again = desk.publisher.call(call).await;
    assert_eq!(first.body, again.body);
    desk.until("/streams/t", |about| about.body["rows"] == 3)
        .await;
    assert_eq!(rows(&mut desk).await, 3);
    assert_eq!(
        desk.post("/streams/none/ingest", json!({ "data": [[1]] }))
            .await
            .status,
        404
    );
}

/// A row is an event like others, for whoever reads the topic.
#[tokio::test]
async fn rows_are_read_as_events_on_every_wire() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.rows("t", [7]).await;
    for transport in [
        wire(Framing::Sse, Link::Http1),
        wire(Framing::WebSocket, Link::H2c),
    ] {
        let transport: Transport = transport;
        let mut reader = transport
            .open(&desk.target, Ask::of(["t"]).after("0-0"))
            .await;
        reader.ready().await;
        let row = reader.event().await;
        let row: Value = match row.data {
            super::support::client::message::Data::Lines(text)
            | super::support::client::message::Data::Json(text) => {
                serde_json::from_str(&text).expect("JSON")
            }
        };
        assert_eq!(row, json!({ "n": 7 }));
    }
}
