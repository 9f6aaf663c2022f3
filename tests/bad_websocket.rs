//! The promise: what is not RFC 6455 ends that WebSocket with the code that says why, what is too much is bounded,
//! and nobody else notices.

mod support;

use std::time::{Duration, Instant};

use support::raw::http2::{self, Http2};
use support::raw::process::resident;
use support::raw::websocket::{BINARY, CLOSE, FIN, PING, PONG, TEXT, WebSocket, frame, handshake};
use support::raw::witness::Witness;
use support::raw::{Answer, ask, lines};
use support::server::Server;

/// Six times `event-bytes`, and 4 KiB.
const LIMIT: usize = 6 * 256 * 1024 + 4096;

#[track_caller]
fn has_status(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{answer:?}"
    );
}

#[test]
fn a_bad_handshake() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let good = handshake("/ws") + "\r\n";
    let key = "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let table = [
        (good.replace(key, ""), 400),
        (good.replace("AAAAAAAAAAAAAAAAAAAAAA==", "short"), 400),
        (
            good.replace("AAAAAAAAAAAAAAAAAAAAAA==", "????????????????????????"),
            400,
        ),
        (good.replace("version: 13", "version: 8"), 426),
        (good.replace("version: 13", "version: 13, 8"), 426),
        (good.replace("sec-websocket-version: 13\r\n", ""), 426),
        (
            good.replace(key, &format!("{key}sec-websocket-protocol: chat, soap\r\n")),
            400,
        ),
        (
            good.replace("GET", "POST")
                .replace("\r\n\r\n", "\r\ncontent-length: 0\r\n\r\n"),
            405,
        ),
        (
            good.replace("GET", "PUT")
                .replace("\r\n\r\n", "\r\ncontent-length: 0\r\n\r\n"),
            405,
        ),
        (good.replace("upgrade: websocket\r\n", ""), 426),
        (good.replace("connection: upgrade\r\n", ""), 426),
        (good.replace("upgrade: websocket", "upgrade: h2c"), 426),
        (good.replace("/ws", "/nothing"), 404),
        // An upgrade of HTTP/1.0 is to be ignored (RFC 9110, 7.8).
        (good.replace("HTTP/1.1", "HTTP/1.0"), 426),
    ];
    for (head, status) in table {
        for listener in ["ws", "wss"] {
            let answer = ask(&server, listener, &head);
            assert_eq!(answer.status, status, "{listener} {head}\n{answer:?}");
            has_status(&answer, status);
        }
    }
    let answer = ask(&server, "ws", &good.replace("version: 13", "version: 8"));
    assert_eq!(answer.header("sec-websocket-version"), "13", "{answer:?}");
    let answer = ask(&server, "ws", "GET /ws HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(
        (answer.status, answer.header("upgrade")),
        (426, "websocket"),
        "{answer:?}"
    );
    assert_eq!(server.stats()["wires"]["websocket"]["streams_total"], 0);
    witness.saw_nothing();
}

/// What a client should never send, and the code that it is closed with.
fn broken() -> Vec<(&'static str, Vec<u8>, u16)> {
    let empty = |first| frame(first, &[]);
    let close = |payload: &[u8]| frame(FIN | CLOSE, payload);
    let announced = |length: u64| {
        [
            &[FIN | TEXT, 0xff][..],
            &length.to_be_bytes(),
            &[0; 4],
            b"and so on",
        ]
        .concat()
    };
    let fragments = |first: &[u8], rest: &[u8]| [frame(TEXT, first), frame(FIN, rest)].concat();
    let half = vec![b' '; LIMIT / 2 + 1];
    vec![
        ("no mask", vec![FIN | TEXT, 1, b'x'], 1002),
        ("reserved bit 1", empty(FIN | 0x40 | TEXT), 1002),
        ("reserved bit 2", empty(FIN | 0x20 | TEXT), 1002),
        ("reserved bit 3", empty(FIN | 0x10 | TEXT), 1002),
        ("reserved opcode 3", empty(FIN | 3), 1002),
        ("reserved opcode 7", empty(FIN | 7), 1002),
        ("reserved opcode 11", empty(FIN | 11), 1002),
        ("reserved opcode 15", empty(FIN | 15), 1002),
        ("continues nothing", empty(FIN), 1002),
        (
            "a message in a message",
            [empty(TEXT), empty(FIN | TEXT)].concat(),
            1002,
        ),
        ("a ping in fragments", empty(PING), 1002),
        ("a large ping", frame(FIN | PING, &[b'x'; 126]), 1002),
        (
            "a large close",
            close(&[&[3, 0xe8][..], &[b'x'; 124]].concat()),
            1002,
        ),
        ("half a code", close(&[3]), 1002),
        ("code 0", close(&[0, 0]), 1002),
        ("code 999", close(&999u16.to_be_bytes()), 1002),
        (
            "code 1005, of which one only speaks",
            close(&1005u16.to_be_bytes()),
            1002,
        ),
        ("code 1006, likewise", close(&1006u16.to_be_bytes()), 1002),
        ("code 5000", close(&5000u16.to_be_bytes()), 1002),
        ("a reason that is not UTF-8", close(&[3, 0xe8, 0xff]), 1007),
        ("not UTF-8", frame(FIN | TEXT, &[0xff]), 1007),
        ("a surrogate", frame(FIN | TEXT, &[0xed, 0xa0, 0x80]), 1007),
        (
            "cut off in a character",
            frame(FIN | TEXT, &[0xe2, 0x82]),
            1007,
        ),
        (
            "not UTF-8 over fragments",
            fragments(&[0xe2, 0x82], b"x"),
            1007,
        ),
        ("binary", frame(FIN | BINARY, b"x"), 1003),
        ("large", announced(LIMIT as u64 + 1), 1009),
        ("enormous", announced(1 << 62), 1009),
        ("impossible", announced(u64::MAX), 1009),
        ("large in fragments", fragments(&half, &half), 1009),
    ]
}

#[test]
fn broken_frames() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for listener in ["ws", "wss"] {
        for (what, bytes, code) in broken() {
            let mut socket = WebSocket::open(&server, listener, "/ws");
            socket.peer.say(&bytes);
            let (closed, reason) = socket
                .closed()
                .unwrap_or_else(|| panic!("{listener} {what}: no Close"));
            assert_eq!(closed, code, "{listener} {what}: {reason}");
            let lines = lines(&server, socket.peer.addr());
            assert!(lines.len() <= 1, "{lines:?}");
        }
    }
    server.until("all are gone", |stats| {
        stats["wires"]["websocket"]["streams"] == 0
    });
    witness.saw_nothing();
}

#[test]
fn broken_frames_over_http2() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let mut http2 = Http2::connect(&server, "h2c");
    for (n, (what, bytes, code)) in broken().into_iter().enumerate() {
        // The windows that the server grants are for small messages, as a client's are.
        if bytes.len() > 1024 {
            continue;
        }
        let stream = n as u32 * 2 + 1;
        connect(&mut http2, stream);
        http2.send(http2::DATA, 0, stream, &bytes);
        let mut carried = Vec::new();
        while let Some(frame) = http2.next() {
            if frame.stream != stream {
                continue;
            }
            if frame.kind == http2::DATA {
                carried.extend_from_slice(&frame.payload);
            }
            // Whoever has read our Close ends the stream.
            if carried.windows(2).any(|w| w == code.to_be_bytes()) {
                http2.send(http2::DATA, http2::END_STREAM, stream, &frame_of_close());
                break;
            }
            assert_eq!(
                frame.flags & http2::END_STREAM,
                0,
                "{what}: no Close: {carried:?}"
            );
            assert_ne!(
                frame.kind,
                http2::RST_STREAM,
                "{what}: no Close: {carried:?}"
            );
        }
    }
    server.until("all are gone", |stats| {
        stats["wires"]["websocket_http2"]["streams"] == 0
    });
    http2.get(101, "/healthz");
    assert_eq!(
        http2.answered(101),
        http2::Answered::With(200, "ok\n".into())
    );
    witness.saw_nothing();
}

fn frame_of_close() -> Vec<u8> {
    frame(FIN | CLOSE, &[])
}

/// Extended CONNECT (RFC 8441); reads no answer.
fn connect(http2: &mut Http2, stream: u32) {
    let mut fields = http2::get("/ws").to_vec();
    fields[0].1 = "CONNECT";
    fields.push((":protocol", "websocket"));
    http2.request(stream, 0, &fields);
}

#[test]
fn a_bad_handshake_over_http2() {
    let server = Server::start(&["--no-websocket-http2"]);
    let mut http2 = Http2::connect(&server, "h2c");
    connect(&mut http2, 1);
    match http2.answered(1) {
        http2::Answered::With(405 | 400, _) | http2::Answered::Reset(_) => {}
        other => panic!("turned off, and {other:?}"),
    }

    let server = Server::start(&[]);
    let table: [(&[(&str, &str)], u16); 5] = [
        (&[(":protocol", "connect-udp")], 405),
        (
            &[(":protocol", "websocket"), ("sec-websocket-version", "8")],
            426,
        ),
        (
            &[
                (":protocol", "websocket"),
                ("sec-websocket-protocol", "chat"),
            ],
            400,
        ),
        (
            &[
                (":protocol", "websocket"),
                ("x", "y"),
                ("sec-websocket-version", ""),
            ],
            426,
        ),
        (
            &[
                (":protocol", "WebSocket"),
                ("sec-websocket-protocol", "chat"),
            ],
            400,
        ),
    ];
    for (more, status) in table {
        let mut http2 = Http2::connect(&server, "h2c");
        let mut fields = http2::get("/ws").to_vec();
        fields[0].1 = "CONNECT";
        fields.extend(more);
        http2.request(1, 0, &fields);
        match http2.answered(1) {
            http2::Answered::With(answered, _) => assert_eq!(answered, status, "{more:?}"),
            other => panic!("{more:?}: {other:?}"),
        }
    }
    assert_eq!(
        server.stats()["wires"]["websocket_http2"]["streams_total"],
        0
    );
}

/// Floods end after so many frames or so much time, whichever is first.
const FRAMES: usize = 100_000;
const LONGEST: Duration = Duration::from_secs(5);
/// Who cannot write for so long is not read from any more.
const BLOCKED: Duration = Duration::from_secs(1);

/// Sends frames, a thousand at a time, until the server has had enough. Its answers are not read meanwhile.
fn flood(socket: &mut WebSocket, frame: &[u8]) {
    socket.peer.patience(BLOCKED);
    let thousand = frame.repeat(1_000);
    let since = Instant::now();
    for _ in 0..FRAMES / 1_000 {
        if since.elapsed() > LONGEST || socket.peer.try_say(&thousand).is_err() {
            return;
        }
    }
}

#[test]
fn floods() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let before = resident(server.pid());
    let mistake = br#"{"type":"subscribe","topics":["a b"]}"#;
    let table: [(&str, Vec<u8>, Vec<u8>); 6] = [
        ("empty fragments", frame(TEXT, &[]), frame(0, &[])),
        ("fragments of a byte", frame(TEXT, &[]), frame(0, b" ")),
        ("pings", vec![], frame(FIN | PING, &[b'x'; 125])),
        ("pongs", vec![], frame(FIN | PONG, b"x")),
        ("empty messages", vec![], frame(FIN | TEXT, &[])),
        ("mistakes", vec![], frame(FIN | TEXT, mistake)),
    ];
    for (what, first, more) in table {
        let mut socket = WebSocket::open(&server, "ws", "/ws");
        socket.peer.say(&first);
        flood(&mut socket, &more);
        let grown = resident(server.pid()).saturating_sub(before);
        assert!(grown < 16 << 20, "{what}: {grown} bytes more");
    }
    server.until("all are gone", |stats| {
        stats["wires"]["websocket"]["streams"] == 0
    });
    witness.saw_nothing();
}
