//! Publishing, over every listener: what is taken and kept, what is refused and leaves nothing behind, and what a
//! retry does.

use serde_json::json;

use super::support::client::ask::Ask;
use super::support::client::link::{Call, Link};
use super::support::client::message::{Data, Id};
use super::support::client::publisher::{Answer, Publisher};
use super::support::client::{Framing, Transport};
use super::support::server::Server;
use super::{Row, checks, run};

#[test]
fn what_is_published_is_in_the_log_or_refused() {
    let server = Server::start(&["--batch-bytes", "512KiB"]);
    run(
        &server,
        ways_in(),
        &checks![
            formats,
            lines_are_events,
            lines_of_text_are_events,
            lines_are_all_or_none,
            too_many_lines,
            too_many_bytes,
            a_key_appends_once,
            a_key_appends_once_for_lines,
            retries_at_the_same_time_append_once,
            a_name_is_decoded_once,
            what_may_not_be_published,
        ],
    );
}

/// An upgrade carries no body, so it is no way in. The framing is only what the tests read by.
fn ways_in() -> impl Iterator<Item = Transport> {
    Transport::with(Framing::LongPoll).filter(|t| t.link != Link::H2cUpgrade)
}

async fn publisher(row: &Row) -> Publisher {
    Publisher::over(&row.target, row.transport.link).await
}

/// All that is in the topic now.
async fn retained(row: &Row, topic: &str) -> Vec<(Id, String)> {
    let ask = Ask::of([topic]).after(Id::ZERO);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let mut end = publisher(row).await;
    let end = end.text(topic, "end").await;
    let mut events = Vec::new();
    loop {
        let event = reader.event().await;
        if event.id == end {
            return events;
        }
        let Data::Json(data) = event.data else {
            panic!("polls carry JSON");
        };
        events.push((event.id, data));
    }
}

fn post(topic: &str, kind: &'static str, body: impl Into<Vec<u8>>) -> Call {
    Call::post(format!("/publish/{topic}"), body.into()).with("content-type", kind)
}

fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    let kind = &answer.headers["content-type"];
    assert_eq!(kind, "application/problem+json");
    assert_eq!(answer.body["status"], status);
    answer.body["detail"].as_str().expect("a detail").to_owned()
}

async fn formats(row: Row) {
    let topic = row.topic("t");
    let mut publisher = publisher(&row).await;
    let mut want = Vec::new();
    for (kind, body, data) in [
        ("text/plain", "a\"b", r#""a\"b""#),
        ("text/plain; charset=utf-8", "{}", r#""{}""#),
        ("application/octet-stream", "", r#""""#),
        ("application/json", "{ }", "{ }"),
        ("Application/JSON; charset=utf-8", "[1]", "[1]"),
    ] {
        let answer = publisher.call(post(&topic, kind, body)).await;
        let id = answer.id("id");
        assert_eq!(answer.body, json!({"id": id.to_string()}));
        want.push((id, data.to_owned()));
    }
    for (kind, body) in [
        ("text/plain", &b"\xff"[..]),
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b"{} {}"),
        ("application/json", b"\"\xff\""),
        ("application/json", b"NaN"),
        ("application/x-ndjson", b"\"\xff\"\n"),
        ("application/x-ndjson", b""),
        ("application/x-ndjson", b"\n \n"),
    ] {
        refused(&publisher.call(post(&topic, kind, body)).await, 400);
    }
    assert_eq!(retained(&row, &topic).await, want);
}

async fn lines_are_events(row: Row) {
    let topic = row.topic("t");
    let body = "1\n\n  \r\n{\"a\": 2}\r\n\t\n\"three\"";
    let call = post(&format!("{topic}?type=k"), "application/x-ndjson", body);
    let answer = publisher(&row).await.call(call).await;
    let (first, last) = (answer.id("first"), answer.id("last"));
    let want = json!({"first": first.to_string(), "last": last.to_string(), "count": 3});
    assert_eq!(answer.body, want);
    let got = retained(&row, &topic).await;
    let data: Vec<&str> = got.iter().map(|(_, data)| data.as_str()).collect();
    assert_eq!(data, ["1", "{\"a\": 2}", "\"three\""]);
    assert_eq!((got[0].0, got[2].0), (first, last));
}

/// Each as it is, empty ones too; the end of the last line may be left out.
async fn lines_of_text_are_events(row: Row) {
    let mut publisher = publisher(&row).await;
    let table: [(&str, &[&str]); 4] = [
        ("one\n\n two \r\n{\n", &["one", "", " two ", "{"]),
        ("one\ntwo", &["one", "two"]),
        ("\n", &[""]),
        ("\r\n\n", &["", ""]),
    ];
    for (n, (body, want)) in table.into_iter().enumerate() {
        let topic = row.topic(&n.to_string());
        let call = post(&format!("{topic}?lines=1"), "text/plain", body);
        let answer = publisher.call(call).await;
        assert_eq!(answer.body["count"], want.len(), "{body:?}");
        let got = retained(&row, &topic).await;
        assert_eq!(
            (answer.id("first"), answer.id("last")),
            (got[0].0, got[want.len() - 1].0)
        );
        let got: Vec<&str> = got.iter().map(|(_, data)| data.as_str()).collect();
        assert_eq!(
            got,
            want.iter()
                .map(|w| json!(w).to_string())
                .collect::<Vec<_>>()
        );
    }
    let topic = row.topic("refused");
    for (query, kind, body) in [
        ("lines=1", "text/plain", ""),
        ("lines=yes", "text/plain", "x"),
        ("lines=1", "application/json", "1"),
    ] {
        let call = post(&format!("{topic}?{query}"), kind, body);
        refused(&publisher.call(call).await, 400);
    }
    assert_eq!(retained(&row, &topic).await, []);
}

async fn lines_are_all_or_none(row: Row) {
    let topic = row.topic("t");
    let mut publisher = publisher(&row).await;
    let large = format!("1\n\"{}\"\n", "x".repeat(256 * 1024));
    for (body, status, named) in [
        ("1\n2\n\n{\n4\n", 400, "line 4"),
        ("x", 400, "line 1"),
        ("1 2\n", 400, "line 1"),
        (large.as_str(), 413, "2"),
    ] {
        let call = post(&topic, "application/x-ndjson", body);
        let detail = refused(&publisher.call(call).await, status);
        assert!(detail.contains(named), "{detail}");
    }
    assert_eq!(retained(&row, &topic).await, []);
}

async fn too_many_lines(row: Row) {
    let topic = row.topic("t");
    let mut publisher = publisher(&row).await;
    let body = "1\n".repeat(10_000);
    let call = post(&topic, "application/x-ndjson", body.clone());
    assert_eq!(publisher.call(call).await.body["count"], 10_000);
    let call = post(&topic, "application/x-ndjson", body + "1\n");
    let detail = refused(&publisher.call(call).await, 413);
    assert!(
        detail.contains("10000") && detail.contains("batch-events"),
        "{detail}"
    );
}

/// Up to 1 MiB after a refusal is read and forgotten, so that every client gets to see why.
async fn too_many_bytes(row: Row) {
    let topic = row.topic("t");
    let mut publisher = publisher(&row).await;
    let body = " ".repeat(1 << 20) + "1";
    let call = post(&topic, "application/x-ndjson", body);
    let detail = refused(&publisher.call(call).await, 413);
    assert!(
        detail.contains("524288") && detail.contains("batch-bytes"),
        "{detail}"
    );
    assert_eq!(retained(&row, &topic).await, []);
}

async fn a_key_appends_once(row: Row) {
    let [one, two] = ["one", "two"].map(|name| row.topic(name));
    let mut publisher = publisher(&row).await;
    let mut keyed = async |topic: &str, body: &'static str, key: &str| {
        let call = post(topic, "text/plain", body).with("idempotency-key", key);
        publisher.call(call).await.id("id")
    };
    let first = keyed(&one, "x", "k").await;
    assert_eq!(keyed(&one, "x", "k").await, first);
    let other = keyed(&one, "x", "l").await;
    assert!(other > first, "another key is another event");
    assert!(keyed(&two, "x", "k").await > other, "so is another topic");
    assert_eq!(keyed(&one, "x", "k").await, first);
    assert_eq!(retained(&row, &one).await.len(), 2);
    let long = "x".repeat(256);
    for key in ["", &long] {
        let call = post(&one, "text/plain", "x").with("idempotency-key", key);
        refused(&publisher.call(call).await, 400);
    }
}

async fn a_key_appends_once_for_lines(row: Row) {
    let topic = row.topic("t");
    let mut publisher = publisher(&row).await;
    let call = post(&topic, "application/x-ndjson", "1\n2\n").with("idempotency-key", "k");
    // What was refused has not used its key up.
    let bad = post(&topic, "application/x-ndjson", "1\n{").with("idempotency-key", "k");
    refused(&publisher.call(bad).await, 400);
    let first = publisher.call(call.clone()).await;
    let again = publisher.call(call).await;
    assert_eq!(first.status, 201);
    assert_eq!((again.status, again.body), (first.status, first.body));
    assert_eq!(retained(&row, &topic).await.len(), 2);
}

async fn retries_at_the_same_time_append_once(row: Row) {
    let topic = row.topic("t");
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (target, link, topic) = (row.target.clone(), row.transport.link, topic.clone());
            tokio::spawn(async move {
                let mut publisher = Publisher::over(&target, link).await;
                let mut ids = Vec::new();
                for n in 0..5 {
                    let call =
                        post(&topic, "text/plain", "x").with("idempotency-key", format!("key {n}"));
                    ids.push(publisher.call(call).await.id("id"));
                }
                ids
            })
        })
        .collect();
    let mut answers = Vec::new();
    for attempt in tries {
        answers.push(attempt.await.expect("no panic"));
    }
    assert!(answers.iter().all(|ids| *ids == answers[0]), "{answers:?}");
    let ids: Vec<Id> = retained(&row, &topic).await.iter().map(|e| e.0).collect();
    assert_eq!(ids, answers[0]);
}

async fn a_name_is_decoded_once(row: Row) {
    let topic = row.topic("a:b");
    let mut publisher = publisher(&row).await;
    let encoded = topic.replace('/', "%2F").replace(':', "%3a");
    let id = publisher.text(&encoded, "x").await;
    assert_eq!(retained(&row, &topic).await[0].0, id);
    // Decoded once it still has a percent sign, which no topic has.
    let twice = encoded.replace('%', "%25");
    refused(&publisher.call(post(&twice, "text/plain", "x")).await, 400);
}

async fn what_may_not_be_published(row: Row) {
    let mut publisher = publisher(&row).await;
    for (topic, status) in [
        ("$stats", 403),
        ("$anything", 403),
        ("", 400),
        ("a//b", 400),
        ("a/../b", 400),
        ("a%00b", 400),
        ("t?type=", 400),
        ("t?type=a%0Ab", 400),
        ("t?type=$x", 400),
        ("t?type=ready", 400),
        ("t?type=gap", 400),
        ("t?type=busy", 400),
        ("t?type=open", 400),
        ("t?type=error", 400),
    ] {
        refused(
            &publisher.call(post(topic, "text/plain", "x")).await,
            status,
        );
    }
    let long = format!("t?type={}", "x".repeat(65));
    refused(&publisher.call(post(&long, "text/plain", "x")).await, 400);
    let call = post("t", "text/plain", "x").with("content-encoding", "gzip");
    refused(&publisher.call(call).await, 415);
    let answer = publisher.call(Call::get("/publish/t")).await;
    refused(&answer, 405);
    assert_eq!(answer.headers["allow"], "POST");
}
