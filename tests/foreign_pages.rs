//! The promise: a web page of a foreign origin changes nothing and opens no WebSocket, on any protocol, and a name
//! that somebody pointed at our address (DNS rebinding) gets nothing at all.

mod support;

use support::raw::http2::{self, Answered, Http2};
use support::raw::websocket::handshake;
use support::raw::witness::Witness;
use support::raw::{Peer, ask};
use support::server::Server;

const FOREIGN: [&str; 6] = [
    "https://evil.example",
    "null",
    "http://localhost.evil.example",
    "file://",
    "",
    "http://localhost:1, http://localhost:2",
];

fn ours(server: &Server) -> String {
    format!("http://localhost:{}", server.addr("http1").port())
}

#[test]
fn a_page_that_posts() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    // What a page may send without asking first: a form, or text.
    let post = |method: &str, headers: &str| {
        let line = format!("{method} /publish/page HTTP/1.1\r\nhost: localhost\r\n{headers}");
        ask(
            &server,
            "http1",
            &format!("{line}content-type: text/plain\r\ncontent-length: 1\r\n\r\nx"),
        )
    };
    for origin in FOREIGN {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = post(method, &format!("origin: {origin}\r\n"));
            assert_eq!(answer.status, 403, "{method} from {origin:?}: {answer:?}");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                "",
                "{answer:?}"
            );
        }
    }
    let ours = ours(&server);
    let two = post(
        "POST",
        &format!("origin: {ours}\r\norigin: https://evil.example\r\n"),
    );
    assert_eq!(two.status, 403, "two origins: {two:?}");
    let mut http2 = Http2::connect(&server, "http2");
    let mut fields = http2::get("/publish/page").to_vec();
    fields[0].1 = "POST";
    fields.push(("origin", FOREIGN[0]));
    http2.request(1, http2::END_STREAM, &fields);
    assert!(matches!(http2.answered(1), Answered::With(403, _)));
    let stats = server.until("the witness has published", |s| s["log"]["topics"] != 0);
    assert_eq!(stats["log"]["topics"], 1, "and nobody else has");

    let answer = post("POST", &format!("origin: {ours}\r\n"));
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), ours);
    witness.saw_nothing();
}

#[test]
fn a_page_that_asks_first() {
    let server = Server::start(&[]);
    let preflight = |origin: &str| {
        let head = "OPTIONS /publish/page HTTP/1.1\r\nhost: localhost\r\n";
        let asks = "access-control-request-method: POST\r\n";
        ask(
            &server,
            "http1",
            &format!("{head}origin: {origin}\r\n{asks}\r\n"),
        )
    };
    for origin in FOREIGN {
        let answer = preflight(origin);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "",
            "{origin}: {answer:?}"
        );
        assert_eq!(
            answer.header("access-control-allow-methods"),
            "",
            "{origin}: {answer:?}"
        );
    }
    let answer = preflight(&ours(&server));
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("POST"),
        "{answer:?}"
    );
}

#[test]
fn a_page_that_opens_a_websocket() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for origin in FOREIGN {
        for (listener, path) in [("ws", "/ws"), ("http1", "/events"), ("wss", "/ws")] {
            let head = handshake(path) + &format!("origin: {origin}\r\n\r\n");
            let answer = ask(&server, listener, &head);
            assert_eq!(answer.status, 403, "{listener} from {origin:?}: {answer:?}");
        }
    }
    for listener in ["h2c", "http2"] {
        let mut http2 = Http2::connect(&server, listener);
        let connect = |origin| {
            let mut fields = http2::get("/ws").to_vec();
            fields[0].1 = "CONNECT";
            fields.extend([(":protocol", "websocket"), ("origin", origin)]);
            fields
        };
        for (n, origin) in FOREIGN.into_iter().enumerate() {
            let stream = n as u32 * 2 + 1;
            http2.request(stream, 0, &connect(origin));
            let answered = http2.answered(stream);
            assert!(
                matches!(answered, Answered::With(403, _)),
                "{listener} {origin:?}: {answered:?}"
            );
        }
        let ours = ours(&server);
        http2.request(31, 0, &connect(&ours));
        let head = loop {
            let frame = http2.next().expect("an answer");
            if frame.stream == 31 {
                break frame;
            }
        };
        assert_eq!(
            http2::status(&head.payload),
            200,
            "{listener}: our own page"
        );
    }
    witness.saw_nothing();
}

/// What may be read is read by anybody; but the page may not look at it.
#[test]
fn a_page_that_reads() {
    let server = Server::start(&[]);
    let head = "GET /stats HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n";
    let answer = ask(&server, "http1", head);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "",
        "{answer:?}"
    );
    assert!(answer.header("vary").contains("origin"), "{answer:?}");
    let open = Server::start(&["--allow-origin", "https://evil.example"]);
    let answer = ask(&open, "http1", head);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://evil.example"
    );
}

#[test]
fn a_host_that_is_not_ours() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let table = [
        ("host: evil.example", 421),
        ("host: localhost.evil.example:8080", 421),
        ("host: user@evil.example", 421),
        ("host: localhost@evil.example", 421),
        ("host:", 421),
        ("host: [::1", 421),
        ("host: \u{fc}", 421),
        ("x: y", 400),
        ("host: localhost\r\nhost: localhost", 400),
        ("host: localhost\r\nhost: evil.example", 400),
        ("host: LOCALHOST.", 200),
        ("host: 127.0.0.1:1", 200),
        ("host: [::1]:1", 200),
    ];
    for (header, status) in table {
        for listener in ["http1", "wss"] {
            let answer = ask(
                &server,
                listener,
                &format!("GET /healthz HTTP/1.1\r\n{header}\r\n\r\n"),
            );
            assert_eq!(answer.status, status, "{listener} {header:?}: {answer:?}");
        }
    }
    // A request for a proxy: what it names counts, not `Host` (RFC 9112, 3.2.2).
    let absolute = "GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask(&server, "http1", absolute).status, 421);
    let mut peer = Peer::connect(&server, "ws");
    peer.say(handshake("/ws").replace("localhost", "evil.example") + "\r\n");
    assert_eq!(peer.answer().status, 421, "a WebSocket");

    for listener in ["h2c", "http2"] {
        let mut http2 = Http2::connect(&server, listener);
        let mut fields = http2::get("/healthz").to_vec();
        fields[3].1 = "evil.example";
        http2.request(1, http2::END_STREAM, &fields);
        assert!(
            matches!(http2.answered(1), Answered::With(421, _)),
            "{listener}"
        );
        fields.pop();
        http2.request(3, http2::END_STREAM, &fields);
        assert!(
            matches!(http2.answered(3), Answered::With(400, _)),
            "{listener}: no authority"
        );
        fields.push(("host", "evil.example"));
        http2.request(5, http2::END_STREAM, &fields);
        assert!(
            matches!(http2.answered(5), Answered::With(421, _)),
            "{listener}: by Host"
        );
    }
    witness.saw_nothing();
}
