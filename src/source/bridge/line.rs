//! A connection to a source whose client is given one: cleartext or TLS, by the one provider that there is.

use std::sync::Arc;

use rustls_native_certs::load_native_certs;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::asked::Asked;
use super::{ANSWER, Fault};
use crate::greeting::{self, Language};
use crate::trust::Authorities;

/// Both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where a source is.
pub(super) struct Place {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Place {
    /// Takes it out of the URL; the ports are those without and with TLS.
    pub(super) fn of(asked: &mut Asked, ports: (u16, u16)) -> Place {
        let is_secure = asked.is_secure();
        let (host, port) = asked.host_and_port(if is_secure { ports.1 } else { ports.0 });
        let tls = match is_secure {
            true => {
                let authorities = asked.cacert();
                let tls = trusting(authorities, &host);
                asked.sound(tls)
            }
            false => None,
        };
        Place { host, port, tls }
    }

    pub(super) async fn connect(&self) -> Result<Box<dyn Duplex>, Fault> {
        let stream = TcpStream::connect((&*self.host, self.port)).await;
        let stream = stream.map_err(Fault::new)?;
        stream.set_nodelay(true).map_err(Fault::new)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), stream).await;
                Box::new(stream.map_err(|error| Fault::new(format!("TLS: {error}")))?)
            }
        })
    }

    /// What is answered, or why it is not as it should be: it may be something else. Whether it is what it should be, a
    /// fault says itself.
    pub(super) async fn judged<T>(
        &self,
        wanted: Language,
        answer: impl Future<Output = Result<T, (Fault, bool)>>,
    ) -> Result<T, Fault> {
        match timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err((fault, true))) => Err(fault),
            Ok(Err((fault, false))) => Err(self.other(wanted, fault).await),
            Err(_) => {
                let fault = Fault::new(format!("no answer within {ANSWER:?}"));
                Err(self.other(wanted, fault).await)
            }
        }
    }

    async fn other(&self, wanted: Language, fault: Fault) -> Fault {
        let is_secure = self.tls.is_some();
        let wrong = greeting::wrong(&self.host, self.port, wanted, is_secure).await;
        wrong.map_or(fault, Fault::new)
    }
}

/// Trusts those who are in the file, else those whom the machine trusts.
fn trusting(
    authorities: Option<Authorities>,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), String> {
    let roots = match authorities {
        Some(authorities) => authorities.roots,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(load_native_certs().certs);
            roots
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| "its host can be in no certificate".to_owned())?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}
