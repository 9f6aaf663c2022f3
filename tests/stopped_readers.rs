//! The promise: readers that stop reading hold no more than their bound, the kernel's part included; those who read on
//! beside them lose nothing; and when the stopped ones read on, each event was sent or is counted in a notice.

mod support;

use std::collections::BTreeMap;

use support::raw::http2::{self, Http2};
use support::raw::process::{queued, resident};
use support::raw::reader::{Framing, MOST, Reader};
use support::raw::websocket::WebSocket;
use support::raw::witness::Witness;
use support::raw::{Peer, text, until};
use support::server::Server;

const KIB: u64 = 1024;
const EVENTS: u64 = 500;
const PAYLOAD: usize = 4_096;
/// Published in one go, and taken by the healthy before the next go.
const BATCH: u64 = 32;
/// What a peer's own kernel takes for it: little, so that it is the server that must hold back.
const NARROW: usize = 4_096;
const PATH: &str = "/events?topic=load";

/// Who stops, and how.
#[derive(Clone, Copy)]
struct Crowd {
    listener: &'static str,
    framing: Framing,
    /// The wire that counts them.
    wire: &'static str,
    connections: usize,
    /// Streams of each connection, and the window of each; on HTTP/1.1 there is one stream and no window.
    streams: u32,
    window: u32,
    /// What one connection may hold.
    bound: u64,
}

impl Crowd {
    fn reader(&self, server: &Server, stopped: bool) -> Reader {
        let peer = match (stopped, self.listener) {
            (true, "http1" | "ws" | "h2c") => Peer::narrow(server.addr(self.listener), NARROW),
            (true, "http2") => Peer::narrow_tls(server, self.listener, &[b"h2"], NARROW),
            (true, listener) => Peer::narrow_tls(server, listener, &[b"http/1.1"], NARROW),
            (false, listener) => Peer::connect(server, listener),
        };
        let window = if stopped { self.window } else { MOST };
        match self.streams {
            0 => Reader::http1(peer, self.framing, PATH),
            streams => Reader::http2(peer, self.framing, PATH, streams, window),
        }
    }
}

/// Publishes events with these numbers and of so many bytes.
fn publish(publisher: &mut Peer, numbers: std::ops::Range<u64>, bytes: usize) {
    let padding = "x".repeat(bytes);
    let lines: String = numbers.map(|n| format!("\"{n} {padding}\"\n")).collect();
    publisher.say(format!(
        "POST /publish/load HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
         content-length: {}\r\n\r\n{lines}",
        lines.len()
    ));
    assert_eq!(publisher.answer().status, 201);
}

/// Memory beside the log's own.
fn memory(server: &Server) -> u64 {
    let log = server.stats()["log"]["bytes"].as_u64().expect("a number");
    resident(server.pid()).saturating_sub(log)
}

fn stopped(crowd: &Crowd) {
    // A short memory, so that who stops must miss something.
    let server = Server::start(&["--topic-bytes", "256KiB"]);
    let witness = Witness::start(&server);
    let each = usize::try_from(crowd.streams.max(1)).expect("few");
    let healthy = (100 / each).max(1);
    let mut readers: Vec<Reader> = (0..healthy).map(|_| crowd.reader(&server, false)).collect();
    let mut stopped: Vec<Reader> = (0..crowd.connections)
        .map(|_| crowd.reader(&server, true))
        .collect();
    let all = (healthy + crowd.connections) * each;
    server.until("all read", |stats| {
        let own = if crowd.wire == "sse_http1" { 1 } else { 0 };
        stats["wires"][crowd.wire]["streams"] == all + own
    });
    let mut publisher = Peer::connect(&server, "http1");
    let before = memory(&server);
    let mut published = 0;
    while published < EVENTS {
        let next = (published + BATCH).min(EVENTS);
        publish(&mut publisher, published..next, PAYLOAD);
        published = next;
        readers
            .iter_mut()
            .for_each(|reader| reader.read_to(published));
    }
    let held = memory(&server).saturating_sub(before);
    let kernel = queued(server.addr(crowd.listener));
    let bound = crowd.bound * KIB;
    let most = kernel.iter().max().copied().unwrap_or(0);
    let kernel: u64 = kernel.iter().sum();
    assert!(most <= bound, "the kernel holds {most} for one");
    let allowed = bound * crowd.connections as u64 + ALLOCATOR;
    assert!(
        held + kernel < allowed,
        "{held} and in the kernel {kernel}, of {allowed}"
    );
    for stream in readers.iter().flat_map(Reader::streams) {
        assert_eq!(stream.missed, 0, "a healthy reader has lost something");
    }
    for reader in &mut stopped {
        reader.read_on(crowd.window);
        reader.read_to(EVENTS);
        for stream in reader.streams() {
            assert!(stream.missed > 0, "it was not stopped at all");
        }
    }
    witness.saw_nothing();
}

/// What the allocator does not give back at once, and what healthy readers hold in passing.
const ALLOCATOR: u64 = 4 * 1024 * KIB;

/// A hundred connections of one stream.
const HTTP1: Crowd = Crowd {
    listener: "http1",
    framing: Framing::Sse,
    wire: "sse_http1",
    connections: 100,
    streams: 0,
    window: 0,
    bound: 256,
};

/// Four connections of a hundred streams, whose sockets are not read.
const HTTP2: Crowd = Crowd {
    listener: "h2c",
    wire: "sse_http2",
    connections: 4,
    streams: 100,
    window: MOST,
    bound: 1024,
    ..HTTP1
};

/// A window that is as good as closed.
const CLOSED: u32 = 16;

/// The same with WebSockets. What hyper and h2 queue for an upgraded stream is out of our sight, and comes on top: three
/// writes of 4 KiB, and 16 KiB.
const WEBSOCKETS_ON_HTTP2: Crowd = Crowd {
    framing: Framing::WebSocket,
    wire: "websocket_http2",
    bound: 1024 + 100 * 32,
    ..HTTP2
};

#[test]
fn sse_on_http1() {
    stopped(&HTTP1);
}

#[test]
fn sse_on_http1_over_tls() {
    stopped(&Crowd {
        listener: "http1s",
        ..HTTP1
    });
}

#[test]
fn websocket() {
    stopped(&Crowd {
        listener: "ws",
        framing: Framing::WebSocket,
        wire: "websocket",
        ..HTTP1
    });
}

#[test]
fn sse_on_http2_whose_socket_is_not_read() {
    stopped(&HTTP2);
}

#[test]
fn sse_on_http2_over_tls_whose_socket_is_not_read() {
    stopped(&Crowd {
        listener: "http2",
        ..HTTP2
    });
}

#[test]
fn sse_on_http2_whose_windows_are_closed() {
    stopped(&Crowd {
        window: CLOSED,
        ..HTTP2
    });
}

#[test]
fn websocket_on_http2_whose_socket_is_not_read() {
    stopped(&WEBSOCKETS_ON_HTTP2);
}

#[test]
fn websocket_on_http2_whose_windows_are_closed() {
    stopped(&Crowd {
        window: CLOSED,
        ..WEBSOCKETS_ON_HTTP2
    });
}

/// However large events are, a stream more holds not one event more.
#[test]
fn large_events_on_http2() {
    const LARGE: usize = 250_000;
    const FEW: u64 = 8;
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    for framing in [Framing::Sse, Framing::WebSocket] {
        let crowd = Crowd {
            streams: 40,
            framing,
            ..HTTP2
        };
        let wire = if framing == Framing::Sse {
            "sse_http2"
        } else {
            "websocket_http2"
        };
        let mut reader = crowd.reader(&server, true);
        server.until("all read", |stats| {
            stats["wires"][wire]["streams"] == crowd.streams
        });
        let before = memory(&server);
        let mut publisher = Peer::connect(&server, "http1");
        publish(&mut publisher, 0..FEW, LARGE);
        until("nothing more is written", || {
            queued(server.addr("h2c"))
                .iter()
                .any(|queue| *queue > 200 * KIB)
        });
        let held = memory(&server).saturating_sub(before);
        assert!(held < crowd.bound * KIB + ALLOCATOR, "{wire}: {held} bytes");
        reader.read_on(crowd.window);
        reader.read_to(FEW);
        assert!(
            reader.streams().iter().all(|stream| stream.missed == 0),
            "{wire}"
        );
    }
    witness.saw_nothing();
}

/// Where the log reaches back to where they stopped, they get it all.
#[test]
fn a_pause_within_what_is_retained() {
    let http2 = Crowd {
        streams: 10,
        ..HTTP2
    };
    let crowds = [
        HTTP1,
        Crowd {
            listener: "wss",
            framing: Framing::WebSocket,
            wire: "websocket",
            ..HTTP1
        },
        http2,
        Crowd {
            window: CLOSED,
            ..http2
        },
        Crowd {
            framing: Framing::WebSocket,
            wire: "websocket_http2",
            ..http2
        },
    ];
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    let mut readers = crowds.map(|crowd| crowd.reader(&server, true));
    server.until("all read", |stats| {
        let streams = |wire: &str| stats["wires"][wire]["streams"].as_u64();
        ["sse_http1", "websocket", "sse_http2", "websocket_http2"].map(streams)
            == [2, 1, 20, 10].map(Some)
    });
    publish(&mut Peer::connect(&server, "http1"), 0..EVENTS, PAYLOAD);
    for (crowd, reader) in crowds.iter().zip(&mut readers) {
        reader.read_on(crowd.window);
        reader.read_to(EVENTS);
        assert!(
            reader.streams().iter().all(|stream| stream.missed == 0),
            "{}",
            crowd.wire
        );
    }
    witness.saw_nothing();
}

#[test]
fn long_polls_on_http2_whose_windows_are_closed() {
    const POLLS: u32 = 200;
    let server = Server::start(&[]);
    let witness = Witness::start(&server);
    publish(&mut Peer::connect(&server, "http1"), 0..100, PAYLOAD);
    let mut http2 = Http2::over(
        Peer::connect(&server, "h2c"),
        &[(http2::INITIAL_WINDOW_SIZE, 0)],
    );
    http2.allow(0, MOST - 65_535);
    let before = memory(&server);
    let polls = (0..POLLS).map(|n| n * 2 + 1);
    polls
        .clone()
        .for_each(|stream| http2.get(stream, "/poll?topic=load&after=0-0&limit=60"));
    // Each answer has nearly 256 KiB.
    until("they are carried", || {
        server.stats()["wires"]["long_poll"]["streams_total"] == POLLS
    });
    let held = memory(&server).saturating_sub(before);
    assert!(held < 1024 * KIB + ALLOCATOR, "{held} bytes");
    // Each is answered when it can be.
    polls.for_each(|stream| http2.allow(stream, MOST));
    let mut answers: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut left = POLLS;
    while left > 0 {
        let frame = http2.next().expect("the connection goes on");
        let ends = frame.flags & http2::END_STREAM != 0;
        if frame.kind == http2::DATA {
            answers
                .entry(frame.stream)
                .or_default()
                .extend(frame.payload);
            left -= u32::from(ends);
        }
    }
    for (stream, answer) in answers {
        let events = text(&answer).matches(r#""topic":"load""#).count();
        assert_eq!(events, 60, "on {stream}");
    }
    witness.saw_nothing();
}

/// It cannot answer a ping that has not reached it.
#[test]
fn a_websocket_that_has_taken_a_part_of_an_event() {
    let args = [
        "--ping",
        "200ms",
        "--pong",
        "200ms",
        "--event-bytes",
        "1MiB",
    ];
    let server = Server::start(&args);
    for listener in ["ws", "wss"] {
        let peer = match listener {
            "ws" => Peer::narrow(server.addr(listener), 4096),
            _ => Peer::narrow_tls(&server, listener, &[b"http/1.1"], 4096),
        };
        let mut stopped = WebSocket::over(peer, "/events?topic=t");
        let event = "x".repeat(900_000);
        server.publish("t", &event);
        // Closed for the pong that it does not send, when the other's time is up, too.
        let mut silent = WebSocket::open(&server, "ws", "/events?topic=u");
        assert_eq!(silent.closed().map(|(code, _)| code), Some(1011));
        let streams = server.stats()["wires"]["websocket"]["streams"].as_u64();
        assert_eq!(streams, Some(1), "{listener}");
        stopped.peer.widen();
        let message = stopped.message().expect("the event");
        assert!(message.contains(&event), "{listener}");
        drop(stopped);
        server.until("it is gone", |stats| {
            stats["wires"]["websocket"]["streams"] == 0
        });
    }
}
