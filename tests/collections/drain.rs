//! A server that leaves answers what it has begun: whatever is made is acknowledged.

use std::collections::BTreeSet;

use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::support::client::link::{Call, Connection, Link, Target};
use crate::support::client::websocket::WebSocket;
use crate::support::server::{Server, new_dir};

/// Requests of one WebSocket: more than are carried out before the server leaves.
const MANY: u64 = 50_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_beside_a_drain_is_acknowledged() {
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    let mut server = Server::start(&[&flag]);
    let target = Target::of(&server);
    let (told, mut acknowledged) = unbounded_channel();
    let mut writers = JoinSet::new();
    for (n, link) in [Link::Http1, Link::Http1s, Link::H2c, Link::Http2]
        .into_iter()
        .enumerate()
    {
        for m in 0..4 {
            let name = format!("http-{n}-{m}");
            writers.spawn(by_http(target.clone(), link, name, told.clone()));
        }
    }
    for link in [Link::Ws, Link::Http2] {
        writers.spawn(by_websocket(target.clone(), link, told.clone()));
    }
    drop(told);
    let mut all = BTreeSet::new();
    while let Some(id) = acknowledged.recv().await {
        all.insert(id);
        if all.len() == 300 {
            server.signal("TERM");
        }
    }
    while let Some(done) = writers.join_next().await {
        done.expect("it ends well");
    }
    assert!(server.wait().success());
    for name in ["http-0", "http-1", "http-2", "http-3", "Ws", "Http2"] {
        assert!(all.iter().any(|id| id.starts_with(name)), "{name}: {all:?}");
    }
    drop(server);

    let server = Server::start(&[&flag]);
    let mut there = BTreeSet::new();
    for page in 1.. {
        let listed = server.get(&format!("/api/v2/items?per_page=1000&page={page}"));
        let items = listed["items"].as_array().expect("a list");
        if items.is_empty() {
            break;
        }
        there.extend(items.iter().filter_map(id));
    }
    assert_eq!(there, all);
    drop(server);
    std::fs::remove_dir_all(data).expect("it can be removed");
}

fn id(document: &Value) -> Option<String> {
    document["id"].as_str().map(str::to_owned)
}

/// Writes one document after the other until it is turned away.
async fn by_http(target: Target, link: Link, name: String, told: UnboundedSender<String>) {
    let mut connection = Connection::open(&target, link).await;
    for n in 0.. {
        let id = format!("{name}-{n}");
        let call = Call::put(format!("/api/v2/items/{id}"), "{}");
        // A connection that has nothing under way is closed.
        let Ok(answer) = connection.send(call).await else {
            return;
        };
        let status = answer.status();
        answer.into_body().collect().await.expect("a whole answer");
        match status.as_u16() {
            201 => told.send(id).expect("somebody listens"),
            503 => return,
            other => panic!("{other}"),
        }
    }
}

/// Asks all at once, and takes what is answered.
async fn by_websocket(target: Target, link: Link, told: UnboundedSender<String>) {
    let socket = WebSocket::open(&target, link, Call::get("/events?topic=none")).await;
    let (socket, _valve) = socket.expect("a handshake");
    let (mut speaking, mut listening, _connection) = socket.split();
    let asking = tokio::spawn(async move {
        for n in 0..MANY {
            let path = format!("/api/v2/items/{link:?}-{n}");
            let request = json!({"type": "request", "method": "PUT", "path": path, "body": {}});
            if speaking
                .send(Frame::text(request.to_string()))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let mut close = None;
    while let Some(Ok(frame)) = listening.next().await {
        match frame {
            Frame::Text(text) => {
                let said: Value = serde_json::from_str(&text).expect("JSON");
                if said["type"] == "$reply" {
                    assert_eq!(said["status"], 201, "{said}");
                    let id = id(&said["body"]).expect("an id");
                    told.send(id).expect("somebody listens");
                }
            }
            Frame::Close(frame) => close = frame.map(|frame| u16::from(frame.code)),
            _ => {}
        }
    }
    assert_eq!(close, Some(1001), "{link:?}");
    asking.abort();
}
