//! The promise: nobody holds a connection by saying nothing, or by taking for ever to say it.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::raw::http2::{self, Http2};
use support::raw::witness::Witness;
use support::raw::{Peer, lines, one_line, session, text};
use support::server::{LISTENERS, Server};

/// What a request's head may take here, and what a busy machine may add to it.
const HEAD: Duration = Duration::from_millis(600);
const GRACE: Duration = Duration::from_secs(3);

fn start() -> Server {
    Server::start(&["--request-head", "600ms"])
}

/// Reads to the end, which must come when the time for a head is over, and not before.
#[track_caller]
fn is_closed_in_time(mut peer: Peer, since: Instant) -> (SocketAddr, Vec<u8>) {
    let rest = peer.rest();
    let took = since.elapsed();
    assert!(took < HEAD + GRACE, "closed after {took:?}");
    // Half of it, since our clock starts before the server's, and a timer is coarse.
    assert!(took > HEAD / 2, "closed after {took:?}");
    (peer.addr(), rest)
}

#[test]
fn a_peer_that_says_nothing() {
    let server = start();
    let witness = Witness::start(&server);
    let peers = LISTENERS.map(|listener| {
        let since = Instant::now();
        (listener, since, Peer::cleartext(server.addr(listener)))
    });
    for (listener, since, peer) in peers {
        let (peer, rest) = is_closed_in_time(peer, since);
        assert_eq!(text(&rest), "", "{listener}");
        assert!(
            one_line(&server, peer).contains("request-head"),
            "{listener}"
        );
    }
    witness.saw_nothing();
}

#[test]
fn a_peer_that_stops_in_the_middle() {
    let server = start();
    let witness = Witness::start(&server);
    let mut hello = Vec::new();
    session(&server, &[b"h2"])
        .write_tls(&mut hello)
        .expect("a hello");
    let settings = http2::frame(http2::SETTINGS, 0, 0, &[]);
    let unfinished = http2::frame(http2::HEADERS, 0, 1, &http2::block(&http2::get("/healthz")));
    let upgrade = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, http2-settings\r\n\
                   upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n";
    let beginnings: [(&str, &[u8]); 10] = [
        ("http1", b"G"),
        ("ws", b"GET /ws HTTP/1.1\r\nhost: localhost\r\n"),
        ("http1", b"PRI * HT"),
        ("h2c", b"PRI * HT"),
        ("h2c", http2::PREFACE),
        ("h2c", &[http2::PREFACE, &settings].concat()),
        ("h2c", &[http2::PREFACE, &settings, &unfinished].concat()),
        ("h2c", upgrade.as_bytes()),
        ("http2", &hello[..50]),
        ("wss", &hello),
    ];
    let peers = beginnings.map(|(listener, beginning)| {
        let since = Instant::now();
        let mut peer = Peer::cleartext(server.addr(listener));
        peer.say(beginning);
        (since, peer, text(beginning))
    });
    for (since, peer, beginning) in peers {
        let (peer, _) = is_closed_in_time(peer, since);
        let lines = lines(&server, peer);
        assert!(lines.len() <= 1, "{beginning:?}: {lines:?}");
    }
    witness.saw_nothing();
}

#[test]
fn a_peer_that_is_silent_after_the_handshake() {
    let server = start();
    let witness = Witness::start(&server);
    for listener in ["http2", "http1s", "wss"] {
        let since = Instant::now();
        let peer = Peer::connect(&server, listener);
        let (peer, _) = is_closed_in_time(peer, since);
        one_line(&server, peer);
    }
    let since = Instant::now();
    let http2 = Http2::connect(&server, "http2");
    is_closed_in_time(http2.peer, since);
    witness.saw_nothing();
}

#[test]
fn a_byte_now_and_then() {
    let server = start();
    let witness = Witness::start(&server);
    // Of a first head, and of a second one on a connection that has proved itself.
    for first in ["", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let mut peer = Peer::connect(&server, "http1");
        peer.say(first);
        if !first.is_empty() {
            assert_eq!(peer.answer().status, 200);
        }
        let since = Instant::now();
        let mut head = "GET /healthz HTTP/1.1\r\nx: "
            .bytes()
            .chain(std::iter::repeat(b'x'));
        let dripping = || head.next().is_some_and(|byte| peer.try_say([byte]).is_ok());
        drip(dripping, since);
        one_line(&server, peer.addr());
    }
    // HTTP/2: frames that are whole and well, and no request.
    let mut http2 = Http2::connect(&server, "h2c");
    let since = Instant::now();
    let ping = http2::frame(http2::PING, 0, 0, &[0; 8]);
    drip(|| http2.peer.try_say(&ping).is_ok(), since);
    // HEADERS, and then CONTINUATION after CONTINUATION, none of which is the last.
    let mut http2 = Http2::connect(&server, "h2c");
    http2.send(http2::HEADERS, 0, 1, &http2::block(&http2::get("/")));
    let more = http2::frame(http2::CONTINUATION, 0, 1, &http2::block(&[("x", "y")]));
    let since = Instant::now();
    drip(|| http2.peer.try_say(&more).is_ok(), since);
    witness.saw_nothing();
}

/// Says something every few milliseconds for as long as somebody listens, which must not be long.
#[track_caller]
fn drip(mut say: impl FnMut() -> bool, since: Instant) {
    while say() {
        assert!(since.elapsed() < HEAD + GRACE, "it still listens");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_head_that_is_too_large() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let long = "x".repeat(17 * 1024);
    let many: String = (0..150).map(|n| format!("x{n}: y\r\n")).collect();
    let heads = [
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"),
        // Without an end: it must not be waited for.
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}{long}"),
    ];
    for head in heads {
        let mut peer = Peer::connect(&server, "http1");
        peer.say(&head);
        let answer = peer.answer();
        assert_eq!((answer.status, &*answer.body), (431, ""), "{answer:?}");
        assert_eq!(text(&peer.rest()), "", "closed");
        one_line(&server, peer.addr());
    }
    // A request line has its own limit in hyper (RFC 9110, 15.5.15), well below the head's here.
    let mut peer = Peer::connect(&server, "http1");
    peer.say(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)));
    assert!(matches!(peer.answer().status, 414 | 431));

    for listener in ["h2c", "http2"] {
        let mut http2 = Http2::connect(&server, listener);
        let path = format!("/{}", "x".repeat(16_000));
        let mut fields = http2::get(&path).to_vec();
        fields.push(("x", &long[..1_000]));
        let answered = {
            let block = http2::block(&fields);
            let (first, more) = block.split_at(16_000);
            http2.send(http2::HEADERS, http2::END_STREAM, 1, first);
            http2.send(http2::CONTINUATION, http2::END_HEADERS, 1, more);
            http2.answered(1)
        };
        assert_eq!(
            answered,
            http2::Answered::With(431, "".into()),
            "{listener}"
        );
        // Its neighbour is none the worse.
        http2.get(3, "/healthz");
        assert_eq!(http2.answered(3), http2::Answered::With(200, "ok\n".into()));
    }
    witness.saw_nothing();
}
