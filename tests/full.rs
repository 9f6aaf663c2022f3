//! The promise: a server that is full says so to those who come, serves those who are there, and is itself again
//! when some have left. Connections, descriptors, streams and topics.

mod support;

use std::time::{Duration, Instant};

use support::raw::http2::{self, Answered, Http2};
use support::raw::process::ticks;
use support::raw::websocket::{WebSocket, handshake};
use support::raw::witness::Witness;
use support::raw::{Answer, Peer, ask, until};
use support::server::Server;

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const STREAM: &str =
    "GET /events?topic=a HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";

/// Long enough for an answer that is on its way.
const MOMENT: Duration = Duration::from_millis(300);

fn reader(server: &Server) -> Peer {
    let mut peer = Peer::connect(server, "http1");
    peer.say(STREAM);
    peer.until("event: ready").expect("a stream");
    peer
}

#[track_caller]
fn is_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    assert!(answer.body.contains("full"), "{answer:?}");
}

#[track_caller]
fn is_busy(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "text/event-stream",
        "{answer:?}"
    );
    let retry = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("retry: "));
    let retry: u64 = retry
        .and_then(|ms| ms.parse().ok())
        .expect("when to come back");
    assert!((1_000..=10_000).contains(&retry), "{answer:?}");
    assert!(answer.body.contains("event: busy\n"), "{answer:?}");
    assert!(answer.body.contains(r#""reason":"full""#), "{answer:?}");
    assert!(!answer.body.contains("id:"), "{answer:?}");
}

#[test]
fn too_many_connections() {
    let server = Server::start(&["--connections", "5"]);
    // Two of the five.
    let witness = Witness::start(&server);
    let first = reader(&server);
    let mut second = WebSocket::open(&server, "ws", "/ws");
    let mut third = Http2::connect(&server, "h2c");
    third.get(1, "/healthz");
    third.answered(1);

    // One answer each, on any listener, and then the end.
    for listener in ["http1", "http1s", "ws"] {
        let mut peer = Peer::connect(&server, listener);
        peer.say(STREAM);
        is_busy(&peer.answer());
        assert!(peer.rest().is_empty(), "{listener}: closed");
        let mut peer = Peer::connect(&server, listener);
        peer.say(HEALTHZ);
        is_refused(&peer.answer());
        assert!(peer.rest().is_empty(), "{listener}: closed");
    }
    is_refused(&ask(&server, "ws", &(handshake("/ws") + "\r\n")));
    for listener in ["h2c", "http2"] {
        let mut http2 = Http2::connect(&server, listener);
        http2.get(1, "/healthz");
        let answered = http2.answered(1);
        assert!(
            matches!(answered, Answered::With(503, _)),
            "{listener}: {answered:?}"
        );
        assert_eq!(
            http2.closed(),
            Some(0),
            "{listener}: closed, without an error"
        );
    }

    // The one that is over keeps its place for as long as it says nothing: then nobody is let in.
    let over = Peer::connect(&server, "http1");
    let mut waiting = Peer::connect(&server, "http1");
    waiting.say(HEALTHZ);
    assert_eq!(waiting.glance(MOMENT), 0, "accepting should pause");
    // Those who are in are served all the same.
    second.send(
        0x81,
        br#"{"type":"publish","topic":"messages","data":1,"ref":1}"#,
    );
    let answers = [second.message(), second.message()].map(|m| m.expect("served"));
    assert!(answers.iter().any(|a| a.contains("$ack")), "{answers:?}");
    third.get(3, "/healthz");
    assert_eq!(third.answered(3), Answered::With(200, "ok\n".into()));

    drop(over);
    is_refused(&waiting.answer());
    drop((first, waiting));
    let mut next = None;
    until("there is room again", || {
        let mut peer = Peer::connect(&server, "http1");
        peer.say("GET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n");
        next = Some(peer.answer());
        next.as_ref().is_some_and(|answer| answer.status == 200)
    });
    let stats: serde_json::Value =
        serde_json::from_str(&next.expect("an answer").body).expect("JSON");
    assert_eq!(
        stats["wires"]["sse_http1"]["streams_total"], 2,
        "a busy answer is no stream"
    );
    witness.saw_nothing();
}

#[test]
fn too_few_descriptors() {
    let server = Server::start_with_descriptors(64, &[]);
    let mut healthy = reader(&server);
    let mut publisher = Peer::connect(&server, "http1");
    publisher.say(HEALTHZ);
    assert_eq!(publisher.answer().status, 200);

    let crowd: Vec<Peer> = (0..100).map(|_| Peer::connect(&server, "http1")).collect();
    until("the table is full", || {
        server.stderr().contains("cannot accept")
    });
    // It waits; it does not try again and again. A core would have 100 ticks in this second.
    let (before, since) = (ticks(server.pid()), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let spent = ticks(server.pid()) - before;
    assert!(
        spent < 30,
        "{spent} ticks of 10 ms in {:?}",
        since.elapsed()
    );
    // Who is in is served.
    publisher.say("POST /publish/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nfull");
    assert_eq!(publisher.answer().status, 201);
    healthy.until("data: full\n").expect("the event");

    drop(crowd);
    let answer = ask(&server, "http1", HEALTHZ);
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = server.stderr().matches("cannot accept").count();
    assert_eq!(lines, 1, "{}", server.stderr());
}

#[test]
fn too_many_streams_on_a_connection() {
    let server = Server::start(&["--streams", "10"]);
    let witness = Witness::start(&server);
    for listener in ["h2c", "http2"] {
        let mut http2 = Http2::connect(&server, listener);
        let streams: Vec<u32> = (0..10).map(|n| n * 2 + 1).collect();
        streams
            .iter()
            .for_each(|stream| http2.get(*stream, "/events?topic=a"));
        http2.get(21, "/healthz");
        assert_eq!(
            http2.answered(21),
            Answered::Reset(http2::REFUSED_STREAM),
            "{listener}"
        );
        let carried = server.until("ten streams", |s| s["wires"]["sse_http2"]["streams"] == 10);
        assert_eq!(carried["wires"]["sse_http2"]["connections"], 1, "{carried}");
        http2.send(http2::RST_STREAM, 0, 1, &8u32.to_be_bytes());
        http2.get(23, "/healthz");
        assert_eq!(
            http2.answered(23),
            Answered::With(200, "ok\n".into()),
            "{listener}"
        );
        drop(http2);
        server.until("none is left", |s| s["wires"]["sse_http2"]["streams"] == 0);
    }
    witness.saw_nothing();
}

#[test]
fn too_many_topics() {
    let server = Server::start(&["--topics", "3"]);
    let witness = Witness::start(&server);
    server.until("the witness has published", |stats| {
        stats["log"]["topics"] == 1
    });
    let publish = |topic: &str, headers: &str| {
        let line = format!("POST /publish/{topic} HTTP/1.1\r\nhost: localhost\r\n{headers}");
        ask(
            &server,
            "http1",
            &format!("{line}content-length: 1\r\n\r\n1"),
        )
    };
    assert_eq!(publish("a", "").status, 201);
    assert_eq!(publish("b", "").status, 201);
    for headers in [
        "",
        "content-type: application/x-ndjson\r\n",
        "idempotency-key: k\r\n",
    ] {
        let answer = publish("c", headers);
        assert_eq!(answer.status, 429, "{answer:?}");
        assert!(
            answer.body.contains('3') && answer.body.contains("topics"),
            "{answer:?}"
        );
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    }
    let mut socket = WebSocket::open(&server, "ws", "/ws");
    socket.send(0x81, br#"{"type":"publish","topic":"c","data":1,"ref":1}"#);
    let answer = socket.message().expect("an answer");
    assert!(
        answer.contains("$error") && answer.contains("429"),
        "{answer}"
    );
    // Those that exist go on, and to read another one is no harm.
    assert_eq!(publish("a", "").status, 201);
    let poll = "GET /poll?topic=c&after=0-0&timeout=0 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask(&server, "http1", poll).status, 200);
    assert_eq!(server.stats()["log"]["topics"], 3);
    witness.saw_nothing();
}
