//! The server: listeners in, answers out, and an end that is read from top to bottom in [`run`].
//!
//! One acceptor hands each socket to a shard (a thread with a runtime of its own), where the connection, its
//! streams and its timers stay. It binds nothing itself.

mod accept;
mod bypass;
mod connection;
mod direct;
mod h2c;
mod shard;
mod socket;
mod stalled;
pub mod tls;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::accept::Places;
use self::tls::Tls;
use crate::counts::{Counts, ListenerFacts};
use crate::log::Log;
use crate::routes::Routes;

/// The one protocol of a listener.
#[derive(Clone, Debug)]
pub enum Speaks {
    /// HTTP/1.1 in cleartext.
    Http1,
    /// HTTP/2 in cleartext: prior knowledge, and `Upgrade: h2c`.
    H2c,
    /// HTTP/1.1 over TLS, ALPN `http/1.1`.
    Http1Tls(Arc<Tls>),
    /// HTTP/2 over TLS, ALPN `h2`.
    Http2Tls(Arc<Tls>),
}

/// A listener: what is said of it, its protocol, and its bound sockets (one, or one for each loopback).
pub struct Listener {
    /// What `/stats` says.
    pub facts: ListenerFacts,
    /// What it speaks.
    pub speaks: Speaks,
    /// Bound and listening.
    pub sockets: Vec<TcpListener>,
}

/// How connections are treated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many shards.
    pub shards: usize,
    /// From accept to the first request's head.
    pub head_time: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Streams on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes that an HTTP/1.1 or WebSocket connection may leave unsent, the kernel's included.
    pub http1_unsent: usize,
    /// The same for an HTTP/2 connection, over all its streams.
    pub http2_unsent: usize,
    /// After how long a reader that takes no byte is closed.
    pub stall: Duration,
    /// After how long a peer that acknowledges nothing is closed.
    pub dead: Duration,
    /// Connections served at once.
    pub connections: usize,
    /// Whether `Upgrade: h2c` is taken.
    pub h2c_upgrade: bool,
    /// Whether extended CONNECT is announced (RFC 8441).
    pub websocket_http2: bool,
    /// How long a drain may take.
    pub drain: Duration,
}

/// What a server is made of.
pub struct Server {
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// What answers requests.
    pub routes: Arc<Routes>,
    /// Its counters.
    pub counts: Arc<Counts>,
    /// The log whose readers it carries.
    pub log: Arc<Log>,
    /// How connections are treated.
    pub settings: Settings,
}

/// What every connection can see of the server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
}

/// Serves until `drain` ends, then lets the streams go, for no longer than [`Settings::drain`] and not after
/// `cut`, and returns when every connection is closed.
///
/// # Errors
/// When a shard cannot be started or a listener not be watched.
pub async fn run(
    server: Server,
    drain: impl Future<Output = ()>,
    cut: impl Future<Output = ()>,
) -> io::Result<()> {
    let Server {
        listeners,
        routes,
        counts,
        log,
        settings,
    } = server;
    let (phase, watched) = watch::channel(Phase::Serving);
    let places = Places::new(settings.connections);
    let patience = settings.drain;
    let shards = shard::start(
        Arc::new(settings),
        routes.clone(),
        counts,
        log.clone(),
        watched,
    )?;
    let acceptors = accept::start(listeners, &shards, &places)?;

    drain.await;
    tracing::info!("draining: {} connections", places.early());
    places.drain();
    routes.context.health.drain();
    routes.context.timeplus.drain();
    log.end();
    let _ = phase.send(Phase::Draining);
    tokio::select! {
        () = places.early_are_gone() => {}
        () = tokio::time::sleep(patience) => tracing::warn!("drain is over, {} connections are cut", places.early()),
        () = cut => tracing::warn!("told twice: {} connections are cut", places.early()),
    }
    acceptors.abort();
    shards.stop();
    Ok(())
}
