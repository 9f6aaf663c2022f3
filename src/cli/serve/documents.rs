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
    /// Nowhere: this is one of several servers.
    Nowhere,
    /// There, with where that is.
    Postgres(Box<postgres::Opened>, String),
}

impl Documents {
    /// Looks whether all is as it must be. Connections are made on the runtime.
    ///
    /// # Errors
    /// What is wrong, with the setting that names it.
    pub(super) fn open(config: &Config, runtime: &Runtime) -> Result<Documents, String> {
        if config.relay.is_some() {
            return Ok(Documents::Nowhere);
        }
        let Some(url) = &config.store else {
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
        Ok(Documents::Postgres(Box::new(opened.map_err(said)?), shown))
    }

    /// What is said of it at the start; nothing, where that is said of the directory.
    pub(super) fn place(&self) -> Option<&str> {
        match self {
            Documents::Embedded(_) | Documents::Nowhere => None,
            Documents::Postgres(_, shown) => Some(shown),
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
            Documents::Postgres(opened, _) => Arc::new(opened.start(announcer)),
        })
    }
}
