//! Certificates for the front of a proxy: good ones, and those that are wrong in one way.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use super::NAME;

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Expired,
    NotYetValid,
    /// Of a CA that is not the one beside it.
    Untrusted,
    /// For another host.
    WrongName,
}

/// Writes `ca.pem`, `push.pem`, `push.key`, and both of the latter in one file for HAProxy.
pub fn write(dir: &Path, flaw: Flaw) {
    let (trusted, signer) = (authority("trusted"), authority("another"));
    let signer = if flaw == Flaw::Untrusted {
        &signer
    } else {
        &trusted
    };
    let names = match flaw {
        Flaw::WrongName => vec!["other.example".into()],
        // The doctor asks for a name that resolves.
        _ => vec![NAME.into(), "localhost".into()],
    };
    let mut leaf = CertificateParams::new(names).expect("good names");
    let (from, until) = match flaw {
        Flaw::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
        Flaw::NotYetValid => (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1)),
        _ => (date_time_ymd(2020, 1, 1), date_time_ymd(2091, 1, 1)),
    };
    (leaf.not_before, leaf.not_after) = (from, until);
    let key = KeyPair::generate().expect("a key");
    let leaf = leaf
        .signed_by(&key, signer)
        .expect("it can be signed")
        .pem();
    let put = |file: &str, text: &str| fs::write(dir.join(file), text).expect("it can be written");
    put("ca.pem", &trusted.pem());
    put("push.pem", &leaf);
    put("push.key", &key.serialize_pem());
    put("haproxy.pem", &(leaf + &key.serialize_pem()));
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = params.not_before + Duration::from_secs(100 * 365 * 24 * 3600);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("it can sign itself")
}
