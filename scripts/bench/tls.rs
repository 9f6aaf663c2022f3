//! TLS on both sides, with the same library and provider as triwire.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::Result;
use crate::transport::Transport;

/// A client that trusts the `ca.pem` in `certs` and never resumes a session: each handshake costs all of it.
pub fn client(certs: &Path, transport: Transport) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut fs::read(certs.join("ca.pem"))?.as_slice()) {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn(transport);
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Makes a certificate for 127.0.0.1, and leaves it in `certs` for the client, and for a server that reads files.
pub fn certificate(certs: &Path) -> Result<CertifiedKey<KeyPair>> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(certs.join("ca.pem"), made.cert.pem())?;
    fs::write(certs.join("server.pem"), made.cert.pem())?;
    fs::write(certs.join("server.key"), made.signing_key.serialize_pem())?;
    Ok(made)
}

/// A server with a new certificate.
pub fn server(certs: &Path, transport: Transport) -> Result<Arc<ServerConfig>> {
    let made = certificate(certs)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    config.alpn_protocols = alpn(transport);
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn alpn(transport: Transport) -> Vec<Vec<u8>> {
    let protocol: &[u8] = if transport.is_http2() {
        b"h2"
    } else {
        b"http/1.1"
    };
    vec![protocol.to_vec()]
}
