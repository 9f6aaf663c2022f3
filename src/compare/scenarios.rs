//! What is measured: each scenario, its figures, and what they mean.

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What the command line calls it.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What is done, in a sentence.
    pub about: &'static str,
    /// What its variants differ in; empty when it has none.
    pub varies: &'static str,
    /// The figures that every run of it has, unless it could not be measured where the server runs elsewhere.
    pub figures: &'static [Figure],
}

/// A figure of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name in the results.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its unit, or what it is a part of.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
}

/// Which way of a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less of it.
    Less,
    /// More of it.
    More,
    /// It explains others.
    Neither,
}

use Better::{Less, More, Neither};

const fn figure(
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
) -> Figure {
    Figure {
        name,
        title,
        unit,
        better,
    }
}

const P50: Figure = figure("p50_ms", "p50", "ms", Less);
const P99: Figure = figure("p99_ms", "p99", "ms", Less);
const CPU: Figure = figure("cpu_us", "server CPU", "us/delivery", Less);
const CLIENT: Figure = figure("client_us", "client CPU", "us/delivery", Neither);

/// All scenarios, in the order in which they are run.
pub const SCENARIOS: [Scenario; 10] = [
    Scenario {
        name: "connect",
        title: "Connecting",
        about: "All readers connect at once, each to get an event that is there already.",
        varies: "",
        figures: &[
            figure("first_byte_ms", "first byte, p50", "ms", Less),
            figure("first_event_ms", "first event, p50", "ms", Less),
            figure("first_event_p99_ms", "first event, p99", "ms", Less),
            figure("all_ms", "all have it", "ms", Less),
            figure("connections", "TCP connections", "", Neither),
            figure("alone_ms", "first event, alone", "ms", Less),
            figure("tls_share", "of that TLS handshake", "share", Neither),
            figure("connect_cpu_us", "server CPU", "us/reader", Less),
        ],
    },
    Scenario {
        name: "fanout",
        title: "Fan-out at a steady rate",
        about: "Every event goes to every reader; latency is from when it was due to be sent.",
        varies: "",
        figures: &[
            P50,
            figure("p90_ms", "p90", "ms", Less),
            P99,
            figure("p999_ms", "p99.9", "ms", Less),
            figure("max_ms", "max", "ms", Less),
            CPU,
            CLIENT,
        ],
    },
    Scenario {
        name: "throughput",
        title: "As fast as it goes",
        about: "The next event is sent when all readers have one of the last eight.",
        varies: "",
        figures: &[
            figure("deliveries_per_s", "deliveries", "1/s", More),
            figure("mb_per_s", "payload", "MB/s", More),
            CPU,
            CLIENT,
            P50,
            P99,
        ],
    },
    Scenario {
        name: "batch",
        title: "Rows in an event",
        about: "As fast as it goes, with many rows of a table in each event.",
        varies: "rows an event",
        figures: &[
            figure("rows_per_s", "rows", "1/s", More),
            figure("row_cpu_us", "server CPU", "us/1,000 rows", Less),
            P50,
            P99,
        ],
    },
    Scenario {
        name: "bytes",
        title: "Bytes on the socket",
        about: "What the sockets of the readers carried, per delivered event and per reader.",
        varies: "",
        figures: &[
            figure("payload_bytes", "payload", "B/event", Neither),
            figure("framing_bytes", "framing", "B/event", Less),
            figure("tls_bytes", "TLS", "B/event", Less),
            figure("up_bytes", "to the server", "B/event", Less),
            figure("open_down_bytes", "opening, down", "B/reader", Less),
            figure("open_up_bytes", "opening, up", "B/reader", Less),
        ],
    },
    Scenario {
        name: "idle",
        title: "Readers that wait",
        about: "What a reader costs in memory when nothing comes.",
        varies: "",
        figures: &[
            figure("resident_bytes", "resident", "B/reader", Less),
            figure("kernel_bytes", "kernel", "B/reader", Less),
        ],
    },
    Scenario {
        name: "streams",
        title: "Streams on a connection",
        about: "The same readers on many connections and on few.",
        varies: "streams a connection",
        figures: &[
            P50,
            P99,
            CPU,
            figure("resident_bytes", "resident", "B/reader", Less),
            figure("event_bytes", "on the socket", "B/event", Less),
        ],
    },
    Scenario {
        name: "resume",
        title: "Coming back",
        about: "All connections are cut at once while events go on; each reader comes back with its cursor.",
        varies: "",
        figures: &[
            figure("back_ms", "back, p50", "ms", Less),
            figure("all_back_ms", "all back", "ms", Less),
            figure("caught_up_ms", "all have all", "ms", Less),
        ],
    },
    Scenario {
        name: "slow",
        title: "Slow readers",
        about: "A tenth of the readers stop reading, and go on later.",
        varies: "",
        figures: &[
            figure("before_p99_ms", "p99 before", "ms", Neither),
            figure("p99_ms", "others' p99", "ms", Less),
            figure("resident_mb", "resident grew", "MB", Less),
            figure("kernel_mb", "kernel grew", "MB", Less),
            figure("told", "told by gap notices", "events", Neither),
        ],
    },
    Scenario {
        name: "loss",
        title: "A bad network",
        about: "A link that delays and loses packets, with all streams on one connection or each on its own.",
        varies: "link and connections",
        figures: &[
            P50,
            P99,
            figure("p999_ms", "p99.9", "ms", Less),
            figure("max_ms", "max", "ms", Less),
        ],
    },
];

/// The scenario of this name.
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}
