//! The promises about certificates: what is made, what is left alone, what is said when something is wrong.
//!
//! Real files in a directory of each test's own; time is a parameter, so nobody waits for a renewal. What openssl thinks
//! is asked where it is installed, and where it is not the test says so.

use std::fs;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::version::TLS13;
use triwire::certs;
use triwire::certs::Force;
use triwire::certs::Identity;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The order in which a set is made.
const FILES: [&str; 4] = ["ca.key", "ca.pem", "server.key", "server.pem"];

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "triwire-certs-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("a directory of our own");
        Dir(dir)
    }

    /// A directory with a set made at `now`.
    fn made(now: SystemTime) -> Self {
        let dir = Dir::new();
        certs::ensure(&dir, now, Force::Keep).expect("a first start");
        dir
    }

    /// A directory with copies of some of the files of another.
    fn with(files: &[&str], of: &Path) -> Self {
        let dir = Dir::new();
        files.iter().for_each(|name| dir.put(name, read(of, name)));
        dir
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.join(name), text).expect("a file of our own");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.join(name), mode).expect("a file of our own");
    }

    /// Makes the lock impossible to take, for root too.
    fn close(&self) {
        let _ = fs::remove_file(self.join(".lock"));
        fs::create_dir(self.join(".lock")).expect("a directory of our own");
    }
}

impl Deref for Dir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// 2027-01-15 08:00:00 UTC.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).expect(name)
}

fn all(dir: &Path) -> [String; 4] {
    FILES.map(|name| read(dir, name))
}

fn keep(dir: &Path, now: SystemTime) -> Result<(Identity, Vec<String>), Vec<String>> {
    certs::ensure(dir, now, Force::Keep)
}

/// The one line of a start that must fail with one.
fn mistake(dir: &Path, now: SystemTime) -> String {
    let lines = keep(dir, now).expect_err("a start that must fail");
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.concat()
}

fn certificate(dir: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(dir.join(name)).expect(name)
}

/// Whether a client that trusts `ca` takes `leaf`.
fn is_taken(leaf: &CertificateDer<'_>, ca: CertificateDer<'_>, now: SystemTime) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(ca.into_owned()).expect("a CA certificate");
    let leaf = ParsedCertificate::try_from(leaf).expect("a certificate");
    let now = UnixTime::since_unix_epoch(
        now.duration_since(SystemTime::UNIX_EPOCH)
            .expect("a time after 1970"),
    );
    let algorithms = aws_lc_rs::default_provider()
        .signature_verification_algorithms
        .all;
    verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], now, algorithms).is_ok()
}

fn is_consistent(dir: &Path, now: SystemTime) -> bool {
    is_taken(
        &certificate(dir, "server.pem"),
        certificate(dir, "ca.pem"),
        now,
    )
}

/// A certificate of the user's own that ends after so many days, and its key.
fn own(names: &[&str], days: u32, ca: Option<(&CertificateDer<'_>, &KeyPair)>) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(1_799_900_000);
    params.not_after = epoch + Duration::from_secs(1_800_000_000) + DAY * days;
    let key = KeyPair::generate().expect("a key");
    let certificate = match ca {
        None => params.self_signed(&key),
        Some((ca, ca_key)) => {
            params.signed_by(&key, &Issuer::from_ca_cert_der(ca, ca_key).expect("a CA"))
        }
    };
    (
        certificate.expect("a certificate").pem(),
        key.serialize_pem(),
    )
}

/// What openssl says, or nothing if it is not here.
fn openssl(args: &[&str]) -> Option<String> {
    match Command::new("openssl").args(args).output() {
        Ok(output) => Some(format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("NOT RUN: openssl is not installed");
            None
        }
        Err(error) => panic!("openssl: {error}"),
    }
}

fn text(path: PathBuf) -> Option<String> {
    openssl(&[
        "x509",
        "-in",
        path.to_str()?,
        "-noout",
        "-text",
        "-nameopt",
        "RFC2253",
    ])
}

#[test]
fn a_first_start_makes_a_whole_set() {
    let parent = Dir::new();
    let dir = parent.join("not/there/yet");
    let (identity, made) = keep(&dir, start()).expect("a first start");
    assert_eq!(identity.names[..3], ["localhost", "127.0.0.1", "::1"]);
    assert_eq!(identity.chain, [certificate(&dir, "server.pem")]);
    assert_eq!(identity.warnings, [] as [&str; 0]);
    assert_eq!(made.len(), 4);
    for (line, name) in made.iter().zip(FILES) {
        assert!(
            line.starts_with(&format!("made {}", dir.join(name).display())),
            "{line}"
        );
    }
    for name in ["ca.key", "server.key"] {
        let mode = fs::metadata(dir.join(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(is_consistent(&dir, start()));
    let mut files: Vec<_> = fs::read_dir(&dir)
        .expect("the directory")
        .flatten()
        .map(|file| file.file_name())
        .collect();
    files.sort();
    assert_eq!(
        files,
        [".lock", "ca.key", "ca.pem", "server.key", "server.pem"]
    );
}

#[test]
fn a_second_start_writes_nothing() {
    let dir = Dir::made(start());
    let (before, stamp) = (all(&dir), certs::stamp(&dir));
    dir.close();
    for now in [start(), start() + DAY * 366] {
        let (identity, made) = keep(&dir, now).expect("a second start");
        assert_eq!((identity.warnings.len(), made.len()), (0, 0));
    }
    assert_eq!((all(&dir), certs::stamp(&dir)), (before, stamp));
}

#[test]
fn openssl_takes_the_chain_by_every_name() {
    let dir = Dir::made(start());
    let (identity, _) = keep(&dir, start()).expect("a set");
    let (ca, leaf) = (
        dir.join("ca.pem").display().to_string(),
        dir.join("server.pem").display().to_string(),
    );
    for name in &identity.names {
        let by = if name.parse::<std::net::IpAddr>().is_ok() {
            "-verify_ip"
        } else {
            "-verify_hostname"
        };
        let strict = [
            "verify",
            "-x509_strict",
            "-attime",
            "1800000000",
            "-purpose",
            "sslserver",
        ];
        let Some(said) = openssl(&[&strict[..], &["-CAfile", &ca, by, name, &leaf]].concat())
        else {
            return;
        };
        assert!(said.ends_with("server.pem: OK\n"), "{name}: {said}");
    }
    let said = openssl(&[
        "verify",
        "-attime",
        "1800000000",
        "-verify_hostname",
        "example.com",
        "-CAfile",
        &ca,
        &leaf,
    ]);
    assert!(said.expect("openssl").contains("hostname mismatch"));
}

#[test]
fn openssl_reads_in_the_certificates_what_was_promised() {
    let dir = Dir::made(start());
    let (Some(ca), Some(leaf)) = (text(dir.join("ca.pem")), text(dir.join("server.pem"))) else {
        return;
    };
    let both = [
        "ASN1 OID: prime256v1",
        "ecdsa-with-SHA256",
        "Not Before: Jan 15 07:00:00 2027 GMT",
        "X509v3 Subject Key Identifier: \n",
    ];
    for promise in both {
        assert!(
            ca.contains(promise) && leaf.contains(promise),
            "{promise}: {ca}{leaf}"
        );
    }
    for promise in [
        "Not After : Jan 12 07:00:00 2037 GMT",
        "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign",
        "X509v3 Name Constraints: critical\n                Permitted:\n                  DNS:localhost\n",
        "IP:127.0.0.1/255.255.255.255\n",
        "IP:0:0:0:0:0:0:0:1/FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF\n",
    ] {
        assert!(ca.contains(promise), "{promise}: {ca}");
    }
    for promise in [
        "Not After : Feb 16 07:00:00 2028 GMT",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n",
        "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        "X509v3 Authority Key Identifier: \n",
    ] {
        assert!(leaf.contains(promise), "{promise}: {leaf}");
    }
    let after = |text: &str, title: &str| {
        text.split_once(title)
            .and_then(|(_, rest)| rest.lines().nth(1).map(String::from))
    };
    let (subject, authority) = ("Subject Key Identifier:", "Authority Key Identifier:");
    assert_eq!(after(&ca, subject), after(&leaf, authority));
    keep(&dir, start() + DAY * 390).expect("a renewal");
    let renewed = text(dir.join("server.pem")).expect("openssl");
    assert_ne!(
        after(&leaf, "Serial Number:"),
        after(&renewed, "Serial Number:")
    );
}

#[test]
fn the_ca_can_speak_for_no_other_name() {
    let dir = Dir::made(start());
    let (ca, key) = (
        certificate(&dir, "ca.pem"),
        KeyPair::from_pem(&read(&dir, "ca.key")).expect("a key"),
    );
    for (names, taken) in [
        (vec!["localhost"], true),
        (vec!["127.0.0.1", "::1"], true),
        (vec!["localhost", "example.com"], false),
        (vec!["127.0.0.2"], false),
        (vec!["2001:db8::1"], false),
    ] {
        let (leaf, _) = own(&names, 10, Some((&ca, &key)));
        let leaf_der = CertificateDer::from_pem_slice(leaf.as_bytes()).expect("a certificate");
        assert_eq!(is_taken(&leaf_der, ca.clone(), start()), taken, "{names:?}");
        dir.put("other.pem", leaf);
        let (ca, leaf) = (dir.join("ca.pem"), dir.join("other.pem"));
        let (ca, leaf) = (ca.to_str().expect("UTF-8"), leaf.to_str().expect("UTF-8"));
        if let Some(said) = openssl(&["verify", "-attime", "1800000000", "-CAfile", ca, leaf]) {
            assert_eq!(
                said.contains("permitted subtree violation"),
                !taken,
                "{names:?}: {said}"
            );
        }
    }
}

#[test]
fn a_leaf_is_renewed_in_its_last_30_days_with_the_same_key() {
    for days in [368, 396, 398, 1000] {
        let dir = Dir::made(start());
        let (before, stamp) = (all(&dir), certs::stamp(&dir));
        let now = start() + DAY * days;
        let (identity, made) = keep(&dir, now).expect("a renewal");
        assert!(
            made.len() == 1 && made[0].starts_with("renewed "),
            "{made:?}"
        );
        assert_eq!(
            identity.expires,
            now + DAY * 397 - Duration::from_secs(3600)
        );
        assert_eq!(identity.warnings, [] as [&str; 0]);
        assert_eq!(all(&dir)[..3], before[..3]);
        assert_ne!(all(&dir)[3], before[3]);
        assert_ne!(certs::stamp(&dir), stamp);
        assert!(is_consistent(&dir, now));
        assert!(keep(&dir, now).expect("a start").1.is_empty());
    }
}

#[test]
fn a_leaf_never_outlives_its_ca_and_both_are_renewed_together() {
    let dir = Dir::made(start());
    let old_ca = certificate(&dir, "ca.pem");
    let (identity, _) = keep(&dir, start() + DAY * 3400).expect("a renewal");
    assert_eq!(
        identity.expires,
        start() + DAY * 3650 - Duration::from_secs(3600)
    );
    let old_leaf = certificate(&dir, "server.pem");
    let before = all(&dir);
    let now = start() + DAY * 3640;
    let (identity, made) = keep(&dir, now).expect("a renewal");
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(
        identity.expires,
        now + DAY * 397 - Duration::from_secs(3600)
    );
    let after = all(&dir);
    assert_eq!([&after[0], &after[2]], [&before[0], &before[2]]);
    let (ca, leaf) = (certificate(&dir, "ca.pem"), certificate(&dir, "server.pem"));
    assert!(is_taken(&leaf, ca.clone(), now));
    assert!(
        is_taken(&old_leaf, ca, now),
        "the new CA still stands for the old leaf"
    );
    assert!(
        is_taken(&leaf, old_ca, now),
        "who has the old CA still takes the new leaf"
    );
}

#[test]
fn a_pair_of_the_users_own_is_used_as_it_is() {
    let ours = Dir::made(start());
    for beside in [&[][..], &["ca.pem"][..], &["ca.pem", "ca.key"][..]] {
        let dir = Dir::with(beside, &ours);
        let (certificate, key) = own(
            &["Push.Example.com", "*.example.com", "192.0.2.1"],
            20,
            None,
        );
        dir.put("server.pem", &certificate);
        dir.put("server.key", &key);
        let (identity, made) = keep(&dir, start()).expect("a start");
        assert_eq!(
            identity.names,
            ["push.example.com", "*.example.com", "192.0.2.1"]
        );
        assert_eq!(identity.expires, start() + DAY * 20);
        assert!(
            identity
                .warnings
                .concat()
                .ends_with("server.pem: ends on 2027-02-04"),
            "{:?}",
            identity.warnings
        );
        assert!(made.is_empty());
        let line = mistake(&dir, start() + DAY * 21);
        assert!(
            line.contains("server.pem: expired on 2027-02-04: put a new"),
            "{line}"
        );
        assert_eq!(
            [read(&dir, "server.pem"), read(&dir, "server.key")],
            [certificate, key]
        );
        assert_eq!(beside.contains(&"ca.pem"), dir.join("ca.pem").exists());
    }
}

#[test]
fn a_ca_of_the_users_own_signs_and_is_never_renewed() {
    let dir = Dir::new();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after =
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(1_800_000_000) + DAY * 100;
    dir.put("ca.key", key.serialize_pem());
    dir.put("ca.pem", params.self_signed(&key).expect("a CA").pem());
    let before = [read(&dir, "ca.pem"), read(&dir, "ca.key")];
    let (identity, made) = keep(&dir, start()).expect("a first start");
    assert_eq!((identity.expires, made.len()), (start() + DAY * 100, 2));
    let (identity, made) = keep(&dir, start() + DAY * 90).expect("a start");
    assert!(
        made.is_empty() && identity.warnings.concat().contains("ends on"),
        "{made:?}"
    );
    assert!(mistake(&dir, start() + DAY * 101).contains("server.pem: expired on"));
    fs::remove_file(dir.join("server.pem")).expect("a file of our own");
    assert!(mistake(&dir, start() + DAY * 101).contains("ca.pem: expired on"));
    assert_eq!([read(&dir, "ca.pem"), read(&dir, "ca.key")], before);
}

#[test]
fn a_leaf_of_the_users_own_is_not_renewed_though_its_ca_is_there() {
    let dir = Dir::made(start());
    let ca_key = KeyPair::from_pem(&read(&dir, "ca.key")).expect("a key");
    let (leaf, key) = own(
        &["localhost"],
        20,
        Some((&certificate(&dir, "ca.pem"), &ca_key)),
    );
    dir.put("server.pem", &leaf);
    dir.put("server.key", &key);
    let (identity, made) = keep(&dir, start()).expect("a start");
    assert_eq!((identity.expires, made.len()), (start() + DAY * 20, 0));
    assert!(
        mistake(&dir, start() + DAY * 21).contains("server.pem: expired on 2027-02-04: put a new")
    );
    assert_eq!(
        [read(&dir, "server.pem"), read(&dir, "server.key")],
        [leaf, key]
    );
}

#[test]
fn a_pair_that_another_hosts_ca_made_is_left_alone() {
    let (dir, other) = (Dir::made(start()), Dir::made(start()));
    dir.put("server.pem", read(&other, "server.pem"));
    dir.put("server.key", read(&other, "server.key"));
    let before = all(&dir);
    for days in [0, 390] {
        assert!(
            keep(&dir, start() + DAY * days)
                .expect("a start")
                .1
                .is_empty()
        );
    }
    assert!(
        mistake(&dir, start() + DAY * 400).contains("server.pem: expired on 2028-02-16: put a new")
    );
    assert_eq!(all(&dir), before);
}

#[test]
fn without_the_ca_key_a_start_warns_when_it_matters_and_fails_at_the_end() {
    let ours = Dir::made(start());
    let other = Dir::made(start());
    for stranger in [false, true] {
        let dir = Dir::with(&["ca.pem", "server.key", "server.pem"], &ours);
        if stranger {
            dir.put("ca.key", read(&other, "ca.key"));
        }
        let before = [read(&dir, "ca.pem"), read(&dir, "server.pem")];
        let warnings = |days| {
            keep(&dir, start() + DAY * days)
                .expect("a start")
                .0
                .warnings
        };
        assert_eq!(warnings(300), [] as [&str; 0]);
        let late = warnings(390).join("\n");
        assert!(
            late.contains("cannot be renewed before its end on 2028-02-16")
                && late.contains("ca.key: is "),
            "{late}"
        );
        let line = mistake(&dir, start() + DAY * 400);
        assert!(
            line.contains("server.pem: expired on 2028-02-16 and cannot be renewed: ")
                && line.contains("ca.key: is "),
            "{line}"
        );
        assert_eq!([read(&dir, "ca.pem"), read(&dir, "server.pem")], before);
    }
}

#[test]
fn half_a_set_is_told_in_one_line() {
    let ours = Dir::made(start());
    for (files, says) in [
        (&["ca.pem"][..], "ca.pem: is there without ca.key: "),
        (&["server.pem"], "server.pem: is there without server.key: "),
        (
            &["server.pem", "ca.pem", "ca.key"],
            "server.pem: is there without server.key: ",
        ),
        (&["server.key"], "server.key: is there without server.pem: "),
        (
            &["server.key", "ca.pem"],
            "server.key: is there without server.pem: ",
        ),
    ] {
        let dir = Dir::with(files, &ours);
        let line = mistake(&dir, start());
        assert!(line.contains(says), "{files:?}: {line}");
        files
            .iter()
            .for_each(|name| assert_eq!(read(&dir, name), read(&ours, name)));
    }
}

#[test]
fn what_cannot_be_used_is_named_all_at_once() {
    let ours = Dir::made(start());
    let other = Dir::made(start());
    let broken = read(&ours, "server.pem").replacen('A', "!", 3);
    let hollow = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned();
    let secret = read(&ours, "server.key").replace("PRIVATE", "ENCRYPTED PRIVATE");
    for (name, text, says) in [
        (
            "server.pem",
            String::new(),
            "server.pem: has no \"BEGIN CERTIFICATE\"",
        ),
        (
            "server.pem",
            read(&ours, "server.key"),
            "server.pem: has no \"BEGIN CERTIFICATE\"",
        ),
        ("server.pem", broken.clone(), "server.pem: is damaged: "),
        (
            "server.pem",
            hollow,
            "server.pem: its first certificate cannot be used: ",
        ),
        (
            "server.key",
            secret,
            "server.key: has no \"BEGIN PRIVATE KEY\" in it: it must be PEM, without a passphrase",
        ),
        (
            "server.key",
            read(&other, "server.key"),
            "server.key: is not the key of the first certificate in ",
        ),
        ("ca.pem", broken.clone(), "ca.pem: is damaged: "),
    ] {
        let dir = Dir::with(&FILES, &ours);
        dir.put(name, &text);
        let line = mistake(&dir, start());
        assert!(line.contains(says), "{line}");
        let lines = keep(&dir, start() + DAY * 390).expect_err("in its last days too");
        assert!(lines.concat().contains(says), "{lines:?}");
        assert_eq!(read(&dir, name), text);
    }
    let dir = Dir::new();
    FILES.iter().for_each(|name| dir.put(name, &broken));
    let lines = keep(&dir, start()).expect_err("nothing but garbage");
    assert_eq!(lines.len(), 3, "ca.key is not needed: {lines:?}");
    std::os::unix::fs::symlink(dir.join("nowhere"), dir.join("link")).expect("a link");
    fs::rename(dir.join("link"), dir.join("server.key")).expect("a file of our own");
    assert!(
        certs::load(&dir, start())
            .expect_err("a link to nowhere")
            .concat()
            .contains("server.key: is missing")
    );
    assert!(
        keep(&dir, start()).is_err() && !dir.join("server.key").exists(),
        "a link is the user's too"
    );
}

#[test]
fn a_start_that_was_cut_off_is_finished_by_the_next() {
    let ours = Dir::made(start());
    for count in 0..FILES.len() {
        for draft in [false, true] {
            let dir = Dir::with(&FILES[..count], &ours);
            if draft {
                dir.put(&format!("{}.new", FILES[count]), "-----BEGIN CERT");
            }
            let (_, made) = keep(&dir, start()).expect("a start");
            assert_eq!(made.len(), FILES.len() - count);
            assert_eq!(all(&dir)[..count], all(&ours)[..count]);
            assert!(is_consistent(&dir, start()));
            assert!(!dir.join(format!("{}.new", FILES[count])).exists());
        }
    }
}

#[test]
fn a_lost_ca_certificate_is_made_again_for_its_key() {
    let ours = Dir::made(start());
    let dir = Dir::with(&["ca.key", "server.key", "server.pem"], &ours);
    let (_, made) = keep(&dir, start() + DAY).expect("a start");
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(
        [read(&dir, "ca.key"), read(&dir, "server.key")],
        [read(&ours, "ca.key"), read(&ours, "server.key")]
    );
    assert!(is_taken(
        &certificate(&ours, "server.pem"),
        certificate(&dir, "ca.pem"),
        start()
    ));
    assert!(is_taken(
        &certificate(&dir, "server.pem"),
        certificate(&ours, "ca.pem"),
        start() + DAY
    ));
}

#[test]
fn a_leaf_that_its_ca_no_longer_stands_for_is_signed_again() {
    let dir = Dir::made(start());
    let (ca, key) = (
        certificate(&dir, "ca.pem"),
        KeyPair::from_pem(&read(&dir, "ca.key")).expect("a key"),
    );
    let issuer = Issuer::from_ca_cert_der(&ca, key).expect("a CA");
    let leaf_key = KeyPair::from_pem(&read(&dir, "server.key")).expect("a key");
    let mut params = CertificateParams::new(["before.example".to_owned()]).expect("a name");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "triwire development certificate");
    dir.put(
        "server.pem",
        params.signed_by(&leaf_key, &issuer).expect("a leaf").pem(),
    );
    let before = all(&dir);
    assert!(!is_consistent(&dir, start()));
    let (_, made) = keep(&dir, start()).expect("a start");
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(all(&dir)[..3], before[..3]);
    assert!(is_consistent(&dir, start()));
}

#[test]
fn instances_that_start_together_end_with_one_set() {
    let dir = Dir::new();
    let (together, done) = (Barrier::new(9), AtomicBool::new(false));
    thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    keep(&dir, start()).expect("a start")
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            together.wait();
            while !done.load(Relaxed) {
                for name in FILES {
                    let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
                    assert!(
                        text.is_empty() || text.trim_end().ends_with("-----"),
                        "half of {name}: {text}"
                    );
                }
            }
        });
        let results: Vec<_> = starts.into_iter().map(|start| start.join()).collect();
        done.store(true, Relaxed); // before anything can fail, or the watch would go on for ever
        watch.join().expect("whole files");
        let results: Vec<_> = results
            .into_iter()
            .map(|result| result.expect("a start"))
            .collect();
        assert_eq!(results.iter().map(|(_, made)| made.len()).sum::<usize>(), 4);
        for (identity, _) in &results {
            assert_eq!(identity.chain, results[0].0.chain);
            assert_eq!(identity.key, results[0].0.key);
        }
    });
    assert!(is_consistent(&dir, start()));
}

#[test]
fn a_directory_that_cannot_be_written_fails_only_when_it_must() {
    let file = Dir::new();
    file.put("file", "");
    assert!(mistake(&file.join("file"), start()).contains("cannot be written to: "));
    let empty = Dir::new();
    empty.close();
    assert!(mistake(&empty, start()).contains("cannot be written to: "));
    let dir = Dir::made(start());
    dir.close();
    assert!(
        keep(&dir, start())
            .expect("a complete set")
            .0
            .warnings
            .is_empty()
    );
    let warnings = keep(&dir, start() + DAY * 390)
        .expect("a set that still holds")
        .0
        .warnings
        .join("\n");
    assert!(
        warnings.contains("cannot be renewed before its end on 2028-02-16: "),
        "{warnings}"
    );
    assert!(
        mistake(&dir, start() + DAY * 400)
            .contains("expired on 2028-02-16 and cannot be renewed: ")
    );
    assert!(certs::ensure(&dir, start(), Force::Replace).is_err());
}

#[test]
fn a_key_that_others_may_read_is_warned_of() {
    let dir = Dir::made(start());
    for (name, mode) in [("server.key", 0o640), ("ca.key", 0o604)] {
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode))
            .expect("a file of our own");
        let warnings = certs::load(&dir, start()).expect("a set").warnings;
        assert!(
            warnings
                .join("\n")
                .contains(&format!("{name}: is open to others (mode {mode:o})")),
            "{warnings:?}"
        );
    }
}

#[test]
fn a_certificate_from_the_future_is_warned_of_and_kept() {
    let dir = Dir::made(start());
    let (identity, made) = keep(&dir, start() - DAY * 10).expect("a start");
    assert!(
        identity
            .warnings
            .concat()
            .contains("is not valid before 2027-01-15"),
        "{:?}",
        identity.warnings
    );
    assert!(made.is_empty());
}

#[test]
fn only_force_replaces_keys_and_it_keeps_the_old_ones() {
    let dir = Dir::made(start());
    let before = all(&dir);
    let (_, made) = certs::ensure(&dir, start(), Force::Replace).expect("a new set");
    assert_eq!(made.len(), 8, "{made:?}");
    for (name, (old, new)) in FILES.iter().zip(before.iter().zip(all(&dir))) {
        assert_eq!(&read(&dir, &format!("{name}.old")), old);
        assert_ne!(&new, old);
    }
    assert!(is_consistent(&dir, start()));
    dir.put("server.pem", "garbage");
    assert!(keep(&dir, start()).is_err());
    certs::ensure(&dir, start(), Force::Replace).expect("a new set");
    assert!(is_consistent(&dir, start()));
}

#[test]
fn a_force_that_was_cut_off_leaves_what_the_next_start_can_finish() {
    let dir = Dir::made(start());
    let before = all(&dir);
    fs::create_dir(dir.join("ca.pem.old")).expect("something in the way");
    let lines = certs::ensure(&dir, start(), Force::Replace).expect_err("something is in the way");
    assert!(
        lines.concat().contains("ca.pem: cannot be renamed: "),
        "{lines:?}"
    );
    let (_, made) = keep(&dir, start()).expect("a start");
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(all(&dir)[..2], before[..2]);
    assert!(is_consistent(&dir, start()));
}

#[test]
fn a_stamp_changes_with_the_pair() {
    let dir = Dir::new();
    let none = certs::stamp(&dir);
    keep(&dir, start()).expect("a first start");
    let first = certs::stamp(&dir);
    certs::ensure(&dir, start(), Force::Replace).expect("a new set");
    let second = certs::stamp(&dir);
    dir.put("server.pem", "shorter");
    let third = certs::stamp(&dir);
    assert!(none != first && first != second && second != third);
    assert_eq!(third, certs::stamp(&dir));
}

#[test]
fn read_pem_reads_what_pki_types_reads() {
    let dir = Dir::made(start());
    let (chain, key) = (
        read(&dir, "server.pem") + &read(&dir, "ca.pem"),
        read(&dir, "server.key"),
    );
    let mut keys = vec![
        key.clone(),
        format!("a comment\n{chain}{key}{key}"),
        key.replace('\n', "\r\n"),
        chain.clone(),
    ];
    dir.put("key", &key);
    let path = dir.join("key").display().to_string();
    keys.extend(openssl(&["ec", "-in", &path]));
    keys.extend(openssl(&["genrsa", "-traditional", "2048"]));
    keys.extend(openssl(&["genrsa", "2048"]));
    keys.extend(
        [
            "",
            "garbage",
            "-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n",
        ]
        .map(String::from),
    );
    let chains = [
        chain.clone(),
        format!("{key}\n{chain}"),
        chain.replace('\n', "\r\n"),
        chain.replacen('A', "!", 1),
        String::new(),
    ];
    for (chain, key) in chains
        .iter()
        .flat_map(|chain| keys.iter().map(move |key| (chain, key)))
    {
        let ours = certs::read_pem(chain.as_bytes(), key.as_bytes()).ok();
        let theirs: Option<Vec<_>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .ok();
        let theirs = theirs.filter(|chain| !chain.is_empty());
        let theirs = theirs.zip(PrivateKeyDer::from_pem_slice(key.as_bytes()).ok());
        assert_eq!(ours, theirs, "{chain}\n{key}");
    }
}

/// A client that trusts the directory's CA and offers one protocol.
fn client(dir: &Path, version: &'static SupportedProtocolVersion, alpn: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(dir, "ca.pem")).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder
        .with_protocol_versions(&[version])
        .expect("a version");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Shakes hands in memory, and has one byte sent by the server, behind which its tickets are.
async fn shake(
    server: &Arc<ServerConfig>,
    client: &TlsConnector,
    name: &str,
) -> io::Result<TlsStream<tokio::io::DuplexStream>> {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let serve = async {
        let mut stream = TlsAcceptor::from(Arc::clone(server)).accept(far).await?;
        stream.write_all(b"!").await
    };
    let connect = async {
        let mut stream = client.connect(name, near).await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    let (served, connected) = tokio::join!(serve, connect);
    connected.and_then(|stream| served.map(|()| stream))
}

#[tokio::test]
async fn clients_of_the_ca_shake_hands_by_name_and_by_address() {
    let (dir, stranger) = (Dir::made(SystemTime::now()), Dir::made(SystemTime::now()));
    let identity = certs::load(&dir, SystemTime::now()).expect("a set");
    let server = certs::server_config(&identity, b"h2").expect("a configuration");
    for version in [&TLS12, &TLS13] {
        let connector = client(&dir, version, "h2");
        for name in &identity.names {
            let stream = shake(&server, &connector, name).await.expect(name);
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        }
        assert!(shake(&server, &connector, "example.com").await.is_err());
        assert!(
            shake(&server, &client(&stranger, version, "h2"), "localhost")
                .await
                .is_err()
        );
        let refused = shake(&server, &client(&dir, version, "http/1.1"), "localhost")
            .await
            .expect_err("no common protocol");
        assert!(
            refused.to_string().contains("NoApplicationProtocol"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_by_ticket() {
    let dir = Dir::made(SystemTime::now());
    let identity = certs::load(&dir, SystemTime::now()).expect("a set");
    let server = certs::server_config(&identity, b"http/1.1").expect("a configuration");
    assert!(server.ticketer.enabled());
    for version in [&TLS12, &TLS13] {
        let connector = client(&dir, version, "http/1.1");
        let first = shake(&server, &connector, "localhost")
            .await
            .expect("a handshake");
        assert_eq!(
            first.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Full)
        );
        let second = shake(&server, &connector, "localhost")
            .await
            .expect("a handshake");
        assert_eq!(
            second.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Resumed)
        );
    }
}
