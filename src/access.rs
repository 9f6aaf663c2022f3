//! Who may ask: which hosts are ours and which web pages may use us across origins. Loopback is no excuse: a
//! page on any site can reach a server on its visitor's machine. And what keys are.

pub mod keys;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use crate::problem::Problem;

/// Request headers that a page of an allowed origin may set (Fetch, CORS-safelisting aside).
const ALLOWED_HEADERS: &str = "content-type, last-event-id, authorization, cache-control, pragma, x-api-key, idempotency-key, if-match, if-none-match";
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The hosts and origins that are ours.
#[derive(Debug)]
pub struct Access {
    allow_hosts: BTreeSet<String>,
    allow_origins: BTreeSet<String>,
    ports: Vec<u16>,
    names: RwLock<BTreeSet<String>>,
}

/// Where a request says that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From no web page, or from one that did not have to say.
    Unsaid,
    /// From a page of an allowed origin, which is echoed to it.
    Allowed(HeaderValue),
    /// From a page of another origin.
    Foreign,
}

impl Access {
    /// Allows `http` and `https` × the certificate's names × our ports, and what is given besides.
    pub fn new(
        names: &[String],
        ports: &[u16],
        allow_origins: &[String],
        allow_hosts: &[String],
    ) -> Access {
        let lower = |all: &[String]| all.iter().map(|s| s.to_ascii_lowercase()).collect();
        let access = Access {
            allow_hosts: lower(allow_hosts),
            allow_origins: lower(allow_origins),
            ports: ports.to_vec(),
            names: RwLock::default(),
        };
        access.rename(names);
        access
    }

    /// Takes the names of a renewed certificate.
    pub fn rename(&self, names: &[String]) {
        let names = names.iter().map(|n| n.to_ascii_lowercase()).collect();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Whether the certificate is for this host, perhaps as one of all names a level below another
    /// (RFC 9525, 6.3).
    fn is_named(&self, host: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let wildcard = host.split_once('.').map(|(_, above)| format!("*.{above}"));
        names.contains(host) || wildcard.is_some_and(|name| names.contains(&name))
    }

    /// Whether an origin (RFC 6454, 6.2) is `http` or `https`, one of the names and one of our ports.
    fn is_ours(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else {
            return false;
        };
        let default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let host = host_of(authority);
        let port = authority
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or(default);
        self.ports.contains(&port) && self.is_named(host)
    }

    /// Refuses a host that is neither an address nor ours: a name that somebody pointed at us (DNS rebinding).
    ///
    /// # Errors
    /// 400 without a host, 421 for a foreign one.
    pub fn check_host(&self, request: &Parts) -> Result<(), Problem> {
        let mut headers = request.headers.get_all(header::HOST).iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(Problem::bad_request(
                "host",
                "a request has one Host (RFC 9112, 3.2)",
            ));
        }
        let authority = match (request.uri.authority(), header) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().unwrap_or(""),
            // HTTP/1.0 has none, and no browser speaks it.
            (None, None) if request.version == Version::HTTP_10 => return Ok(()),
            (None, None) => {
                return Err(Problem::bad_request(
                    "host",
                    "a request needs a Host (RFC 9112, 3.2)",
                ));
            }
        };
        let host = host_of(authority).to_ascii_lowercase();
        if host.parse::<IpAddr>().is_ok()
            || self.is_named(&host)
            || self.allow_hosts.contains(&host)
        {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign-host",
            "this host is not a name of the certificate; use one that is, or start with --allow-host",
        ))
    }

    /// Tells where a request comes from.
    pub fn source(&self, headers: &HeaderMap) -> Source {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Source::Unsaid;
        };
        let text = origin.to_str().unwrap_or("").to_ascii_lowercase();
        let ours = self.is_ours(&text) || self.allow_origins.contains(&text);
        match ours && origins.next().is_none() {
            true => Source::Allowed(origin.clone()),
            false => Source::Foreign,
        }
    }

    /// Refuses what a page of a foreign origin may not do: anything that changes something, and what opens a connection
    /// of its own in the answer, such as a WebSocket.
    ///
    /// # Errors
    /// 403.
    pub fn check_source(
        &self,
        source: &Source,
        method: &Method,
        opens: bool,
    ) -> Result<(), Problem> {
        let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !opens;
        if safe || *source != Source::Foreign {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            "pages of this origin may not do that; start with --allow-origin to let them",
        ))
    }
}

/// Tells an allowed origin that it may read the answer (Fetch, 3.3) and its timing (Resource Timing, 4.5).
pub fn mark(source: &Source, headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Source::Allowed(origin) = source {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("etag, location, retry-after, triwire-event"),
        );
        headers.insert("timing-allow-origin", origin.clone());
    }
}

/// What a preflight of an allowed origin is told (Fetch, 3.3.4).
pub fn mark_preflight(source: &Source, headers: &mut HeaderMap) {
    if let Source::Allowed(_) = source {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(ALLOWED_METHODS),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(ALLOWED_HEADERS),
        );
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("600"),
        );
    }
}

/// The host of `host[:port]`, without the brackets of an IPv6 address and the dot of a fully qualified name.
fn host_of(authority: &str) -> &str {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(address, _)| address);
    }
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let names = ["localhost", "127.0.0.1", "::1", "Box", "*.corp.example"].map(String::from);
        Access::new(
            &names,
            &[8080, 443],
            &["https://app.example".into()],
            &["proxy.example".into()],
        )
    }

    #[test]
    fn hosts() {
        let access = access();
        let table = [
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("localhost.:1", true),
            ("10.1.2.3:99", true),
            ("[::1]:8080", true),
            ("box", true),
            ("a.corp.example", true),
            ("a.b.corp.example", false),
            ("corp.example", false),
            ("proxy.example", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
        ];
        for (host, good) in table {
            let request = hyper::Request::builder()
                .header("host", host)
                .body(())
                .expect("a good request");
            let checked = access.check_host(&request.into_parts().0);
            assert_eq!(checked.is_ok(), good, "{host}");
        }
    }

    #[test]
    fn sources() {
        let access = access();
        let table = [
            ("https://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("https://localhost", true),
            ("http://localhost", false),
            ("https://a.corp.example:8080", true),
            ("https://10.1.2.3:8080", false),
            ("ftp://localhost:8080", false),
            ("https://app.example", true),
            ("http://app.example", false),
            ("https://localhost:9999", false),
            ("null", false),
            ("https://evil.example", false),
        ];
        for (origin, good) in table {
            let mut headers = HeaderMap::new();
            headers.insert("origin", HeaderValue::from_static(origin));
            assert_eq!(
                matches!(access.source(&headers), Source::Allowed(_)),
                good,
                "{origin}"
            );
        }
        assert_eq!(access.source(&HeaderMap::new()), Source::Unsaid);
    }
}
