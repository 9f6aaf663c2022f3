//! Watches with filters: only what is asked for, and nothing of that is missed between a list and its watch.

use serde_json::{Value, json};

use crate::contract::WIRES;
use crate::shelf::{MERGE, Shelf, brief, cursor, told};
use crate::support::client::Reader;
use crate::support::client::ask::Ask;
use crate::support::client::message::Id;
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    what_begins_and_ceases_to_match(&mut Shelf::of(server, "watches").await).await;
    a_list_and_its_watch_miss_nothing(&mut Shelf::of(server, "watches_listed").await).await;
    a_cursor_goes_on_on_another_wire(&mut Shelf::of(server, "watches_resumed").await).await;
    what_is_malformed_is_refused(&mut Shelf::of(server, "watches_bad").await).await;
}

async fn briefs(reader: &mut Reader, count: usize) -> Vec<Value> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(brief(&told(reader).await));
    }
    all
}

async fn what_begins_and_ceases_to_match(shelf: &mut Shelf) {
    let mut readers = Vec::new();
    for transport in WIRES {
        let query = "filter[color]=red&filter[n][gt]=1";
        let mut reader = shelf.watch(transport, query, None).await;
        reader.ready().await;
        readers.push(reader);
    }
    shelf.post(&json!({"id": 1, "color": "red", "n": 2})).await;
    shelf.post(&json!({"id": 2, "color": "blue", "n": 2})).await;
    shelf.post(&json!({"id": 3, "color": "red", "n": 1})).await;
    shelf.patch(1, MERGE, &json!({"n": 3})).await;
    shelf.patch(1, MERGE, &json!({"color": "blue"})).await;
    shelf.patch(2, MERGE, &json!({"n": 5})).await;
    shelf.patch(2, MERGE, &json!({"color": "red"})).await;
    shelf.delete(3).await;
    shelf.delete(2).await;
    shelf.delete(1).await;
    shelf
        .post(&json!({"id": "last", "color": "red", "n": 9}))
        .await;
    let expected = json!([
        ["ADDED", 1, 1],
        ["MODIFIED", 1, 2],
        ["DELETED", 1, 3],
        ["ADDED", 2, 3],
        ["DELETED", 2, 3],
        ["ADDED", "last", 1],
    ]);
    for (reader, transport) in readers.iter_mut().zip(WIRES) {
        let told = briefs(reader, 6).await;
        assert_eq!(Value::from(told), expected, "{transport}");
    }
}

async fn a_list_and_its_watch_miss_nothing(shelf: &mut Shelf) {
    shelf.post(&json!({"id": 1, "on": true})).await;
    shelf.post(&json!({"id": 2, "on": true})).await;
    let listed = shelf.list("filter[on]=true").await;
    assert_eq!(listed.body["total"], 2);
    // Nobody watches yet.
    shelf.post(&json!({"id": 3, "on": true})).await;
    shelf.post(&json!({"id": 4, "on": false})).await;
    shelf.patch(1, MERGE, &json!({"on": false})).await;
    shelf.patch(2, MERGE, &json!({"n": 1})).await;
    for transport in WIRES {
        let mut watch = shelf
            .watch(transport, "filter[on]=true", Some(cursor(&listed)))
            .await;
        watch.ready().await;
        let told = briefs(&mut watch, 3).await;
        let expected = json!([["ADDED", 3, 1], ["DELETED", 1, 2], ["MODIFIED", 2, 2]]);
        assert_eq!(Value::from(told), expected, "{transport}");
    }
    let mut all = shelf
        .watch(WIRES[0], "filter[on]=true", Some(Id::ZERO))
        .await;
    all.ready().await;
    let told = briefs(&mut all, 5).await;
    let expected = json!([
        ["ADDED", 1, 1],
        ["ADDED", 2, 1],
        ["ADDED", 3, 1],
        ["DELETED", 1, 2],
        ["MODIFIED", 2, 2],
    ]);
    assert_eq!(Value::from(told), expected);
    shelf.delete(3).await;
    assert_eq!(
        Value::from(briefs(&mut all, 1).await),
        json!([["DELETED", 3, 1]])
    );
}

async fn a_cursor_goes_on_on_another_wire(shelf: &mut Shelf) {
    let query = "filter[odd]=true";
    let mut reader = shelf.watch(WIRES[0], query, None).await;
    reader.ready().await;
    let mut number = 0;
    for transport in WIRES {
        for _ in 0..2 {
            number += 1;
            shelf
                .post(&json!({"id": number, "odd": number % 2 == 1}))
                .await;
        }
        assert_eq!(
            brief(&told(&mut reader).await),
            json!(["ADDED", number - 1, 1])
        );
        let cursor = reader.cursor();
        drop(reader);
        for _ in 0..2 {
            number += 1;
            shelf
                .post(&json!({"id": number, "odd": number % 2 == 1}))
                .await;
        }
        reader = shelf.watch(transport, query, Some(cursor)).await;
        reader.ready().await;
        assert_eq!(
            brief(&told(&mut reader).await),
            json!(["ADDED", number - 1, 1])
        );
    }
}

async fn what_is_malformed_is_refused(shelf: &mut Shelf) {
    let at = || {
        Ask::default()
            .at(shelf.list_path("").leak())
            .with("watch", 1)
    };
    for ask in [
        at().with("filter[a b]", 1),
        at().with("filter[a][like]", 1),
        at().with("after", "x"),
        at().with("topic", "t"),
    ] {
        for transport in [WIRES[0], WIRES[3]] {
            let refused = transport.try_open(&shelf.target, ask.clone()).await;
            let refused = refused.err().expect("it is refused");
            assert_eq!(refused.status, 400, "{ask:?}");
        }
    }
}
