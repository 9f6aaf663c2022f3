//! Connections: one to each listener, in every way in which the listener can be spoken to, made by hyper's client
//! and by a TLS that trusts nothing but the server's own CA.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::frames::{self, First, Seen};
use super::valve::{Valve, Valved};
use crate::support::server::{LISTENERS, Server};

/// Anything that bytes go through.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is nobody's yet; threads may share what holds one.
pub trait Socket: Stream + Sync {}
impl<T: Stream + Sync> Socket for T {}

/// Where a server is and what it is trusted by. Not the server itself, which is ended by its test and by nobody who
/// merely reads from it.
#[derive(Clone)]
pub struct Target(Arc<Place>);

struct Place {
    listeners: BTreeMap<&'static str, SocketAddr>,
    /// What it is called in requests and in its certificate.
    name: &'static str,
    ca: PathBuf,
    proxied: bool,
}

impl Target {
    pub fn of(server: &Server) -> Target {
        Target(Arc::new(Place {
            listeners: LISTENERS.map(|name| (name, server.addr(name))).into(),
            name: "localhost",
            ca: server.ca(),
            proxied: false,
        }))
    }

    /// A proxy in front of a server: one address that speaks TLS and both versions of HTTP.
    pub fn proxy(addr: SocketAddr, name: &'static str, ca: PathBuf) -> Target {
        Target(Arc::new(Place {
            listeners: ["http1s", "wss", "http2"].map(|name| (name, addr)).into(),
            name,
            ca,
            proxied: true,
        }))
    }

    fn addr(&self, listener: &str) -> SocketAddr {
        self.0.listeners[listener]
    }

    /// As requests name it.
    pub fn authority(&self, link: Link) -> String {
        format!("{}:{}", self.0.name, self.addr(link.listener()).port())
    }
}

/// A way to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    Http1,
    Http1s,
    Ws,
    Wss,
    H2c,
    /// `Upgrade: h2c`: the first request is made as HTTP/1.1, and answered as HTTP/2.
    H2cUpgrade,
    Http2,
}

impl Link {
    pub const ALL: [Link; 7] = [
        Link::Http1,
        Link::Http1s,
        Link::Ws,
        Link::Wss,
        Link::H2c,
        Link::H2cUpgrade,
        Link::Http2,
    ];

    pub fn listener(self) -> &'static str {
        match self {
            Link::Http1 => "http1",
            Link::Http1s => "http1s",
            Link::Ws => "ws",
            Link::Wss => "wss",
            Link::H2c | Link::H2cUpgrade => "h2c",
            Link::Http2 => "http2",
        }
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Link::H2c | Link::H2cUpgrade | Link::Http2)
    }

    fn is_tls(self) -> bool {
        matches!(self, Link::Http1s | Link::Wss | Link::Http2)
    }

    /// Bytes to the listener, through TLS where it speaks that.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(self, target: &Target) -> io::Result<(Box<dyn Socket>, Valve)> {
        let (tcp, valve) = self.dial(target).await?;
        Ok((self.secure(target, tcp).await, valve))
    }

    /// Bytes to the listener, without TLS.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn dial(self, target: &Target) -> io::Result<(Valved, Valve)> {
        Valved::connect(target.addr(self.listener())).await
    }

    /// Speaks TLS where the listener does.
    pub async fn secure(self, target: &Target, tcp: Valved) -> Box<dyn Socket> {
        if !self.is_tls() {
            return Box::new(tcp);
        }
        let alpn: &[u8] = if self.is_http2() { b"h2" } else { b"http/1.1" };
        let name = ServerName::try_from(target.0.name).expect("a name");
        let tls = trusting(target, alpn).connect(name, tcp).await;
        let tls = tls.expect("the handshake succeeds");
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(alpn));
        Box::new(tls)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Link::H2cUpgrade => f.write_str("h2c (upgraded)"),
            link => f.write_str(link.listener()),
        }
    }
}

fn trusting(target: &Target, alpn: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(&target.0.ca).expect("the CA is there");
    roots.add(ca).expect("the CA is well-formed");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config).into()
}

/// One request, before it is known on which version of HTTP it goes.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// With the query.
    pub path: String,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: Bytes,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Call {
        Call {
            method: Method::GET,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call {
            method: Method::POST,
            body: body.into(),
            ..Call::get(path)
        }
    }

    pub fn put(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call {
            method: Method::PUT,
            ..Call::post(path, body)
        }
    }

    pub fn patch(path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call {
            method: Method::PATCH,
            ..Call::post(path, body)
        }
    }

    pub fn delete(path: impl Into<String>) -> Call {
        Call {
            method: Method::DELETE,
            ..Call::get(path)
        }
    }

    pub fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Call {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }
}

/// So long may a connection of HTTP/1.1 be silent: the server closes it after more than twice as long.
const SILENCE: Duration = Duration::from_secs(4);

/// A connection for requests. It closes when it and all its answers are dropped.
pub struct Connection {
    link: Link,
    authority: String,
    /// Whether a proxy may have taken away what is said to proxies.
    pub proxied: bool,
    pub valve: Valve,
    /// The frames from the server, on HTTP/2.
    pub seen: Seen,
    speaks: Speaks,
    /// When it was opened, or something was answered last.
    answered: Instant,
}

enum Speaks {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
    /// Nothing yet: the first request decides.
    Upgradable(Option<Box<dyn Socket>>),
}

impl Connection {
    pub async fn open(target: &Target, link: Link) -> Connection {
        let opened = Connection::try_open(target, link).await;
        opened.expect("the listener accepts")
    }

    /// # Errors
    /// When nobody listens there.
    pub async fn try_open(target: &Target, link: Link) -> io::Result<Connection> {
        let (stream, valve) = link.connect(target).await?;
        Ok(Connection::on(target, link, stream, valve).await)
    }

    /// The same on bytes that are connected already.
    pub async fn on(
        target: &Target,
        link: Link,
        stream: Box<dyn Socket>,
        valve: Valve,
    ) -> Connection {
        let mut seen = Seen::default();
        let speaks = match link {
            Link::H2cUpgrade => Speaks::Upgradable(Some(stream)),
            link if link.is_http2() => {
                let (sender, frames) = http2(stream, First::Sent).await;
                seen = frames;
                Speaks::Http2(sender)
            }
            _ => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .expect("a handshake of HTTP/1.1 sends nothing");
                tokio::spawn(connection);
                Speaks::Http1(sender)
            }
        };
        Connection {
            link,
            authority: target.authority(link),
            proxied: target.0.proxied,
            valve,
            seen,
            speaks,
            answered: Instant::now(),
        }
    }

    /// Becomes another one if it was silent for so long that the server may be about to close it; stays what it is if
    /// nobody listens any more.
    pub async fn renew(&mut self, target: &Target) {
        if matches!(self.speaks, Speaks::Http1(_))
            && self.answered.elapsed() > SILENCE
            && let Ok(another) = Connection::try_open(target, self.link).await
        {
            *self = another;
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub async fn send(&mut self, call: Call) -> hyper::Result<Response<Incoming>> {
        if let Speaks::Upgradable(stream) = &mut self.speaks {
            let stream = stream.take().expect("one upgrade a connection");
            let (sender, seen) = upgrade(stream, &call, &self.authority).await;
            self.seen = seen;
            self.speaks = Speaks::Http2(sender);
        }
        let request = self.request(call);
        let answer = match &mut self.speaks {
            Speaks::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Speaks::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Speaks::Upgradable(_) => unreachable!("upgraded above"),
        };
        self.answered = Instant::now();
        answer
    }

    /// The same with a request that is complete already, on HTTP/2.
    pub async fn send_http2(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let Speaks::Http2(sender) = &mut self.speaks else {
            panic!("{} is not HTTP/2 by prior knowledge", self.link);
        };
        sender.send_request(request).await
    }

    /// `https://localhost:8443/path` and the like.
    pub fn uri(&self, path: &str) -> Uri {
        let scheme = if self.link.is_tls() { "https" } else { "http" };
        let uri = format!("{scheme}://{}{path}", self.authority);
        uri.parse().expect("a good URI")
    }

    fn request(&self, call: Call) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(call.method);
        request = match self.link.is_http2() {
            true => request.uri(self.uri(&call.path)),
            false => request.uri(call.path).header("host", &self.authority),
        };
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(call.body)).expect("a good request")
    }
}

async fn http2(
    stream: impl Stream + 'static,
    first: First,
) -> (http2::SendRequest<Full<Bytes>>, Seen) {
    let (stream, seen) = frames::pump(stream, first);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("the pump takes the preface");
    tokio::spawn(connection);
    (sender, seen)
}

/// Makes the request as HTTP/1.1, with `Upgrade: h2c` (RFC 7540, 3.2), and returns an HTTP/2 client whose first
/// request has to be the same one: it is not sent again, and gets the answer.
async fn upgrade(
    mut stream: Box<dyn Socket>,
    call: &Call,
    authority: &str,
) -> (http2::SendRequest<Full<Bytes>>, Seen) {
    assert!(call.method == Method::GET && call.body.is_empty());
    let mut head = format!(
        "GET {} HTTP/1.1\r\nhost: {authority}\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        call.path
    )
    .into_bytes();
    for (name, value) in &call.headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.expect("it can be sent");
    // Byte by byte, since what follows is HTTP/2 already.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
    let answer = String::from_utf8(answer).expect("ASCII");
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && answer.contains("upgrade: h2c\r\n"),
        "{answer}"
    );
    http2(stream, First::LeftOut).await
}

/// A stream that is WebSocket frames, by extended CONNECT (RFC 8441) on an HTTP/2 connection.
///
/// # Errors
/// The answer, when it is not 200.
pub async fn extended_connect(
    connection: &mut Connection,
    call: Call,
) -> Result<(Box<dyn Stream>, Response<()>), Response<Incoming>> {
    // Whether the server takes it stands in its SETTINGS, which are there when it has answered anything.
    let answer = connection.send(Call::get("/healthz")).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(connection.uri(&call.path))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::default()).expect("a good request");
    let mut response = connection.send_http2(request).await.expect("an answer");
    if response.status() != 200 {
        return Err(response);
    }
    let upgraded = hyper::upgrade::on(&mut response).await.expect("it is open");
    let head = response.map(|_| ());
    Ok((Box::new(TokioIo::new(upgraded)), head))
}
