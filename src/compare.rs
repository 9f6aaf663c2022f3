//! The comparator: the same load on every wire, and what came of it. A stranger: it talks to a server over the
//! network and knows nothing of its code.
//!
//! In the order of reading: [`scenarios`] says what is measured and what each figure means; [`plan`] makes runs of
//! that, [`measure`] makes one, on a [`subject`], and [`runs`] makes them all; [`results`] is what a comparison found,
//! as its JSON file has it, and everything that is said of it is made from that alone.

pub mod html;
pub mod measure;
pub mod network;
mod places;
pub mod plan;
#[cfg(test)]
mod planted;
mod question;
mod remote;
pub mod results;
pub mod runs;
pub mod scenarios;
pub mod series;
pub mod stats;
pub mod subject;
pub mod table;
pub mod verdict;
pub mod warnings;
pub mod words;

use std::path::PathBuf;
use std::time::Duration;

pub use self::network::Link;
pub use self::plan::descriptors;
pub use self::runs::Comparison;
use crate::client::{Place, Transport};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// A server that runs already; without one it is started for each run.
    pub target: Option<Place>,
    /// The only CA to trust, of the target.
    pub cacert: Option<PathBuf>,
    /// The transports, in the order in which they take turns.
    pub wires: Vec<&'static Transport>,
    /// The scenarios' names.
    pub scenarios: Vec<&'static str>,
    /// How often each is repeated.
    pub repetitions: usize,
    /// Readers, where the scenario does not say otherwise.
    pub readers: usize,
    /// Streams on each connection of HTTP/2, where the scenario does not say otherwise.
    pub streams: usize,
    /// Events a second, where the scenario does not say otherwise.
    pub rate: f64,
    /// Bytes of each payload, where the scenario does not say otherwise.
    pub payload: usize,
    /// What comes later is a fault, and what is still missing so long after the last came is lost.
    pub late: Duration,
    /// What the bad network does.
    pub link: Link,
    /// Whether everything is kept short.
    pub quick: bool,
    /// How long all may take.
    pub within: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            target: None,
            cacert: None,
            wires: crate::client::TRANSPORTS.iter().collect(),
            scenarios: scenarios::SCENARIOS.iter().map(|one| one.name).collect(),
            repetitions: 5,
            readers: 500,
            streams: 10,
            rate: 50.0,
            payload: 128,
            late: Duration::from_secs(5),
            link: Link {
                delay: Duration::from_millis(20),
                loss: 0.02,
                seed: 0,
            },
            quick: false,
            within: Duration::from_secs(15 * 60),
        }
    }
}

/// What a quick comparison leaves out unless it is asked for: they say when the answer would change, not which it is.
const NOT_QUICK: [&str; 4] = ["batch", "streams", "slow", "loss"];

impl Options {
    /// Weaker figures, soon.
    pub fn quick() -> Options {
        let full = Options::default();
        let mut scenarios = full.scenarios;
        scenarios.retain(|name| !NOT_QUICK.contains(name));
        Options {
            scenarios,
            repetitions: 3,
            readers: 100,
            rate: 100.0,
            quick: true,
            within: Duration::from_secs(90),
            ..Options::default()
        }
    }
}

/// How far it is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Runs that were made.
    pub done: usize,
    /// Runs that are to be made.
    pub all: usize,
    /// What is measured now.
    pub what: String,
}
