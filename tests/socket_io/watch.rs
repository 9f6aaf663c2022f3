//! Watching: each change once and in order, with its cursor, on whatever carries the session; a client that comes back
//! with its last cursor misses nothing, and one that is slow only lags in the log.

use serde_json::{Value, json};

use super::client::{Carry, Client};
use super::support::client::link::{Link, Target};
use super::support::raw::process::resident;
use super::support::server::Server;

async fn change(client: &mut Client) -> Value {
    let (name, change) = client.event().await;
    assert_eq!(name, "change", "{change}");
    change
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_on_every_carrier() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut writer = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    for link in [Link::Http1, Link::Wss, Link::H2c, Link::Http2] {
        for carry in Carry::ALL {
            let what = format!("{carry:?} on {link}");
            let mut client = Client::connect(&target, link, carry).await;
            let watch = json!({ "collection": "items" });
            let begun = client.call("WATCH", std::slice::from_ref(&watch)).await;
            let cursor = begun[0]["cursor"].as_str().expect("a cursor").to_owned();
            assert_eq!(cursor, server.stats()["log"]["newest"], "{what}");
            let before = server.stats()["wires"]["socket_io"]["events_sent"].clone();

            let made = writer
                .call("POST", &[json!("items"), json!({ "id": 1, "n": 1 })])
                .await;
            let patch = json!({ "n": 2 });
            writer
                .call("PATCH", &[json!("items"), json!(1), patch.clone()])
                .await;
            writer.call("DELETE", &[json!("items"), json!(1)]).await;
            let added = change(&mut client).await;
            assert_eq!(added["id"], made[1]["event"], "{what}");
            let topic = "collections/items";
            let data = json!({ "id": 1, "version": 1, "document": { "id": 1, "n": 1 } });
            assert_eq!(
                added,
                json!({ "id": added["id"], "topic": topic, "type": "ADDED", "data": data }),
                "{what}"
            );
            let modified = change(&mut client).await;
            assert_eq!(modified["type"], "MODIFIED", "{what}");
            assert_eq!(modified["data"]["patch"], patch, "{what}");
            assert_eq!(
                modified["data"]["document"],
                json!({ "id": 1, "n": 2 }),
                "{what}"
            );
            let deleted = change(&mut client).await;
            assert_eq!(deleted["type"], "DELETED", "{what}");
            assert_eq!(deleted["data"], json!({ "id": 1, "version": 2 }), "{what}");
            let sent = &server.stats()["wires"]["socket_io"]["events_sent"];
            assert_eq!(sent.as_u64(), before.as_u64().map(|n| n + 3), "{what}");

            assert_eq!(
                client.call("UNWATCH", &[watch]).await,
                [json!(true)],
                "{what}"
            );
            writer
                .call("PUT", &[json!("items"), json!(2), json!({})])
                .await;
            writer.call("DELETE", &[json!("items"), json!(2)]).await;
            assert_eq!(
                client.call("GET", &[json!("items"), json!(2)]).await,
                [] as [Value; 0]
            );
            client.leave().await;
        }
    }
}

/// Between a list and the watch that begins at its cursor nothing is missed.
#[tokio::test]
async fn list_and_watch() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut client = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    client
        .call("POST", &[json!("items"), json!({ "id": 1 })])
        .await;
    let list = client.call("LIST", &[json!("items")]).await;
    client
        .call("POST", &[json!("items"), json!({ "id": 2 })])
        .await;
    let watch = json!({ "collection": "items", "after": list[1]["cursor"] });
    let begun = client.call("WATCH", &[watch]).await;
    assert_eq!(begun[0]["cursor"], list[1]["cursor"]);
    assert_eq!(change(&mut client).await["data"]["id"], 2);
}

/// A client is cut off again and again while somebody writes, and comes back with its last cursor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_misses_nothing() {
    const CHANGES: u64 = 200;
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut writer = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    let writing = tokio::spawn(async move {
        for n in 0..CHANGES {
            writer
                .call("PUT", &[json!("items"), json!(1), json!({ "n": n })])
                .await;
        }
    });
    let carries = [Carry::Polling, Carry::WebSocket, Carry::Upgraded];
    let (mut cursor, mut seen) = (json!("0-0"), Vec::new());
    for carry in carries.into_iter().cycle() {
        let mut client = Client::connect(&target, Link::Http1, carry).await;
        let watch = json!({ "collection": "items", "after": cursor });
        client.call("WATCH", &[watch]).await;
        for _ in 0..7 {
            let change = change(&mut client).await;
            cursor = change["id"].clone();
            seen.push(change["data"]["document"]["n"].as_u64().expect("a number"));
            if seen.len() as u64 == CHANGES {
                break;
            }
        }
        if seen.len() as u64 == CHANGES {
            break;
        }
    }
    assert_eq!(seen, (0..CHANGES).collect::<Vec<_>>());
    writing.await.expect("it wrote");
}

/// A watch with filters tells what begins and what ceases to match, and goes on from a cursor as the others do. With
/// several watches the order is that of all changes.
#[tokio::test]
async fn filters() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut client = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    let filters = json!({ "state": "open", "n": { "gte": 2 } });
    let watch = json!({ "collection": "items", "filters": filters });
    let begun = client.call("WATCH", std::slice::from_ref(&watch)).await;
    let cursor = begun[0]["cursor"].as_str().expect("a cursor").to_owned();
    client.call("WATCH", &[json!({ "topic": "news" })]).await;
    let states = [
        (1, 5, "open"),
        (2, 1, "open"),
        (1, 6, "open"),
        (1, 6, "shut"),
        (2, 2, "open"),
    ];
    for (id, n, state) in states {
        let document = json!({ "n": n, "state": state });
        let request = format!(
            "PUT /api/v2/items/{id} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{document}",
            document.to_string().len()
        );
        assert!(server.request(&request).0.starts_with("HTTP/1.1 20"));
        server.publish("news", "between");
    }
    let mut told = Vec::new();
    let (mut ids, mut first) = (Vec::new(), Value::Null);
    while told.len() < 9 {
        let change = change(&mut client).await;
        ids.push(id(&change));
        match change["topic"] == "news" {
            true => told.push("news".to_owned()),
            false => {
                told.push(format!("{} {}", change["type"], change["data"]["id"]));
                if first.is_null() {
                    first = change["id"].clone();
                }
            }
        }
    }
    let expected = [
        "\"ADDED\" 1",
        "news",
        "news",
        "\"MODIFIED\" 1",
        "news",
        "\"DELETED\" 1",
        "news",
        "\"ADDED\" 2",
        "news",
    ];
    assert_eq!(told, expected);
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(
        client.call("UNWATCH", std::slice::from_ref(&watch)).await,
        [json!(true)]
    );

    // From before the watch ever was, and from its first change.
    for (after, count) in [(json!(cursor), 4), (first, 3)] {
        let mut again = Client::connect(&target, Link::Http2, Carry::WebSocket).await;
        let mut watch = watch.clone();
        watch["after"] = after.clone();
        let begun = again.call("WATCH", &[watch]).await;
        assert_eq!(begun[0]["cursor"], after);
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(change(&mut again).await["type"].clone());
        }
        let expected = [
            json!("ADDED"),
            json!("MODIFIED"),
            json!("DELETED"),
            json!("ADDED"),
        ];
        assert_eq!(told, expected[4 - count..]);
    }
    let wrong = json!({ "collection": "items", "filters": { "n": { "about": 1 } } });
    let said = client.call("WATCH", &[wrong]).await;
    assert_eq!(said[0]["error"]["status"], 400, "{said:?}");
    let wrong = json!({ "topic": "items", "filters": { "n": 1 } });
    let said = client.call("WATCH", &[wrong]).await;
    assert_eq!(said[0]["error"]["status"], 400, "{said:?}");
}

fn id(change: &Value) -> (u64, u64) {
    let (ms, n) = change["id"]
        .as_str()
        .and_then(|id| id.split_once('-'))
        .expect("an id");
    (ms.parse().expect("a number"), n.parse().expect("a number"))
}

/// Any topic can be watched, several at once, and what fell off the log is told.
#[tokio::test]
async fn topics_and_gaps() {
    let server = Server::start(&["--topic-events=2"]);
    let target = Target::of(&server);
    let first = server.publish("news", "1");
    for text in ["2", "3", "4"] {
        server.publish("news", text);
    }
    let mut client = Client::connect(&target, Link::Http1, Carry::Polling).await;
    let begun = client.call("WATCH", &[json!({ "topic": "other" })]).await;
    assert!(begun[0]["cursor"].is_string());
    client
        .emit("WATCH", &[json!({ "topic": "news", "after": first })])
        .await;
    assert!(client.packet().await.starts_with("431["));
    let (name, gap) = client.event().await;
    assert_eq!(
        (&*name, &gap["topic"], &gap["reason"]),
        ("gap", &json!("news"), &json!("expired"))
    );
    assert_eq!(change(&mut client).await["data"], "3");
    assert_eq!(change(&mut client).await["data"], "4");
    server.publish("other", "5");
    assert_eq!(change(&mut client).await["topic"], "other");
    assert_eq!(server.stats()["wires"]["socket_io"]["gaps"], 1);
    for (args, status) in [
        (vec![json!({ "topic": "a", "collection": "b" })], 400),
        (vec![json!({})], 400),
        (vec![], 400),
        (vec![json!("items")], 400),
        (vec![json!({ "collection": "no name" })], 400),
        (vec![json!({ "topic": "a//b" })], 400),
        (vec![json!({ "topic": "a", "after": "yesterday" })], 400),
        (vec![json!({ "topic": "a", "what": 1 })], 400),
    ] {
        let said = client.call("WATCH", &args).await;
        assert_eq!(said[0]["error"]["status"], status, "{args:?}: {said:?}");
    }
}

/// Leaving the namespace ends the watching, and coming back begins with nothing.
#[tokio::test]
async fn leaving_the_namespace_ends_it() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for carry in Carry::ALL {
        let mut client = Client::connect(&target, Link::Http1, carry).await;
        client.call("WATCH", &[json!({ "topic": "news" })]).await;
        client.say("41").await;
        client.come().await;
        server.publish("news", "nobody is there");
        client.call("WATCH", &[json!({ "topic": "other" })]).await;
        server.publish("other", "here");
        assert_eq!(change(&mut client).await["data"], "here", "{carry:?}");
    }
}

/// A client that takes nothing costs no memory: what it has not taken is in the log, once, with everybody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_lags_in_the_log() {
    const EVENTS: usize = 150;
    const BYTES: usize = 64 * 1024;
    let server = Server::start(&["--ping=1h", "--pong=1h"]);
    let target = Target::of(&server);
    let mut slow = Vec::new();
    for carry in Carry::ALL {
        for link in [Link::Ws, Link::Http2] {
            for _ in 0..4 {
                let mut client = Client::connect(&target, link, carry).await;
                client.call("WATCH", &[json!({ "topic": "large" })]).await;
                client.stop();
                slow.push(client);
            }
        }
    }
    let before = resident(server.pid()) as usize;
    let text = "x".repeat(BYTES);
    for _ in 0..EVENTS {
        server.publish("large", &text);
    }
    let held = server.stats()["log"]["bytes"].as_u64().expect("bytes") as usize;
    let grown = (resident(server.pid()) as usize).saturating_sub(before);
    // What the log itself holds, what may wait for each of them, and room for the allocator's own ways. Each copy of all
    // that was offered to one of them would be 9 MiB.
    let most = held + slow.len() * 512 * 1024 + (16 << 20);
    assert!(grown < most, "{grown} bytes, {held} of them in the log");
    for mut client in slow {
        client.go_on();
        for _ in 0..EVENTS {
            change(&mut client).await;
        }
    }
}
