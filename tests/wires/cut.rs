//! A connection that is cut on request: its reader sees the network fail, and resumes without loss.

use super::support::client::Framing;
use super::support::client::Transport;
use super::support::client::ask::Ask;
use super::support::client::link::Call;
use super::support::client::message::End;
use super::support::server::Server;
use super::{Row, checks, run};

#[test]
fn a_connection_can_be_cut() {
    let server = Server::start(&[]);
    let live = [Framing::Sse, Framing::WebSocket].map(Transport::with);
    run(
        &server,
        live.into_iter().flatten(),
        &checks![
            whoever_knows_the_key_cuts,
            a_key_is_checked,
            a_stream_without_a_key_stays,
        ],
    );
}

/// A key of the right kind, another one for each row.
fn key(row: &Row, name: &str) -> String {
    let row = format!(
        "{}-{:?}-{:?}",
        name, row.transport.framing, row.transport.link
    );
    format!("{row:-<32}")
}

async fn cut(row: &mut Row, key: &str) -> (u16, serde_json::Value) {
    let answer = row
        .publisher
        .call(Call::post(format!("/cut/{key}"), ""))
        .await;
    (answer.status, answer.body)
}

async fn whoever_knows_the_key_cuts(mut row: Row) {
    let topic = row.topic("t");
    let key = key(&row, "cut");
    let ask = Ask::of([&topic]).with("cut", &key);
    let mut reader = row.transport.open(&row.target, ask.clone()).await;
    reader.ready().await;
    let first = row.publisher.text(&topic, "first").await;
    assert_eq!(reader.event().await.id, first);

    let (status, body) = cut(&mut row, &key).await;
    assert_eq!((status, body["connections"].as_u64()), (200, Some(1)));
    let end = reader.end().await;
    assert!(matches!(end, End::Cut(_)), "{end:?}");

    let second = row.publisher.text(&topic, "second").await;
    let mut again = row.transport.open(&row.target, ask.resume(first)).await;
    assert_eq!(again.ready().await, first);
    assert_eq!(again.event().await.id, second);
    // The key is good for the stream that came back with it, once.
    assert_eq!(cut(&mut row, &key).await.0, 200);
    let end = again.end().await;
    assert!(matches!(end, End::Cut(_)), "{end:?}");
    assert_eq!(cut(&mut row, &key).await.0, 404);
}

async fn a_key_is_checked(mut row: Row) {
    let topic = row.topic("t");
    let long = "x".repeat(65);
    for wrong in ["", "short", "has/a/slash/in/it", &long] {
        let ask = Ask::of([&topic]).with("cut", wrong);
        let refused = row.transport.try_open(&row.target, ask).await;
        assert_eq!(refused.err().map(|r| r.status), Some(400), "{wrong}");
        assert_eq!(cut(&mut row, wrong).await.0, 400, "{wrong}");
    }
}

async fn a_stream_without_a_key_stays(mut row: Row) {
    let topic = row.topic("t");
    let mut plain = row.transport.open(&row.target, Ask::of([&topic])).await;
    plain.ready().await;
    let key = key(&row, "other");
    let ask = Ask::of([&topic]).with("cut", &key);
    let mut other = row.transport.open(&row.target, ask).await;
    other.ready().await;
    assert_eq!(cut(&mut row, &key).await.0, 200);
    other.end().await;
    let id = row.publisher.text(&topic, "still").await;
    assert_eq!(plain.event().await.id, id);
}
