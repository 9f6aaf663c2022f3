//! What holds on every transport: where a stream starts, what it carries and in which order, where it ends.

use super::support::client::Framing;
use super::support::client::Transport;
use super::support::client::ask::Ask;
use super::support::client::message::{End, Id, Message};
use super::support::server::Server;
use super::{Row, checks, run};

#[test]
fn every_transport_keeps_the_contract() {
    let server = Server::start(&[]);
    run(
        &server,
        Transport::all(),
        &checks![
            ready_is_first_and_at_the_head,
            nothing_after_ready_is_missed,
            ids_increase_over_all_topics,
            a_type_is_told_unless_it_is_message,
            a_limit_ends_the_stream,
            a_cursor_gives_what_follows_once,
            the_header_is_newer_than_the_url,
            zero_is_the_oldest_retained,
            a_topic_without_events_is_empty,
            a_malformed_question_is_refused,
            a_topic_that_is_named_twice_is_read_once,
        ],
    );
}

/// Published before is at or below the cursor, published afterwards is above it.
async fn ready_is_first_and_at_the_head(mut row: Row) {
    let topic = row.topic("t");
    let before = row.publisher.text(&topic, "before").await;
    let mut reader = row.transport.open(&row.target, Ask::of([&topic])).await;
    let Message::Ready { cursor, server } = reader.next().await else {
        panic!("ready is not first");
    };
    if row.transport.framing != Framing::LongPoll {
        assert_eq!(server.as_ref(), Some(&row.server));
    }
    let after = row.publisher.text(&topic, "after").await;
    assert!(
        before <= cursor && cursor < after,
        "{before} {cursor} {after}"
    );
    assert_eq!(reader.event().await.id, after);
}

async fn nothing_after_ready_is_missed(mut row: Row) {
    let topic = row.topic("t");
    for round in 0..20 {
        let text = round.to_string();
        let mut reader = row.transport.open(&row.target, Ask::of([&topic])).await;
        reader.ready().await;
        let id = row.publisher.text(&topic, &text).await;
        let event = reader.event().await;
        assert_eq!((event.id, event.data.text()), (id, text));
    }
}

async fn ids_increase_over_all_topics(mut row: Row) {
    let topics = ["a", "b", "c"].map(|name| row.topic(name));
    let ask = Ask::of(&topics[..2]);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let mut want = Vec::new();
    for round in 0..60 {
        let topic = &topics[round % 3];
        let id = row.publisher.text(topic, &round.to_string()).await;
        if round % 3 < 2 {
            want.push((id, round.to_string()));
        }
    }
    assert!(
        want.is_sorted_by(|a, b| a.0 < b.0),
        "ids increase: {want:?}"
    );
    let got = reader.events(want.len()).await;
    let got: Vec<(Id, String)> = got.iter().map(|e| (e.id, e.data.text())).collect();
    assert_eq!(got, want);
}

async fn a_type_is_told_unless_it_is_message(mut row: Row) {
    let topic = row.topic("t");
    let mut reader = row.transport.open(&row.target, Ask::of([&topic])).await;
    reader.ready().await;
    for (query, kind) in [
        ("", "message"),
        ("?type=message", "message"),
        ("?type=order%3Anew", "order:new"),
    ] {
        row.publisher.text(&format!("{topic}{query}"), "x").await;
        let event = reader.event().await;
        // The readers refuse a `message` that is spelt out.
        assert_eq!(event.kind, kind);
        if row.transport.framing != Framing::Sse {
            assert_eq!(event.topic.as_ref(), Some(&topic));
        }
    }
}

async fn a_limit_ends_the_stream(mut row: Row) {
    let topic = row.topic("t");
    let (first, last) = row.publisher.numbers(&topic, 0..5).await;
    let ask = Ask::of([&topic]).after(Id::ZERO).limit(5);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let events = reader.events(5).await;
    assert_eq!((events[0].id, events[4].id), (first, last));
    match (row.transport.framing, reader.end().await) {
        (Framing::Sse, End::Body) | (Framing::LongPoll, End::Answered) => {}
        (Framing::WebSocket, End::Close(1000, reason)) => assert!(!reason.is_empty()),
        (_, end) => panic!("it ends so: {end:?}"),
    }
}

async fn a_cursor_gives_what_follows_once(mut row: Row) {
    let topic = row.topic("t");
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(row.publisher.text(&topic, &n.to_string()).await);
    }
    for ask in [
        Ask::of([&topic]).after(ids[1]),
        Ask::of([&topic]).last_event_id(ids[1].to_string()),
    ] {
        let mut reader = row.transport.open(&row.target, ask).await;
        assert_eq!(reader.ready().await, ids[1], "its own cursor");
        let got: Vec<Id> = reader
            .events(ids.len() - 2)
            .await
            .iter()
            .map(|e| e.id)
            .collect();
        assert_eq!(got, ids[2..]);
        ids.push(row.publisher.text(&topic, "live").await);
        assert_eq!(Some(&reader.event().await.id), ids.last());
    }
}

/// A browser that reconnects repeats the URL, and adds the header.
async fn the_header_is_newer_than_the_url(mut row: Row) {
    let topic = row.topic("t");
    let (first, last) = row.publisher.numbers(&topic, 0..3).await;
    let ask = Ask::of([&topic])
        .after(Id::ZERO)
        .last_event_id(first.to_string());
    let mut reader = row.transport.open(&row.target, ask).await;
    assert_eq!(reader.ready().await, first);
    assert_eq!(reader.events(2).await[1].id, last);
}

async fn zero_is_the_oldest_retained(mut row: Row) {
    let topics = ["a", "b"].map(|name| row.topic(name));
    let a = row.publisher.text(&topics[0], "a").await;
    let b = row.publisher.text(&topics[1], "b").await;
    let ask = Ask::of(&topics).after("0-0");
    let mut reader = row.transport.open(&row.target, ask).await;
    assert_eq!(reader.ready().await, Id::ZERO);
    let got = reader.events(2).await;
    assert_eq!([got[0].id, got[1].id], [a, b]);
}

async fn a_topic_without_events_is_empty(mut row: Row) {
    let topics = ["never", "now"].map(|name| row.topic(name));
    let ask = Ask::of(&topics).after("0-0");
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let id = row.publisher.text(&topics[1], "x").await;
    assert_eq!(reader.event().await.id, id);
}

async fn a_malformed_question_is_refused(row: Row) {
    let ask = || Ask::of(["t"]);
    let mut table: Vec<Ask> = [
        "",
        "x",
        "1",
        "1-",
        "-1",
        "1-2-3",
        "+1-0",
        "1-0x",
        " 1-0",
        "18446744073709551616-0",
    ]
    .map(|cursor| ask().after(cursor))
    .into();
    table.extend(["0", "1000001", "-1", "x", "+1", ""].map(|n| ask().with("limit", n)));
    table.extend(["never", ""].map(|policy| ask().lag(policy)));
    table.extend(
        ["a//b", "/a", "a/", ".", "a/../b", "ä", "", "a b", "a$b"].map(|name| Ask::of([name])),
    );
    table.push(Ask::of(["x".repeat(256)]));
    table.push(Ask::of((0..257).map(|n| format!("t{n}"))));
    if row.transport.framing != Framing::WebSocket {
        table.push(Ask::of(Vec::<String>::new()));
    }
    if row.transport.framing == Framing::Sse {
        table.push(ask().with("envelope", "yes"));
    }
    for ask in table {
        let Err(refused) = row.transport.try_open(&row.target, ask.clone()).await else {
            panic!("taken: {ask:?}");
        };
        assert_eq!(refused.status, 400, "{ask:?}");
        if row.transport.framing != Framing::WebSocket {
            refused.problem();
        }
    }
}

async fn a_topic_that_is_named_twice_is_read_once(mut row: Row) {
    let topic = row.topic("t");
    let ask = Ask::of([&topic, &topic]);
    let mut reader = row.transport.open(&row.target, ask).await;
    reader.ready().await;
    let first = row.publisher.text(&topic, "1").await;
    let second = row.publisher.text(&topic, "2").await;
    let got = reader.events(2).await;
    assert_eq!([got[0].id, got[1].id], [first, second]);
}
