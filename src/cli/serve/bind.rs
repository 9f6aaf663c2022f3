//! Binding the listeners: all of them, or a line for each that could not be.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::identity::Identities;
use crate::config::listeners::{Bind, Listeners};
use crate::counts::ListenerFacts;
use crate::server::{Listener, Speaks};

/// Connections that the kernel may hold for us. Its default makes a crowd that comes back at once wait a second.
const BACKLOG: i32 = 4096;

/// How often a pair of free ports, the same on both loopbacks, is looked for.
const TRIES: usize = 16;

/// A listener's name and its sockets.
type Bound = (&'static str, Vec<TcpListener>);

/// Binds every listener that is on.
pub(super) fn all(wanted: &Listeners) -> Result<Vec<Bound>, Vec<String>> {
    let mut bound = Vec::new();
    let mut mistakes = Vec::new();
    for (name, at) in wanted.each() {
        if at == Bind::Off {
            continue;
        }
        match sockets(at) {
            Ok(sockets) => bound.push((name, sockets)),
            Err(error) => mistakes.push(format!(
                "--{name} {at}: cannot listen: {error}; stop what uses the port, or choose another with --{name} ADDR:PORT"
            )),
        }
    }
    if mistakes.is_empty() {
        Ok(bound)
    } else {
        Err(mistakes)
    }
}

/// Gives each its protocol.
pub(super) fn listeners(bound: Vec<Bound>, identities: &Identities) -> Vec<Listener> {
    let speaking = |(name, sockets)| listener(name, speaks(name, identities), sockets);
    bound.into_iter().map(speaking).collect()
}

fn speaks(name: &str, identities: &Identities) -> Speaks {
    let found = "a certificate is found when a listener needs one";
    match name {
        "h2c" => Speaks::H2c,
        "http2" => Speaks::Http2Tls(identities.http2().expect(found)),
        "http1s" | "wss" => Speaks::Http1Tls(identities.http1().expect(found)),
        _ => Speaks::Http1,
    }
}

fn listener(name: &'static str, speaks: Speaks, sockets: Vec<TcpListener>) -> Listener {
    let addr = sockets.first().and_then(|s| s.local_addr().ok());
    let facts = ListenerFacts {
        name,
        addr: addr.map_or_else(String::new, |a| a.to_string()),
        tls: matches!(speaks, Speaks::Http1Tls(_) | Speaks::Http2Tls(_)),
        http: if matches!(speaks, Speaks::H2c | Speaks::Http2Tls(_)) {
            "2"
        } else {
            "1.1"
        },
    };
    Listener {
        facts,
        speaks,
        sockets,
    }
}

fn sockets(at: Bind) -> io::Result<Vec<TcpListener>> {
    let addresses = at.addresses();
    let [first, second] = addresses[..] else {
        return addresses.into_iter().map(socket).collect();
    };
    let mut last = None;
    for _ in 0..TRIES {
        let one = socket(first)?;
        let same_port = SocketAddr::new(second.ip(), one.local_addr()?.port());
        match socket(same_port) {
            Ok(two) => return Ok(vec![one, two]),
            // A free port of the first was not free on the second: another one may be.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && first.port() == 0 => {
                last = Some(error)
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // There is no IPv6 here.
            Err(_) => return Ok(vec![one]),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the last run's connections to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
