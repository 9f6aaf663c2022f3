//! Decides what is missing or due in a certificate directory, and makes it.
//!
//! What the user put there is never touched: only a leaf that carries our mark and names the `ca.pem` beside it as its
//! issuer is renewed, and with the same key. Who calls `make` holds the directory's lock.

use std::path::Path;
use std::time::SystemTime;

use rcgen::Certificate;
use rcgen::KeyPair;
use rcgen::PKCS_ECDSA_P256_SHA256;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::files;
use super::files::CA_CERT;
use super::files::CA_KEY;
use super::files::SERVER_CERT;
use super::files::SERVER_KEY;
use super::pair;
use super::pair::Pair;
use super::sign;
use super::sign::Authority;

/// The names of every leaf; the host's own comes after them.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What is to be written; a key that goes with it is made where there is none.
#[derive(Default)]
pub(super) struct Plan {
    authority: bool,
    leaf: bool,
    /// The end of the leaf that is there now.
    standing: Option<SystemTime>,
}

impl Plan {
    pub(super) fn is_due(&self) -> bool {
        self.authority || self.leaf
    }

    /// Says that a due plan came to nothing: a warning while the present leaf holds, a mistake when there is none.
    pub(super) fn failed(&self, dir: &Path, now: SystemTime, why: &str) -> Result<String, String> {
        let leaf = dir.join(SERVER_CERT);
        match self.standing {
            None => Err(why.to_owned()),
            Some(end) if end < now => Err(format!(
                "{}: expired on {} and cannot be renewed: {why}",
                leaf.display(),
                sign::day(end)
            )),
            Some(end) => Ok(format!(
                "{}: cannot be renewed before its end on {}: {why}",
                leaf.display(),
                sign::day(end)
            )),
        }
    }
}

/// Looks at the directory and changes nothing. All mistakes at once, one line each.
pub(super) fn plan(dir: &Path, now: SystemTime) -> Result<Plan, Vec<String>> {
    let mut mistakes = damaged(dir);
    mistakes.extend(half(dir));
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    if there(dir, SERVER_CERT) {
        return plan_renewal(dir, now);
    }
    let authority = !there(dir, CA_CERT) || is_ending_ca(dir, now);
    Ok(Plan {
        authority,
        leaf: true,
        standing: None,
    })
}

fn there(dir: &Path, name: &str) -> bool {
    files::exists(&dir.join(name))
}

/// A line if the half that is missing cannot be made: a key never is for a certificate that has one somewhere.
fn half(dir: &Path) -> Option<String> {
    let ca_key = there(dir, CA_KEY);
    let (name, lack) = match (there(dir, SERVER_CERT), there(dir, SERVER_KEY)) {
        (true, false) => (
            SERVER_CERT,
            "server.key: put the key back, or move it away to get a new pair",
        ),
        (false, true) if !ca_key => (
            SERVER_KEY,
            "server.pem: put the certificate there, or move it away",
        ),
        (false, false) if !ca_key && there(dir, CA_CERT) => (
            CA_CERT,
            "ca.key: put the key back, or move it away to get a new CA",
        ),
        _ => return None,
    };
    Some(format!(
        "{}: is there without {lack}",
        dir.join(name).display()
    ))
}

/// One line for each file that is there and is no PEM. Beside a certificate that stands, `ca.key` does not count: to
/// keep it from the user that the server runs as is a good habit.
fn damaged(dir: &Path) -> Vec<String> {
    let mut certificates = vec![CA_CERT, SERVER_CERT];
    let mut keys = vec![CA_KEY, SERVER_KEY];
    certificates.retain(|name| there(dir, name));
    keys.retain(|name| there(dir, name) && (*name == SERVER_KEY || !there(dir, SERVER_CERT)));
    let certificates = certificates
        .iter()
        .filter_map(|name| files::certificates(&dir.join(name)).err());
    let keys = keys
        .iter()
        .filter_map(|name| files::private_key(&dir.join(name)).err());
    certificates.chain(keys).collect()
}

/// What is due where a certificate and its key are: nothing, unless they are ours and belong together.
fn plan_renewal(dir: &Path, now: SystemTime) -> Result<Plan, Vec<String>> {
    let pair = Pair::read(dir)?;
    let standing = Some(pair.facts.not_after);
    if !sign::is_marked(&pair.facts) || pair.keys_match().is_err() {
        return Ok(Plan::default());
    }
    if !there(dir, CA_CERT) {
        // Made again for its key the CA may name other hosts, so the leaf is too.
        let due = there(dir, CA_KEY);
        return Ok(Plan {
            authority: due,
            leaf: due,
            standing,
        });
    }
    // A CA that cannot be understood is not ours, and so nothing that it signed is.
    let Ok((ca, ca_facts)) = pair::certificate(&dir.join(CA_CERT)) else {
        return Ok(Plan::default());
    };
    if pair.facts.issuer != ca_facts.subject {
        return Ok(Plan::default());
    }
    let authority = is_ending_ca(dir, now);
    let ca_end = match authority {
        true => sign::authority_end(now),
        false => ca_facts.not_after,
    };
    // It does not hold if the CA was made again for other names and the start was cut off before the leaf's turn.
    let holds = sign::verify(&pair.chain[0], &ca[0], pair.facts.not_after).is_ok();
    let ends =
        sign::is_ending(&pair.facts, now) && sign::would_last_longer(&pair.facts, now, ca_end);
    Ok(Plan {
        authority,
        leaf: ends || !holds,
        standing,
    })
}

/// Whether `ca.pem` is ours and in its last 30 days. The user's own CA is never renewed.
fn is_ending_ca(dir: &Path, now: SystemTime) -> bool {
    let ca = pair::certificate(&dir.join(CA_CERT));
    ca.is_ok_and(|(_, ca)| sign::is_marked(&ca) && sign::is_ending(&ca, now))
}

/// Carries out a plan and tells what was made, one line each.
pub(super) fn make(
    dir: &Path,
    now: SystemTime,
    plan: &Plan,
    made: &mut Vec<String>,
) -> Result<(), String> {
    if !plan.is_due() {
        return Ok(());
    }
    let mut names = LOCAL_NAMES.map(String::from).to_vec();
    names.extend(host_name());
    if plan.authority {
        make_authority(dir, now, &names, made)?;
    }
    if plan.leaf {
        make_leaf(dir, now, &names, made)?;
    }
    Ok(())
}

/// Makes or renews `ca.pem`.
fn make_authority(
    dir: &Path,
    now: SystemTime,
    names: &[String],
    made: &mut Vec<String>,
) -> Result<(), String> {
    let path = dir.join(CA_CERT);
    let renewed = files::exists(&path);
    let key = match renewed {
        true => authority(dir)?.key,
        false => key_for(dir, CA_CERT, CA_KEY, made)?,
    };
    let ca = sign::authority(&key, names, now)
        .map_err(|error| format!("{}: cannot be made: {error}", path.display()))?;
    files::write_certificate(&path, &ca.pem())?;
    made.push(match renewed {
        true => format!(
            "renewed {} with its key: clients that trust it must take it anew",
            path.display()
        ),
        false => format!("made {}, for clients to trust", path.display()),
    });
    Ok(())
}

/// Makes or renews `server.pem`: the leaf alone. A client that can verify it has the CA already, so the CA beside it would
/// only lengthen every handshake.
fn make_leaf(
    dir: &Path,
    now: SystemTime,
    names: &[String],
    made: &mut Vec<String>,
) -> Result<(), String> {
    let (path, ca_path) = (dir.join(SERVER_CERT), dir.join(CA_CERT));
    let authority = authority(dir)?;
    if authority.end < now {
        let end = sign::day(authority.end);
        return Err(format!(
            "{}: expired on {end}, so it can sign nothing: replace it and ca.key",
            ca_path.display()
        ));
    }
    let verb = if files::exists(&path) {
        "renewed"
    } else {
        "made"
    };
    let key = key_for(dir, SERVER_CERT, SERVER_KEY, made)?;
    // The host may have got another name after its CA was made, or the CA be the user's: then the leaf does without it.
    let sign = |names: &[String]| {
        sign_leaf(&authority, &key, names, now).map(|leaf| (leaf, names.join(", ")))
    };
    let signed = sign(names).or_else(|_| sign(&names[..LOCAL_NAMES.len()]));
    let (leaf, names) = signed
        .map_err(|error| format!("{}: cannot sign server.pem: {error}", ca_path.display()))?;
    files::write_certificate(&path, &leaf.pem())?;
    made.push(format!("{verb} {} for {names}", path.display()));
    Ok(())
}

/// A leaf that a client of this CA takes now.
fn sign_leaf(
    authority: &Authority,
    key: &KeyPair,
    names: &[String],
    now: SystemTime,
) -> Result<Certificate, String> {
    let leaf = authority
        .leaf(key, names, now)
        .map_err(|error| error.to_string())?;
    sign::verify(leaf.der(), &authority.certificate, now).map_err(|error| error.to_string())?;
    Ok(leaf)
}

/// `ca.pem` and `ca.key`, which must belong together.
fn authority(dir: &Path) -> Result<Authority, String> {
    let key_path = dir.join(CA_KEY);
    let (chain, facts) = pair::certificate(&dir.join(CA_CERT))?;
    let key = files::private_key(&key_path)?;
    pair::keys_match(&chain, &key)
        .map_err(|error| format!("{}: is not the key of ca.pem: {error}", key_path.display()))?;
    Ok(Authority {
        certificate: chain[0].clone(),
        end: facts.not_after,
        key: key_pair(&key_path, &key)?,
    })
}

/// The key of a certificate that is to be signed: the one that is there, or a new one for a new certificate.
fn key_for(
    dir: &Path,
    certificate: &str,
    key: &str,
    made: &mut Vec<String>,
) -> Result<KeyPair, String> {
    let path = dir.join(key);
    if files::exists(&path) || files::exists(&dir.join(certificate)) {
        return key_pair(&path, &files::private_key(&path)?);
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|error| format!("{}: cannot be made: {error}", path.display()))?;
    files::write_key(&path, &key.serialize_pem())?;
    made.push(format!("made {}", path.display()));
    Ok(key)
}

fn key_pair(path: &Path, key: &PrivateKeyDer<'_>) -> Result<KeyPair, String> {
    KeyPair::try_from(key)
        .map_err(|error| format!("{}: is no key to sign with: {error}", path.display()))
}

/// The host's own name, if it has one and a certificate can carry it.
fn host_name() -> Option<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    (name != LOCAL_NAMES[0] && is_dns_name(&name)).then_some(name)
}

/// A line for a leaf of ours that was made when the host had another name.
pub(super) fn unnamed_host(dir: &Path, pair: &Pair) -> Option<String> {
    let host = host_name()
        .filter(|host| sign::is_marked(&pair.facts) && !pair.facts.names.contains(host))?;
    let path = dir.join(SERVER_CERT);
    Some(format!(
        "{}: does not name this host ({host}): a new set, made with --force, would",
        path.display()
    ))
}

/// Letters, digits and hyphens (RFC 1123 section 2.1), lower case; a last label of digits would make it an address.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let known = label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        known && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dns_can_carry_is_a_host_name() {
        for name in [
            "vm",
            "web-1",
            "a.b.c",
            "3f2a9b1c4d5e",
            "xn--bcher-kva.example",
            "1.example",
        ] {
            assert!(is_dns_name(name), "{name}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for name in [
            "",
            "(none)",
            "my_host",
            "-a",
            "a-",
            "a..b",
            "a.",
            "127.0.0.1",
            "123456789012",
            "Büro",
            &long,
        ] {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
