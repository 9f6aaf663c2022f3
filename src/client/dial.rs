//! TCP and TLS to a place.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::connection::Http;
use super::failure::{Failure, Fault};
use super::place::Place;

/// How long it may take to be connected, TLS included.
const LONGEST: Duration = Duration::from_secs(10);

/// Anything that bytes go through.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Connects, and tells which version of HTTP is to be spoken.
pub(super) async fn dial(place: &Place) -> Result<(Box<dyn Bytes>, Http), Failure> {
    timeout(LONGEST, connect(place))
        .await
        .unwrap_or_else(|_| Err(Failure::silent(&place.authority, LONGEST)))
}

async fn connect(place: &Place) -> Result<(Box<dyn Bytes>, Http), Failure> {
    let tcp = connect_tcp(place).await?;
    let Some(config) = &place.tls else {
        // In cleartext nothing is agreed on: it is what the caller knows.
        return Ok((Box::new(tcp), place.http.unwrap_or(Http::One)));
    };
    let mut config = config.as_ref().clone();
    config.alpn_protocols = match place.http {
        Some(http) => vec![http.alpn().to_vec()],
        None => vec![Http::Two.alpn().to_vec(), Http::One.alpn().to_vec()],
    };
    let name = ServerName::try_from(place.host.clone()).expect("it was read as one");
    let stream = TlsConnector::from(std::sync::Arc::new(config))
        .connect(name, tcp)
        .await
        .map_err(|error| in_handshake(&place.authority, &error))?;
    let chosen = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Http::Two,
        _ => Http::One,
    };
    if place.http == Some(Http::Two) && chosen == Http::One {
        let words = format!(
            "{} does not speak HTTP/2 over TLS (no ALPN)",
            place.authority
        );
        return Err(Failure::new(Fault::Protocol, words));
    }
    Ok((Box::new(stream), chosen))
}

/// The first of the host's addresses that takes the connection.
async fn connect_tcp(place: &Place) -> Result<TcpStream, Failure> {
    let addresses = tokio::net::lookup_host((place.host.as_str(), place.port))
        .await
        .map_err(|error| {
            let words = format!("the name {} does not resolve: {error}", place.host);
            Failure::new(Fault::Name, words)
        })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                // A failure costs speed, nothing else.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(Failure::of_io(&place.authority, &last))
}

/// A port for cleartext may just close, as may a server that is about to leave.
fn in_handshake(what: &str, error: &io::Error) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
            let words = format!(
                "{what} closed the connection in the TLS handshake; if it always does, it is not TLS: use http://"
            );
            Failure::new(Fault::Broken, words)
        }
        _ => Failure::of_io(what, error),
    }
}
