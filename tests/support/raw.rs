//! Raw peers: bytes as a hostile client would send them, over TCP or TLS, with no library in between that would
//! refuse to.
//!
//! Everything here blocks, with a limit in time; an HTTP client that behaves is somebody else's.

pub mod http2;
pub mod process;
pub mod reader;
pub mod websocket;
pub mod witness;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::server::{PATIENCE, Server};

/// One connection, and what was read of it and not looked at yet.
pub struct Peer {
    socket: TcpStream,
    io: Box<dyn Bytes>,
    inbox: Vec<u8>,
}

trait Bytes: Read + Write + Send {}

impl<T: Read + Write + Send> Bytes for T {}

/// An answer of HTTP/1.1.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
            .unwrap_or("")
    }
}

impl Peer {
    /// Connects as the listener expects it: in cleartext, or over TLS with its own ALPN protocol.
    pub fn connect(server: &Server, listener: &str) -> Peer {
        match listener {
            "http2" => Peer::tls(server, listener, &[b"h2"]).expect("a handshake"),
            "http1s" | "wss" => Peer::tls(server, listener, &[b"http/1.1"]).expect("a handshake"),
            _ => Peer::cleartext(server.addr(listener)),
        }
    }

    /// Connects without TLS, whatever the listener expects.
    pub fn cleartext(addr: SocketAddr) -> Peer {
        Peer::plain(TcpStream::connect(addr).expect("the listener accepts"))
    }

    /// The same with a receive buffer of this many bytes, which the kernel does not grow.
    pub fn narrow(addr: SocketAddr, buffer: usize) -> Peer {
        Peer::plain(narrow(addr, buffer))
    }

    fn plain(socket: TcpStream) -> Peer {
        let io = socket.try_clone().expect("a descriptor is left");
        Peer::over(socket, Box::new(io))
    }

    fn over(socket: TcpStream, io: Box<dyn Bytes>) -> Peer {
        let limits = [
            socket.set_read_timeout(Some(PATIENCE)),
            socket.set_write_timeout(Some(PATIENCE)),
            socket.set_nodelay(true),
        ];
        limits
            .into_iter()
            .for_each(|set| set.expect("an open socket"));
        Peer {
            socket,
            io,
            inbox: Vec::new(),
        }
    }

    /// Connects over TLS and offers these ALPN protocols.
    pub fn tls(server: &Server, listener: &str, alpn: &[&[u8]]) -> io::Result<Peer> {
        Peer::shake_hands(server, TcpStream::connect(server.addr(listener))?, alpn)
    }

    /// The same, connected as [`Peer::narrow`].
    pub fn narrow_tls(server: &Server, listener: &str, alpn: &[&[u8]], buffer: usize) -> Peer {
        let socket = narrow(server.addr(listener), buffer);
        Peer::shake_hands(server, socket, alpn).expect("a handshake")
    }

    fn shake_hands(server: &Server, mut socket: TcpStream, alpn: &[&[u8]]) -> io::Result<Peer> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut session = session(server, alpn);
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let io = StreamOwned::new(session, socket.try_clone()?);
        Ok(Peer::over(socket, Box::new(io)))
    }

    /// Our address, by which the server's log names us.
    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("a connected socket")
    }

    /// Sends bytes, all of them.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_say(bytes).expect("the server takes it");
    }

    /// The same to a server that may have hung up.
    pub fn try_say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.io.write_all(bytes.as_ref())?;
        self.io.flush()
    }

    /// From now on waits no longer than this for the server to take or to send something.
    pub fn patience(&self, longest: Duration) {
        self.socket
            .set_write_timeout(Some(longest))
            .expect("an open socket");
        self.socket
            .set_read_timeout(Some(longest))
            .expect("an open socket");
    }

    /// Undoes [`Peer::narrow`].
    pub fn widen(&self) {
        let socket = socket2::SockRef::from(&self.socket);
        socket
            .set_recv_buffer_size(1 << 20)
            .expect("an open socket");
    }

    /// Says that nothing more comes from us.
    pub fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads what there is; `false` at the end, clean or not.
    fn fill(&mut self) -> bool {
        let mut space = [0; 16 * 1024];
        match self.io.read(&mut space) {
            Ok(0) => false,
            Ok(count) => {
                self.inbox.extend_from_slice(&space[..count]);
                true
            }
            Err(error) if is_timeout(&error) => {
                panic!(
                    "nothing came for {PATIENCE:?}; before: {:?}",
                    text(&self.inbox)
                )
            }
            Err(_) => false,
        }
    }

    /// The next bytes, or nothing when the connection ends before.
    pub fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.inbox.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.inbox.drain(..count).collect())
    }

    /// Whatever has come and was not taken, or comes next; nothing when the connection has ended.
    pub fn some(&mut self) -> Option<Vec<u8>> {
        if self.inbox.is_empty() && !self.fill() {
            return None;
        }
        Some(std::mem::take(&mut self.inbox))
    }

    /// Everything up to and with `mark`, or nothing when the connection ends before.
    pub fn until(&mut self, mark: &str) -> Option<String> {
        let mut seen = 0;
        loop {
            let found = self.inbox[seen..]
                .windows(mark.len())
                .position(|w| w == mark.as_bytes());
            if let Some(at) = found {
                return self.take(seen + at + mark.len()).map(|bytes| text(&bytes));
            }
            seen = self.inbox.len().saturating_sub(mark.len() - 1);
            if !self.fill() {
                return None;
            }
        }
    }

    /// Everything to the end of the connection, which must come.
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.fill() {
            assert!(
                Instant::now() < deadline,
                "this does not end: {:?}",
                text(&self.inbox)
            );
        }
        std::mem::take(&mut self.inbox)
    }

    /// What has come, without waiting longer than a moment for it.
    pub fn glance(&mut self, moment: Duration) -> usize {
        self.socket
            .set_read_timeout(Some(moment))
            .expect("an open socket");
        let mut space = [0; 16 * 1024];
        if let Ok(count) = self.io.read(&mut space) {
            self.inbox.extend_from_slice(&space[..count]);
        }
        self.socket
            .set_read_timeout(Some(PATIENCE))
            .expect("an open socket");
        self.inbox.len()
    }

    /// An answer of HTTP/1.1, whole.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer comes")
    }

    /// The same of a server that may hang up instead.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let head = self.until("\r\n\r\n")?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let mut answer = Answer {
            status: status.expect("a status line"),
            head,
            body: String::new(),
        };
        let length = answer.header("content-length").parse().ok();
        answer.body = match length {
            _ if matches!(answer.status, 100..200 | 204 | 304) => String::new(),
            Some(length) => text(&self.take(length).expect("the whole body")),
            None if answer.header("transfer-encoding") == "chunked" => self.chunks(),
            None => text(&self.rest()),
        };
        Some(answer)
    }

    /// A chunked body (RFC 9112, 7.1).
    fn chunks(&mut self) -> String {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk() {
            body.extend_from_slice(&chunk);
        }
        text(&body)
    }

    /// The next chunk of a body; nothing after the last.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.until("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        let mut chunk = self.take(size + 2)?;
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }
}

/// One request on a connection of its own.
pub fn ask(server: &Server, listener: &str, request: &str) -> Answer {
    let mut peer = Peer::connect(server, listener);
    peer.say(request);
    peer.answer()
}

/// What the server has logged of a peer.
pub fn lines(server: &Server, peer: SocketAddr) -> Vec<String> {
    let name = format!("{peer}:");
    let also = format!("{peer} ");
    let log = server.stderr();
    let of_it = |line: &&str| line.contains(&name) || line.contains(&also);
    log.lines().filter(of_it).map(str::to_owned).collect()
}

/// Waits until the server has logged one line of a peer, and returns it.
pub fn one_line(server: &Server, peer: SocketAddr) -> String {
    until("a line in the log", || !lines(server, peer).is_empty());
    let lines = lines(server, peer);
    assert_eq!(lines.len(), 1, "one line at most: {lines:?}");
    lines.concat()
}

/// Waits for a fact.
pub fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes for a message of a failed test.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn narrow(addr: SocketAddr, buffer: usize) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(buffer).expect("a buffer");
    socket.connect(&addr.into()).expect("the listener accepts");
    socket.into()
}

/// The client side of TLS, before the first byte.
pub fn session(server: &Server, alpn: &[&[u8]]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(server.ca()).expect("the server's CA");
    roots.add(ca).expect("a CA certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a sound configuration")
}
