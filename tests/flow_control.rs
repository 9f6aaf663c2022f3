//! The promise: an event stream on HTTP/2 sends what the client's windows allow, all of it and no more, whatever else
//! the connection carries (RFC 9113, 5.2 and 6.9).

mod support;

use support::raw::http2::{
    ACK, Answered, DATA, END_STREAM, Frame, HEADERS, Http2, INITIAL_WINDOW_SIZE, PING, RST_STREAM,
    SETTINGS, get, number,
};
use support::raw::{Peer, until};
use support::server::Server;

/// What a connection's window is at first (RFC 9113, 6.9.2).
const FIRST_WINDOW: usize = 65_535;
const FLOW_CONTROL: u32 = 3;

fn streams(server: &Server, wire: &str) -> Option<u64> {
    server.stats()["wires"][wire]["streams"].as_u64()
}

/// Publishes so many events; the lines of data that they become.
fn publish(server: &Server, topic: &str, events: usize, length: usize) -> String {
    let body = |n: usize| format!("{n:06}{}", "x".repeat(length - 6));
    let lines: String = (0..events).map(|n| format!("{:?}\n", body(n))).collect();
    let mut peer = Peer::connect(server, "http1");
    let head = format!(
        "POST /publish/{topic} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        lines.len()
    );
    peer.say(head + &lines);
    assert_eq!(peer.answer().status, 201);
    (0..events)
        .map(|n| format!("data: {:?}\n", body(n)))
        .collect()
}

/// The lines of data, but for the server's own.
fn data(body: &[u8]) -> String {
    let text = String::from_utf8(body.to_vec()).expect("whole characters");
    let (_, events) = text.split_once("\n\n").expect("the server's own block");
    let lines = events.lines().filter(|line| line.starts_with("data: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Settings with this window for each stream.
fn connect(server: &Server, listener: &str, window: u32) -> Http2 {
    let peer = Peer::connect(server, listener);
    Http2::over(peer, &[(INITIAL_WINDOW_SIZE, window)])
}

/// Reads until a PING that was sent now has come back, and so everything that was ready before it.
fn read_all(http2: &mut Http2, frames: &mut Vec<Frame>) {
    http2.send(PING, 0, 0, b"so far..");
    loop {
        let frame = http2.next().expect("the connection lives");
        if frame.kind == PING && frame.flags & ACK != 0 {
            return;
        }
        frames.push(frame);
    }
}

fn bytes(frames: &[Frame], stream: u32) -> Vec<u8> {
    let frames = frames
        .iter()
        .filter(|f| f.kind == DATA && f.stream == stream);
    frames.flat_map(|f| f.payload.clone()).collect()
}

fn has_ended(frames: &[Frame], stream: u32) -> bool {
    let mut frames = frames.iter().filter(|frame| frame.stream == stream);
    frames.any(|f| matches!(f.kind, DATA | HEADERS) && f.flags & END_STREAM != 0)
}

#[test]
fn a_window_of_the_stream() {
    let server = Server::start(&[]);
    let expected = publish(&server, "t", 40, 500);
    for listener in ["h2c", "http2"] {
        for first in [0, 1, 300] {
            let mut http2 = connect(&server, listener, first);
            http2.get(1, "/events?topic=t&after=0-0&limit=40");
            let (mut frames, mut allowed) = (Vec::new(), first as usize);
            let steps = [1, 2, 3, 10, 100, 1_000].into_iter().cycle();
            for step in steps.take(1_000) {
                read_all(&mut http2, &mut frames);
                assert!(bytes(&frames, 1).len() <= allowed, "{listener}: {allowed}");
                if has_ended(&frames, 1) {
                    break;
                }
                allowed += step as usize;
                http2.allow(1, step);
            }
            assert_eq!(data(&bytes(&frames, 1)), expected, "{listener}, {first}");
        }
    }
}

#[test]
fn a_window_that_shrinks() {
    let server = Server::start(&[]);
    let expected = publish(&server, "t", 40, 500);
    let mut http2 = connect(&server, "h2c", 5_000);
    http2.get(1, "/events?topic=t&after=0-0&limit=40");
    let mut frames = Vec::new();
    while bytes(&frames, 1).len() < 5_000 {
        frames.push(http2.next().expect("the connection lives"));
    }
    // Now it is 4,000 below nothing.
    let payload = [
        &INITIAL_WINDOW_SIZE.to_be_bytes()[..],
        &1_000u32.to_be_bytes(),
    ]
    .concat();
    http2.send(SETTINGS, 0, 0, &payload);
    for _ in 0..4 {
        http2.allow(1, 1_000);
        read_all(&mut http2, &mut frames);
        assert_eq!(bytes(&frames, 1).len(), 5_000);
    }
    http2.allow(1, 1_000_000);
    while !has_ended(&frames, 1) {
        frames.push(http2.next().expect("the connection lives"));
    }
    assert_eq!(data(&bytes(&frames, 1)), expected);
}

/// Streams of events, whole answers and a WebSocket's handshake share what the connection may send, to the last byte.
#[test]
fn the_connections_window() {
    let server = Server::start(&[]);
    let expected = publish(&server, "t", 100, 2_000);
    for listener in ["h2c", "http2"] {
        let mut http2 = connect(&server, listener, 1 << 20);
        let all = [1, 3, 5, 7, 9];
        for stream in all {
            match stream {
                3 | 7 => http2.get(stream, "/poll?topic=t&after=0-0"),
                _ => http2.get(stream, "/events?topic=t&after=0-0&limit=100"),
            }
        }
        let (mut frames, mut allowed) = (Vec::new(), FIRST_WINDOW);
        let sent = |frames: &[Frame]| -> usize {
            all.iter().map(|stream| bytes(frames, *stream).len()).sum()
        };
        for step in [1u32, 20_000, 7, 100_000].into_iter().cycle().take(200) {
            // To the last byte, before more is given: some clients give nothing earlier.
            while sent(&frames) < allowed && !all.iter().all(|s| has_ended(&frames, *s)) {
                frames.push(http2.next().expect("the connection lives"));
            }
            read_all(&mut http2, &mut frames);
            assert!(sent(&frames) <= allowed, "{listener}");
            if all.iter().all(|s| has_ended(&frames, *s)) {
                break;
            }
            allowed += step as usize;
            http2.allow(0, step);
        }
        for stream in all {
            assert!(has_ended(&frames, stream), "{listener}, {stream}");
            if !matches!(stream, 3 | 7) {
                assert_eq!(data(&bytes(&frames, stream)), expected, "{listener}");
            }
        }
    }
}

/// A connection whose window an event stream has used up, and more is to come.
fn used_up(server: &Server) -> Http2 {
    const MORE: usize = 1_000_000;
    publish(server, "much", 600, 2_000);
    let mut http2 = connect(server, "h2c", 8 << 20);
    http2.allow(0, MORE as u32);
    http2.get(1, "/events?topic=much&after=0-0");
    let mut taken = 0;
    while taken < FIRST_WINDOW + MORE {
        let frame = http2.next().expect("the connection lives");
        taken += if frame.kind == DATA {
            frame.payload.len()
        } else {
            0
        };
    }
    http2
}

/// What waits for window must not keep the server from reading that there is more.
#[test]
fn a_ping_while_much_waits() {
    let server = Server::start(&[]);
    let mut http2 = used_up(&server);
    for stream in [3, 5] {
        http2.get(stream, "/poll?topic=much&after=0-0");
    }
    let total = || server.stats()["wires"]["long_poll"]["streams_total"].as_u64();
    until("both are answered", || total() == Some(2));
    let read = || server.stats()["listeners"]["h2c"]["bytes_in"].as_u64();
    let before = read();
    http2.send(PING, 0, 0, b"and now?");
    until("it is read", || read() > before);
    http2.allow(0, 10 << 20);
    let mut frames = Vec::new();
    while !(has_ended(&frames, 3) && has_ended(&frames, 5)) {
        frames.push(http2.next().expect("the connection lives"));
    }
    let pongs = frames
        .iter()
        .filter(|f| f.kind == PING && f.flags & ACK != 0);
    assert_eq!(pongs.count(), 1);
    assert!(bytes(&frames, 3).ends_with(b"]}") && bytes(&frames, 5).ends_with(b"]}"));
}

/// The end of a stream stays behind what waits for window.
#[test]
fn a_websocket_that_ends_without_window() {
    let server = Server::start(&[]);
    publish(&server, "w", 3, 100);
    let mut http2 = used_up(&server);
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/ws?topic=w&after=0-0&limit=3"),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
    ];
    http2.request(3, 0, &fields);
    let wire = || server.stats()["wires"]["websocket_http2"].clone();
    until("it has had its events", || wire()["events_sent"] == 3);
    until("it is over", || wire()["streams"] == 0);
    // Its own end, so that the server need not wait for it.
    http2.send(DATA, END_STREAM, 3, &[0x88, 0x80, 0, 0, 0, 0]);
    let mut frames = Vec::new();
    read_all(&mut http2, &mut frames);
    assert!(!has_ended(&frames, 3), "before its events");
    http2.allow(0, 10 << 20);
    while !has_ended(&frames, 3) {
        frames.push(http2.next().expect("the connection lives"));
    }
    let said = bytes(&frames, 3);
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("000002xxx") && said.contains("limit reached"),
        "{said}"
    );
}

#[test]
fn windows_that_are_too_wide() {
    let server = Server::start(&[]);
    publish(&server, "t", 3, 100);
    let most = (1 << 31) - 1;
    let mut http2 = connect(&server, "h2c", 1_000);
    http2.get(1, "/events?topic=t&after=0-0");
    until("it is carried", || streams(&server, "sse_http2") == Some(1));
    http2.allow(1, most);
    let mut frames = std::iter::from_fn(|| http2.next());
    let reset = frames.find(|frame| frame.kind == RST_STREAM && frame.stream == 1);
    assert_eq!(
        reset.map(|frame| number(&frame.payload)),
        Some(FLOW_CONTROL)
    );
    until("it is let go", || streams(&server, "sse_http2") == Some(0));
    http2.get(3, "/events?topic=t&after=0-0");
    http2.allow(0, most);
    assert_eq!(http2.closed(), Some(FLOW_CONTROL));
}

/// A client that resets a stream of many, some of which wait for window, gets nothing more of it and all of the others.
#[test]
fn resets_between_events() {
    let server = Server::start(&[]);
    let expected = publish(&server, "t", 40, 500);
    let mut http2 = connect(&server, "h2c", 700);
    let all = (0..50).map(|n| 2 * n + 1);
    for stream in all.clone() {
        http2.get(stream, "/events?topic=t&after=0-0&limit=40");
    }
    until("all are open", || streams(&server, "sse_http2") == Some(50));
    let stays = |stream: &u32| stream % 4 == 1;
    for stream in all.clone().filter(|stream| !stays(stream)) {
        http2.send(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    }
    until("half of them are left", || {
        streams(&server, "sse_http2") == Some(25)
    });
    let mut frames = Vec::new();
    read_all(&mut http2, &mut frames);
    frames.retain(|frame| stays(&frame.stream));
    for stream in all.clone().filter(stays) {
        http2.allow(stream, 1 << 20);
    }
    // The connection's window is smaller than all of it.
    let mut given = 0;
    while !all.clone().filter(stays).all(|s| has_ended(&frames, s)) {
        let frame = http2.next().expect("the connection lives");
        assert!(stays(&frame.stream) || frame.stream == 0, "{frame:?}");
        given += frame.payload.len();
        frames.push(frame);
        if given > 10_000 {
            http2.allow(0, given as u32);
            given = 0;
        }
    }
    for stream in all.filter(stays) {
        assert_eq!(data(&bytes(&frames, stream)), expected, "{stream}");
    }
    http2.request(101, END_STREAM, &get("/healthz"));
    assert_eq!(http2.answered(101), Answered::With(200, "ok\n".into()));
}

/// h2 is given them a few at a time.
#[test]
fn many_streams_asked_for_at_once() {
    let server = Server::start(&[]);
    let expected = publish(&server, "t", 3, 100);
    let asked = (0..100).map(|n| 2 * n + 1);
    let mut http2 = connect(&server, "h2c", 5_000);
    http2.allow(0, 1_000_000);
    for stream in asked.clone() {
        http2.get(stream, "/events?topic=t&after=0-0&limit=3");
    }
    let mut frames = Vec::new();
    while !asked.clone().all(|stream| has_ended(&frames, stream)) {
        frames.push(http2.next().expect("the connection lives"));
    }
    for stream in asked {
        assert_eq!(data(&bytes(&frames, stream)), expected, "{stream}");
    }
}

/// Where the client allows half of what they need, chance decides whose turn it is, and nobody is left out.
#[test]
fn streams_that_share_too_small_a_window() {
    let server = Server::start(&[]);
    let streams: Vec<u32> = (0..10).map(|n| 2 * n + 1).collect();
    let mut http2 = connect(&server, "h2c", 10_000_000);
    for stream in &streams {
        http2.get(*stream, "/events?topic=t");
    }
    let mut frames = Vec::new();
    while !streams
        .iter()
        .all(|stream| !bytes(&frames, *stream).is_empty())
    {
        frames.push(http2.next().expect("the connection lives"));
    }
    for _ in 0..150 {
        publish(&server, "t", 1, 1_000);
        http2.allow(0, 5_000);
        read_all(&mut http2, &mut frames);
    }
    let got: Vec<usize> = streams.iter().map(|s| bytes(&frames, *s).len()).collect();
    let (least, most) = (got.iter().min(), got.iter().max());
    assert!(least.map(|least| 8 * least) > most.copied(), "{got:?}");
}
