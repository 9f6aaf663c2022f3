//! A non-blocking TCP socket, with or without TLS, as both the bare loop and the load client use it.
//!
//! It does not know who waits for it: the owner asks `wants_write` and tells its epoll.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Protocol, Type};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection,
};

use crate::client::{Http, Place, Transport};

/// Connections that may wait to be accepted: fewer turn a storm into SYN retries, a second each.
const BACKLOG: i32 = 4096;

/// A connection; what the kernel does not take at once is kept and sent when the socket is writable.
pub struct Socket {
    tcp: TcpStream,
    tls: Option<Box<Connection>>,
    unsent: Vec<u8>,
    watched: EventFlags,
    traffic: Traffic,
}

/// Bytes that a socket carried, and the reads that brought some.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Reads that brought something.
    pub reads: u64,
    /// Bytes read from the socket, TLS included.
    pub down: u64,
    /// Bytes written to it, TLS included.
    pub up: u64,
    /// What was read, without TLS.
    pub plain_down: u64,
    /// What was written, without TLS.
    pub plain_up: u64,
}

impl Traffic {
    /// What of it came since `before`.
    pub fn since(&self, before: &Traffic) -> Traffic {
        Traffic {
            reads: self.reads - before.reads,
            down: self.down - before.down,
            up: self.up - before.up,
            plain_down: self.plain_down - before.plain_down,
            plain_up: self.plain_up - before.plain_up,
        }
    }

    /// Both together.
    pub fn and(&self, other: &Traffic) -> Traffic {
        Traffic {
            reads: self.reads + other.reads,
            down: self.down + other.down,
            up: self.up + other.up,
            plain_down: self.plain_down + other.plain_down,
            plain_up: self.plain_up + other.plain_up,
        }
    }
}

/// Where a client connects to, and as whom it takes the other side.
#[derive(Clone)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    /// `host:port` for the request.
    pub authority: String,
    /// What is trusted and offered, and the name on the certificate; nothing in cleartext.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Endpoint {
    /// A listener of this machine for a transport, with a certificate by the CA in the file `cacert`.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn local(
        transport: &Transport,
        address: SocketAddr,
        cacert: &Path,
    ) -> Result<Endpoint, String> {
        let tls = transport.tls == Some(true);
        let url = format!("{}://{address}", if tls { "https" } else { "http" });
        let place = Place::new(Some(&url), Some(transport), Some(cacert))?;
        let http = transport.http.unwrap_or(Http::One);
        Ok(Endpoint::new(&place, http, address))
    }

    /// A place at this address. TLS resumes no session: each handshake costs all of it.
    pub fn new(place: &Place, http: Http, address: SocketAddr) -> Endpoint {
        let name = ServerName::try_from(place.host().to_owned()).expect("it was read as one");
        let tls = place.tls(http).map(|mut config| {
            config.resumption = Resumption::disabled();
            (Arc::new(config), name)
        });
        Endpoint {
            address,
            authority: place.authority().to_owned(),
            tls,
        }
    }
}

/// Where sockets read to: one for a whole loop.
pub struct Buffers {
    raw: Vec<u8>,
    plain: Vec<u8>,
}

/// What one read brought: bytes on the socket (none: the peer closed), and what they say without TLS.
pub struct Received<'a> {
    /// Bytes on the socket; none when the peer closed.
    pub raw: usize,
    /// What they say without TLS.
    pub bytes: &'a [u8],
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers {
            raw: vec![0; 256 * 1024],
            plain: Vec::new(),
        }
    }
}

impl Socket {
    /// Starts to connect; the handshakes go on as the socket becomes writable and readable.
    ///
    /// # Errors
    /// When there is no descriptor or port left, or the address cannot be reached.
    pub fn connect(to: &Endpoint) -> io::Result<Socket> {
        let socket = socket2::Socket::new(
            Domain::for_address(to.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&to.address.into()) {
            Err(error)
                if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
            {
                return Err(error);
            }
            _ => {}
        }
        let tls = to
            .tls
            .as_ref()
            .map(|(config, name)| ClientConnection::new(config.clone(), name.clone()))
            .transpose()
            .map_err(io::Error::other)?;
        Ok(Socket::new(socket.into(), tls.map(Connection::Client)))
    }

    /// Takes the next waiting connection, if there is one.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn accept(
        listener: &TcpListener,
        tls: Option<&Arc<ServerConfig>>,
    ) -> io::Result<Option<Socket>> {
        let tcp = match listener.accept() {
            Ok((tcp, _)) => tcp,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        let tls = tls
            .map(|config| ServerConnection::new(config.clone()))
            .transpose()
            .map_err(io::Error::other)?;
        Ok(Some(Socket::new(tcp, tls.map(Connection::Server))))
    }

    fn new(tcp: TcpStream, tls: Option<Connection>) -> Socket {
        let tls = tls.map(|mut tls| {
            tls.set_buffer_limit(None);
            Box::new(tls)
        });
        Socket {
            tcp,
            tls,
            unsent: Vec::new(),
            watched: EventFlags::empty(),
            traffic: Traffic::default(),
        }
    }

    /// What it carried so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Whether all handshakes are over.
    pub fn is_secured(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// Reads once; `None` when nothing is there.
    ///
    /// # Errors
    /// When the connection broke, or TLS did.
    pub fn receive<'a>(&mut self, buffers: &'a mut Buffers) -> io::Result<Option<Received<'a>>> {
        let raw = match self.tcp.read(&mut buffers.raw) {
            Ok(raw) => raw,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.traffic.reads += u64::from(raw > 0);
        self.traffic.down += raw as u64;
        let Some(tls) = &mut self.tls else {
            self.traffic.plain_down += raw as u64;
            let bytes = &buffers.raw[..raw];
            return Ok(Some(Received { raw, bytes }));
        };
        decrypt(tls, &buffers.raw[..raw], &mut buffers.plain)?;
        self.flush()?;
        let bytes = buffers.plain.as_slice();
        self.traffic.plain_down += bytes.len() as u64;
        Ok(Some(Received { raw, bytes }))
    }

    /// Sends `bytes` in one write, or keeps what of them the kernel does not take.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.traffic.plain_up += bytes.len() as u64;
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        let sent = if self.unsent.is_empty() {
            would_block_is_none(self.tcp.write(bytes))?
        } else {
            0
        };
        self.traffic.up += sent as u64;
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Sends what was kept.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match would_block_is_none(tls.write_tls(&mut self.tcp))? {
                    0 => break,
                    sent => self.traffic.up += sent as u64,
                }
            }
        } else if !self.unsent.is_empty() {
            let sent = would_block_is_none(self.tcp.write(&self.unsent))?;
            self.traffic.up += sent as u64;
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
            }
        }
        Ok(())
    }

    fn wants_write(&self) -> bool {
        !self.unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Has an epoll tell of what comes, and, while something is unsent, of room for it.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn watch(&mut self, epoll: &OwnedFd, token: u64) -> io::Result<()> {
        self.watched = self.wanted();
        Ok(epoll::add(
            epoll,
            &self.tcp,
            EventData::new_u64(token),
            self.watched,
        )?)
    }

    /// The same again after reads and writes.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn rewatch(&mut self, epoll: &OwnedFd, token: u64) -> io::Result<()> {
        if self.watched != self.wanted() {
            self.watched = self.wanted();
            epoll::modify(epoll, &self.tcp, EventData::new_u64(token), self.watched)?;
        }
        Ok(())
    }

    /// Has it tell no more.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn unwatch(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        Ok(epoll::delete(epoll, &self.tcp)?)
    }

    fn wanted(&self) -> EventFlags {
        if self.wants_write() {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        }
    }

    /// Bytes that wait for the socket to become writable; those inside TLS are not counted.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }
}

/// A non-blocking listener on a free port of 127.0.0.1.
///
/// # Errors
/// As the kernel says.
pub fn listen() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn decrypt(tls: &mut Connection, mut raw: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
    plain.clear();
    while !raw.is_empty() {
        tls.read_tls(&mut raw)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let at = plain.len();
        plain.resize(at + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut plain[at..])?;
    }
    Ok(())
}

fn would_block_is_none(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
