//! A cursor resumes a stream on any wire: nothing is lost and nothing comes twice.

use serde_json::{Value, json};

use super::WIRES;
use super::desk::{Desk, Stream};
use super::support::server::Server;

#[tokio::test]
async fn a_cursor_goes_on_on_every_other_wire() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.query("rows", "select n from t").await;
    let id = desk.subscription(&["rows"], &["plain"]).await;
    let mut control = desk.open(WIRES[0], &id).await;
    // Once it is told, it runs, and what comes is told as it comes.
    control.until("rows", json!([])).await;
    let mut stream = desk.open(WIRES[0], &id).await;
    let (mut number, mut seen) = (0, Vec::new());
    for round in 0..2 * WIRES.len() {
        for _ in 0..3 {
            number += 1;
            desk.rows("t", [number]).await;
            desk.publisher.json("plain", &number.to_string()).await;
        }
        if round % 2 == 0 {
            read(&mut stream, &mut seen, number).await;
        }
        let (cursor, next) = (stream.cursor(), WIRES[round % WIRES.len()]);
        drop(stream);
        // What comes while nobody reads is there too.
        number += 1;
        desk.rows("t", [number]).await;
        desk.publisher.json("plain", &number.to_string()).await;
        stream = desk.resume(next, &id, Some(cursor)).await;
    }
    read(&mut stream, &mut seen, number).await;
    let of_plain: Vec<i64> = (1..=number).collect();
    let numbers = |is_row: bool| -> Vec<i64> {
        let of_kind = seen.iter().filter(|(row, _)| *row == is_row);
        of_kind.map(|(_, n)| *n).collect()
    };
    assert_eq!(numbers(false), of_plain);
    assert_eq!(numbers(true), of_plain);
}

#[tokio::test]
async fn who_has_missed_nothing_is_told_nothing_again() {
    for wire in WIRES {
        let server = Server::start(&[]);
        let mut desk = Desk::of(&server).await;
        desk.table("t").await;
        desk.query("rows", "select n from t").await;
        desk.query("sum", "select sum(n) from t").await;
        let id = desk.subscription(&["rows", "sum"], &["plain"]).await;
        let mut stream = desk.open(wire, &id).await;
        stream.until("rows", json!([])).await;
        // It goes on being watched.
        let control = desk.open(wire, &id).await;
        desk.rows("t", [1]).await;
        let (mut rows, mut sum) = (false, false);
        while !(rows && sum) {
            let said = stream.next().await.said;
            rows |= said["mode"] == "append" && said["query"] == "rows";
            sum |= said == json!({ "query": "sum", "result": 1 });
        }
        let cursor = stream.cursor();
        drop(stream);
        let mut stream = desk.resume(wire, &id, Some(cursor)).await;
        desk.publisher.text("plain", "x").await;
        let said = stream.next().await.said;
        assert_eq!(said, json!({ "topic": "plain", "data": "x" }), "{wire:?}");
        drop(control);
    }
}

/// Reads until it has seen this number as a row and as an event; whole results are not additions.
async fn read(stream: &mut Stream, seen: &mut Vec<(bool, i64)>, last: i64) {
    while !(seen.contains(&(true, last)) && seen.contains(&(false, last))) {
        let said = stream.next().await.said;
        if said["topic"] == "plain" {
            seen.push((false, said["data"].as_i64().expect("a number")));
        } else if said["mode"] == "append" {
            let rows = said["result"].as_array().expect("rows");
            seen.extend(rows.iter().map(|row| (true, row["n"].as_i64().expect("n"))));
        } else {
            whole(&said, seen);
        }
    }
}

/// A present result has nothing newer than what was seen, since nothing after the cursor is in it.
fn whole(said: &Value, seen: &[(bool, i64)]) {
    for row in said["result"].as_array().expect("rows") {
        let n = row["n"].as_i64().expect("n");
        assert!(seen.contains(&(true, n)), "{n} was not told as an addition");
    }
}
