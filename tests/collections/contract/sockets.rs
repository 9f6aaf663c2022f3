//! The same on a WebSocket: requests and replies beside the events, many at a time.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::contract::WIRES;
use crate::shelf::Shelf;
use crate::support::client::message::Message;
use crate::support::client::{Framing, Reader};
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    requests_are_answered(&mut Shelf::of(server, "sockets").await).await;
    many_are_under_way(&mut Shelf::of(server, "sockets_many").await).await;
}

async fn ask(socket: &mut Reader, request: Value) -> Value {
    let mut message = json!({"type": "request", "ref": 4});
    for (name, value) in request.as_object().expect("an object") {
        message[name] = value.clone();
    }
    socket.websocket().say(&message).await;
    let mut reply = socket.answer().await;
    assert_eq!(reply["type"], "$reply", "{reply}");
    assert_eq!(reply["ref"], 4, "{reply}");
    if let Some(reply) = reply.as_object_mut() {
        reply.remove("type");
        reply.remove("ref");
    }
    reply
}

async fn requests_are_answered(shelf: &mut Shelf) {
    let sockets = WIRES
        .into_iter()
        .filter(|wire| wire.framing == Framing::WebSocket);
    for (round, transport) in sockets.enumerate() {
        let (one, path) = (format!("one{round}"), shelf.path(format!("one{round}")));
        let mut socket = shelf.watch(transport, "filter[nothing]=1", None).await;
        socket.ready().await;
        let all = shelf.list_path("");
        let made = ask(
            &mut socket,
            json!({"method": "POST", "path": all, "body": {"id": one, "n": 1}}),
        )
        .await;
        assert_eq!(made["status"], 201, "{made}");
        assert_eq!(made["body"], json!({"id": one, "n": 1}));
        assert_eq!(
            (&made["etag"], &made["location"]),
            (&json!("\"1\""), &json!(path))
        );
        assert!(made["event"].is_string());
        let read = ask(&mut socket, json!({"method": "GET", "path": path})).await;
        assert_eq!(
            read,
            json!({"status": 200, "etag": "\"1\"", "body": {"id": one, "n": 1}})
        );
        let patched = ask(
            &mut socket,
            json!({"method": "PATCH", "path": path, "if_match": "\"1\"", "body": [{"op": "add", "path": "/m", "value": 2}]}),
        )
        .await;
        assert_eq!(
            (&patched["status"], &patched["body"]["m"]),
            (&json!(200), &json!(2))
        );
        let stale = ask(
            &mut socket,
            json!({"method": "PUT", "path": path, "if_match": "\"1\"", "body": {}}),
        )
        .await;
        assert_eq!(
            (&stale["status"], &stale["body"]["status"]),
            (&json!(412), &json!(412))
        );
        assert!(stale["body"]["detail"].is_string());
        let page = ask(
            &mut socket,
            json!({"method": "GET", "path": format!("{all}?filter[id]={one}")}),
        )
        .await;
        assert_eq!(page["body"]["total"], 1, "{page}");
        let lines = ask(
            &mut socket,
            json!({"method": "POST", "path": all, "content_type": "application/x-ndjson", "body": "{}\n{}\n"}),
        )
        .await;
        assert_eq!(lines["body"]["count"], 2, "{lines}");
        let gone = ask(&mut socket, json!({"method": "DELETE", "path": path})).await;
        assert_eq!(gone["status"], 204);
        assert_eq!(gone.get("body"), None);
        for (status, request) in [
            (404, json!({"method": "GET", "path": path})),
            (404, json!({"method": "GET", "path": "/stats"})),
            (400, json!({"method": "GET"})),
            (400, json!({"path": path})),
            (400, json!({"method": "G T", "path": path})),
            (400, json!({"method": "PUT", "path": path})),
            (400, json!({"method": "PUT", "path": path, "body": 1})),
            (
                400,
                json!({"method": "GET", "path": format!("{all}?watch=1")}),
            ),
            (
                400,
                json!({"method": "GET", "path": format!("{all}?page=0")}),
            ),
            (405, json!({"method": "DELETE", "path": all})),
            (405, json!({"method": "BREW", "path": all})),
            (
                413,
                json!({"method": "PUT", "path": path, "body": {"x": "y".repeat(300_000)}}),
            ),
            (
                415,
                json!({"method": "PATCH", "path": path, "body": {}, "content_type": "text/plain"}),
            ),
        ] {
            let reply = ask(&mut socket, request.clone()).await;
            assert_eq!(reply["status"], status, "{request}: {reply}");
            assert_eq!(reply["body"]["status"], status, "{request}: {reply}");
        }
    }
}

async fn many_are_under_way(shelf: &mut Shelf) {
    const MANY: u64 = 1000;
    let mut socket = shelf.watch(WIRES[3], "", None).await;
    socket.ready().await;
    let all = shelf.list_path("");
    for n in 0..MANY {
        let body = json!({"id": format!("d{n}"), "n": n});
        let message =
            json!({"type": "request", "ref": n, "method": "POST", "path": all, "body": body});
        socket.websocket().say(&message).await;
    }
    let (mut replied, mut told) = (BTreeSet::new(), BTreeSet::new());
    while replied.len() + told.len() < 2 * MANY as usize {
        match socket.next().await {
            Message::Answer(reply) => {
                assert_eq!(reply["status"], 201, "{reply}");
                let reference = reply["ref"].as_u64().expect("a ref");
                assert!(replied.insert(reference), "{reference} twice");
                assert_eq!(reply["body"]["n"], reference);
            }
            Message::Event(event) => assert!(told.insert(event.id)),
            Message::Heartbeat => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shelf.list("").await.body["total"], MANY);
}
