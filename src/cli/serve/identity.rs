//! The certificate in force: found or made at the start, and looked at again while the server runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::ServerConfig;

use crate::access::Access;
use crate::certs::{self, Force, Identity, Stamp};
use crate::config::Config;
use crate::config::listeners::Bind;
use crate::server::tls::Tls;

/// How often the files are looked at, and how often it is asked whether a renewal is due.
const LOOK: Duration = Duration::from_secs(1);
const RENEW: Duration = Duration::from_secs(3600);

/// The names that are ours, and what the TLS listeners present, if there are any.
pub(super) struct Identities {
    names: Vec<String>,
    presented: Option<Presented>,
}

#[derive(Clone)]
struct Presented {
    directory: PathBuf,
    /// The files as they were before they were read.
    seen: Stamp,
    http1: Arc<Tls>,
    http2: Arc<Tls>,
}

/// Finds or makes the certificate, if any listener needs one.
pub(super) fn find(config: &Config) -> Result<Identities, Vec<String>> {
    let listeners = &config.listeners;
    if [listeners.http2, listeners.http1s, listeners.wss]
        .iter()
        .all(|at| *at == Bind::Off)
    {
        return Ok(Identities {
            names: names_of_this_host(),
            presented: None,
        });
    }
    // Taken first, so that a change while they are read is seen as one.
    let seen = certs::stamp(&config.certs);
    let (identity, made) = certs::ensure(&config.certs, SystemTime::now(), Force::Keep)?;
    tell(&identity, &made);
    let (http1, http2) = configure(&identity).map_err(|error| vec![error])?;
    Ok(Identities {
        names: identity.names,
        presented: Some(Presented {
            directory: config.certs.clone(),
            seen: if made.is_empty() {
                seen
            } else {
                certs::stamp(&config.certs)
            },
            http1: Tls::new(http1, false),
            http2: Tls::new(http2, true),
        }),
    })
}

fn tell(identity: &Identity, made: &[String]) {
    made.iter().for_each(|line| tracing::info!("{line}"));
    identity
        .warnings
        .iter()
        .for_each(|line| tracing::warn!("{line}"));
}

fn configure(identity: &Identity) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>), String> {
    let config = |alpn: &[u8]| certs::server_config(identity, alpn);
    Ok((config(b"http/1.1")?, config(b"h2")?))
}

fn names_of_this_host() -> Vec<String> {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_ascii_lowercase();
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    names.into_iter().chain([host]).collect()
}

impl Identities {
    /// DNS names and addresses that are ours.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// TLS for HTTP/1.1; there is one when a listener needs it.
    pub(super) fn http1(&self) -> Option<Arc<Tls>> {
        self.presented.as_ref().map(|p| p.http1.clone())
    }

    /// TLS for HTTP/2.
    pub(super) fn http2(&self) -> Option<Arc<Tls>> {
        self.presented.as_ref().map(|p| p.http2.clone())
    }

    /// Picks up changed files and renews what is due, for as long as it is polled.
    pub(super) async fn watch(self, access: Arc<Access>) {
        let Some(mut presented) = self.presented else {
            return;
        };
        let mut look = tokio::time::interval(LOOK);
        let mut renewed = tokio::time::Instant::now();
        loop {
            look.tick().await;
            if renewed.elapsed() >= RENEW {
                renewed = tokio::time::Instant::now();
                presented.renew().await;
            }
            let stamp = certs::stamp(&presented.directory);
            if stamp == presented.seen {
                continue;
            }
            presented.seen = stamp;
            match presented.reload() {
                Ok(names) => {
                    access.rename(&names);
                    tracing::info!(
                        "the certificate has changed: in force from the next handshake on"
                    );
                }
                Err(mistakes) => {
                    tracing::warn!(
                        "the changed certificate is not used: {}",
                        mistakes.join("; ")
                    );
                }
            }
        }
    }
}

impl Presented {
    fn reload(&self) -> Result<Vec<String>, Vec<String>> {
        let identity = certs::load(&self.directory, SystemTime::now())?;
        tell(&identity, &[]);
        let (http1, http2) = configure(&identity).map_err(|error| vec![error])?;
        self.http1.replace(http1);
        self.http2.replace(http2);
        Ok(identity.names)
    }

    /// What is made is seen as changed files.
    async fn renew(&self) {
        let directory = self.directory.clone();
        // It waits for a lock on a file, and must not make others wait.
        let renewing = tokio::task::spawn_blocking(move || {
            certs::ensure(&directory, SystemTime::now(), Force::Keep)
        });
        match renewing.await {
            Ok(Ok((identity, made))) => tell(&identity, &made),
            Ok(Err(mistakes)) => {
                tracing::warn!(
                    "the certificate could not be renewed: {}",
                    mistakes.join("; ")
                );
            }
            Err(error) => tracing::error!("renewing the certificate: {error}"),
        }
    }
}
