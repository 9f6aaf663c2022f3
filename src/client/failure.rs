//! What can go wrong between a client and a server, in words that say what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// What went wrong, and whether it may go right another time.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind it is.
    pub fault: Fault,
    /// For a person: what happened, and what to do about it.
    pub words: String,
    /// When the server asks to come back.
    pub retry_after: Option<Duration>,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The host's name does not resolve.
    Name,
    /// Nobody listens there, or nobody can get there.
    Connect,
    /// Nothing came for too long.
    Silent,
    /// The connection broke or ended.
    Broken,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is for other names.
    WrongName,
    /// The server's certificate is signed by nobody who is trusted.
    Untrusted,
    /// The port does not speak what was asked for.
    Protocol,
    /// The server is full, draining or starting, and said so on a stream.
    Busy,
    /// The server said no (RFC 9110, 15.5 and 15.6).
    Refused(StatusCode),
    /// The answer is none of triwire's.
    Foreign,
    /// Something on this side.
    Local,
}

impl Failure {
    pub(crate) fn new(fault: Fault, words: impl Into<String>) -> Failure {
        Failure {
            fault,
            words: words.into(),
            retry_after: None,
        }
    }

    /// Something on this side.
    pub fn local(words: impl Into<String>) -> Failure {
        Failure::new(Fault::Local, words)
    }

    /// Whether trying again, with nothing changed, is of no use.
    pub fn is_lasting(&self) -> bool {
        match self.fault {
            Fault::Name | Fault::Connect | Fault::Silent | Fault::Broken | Fault::Busy => false,
            Fault::Refused(status) => {
                // 408, 425 and 429 ask for another try (RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4).
                let later = matches!(status.as_u16(), 408 | 425 | 429);
                !status.is_server_error() && !later
            }
            _ => true,
        }
    }

    pub(crate) fn silent(what: &str, longest: Duration) -> Failure {
        Failure::new(Fault::Silent, format!("{what}: nothing for {longest:?}"))
    }

    /// What an error of the connection below HTTP means.
    pub(crate) fn of_io(what: &str, error: &io::Error) -> Failure {
        match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(error) => Failure::of_tls(what, error),
            None if error.kind() == io::ErrorKind::ConnectionRefused => Failure::new(
                Fault::Connect,
                format!("nobody listens at {what}; is the server running, and is the port right?"),
            ),
            None => Failure::new(Fault::Connect, format!("{what} cannot be reached: {error}")),
        }
    }

    /// What an error of a TLS handshake means.
    pub(crate) fn of_tls(what: &str, error: &rustls::Error) -> Failure {
        use rustls::Error as Tls;
        let (fault, words) = match error {
            Tls::InvalidCertificate(error) => certificate(error),
            Tls::AlertReceived(AlertDescription::NoApplicationProtocol) => (
                Fault::Protocol,
                "it does not speak this version of HTTP; another port does, or another --wire"
                    .into(),
            ),
            Tls::InvalidMessage(_) => (
                Fault::Protocol,
                "what answers is not TLS; is it a port for http://?".into(),
            ),
            error => (
                Fault::Protocol,
                format!("the TLS handshake failed: {error}"),
            ),
        };
        Failure::new(fault, format!("{what}: {words}"))
    }

    /// What an error of a request means.
    pub(crate) fn of_hyper(what: &str, error: &hyper::Error) -> Failure {
        let mut words = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            if let Some(io) = error.downcast_ref::<io::Error>()
                && io.kind() == io::ErrorKind::UnexpectedEof
            {
                words = "it was cut".to_owned();
                break;
            }
            if let Some(tls) = error.downcast_ref::<io::Error>()
                && let Some(tls) = tls.get_ref().and_then(|e| e.downcast_ref())
            {
                return Failure::of_tls(what, tls);
            }
            words = format!("{words}: {error}");
            source = error.source();
        }
        if error.is_parse() {
            let words =
                format!("{what}: what answers is not the HTTP that was asked for ({words})");
            return Failure::new(Fault::Protocol, words);
        }
        Failure::new(
            Fault::Broken,
            format!("{what}: the connection broke: {words}"),
        )
    }
}

fn certificate(error: &CertificateError) -> (Fault, String) {
    use CertificateError as Why;
    let (fault, words) = match error {
        Why::Expired | Why::ExpiredContext { .. } => (
            Fault::Expired,
            "its certificate has expired; renew it (scripts/gen-certs), or set this machine's clock",
        ),
        Why::NotValidYet | Why::NotValidYetContext { .. } => (
            Fault::NotYetValid,
            "its certificate is not valid yet; set this machine's clock, or the server's",
        ),
        Why::NotValidForName | Why::NotValidForNameContext { .. } => (
            Fault::WrongName,
            "its certificate is for other names; use one of them in the URL",
        ),
        Why::UnknownIssuer => (
            Fault::Untrusted,
            "its certificate is signed by nobody who is trusted here; give the CA with --cacert FILE \
             (the server keeps it in certs/ca.pem)",
        ),
        other => {
            return (
                Fault::Untrusted,
                format!("its certificate is refused: {other}"),
            );
        }
    };
    (fault, words.to_owned())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl Error for Failure {}
