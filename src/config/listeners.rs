//! The six listeners and where each is bound: reading an address, and telling which of them would
//! collide.
//!
//! Nothing is bound here, so a port that another program holds is found only at the start.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// What an address may look like, for whoever wrote another.
pub(super) const FORMS: &str = "ADDR:PORT, [::1]:PORT, PORT, localhost:PORT or off";

/// Where a listener is bound. Port 0 picks a free one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bind {
    /// Nowhere.
    #[default]
    Off,
    /// `127.0.0.1` and, where it exists, `::1`, both with this port.
    Loopback(u16),
    /// One address.
    At(SocketAddr),
}

/// Where each listener is bound. `Default` is all off, for the table to fill: the defaults are
/// those of [`super::Config`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listeners {
    /// HTTP/1.1, cleartext.
    pub http1: Bind,
    /// HTTP/2, cleartext.
    pub h2c: Bind,
    /// HTTP/1.1, cleartext, the port for WebSocket.
    pub ws: Bind,
    /// HTTP/2 over TLS.
    pub http2: Bind,
    /// HTTP/1.1 over TLS.
    pub http1s: Bind,
    /// HTTP/1.1 over TLS, the port for WebSocket.
    pub wss: Bind,
}

impl Listeners {
    /// All six, those that are off too, by name and in the order in which they are announced.
    pub fn each(&self) -> [(&'static str, Bind); 6] {
        [
            ("http1", self.http1),
            ("h2c", self.h2c),
            ("ws", self.ws),
            ("http2", self.http2),
            ("http1s", self.http1s),
            ("wss", self.wss),
        ]
    }
}

impl Bind {
    /// What to bind, the first of them required: for [`Bind::Loopback`] the second fails where
    /// there is no IPv6.
    pub fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Self::Off => Vec::new(),
            Self::Loopback(port) => vec![
                (Ipv4Addr::LOCALHOST, port).into(),
                (Ipv6Addr::LOCALHOST, port).into(),
            ],
            Self::At(address) => vec![address],
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(self) -> bool {
        self.addresses()
            .iter()
            .all(|address| address.ip().to_canonical().is_loopback())
    }

    /// An address that both would take, if there is one. Port 0 never collides.
    pub(super) fn overlap(self, other: Self) -> Option<SocketAddr> {
        let others = other.addresses();
        let taken = |mine: &SocketAddr| others.iter().any(|theirs| collide(*mine, *theirs));
        self.addresses().into_iter().find(taken)
    }

    /// Reads what the user wrote. The error completes "`…`": "has no port".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return port(text).map(Self::Loopback);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::At(address));
        }
        match text.rsplit_once(':') {
            Some((host, number)) if host.eq_ignore_ascii_case("localhost") => {
                port(number).map(Self::Loopback)
            }
            _ => Err(advice(text)),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => write!(formatter, "off"),
            Self::Loopback(port) => write!(formatter, "localhost:{port}"),
            Self::At(address) => write!(formatter, "{address}"),
        }
    }
}

/// An unspecified address takes the port of all others, `[::]` that of IPv4 too: so Linux binds it
/// unless told otherwise.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (mine, theirs) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers = |wide: IpAddr, narrow: IpAddr| {
        wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    one.port() != 0
        && one.port() == other.port()
        && (mine == theirs || covers(mine, theirs) || covers(theirs, mine))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "has no valid port; a port is 0 to 65535".to_owned())
}

/// What to write instead, for the mistakes that are easy to make.
fn advice(text: &str) -> String {
    if text.eq_ignore_ascii_case("localhost") || text.parse::<Ipv4Addr>().is_ok() {
        return format!("has no port; write {text}:8080");
    }
    // Without brackets nobody can tell the port of `::1:8080` from the end of the address.
    if text.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok() {
        return "has no port; write [ADDR]:PORT, such as [::1]:8080".to_owned();
    }
    match text.rsplit_once(':') {
        Some(("" | "*", number)) if port(number).is_ok() => {
            format!("names no address; write 0.0.0.0:{number} or localhost:{number}")
        }
        Some((host, number)) if host.parse::<IpAddr>().is_ok() && port(number).is_err() => {
            "has no valid port; a port is 0 to 65535".to_owned()
        }
        _ => format!("is not an address; write {FORMS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let at = |text: &str| Bind::At(text.parse().expect("a good address"));
        for (text, bind) in [
            ("off", Bind::Off),
            ("OFF", Bind::Off),
            ("8080", Bind::Loopback(8080)),
            ("0", Bind::Loopback(0)),
            ("localhost:1", Bind::Loopback(1)),
            ("LocalHost:65535", Bind::Loopback(65535)),
            ("127.0.0.1:8080", at("127.0.0.1:8080")),
            ("[::1]:8080", at("[::1]:8080")),
            ("0.0.0.0:0", at("0.0.0.0:0")),
        ] {
            assert_eq!(Bind::parse(text), Ok(bind), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_explained() {
        for (text, hint) in [
            ("", "is not an address"),
            ("65536", "0 to 65535"),
            ("-1", "is not an address"),
            ("localhost", "write localhost:8080"),
            ("localhost:", "no valid port"),
            ("localhost:http", "no valid port"),
            ("127.0.0.1", "write 127.0.0.1:8080"),
            ("127.0.0.1:99999", "0 to 65535"),
            ("::1", "such as [::1]:8080"),
            ("[::1]", "such as [::1]:8080"),
            ("::1:8080", "such as [::1]:8080"),
            (":8080", "0.0.0.0:8080 or localhost:8080"),
            ("*:80", "0.0.0.0:80"),
            ("example.org:80", "is not an address"),
            ("http://127.0.0.1:80", "is not an address"),
        ] {
            let reason = Bind::parse(text).expect_err(text);
            assert!(reason.contains(hint), "{text}: {reason}");
        }
    }

    #[test]
    fn overlaps_are_found_both_ways() {
        for (one, other, overlap) in [
            ("8080", "8080", true),
            ("8080", "8081", false),
            ("0", "0", false),
            ("off", "off", false),
            ("8080", "127.0.0.1:8080", true),
            ("8080", "[::1]:8080", true),
            ("8080", "127.0.0.2:8080", false),
            ("8080", "0.0.0.0:8080", true),
            ("127.0.0.1:1", "[::1]:1", false),
            ("0.0.0.0:1", "[fe80::1]:1", false),
            ("[::]:1", "192.0.2.1:1", true),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
        ] {
            let (one, other) = (
                Bind::parse(one).expect(one),
                Bind::parse(other).expect(other),
            );
            assert_eq!(one.overlap(other).is_some(), overlap, "{one} and {other}");
            assert_eq!(other.overlap(one).is_some(), overlap, "{other} and {one}");
        }
    }

    #[test]
    fn local_is_what_no_other_machine_reaches() {
        for (text, local) in [
            ("8080", true),
            ("off", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.0.1:0", false),
        ] {
            assert_eq!(Bind::parse(text).expect(text).is_local(), local, "{text}");
        }
    }
}
