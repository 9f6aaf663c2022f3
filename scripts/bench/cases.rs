//! The cases: how many readers, on which transport, under which load.

use triwire::client::Transport;

pub struct Case {
    pub name: &'static str,
    pub wire: &'static str,
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
    wire: &'static str,
    connections: usize,
    streams: usize,
) -> Case {
    Case {
        name,
        wire,
        connections,
        streams,
        kind,
    }
}

pub const CASES: &[Case] = &[
    case("rate-sse-http1", Kind::Rate(20), "sse-http1", 1000, 1),
    case("rate-ws", Kind::Rate(20), "ws", 1000, 1),
    case("rate-sse-http1s", Kind::Rate(10), "sse-http1s", 2000, 1),
    case("rate-wss", Kind::Rate(10), "wss", 2000, 1),
    case("rate-sse-h2c", Kind::Rate(10), "sse-h2c", 50, 100),
    case("rate-sse-http2", Kind::Rate(10), "sse-http2", 50, 100),
    case("rate-sse-h2c-single", Kind::Rate(10), "sse-h2c", 1000, 1),
    case("rate-long-poll", Kind::Rate(10), "long-poll", 1000, 1),
    case("window-sse-http1", Kind::Window, "sse-http1", 1000, 1),
    case("window-ws", Kind::Window, "ws", 1000, 1),
    case("window-sse-h2c", Kind::Window, "sse-h2c", 50, 100),
    case("idle-sse-http1", Kind::Idle, "sse-http1", 5000, 1),
    case("idle-ws", Kind::Idle, "ws", 5000, 1),
    case("idle-sse-http1s", Kind::Idle, "sse-http1s", 2000, 1),
    case("idle-wss", Kind::Idle, "wss", 2000, 1),
    case("idle-sse-h2c", Kind::Idle, "sse-h2c", 50, 100),
    case("idle-sse-http2", Kind::Idle, "sse-http2", 50, 100),
    case("idle-sse-h2c-single", Kind::Idle, "sse-h2c", 1000, 1),
    case("idle-long-poll", Kind::Idle, "long-poll", 1000, 1),
    case("storm-sse-http1", Kind::Storm, "sse-http1", 2000, 1),
    case("storm-ws", Kind::Storm, "ws", 2000, 1),
    case("storm-sse-http1s", Kind::Storm, "sse-http1s", 2000, 1),
    case("stopped-sse-http1", Kind::Stopped, "sse-http1", 200, 1),
    case("stopped-ws", Kind::Stopped, "ws", 200, 1),
    case("stopped-sse-h2c", Kind::Stopped, "sse-h2c", 20, 10),
];

impl Case {
    /// How its readers read.
    pub fn transport(&self) -> &'static Transport {
        Transport::named(self.wire).expect("the table names those that there are")
    }
}

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
