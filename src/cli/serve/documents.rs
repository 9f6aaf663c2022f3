//! Where documents are: in this process and its directory, or in a database.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::settings;
use crate::config::Config;
use crate::database::Place;
use crate::store::announce::Announcer;
use crate::store::nowhere::Nowhere;
use crate::store::{Store, embedded, postgres};

/// What was found to be sound, and is not in use yet.
pub(super) enum Documents {
    /// Here.
    Embedded(embedded::Opened),
    /// Nowhere: this is one of several servers, and they share no database.
    Nowhere,
    /// There, with where that is, and which relay the server is behind, if it is.
    Postgres(Box<postgres::Opened>, String, Option<String>),
}

impl Documents {
    /// Looks whether all is as it must be. Connections are made on the runtime.
    ///
    /// # Errors
    /// What is wrong, with the setting that names it.
    pub(super) fn open(config: &Config, runtime: &Runtime) -> Result<Documents, String> {
        let Some(url) = &config.store else {
            if config.relay.is_some() {
                return Ok(Documents::Nowhere);
            }
            let opened = embedded::Opened::new(settings::embedded_settings(config));
            let opened = opened.map_err(|mistake| format!("--data: {mistake}"));
            return opened.map(Documents::Embedded);
        };
        let said = |mistake: String| format!("--store: {mistake}");
        let place = Place::parse(url.reveal()).map_err(said)?;
        let shown = place.shown().to_owned();
        let opened = runtime.block_on(postgres::Opened::new(
            place,
            settings::postgres_settings(config),
        ));
        let opened = Box::new(opened.map_err(said)?);
        let relay = config.relay.as_ref();
        let relay = relay.map(|relay| name(relay.reveal()));
        Ok(Documents::Postgres(opened, shown, relay))
    }

    /// What is said of it at the start; nothing, where that is said of the directory.
    pub(super) fn place(&self) -> Option<&str> {
        match self {
            Documents::Embedded(_) | Documents::Nowhere => None,
            Documents::Postgres(_, shown, _) => Some(shown),
        }
    }

    /// Begins to keep and to announce. What was not announced before a restart is announced now, before anybody asks.
    ///
    /// # Errors
    /// What the system says when it cannot be.
    pub(super) fn start(
        self,
        announcer: Arc<Announcer>,
        runtime: &Runtime,
    ) -> std::io::Result<Arc<dyn Store>> {
        let _here = runtime.enter();
        Ok(match self {
            Documents::Nowhere => Arc::new(Nowhere),
            Documents::Embedded(opened) => Arc::new(opened.start(announcer)?),
            Documents::Postgres(opened, _, relay) => Arc::new(opened.start(announcer, relay)),
        })
    }
}

/// A relay's URL without what is secret, and without what does not tell it from others.
fn name(url: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, place) = base.split_once("://").unwrap_or(("", base));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let mut said = form_urlencoded::parse(query.as_bytes());
    let stream = said.find(|(name, _)| name == "stream");
    let stream = stream.map_or_else(String::new, |(_, stream)| format!("?stream={stream}"));
    format!("{scheme}://{place}{stream}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_known_by_where_it_is() {
        for (url, known) in [
            ("redis://h", "redis://h"),
            ("redis://u:s@h:1/2?stream=a", "redis://h:1/2?stream=a"),
            (
                "postgres://h/d?password=s&stream=a%2Db",
                "postgres://h/d?stream=a-b",
            ),
        ] {
            assert_eq!(name(url), known);
        }
    }
}
