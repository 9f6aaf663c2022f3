//! TLS for one listener: the certificate in force, which may be replaced while connections live, and a handshake
//! that insists on the listener's protocol.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;

/// A TLS record with the fatal alert `no_application_protocol` (RFC 8446, 5.1 and 6; RFC 7301, 3.2).
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

/// Bytes that rustls may hold for a peer that takes nothing.
const UNSENT: usize = 64 * 1024;

/// The TLS side of a listener.
pub struct Tls {
    config: RwLock<Arc<ServerConfig>>,
    needs_alpn: bool,
}

impl Tls {
    /// TLS with this configuration, which names one ALPN protocol. With `needs_alpn` a client that offers no
    /// protocol at all is refused too.
    pub fn new(config: Arc<ServerConfig>, needs_alpn: bool) -> Arc<Tls> {
        Arc::new(Tls {
            config: RwLock::new(config),
            needs_alpn,
        })
    }

    /// From the next handshake on, uses another configuration.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Shakes hands.
    pub(super) async fn accept(&self, socket: Socket) -> io::Result<TlsStream<Socket>> {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        if self.needs_alpn && start.client_hello().alpn().is_none() {
            start.io.write_all(&NO_APPLICATION_PROTOCOL).await?;
            start.io.shutdown().await?;
            return Err(io::Error::other("the client offers no ALPN protocol"));
        }
        let config = self
            .config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        start
            .into_stream_with(config, |session| session.set_buffer_limit(Some(UNSENT)))
            .await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
