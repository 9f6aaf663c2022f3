//! What only long polling has: answers that are held, and bounded.

use std::time::{Duration, Instant};

use super::support::client::ask::Ask;
use super::support::client::link::{Call, Connection};
use super::support::client::message::{Data, Id};
use super::support::client::poll::{Answer, poll};
use super::support::client::{Framing, Transport};
use super::support::server::Server;
use super::{Row, checks, run};

#[test]
fn a_poll_is_held_and_answered() {
    let server = Server::start(&[]);
    run(
        &server,
        Transport::with(Framing::LongPoll),
        &checks![
            without_a_cursor_it_is_answered_at_once,
            an_event_that_is_there_answers_at_once,
            it_is_held_until_an_event,
            it_is_answered_empty_in_time,
            an_answer_has_at_most_a_thousand_events,
            an_answer_has_at_most_so_many_bytes,
            the_cursor_moves_past_what_is_not_asked_for,
            a_timeout_has_bounds,
        ],
    );
}

async fn once(row: &Row, ask: &Ask) -> Answer {
    let mut connection = Connection::open(&row.target, row.transport.link).await;
    let answer = poll(&mut connection, ask).await;
    answer.unwrap_or_else(|refused| panic!("{refused}"))
}

async fn without_a_cursor_it_is_answered_at_once(mut row: Row) {
    let topic = row.topic("t");
    let id = row.publisher.text(&topic, "before").await;
    let answer = once(&row, &Ask::of([&topic]).timeout(60)).await;
    assert!(answer.events.is_empty() && answer.gaps.is_empty());
    let after = row.publisher.text(&topic, "after").await;
    assert!(id <= answer.cursor && answer.cursor < after);
    let answer = once(&row, &Ask::of([&topic]).after(answer.cursor)).await;
    assert_eq!(answer.events[0].id, after);
}

async fn an_event_that_is_there_answers_at_once(mut row: Row) {
    let topic = row.topic("t");
    let (first, last) = row.publisher.numbers(&topic, 0..3).await;
    let ask = Ask::of([&topic]).after(Id::ZERO).timeout(60);
    let answer = once(&row, &ask).await;
    assert_eq!(answer.events.len(), 3);
    assert_eq!((answer.events[0].id, answer.events[2].id), (first, last));
    // The cursor may be further, where nothing of this topic is.
    assert!(answer.cursor >= last);
}

/// It is held: of two answers, that to a question which was put later on another connection comes first.
async fn it_is_held_until_an_event(mut row: Row) {
    let topic = row.topic("t");
    let cursor = row.publisher.text(&topic, "before").await;
    let ask = Ask::of([&topic]).after(cursor).timeout(20);
    let mut connection = Connection::open(&row.target, row.transport.link).await;
    let held = tokio::spawn(async move { poll(&mut connection, &ask).await });
    let short = Ask::of([&topic]).after(cursor).timeout(1);
    assert!(once(&row, &short).await.events.is_empty());
    assert!(!held.is_finished());
    let id = row.publisher.text(&topic, "after").await;
    let answer = held.await.expect("no panic").expect("an answer");
    assert_eq!((answer.events.len(), answer.events[0].id), (1, id));
}

async fn it_is_answered_empty_in_time(mut row: Row) {
    let topic = row.topic("t");
    let id = row.publisher.text(&topic, "before").await;
    let begin = Instant::now();
    let answer = once(&row, &Ask::of([&topic]).after(id).timeout(1)).await;
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert!(answer.events.is_empty() && answer.gaps.is_empty());
    assert!(answer.cursor >= id);
}

async fn an_answer_has_at_most_a_thousand_events(mut row: Row) {
    let topic = row.topic("t");
    row.publisher.numbers(&topic, 0..1_200).await;
    let mut next = 0;
    let mut cursor = Id::ZERO;
    for count in [1_000, 200] {
        let answer = once(&row, &Ask::of([&topic]).after(cursor)).await;
        assert_eq!(answer.events.len(), count);
        for event in answer.events {
            assert_eq!(event.data, Data::Json(next.to_string()));
            next += 1;
        }
        cursor = answer.cursor;
    }
}

async fn an_answer_has_at_most_so_many_bytes(mut row: Row) {
    let topic = row.topic("t");
    let sizes = [60, 60, 60, 60, 60, 250, 60].map(|kib| kib * 1024);
    let mut ids = Vec::new();
    for size in sizes {
        ids.push(row.publisher.text(&topic, &"x".repeat(size)).await);
    }
    let mut cursor = Id::ZERO;
    let mut got = Vec::new();
    while got.len() < sizes.len() {
        let answer = once(&row, &Ask::of([&topic]).after(cursor)).await;
        let count = answer.events.len();
        assert!(count >= 1, "at least one");
        assert!(
            answer.bytes <= 256 * 1024 || count == 1,
            "{count} events, {} bytes",
            answer.bytes
        );
        got.extend(answer.events.iter().map(|event| event.id));
        cursor = answer.cursor;
    }
    assert_eq!(got, ids);
}

/// So that a topic on which little happens does not fall behind what is forgotten.
async fn the_cursor_moves_past_what_is_not_asked_for(mut row: Row) {
    let [quiet, other] = ["quiet", "other"].map(|name| row.topic(name));
    let cursor = row.publisher.text(&quiet, "x").await;
    let newer = row.publisher.text(&other, "x").await;
    let answer = once(&row, &Ask::of([&quiet]).after(cursor).timeout(0)).await;
    assert!(answer.events.is_empty() && answer.cursor >= newer);
}

async fn a_timeout_has_bounds(row: Row) {
    for (timeout, status) in [("60", 200), ("61", 400), ("-1", 400), ("x", 400), ("", 400)] {
        let mut connection = Connection::open(&row.target, row.transport.link).await;
        let call = Call::get(format!("/poll?topic=t&timeout={timeout}"));
        let answer = connection.send(call).await.expect("an answer");
        assert_eq!(answer.status(), status, "{timeout}");
    }
}
