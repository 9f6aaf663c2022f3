//! How sessions end: by themselves, with the server, and with what they cost given back.

use serde_json::json;
use tokio::time::timeout;

use super::client::{Carry, Client, LINKS, OPEN, ask};
use super::support::client::link::{Call, Connection, Link, Target};
use super::support::raw::process::resident;
use super::support::server::{PATIENCE, Server};

/// A drain closes them, and says so where that can be said; nobody new comes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_server() {
    for link in LINKS {
        let mut server = Server::start(&[]);
        let target = Target::of(&server);
        let mut clients = Vec::new();
        for carry in Carry::ALL {
            clients.push((carry, Client::connect(&target, link, carry).await));
        }
        // Not even in the namespace.
        clients.push((Carry::Polling, Client::polling(&target, link).await));
        clients.push((Carry::WebSocket, Client::websocket(&target, link).await));
        let mut ends = Vec::new();
        for (carry, mut client) in clients {
            ends.push((carry, tokio::spawn(async move { client.end().await })));
        }
        server.until("all polls are held", |stats| {
            stats["wires"]["socket_io"]["connections"].as_u64() >= Some(5)
        });
        server.signal("TERM");
        for (carry, end) in ends {
            let end = timeout(PATIENCE, end).await.expect("it ends");
            let end = end.expect("it is waited for");
            match carry {
                Carry::Polling => assert!(!end.contains("1005"), "{link}: {end}"),
                _ => assert_eq!(end, "1001 draining; resume by cursor", "{link} {carry:?}"),
            }
        }
        assert!(server.wait().success());
    }
}

#[tokio::test]
async fn nobody_comes_to_a_server_that_leaves() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    // Somebody to wait for, who does not read.
    let held = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    held.stop();
    server.signal("TERM");
    super::support::raw::until("it leaves", || {
        let (head, _) =
            server.request("GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        head.starts_with("HTTP/1.1 503")
    });
    let request = format!("GET {OPEN} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let (head, body) = server.request(&request);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}\n{body}");
    assert!(head.to_ascii_lowercase().contains("retry-after"), "{head}");
    server.signal("TERM");
}

/// A client that does not answer a ping is given up, and one that answers is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_a_ping() {
    let server = Server::start(&["--ping=100ms", "--pong=100ms"]);
    let target = Target::of(&server);
    let mut silent = Vec::new();
    for link in [Link::Http1, Link::Http2] {
        for carry in Carry::ALL {
            let client = Client::connect(&target, link, carry).await;
            assert_eq!(client.open["pingInterval"], 100);
            assert_eq!(client.open["pingTimeout"], 100);
            // Not even their sockets are read.
            client.stop();
            silent.push(client);
        }
    }
    let mut lively = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    for _ in 0..10 {
        lively.until_ping().await;
    }
    server.until("the silent are given up", |stats| {
        stats["wires"]["socket_io"]["streams"] == 1
    });
    lively.call("GET", &[json!("items"), json!(1)]).await;
}

/// A WebSocket that is tried and comes to nothing ends the session that polls: the library would keep it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_fails() {
    let server = Server::start(&["--request-head=500ms"]);
    let target = Target::of(&server);
    for link in [Link::Http1, Link::Http2] {
        for packet in [Some("2wrong"), Some("4"), Some("5"), None] {
            let client = Client::connect(&target, link, Carry::Polling).await;
            let _socket = client.try_upgrade(&target, packet).await;
            server.until(&format!("it is over, after {packet:?}"), |stats| {
                stats["wires"]["socket_io"]["streams"] == 0
            });
        }
    }
}

/// What hundreds of sessions took is there for the next hundreds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_they_took_is_given_back() {
    const SESSIONS: usize = 500;
    let server = Server::start(&["--ping=200ms", "--pong=200ms", "--request-head=500ms"]);
    let target = Target::of(&server);
    server.publish("news", "there is a topic");
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let mut get = Connection::open(&target, Link::Http2).await;
        let mut sockets = Vec::new();
        for n in 0..SESSIONS {
            match n % 5 {
                // Opened on one connection, some in the namespace, and never heard of again.
                0..3 => {
                    let (status, body) = ask(&mut get, Call::get(OPEN)).await;
                    assert_eq!(status, 200, "{body}");
                    let sid = body.split('"').nth(3).expect("a name").to_owned();
                    if n % 5 == 0 {
                        let place = format!("{OPEN}&sid={sid}");
                        let packets = "40\u{1e}420[\"WATCH\",{\"topic\":\"news\"}]";
                        ask(&mut get, Call::post(&place, "40")).await;
                        ask(&mut get, Call::post(&place, packets)).await;
                    }
                }
                3 => sockets.push(Client::connect(&target, Link::Ws, Carry::WebSocket).await),
                _ => sockets.push(Client::connect(&target, Link::Ws, Carry::Upgraded).await),
            }
        }
        drop(sockets);
        server.until("all are over", |stats| {
            let wire = &stats["wires"]["socket_io"];
            wire["streams"] == 0 && wire["connections"] == 0
        });
        sizes.push(resident(server.pid()));
    }
    // The first round fills what an allocator keeps.
    let grown = sizes[3].saturating_sub(sizes[0]);
    assert!(grown < 4 << 20, "{sizes:?}");
}
