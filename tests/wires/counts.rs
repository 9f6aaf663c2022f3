//! Every connection and stream is counted by the wire that carries it, and by the listener that it came to.

use serde_json::Value;

use super::support::client::ask::Ask;
use super::support::client::link::{Connection, Link, Target};
use super::support::client::message::Data;
use super::support::client::poll::poll;
use super::support::client::publisher::Publisher;
use super::support::client::websocket::WebSocket;
use super::support::client::{Framing, Reader, Transport};
use super::support::server::{LISTENERS, Server};

const WIRES: [&str; 6] = [
    "sse_http1",
    "sse_http2",
    "websocket",
    "websocket_http2",
    "long_poll",
    "socket_io",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transport_is_counted_on_its_wire() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut publisher = Publisher::new(&target).await;
    for transport in Transport::all() {
        let before = wire(&server.stats(), transport.wire());
        let topic = format!("counts/{:?}-{:?}", transport.framing, transport.link);
        let mut reader = transport.open(&target, Ask::of([&topic])).await;
        let cursor = reader.ready().await;
        if transport.framing == Framing::LongPoll {
            drop(reader);
            held_poll(&server, &target, transport.link, &topic, cursor.to_string()).await;
        } else {
            let stats = server.until("one stream", |s| now(s, transport.wire()) == [1, 1]);
            assert_eq!(
                others(&stats, transport.wire()),
                0,
                "{transport}: {stats:#}"
            );
            publisher.text(&topic, "x").await;
            reader.event().await;
            drop(reader);
        }
        let stats = server.until("none again", |s| now(s, transport.wire()) == [0, 0]);
        let after = wire(&stats, transport.wire());
        let grown = |name: &str| count(&after, name) - count(&before, name);
        assert_eq!(grown("events_sent"), 1, "{transport}");
        assert_eq!(grown("gaps"), 0, "{transport}");
        assert!(grown("bytes_sent") > 50, "{transport}");
        if transport.framing != Framing::LongPoll {
            assert_eq!(grown("streams_total"), 1, "{transport}");
            assert_eq!(grown("connections_total"), 1, "{transport}");
        }
    }
}

/// A poll is a stream while it is held.
async fn held_poll(server: &Server, target: &Target, link: Link, topic: &str, cursor: String) {
    let ask = Ask::of([topic]).after(cursor);
    let mut connection = Connection::open(target, link).await;
    let held = tokio::spawn(async move {
        let answer = poll(&mut connection, &ask).await;
        (answer.expect("an answer"), connection)
    });
    server.until("a held poll", |s| now(s, "long_poll") == [1, 1]);
    Publisher::new(target).await.text(topic, "x").await;
    let (answer, connection) = held.await.expect("no panic");
    assert_eq!(answer.events.len(), 1);
    // The connection is there, and carries no stream.
    server.until("answered", |s| now(s, "long_poll") == [0, 0]);
    drop(connection);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_streams_on_one_connection() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for link in [Link::H2c, Link::Http2] {
        let before = wire(&server.stats(), "sse_http2");
        let mut connection = Connection::open(&target, link).await;
        let mut readers = Vec::new();
        for _ in 0..10 {
            let mut reader = Reader::sse_on(&mut connection, &Ask::of(["t"])).await;
            reader.ready().await;
            readers.push(reader);
        }
        let stats = server.until("ten streams", |s| now(s, "sse_http2") == [1, 10]);
        assert_eq!(stats["listeners"][link.listener()]["connections"], 1);
        // One leaves; then another kind joins on the same connection.
        drop(readers.pop());
        server.until("nine streams", |s| now(s, "sse_http2") == [1, 9]);
        let call = Ask::of(["t"]).call(Framing::WebSocket);
        let socket = WebSocket::on(connection, call).await.expect("it is taken");
        let stats = server.until("a WebSocket", |s| now(s, "websocket_http2") == [1, 1]);
        assert_eq!(now(&stats, "sse_http2"), [1, 9]);
        assert_eq!(stats["listeners"][link.listener()]["connections"], 1);
        drop((readers, socket));
        let stats = server.until("none", |s| {
            now(s, "sse_http2") == [0, 0]
                && now(s, "websocket_http2") == [0, 0]
                && s["listeners"][link.listener()]["connections"] == 0
        });
        let after = wire(&stats, "sse_http2");
        let grown = |name: &str| count(&after, name) - count(&before, name);
        assert_eq!(grown("streams_total"), 10);
        assert_eq!(grown("connections_total"), 1);
    }
}

/// The listener counts what goes over the socket: more than the framing, and on TLS more again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_count_connections_and_bytes() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut publisher = Publisher::over(&target, Link::H2c).await;
    let size = 10_000;
    for link in [Link::Http1, Link::Http1s, Link::Ws, Link::Wss, Link::Http2] {
        let name = link.listener();
        let before = server.stats()["listeners"][name].clone();
        let transport = Transport {
            framing: Framing::Sse,
            link,
        };
        let mut reader = transport.open(&target, Ask::of(["t"])).await;
        reader.ready().await;
        publisher.text("t", &"x".repeat(size)).await;
        reader.event().await;
        drop(reader);
        let after = server.until("it is gone", |s| {
            // The question itself comes over http1.
            s["listeners"][name]["connections"] == u64::from(name == "http1")
        })["listeners"][name]
            .clone();
        let grown = |member: &str| count(&after, member) - count(&before, member);
        assert!(grown("bytes_out") > size as u64, "{name}");
        assert!(grown("bytes_in") > 50, "{name}");
        if name != "http1" {
            assert_eq!(grown("connections_total"), 1, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stats_say_all_that_the_contract_names() {
    let server = Server::start(&[]);
    let stats = server.stats();
    assert_eq!(stats["server"], server.ready["server"]);
    for name in WIRES {
        for member in [
            "connections",
            "streams",
            "connections_total",
            "streams_total",
        ] {
            assert_eq!(stats["wires"][name][member], 0, "{name} {member}");
        }
        for member in ["events_sent", "bytes_sent", "gaps"] {
            assert_eq!(stats["wires"][name][member], 0, "{name} {member}");
        }
    }
    for name in LISTENERS {
        let listener = &stats["listeners"][name];
        assert_eq!(listener["addr"], server.addr(name).to_string());
        let http = if matches!(name, "h2c" | "http2") {
            "2"
        } else {
            "1.1"
        };
        assert_eq!(listener["http"], http, "{name}");
        let tls = matches!(name, "http1s" | "wss" | "http2");
        assert_eq!(listener["tls"], tls, "{name}");
    }
    let first = server.publish("t", "one");
    let last = server.publish("u", "two");
    let log = server.stats()["log"].clone();
    assert_eq!((&log["topics"], &log["events"]), (&2.into(), &2.into()));
    assert_eq!(
        (&log["oldest"], &log["newest"]),
        (&first.into(), &last.into())
    );
    assert!(count(&log, "bytes") > 6);
    let process = &server.stats()["process"];
    assert!(process["cpu_seconds"].is_number());
    assert!(count(process, "rss_bytes") > 1 << 20 && count(process, "open_fds") > 6);
}

/// The same object, once a second, for as long as somebody reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stats_are_a_topic() {
    let server = Server::start(&[]);
    let transport = Transport {
        framing: Framing::WebSocket,
        link: Link::Ws,
    };
    let ask = Ask::of(["$stats"]).limit(2);
    let mut reader = transport.open(&Target::of(&server), ask).await;
    reader.ready().await;
    let events = reader.events(2).await;
    let seen: Vec<Value> = events
        .iter()
        .map(|event| match &event.data {
            Data::Json(json) => serde_json::from_str(json).expect("JSON"),
            Data::Lines(_) => panic!("a WebSocket carries JSON"),
        })
        .collect();
    let stats = server.stats();
    let names = |object: &Value| -> Vec<String> {
        object
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(names(&seen[0]), names(&stats));
    assert_eq!(names(&seen[0]["wires"]), names(&stats["wires"]));
    let sent = |stats: &Value| count(&stats["wires"]["websocket"], "events_sent");
    assert_eq!([&seen[0], &seen[1], &stats].map(sent), [0, 1, 2]);
    let uptime = |stats: &Value| stats["uptime_s"].as_f64().expect("a number");
    let apart = uptime(&seen[1]) - uptime(&seen[0]);
    assert!((0.5..5.0).contains(&apart), "{apart} s apart");
}

fn wire(stats: &Value, name: &str) -> Value {
    stats["wires"][name].clone()
}

fn count(object: &Value, name: &str) -> u64 {
    object[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is a number: {object}"))
}

/// Connections and streams now.
fn now(stats: &Value, name: &str) -> [u64; 2] {
    let wire = &stats["wires"][name];
    [count(wire, "connections"), count(wire, "streams")]
}

/// Streams on all other wires.
fn others(stats: &Value, name: &str) -> u64 {
    let others = WIRES.into_iter().filter(|wire| *wire != name);
    others.map(|wire| now(stats, wire)[1]).sum()
}
