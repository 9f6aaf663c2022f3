//! What only a WebSocket has: it is spoken to. Subscribing, publishing, and what is refused.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;

use super::support::client::ask::Ask;
use super::support::client::message::{Id, Message};
use super::support::client::{Framing, Reader, Transport};
use super::support::server::Server;
use super::{Row, checks, run};

#[test]
fn a_websocket_is_spoken_to() {
    let server = Server::start(&[]);
    run(
        &server,
        Transport::with(Framing::WebSocket),
        &checks![
            without_a_topic_it_reads_nothing_yet,
            its_own_path_has_a_default_topic,
            each_topic_has_its_own_cursor,
            what_is_lost_is_told_after_the_answer,
            what_is_left_is_not_read,
            what_is_published_is_kept_byte_for_byte,
            a_bad_message_is_answered,
            a_refused_subscription_changes_nothing,
            latest_leaves_other_subscriptions_alone,
        ],
    );
}

async fn open(row: &Row, ask: Ask) -> Reader {
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    reader
}

async fn say(reader: &mut Reader, message: Value) -> Value {
    reader.websocket().say(&message).await;
    reader.answer().await
}

fn nothing() -> Ask {
    Ask::of(Vec::<String>::new())
}

async fn without_a_topic_it_reads_nothing_yet(mut row: Row) {
    let topic = row.topic("t");
    let mut reader = open(&row, nothing()).await;
    let before = row.publisher.text(&topic, "not read").await;
    let ack = say(
        &mut reader,
        json!({"type": "subscribe", "topics": [topic], "ref": 1}),
    )
    .await;
    let cursor: Id = ack["cursor"]
        .as_str()
        .expect("a cursor")
        .parse()
        .expect("good");
    assert!(before <= cursor);
    assert_eq!(
        ack,
        json!({"type": "$ack", "ref": 1, "cursor": cursor.to_string()})
    );
    let id = row.publisher.text(&topic, "read").await;
    assert_eq!(reader.event().await.id, id);
}

async fn its_own_path_has_a_default_topic(mut row: Row) {
    let mut reader = open(&row, nothing().at("/ws")).await;
    let id = row.publisher.text("messages", "x").await;
    // The other rows publish there too.
    while reader.event().await.id != id {}
    let topic = row.topic("t");
    let mut reader = open(&row, Ask::of([&topic]).at("/ws")).await;
    row.publisher.text("messages", "not asked for").await;
    let id = row.publisher.text(&topic, "x").await;
    assert_eq!(reader.event().await.id, id);
}

async fn each_topic_has_its_own_cursor(mut row: Row) {
    let [a, b, c] = ["a", "b", "c"].map(|name| row.topic(name));
    let (_, a_last) = row.publisher.numbers(&a, 0..3).await;
    let (_, b_last) = row.publisher.numbers(&b, 0..3).await;
    let (c_first, c_last) = row.publisher.numbers(&c, 0..2).await;
    let mut reader = open(&row, Ask::of([&c])).await;
    let live = row.publisher.text(&c, "live").await;
    assert_eq!(reader.event().await.id, live);
    // One from the oldest, one from a place, one from `after`, and one that is read already and stays where it is.
    let d = row.topic("d");
    let topics = json!({&a: "0-0", &b: b_last.to_string(), &d: null, &c: "0-0"});
    let after = c_last.to_string();
    let ack = say(
        &mut reader,
        json!({"type": "subscribe", "topics": topics, "after": after, "ref": {"any": "thing"}}),
    )
    .await;
    assert_eq!(ack["ref"], json!({"any": "thing"}));
    assert_eq!(ack["cursor"], "0-0", "the lowest");
    let older = reader.events(3).await;
    assert!(older.iter().all(|e| e.topic.as_ref() == Some(&a)));
    assert_eq!(older[2].id, a_last);
    assert!(older[2].id < c_first, "older ids of a new topic");
    for topic in [&d, &b, &c, &a] {
        let id = row.publisher.text(topic, "live").await;
        let event = reader.event().await;
        assert_eq!((event.id, event.topic.as_ref()), (id, Some(topic)));
    }
}

async fn what_is_lost_is_told_after_the_answer(mut row: Row) {
    let topic = row.topic("t");
    let first = row.publisher.text(&topic, "x").await;
    let mut reader = open(&row, nothing()).await;
    let beyond = Id::MAX.to_string();
    let ack = say(
        &mut reader,
        json!({"type": "subscribe", "topics": [topic], "after": beyond}),
    )
    .await;
    assert!(ack.get("ref").is_none(), "none was given: {ack}");
    let gap = reader.gap().await;
    assert_eq!((gap.topic, gap.after), (topic, Some(Id::MAX)));
    assert_eq!(
        ack["cursor"],
        gap.resumed_at.to_string(),
        "where it really starts"
    );
    assert_eq!(reader.event().await.id, first);
}

async fn what_is_left_is_not_read(mut row: Row) {
    let [a, b] = ["a", "b"].map(|name| row.topic(name));
    let mut reader = open(&row, Ask::of([&a, &b])).await;
    let message = json!({"type": "unsubscribe", "topics": [a, "never-read"], "ref": 2});
    assert_eq!(
        say(&mut reader, message).await,
        json!({"type": "$ack", "ref": 2})
    );
    row.publisher.text(&a, "not read").await;
    let id = row.publisher.text(&b, "read").await;
    assert_eq!(reader.event().await.id, id);
}

async fn what_is_published_is_kept_byte_for_byte(row: Row) {
    let topic = row.topic("t");
    let mut reader = open(&row, Ask::of([&topic])).await;
    for data in [
        "{\"b\": 1, \"a\":[ ]}",
        "\"a\\nb\\u00e4\"",
        "1.0E+2",
        "null",
        "1e400",
        "\"\\ud800\"",
    ] {
        let text =
            format!(r#"{{"type":"publish","topic":"{topic}","event":"k","data":{data},"ref":3}}"#);
        reader.websocket().send(Frame::text(text)).await;
        let ack = reader.answer().await;
        assert_eq!(
            (&ack["type"], &ack["ref"]),
            (&json!("$ack"), &json!(3)),
            "{data}: {ack}"
        );
        let event = reader.event().await;
        assert_eq!(ack["id"], event.id.to_string());
        assert_eq!(event.kind, "k");
        assert!(event.data.is_json(data), "{data}: {:?}", event.data);
    }
}

async fn a_bad_message_is_answered(mut row: Row) {
    let topic = row.topic("t");
    let mut reader = open(&row, Ask::of([&topic])).await;
    let many: Vec<String> = (0..257).map(|n| format!("t{n}")).collect();
    let table = [
        (json!({"type": "nonsense"}), 400),
        (json!({"topics": ["t"]}), 400),
        (json!({"type": "subscribe"}), 400),
        (json!({"type": "subscribe", "topics": "t"}), 400),
        (json!({"type": "subscribe", "topics": ["a//b"]}), 400),
        (
            json!({"type": "subscribe", "topics": ["t"], "after": "x"}),
            400,
        ),
        (json!({"type": "subscribe", "topics": {"t": "x"}}), 400),
        (json!({"type": "subscribe", "topics": many}), 400),
        (json!({"type": "unsubscribe", "topics": [1]}), 400),
        (json!({"type": "publish", "topic": "t"}), 400),
        (json!({"type": "publish", "topic": "", "data": 1}), 400),
        (
            json!({"type": "publish", "topic": "t", "event": "ready", "data": 1}),
            400,
        ),
        (
            json!({"type": "publish", "topic": "$stats", "data": 1}),
            403,
        ),
        (
            json!({"type": "publish", "topic": "t", "data": "x".repeat(256 * 1024)}),
            413,
        ),
    ];
    for (mut message, status) in table {
        message["ref"] = json!("mine");
        let error = say(&mut reader, message.clone()).await;
        assert_eq!(error["type"], "$error", "{message}");
        assert_eq!(error["ref"], "mine", "{message}: {error}");
        assert_eq!(error["status"], status, "{message}: {error}");
        assert!(
            error["title"].is_string() && error["detail"].is_string(),
            "{error}"
        );
    }
    for text in ["", "{", "no JSON", "[]", "null", "{}x"] {
        reader.websocket().send(Frame::text(text)).await;
        let error = reader.answer().await;
        assert_eq!(
            (&error["type"], &error["status"]),
            (&json!("$error"), &json!(400))
        );
    }
    let id = row.publisher.text(&topic, "the socket stays").await;
    assert_eq!(reader.event().await.id, id);
}

async fn a_refused_subscription_changes_nothing(mut row: Row) {
    let [good, other] = ["good", "other"].map(|name| row.topic(name));
    let mut reader = open(&row, Ask::of([&other])).await;
    for topics in [json!({&good: "0-0", "bad": "x"}), json!([good, "a//b"])] {
        let error = say(&mut reader, json!({"type": "subscribe", "topics": topics})).await;
        assert_eq!(error["type"], "$error");
    }
    row.publisher.text(&good, "not read").await;
    let id = row.publisher.text(&other, "read").await;
    assert_eq!(reader.event().await.id, id);
}

/// A cursor counts for its topics alone; so does what is lost by it.
async fn latest_leaves_other_subscriptions_alone(mut row: Row) {
    let [old, new] = ["old", "new"].map(|name| row.topic(name));
    row.publisher.numbers(&old, 0..5_000).await;
    row.publisher.numbers(&new, 0..10).await;
    // Said before the old topic can have been read to its end.
    let ask = Ask::of([&old]).after(Id::ZERO).lag("latest");
    let mut reader = row.transport.open(&row.target, ask).await;
    let message = json!({"type": "subscribe", "topics": [new], "after": Id::MAX.to_string()});
    reader.websocket().say(&message).await;
    reader.ready().await;
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    while events.len() < 5_001 {
        match reader.next().await {
            Message::Event(event) => events.push(event),
            Message::Gap(gap) => gaps.push(gap),
            Message::Answer(ack) => {
                assert_eq!(ack["type"], "$ack")
            }
            other => panic!("{other:?}"),
        }
        assert!(gaps.iter().all(|gap| gap.topic == new), "{gaps:?}");
    }
    assert_eq!(gaps.len(), 1);
}
