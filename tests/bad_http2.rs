//! The promise: what is not RFC 9113 ends the stream that it is on, or the connection where it must, with the code
//! that says why, and nobody else notices.

mod support;

use support::raw::http2::{
    ACK, Answered, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use support::raw::lines;
use support::raw::witness::Witness;
use support::server::Server;

/// Error codes (RFC 9113, 7).
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;

/// A flag of HEADERS and DATA: the first byte is the length of what is at the end for nothing.
const PADDED: u8 = 8;

/// What ends a connection, and the code for it. The library below knows better only now and then, and says
/// `PROTOCOL_ERROR` of most.
fn broken() -> Vec<(&'static str, Vec<u8>, u32)> {
    let request = block(&get("/healthz"));
    let setting = |name: u16, value: u32| {
        let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        frame(SETTINGS, 0, 0, &payload)
    };
    let opened = |payload: &[u8]| frame(HEADERS, END_HEADERS, 1, payload);
    let then = |frames: &[Vec<u8>]| frames.concat();
    const MOST: u32 = 0x7fff_ffff;
    vec![
        ("DATA on the connection", frame(DATA, 0, 0, b"x"), PROTOCOL),
        ("DATA on an idle stream", frame(DATA, 0, 1, b"x"), PROTOCOL),
        (
            "HEADERS on the connection",
            frame(HEADERS, END_HEADERS, 0, &request),
            PROTOCOL,
        ),
        (
            "HEADERS on a server's stream",
            frame(HEADERS, END_HEADERS, 2, &request),
            PROTOCOL,
        ),
        (
            "streams in the wrong order",
            then(&[
                frame(HEADERS, END_HEADERS | END_STREAM, 7, &request),
                frame(HEADERS, END_HEADERS | END_STREAM, 5, &request),
            ]),
            PROTOCOL,
        ),
        (
            "too large a frame",
            frame(DATA, 0, 1, &[0; 16_385]),
            FRAME_SIZE,
        ),
        ("too small a PING", frame(PING, 0, 0, &[0; 7]), FRAME_SIZE),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE),
        (
            "an ACK that says something",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            FRAME_SIZE,
        ),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("ENABLE_PUSH 2", setting(2, 2), PROTOCOL),
        ("too large a window", setting(4, MOST + 1), FLOW_CONTROL),
        ("too small a MAX_FRAME_SIZE", setting(5, 5), PROTOCOL),
        (
            "no window more",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            PROTOCOL,
        ),
        (
            "too much window",
            frame(WINDOW_UPDATE, 0, 0, &MOST.to_be_bytes()),
            FLOW_CONTROL,
        ),
        (
            "half a WINDOW_UPDATE",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            FRAME_SIZE,
        ),
        (
            "a window for an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            PROTOCOL,
        ),
        (
            "RST_STREAM of an idle stream",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            PROTOCOL,
        ),
        (
            "RST_STREAM of the connection",
            frame(RST_STREAM, 0, 0, &[0; 4]),
            PROTOCOL,
        ),
        (
            "half a RST_STREAM",
            then(&[opened(&request), frame(RST_STREAM, 0, 1, &[0])]),
            FRAME_SIZE,
        ),
        (
            "CONTINUATION of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &request),
            PROTOCOL,
        ),
        (
            "something between HEADERS and CONTINUATION",
            then(&[frame(HEADERS, 0, 1, &request), frame(PING, 0, 0, &[0; 8])]),
            PROTOCOL,
        ),
        (
            "CONTINUATION of another stream",
            then(&[
                frame(HEADERS, 0, 1, &request),
                frame(CONTINUATION, END_HEADERS, 3, &[]),
            ]),
            PROTOCOL,
        ),
        (
            "PUSH_PROMISE by a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 4]),
            PROTOCOL,
        ),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        (
            "more padding than there is",
            frame(HEADERS, END_HEADERS | PADDED, 1, &[200, 0]),
            PROTOCOL,
        ),
        ("HPACK: entry 0", opened(&[0x80]), COMPRESSION),
        (
            "HPACK: an entry that is not there",
            opened(&[0xfe]),
            COMPRESSION,
        ),
        (
            "HPACK: too large a table",
            opened(&[0x3f, 0xff, 0xff, 0x7f]),
            COMPRESSION,
        ),
        ("HPACK: an endless number", opened(&[0xff; 20]), COMPRESSION),
        ("HPACK: cut off", opened(&[0, 5, b'x']), COMPRESSION),
        (
            "HPACK: bad Huffman code",
            opened(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
            COMPRESSION,
        ),
    ]
}

#[test]
fn what_ends_a_connection() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for listener in ["h2c", "http2"] {
        for (what, bytes, code) in broken() {
            let mut http2 = Http2::connect(&server, listener);
            http2.peer.say(bytes);
            let closed = http2.closed();
            assert!(
                closed == Some(code) || closed == Some(PROTOCOL),
                "{listener}, {what}: {closed:?}"
            );
            let lines = lines(&server, http2.peer.addr());
            assert!(lines.len() <= 1, "{what}: {lines:?}");
        }
    }
    witness.saw_nothing();
}

#[test]
fn what_ends_a_stream() {
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let [method, scheme, path, authority] = get("/healthz");
    let whole = |more| vec![method, scheme, path, authority, more];
    let table = [
        ("capitals", whole(("X", "y"))),
        ("no name", whole(("", "y"))),
        ("a space in a name", whole(("x y", "z"))),
        ("a line break", whole(("x", "y\r\nz: a"))),
        ("NUL", whole(("x", "\0"))),
        ("connection", whole(("connection", "close"))),
        ("transfer-encoding", whole(("transfer-encoding", "chunked"))),
        ("te", whole(("te", "gzip"))),
        ("an unknown pseudo-header", whole((":x", "y"))),
        ("a response's pseudo-header", whole((":status", "200"))),
        ("two paths", whole(path)),
        (
            "a pseudo-header at the end",
            vec![method, scheme, authority, ("x", "y"), path],
        ),
        ("no method", vec![scheme, path, authority]),
        ("no scheme", vec![method, path, authority]),
        ("no path", vec![method, scheme, authority]),
        (
            "an empty path",
            vec![method, scheme, (":path", ""), authority],
        ),
        (
            "no method's name",
            vec![(":method", "G T"), scheme, path, authority],
        ),
        (
            "a plain CONNECT with a path",
            vec![(":method", "CONNECT"), scheme, path, authority],
        ),
        (
            "a protocol without CONNECT",
            whole((":protocol", "websocket")),
        ),
        ("a length that is none", whole(("content-length", "x"))),
        ("a length that is not kept", whole(("content-length", "5"))),
    ];
    for listener in ["h2c", "http2"] {
        let mut http2 = Http2::connect(&server, listener);
        for (n, (what, fields)) in table.iter().enumerate() {
            let stream = n as u32 * 4 + 1;
            http2.request(stream, END_STREAM, fields);
            match http2.answered(stream) {
                Answered::Reset(PROTOCOL) | Answered::With(400 | 405, _) => {}
                // A name or value that is none ends more than its stream, in the library below.
                Answered::Closed(Some(PROTOCOL)) => http2 = Http2::connect(&server, listener),
                other => panic!("{listener}, {what}: {other:?}"),
            }
            // Its neighbour goes on.
            http2.get(stream + 2, "/healthz");
            let next = http2.answered(stream + 2);
            assert_eq!(
                next,
                Answered::With(200, "ok\n".into()),
                "{listener}, after {what}"
            );
        }
    }
    witness.saw_nothing();
}

/// Frames that are legal, if odd (RFC 9113, 5.1 and 5.5).
#[test]
fn what_ends_nothing() {
    let server = Server::start(&[]);
    let mut http2 = Http2::connect(&server, "h2c");
    http2.send(0x42, 0xff, 7, b"a frame that nobody knows");
    http2.send(SETTINGS, 0, 0, &[0xff, 0xfe, 1, 2, 3, 4]);
    http2.send(PRIORITY, 0, 9, &[0, 0, 0, 3, 0]);
    http2.send(PING, ACK, 0, b"unasked!");
    http2.get(1, "/healthz");
    assert_eq!(http2.answered(1), Answered::With(200, "ok\n".into()));
    // Late frames for a stream that is over.
    http2.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
    http2.send(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    http2.send(PRIORITY, 0, 1, &[0, 0, 0, 0, 0]);
    http2.get(3, "/healthz");
    assert_eq!(http2.answered(3), Answered::With(200, "ok\n".into()));
}
