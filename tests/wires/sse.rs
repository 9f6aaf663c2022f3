//! What only SSE has: two paths, the envelope, heartbeats, and what `Accept` says.

use serde_json::Value;

use super::support::client::Framing;
use super::support::client::Transport;
use super::support::client::ask::Ask;
use super::support::client::link::{Call, Connection};
use super::support::client::message::{Data, Event, Message};
use super::support::server::Server;
use super::{Row, checks, run};

#[test]
fn sse_keeps_its_own_promises() {
    let server = Server::start(&["--heartbeat", "100ms"]);
    run(
        &server,
        Transport::with(Framing::Sse),
        &checks![
            its_own_path_has_a_default_topic,
            the_envelope_is_the_default_of_its_path,
            an_envelope_is_one_line,
            heartbeats_are_lines_and_nothing_more,
            accept_decides,
        ],
    );
}

fn lines(event: &Event) -> &str {
    match &event.data {
        Data::Lines(text) => text,
        Data::Json(_) => panic!("SSE has lines"),
    }
}

async fn its_own_path_has_a_default_topic(mut row: Row) {
    let ask = Ask::of(Vec::<String>::new()).at("/sse");
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let id = row.publisher.text("messages", "x").await;
    // The other rows publish there too.
    while reader.event().await.id != id {}
}

async fn the_envelope_is_the_default_of_its_path(mut row: Row) {
    let topic = row.topic("t");
    let plain = "{\"a\": [1]}";
    let envelope = format!(
        r#"{{"server":"{}","topic":"{topic}","type":"k","data":{plain}}}"#,
        row.server
    );
    for (path, query, want) in [
        ("/events", None, plain),
        ("/events", Some("0"), plain),
        ("/events", Some("1"), &envelope),
        ("/sse", None, &envelope),
        ("/sse", Some("1"), &envelope),
        ("/sse", Some("0"), plain),
    ] {
        let mut ask = Ask::of([&topic]).at(path);
        if let Some(value) = query {
            ask = ask.with("envelope", value);
        }
        let mut reader = row.transport.open(&row.target, ask).await;
        reader.ready().await;
        let id = row.publisher.json(&format!("{topic}?type=k"), plain).await;
        let event = reader.event().await;
        assert_eq!((event.id, event.kind.as_str()), (id, "k"));
        assert_eq!(lines(&event), want, "{path} {query:?}");
    }
}

/// Text is a JSON string there, and `message` is left out.
async fn an_envelope_is_one_line(mut row: Row) {
    let topic = row.topic("t");
    let ask = Ask::of([&topic]).with("envelope", 1);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let text = "a\nb\r\n\"ä\u{2028}";
    row.publisher.text(&topic, text).await;
    let event = reader.event().await;
    assert!(!lines(&event).contains('\n'));
    let envelope: Value = serde_json::from_str(lines(&event)).expect("JSON");
    let want = serde_json::json!({ "server": row.server, "topic": topic, "data": text });
    assert_eq!(envelope, want);
}

/// The parser has refused any other comment, and a blank line after one.
async fn heartbeats_are_lines_and_nothing_more(mut row: Row) {
    let topic = row.topic("t");
    let mut reader = row.transport.open(&row.target, Ask::of([&topic])).await;
    reader.ready().await;
    for round in 0..3 {
        assert_eq!(reader.next().await, Message::Heartbeat);
        let id = row.publisher.text(&topic, &round.to_string()).await;
        loop {
            match reader.next().await {
                Message::Heartbeat => {}
                Message::Event(event) => break assert_eq!(event.id, id),
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn accept_decides(row: Row) {
    for (accept, status) in [
        (None, 200),
        (Some("*/*"), 200),
        (Some("text/*;q=0.5, application/json"), 200),
        (Some("Text/Event-Stream; q=1.0"), 200),
        (Some("application/json"), 406),
        (Some("text/event-stream;q=0, */*"), 406),
    ] {
        let mut connection = Connection::open(&row.target, row.transport.link).await;
        let mut call = Call::get("/events?topic=t");
        if let Some(accept) = accept {
            call = call.with("accept", accept);
        }
        let answer = connection.send(call).await.expect("an answer");
        assert_eq!(answer.status(), status, "{accept:?}");
        if status == 200 {
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
        }
    }
}
