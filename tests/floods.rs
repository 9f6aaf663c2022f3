//! The promise: who sends what costs little to send and much to take has his connection closed or is taken at the
//! pace of everybody; memory stays bounded and nobody else waits.

mod support;

use std::time::{Duration, Instant};

use support::raw::http2::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use support::raw::process::resident;
use support::raw::websocket;
use support::raw::witness::Witness;
use support::raw::{Peer, ask, lines};
use support::server::{LISTENERS, Server};

/// A flood ends after so many frames, or so much time.
const FRAMES: u32 = 20_000;
const LONGEST: Duration = Duration::from_secs(4);
/// Who cannot write for so long is not read from any more.
const BLOCKED: Duration = Duration::from_millis(500);
/// Longer than anybody may wait for an answer.
const STALLING: Duration = Duration::from_millis(1_500);
/// What the server may hold on to after it, allocator and all.
const GROWN: u64 = 16 << 20;

/// Sends `piece(0)`, `piece(1)`, … until the server has had enough, a hundred at a time. What it answers is not
/// read.
fn flood(peer: &mut Peer, count: u32, piece: impl Fn(u32) -> Vec<u8>) {
    peer.patience(BLOCKED);
    let since = Instant::now();
    for hundred in 0..count / 100 {
        let bytes: Vec<u8> = (0..100).flat_map(|n| piece(hundred * 100 + n)).collect();
        if since.elapsed() > LONGEST || peer.try_say(bytes).is_err() {
            return;
        }
    }
}

/// One kind of flood: what goes before, how many pieces, and each piece.
type Flood = (&'static str, Vec<u8>, u32, Box<dyn Fn(u32) -> Vec<u8>>);

fn floods() -> Vec<Flood> {
    let stream = |n: u32| n * 2 + 1;
    let request = move |n, path| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream(n),
            &block(&get(path)),
        )
    };
    let post = || {
        let mut fields = get("/publish/flood");
        fields[0].1 = "POST";
        frame(HEADERS, END_HEADERS, 1, &block(&fields))
    };
    let cancel = 8u32.to_be_bytes();
    let same = |kind: u8, flags: u8, on: u32, payload: &[u8]| {
        let bytes = frame(kind, flags, on, payload);
        Box::new(move |_| bytes.clone())
    };
    // A header of 4 KB in the table of each connection, and then a byte for each time it is meant.
    let mut large = block(&[("x", &"y".repeat(4_000))]);
    large[0] = 0x40;
    let bomb = [block(&get("/healthz")), vec![0xbe; 12_000]].concat();
    let opened = |more: &[u8]| [&block(&get("/"))[..], more].concat();
    vec![
        (
            "rapid reset of streams",
            vec![],
            FRAMES,
            Box::new(move |n| {
                [
                    request(n, "/events?topic=a"),
                    frame(RST_STREAM, 0, stream(n), &cancel),
                ]
                .concat()
            }),
        ),
        (
            "rapid reset of answers",
            vec![],
            FRAMES,
            Box::new(move |n| [request(n, "/"), frame(RST_STREAM, 0, stream(n), &cancel)].concat()),
        ),
        (
            "resets that the server is made to send",
            vec![],
            FRAMES,
            Box::new(move |n| {
                [
                    request(n, "/events?topic=a"),
                    frame(WINDOW_UPDATE, 0, stream(n), &[0; 4]),
                ]
                .concat()
            }),
        ),
        (
            "requests",
            vec![],
            FRAMES,
            Box::new(move |n| request(n, "/healthz")),
        ),
        (
            "requests for nothing",
            vec![],
            FRAMES,
            Box::new(move |n| request(n, "/nothing")),
        ),
        (
            "streams",
            vec![],
            FRAMES,
            Box::new(move |n| request(n, "/events?topic=a")),
        ),
        (
            "SETTINGS",
            vec![],
            FRAMES,
            same(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
        ),
        ("PING", vec![], FRAMES, same(PING, 0, 0, &[7; 8])),
        (
            "answers to PING",
            vec![],
            FRAMES,
            same(PING, ACK, 0, &[7; 8]),
        ),
        ("empty DATA", post(), FRAMES, same(DATA, 0, 1, &[])),
        ("DATA of a byte", post(), FRAMES, same(DATA, 0, 1, b"x")),
        (
            "padding",
            post(),
            FRAMES,
            same(DATA, 8, 1, &[[255].as_slice(), &[0; 255]].concat()),
        ),
        (
            "CONTINUATION",
            frame(HEADERS, 0, 1, &block(&get("/"))),
            FRAMES,
            same(CONTINUATION, 0, 1, &[]),
        ),
        (
            "CONTINUATION with fields",
            frame(HEADERS, 0, 1, &block(&get("/"))),
            FRAMES,
            same(CONTINUATION, 0, 1, &block(&[("x", "y")])),
        ),
        (
            "WINDOW_UPDATE",
            vec![],
            FRAMES,
            same(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ),
        (
            "PRIORITY",
            vec![],
            FRAMES,
            Box::new(move |n| frame(PRIORITY, 0, stream(n), &[0; 5])),
        ),
        ("unknown frames", vec![], FRAMES, same(0x42, 0, 0, &[])),
        (
            "large heads",
            vec![],
            1_000,
            Box::new(move |n| {
                let head = block(&[("x", &"y".repeat(15_000))]);
                frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &head)
            }),
        ),
        (
            "a header that stands for many",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &opened(&large)),
            1_000,
            Box::new(move |n| frame(HEADERS, END_HEADERS | END_STREAM, stream(n + 1), &bomb)),
        ),
    ]
}

fn http2_floods(listener: &str) {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    Http2::connect(&server, listener).get(1, "/healthz");
    let before = resident(server.pid());
    for (what, first, count, piece) in floods() {
        let mut http2 = Http2::connect(&server, listener);
        http2.peer.say(first);
        flood(&mut http2.peer, count, piece);
        let grown = resident(server.pid()).saturating_sub(before);
        assert!(grown < GROWN, "{what}: {grown} bytes more");
        let peer = http2.peer.addr();
        drop(http2);
        let lines = lines(&server, peer);
        assert!(lines.len() <= 1, "{what}: {lines:?}");
        server.until(what, |stats| {
            stats["listeners"][listener]["connections"] == 0
                && stats["wires"]["sse_http2"]["streams"] == 0
        });
    }
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
    witness.saw_nothing();
}

#[test]
fn http2_in_cleartext() {
    http2_floods("h2c");
}

#[test]
fn http2_over_tls() {
    http2_floods("http2");
}

#[test]
fn http1_requests_one_after_the_other() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let healthz = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // All at once, and read: each is answered.
    let mut peer = Peer::connect(&server, "http1");
    peer.say(healthz.repeat(1_000));
    (0..1_000).for_each(|_| assert_eq!(peer.answer().status, 200));
    // All at once, and not read: then they are not read either.
    let before = resident(server.pid());
    for path in [
        "/healthz",
        "/stats",
        "/",
        "/poll?topic=a&after=0-0&timeout=0",
    ] {
        let request = healthz.replace("/healthz", path);
        let mut peer = Peer::connect(&server, "http1");
        flood(&mut peer, FRAMES, |_| request.clone().into_bytes());
        let grown = resident(server.pid()).saturating_sub(before);
        assert!(grown < GROWN, "{path}: {grown} bytes more");
    }
    witness.saw_nothing();
}

#[test]
fn http1_bodies_in_crumbs() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let post =
        "POST /publish/flood HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let pieces: [(&str, &[u8]); 3] = [
        ("chunks of a byte", b"1\r\nx\r\n"),
        (
            "chunks with extensions",
            b"1;name=\"a value that nobody wants\"\r\nx\r\n",
        ),
        ("a trailer without end", b"x: y\r\n"),
    ];
    let before = resident(server.pid());
    for (what, piece) in pieces {
        let mut peer = Peer::connect(&server, "http1");
        peer.say(post);
        if what.starts_with("a trailer") {
            peer.say("0\r\n");
        }
        flood(&mut peer, FRAMES, |_| piece.to_vec());
        let grown = resident(server.pid()).saturating_sub(before);
        assert!(grown < GROWN, "{what}: {grown} bytes more");
    }
    let poll = "GET /poll?topic=flood&after=0-0&timeout=0 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert!(ask(&server, "http1", poll).body.contains(r#""events":[]"#));
    witness.saw_nothing();
}

#[test]
fn connections() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    // What the first crowd has cost is used again for the second.
    open_and_leave(&server);
    let before = resident(server.pid());
    open_and_leave(&server);
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < GROWN, "{grown} bytes more");
    witness.saw_nothing();
}

/// A crowd on each port that leaves at once, with and without a word.
fn open_and_leave(server: &Server) {
    const EACH: usize = 300;
    for listener in LISTENERS {
        for n in 0..EACH {
            let mut peer = Peer::cleartext(server.addr(listener));
            if n % 2 == 0 {
                let _ = peer.try_say(b"\x16\x03\x01");
            }
        }
    }
    server.until("all are gone", |stats| {
        LISTENERS.iter().all(|name| {
            let left = stats["listeners"][name]["connections"].as_u64();
            left <= Some(if *name == "http1" { 3 } else { 0 })
        })
    });
}

/// As fast as it goes, on the one shard that everybody is on: who always has something to say must not be listened
/// to without a break.
#[test]
fn one_that_never_stops() {
    let server = Server::start(&["--shards", "1"]);
    let events = "GET /events?topic=a HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let healthz = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let preface = [http2::PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let upgrade = websocket::handshake("/ws") + "\r\n";
    let post = "POST /publish/flood HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let table: [(&str, &str, &[u8], Vec<u8>); 8] = [
        (
            "bytes after a stream's request",
            "http1",
            events.as_bytes(),
            vec![b'x'; 1_000],
        ),
        (
            "the same over TLS",
            "http1s",
            events.as_bytes(),
            vec![b'x'; 1_000],
        ),
        (
            "bytes after what is refused",
            "http1",
            b"nonsense\r\n\r\n",
            vec![b'x'; 1_000],
        ),
        ("requests", "http1", b"", healthz.into()),
        ("a body", "http1", post.as_bytes(), b"1\r\n \r\n".to_vec()),
        ("frames of HTTP/2", "h2c", &preface, frame(0x42, 0, 0, &[])),
        (
            "the same over TLS",
            "http2",
            &preface,
            frame(0x42, 0, 0, &[]),
        ),
        (
            "frames of WebSocket",
            "ws",
            upgrade.as_bytes(),
            websocket::frame(0x8a, b""),
        ),
    ];
    for (what, listener, first, piece) in table {
        // Shown when this fails.
        println!("{what}, on {listener}");
        let witness = Witness::start(&server);
        let mut peer = Peer::connect(&server, listener);
        peer.say(first);
        peer.patience(BLOCKED);
        let (much, since) = (piece.repeat(256 * 1024 / piece.len()), Instant::now());
        // Until it is hung up on, or not read any more.
        while since.elapsed() < STALLING && peer.try_say(&much).is_ok() {}
        drop(peer);
        witness.saw_nothing();
    }
}

/// The frames that open nothing and say nothing, at the pace of somebody who has time.
#[test]
fn a_connection_without_a_request_ends() {
    let server = Server::start(&["--request-head", "500ms"]);
    let mut http2 = Http2::connect(&server, "h2c");
    let since = Instant::now();
    let ping = http2::frame(PING, 0, 0, &[0; 8]);
    while http2.peer.try_say(&ping).is_ok() {
        assert!(since.elapsed() < LONGEST, "it is still served");
        std::thread::sleep(Duration::from_millis(10));
    }
}
