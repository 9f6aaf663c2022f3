//! The CAs in a file that a URL names: read before anything is connected, so that a file without one is no mystery of TLS later.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::RootCertStore;

/// Those to trust, and nobody else.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// As they stand in the file, for who reads them by itself.
    pub pem: Vec<u8>,
    /// The same, read.
    pub roots: RootCertStore,
}

impl Authorities {
    /// Reads a file.
    ///
    /// # Errors
    /// Why there is no CA in it, without the name of the file, or which of them is none.
    pub fn read(file: &Path) -> Result<Authorities, String> {
        let pem = fs::read(file).map_err(|error| error.to_string())?;
        let mut roots = RootCertStore::empty();
        for cert in rustls_pemfile::certs(&mut &*pem) {
            let cert = cert.map_err(|error| format!("it is no PEM: {error}"))?;
            let added = roots.add(cert);
            added.map_err(|error| format!("a certificate in it is none: {error}"))?;
        }
        match roots.is_empty() {
            true => Err("there is no certificate in it, as PEM has them".to_owned()),
            false => Ok(Authorities { pem, roots }),
        }
    }

    /// The file that a URL names by `cacert=`.
    ///
    /// # Errors
    /// As [`read`](Authorities::read), with the name of the file.
    pub fn named(file: &str) -> Result<Authorities, String> {
        Authorities::read(Path::new(file)).map_err(|error| format!("cacert={file}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_ca_says_what_is_wrong_with_it() {
        let dir = std::env::temp_dir().join(format!("triwire-trust-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory can be made");
        let file = dir.join("ca.pem");
        let name = file.to_str().expect("plain");
        for (text, words) in [
            ("", "there is no certificate in it"),
            ("not PEM at all", "there is no certificate in it"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "there is no certificate in it",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "it is no PEM",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "a certificate in it is none",
            ),
        ] {
            fs::write(&file, text).expect("a file can be written");
            let error = Authorities::named(name).expect_err(text);
            let begin = format!("cacert={name}: {words}");
            assert!(error.starts_with(&begin), "{text:?}: {error}");
        }
        let _ = fs::remove_dir_all(&dir);
        let error = Authorities::named(name).expect_err("it has gone");
        assert!(error.contains("No such file"), "{error}");
    }
}
