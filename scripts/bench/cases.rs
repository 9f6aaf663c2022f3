//! The cases: how many readers, on which transport, under which load.

use crate::transport::Transport::{self, LongPoll, SseH2c, SseHttp1, SseHttp1s, SseHttp2, Ws, Wss};

pub struct Case {
    pub name: &'static str,
    pub transport: Transport,
    pub connections: usize,
    /// Readers on each connection.
    pub streams: usize,
    pub kind: Kind,
}

/// What is done with the readers, and so what is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// So many events a second.
    Rate(u32),
    /// As fast as it goes with eight publishes outstanding.
    Window,
    /// Nothing: what a reader that waits costs in memory.
    Idle,
    /// All leave and come back at once.
    Storm,
    /// Half of them stop reading, and go on later.
    Stopped,
}

const fn case(
    name: &'static str,
    kind: Kind,
    transport: Transport,
    connections: usize,
    streams: usize,
) -> Case {
    Case {
        name,
        transport,
        connections,
        streams,
        kind,
    }
}

pub const CASES: &[Case] = &[
    case("rate-sse-http1", Kind::Rate(20), SseHttp1, 1000, 1),
    case("rate-ws", Kind::Rate(20), Ws, 1000, 1),
    case("rate-sse-http1s", Kind::Rate(10), SseHttp1s, 2000, 1),
    case("rate-wss", Kind::Rate(10), Wss, 2000, 1),
    case("rate-sse-h2c", Kind::Rate(10), SseH2c, 50, 100),
    case("rate-sse-http2", Kind::Rate(10), SseHttp2, 50, 100),
    case("rate-sse-h2c-single", Kind::Rate(10), SseH2c, 1000, 1),
    case("rate-long-poll", Kind::Rate(10), LongPoll, 1000, 1),
    case("window-sse-http1", Kind::Window, SseHttp1, 1000, 1),
    case("window-ws", Kind::Window, Ws, 1000, 1),
    case("window-sse-h2c", Kind::Window, SseH2c, 50, 100),
    case("idle-sse-http1", Kind::Idle, SseHttp1, 5000, 1),
    case("idle-ws", Kind::Idle, Ws, 5000, 1),
    case("idle-sse-http1s", Kind::Idle, SseHttp1s, 2000, 1),
    case("idle-wss", Kind::Idle, Wss, 2000, 1),
    case("idle-sse-h2c", Kind::Idle, SseH2c, 50, 100),
    case("idle-sse-http2", Kind::Idle, SseHttp2, 50, 100),
    case("idle-sse-h2c-single", Kind::Idle, SseH2c, 1000, 1),
    case("idle-long-poll", Kind::Idle, LongPoll, 1000, 1),
    case("storm-sse-http1", Kind::Storm, SseHttp1, 2000, 1),
    case("storm-ws", Kind::Storm, Ws, 2000, 1),
    case("storm-sse-http1s", Kind::Storm, SseHttp1s, 2000, 1),
    case("stopped-sse-http1", Kind::Stopped, SseHttp1, 200, 1),
    case("stopped-ws", Kind::Stopped, Ws, 200, 1),
    case("stopped-sse-h2c", Kind::Stopped, SseH2c, 20, 10),
];

/// The cases with this name, or whose names begin with it and a dash.
pub fn picked(pick: &str) -> impl Iterator<Item = &'static Case> {
    let starts = move |name: &str| {
        name.strip_prefix(pick)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let exact = CASES.iter().any(|case| case.name == pick);
    CASES.iter().filter(move |case| {
        if exact {
            case.name == pick
        } else {
            starts(case.name)
        }
    })
}
