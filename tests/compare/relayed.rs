//! The relay itself, seen by a client that is not the comparator's: it does what it is told to, and nothing else.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::relay::{Fault, Relay};
use crate::support::server::Server;
use crate::tool::Tool;

const LATER: Duration = Duration::from_millis(300);

/// What a reader from the beginning on gets of six events.
fn read(relay: &Relay, server: &Server, wire: &str) -> Vec<String> {
    let args = ["subscribe", "t", "--after", "0-0", "--wire", wire];
    let url = relay.url_of(wire);
    let mut tool = Tool::start(&[&args[..], &["--url", &url]].concat());
    let events = tool.until("the last event", |tool| {
        let lines = tool.stdout();
        let events = lines.lines().map(|line| {
            let event: Value = serde_json::from_str(line).expect("a line is JSON");
            event["data"].to_string()
        });
        let events: Vec<String> = events.collect();
        events
            .last()
            .is_some_and(|last| last == "\"6\"")
            .then_some(events)
    });
    drop(tool);
    // The server sees that a reader has gone.
    server.until("nobody reads", |stats| {
        let wires = stats["wires"].as_object().expect("wires");
        wires.values().all(|wire| wire["streams"] == 0)
    });
    events
}

#[test]
fn it_does_what_it_is_told_to() {
    let server = Server::start(&[]);
    for number in 1..=6 {
        server.publish("t", &number.to_string());
    }
    let table: [(Fault, &[u8]); 5] = [
        (Fault::None, b"123456"),
        (Fault::Lose(3), b"12456"),
        (Fault::Double(3), b"1233456"),
        (Fault::Swap(3), b"124356"),
        (Fault::Delay(3, LATER), b"123456"),
    ];
    for (fault, want) in table {
        let want: Vec<String> = want
            .iter()
            .map(|&digit| format!("\"{}\"", digit as char))
            .collect();
        let relay = Relay::start(&server, [fault; 2]);
        for wire in ["sse-http1", "ws"] {
            let began = Instant::now();
            assert_eq!(read(&relay, &server, wire), want, "{fault:?} on {wire}");
            let is_delayed = matches!(fault, Fault::Delay(..));
            assert!(
                !is_delayed || began.elapsed() >= LATER,
                "{fault:?} on {wire}"
            );
        }
    }
}

#[test]
fn what_is_published_goes_through() {
    let server = Server::start(&[]);
    let relay = Relay::start(&server, [Fault::None; 2]);
    let args = ["publish", "t", "--wire", "sse-http1", "--url", &relay.url()];
    let mut publisher = std::process::Command::new("sh");
    publisher.args([
        "-c",
        "printf 'a\\nb\\n' | \"$@\"",
        "sh",
        crate::support::server::BINARY,
    ]);
    let published = Tool::start_by(publisher, &args).end();
    assert_eq!(published.code, Some(0), "{published:?}");
    assert_eq!(server.stats()["log"]["events"], 2);
}

#[test]
fn cut_is_dead() {
    let server = Server::start(&[]);
    let relay = Relay::start(&server, [Fault::None; 2]);
    let url = relay.url_of("ws");
    let mut tool = Tool::start(&["subscribe", "t", "--wire", "ws", "--url", &url]);
    server.until("it reads", |stats| {
        stats["wires"]["websocket"]["streams"] == 1
    });
    // Before that, the handshake may still be on its way to it.
    server.publish("t", "here");
    tool.until("it has had something", |tool| {
        tool.stdout().contains("here").then_some(())
    });
    relay.cut();
    server.until("it reads no more", |stats| {
        stats["wires"]["websocket"]["streams"] == 0
    });
    tool.until("it is told so", |tool| {
        tool.stderr().contains("nobody listens").then_some(())
    });
}
