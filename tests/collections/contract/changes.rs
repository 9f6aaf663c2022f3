//! Each change is an event on the collection's topic, on every wire, after it is committed and before it is answered.

use serde_json::json;

use crate::contract::WIRES;
use crate::shelf::{JSON_PATCH, MERGE, Shelf, brief, event, told};
use crate::support::client::Framing;
use crate::support::client::ask::Ask;
use crate::support::client::link::Call;
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    every_wire_tells_each_change(&mut Shelf::of(server, "changes").await).await;
    a_cursor_goes_on_on_another_wire(&mut Shelf::of(server, "changes_resumed").await).await;
    nobody_else_publishes_there(&mut Shelf::of(server, "changes_own").await).await;
}

async fn every_wire_tells_each_change(shelf: &mut Shelf) {
    let topic = format!("collections/{}", shelf.name);
    let mut readers = Vec::new();
    for transport in WIRES {
        let mut reader = shelf.watch(transport, "", None).await;
        reader.ready().await;
        readers.push(reader);
    }
    // The topic by its own name is the same.
    let mut plain = WIRES[0].open(&shelf.target, Ask::of([&topic])).await;
    plain.ready().await;
    readers.push(plain);

    let patch = json!([{ "op": "add", "path": "/b", "value": 2 }]);
    let done = [
        shelf.post(&json!({"a": 1})).await,
        shelf.put(1, &json!({"a": 2})).await,
        shelf.patch(1, JSON_PATCH, &patch).await,
        shelf.patch(1, MERGE, &json!({"a": null})).await,
        shelf.delete(1).await,
    ];
    let expected = [
        (
            "ADDED",
            json!({"id": 1, "version": 1, "document": {"id": 1, "a": 1}}),
        ),
        (
            "MODIFIED",
            json!({"id": 1, "version": 2, "document": {"id": 1, "a": 2}}),
        ),
        (
            "MODIFIED",
            json!({"id": 1, "version": 3, "document": {"id": 1, "a": 2, "b": 2}, "patch": patch}),
        ),
        (
            "MODIFIED",
            json!({"id": 1, "version": 4, "document": {"id": 1, "b": 2}, "patch": {"a": null}}),
        ),
        ("DELETED", json!({"id": 1, "version": 4})),
    ];
    for reader in &mut readers {
        for ((kind, said), answer) in expected.iter().zip(&done) {
            let told = told(reader).await;
            assert_eq!((&*told.kind, &told.said), (*kind, said));
            assert_eq!(told.event, event(answer), "its own echo can be told");
        }
    }
}

async fn a_cursor_goes_on_on_another_wire(shelf: &mut Shelf) {
    let mut reader = shelf.watch(WIRES[0], "", None).await;
    reader.ready().await;
    let mut number = 0;
    for transport in WIRES {
        number += 1;
        shelf.post(&json!({"n": number})).await;
        assert_eq!(told(&mut reader).await.said["document"]["n"], number);
        let cursor = reader.cursor();
        drop(reader);
        number += 1;
        shelf.post(&json!({"n": number})).await;
        reader = shelf.watch(transport, "", Some(cursor)).await;
        reader.ready().await;
        assert_eq!(told(&mut reader).await.said["document"]["n"], number);
    }
    // From the beginning, with nothing left out.
    let mut all = shelf
        .watch(
            WIRES[3],
            "",
            Some(crate::support::client::message::Id::ZERO),
        )
        .await;
    all.ready().await;
    for n in 1..=number {
        assert_eq!(brief(&told(&mut all).await), json!(["ADDED", n, 1]));
    }
}

async fn nobody_else_publishes_there(shelf: &mut Shelf) {
    let path = format!("/publish/collections/{}", shelf.name);
    let refused = shelf.call(Call::post(&path, "x")).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let socket = WIRES
        .into_iter()
        .find(|wire| wire.framing == Framing::WebSocket);
    let mut socket = shelf.watch(socket.expect("there is one"), "", None).await;
    socket.ready().await;
    let topic = format!("collections/{}", shelf.name);
    let message = json!({"type": "publish", "topic": topic, "data": 1, "ref": 1});
    socket.websocket().say(&message).await;
    assert_eq!(socket.answer().await["status"], 403);
}
