//! The promise: a request that cannot be understood, or asks for what there is not, is told what is wrong with it,
//! on every wire alike.

mod support;

use support::raw::http2::{Answered, Http2};
use support::raw::websocket::{WebSocket, handshake};
use support::raw::witness::Witness;
use support::raw::{Answer, Peer, ask, text};
use support::server::Server;

fn request(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
}

#[track_caller]
fn is_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{answer:?}"
    );
    let problem: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    let said = |member: &str| {
        problem[member]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    };
    assert!(said("title") && said("detail"), "{problem}");
}

/// What may be wrong with a query, and the kind of problem that it is.
const QUERIES: [(&str, &str); 36] = [
    ("topic=", "topic"),
    ("topic=/a", "topic"),
    ("topic=a/", "topic"),
    ("topic=a//b", "topic"),
    ("topic=a/../b", "topic"),
    ("topic=.", "topic"),
    ("topic=a%00", "topic"),
    ("topic=a%0d%0aevent:%20x", "topic"),
    ("topic=a+b", "topic"),
    ("topic=%FF", "topic"),
    ("topic=%E2%82%AC", "topic"),
    ("topic=a$", "topic"),
    ("topic=$", "topic"),
    ("topic=ok&topic=*", "topic"),
    ("topic=ok&after=", "cursor"),
    ("topic=ok&after=1", "cursor"),
    ("topic=ok&after=-1-1", "cursor"),
    ("topic=ok&after=%2B1-1", "cursor"),
    ("topic=ok&after=1-", "cursor"),
    ("topic=ok&after=1-2-3", "cursor"),
    ("topic=ok&after=1-18446744073709551616", "cursor"),
    ("topic=ok&after=000000000000000000001-0", "cursor"),
    ("topic=ok&lag=", "lag"),
    ("topic=ok&lag=Gap", "lag"),
    ("topic=ok&limit=", "limit"),
    ("topic=ok&limit=0", "limit"),
    ("topic=ok&limit=1000001", "limit"),
    ("topic=ok&limit=-1", "limit"),
    ("topic=ok&limit=%2B1", "limit"),
    ("topic=ok&limit=99999999999999999999", "limit"),
    ("topic=ok&envelope=yes", "envelope"),
    ("topic=ok&timeout=-1", "timeout"),
    ("topic=ok&timeout=61", "timeout"),
    ("topic=ok&timeout=1e1", "timeout"),
    ("topic=ok&timeout=inf", "timeout"),
    ("topic=ok&timeout=", "timeout"),
];

#[test]
fn a_bad_query() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let mut http2 = Http2::connect(&server, "h2c");
    let mut stream = 1;
    let mut peer = Peer::connect(&server, "http1");
    let long = format!("topic={}", "x".repeat(256));
    for (query, kind) in QUERIES.into_iter().chain([(&*long, "topic")]) {
        for path in ["/events", "/poll", "/sse"] {
            peer.say(request(&format!("GET {path}?{query}")));
            is_problem(&peer.answer(), 400, kind);
        }
        let answer = ask(
            &server,
            "ws",
            &(handshake(&format!("/ws?{query}")) + "\r\n"),
        );
        is_problem(&answer, 400, kind);
        http2.get(stream, &format!("/events?{query}"));
        let Answered::With(400, body) = http2.answered(stream) else {
            panic!("{query}")
        };
        assert!(body.contains(kind), "{query}: {body}");
        stream += 2;
    }
    for path in ["/events", "/events?topics=a", "/poll", "/poll?after=0-0"] {
        peer.say(request(&format!("GET {path}")));
        is_problem(&peer.answer(), 400, "topic");
    }
    witness.saw_nothing();
}

#[test]
fn a_bad_publish() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let long_type = format!("/publish/a?type={}", "t".repeat(65));
    let table = [
        ("/publish/", 400, "topic"),
        ("/publish/a/", 400, "topic"),
        ("/publish/a%20b", 400, "topic"),
        ("/publish/a/%2e%2e/b", 400, "topic"),
        ("/publish/a%2F%2Fb", 400, "topic"),
        // Decoded once: a percent sign is left, and is none of a topic's characters.
        ("/publish/a%252Fb", 400, "topic"),
        ("/publish/%C3%BC", 400, "topic"),
        ("/publish/$stats", 403, "reserved-topic"),
        ("/publish/a?type=", 400, "type"),
        ("/publish/a?type=a%0Ab", 400, "type"),
        ("/publish/a?type=ready", 400, "type"),
        ("/publish/a?type=gap", 400, "type"),
        ("/publish/a?type=busy", 400, "type"),
        ("/publish/a?type=open", 400, "type"),
        ("/publish/a?type=error", 400, "type"),
        ("/publish/a?type=$ack", 400, "type"),
        (&long_type, 400, "type"),
    ];
    for (path, status, kind) in table {
        is_problem(
            &ask(&server, "http1", &request(&format!("POST {path}"))),
            status,
            kind,
        );
    }
    let long = format!("idempotency-key: {}\r\n", "k".repeat(256));
    for header in ["idempotency-key:\r\n", "idempotency-key: \u{fc}\r\n", &long] {
        let head = format!("POST /publish/a HTTP/1.1\r\nhost: localhost\r\n{header}");
        let answer = ask(
            &server,
            "http1",
            &format!("{head}content-length: 0\r\n\r\n"),
        );
        is_problem(&answer, 400, "idempotency-key");
    }
    assert_eq!(
        server.stats()["log"]["topics"],
        1,
        "only the witness has published"
    );
    witness.saw_nothing();
}

#[test]
fn a_bad_message_on_a_websocket() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let mut socket = WebSocket::open(&server, "ws", "/ws");
    let table = [
        ("", 400),
        ("nonsense", 400),
        ("[]", 400),
        ("{}", 400),
        (r#"{"type":7}"#, 400),
        (r#"{"type":"$ready"}"#, 400),
        (r#"{"type":"subscribe"}"#, 400),
        (r#"{"type":"subscribe","topics":"a"}"#, 400),
        (r#"{"type":"subscribe","topics":["a b"]}"#, 400),
        (r#"{"type":"subscribe","topics":["a"],"after":"x"}"#, 400),
        (r#"{"type":"subscribe","topics":{"a":"x"}}"#, 400),
        (r#"{"type":"unsubscribe","topics":["a b"]}"#, 400),
        (r#"{"type":"publish","topic":"a"}"#, 400),
        (r#"{"type":"publish","topic":"a b","data":1}"#, 400),
        (r#"{"type":"publish","topic":"$stats","data":1}"#, 403),
        (
            r#"{"type":"publish","topic":"a","event":"ready","data":1}"#,
            400,
        ),
        (
            r#"{"type":"publish","topic":"a","event":"$x","data":1}"#,
            400,
        ),
    ];
    for (message, status) in table {
        socket.send(0x81, message.as_bytes());
        let answer = socket.message().expect("an answer");
        let error: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(error["type"], "$error", "{message}: {answer}");
        assert_eq!(error["status"], status, "{message}: {answer}");
        assert!(
            error["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{answer}"
        );
    }
    let large = "x".repeat(256 * 1024);
    let large = format!(r#"{{"type":"publish","topic":"a","data":"{large}","ref":"r"}}"#);
    socket.send(0x81, large.as_bytes());
    let answer = socket.message().expect("an answer");
    assert!(
        answer.contains("413") && answer.contains("event-bytes"),
        "{answer}"
    );
    assert!(answer.contains(r#""ref":"r""#), "{answer}");
    // After all that it is as good as new.
    socket.send(
        0x81,
        br#"{"type":"publish","topic":"messages","data":1,"ref":1}"#,
    );
    let answers = [socket.message(), socket.message()].map(|m| m.expect("the socket stays"));
    assert!(answers.iter().any(|a| a.contains("$ack")), "{answers:?}");
    witness.saw_nothing();
}

#[test]
fn a_cursor_that_means_nothing() {
    let server = Server::start(&[]);
    let id = server.publish("ok", "1");
    // A browser would send it for ever, so it is no error but a loss, and the stream begins at the beginning.
    let beyond = "99999999999999-0";
    for header in ["nonsense", "1-2-3", "1", beyond, "\u{fc}", "1-1"] {
        let mut peer = Peer::connect(&server, "http1");
        let head = "GET /events?topic=ok&limit=1 HTTP/1.1\r\nhost: localhost\r\n";
        peer.say(format!("{head}last-event-id: {header}\r\n\r\n"));
        let answer = peer.answer();
        assert_eq!(answer.status, 200, "{header}: {answer:?}");
        assert!(answer.body.contains("event: gap\n"), "{header}: {answer:?}");
        assert!(
            answer.body.contains(r#""reason":"expired""#),
            "{header}: {answer:?}"
        );
        assert!(
            answer.body.contains(&format!("id: {id}\n")),
            "{header}: {answer:?}"
        );
    }
    let poll = ask(
        &server,
        "http1",
        &request(&format!("GET /poll?topic=ok&after={beyond}")),
    );
    assert!(
        poll.body.contains("expired") && poll.body.contains(&id),
        "{poll:?}"
    );
}

#[test]
fn too_many_topics_for_a_reader() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let topics = |count| {
        (0..count)
            .map(|n| format!("&topic=t{n}"))
            .collect::<String>()
    };
    for path in ["/events", "/poll"] {
        let answer = ask(
            &server,
            "http1",
            &request(&format!("GET {path}?{}", topics(257))),
        );
        is_problem(&answer, 400, "too-many-topics");
        assert!(answer.body.contains("256"), "{answer:?}");
    }
    // The same one again counts once.
    let twice = format!("GET /poll?timeout=0&{}{}", topics(256), topics(256));
    assert_eq!(ask(&server, "http1", &request(&twice)).status, 200);

    let mut socket = WebSocket::open(&server, "ws", &format!("/events?{}", topics(256)));
    socket.send(0x81, br#"{"type":"subscribe","topics":["t0","one-more"]}"#);
    let answer = socket.message().expect("an answer");
    assert!(
        answer.contains("$error") && answer.contains("256"),
        "{answer}"
    );
    socket.send(0x81, br#"{"type":"publish","topic":"t7","data":1}"#);
    let answers = [socket.message(), socket.message()].map(|m| m.expect("the socket stays"));
    assert!(
        answers.iter().any(|a| a.contains(r#""topic":"t7""#)),
        "{answers:?}"
    );
    witness.saw_nothing();
}

#[test]
fn what_there_is_not() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for path in [
        "/nothing",
        "/events/",
        "/publish",
        "/..",
        "/%2e%2e/etc/passwd",
        "//",
        "/stats/x",
    ] {
        is_problem(
            &ask(&server, "http1", &request(&format!("GET {path}"))),
            404,
            "not-found",
        );
    }
    let table = [
        ("POST /events?topic=a", "GET, HEAD, CONNECT"),
        ("DELETE /publish/a", "POST"),
        ("GET /publish/a", "POST"),
        ("PUT /stats", "GET, HEAD"),
        ("POST /", "GET, HEAD"),
        ("BREW /poll?topic=a", "GET, HEAD"),
    ];
    for (line, allow) in table {
        let answer = ask(&server, "http1", &request(line));
        is_problem(&answer, 405, "method");
        assert_eq!(answer.header("allow"), allow, "{line}");
    }
    let accept = "GET /events?topic=a HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\n\r\n";
    is_problem(&ask(&server, "http1", accept), 406, "not-acceptable");
    witness.saw_nothing();
}

/// Heads that two readers might understand differently (RFC 9112, 11.2), or that nobody can.
#[test]
fn a_head_that_is_not_http() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let heads = [
        "GET\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/1.1 \r\nhost: localhost\r\n\r\n",
        "GET /healthz HTTP/9.9\r\nhost: localhost\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "G@T /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n x: folded\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: local\0host\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n",
        "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1, 2\r\n\r\nab",
        "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: +1\r\n\r\na",
        "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ];
    for head in heads {
        let mut peer = Peer::connect(&server, "http1");
        peer.say(head);
        let answer = peer.try_answer();
        assert_eq!(answer.map(|a| a.status), Some(400), "{head:?}");
        assert_eq!(text(&peer.rest()), "", "closed: {head:?}");
    }
    assert_eq!(
        server.stats()["log"]["topics"],
        1,
        "only the witness has published"
    );
    witness.saw_nothing();
}

/// A body whose length is said twice, in two ways, must not become a second request.
#[test]
fn a_smuggled_request() {
    let server = Server::start(&[]);
    let mut peer = Peer::connect(&server, "http1");
    peer.say(
        "POST /publish/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60\r\n\
         transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\
         POST /publish/smuggled HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nb",
    );
    let answers = text(&peer.rest());
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    let poll = request("GET /poll?topic=smuggled&after=0-0&timeout=0");
    assert!(ask(&server, "http1", &poll).body.contains(r#""events":[]"#));
}
