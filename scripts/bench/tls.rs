//! TLS of the servers that have no certificates of their own, with the same library and provider as triwire.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::Result;
use triwire::client::{Http, Transport};

/// Makes a certificate for 127.0.0.1, and leaves it in `certs` for the client, and for a server that reads files.
pub fn certificate(certs: &Path) -> Result<CertifiedKey<KeyPair>> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(certs.join("ca.pem"), made.cert.pem())?;
    fs::write(certs.join("server.pem"), made.cert.pem())?;
    fs::write(certs.join("server.key"), made.signing_key.serialize_pem())?;
    Ok(made)
}

/// A server with a new certificate.
pub fn server(certs: &Path, transport: &Transport) -> Result<Arc<ServerConfig>> {
    let made = certificate(certs)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    let http = transport.http.unwrap_or(Http::One);
    config.alpn_protocols = vec![http.alpn().to_vec()];
    Ok(Arc::new(config))
}
