//! The certificate that the TLS listeners present: made at the first start, renewed in time, the user's own left alone.
//!
//! A directory holds `ca.pem`, `ca.key`, `server.pem` and `server.key`. Where there is no pair for the server a CA makes
//! one, constrained to this host's names, so that whoever trusts it trusts it for nothing else. No file is watched and
//! no clock read here: the caller says when to look and what time it is.

mod files;
mod pair;
mod renew;
mod sign;
mod x509;

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::version::TLS13;

pub use files::Stamp;
use pair::Pair;

/// What stands in a certificate directory, checked and parsed.
#[derive(Debug)]
pub struct Identity {
    /// The server's certificate, and what else stands in `server.pem` after it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first of them.
    pub key: PrivateKeyDer<'static>,
    /// DNS names and addresses that it is for, as text, lower case. A name may begin with `*.`.
    pub names: Vec<String>,
    /// Its last moment.
    pub expires: SystemTime,
    /// What works but should not stay so, one line each, for the log.
    pub warnings: Vec<String>,
}

/// Whether files that are there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Make only what is missing, and renew only what is ours and due. No key is ever replaced.
    Keep,
    /// Make a new set, CA and all. What was there is kept as `*.old`, in place of what an earlier time kept.
    Replace,
}

/// Makes what is missing, renews what is ours and in its last 30 days or beyond them, then loads.
///
/// Also returns what was made, one line each, for the log. Nothing is written where nothing is due, so a directory
/// that is complete may be read-only. Blocks: up to 10 s if another process is making the same set.
///
/// # Errors
///
/// One line for each mistake, with the file and what to do about it: something unreadable, half a pair, a key that is
/// not its certificate's, a certificate that has expired and is not ours to renew, a directory that cannot be written.
pub fn ensure(
    dir: &Path,
    now: SystemTime,
    force: Force,
) -> Result<(Identity, Vec<String>), Vec<String>> {
    if force == Force::Keep
        && renew::plan(dir, now).is_ok_and(|plan| !plan.is_due())
        && let Ok(identity) = load(dir, now)
    {
        return Ok((identity, Vec::new()));
    }
    // Something is due or wrong, or another instance is at work this moment: from here on only one of us looks.
    let lock = files::lock(dir);
    let mut made = Vec::new();
    if force == Force::Replace {
        lock.as_ref().map_err(|line| vec![line.clone()])?;
        made = files::set_aside(dir).map_err(|line| vec![line])?;
    }
    let plan = renew::plan(dir, now)?;
    let renewed = match &lock {
        Err(line) if plan.is_due() => Err(line.clone()),
        _ => renew::make(dir, now, &plan, &mut made),
    };
    let unable = renewed
        .err()
        .map(|why| plan.failed(dir, now, &why))
        .transpose()
        .map_err(|line| vec![line])?;
    let mut identity = load(dir, now)?;
    identity.warnings.extend(unable);
    Ok((identity, made))
}

/// Reads and checks the server's pair and writes nothing: for picking up changed files while running.
///
/// # Errors
///
/// One line for each mistake. In the middle of somebody's change of both files they may not fit each other yet: keep
/// the identity that works and look again.
pub fn load(dir: &Path, now: SystemTime) -> Result<Identity, Vec<String>> {
    let pair = Pair::read(dir)?;
    let mistakes = pair.mistakes(dir, now);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let mut warnings = pair.warnings(dir, now);
    warnings.extend(renew::unnamed_host(dir, &pair));
    let Pair { chain, facts, key } = pair;
    Ok(Identity {
        chain,
        key,
        names: facts.names,
        expires: facts.not_after,
        warnings,
    })
}

/// A CA for somebody to trust.
#[derive(Debug)]
pub struct Anchor {
    /// Its file, from the root of the file system.
    pub path: PathBuf,
    /// Its own name, which others do not have: `triwire CA 1a2b3c4d`.
    pub name: String,
    /// Its last day, as `2026-11-21`.
    pub last_day: String,
}

/// The CA of a directory, as it is there; nothing is made.
///
/// # Errors
///
/// A line that says what is wrong with `ca.pem`: missing, damaged, none of ours, or expired.
pub fn anchor(dir: &Path, now: SystemTime) -> Result<Anchor, String> {
    let path = dir.join(files::CA_CERT);
    let (_, facts) = pair::certificate(&path)
        .map_err(|line| format!("{line}; triwire certs makes what is missing"))?;
    let with = |what: &str| format!("{}: {what}", path.display());
    let name = sign::authority_name(&facts)
        .ok_or_else(|| with("is none of ours: whoever made it knows how it comes to be trusted"))?;
    if facts.not_after < now {
        return Err(with("has expired; triwire certs renews it"));
    }
    let absolute = path.canonicalize();
    Ok(Anchor {
        path: absolute.map_err(|error| with(&error.to_string()))?,
        name,
        last_day: sign::day(facts.not_after),
    })
}

/// The certificates of one PEM text and the first private key of another.
///
/// # Errors
///
/// `InvalidData` for broken PEM, no certificate in the first, or no (unencrypted) private key in the second.
pub fn read_pem(
    cert: &[u8],
    key: &[u8],
) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let without = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let (chain, _) = files::items(cert)?;
    let (_, key) = files::items(key)?;
    if chain.is_empty() {
        return Err(without("no certificate in the PEM"));
    }
    Ok((
        chain,
        key.ok_or_else(|| without("no private key in the PEM"))?,
    ))
}

/// The TLS side of a listener that speaks one application protocol, with TLS 1.2 and 1.3 and session tickets.
///
/// The tickets' keys live in the configuration, so those from before a change of it are politely not taken. A client
/// that offers no ALPN at all is let in; where that is not wanted, look at `alpn_protocol` after the handshake.
///
/// # Errors
///
/// A line that says what rustls does not like about the certificate or key, or that there are no random numbers.
pub fn server_config(identity: &Identity, alpn: &[u8]) -> Result<Arc<ServerConfig>, String> {
    configure(identity, alpn)
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

/// The provider is named, never left to the process's default: with a second one in the binary that would panic.
fn configure(identity: &Identity, alpn: &[u8]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

/// A cheap fingerprint of the server's two files (time of change, length, inode), so that a watcher sees a new pair.
///
/// Take it before `load`: then what changes while loading is seen the next time.
pub fn stamp(dir: &Path) -> Stamp {
    Stamp::of(dir)
}
