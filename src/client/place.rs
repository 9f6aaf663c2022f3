//! Where a server is and how it is spoken to: a URL, a transport, and who is trusted.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::any_certificate::AnyCertificate;
use super::connection::Http;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-Sent Events.
    Sse,
    /// WebSocket.
    WebSocket,
    /// Long polling.
    LongPoll,
}

/// A framing on a version of HTTP, with or without TLS: a wire on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// What the command line calls it.
    pub name: &'static str,
    /// How events are written.
    pub framing: Framing,
    /// The version of HTTP; `None` is what the other side prefers.
    pub http: Option<Http>,
    /// Whether it goes over TLS; `None` is what the URL says.
    pub tls: Option<bool>,
    /// The listener that it is meant for.
    pub listener: &'static str,
    /// Where a server that was told nothing listens for it.
    pub url: &'static str,
}

impl Transport {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Transport> {
        TRANSPORTS.iter().find(|transport| transport.name == name)
    }

    /// Whether it is carried by HTTP/2, many streams on a connection.
    pub fn is_http2(&self) -> bool {
        self.http == Some(Http::Two)
    }
}

const fn transport(
    name: &'static str,
    framing: Framing,
    http: Http,
    tls: bool,
    listener: &'static str,
    url: &'static str,
) -> Transport {
    Transport {
        name,
        framing,
        http: Some(http),
        tls: Some(tls),
        listener,
        url,
    }
}

/// All of them.
pub const TRANSPORTS: [Transport; 9] = [
    transport(
        "sse-http1",
        Framing::Sse,
        Http::One,
        false,
        "http1",
        "http://localhost:8080",
    ),
    transport(
        "sse-http1s",
        Framing::Sse,
        Http::One,
        true,
        "http1s",
        "https://localhost:8444",
    ),
    transport(
        "sse-h2c",
        Framing::Sse,
        Http::Two,
        false,
        "h2c",
        "http://localhost:8081",
    ),
    transport(
        "sse-http2",
        Framing::Sse,
        Http::Two,
        true,
        "http2",
        "https://localhost:8443",
    ),
    transport(
        "ws",
        Framing::WebSocket,
        Http::One,
        false,
        "ws",
        "ws://localhost:8082",
    ),
    transport(
        "wss",
        Framing::WebSocket,
        Http::One,
        true,
        "wss",
        "wss://localhost:8445",
    ),
    transport(
        "ws-h2c",
        Framing::WebSocket,
        Http::Two,
        false,
        "h2c",
        "http://localhost:8081",
    ),
    transport(
        "ws-http2",
        Framing::WebSocket,
        Http::Two,
        true,
        "http2",
        "https://localhost:8443",
    ),
    Transport {
        name: "long-poll",
        framing: Framing::LongPoll,
        http: None,
        tls: None,
        listener: "http1",
        url: "http://localhost:8080",
    },
];

/// Where a server is, how it is spoken to, and whom to trust.
#[derive(Clone, Debug)]
pub struct Place {
    /// How events are written.
    pub framing: Framing,
    /// The version of HTTP; `None` is what the other side prefers.
    pub http: Option<Http>,
    /// What is trusted, over TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// The host's name or address, without brackets.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// `host:port` as it stands in a URL.
    pub(super) authority: String,
    /// What goes before every path; empty or `/…` without a last slash.
    base: String,
}

impl Place {
    /// Reads a URL and a transport, each of which may be left to the other, and the CA to trust (over TLS; else the
    /// system's CAs and, if it is there, `certs/ca.pem`).
    ///
    /// # Errors
    /// What is wrong with them, in a line.
    pub fn new(
        url: Option<&str>,
        wire: Option<&Transport>,
        cacert: Option<&Path>,
    ) -> Result<Place, String> {
        let given = url.unwrap_or(wire.map_or("http://localhost:8080", |wire| wire.url));
        let uri = read(given)?;
        let (scheme_framing, tls) = match uri.scheme_str() {
            Some("http") => (Framing::Sse, false),
            Some("https") => (Framing::Sse, true),
            Some("ws") => (Framing::WebSocket, false),
            Some("wss") => (Framing::WebSocket, true),
            _ => {
                return Err(format!(
                    "{given:?} is no http://, https://, ws:// or wss:// URL"
                ));
            }
        };
        if let Some(wire) = wire
            && wire.tls.is_some_and(|wanted| wanted != tls)
        {
            let (is, scheme) = if tls {
                ("without", "http")
            } else {
                ("over", "https")
            };
            return Err(format!(
                "{} goes {is} TLS, and {given:?} does not; write {scheme}://",
                wire.name
            ));
        }
        let framing = wire.map_or(scheme_framing, |wire| wire.framing);
        let http = match (wire, tls, framing) {
            (Some(wire), _, _) if wire.http.is_some() => wire.http,
            // A WebSocket's own URL means RFC 6455, and cleartext has no way to agree on a version.
            (_, false, _) | (None, _, Framing::WebSocket) => Some(Http::One),
            _ => None,
        };
        let authority = uri.authority().expect("it was read with one");
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        ServerName::try_from(host.as_str()).map_err(|_| format!("{host:?} is no host"))?;
        let port = match authority.as_str().strip_prefix(authority.host()) {
            None | Some("" | ":") => Some(if tls { 443 } else { 80 }),
            // What is no port is not one that was left out.
            Some(_) => authority.port_u16(),
        };
        let port = port.ok_or_else(|| format!("the port of {given:?} is none from 1 to 65535"))?;
        let mut place = Place {
            framing,
            http,
            tls: None,
            host,
            port,
            authority: format!("{}:{port}", authority.host()),
            base: uri.path().trim_end_matches('/').to_owned(),
        };
        if tls {
            place.tls = Some(trusting(cacert)?);
        }
        Ok(place)
    }

    /// The same, with whatever certificate the server has.
    #[must_use]
    pub fn unverified(&self) -> Place {
        let tls = self.tls.as_deref().map(|config| {
            let mut config = config.clone();
            let any = Arc::new(AnyCertificate::default());
            config.dangerous().set_certificate_verifier(any);
            Arc::new(config)
        });
        Place {
            tls,
            ..self.clone()
        }
    }

    /// `host:port`, as it stands in a URL.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What is trusted and offered over TLS for this version of HTTP; nothing in cleartext.
    pub fn tls(&self, http: Http) -> Option<ClientConfig> {
        let mut config = self.tls.as_deref()?.clone();
        config.alpn_protocols = vec![http.alpn().to_vec()];
        Some(config)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// `/path` below what the URL says.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The whole URL of `/path`.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}{}{path}", self.authority, self.base)
    }
}

fn read(given: &str) -> Result<Uri, String> {
    let example = "write it like https://localhost:8443";
    let uri: Uri = given
        .parse()
        .map_err(|error| format!("{given:?} is no URL ({error}); {example}"))?;
    if uri.authority().is_none() || uri.scheme().is_none() {
        return Err(format!("{given:?} is no whole URL; {example}"));
    }
    if uri.query().is_some() {
        return Err(format!(
            "{given:?} has a query; give the server's URL without one"
        ));
    }
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(format!(
            "{given:?} has a name or password in it, which triwire does not know"
        ));
    }
    Ok(uri)
}

/// What `--cacert` names and nobody else; without it the system's CAs, and ours where it is.
fn trusting(cacert: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    const OURS: &str = "certs/ca.pem";
    let mut roots = RootCertStore::empty();
    match cacert {
        Some(path) => {
            roots.add_parsable_certificates(certificates(path)?);
            if roots.is_empty() {
                return Err(format!(
                    "{}: there is no CA certificate in it",
                    path.display()
                ));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if Path::new(OURS).exists() {
                roots.add_parsable_certificates(certificates(Path::new(OURS))?);
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    rustls_pemfile::certs(&mut BufReader::new(file))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_transports() {
        use Framing::{LongPoll, Sse, WebSocket};
        let table = [
            (None, "", Sse, Some(Http::One), "localhost:8080", "/x"),
            (
                None,
                "ws-http2",
                WebSocket,
                Some(Http::Two),
                "localhost:8443",
                "/x",
            ),
            (
                Some("http://a/push/"),
                "",
                Sse,
                Some(Http::One),
                "a:80",
                "/push/x",
            ),
            (Some("https://a"), "", Sse, None, "a:443", "/x"),
            (
                Some("ws://[::1]:9"),
                "",
                WebSocket,
                Some(Http::One),
                "[::1]:9",
                "/x",
            ),
            (
                Some("wss://a"),
                "",
                WebSocket,
                Some(Http::One),
                "a:443",
                "/x",
            ),
            (
                Some("wss://a"),
                "sse-http2",
                Sse,
                Some(Http::Two),
                "a:443",
                "/x",
            ),
            (
                Some("http://a:1"),
                "long-poll",
                LongPoll,
                Some(Http::One),
                "a:1",
                "/x",
            ),
            (
                Some("https://a:1"),
                "long-poll",
                LongPoll,
                None,
                "a:1",
                "/x",
            ),
            (
                Some("http://a:1"),
                "sse-h2c",
                Sse,
                Some(Http::Two),
                "a:1",
                "/x",
            ),
        ];
        for (url, wire, framing, http, authority, path) in table {
            let place = Place::new(url, Transport::named(wire), None).expect("it is good");
            assert_eq!(
                (place.framing, place.http),
                (framing, http),
                "{url:?} {wire}"
            );
            assert_eq!((&*place.authority, &*place.path("/x")), (authority, path));
        }
    }

    #[test]
    fn what_makes_no_sense() {
        let table = [
            ("localhost:8080", "", "no whole URL"),
            ("ftp://a", "", "no http://"),
            ("http://a b", "", "no URL"),
            ("http://a:99999", "", "port"),
            ("http://u:p@a", "", "password"),
            ("http://a/?topic=b", "", "query"),
            ("http://a", "wss", "write https://"),
            ("https://a", "sse-h2c", "write http://"),
        ];
        for (url, wire, says) in table {
            let mistake = Place::new(Some(url), Transport::named(wire), None).expect_err(url);
            assert!(mistake.contains(says), "{url}: {mistake}");
        }
        let nothing = Path::new("/does/not/exist");
        assert!(Place::new(Some("https://a"), None, Some(nothing)).is_err());
    }
}
