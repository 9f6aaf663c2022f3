//! What our certificates say: a CA that can only speak for this host, and the leaf that it signs. ECDSA P-256.
//!
//! Pure: keys and certificates in, certificates out. It reads and writes no files and decides nothing about when.

use std::net::IpAddr;
use std::time::Duration;
use std::time::SystemTime;

use rcgen::BasicConstraints;
use rcgen::Certificate;
use rcgen::CertificateParams;
use rcgen::CidrSubnet;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::Error;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::GeneralSubtree;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::NameConstraints;
use rcgen::SerialNumber;
use tokio_rustls::rustls;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::server::ParsedCertificate;

use super::x509::Facts;

const DAY: Duration = Duration::from_secs(24 * 3600);
const LEAF_LIFE: Duration = DAY.saturating_mul(397);
const CA_LIFE: Duration = DAY.saturating_mul(3650);
/// Renewal begins this long before the end.
const LAST_DAYS: Duration = DAY.saturating_mul(30);
/// Clients whose clocks are slow by less than this take a fresh certificate.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
/// The organisation in every certificate of ours, which tells them from the user's own.
const MARK: &str = "triwire development certificate";
/// How the name of a CA of ours begins; eight digits of its key's identifier follow.
const AUTHORITY: &str = "triwire CA ";
/// The last second that a certificate can name.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);

/// A CA certificate, its end and its key: all that is needed to sign.
pub(super) struct Authority {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) end: SystemTime,
    pub(super) key: KeyPair,
}

impl Authority {
    /// Signs a leaf that ends after 397 days, or with its CA.
    pub(super) fn leaf(
        &self,
        key: &KeyPair,
        names: &[String],
        now: SystemTime,
    ) -> Result<Certificate, Error> {
        let mut params = params(names, now - CLOCK_SKEW, leaf_end(now, self.end))?;
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.signed_by(
            key,
            &Issuer::from_ca_cert_der(&self.certificate, &self.key)?,
        )
    }
}

/// Makes a CA certificate for a key, constrained to these names.
///
/// Its own name comes from the key, so one made again for the same key still fits the leaves of the earlier one.
pub(super) fn authority(
    key: &KeyPair,
    names: &[String],
    now: SystemTime,
) -> Result<Certificate, Error> {
    let mut params = params(&[], now - CLOCK_SKEW, authority_end(now))?;
    let id = params.key_identifier(key)[..4]
        .iter()
        .fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{AUTHORITY}{id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Name constraints leave e-mail and programs open to a CA that somebody trusts system-wide; this closes them.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.iter().map(|name| subtree(name)).collect(),
        excluded_subtrees: Vec::new(),
    });
    params.self_signed(key)
}

/// The end of a CA certificate made now.
pub(super) fn authority_end(now: SystemTime) -> SystemTime {
    now - CLOCK_SKEW + CA_LIFE
}

/// Asks rustls whether a client that trusts this CA takes this leaf at that moment, under whatever name it asked for.
pub(super) fn verify(
    leaf: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
    moment: SystemTime,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    let leaf = ParsedCertificate::try_from(leaf)?;
    let algorithms = aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all;
    verify_server_cert_signed_by_trust_anchor(
        &leaf,
        &roots,
        &[],
        UnixTime::since_unix_epoch(age(moment)),
        algorithms,
    )
}

/// Whether a certificate carries our mark. Anybody can write it: it says what may be renewed, not what may be trusted.
pub(super) fn is_marked(facts: &Facts) -> bool {
    facts
        .subject
        .windows(MARK.len())
        .any(|part| part == MARK.as_bytes())
}

/// The name of a CA of ours; `None` of any other certificate.
pub(super) fn authority_name(facts: &Facts) -> Option<String> {
    let length = AUTHORITY.len() + 8;
    let mut names = facts.subject.windows(length);
    let name = names.find(|name| name.starts_with(AUTHORITY.as_bytes()))?;
    let is_plain = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' ');
    let name = String::from_utf8(name.to_vec()).ok()?;
    (is_marked(facts) && is_plain).then_some(name)
}

/// Whether a certificate is in its last 30 days, or beyond them.
pub(super) fn is_ending(facts: &Facts, now: SystemTime) -> bool {
    facts.not_after < now + LAST_DAYS
}

/// Whether a leaf made now would outlive this one by a day; less is not worth a change of files.
pub(super) fn would_last_longer(leaf: &Facts, now: SystemTime, ca_end: SystemTime) -> bool {
    leaf_end(now, ca_end) >= leaf.not_after + DAY
}

/// The day of a moment, as `2026-11-21`.
pub(super) fn day(moment: SystemTime) -> String {
    (rcgen::date_time_ymd(1970, 1, 1) + age(moment))
        .date()
        .to_string()
}

fn leaf_end(now: SystemTime, ca_end: SystemTime) -> SystemTime {
    ca_end.min(now - CLOCK_SKEW + LEAF_LIFE)
}

fn params(
    names: &[String],
    start: SystemTime,
    end: SystemTime,
) -> Result<CertificateParams, Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::new(names)?;
    params.not_before = epoch + age(start);
    params.not_after = epoch + age(end);
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, MARK);
    Ok(params)
}

/// 126 random bits. Left to itself rcgen takes a hash of the key, which a renewal would use again.
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; 16];
    let random = aws_lc_rs::default_provider().secure_random;
    random
        .fill(&mut bytes)
        .map_err(|_| Error::RingUnspecified)?;
    bytes[0] = bytes[0] & 0x7f | 0x40; // positive, and always of one length
    Ok(SerialNumber::from_slice(&bytes))
}

/// RFC 5280 knows no narrower constraint for a DNS name than the name and all that is below it.
fn subtree(name: &str) -> GeneralSubtree {
    match name.parse() {
        Ok(IpAddr::V4(address)) => {
            GeneralSubtree::IpAddress(CidrSubnet::V4(address.octets(), [255; 4]))
        }
        Ok(IpAddr::V6(address)) => {
            GeneralSubtree::IpAddress(CidrSubnet::V6(address.octets(), [255; 16]))
        }
        Err(_) => GeneralSubtree::DnsName(name.to_owned()),
    }
}

/// Time since 1970, within what a certificate can say. Whole seconds, as certificates have no smaller ones.
fn age(moment: SystemTime) -> Duration {
    let age = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .min(END_OF_TIME);
    Duration::from_secs(age.as_secs())
}
