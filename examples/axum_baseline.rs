//! The same fan-out as one would write it with axum and `tokio::sync::broadcast`: SSE, WebSocket and publishing, for
//! one topic. `scripts/compare-peers` holds triwire against it.
//!
//! Tuned where axum's defaults would make the comparison unfair: WebSockets read into 4 KiB, where 128 KiB are the
//! default and are zeroed at each poll; 4096 connections may wait to be accepted, not 1024; and no write waits for
//! an acknowledgement (`TCP_NODELAY`).

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{Listener, ListenerExt};
use futures_util::stream;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::server::TlsStream;

/// Events that a reader may be behind; then it loses some, and nobody tells it.
const KEPT: usize = 1024;
const BACKLOG: u32 = 4096;
const READ_BUFFER: usize = 4096;

/// `CERTS`: serves on free ports until it is killed, with `server.pem` and `server.key` of that directory.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let certs = std::env::args()
        .nth(1)
        .ok_or("usage: axum_baseline CERTS")?;
    let app = Router::new()
        .route("/events", get(events))
        .route("/publish/bench", post(publish))
        .with_state(broadcast::channel(KEPT).0);

    let plain = listen()?;
    let http1s = Tls::new(listen()?, Path::new(&certs), b"http/1.1")?;
    let http2 = Tls::new(listen()?, Path::new(&certs), b"h2")?;
    // axum tells HTTP/2 from HTTP/1.1 by its first bytes, so one port has all that is in cleartext.
    let (plain_at, http1s_at) = (plain.local_addr()?, http1s.local_addr()?);
    let listeners = serde_json::json!({
        "http1": plain_at, "h2c": plain_at, "ws": plain_at,
        "http1s": http1s_at, "wss": http1s_at,
        "http2": http2.local_addr()?,
    });
    println!(
        "{}",
        serde_json::json!({"ready": true, "server": "axum", "listeners": listeners})
    );

    let plain = plain.tap_io(|tcp| no_delay(tcp));
    tokio::try_join!(
        async { axum::serve(plain, app.clone()).await },
        async { axum::serve(http1s, app.clone()).await },
        async { axum::serve(http2, app.clone()).await },
    )?;
    Ok(())
}

async fn publish(State(sender): State<Sender<Utf8Bytes>>, body: String) -> StatusCode {
    // It fails when nobody reads, which is no failure.
    let _ = sender.send(body.into());
    StatusCode::CREATED
}

async fn events(
    State(sender): State<Sender<Utf8Bytes>>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let receiver = sender.subscribe();
    match upgrade {
        Ok(upgrade) => upgrade
            .read_buffer_size(READ_BUFFER)
            .on_upgrade(|socket| carry(socket, receiver)),
        Err(_) => sse(receiver).into_response(),
    }
}

fn sse(receiver: Receiver<Utf8Bytes>) -> impl IntoResponse {
    let events = stream::unfold(receiver, |mut receiver| async move {
        let text = next(&mut receiver).await?;
        let event = Event::default().data(text.as_str());
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn carry(mut socket: WebSocket, mut receiver: Receiver<Utf8Bytes>) {
    loop {
        tokio::select! {
            text = next(&mut receiver) => {
                let Some(text) = text else { return };
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => {
                if !matches!(message, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}

/// The next event that is still there.
async fn next(receiver: &mut Receiver<Utf8Bytes>) -> Option<Utf8Bytes> {
    loop {
        match receiver.recv().await {
            Ok(text) => return Some(text),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

fn no_delay(tcp: &TcpStream) {
    // A connection that is gone already is found out when it is read.
    let _ = tcp.set_nodelay(true);
}

/// A listener whose handshakes do not wait for each other.
struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<io::Result<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl Tls {
    fn new(tcp: TcpListener, certs: &Path, protocol: &[u8]) -> Result<Tls, Box<dyn Error>> {
        let chain = fs::read(certs.join("server.pem"))?;
        let chain = rustls_pemfile::certs(&mut chain.as_slice()).collect::<Result<_, _>>()?;
        let key = rustls_pemfile::private_key(&mut fs::read(certs.join("server.key"))?.as_slice())?;
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key.ok_or("no key in server.key")?)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Tls {
            tcp,
            acceptor: Arc::new(config).into(),
            handshakes: JoinSet::new(),
        })
    }
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                // axum's own way of accepting: it logs failures and goes on.
                (tcp, peer) = Listener::accept(&mut self.tcp) => {
                    no_delay(&tcp);
                    let handshake = self.acceptor.accept(tcp);
                    self.handshakes.spawn(async move { Ok((handshake.await?, peer)) });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Ok(accepted)) = done {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
