//! Every wire, through a proxy.

use std::process::Command;

use hyper::StatusCode;
use serde_json::json;

use super::proxy::{Kind, PAGE, Proxy, change};
use super::support::client::ask::Ask;
use super::support::client::link::{Call, Connection, Link, Target};
use super::support::client::message::{End, Message};
use super::support::client::publisher::Publisher;
use super::support::client::{Framing, Reader, Transport, poll};
use super::support::server::{BINARY, Server};
use super::{Front, NAME, each, run};

/// Nothing but the events themselves may bring them: the server says nothing else.
const SILENT: [&str; 4] = ["--heartbeat", "1h", "--ping", "1h"];

const ORIGIN: [&str; 2] = ["--allow-origin", "https://push.example"];

/// The versions of HTTP at the front.
const LINKS: [Link; 2] = [Link::Http1s, Link::Http2];

/// Ways to open a WebSocket; of the three, HAProxy alone has two.
pub fn sockets(kind: Kind) -> &'static [Link] {
    match kind {
        Kind::Haproxy => &[Link::Wss, Link::Http2],
        _ => &[Link::Wss],
    }
}

fn transport(framing: Framing, link: Link) -> Transport {
    Transport { framing, link }
}

#[test]
fn an_event_arrives_though_nothing_follows_it() {
    each(async |kind| {
        let front = Front::start(kind, &SILENT);
        let mut publisher = front.publisher().await;
        for link in LINKS {
            let sse = transport(Framing::Sse, link);
            let mut reader = sse.open(&front.target, Ask::of(["t"])).await;
            reader.ready().await;
            for n in 0..5 {
                let id = publisher.text("t", &n.to_string()).await;
                assert_eq!(reader.event().await.id, id, "{kind}, {link}");
            }
        }
    });
}

#[test]
fn a_reader_resumes_where_it_was() {
    each(async |kind| {
        let front = Front::start(kind, &SILENT);
        let mut publisher = front.publisher().await;
        for link in LINKS {
            let sse = transport(Framing::Sse, link);
            let mut reader = sse.open(&front.target, Ask::of(["t"])).await;
            reader.ready().await;
            publisher.text("t", "seen").await;
            let seen = reader.event().await.id;
            drop(reader);
            let missed = [
                publisher.text("t", "1").await,
                publisher.text("t", "2").await,
            ];
            let ask = Ask::of(["t"]).last_event_id(seen.to_string()).limit(2);
            let mut reader = sse.open(&front.target, ask).await;
            assert_eq!(reader.ready().await, seen, "{kind}, {link}");
            let events = reader.events(2).await;
            assert_eq!([events[0].id, events[1].id], missed, "{kind}, {link}");
            assert_eq!(reader.end().await, End::Body, "{kind}, {link}");
        }
    });
}

#[test]
fn a_websocket_speaks_both_ways() {
    each(async |kind| {
        let front = Front::start(kind, &SILENT);
        for link in sockets(kind) {
            let websocket = transport(Framing::WebSocket, *link);
            let ask = Ask::of(["t"]).header("origin", "https://push.example");
            let refused = websocket.try_open(&front.target, ask.clone()).await;
            assert_eq!(refused.err().map(|r| r.status), Some(403), "{kind}, {link}");
        }
        let front = Front::start(kind, &[&SILENT[..], &ORIGIN].concat());
        for link in sockets(kind) {
            let websocket = transport(Framing::WebSocket, *link);
            let ask = Ask::of(["t"]).header("origin", "https://push.example");
            let mut reader = websocket.open(&front.target, ask).await;
            reader.ready().await;
            // HAProxy makes an upgrade of HTTP/1.1 of either.
            assert_eq!(front.streams("websocket"), 1, "{kind}, {link}");
            for n in 0..3 {
                let publish = json!({ "type": "publish", "topic": "t", "data": n, "ref": n });
                reader.websocket().say(&publish).await;
                // The event and the word that it was published, in any order.
                let mut met = [reader.next().await, reader.next().await];
                met.sort_by_key(|message| matches!(message, Message::Event(_)));
                assert!(
                    matches!(&met, [Message::Answer(ack), Message::Event(_)] if ack["ref"] == n),
                    "{kind}, {link}: {met:?}"
                );
            }
            drop(reader);
            front.server.until("it has left", |stats| {
                stats["wires"]["websocket"]["streams"] == 0
            });
        }
    });
}

#[test]
fn a_poll_is_held_and_answered() {
    each(async |kind| {
        let front = Front::start(kind, &SILENT);
        let mut publisher = front.publisher().await;
        for link in LINKS {
            let polls = transport(Framing::LongPoll, link);
            let mut reader = polls.open(&front.target, Ask::of(["t"]).timeout(2)).await;
            let head = reader.ready().await;
            let waiting = tokio::spawn(async move { reader.event().await.id });
            front.server.until("the poll is held", |stats| {
                stats["wires"]["long_poll"]["streams"] == 1
            });
            let id = publisher.text("t", "x").await;
            let got = waiting.await.expect("an event");
            assert!(got == id && head < id, "{kind}, {link}");
            let mut connection = Connection::open(&front.target, link).await;
            let ask = Ask::of(["t"]).after(id).timeout(1);
            let nothing = poll::poll(&mut connection, &ask).await.expect("an answer");
            assert!(nothing.events.is_empty() && nothing.cursor == id);
        }
    });
}

#[test]
fn events_are_published_by_a_page_of_the_proxys_origin() {
    each(async |kind| {
        let front = Front::start(kind, &ORIGIN);
        for link in LINKS {
            let mut publisher = Publisher::over(&front.target, link).await;
            let text = Call::post("/publish/t", "hello").with("origin", "https://push.example");
            publisher.call(text).await.id("id");
            // As much as one request may bring.
            let line = format!("\"{}\"\n", "x".repeat(200 * 1024));
            let lines = Call::post("/publish/t", line.repeat(20))
                .with("content-type", "application/x-ndjson");
            assert_eq!(
                publisher.call(lines).await.body["count"],
                20,
                "{kind}, {link}"
            );
        }
    });
}

#[test]
fn both_the_name_and_the_origin_have_to_be_allowed() {
    each(async |kind| {
        let text = Call::post("/publish/t", "hello").with("origin", "https://push.example");
        let front = Front::start(kind, &[]);
        let mut publisher = Publisher::over(&front.target, Link::Http2).await;
        let answer = publisher.call(text.clone()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{kind}");
        let server = Server::start(&ORIGIN);
        let proxy = Proxy::start(kind, &kind.block(), server.addr("http1"));
        let target = Target::proxy(proxy.addr, NAME, proxy.ca());
        let mut publisher = Publisher::over(&target, Link::Http2).await;
        let answer = publisher.call(text).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{kind}");
    });
}

#[test]
fn nginx_denies_publishing_where_it_is_told_to() {
    let kind = Kind::Nginx;
    if !kind.is_installed() {
        eprintln!("not run: {kind} is not installed");
        return;
    }
    let deny = "location ~ ^/(metrics|publish/) { deny all; }";
    assert!(PAGE.contains(deny), "the page says so");
    let both = format!("{deny}\n    location / {{");
    let block = change(&kind.block(), &[("location / {", &both)]);
    run(async {
        let front = Front::with(kind, &[], &block);
        let mut connection = Connection::open(&front.target, Link::Http2).await;
        for (call, status) in [
            (Call::post("/publish/t", "hello"), 403),
            (Call::get("/metrics"), 403),
            (Call::get("/healthz"), 200),
        ] {
            let answer = connection.send(call).await.expect("an answer");
            assert_eq!(answer.status(), status);
        }
    });
}

#[test]
fn a_connection_has_250_streams() {
    each(async |kind| {
        let front = Front::start(kind, &SILENT);
        let mut publisher = front.publisher().await;
        let mut connection = Connection::open(&front.target, Link::Http2).await;
        let mut readers = Vec::new();
        for _ in 0..250 {
            let mut reader = Reader::sse_on(&mut connection, &Ask::of(["t"])).await;
            reader.ready().await;
            readers.push(reader);
        }
        let id = publisher.text("t", "to all").await;
        for reader in &mut readers {
            assert_eq!(reader.event().await.id, id, "{kind}");
        }
        assert_eq!(front.streams("sse_http1"), 250, "{kind}");
    });
}

/// nginx announces no extended CONNECT, and would answer it with a 400 that says nothing.
#[test]
fn a_subscriber_does_not_ask_for_what_is_not_announced() {
    let kind = Kind::Nginx;
    if !kind.is_installed() {
        eprintln!("not run: {kind} is not installed");
        return;
    }
    let server = Server::start(&[]);
    let proxy = Proxy::start(kind, &kind.block(), server.addr("http1"));
    let url = format!("https://localhost:{}", proxy.addr.port());
    let output = Command::new(BINARY)
        .args([
            "subscribe",
            "t",
            "--wire",
            "ws-http2",
            "--url",
            &url,
            "--cacert",
        ])
        .arg(proxy.ca())
        .output();
    let output = output.expect("the binary starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("does not take WebSocket over HTTP/2"),
        "{words}"
    );
    assert_eq!(output.status.code(), Some(1), "{words}");
}
