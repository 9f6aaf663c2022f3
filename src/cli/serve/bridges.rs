//! What others publish already, and comes here too.

use std::sync::Arc;

use super::settings;
use crate::api::publish::Publisher;
use crate::config::Config;
use crate::counts::bridges::BridgeCounts;
use crate::source::bridge::carry;
use crate::source::bridge::{self, Route};

/// Bridges that are not in use yet.
pub(super) struct Bridges(Vec<(Route, Arc<BridgeCounts>)>);

impl Bridges {
    /// Those that the settings name.
    ///
    /// # Errors
    /// Everything that is wrong with their URLs, with which of them it is.
    pub(super) fn open(config: &Config) -> Result<Bridges, Vec<String>> {
        let (mut routes, mut mistakes) = (Vec::new(), Vec::new());
        let mut names: Vec<String> = Vec::new();
        for (at, url) in config.subscribe.iter().enumerate() {
            match bridge::open(url.reveal()) {
                Ok(mut route) => {
                    // Each has a row of its own in what is counted.
                    let same = names.iter().filter(|name| **name == route.name).count();
                    names.push(route.name.clone());
                    if same > 0 {
                        route.name = format!("{} ({})", route.name, same + 1);
                    }
                    let counts = Arc::new(BridgeCounts::new(route.name.clone()));
                    routes.push((route, counts));
                }
                Err(reasons) => {
                    let of = config.subscribe.len();
                    let line = |reason| format!("--subscribe: URL {} of {of}: {reason}", at + 1);
                    mistakes.extend(reasons.into_iter().map(line));
                }
            }
        }
        match mistakes.is_empty() {
            true => Ok(Bridges(routes)),
            false => Err(mistakes),
        }
    }

    /// What they have carried, now and later.
    pub(super) fn counts(&self) -> Vec<Arc<BridgeCounts>> {
        self.0.iter().map(|(_, counts)| counts.clone()).collect()
    }

    /// Begins to carry.
    pub(super) fn start(self, config: &Config, publisher: &Arc<Publisher>) {
        let limits = settings::bridge_limits(config);
        for (route, counts) in self.0 {
            let publisher = publisher.clone();
            let publish: carry::Publish =
                Box::new(move |draft, key| publisher.publish(vec![draft], key));
            tokio::spawn(carry::run(route, publish, limits, counts));
        }
    }
}
