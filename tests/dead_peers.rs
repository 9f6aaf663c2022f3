//! The promise: a reader that takes nothing for too long, and a peer that is gone, are closed, counted and logged; one
//! that lives and is only slow is not.

mod support;

use std::time::{Duration, Instant};

use support::raw::reader::{Framing, MOST, Reader};
use support::raw::witness::Witness;
use support::raw::{Peer, one_line, until};
use support::server::Server;

const NARROW: usize = 4_096;
const PATH: &str = "/events?topic=load";

/// Each kind of reader: its listener, and the wire that counts it.
const KINDS: [(&str, &str); 6] = [
    ("http1", "sse_http1"),
    ("http1s", "sse_http1"),
    ("ws", "websocket"),
    ("wss", "websocket"),
    ("h2c", "sse_http2"),
    ("h2c", "websocket_http2"),
];

fn framing(wire: &str) -> Framing {
    match wire.starts_with("websocket") {
        true => Framing::WebSocket,
        false => Framing::Sse,
    }
}

/// A reader whose own kernel takes little for it.
fn reader(server: &Server, listener: &str, wire: &str) -> Reader {
    let peer = match listener {
        "http1s" | "wss" => Peer::narrow_tls(server, listener, &[b"http/1.1"], NARROW),
        _ => Peer::narrow(server.addr(listener), NARROW),
    };
    let before = streams(server, wire);
    let reader = match listener {
        "h2c" => Reader::http2(peer, framing(wire), PATH, 1, MOST),
        _ => Reader::http1(peer, framing(wire), PATH),
    };
    until("it reads", || streams(server, wire) == before + 1);
    reader
}

fn streams(server: &Server, wire: &str) -> u64 {
    server.stats()["wires"][wire]["streams"]
        .as_u64()
        .expect("a number")
}

/// How often a listener has closed somebody for this.
fn closed(server: &Server, listener: &str, why: &str) -> u64 {
    server.stats()["listeners"][listener][why]
        .as_u64()
        .expect("a number")
}

/// Publishes so many events of 4 KiB.
fn publish(server: &Server, numbers: std::ops::Range<u64>) {
    let padding = "x".repeat(4_096);
    let mut publisher = Peer::connect(server, "http1");
    for n in numbers {
        let event = format!("\"{n} {padding}\"");
        let length = event.len();
        publisher.say(format!(
            "POST /publish/load HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{event}"
        ));
        assert_eq!(publisher.answer().status, 201);
    }
}

/// More than any of them may hold.
const MUCH: u64 = 500;

#[test]
fn a_reader_that_takes_no_byte() {
    let server = Server::start(&["--stall", "1s"]);
    let witness = Witness::start(&server);
    let stopped = KINDS.map(|(listener, wire)| (listener, reader(&server, listener, wire)));
    let since = Instant::now();
    publish(&server, 0..MUCH);
    for (_, wire) in KINDS {
        let own = u64::from(wire == "sse_http1");
        until(wire, || streams(&server, wire) == own);
    }
    assert!(since.elapsed() > Duration::from_millis(800), "too soon");
    for (listener, reader) in &stopped {
        assert!(one_line(&server, reader.peer().addr()).contains("(stall)"));
        let all = stopped
            .iter()
            .filter(|(other, _)| other == listener)
            .count();
        assert_eq!(
            closed(&server, listener, "stalled_total"),
            all as u64,
            "{listener}"
        );
    }
    witness.saw_nothing();
}

#[test]
fn a_reader_that_takes_little() {
    let server = Server::start(&["--stall", "3s"]);
    let mut readers =
        KINDS.map(|(listener, wire)| (listener, wire, reader(&server, listener, wire)));
    publish(&server, 0..MUCH);
    let (since, mut next) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(7) {
        next += 4;
        readers
            .iter_mut()
            .for_each(|(_, _, reader)| reader.read_to(next));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(next < MUCH, "it was not slow");
    for (listener, wire, mut reader) in readers {
        reader.read_on(MOST);
        reader.read_to(MUCH);
        assert_eq!(
            closed(&server, listener, "stalled_total"),
            0,
            "{listener} {wire}"
        );
    }
}

#[test]
fn a_peer_that_lives_with_a_closed_window() {
    let server = Server::start(&["--dead", "1s"]);
    let mut readers =
        KINDS.map(|(listener, wire)| (listener, wire, reader(&server, listener, wire)));
    // First what fits into the server's own socket, so that it is the kernel alone that has something left; then more
    // than it may hold.
    for events in [0..10, 10..MUCH] {
        publish(&server, events);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(3) {
            for (listener, wire, _) in &readers {
                let dead = closed(&server, listener, "dead_total");
                assert_eq!(dead, 0, "{listener} {wire}: {}", server.stderr());
            }
        }
    }
    for (_, _, reader) in &mut readers {
        reader.read_on(MOST);
        reader.read_to(MUCH);
    }
}

#[test]
fn a_peer_that_has_finished() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for (listener, wire) in KINDS {
        // A WebSocket that takes nothing is not read from either: there `--stall` is what ends it.
        let backlogs = if wire == "websocket" {
            &[0][..]
        } else {
            &[0, MUCH]
        };
        for &backlog in backlogs {
            let before = streams(&server, wire);
            let gone = reader(&server, listener, wire);
            publish(&server, 0..backlog);
            gone.peer().finish();
            until(&format!("{listener} {wire} {backlog}"), || {
                streams(&server, wire) == before
            });
        }
    }
    witness.saw_nothing();
}

/// Who finishes right after the question still wants the answer (RFC 9112, 9.6, says how a server closes; `nc -N` and
/// many a health check ask so).
#[test]
fn a_peer_that_finishes_once_it_has_asked() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for listener in ["http1", "ws", "http1s"] {
        let get = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned();
        let head = "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n";
        let post = head.to_owned() + &"x".repeat(100_000);
        for (request, status) in [(get, 200), (post, 201)] {
            let mut peer = Peer::connect(&server, listener);
            peer.say(request);
            peer.finish();
            let answer = peer.try_answer().map(|answer| answer.status);
            assert_eq!(answer, Some(status), "{listener}");
            peer.rest();
        }
        // But nobody waits for a poll who can say nothing more.
        let mut peer = Peer::connect(&server, listener);
        peer.say("GET /poll?topic=none&after=0-0 HTTP/1.1\r\nhost: localhost\r\n\r\n");
        until("it is held", || streams(&server, "long_poll") == 1);
        peer.finish();
        let since = Instant::now();
        until("it is let go", || streams(&server, "long_poll") == 0);
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "{:?}",
            since.elapsed()
        );
    }
    witness.saw_nothing();
}
