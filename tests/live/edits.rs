//! Editing while streams are open: it stays the same stream on the same connection, what was is not told any more after
//! the answer, and deletion says so.

use serde_json::json;

use super::WIRES;
use super::desk::Desk;
use super::support::client::Framing;
use super::support::client::message::End;
use super::support::client::message::Message;
use super::support::server::Server;

#[tokio::test]
async fn it_stays_the_same_stream() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.rows("t", 1..=3).await;
    desk.query("count", "select count(*) from t").await;
    desk.query("sum", "select sum(n) from t").await;
    let id = desk.subscription(&["count"], &[]).await;
    let mut streams = desk.open_everywhere(&id).await;
    for stream in &mut streams {
        stream.until("count", json!(3)).await;
    }
    let opened = totals(&server);
    for (queries, name, result) in [
        (&["sum"][..], "sum", json!(6)),
        (&["sum", "count"], "count", json!(3)),
        (&["count"], "", json!(null)),
    ] {
        desk.resubscribe(&id, queries, &[]).await;
        for stream in streams.iter_mut().filter(|_| !name.is_empty()) {
            stream.until(name, result.clone()).await;
        }
    }
    desk.rows("t", [4]).await;
    for stream in &mut streams {
        // Nothing of `sum`, which has changed too.
        let told = stream.next().await.said;
        assert_eq!(
            told,
            json!({ "query": "count", "result": 4 }),
            "{}",
            stream.transport
        );
    }
    assert_eq!(totals(&server), opened);
    let about = desk.get(&format!("/subscriptions/{id}")).await;
    assert_eq!(about.body["queries"], json!(["count"]));
}

/// Streams and connections that were ever opened, on the wires where a stream is one request.
fn totals(server: &Server) -> Vec<u64> {
    let stats = server.stats();
    let wires = ["sse_http1", "sse_http2", "websocket", "websocket_http2"];
    let counts = ["streams_total", "connections_total", "streams"];
    let of_wire =
        |wire: &str| counts.map(|count| stats["wires"][wire][count].as_u64().expect("a count"));
    wires.into_iter().flat_map(of_wire).collect()
}

#[tokio::test]
async fn a_query_that_is_deleted_and_made_again_goes_on_being_told() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.query("q", "select count(*) from t").await;
    let id = desk.subscription(&["q"], &[]).await;
    let mut streams = desk.open_everywhere(&id).await;
    for stream in &mut streams {
        stream.until("q", json!(0)).await;
    }
    assert_eq!(desk.delete("/queries/q").await.status, 204);
    for stream in &mut streams {
        let problem = stream.failure("q").await;
        assert_eq!(problem["type"], "/problems/deleted", "{}", stream.transport);
    }
    desk.query("q", "select count(*) + 100 from t").await;
    for stream in &mut streams {
        stream.until("q", json!(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_deleted_ends_its_streams() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    for transport in WIRES {
        let id = desk.subscription(&[], &["t"]).await;
        let mut stream = desk.open(transport, &id).await;
        // A poll has to be held before it can be ended.
        let end = tokio::spawn(async move { stream.reader.next().await });
        if transport.framing == Framing::LongPoll {
            server.until("a poll is held", |stats| {
                stats["wires"]["long_poll"]["streams"] == 1
            });
        }
        assert_eq!(
            desk.delete(&format!("/subscriptions/{id}")).await.status,
            204
        );
        let end = end.await.expect("no panic");
        match (transport.framing, end) {
            (Framing::Sse, Message::End(End::Body)) => {}
            (Framing::WebSocket, Message::End(End::Close(1000, reason))) => {
                assert!(reason.contains("subscription"), "{reason}");
            }
            // The poll was answered, and the next one is refused.
            (Framing::LongPoll, Message::End(End::Cut(why))) => {
                assert!(why.contains("404"), "{why}");
            }
            (_, end) => panic!("{transport}: {end:?}"),
        }
        let gone = desk.get(&format!("/stream/{id}")).await;
        assert_eq!(gone.status, 404, "{gone:?}");
    }
}

#[tokio::test]
async fn a_websocket_cannot_choose_topics_of_its_own_but_publish() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    let id = desk.subscription(&[], &["t"]).await;
    for transport in WIRES.iter().filter(|t| t.framing == Framing::WebSocket) {
        let mut stream = desk.open(*transport, &id).await;
        for kind in ["subscribe", "unsubscribe"] {
            let message = json!({ "type": kind, "topics": ["x"], "ref": kind });
            stream.reader.websocket().say(&message).await;
            let answer = stream.reader.answer().await;
            assert_eq!(
                (&answer["type"], &answer["ref"]),
                (&json!("$error"), &json!(kind))
            );
            assert_eq!(answer["status"], 409, "{answer}");
        }
        let message = json!({ "type": "publish", "topic": "t", "data": 1 });
        stream.reader.websocket().say(&message).await;
        let mut got = Vec::new();
        for _ in 0..2 {
            got.push(stream.reader.next().await);
        }
        let is_ack = |m: &Message| matches!(m, Message::Answer(answer) if answer["type"] == "$ack");
        assert!(got.iter().any(is_ack), "{got:?}");
        assert!(
            got.iter().any(|m| matches!(m, Message::Event(_))),
            "{got:?}"
        );
    }
}

#[tokio::test]
async fn a_subscription_that_no_stream_uses_ends() {
    let server = Server::start(&["--subscription-ttl=300ms"]);
    let mut desk = Desk::of(&server).await;
    let unused = desk.subscription(&[], &["t"]).await;
    let used = desk.subscription(&[], &["t"]).await;
    let mut stream = desk.open(WIRES[0], &used).await;
    let path = |id: &str| format!("/subscriptions/{id}");
    let is_gone = |answer: &super::support::client::publisher::Answer| answer.status == 404;
    desk.until(&path(&unused), is_gone).await;
    let about = desk.get(&path(&used)).await;
    assert_eq!(
        (&about.body["streams"], &about.body["ends_in_s"]),
        (&json!(1), &json!(null))
    );
    desk.publisher.text("t", "still there").await;
    assert_eq!(stream.next().await.said["data"], "still there");
    drop(stream);
    desk.until(&path(&used), is_gone).await;
}
