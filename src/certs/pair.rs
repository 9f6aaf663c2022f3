//! `server.pem` and `server.key` as they stand in the directory, ours or the user's, and what is wrong with them.

use std::path::Path;
use std::time::SystemTime;

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;

use super::files;
use super::files::SERVER_CERT;
use super::files::SERVER_KEY;
use super::sign;
use super::x509;
use super::x509::Facts;

/// A certificate chain, what its first certificate says, and the key.
pub(super) struct Pair {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) facts: Facts,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Pair {
    /// Reads both files; one line for each that cannot be read.
    pub(super) fn read(dir: &Path) -> Result<Self, Vec<String>> {
        let certificate = certificate(&dir.join(SERVER_CERT));
        let key = files::private_key(&dir.join(SERVER_KEY));
        match (certificate, key) {
            (Ok((chain, facts)), Ok(key)) => Ok(Pair { chain, facts, key }),
            (certificate, key) => Err([certificate.err(), key.err()]
                .into_iter()
                .flatten()
                .collect()),
        }
    }

    /// Why a server cannot present this, one line each.
    pub(super) fn mistakes(&self, dir: &Path, now: SystemTime) -> Vec<String> {
        let mut mistakes = Vec::new();
        if let Err(error) = self.keys_match() {
            let (key, chain) = (dir.join(SERVER_KEY), dir.join(SERVER_CERT));
            mistakes.push(match error {
                rustls::Error::InconsistentKeys(_) => format!(
                    "{}: is not the key of the first certificate in {}: put the two that belong together there",
                    key.display(),
                    chain.display()
                ),
                error => format!("{}: cannot be used: {error}", key.display()),
            });
        }
        if self.facts.not_after < now {
            mistakes.push(format!(
                "{}: expired on {}: put a new certificate there, or move it and its key away and new ones are made",
                dir.join(SERVER_CERT).display(),
                sign::day(self.facts.not_after)
            ));
        }
        mistakes
    }

    /// What the operator should know although it works, one line each.
    pub(super) fn warnings(&self, dir: &Path, now: SystemTime) -> Vec<String> {
        let mut warnings: Vec<String> = files::exposed_keys(dir).collect();
        let path = dir.join(SERVER_CERT);
        if self.facts.not_before > now {
            let start = sign::day(self.facts.not_before);
            warnings.push(format!(
                "{}: is not valid before {start}: is the clock right?",
                path.display()
            ));
        }
        if sign::is_ending(&self.facts, now) {
            warnings.push(format!(
                "{}: ends on {}",
                path.display(),
                sign::day(self.facts.not_after)
            ));
        }
        warnings
    }

    /// Whether the key is the certificate's.
    pub(super) fn keys_match(&self) -> Result<(), rustls::Error> {
        keys_match(&self.chain, &self.key)
    }
}

/// A file's certificates and what the first one says.
pub(super) fn certificate(path: &Path) -> Result<(Vec<CertificateDer<'static>>, Facts), String> {
    let chain = files::certificates(path)?;
    ParsedCertificate::try_from(&chain[0]).map_err(|error| {
        format!(
            "{}: its first certificate cannot be used: {error}",
            path.display()
        )
    })?;
    let facts = x509::facts(&chain[0]).ok_or_else(|| {
        format!(
            "{}: its first certificate is not shaped as RFC 5280 says",
            path.display()
        )
    })?;
    Ok((chain, facts))
}

/// Whether a key is that of a chain's first certificate.
pub(super) fn keys_match(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), rustls::Error> {
    CertifiedKey::from_der(
        chain.to_vec(),
        key.clone_key(),
        &aws_lc_rs::default_provider(),
    )
    .map(drop)
}
