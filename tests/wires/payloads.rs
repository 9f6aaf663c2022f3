//! What is published arrives, on every transport: text with whatever SSE could stumble over, JSON byte for byte.

use super::support::client::Transport;
use super::support::client::ask::Ask;
use super::support::client::link::Call;
use super::support::server::Server;
use super::{Row, checks, run};

#[test]
fn payloads_arrive_as_they_were_published() {
    let server = Server::start(&[]);
    run(
        &server,
        Transport::all(),
        &checks![texts, documents, a_large_one],
    );
}

const TEXTS: [&str; 24] = [
    "",
    " ",
    "a",
    " a ",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r\n\n",
    "a\nb",
    "a\rb",
    "a\r\nb",
    "a\n\nb\n",
    "\na",
    ":hb",
    "a\n:hb\n\nb",
    "data: x\n\nid: 1-0\ndata: y\n\n",
    "event: ready\nretry: 1",
    "\u{feff}a byte order mark",
    "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f",
    "ä€𝄞\u{10ffff}\u{fffd}",
    "\u{1}\u{1f}\u{7f}\t\\\"'</script>",
    "{\"not\": \"parsed\"}",
    "null",
];

async fn texts(mut row: Row) {
    let topic = row.topic("t");
    let mut reader = row.transport.open(&row.target, Ask::of([&topic])).await;
    reader.ready().await;
    for text in TEXTS {
        row.publisher.text(&topic, text).await;
    }
    for text in TEXTS {
        let event = reader.event().await;
        assert!(event.data.is_text(text), "{text:?}: {:?}", event.data);
    }
}

const DOCUMENTS: [&str; 20] = [
    "null",
    "true",
    "0",
    "-0",
    "1.0",
    "1E+2",
    "1e400",
    "123456789012345678901234567890.123456789012345678901234567890",
    "\"\"",
    "\"\\u00e4\\/\\n\u{2028}\"",
    "\"a\\ud800b\"",
    "[]",
    "[ 1 ,\t2 ]",
    "{}",
    "{\"b\":1,\"a\":2}",
    "{\"a\":1,\"a\":2}",
    "{\n  \"a\": [\n    1\n  ]\n}",
    "{\"type\":\"$gap\",\"id\":\"1-0\"}",
    "{\"ä\":\"𝄞\"}",
    " 1 ",
];

async fn documents(mut row: Row) {
    let topic = row.topic("t");
    let mut reader = row.transport.open(&row.target, Ask::of([&topic])).await;
    reader.ready().await;
    for document in DOCUMENTS {
        row.publisher.json(&topic, document).await;
    }
    for document in DOCUMENTS {
        let event = reader.event().await;
        assert!(
            event.data.is_json(document),
            "{document:?}: {:?}",
            event.data
        );
    }
}

/// As large as an event may be, and too large by one byte.
async fn a_large_one(mut row: Row) {
    let topic = row.topic("t");
    let mut reader = row.transport.open(&row.target, Ask::of([&topic])).await;
    reader.ready().await;
    let text = "0123456789abcde\n".repeat(256 * 1024 / 16);
    row.publisher.text(&topic, &text).await;
    assert!(reader.event().await.data.is_text(&text));
    let call = Call::post(format!("/publish/{topic}"), format!("{text}x"));
    let answer = row.publisher.call(call).await;
    assert_eq!(answer.status, 413);
    let detail = answer.body["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("262144") && detail.contains("event-bytes"),
        "{detail}"
    );
}
