//! What is to be done: which runs, in which order, of what size.

use super::scenarios::{SCENARIOS, Scenario};
use super::{Link, Options};
use crate::client::Transport;

/// One run to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is measured.
    pub scenario: &'static Scenario,
    /// On which transport.
    pub transport: &'static Transport,
    /// Which variant of the scenario; empty when it has none.
    pub variant: String,
    /// The readers' connections.
    pub connections: usize,
    /// The readers on each.
    pub streams: usize,
    /// Connections whose readers stop, where some do: a tenth of them.
    pub stopped: usize,
    /// How much of it.
    pub size: Size,
}

/// How much of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Events a second.
    pub rate: f64,
    /// Bytes of a payload; of a table, how many rows.
    pub payload: usize,
    /// How long it is measured, in seconds.
    pub seconds: f64,
    /// How long it is warmed up, in seconds.
    pub warm_up: f64,
    /// How many lone readers connect.
    pub alone: usize,
}

impl Job {
    /// All of its readers.
    pub fn readers(&self) -> usize {
        self.connections * self.streams
    }

    /// Whether rows of a table are published, and not text.
    pub fn is_table(&self) -> bool {
        self.scenario.name == "batch"
    }
}

/// The runs of one repetition. Transports take turns within each variant of each scenario, so that whatever else the
/// machine does falls on all of them.
pub fn jobs(options: &Options) -> Vec<Job> {
    let mut jobs = Vec::new();
    let scenarios = SCENARIOS.iter();
    for scenario in scenarios.filter(|one| options.scenarios.contains(&one.name)) {
        for variant in variants(scenario.name, options.link) {
            for &transport in &options.wires {
                jobs.extend(job(scenario, transport, variant, options));
            }
        }
    }
    jobs
}

/// How many descriptors the largest of these jobs takes, on either side.
pub fn descriptors(jobs: &[Job]) -> u64 {
    // Publishing, logs, epoll and whatever the process was started with.
    const OTHERS: usize = 64;
    let most = jobs.iter().map(|job| job.connections).max();
    // Some come before the others, where memory is measured.
    (most.unwrap_or(0) * 11 / 10 + OTHERS) as u64
}

fn variants(scenario: &str, link: Link) -> Vec<Variant> {
    match scenario {
        "batch" => [1, 10, 100, 1_000].map(Variant::Rows).into(),
        "streams" => [1, 10, 100].map(Variant::Streams).into(),
        "loss" => [Variant::Lossy(link, LOSSY_READERS), Variant::Lossy(link, 1)].into(),
        _ => vec![Variant::None],
    }
}

const LOSSY_READERS: usize = 12;

#[derive(Clone, Copy)]
enum Variant {
    None,
    Rows(usize),
    Streams(usize),
    /// So many streams a connection.
    Lossy(Link, usize),
}

impl Variant {
    fn words(self) -> String {
        match self {
            Variant::None => String::new(),
            Variant::Rows(rows) => rows.to_string(),
            Variant::Streams(streams) => streams.to_string(),
            Variant::Lossy(link, streams) => {
                let connections = LOSSY_READERS / streams;
                let plural = if connections == 1 { "" } else { "s" };
                // As it was said: a hundred times a binary fraction is not always what it was made of.
                let loss = (link.loss * 1e6).round() / 1e4;
                let delay = link.delay.as_millis();
                format!("{delay} ms, {loss}% loss, {connections} connection{plural}")
            }
        }
    }
}

/// Nothing for a variant that a transport cannot have.
fn job(
    scenario: &'static Scenario,
    transport: &'static Transport,
    variant: Variant,
    options: &Options,
) -> Option<Job> {
    let size = |rate: f64, payload: usize, seconds: f64| Size {
        rate,
        payload,
        seconds: if options.quick {
            seconds / 4.0
        } else {
            seconds
        },
        warm_up: if options.quick { 0.1 } else { 0.25 },
        alone: if options.quick { 5 } else { 20 },
    };
    let (rate, payload, few) = (options.rate, options.payload, options.readers.min(50));
    // A percentile needs a hundred events, and memory more than the kernel keeps for a reader that does not read.
    let (readers, streams, size) = match (scenario.name, variant) {
        ("batch", Variant::Rows(rows)) => (few, options.streams, size(rate, rows, 0.35)),
        ("streams", Variant::Streams(streams)) => (100, streams, size(150.0, payload, 0.7)),
        ("loss", Variant::Lossy(_, streams)) => (LOSSY_READERS, streams, size(100.0, payload, 1.1)),
        ("bytes", _) => (few, options.streams, size(100.0, payload, 0.8)),
        ("slow", _) => (
            50,
            options.streams.min(5),
            size(500.0, payload.max(4_096), 1.6),
        ),
        ("throughput", _) => (options.readers, options.streams, size(rate, payload, 0.8)),
        ("resume", _) => (options.readers, options.streams, size(rate, payload, 1.2)),
        _ => (options.readers, options.streams, size(rate, payload, 2.4)),
    };
    if !transport.is_http2() && matches!(variant, Variant::Streams(2..) | Variant::Lossy(_, 2..)) {
        return None;
    }
    // As many readers on every transport, stopped ones too, and on HTTP/2 no connection with fewer streams.
    let streams = streams.min(readers);
    let readers = readers - readers % streams;
    let stopped = (readers / 10).max(1).next_multiple_of(streams);
    let streams = if transport.is_http2() { streams } else { 1 };
    Some(Job {
        scenario,
        transport,
        variant: variant.words(),
        connections: readers / streams,
        streams,
        stopped: stopped / streams,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(wires: &[&str], scenarios: &[&'static str]) -> Options {
        Options {
            wires: wires
                .iter()
                .map(|name| Transport::named(name).expect("it is in the table"))
                .collect(),
            scenarios: scenarios.to_vec(),
            ..Options::default()
        }
    }

    #[test]
    fn transports_take_turns_within_a_variant() {
        let options = options(&["sse-http1", "sse-h2c"], &["batch", "streams", "fanout"]);
        let jobs: Vec<String> = jobs(&options)
            .iter()
            .map(|job| {
                format!(
                    "{} {} {}",
                    job.scenario.name, job.variant, job.transport.name
                )
            })
            .collect();
        let want = [
            "fanout  sse-http1",
            "fanout  sse-h2c",
            "batch 1 sse-http1",
            "batch 1 sse-h2c",
            "batch 10 sse-http1",
            "batch 10 sse-h2c",
            "batch 100 sse-http1",
            "batch 100 sse-h2c",
            "batch 1000 sse-http1",
            "batch 1000 sse-h2c",
            "streams 1 sse-http1",
            "streams 1 sse-h2c",
            "streams 10 sse-h2c",
            "streams 100 sse-h2c",
        ];
        assert_eq!(jobs, want);
    }

    #[test]
    fn the_same_readers_on_every_transport() {
        let mut options = options(
            &["sse-http1", "sse-h2c", "ws-http2", "long-poll"],
            &["fanout"],
        );
        (options.readers, options.streams) = (500, 10);
        for job in jobs(&options) {
            assert_eq!(job.readers(), 500, "{}", job.transport.name);
            let streams = if job.transport.is_http2() { 10 } else { 1 };
            assert_eq!(job.streams, streams, "{}", job.transport.name);
        }
        assert_eq!(descriptors(&jobs(&options)), 614);
        (options.readers, options.streams) = (3, 10);
        let few = jobs(&options);
        assert!(few.iter().all(|job| job.readers() == 3));

        options.scenarios = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        for (readers, streams) in [(500, 10), (100, 7), (1, 1), (90, 30), (2, 1_000)] {
            (options.readers, options.streams) = (readers, streams);
            let mut seen = std::collections::BTreeMap::new();
            for job in jobs(&options).iter().filter(|job| job.variant.is_empty()) {
                let stopped = job.stopped * job.streams;
                let counts = (job.readers(), stopped);
                let first = *seen.entry(job.scenario.name).or_insert(counts);
                assert_eq!(first, counts, "{job:?}");
                assert!(job.scenario.name != "slow" || 0 < stopped && stopped < job.readers());
            }
        }
    }
}
