//! The promise: a body that cannot be published is refused with its reason, nothing of it is in the log, and a peer
//! that sends it in bad faith costs no more than its limit.

mod support;

use std::time::{Duration, Instant};

use support::raw::http2::{self, Answered, Http2};
use support::raw::process::resident;
use support::raw::witness::Witness;
use support::raw::{Answer, Peer, ask, until};
use support::server::Server;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A POST to the topic that must stay empty, but for its body.
fn post(headers: &str) -> String {
    format!("POST /publish/bad HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

/// A POST with this content type and body.
fn whole(content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = post(&format!(
        "content-type: {content_type}\r\ncontent-length: {length}\r\n"
    ));
    [head.as_bytes(), body].concat()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[track_caller]
fn nothing_was_published(server: &Server) {
    let answer = ask(
        server,
        "http1",
        "GET /poll?topic=bad&after=0-0&timeout=0 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    );
    assert!(answer.body.contains(r#""events":[]"#), "{answer:?}");
}

#[track_caller]
fn is_refused(answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{answer:?}"
    );
    for word in words {
        assert!(answer.body.contains(word), "{word} is not in {answer:?}");
    }
}

#[test]
fn a_body_over_its_limit() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let over = 256 * KIB + 1;
    let event = ["262144", "event-bytes"];
    let batch = ["4194304", "batch-bytes"];
    let ndjson = "content-type: application/x-ndjson\r\n";

    // Declared: refused before a byte of it has come, and whoever sends on all the same reads why.
    for listener in ["http1", "http1s"] {
        let mut peer = Peer::connect(&server, listener);
        peer.say(post(&format!("content-length: {over}\r\n")));
        is_refused(&peer.answer(), 413, &event);
        let mut peer = Peer::connect(&server, listener);
        peer.say(post(&format!("content-length: {over}\r\n")));
        peer.say(vec![b'x'; over]);
        is_refused(&peer.answer(), 413, &event);
    }
    let mut peer = Peer::connect(&server, "http1");
    peer.say(post(&format!(
        "{ndjson}content-length: {}\r\n",
        4 * MIB + 1
    )));
    is_refused(&peer.answer(), 413, &batch);

    // Not declared: refused when it is over, and what is on its way already does not drown the answer.
    let mut peer = Peer::connect(&server, "http1");
    peer.say(post("transfer-encoding: chunked\r\n"));
    (0..64).for_each(|_| peer.say(chunk(&[b'x'; 16 * KIB])));
    is_refused(&peer.answer(), 413, &event);
    let mut peer = Peer::connect(&server, "http1");
    peer.say(post(&format!("{ndjson}transfer-encoding: chunked\r\n")));
    (0..257).for_each(|_| peer.say(chunk(&[b' '; 16 * KIB])));
    is_refused(&peer.answer(), 413, &batch);

    // Too many events, each small; and one too large in a batch that is not.
    let answer = send(
        &server,
        "application/x-ndjson",
        "1\n".repeat(10_001).as_bytes(),
    );
    is_refused(&answer, 413, &["10000", "batch-events"]);
    let long = format!("1\n\"{}\"\n", "x".repeat(over));
    let answer = send(&server, "application/x-ndjson", long.as_bytes());
    is_refused(&answer, 413, &["event 2", "262144", "event-bytes"]);

    for length in [Some("300000"), None] {
        let mut http2 = Http2::connect(&server, "h2c");
        let mut fields = post_http2().to_vec();
        fields.extend(length.map(|length| ("content-length", length)));
        http2.request(1, 0, &fields);
        let answered = match length {
            Some(_) => http2.answered(1),
            None => flood_with_data(&mut http2),
        };
        let Answered::With(413, body) = answered else {
            panic!("{answered:?}")
        };
        assert!(event.iter().all(|word| body.contains(word)), "{body}");
    }
    nothing_was_published(&server);
    witness.saw_nothing();
}

fn post_http2() -> [(&'static str, &'static str); 4] {
    let mut fields = http2::get("/publish/bad");
    fields[0].1 = "POST";
    fields
}

/// Sends DATA as the windows allow, and returns how it was answered.
fn flood_with_data(http2: &mut Http2) -> Answered {
    let data = [b'x'; 16 * KIB];
    // Three fit into the windows that every connection begins with; then as many as the server asks for.
    (0..3).for_each(|_| http2.send(http2::DATA, 0, 1, &data));
    while let Some(frame) = http2.next() {
        match frame.kind {
            http2::WINDOW_UPDATE if frame.stream == 1 => {
                let room = http2::number(&frame.payload) as usize;
                (0..room / data.len()).for_each(|_| http2.send(http2::DATA, 0, 1, &data));
            }
            http2::HEADERS => {
                let status = http2::status(&frame.payload);
                let body = http2.next().expect("its body");
                return Answered::With(status, support::raw::text(&body.payload));
            }
            _ => {}
        }
    }
    Answered::Closed(None)
}

fn send(server: &Server, content_type: &str, body: &[u8]) -> Answer {
    let mut peer = Peer::connect(server, "http1");
    peer.say(whole(content_type, body));
    peer.answer()
}

#[test]
fn a_body_that_is_not_what_it_says() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let table: [(&str, &[u8], &str); 14] = [
        ("text/plain", b"\xff", "UTF-8"),
        ("text/plain", b"half of \xe2\x82", "UTF-8"),
        ("application/json", b"", "JSON"),
        ("application/json", b"{", "JSON"),
        ("application/json", b"{} {}", "JSON"),
        ("application/json", b"{'a':1}", "JSON"),
        ("application/json", b"\"\xff\"", "UTF-8"),
        ("application/json; charset=utf-8", b"nul", "JSON"),
        ("APPLICATION/JSON", b"[1,]", "JSON"),
        ("application/json", b"\xef\xbb\xbf{}", "JSON"),
        ("application/x-ndjson", b"1\n2\nthree\n4\n", "line 3"),
        ("application/x-ndjson", b"\n\n{\"a\":\n1}\n", "line 3"),
        ("application/x-ndjson", b"1\r\n\xff\r\n", "line 2"),
        ("application/x-ndjson", b"\n \n\r\n", "no event"),
    ];
    for (content_type, body, words) in table {
        is_refused(&send(&server, content_type, body), 400, &[words]);
    }
    for encoding in ["gzip", "br", "zstd, gzip"] {
        let head = post(&format!(
            "content-encoding: {encoding}\r\ncontent-length: 2\r\n"
        ));
        is_refused(
            &ask(&server, "http1", &(head + "ab")),
            415,
            &["content-encoding"],
        );
    }
    nothing_was_published(&server);
    witness.saw_nothing();
}

#[test]
fn a_body_that_does_not_come() {
    let server = Server::start(&["--request-body", "500ms"]);
    let witness = Witness::start(&server);
    for headers in ["content-length: 10\r\n", "transfer-encoding: chunked\r\n"] {
        let mut peer = Peer::connect(&server, "http1");
        let since = Instant::now();
        peer.say(post(headers));
        is_refused(&peer.answer(), 408, &["request-body"]);
        assert!(
            since.elapsed() < Duration::from_secs(3),
            "{:?}",
            since.elapsed()
        );
        // A connection in the middle of a body is good for nothing more.
        peer.rest();
    }
    // A byte now and then is no body either.
    let mut peer = Peer::connect(&server, "http1");
    let since = Instant::now();
    peer.say(post("content-length: 100000\r\n"));
    while peer.glance(Duration::from_millis(20)) == 0 {
        peer.say("x");
        assert!(since.elapsed() < Duration::from_secs(3), "it is still read");
    }
    is_refused(&peer.answer(), 408, &["request-body"]);

    let mut http2 = Http2::connect(&server, "h2c");
    http2.request(1, 0, &post_http2());
    let Answered::With(408, _) = http2.answered(1) else {
        panic!("no 408")
    };
    http2.get(3, "/healthz");
    assert_eq!(
        http2.answered(3),
        Answered::With(200, "ok\n".into()),
        "its neighbour goes on"
    );
    nothing_was_published(&server);
    witness.saw_nothing();
}

#[test]
fn a_body_that_breaks_off() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let bodies = [
        post("content-length: 10\r\n") + "12345",
        post("transfer-encoding: chunked\r\n") + "5\r\n12345\r\n",
        post("transfer-encoding: chunked\r\n") + "5\r\n12",
        post("transfer-encoding: chunked\r\n") + "5\r\n12345\r\nnonsense\r\n\r\n",
        post("transfer-encoding: chunked\r\n") + "5\r\n1234567890\r\n0\r\n\r\n",
        post("transfer-encoding: chunked\r\n") + "fffffffffffffffff\r\n12345",
        post("transfer-encoding: chunked\r\n") + "-1\r\n12345\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let mut peer = Peer::connect(&server, "http1");
        peer.say(&body);
        peer.finish();
        if let Some(answer) = peer.try_answer() {
            assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
        }
        peer.rest();
    }
    // HTTP/2: the stream is reset, and a length that is not kept is one of RFC 9113's malformed requests (8.1.1).
    let mut http2 = Http2::connect(&server, "h2c");
    http2.request(1, 0, &post_http2());
    http2.send(http2::DATA, 0, 1, b"12345");
    http2.send(http2::RST_STREAM, 0, 1, &8u32.to_be_bytes());
    let mut fields = post_http2().to_vec();
    fields.push(("content-length", "10"));
    http2.request(3, 0, &fields);
    http2.send(http2::DATA, http2::END_STREAM, 3, b"12345");
    const PROTOCOL_ERROR: u32 = 1;
    match http2.answered(3) {
        Answered::Reset(PROTOCOL_ERROR) | Answered::With(400, _) => {}
        other => panic!("{other:?}"),
    }
    http2.get(5, "/healthz");
    assert_eq!(
        http2.answered(5),
        Answered::With(200, "ok\n".into()),
        "its neighbour goes on"
    );
    nothing_was_published(&server);
    witness.saw_nothing();
}

/// What a body costs is bounded by its bytes, not by how many pieces it comes in.
#[test]
fn a_body_in_crumbs() {
    const PEERS: usize = 2;
    const CRUMBS: usize = 64 * KIB;
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let heard = || server.stats()["listeners"]["ws"]["bytes_in"].as_u64();
    let crumbs = b"1\r\n \r\n".repeat(CRUMBS);
    let before = resident(server.pid());
    let peers = [(); PEERS].map(|()| {
        let mut peer = Peer::connect(&server, "ws");
        peer.say(post(
            "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n",
        ));
        peer.say(&crumbs);
        peer
    });
    until("all is read", || {
        heard() > Some((PEERS * crumbs.len()) as u64)
    });
    let grown = resident(server.pid()).saturating_sub(before);
    // Twice the body, since what grows is copied now and then; and a connection's own buffers.
    let bound = PEERS * (2 * CRUMBS + 128 * KIB) + MIB;
    assert!(
        grown < bound as u64,
        "{PEERS} x {CRUMBS} bytes hold {grown}"
    );
    drop(peers);
    witness.saw_nothing();
}

/// A small event must not keep alive what it was read with.
#[test]
fn an_event_holds_no_more_than_itself() {
    const EVENTS: usize = 1_000;
    let server = Server::start(&[]);
    let held = || server.stats()["log"]["bytes"].as_u64().expect("a number");
    (0..50).for_each(|_| drop(server.publish("warm", "tiny")));
    let before = resident(server.pid()) - held();
    (0..EVENTS).for_each(|_| drop(server.publish("small", "tiny")));
    let grown = resident(server.pid()).saturating_sub(before + held());
    assert!(
        grown < (EVENTS * KIB) as u64,
        "{grown} bytes beside what the log says"
    );
}
