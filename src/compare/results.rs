//! What a comparison found: the machine, the settings and every run, as the JSON file has it. Tables, pages and
//! verdicts are made from this alone, so that they can be made again, by others too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A whole comparison, or as much of one as was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Where and with what it was measured.
    pub environment: Environment,
    /// What was asked for.
    pub settings: Settings,
    /// Every run, in the order in which they were made.
    pub runs: Vec<Run>,
    /// What was left out, and why; a sentence each.
    pub skipped: Vec<String>,
    /// Why it ended before all was done, if it did.
    pub ended: Option<String>,
}

/// Where and with what it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    /// When it began, as an HTTP date.
    pub began: String,
    /// The command line, without the program's path.
    pub command: String,
    /// The client's version of triwire.
    pub client: String,
    /// The server's version of triwire.
    pub server: String,
    /// The server's URL; none when the comparison started one itself.
    pub target: Option<String>,
    /// Streams of others that the target served when it began.
    #[serde(default)]
    pub others: u64,
    /// The client machine's kernel.
    pub kernel: String,
    /// Its processor.
    pub cpu: String,
    /// How many of them.
    pub cpus: usize,
    /// Its memory in bytes.
    pub memory: u64,
    /// Which processors the client and the server had, in words.
    pub pinned: String,
    /// Tasks that were running or waiting to, over the minute before.
    pub load_before: f64,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// The transports, in the order in which they take turns.
    pub wires: Vec<String>,
    /// The scenarios, in their order.
    pub scenarios: Vec<String>,
    /// How often each is to be repeated.
    pub repetitions: usize,
    /// Readers, where the scenario does not say otherwise.
    pub readers: usize,
    /// Streams on each connection of HTTP/2, where the scenario does not say otherwise.
    pub streams: usize,
    /// Events a second, where the scenario does not say otherwise.
    pub rate: f64,
    /// Bytes of each payload, where the scenario does not say otherwise.
    pub payload: usize,
    /// Later than so many seconds is a fault, but for a network that is meant to be bad.
    pub late_s: f64,
    /// Whether everything was kept short.
    pub quick: bool,
}

/// One run: a scenario on a transport.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// The transport's name.
    pub wire: String,
    /// Which of the scenario's variants, if it has several: rows an event, streams a connection, a kind of link.
    pub variant: String,
    /// Which repetition, from 0.
    pub repetition: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it was.
    #[serde(default)]
    pub load: Load,
    /// The figures by name: those of the scenario's table, and `client_share` and `others_cores`.
    pub figures: BTreeMap<String, f64>,
    /// A histogram of all latencies from the scheduled time of sending to arrival: the most nanoseconds of a bucket
    /// (1.6 % wide) and how many there were.
    pub latency: Vec<(u64, u64)>,
    /// What went wrong with events.
    pub faults: Faults,
    /// Why it could not be done, or not to its end.
    pub error: Option<String>,
}

/// How much of a load a run was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Readers.
    pub readers: usize,
    /// Their connections.
    pub connections: usize,
    /// Events a second, where they come at a steady rate.
    pub rate: f64,
    /// Bytes of a payload, or rows of a table.
    pub payload: usize,
}

/// What must not happen to events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Never came to a reader that it was for, and no gap notice said so.
    pub lost: u64,
    /// Came again to the same reader.
    pub doubled: u64,
    /// Came after an event with a greater id.
    pub reordered: u64,
    /// Came later than is allowed.
    pub late: u64,
}

impl Faults {
    /// Whether there are none.
    pub fn is_none(self) -> bool {
        self == Faults::default()
    }
}
