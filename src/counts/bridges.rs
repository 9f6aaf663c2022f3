//! What bridges have carried, one row each: for `/stats` and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};

/// What came in over one bridge.
#[derive(Debug, Default)]
pub struct BridgeCounts {
    /// What it is called: where it is, without secrets.
    pub name: String,
    /// Whether it is subscribed now.
    pub is_up: AtomicBool,
    /// Messages that came, each time that they came.
    pub received: AtomicU64,
    /// Those that are in the log.
    pub published: AtomicU64,
    /// Those that can be no event, whenever they come.
    pub refused: AtomicU64,
    /// Those that could not be published when they came, and do not come again.
    pub dropped: AtomicU64,
    /// Those that could not be published, and that the source has back.
    pub returned: AtomicU64,
    /// How often the connection was lost.
    pub lost: AtomicU64,
}

impl BridgeCounts {
    /// Nothing yet.
    pub fn new(name: String) -> BridgeCounts {
        BridgeCounts {
            name,
            ..BridgeCounts::default()
        }
    }

    /// Name, description and value of what only grows.
    pub fn rows(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            ("received", "Messages that came", &self.received),
            ("published", "Messages that are in the log", &self.published),
            ("refused", "Messages that can be no event", &self.refused),
            (
                "dropped",
                "Messages that could not be published and do not come again",
                &self.dropped,
            ),
            (
                "returned",
                "Messages that the source has back",
                &self.returned,
            ),
            ("lost", "Connections that were lost", &self.lost),
        ]
        .map(|(name, help, count)| (name, help, count.load(Relaxed)))
    }

    /// As `/stats` shows it.
    pub fn json(&self) -> Value {
        let mut json = json!({ "name": self.name, "up": self.is_up.load(Relaxed) });
        for (name, _, count) in self.rows() {
            json[name] = count.into();
        }
        json
    }
}
