//! A server as one of several.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::settings;
use crate::api::stats::Stats;
use crate::config::Config;
use crate::log::Log;
use crate::relay;
use crate::relay::Stream;
use crate::replica::link::Link;
use crate::replica::replicas::Replicas;

/// A relay, not in use yet.
pub(super) struct Replicated {
    link: Arc<Link>,
    replicas: Arc<Replicas>,
    wait: Duration,
}

impl Replicated {
    /// Has the log follow the relay that the settings name.
    ///
    /// # Errors
    /// What is wrong with its URL.
    pub(super) fn new(
        config: &Config,
        log: &Arc<Log>,
        name: &str,
    ) -> Result<Option<Replicated>, String> {
        let Some(url) = &config.relay else {
            return Ok(None);
        };
        let limits = settings::relay_limits(config);
        let open = |stream| relay::open(url.reveal(), stream, limits);
        let (events, replicas) = (open(Stream::Events)?, open(Stream::Replicas)?);
        let link = Link::new(events, log, limits);
        let replicas = Replicas::new(replicas, &link, name, limits);
        Ok(Some(Replicated {
            link,
            replicas,
            wait: limits.timeout,
        }))
    }

    /// Begins to carry; comes back when all that the relay has is here.
    ///
    /// # Errors
    /// What is wrong with the relay, when that will not pass.
    pub(super) async fn begin(self, stats: &Arc<Stats>) -> std::io::Result<()> {
        let mut running = tokio::spawn(self.link.clone().run());
        tokio::select! {
            () = self.link.caught_up() => {}
            fault = &mut running => {
                let fault = fault.map_or_else(|error| error.to_string(), |fault| fault.to_string());
                return Err(std::io::Error::other(format!("--relay: {fault}")));
            }
        }
        let link = self.link.clone();
        tokio::spawn(async move {
            let why = running
                .await
                .map_or_else(|error| error.to_string(), |fault| fault.to_string());
            link.has_ended(&why);
        });
        let (counted, heard) = (stats.clone(), self.replicas.clone());
        stats.among(Box::new(move || heard.all()));
        let count = move || -> Value { counted.json() };
        tokio::spawn(self.replicas.run(count));
        // Ready is who is heard; but a broker that does not answer is no reason not to begin.
        let _ = timeout(self.wait, self.link.heard()).await;
        Ok(())
    }
}
