//! What is no request of Engine.IO is refused in its words, what no page may ask is refused before, and a session that
//! is no more is not there.

use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::client::{Carry, Client, OPEN, OPEN_WEBSOCKET, ask};
use super::support::client::link::{Call, Connection, Link, Target};
use super::support::client::websocket::WebSocket;
use super::support::raw::{self, websocket};
use super::support::server::Server;

fn code(body: &str) -> u64 {
    let refusal: Value = serde_json::from_str(body).expect("JSON");
    assert!(refusal["message"].is_string(), "{refusal}");
    refusal["code"].as_u64().expect("a code")
}

const NOBODY: &str = "AAAAAAAAAAAAAAAA";

#[tokio::test]
async fn what_is_no_request_of_engine_io() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let polling = format!("{OPEN}&sid={NOBODY}");
    let table = [
        (Call::get("/socket.io/"), 5),
        (Call::get("/socket.io/?transport=polling"), 5),
        (Call::get("/socket.io/?EIO=3&transport=polling"), 5),
        (Call::get("/socket.io/?EIO=5&transport=polling"), 5),
        (Call::get("/socket.io/?EIO=4"), 0),
        (Call::get("/socket.io/?EIO=4&transport=webtransport"), 0),
        (Call::get(&polling), 1),
        (Call::get(format!("{OPEN}&sid=short")), 1),
        (
            Call::get(format!(
                "{OPEN}&sid=%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9"
            )),
            1,
        ),
        (Call::post(&polling, "40"), 1),
        (Call::post(OPEN, "40"), 2),
        (Call::get(OPEN_WEBSOCKET), 3),
    ];
    for link in [Link::Http1, Link::Http2] {
        for (call, expected) in table.clone() {
            let what = format!("{} {} on {link}", call.method, call.path);
            let mut connection = Connection::open(&target, link).await;
            let (status, body) = ask(&mut connection, call).await;
            assert_eq!(
                (status, code(&body)),
                (StatusCode::BAD_REQUEST, expected),
                "{what}"
            );
        }
    }
    assert_eq!(server.stats()["wires"]["socket_io"]["streams_total"], 0);
}

#[tokio::test]
async fn a_handshake_is_refused_before_it_is_one() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let of_nobody = format!("{OPEN_WEBSOCKET}&sid={NOBODY}");
    for link in [Link::Ws, Link::Http2] {
        let opened = WebSocket::open(&target, link, Call::get(&of_nobody)).await;
        assert_eq!(opened.err(), Some(StatusCode::BAD_REQUEST), "{link}");
    }
    let version = websocket::handshake(OPEN_WEBSOCKET).replace("version: 13", "version: 8");
    let answer = raw::ask(&server, "ws", &format!("{version}\r\n"));
    assert_eq!(
        (answer.status, answer.header("upgrade")),
        (426, "websocket")
    );
    // One that polls is carried over once.
    let client = Client::connect(&target, Link::Ws, Carry::Upgraded).await;
    let again = format!("{OPEN_WEBSOCKET}&sid={}", client.sid());
    let opened = WebSocket::open(&target, Link::Ws, Call::get(again)).await;
    assert_eq!(opened.err(), Some(StatusCode::BAD_REQUEST));
}

/// The status, the headers and the body of an answer on `http1`.
async fn answer(target: &Target, call: Call) -> (u16, HeaderMap, String) {
    let mut connection = Connection::open(target, Link::Http1).await;
    let response = connection.send(call).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await;
    let body = body.expect("the body ends").to_bytes().to_vec();
    let body = String::from_utf8(body).expect("UTF-8");
    (head.status.as_u16(), head.headers, body)
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_before() {
    let server = Server::start(&["--allow-origin", "https://friend.example"]);
    let target = Target::of(&server);
    let foreign = "https://foreign.example";
    let mut client = Client::connect(&target, Link::Http1, Carry::Polling).await;
    let place = format!("{OPEN}&sid={}", client.sid());
    for call in [
        Call::get(OPEN),
        Call::get(&place),
        Call::post(&place, "41"),
        Call::get(OPEN_WEBSOCKET)
            .with("connection", "upgrade")
            .with("upgrade", "websocket")
            .with("sec-websocket-version", "13")
            .with("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ] {
        let (status, headers, body) = answer(&target, call.with("origin", foreign)).await;
        assert_eq!(status, 403, "{body}");
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let (status, headers, _) = answer(
        &target,
        Call::get(OPEN).with("origin", "https://friend.example"),
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://friend.example"
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    let (status, ..) = answer(&target, Call::get(OPEN).with("host", "evil.example")).await;
    // Two of them: the client adds its own.
    assert_eq!(status, 400);
    let request = format!("GET {OPEN} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert_eq!(raw::ask(&server, "http1", &request).status, 421);
    // Nobody has disturbed it.
    assert_eq!(
        client.call("GET", &[json!("items"), json!(1)]).await,
        [] as [Value; 0]
    );
}

#[tokio::test]
async fn what_is_too_large_ends_the_session() {
    let server = Server::start(&["--event-bytes=1KiB", "--document-bytes=1KiB"]);
    let target = Target::of(&server);
    let most = 6 * 1024 + 4096;
    for link in [Link::Http1, Link::Http2] {
        let mut client = Client::connect(&target, link, Carry::Polling).await;
        assert_eq!(client.open["maxPayload"], most);
        let (status, body) = client.try_say(&"4".repeat(most + 1)).await;
        assert_eq!(status, 413, "{body}");
        assert!(body.contains("event-bytes"), "{body}");
        let end = client.end().await;
        assert!(
            end == "closed" || end.contains("Session ID unknown"),
            "{end}"
        );
        // As much as is allowed, in one packet.
        let mut client = Client::connect(&target, link, Carry::Polling).await;
        let packet = format!("4{:<1$}", r#"20["X"]"#, most - 1);
        client.say(&packet).await;
        assert!(client.packet().await.starts_with("430["));
    }
    for carry in [Carry::WebSocket, Carry::Upgraded] {
        for link in [Link::Ws, Link::Wss, Link::Http2] {
            let mut client = Client::connect(&target, link, carry).await;
            client.say(&"4".repeat(most + 1)).await;
            let end = client.end().await;
            assert!(
                end.starts_with("1009 message over the limit"),
                "{carry:?} {link}: {end}"
            );
        }
    }
    // Who is not done speaking when it is refused hears why all the same.
    for link in [Link::Ws, Link::Wss] {
        let mut client = Client::connect(&target, link, Carry::WebSocket).await;
        client.say(&"4".repeat(16 << 20)).await;
        let end = client.end().await;
        assert!(
            end.starts_with("1009 message over the limit"),
            "{link}: {end}"
        );
    }
    server.until("all are gone", |stats| {
        stats["wires"]["socket_io"]["connections"] == 0
    });
}

#[tokio::test]
async fn a_body_that_is_packed_and_a_method_that_is_none() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let client = Client::connect(&target, Link::Http1, Carry::Polling).await;
    let place = format!("{OPEN}&sid={}", client.sid());
    let packed = Call::post(&place, "3").with("content-encoding", "gzip");
    assert_eq!(answer(&target, packed).await.0, 415);
    let (status, headers, _) = answer(&target, Call::put(&place, "3")).await;
    assert_eq!(status, 405);
    assert_eq!(headers["allow"], "GET, HEAD, POST, CONNECT");
    let before = server.stats()["wires"]["socket_io"]["streams_total"].clone();
    let request = format!("HEAD {OPEN} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let (head, body) = server.request(&request);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "");
    let after = server.stats()["wires"]["socket_io"]["streams_total"].clone();
    assert_eq!(before, after);
}

#[tokio::test]
async fn sessions_have_a_limit() {
    let server = Server::start(&["--socket-io-sessions=2"]);
    let target = Target::of(&server);
    let mut one = Client::connect(&target, Link::Http1, Carry::Polling).await;
    let _two = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    let (status, headers, body) = answer(&target, Call::get(OPEN)).await;
    assert_eq!(status, 429);
    assert!(headers.contains_key("retry-after"));
    assert!(body.contains("socket-io-sessions"), "{body}");
    let opened = WebSocket::open(&target, Link::Ws, Call::get(OPEN_WEBSOCKET)).await;
    assert_eq!(opened.err(), Some(StatusCode::TOO_MANY_REQUESTS));
    one.say("1").await;
    server.until("a place is free", |stats| {
        stats["wires"]["socket_io"]["streams"] == 1
    });
    Client::connect(&target, Link::Http1, Carry::Polling).await;
}
