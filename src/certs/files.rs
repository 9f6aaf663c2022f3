//! The certificate directory: its four files, read with an error that names the file, and written whole or not at all.
//!
//! It knows nothing of what certificates say. Nothing here replaces a key: a key is written only where none was, and
//! `set_aside` keeps what it moves out of the way.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

use rustls_pemfile::Item;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

pub(super) const CA_KEY: &str = "ca.key";
pub(super) const CA_CERT: &str = "ca.pem";
pub(super) const SERVER_KEY: &str = "server.key";
pub(super) const SERVER_CERT: &str = "server.pem";

/// The order of making. A start that was cut off leaves the beginning of this row, and the next one goes on from there.
const IN_ORDER: [&str; 4] = [CA_KEY, CA_CERT, SERVER_KEY, SERVER_CERT];
/// Making a set takes milliseconds, so whoever holds the lock for longer is stuck.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What can be seen of `server.pem` and `server.key` without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp([Option<(SystemTime, u64, u64)>; 2]);

impl Stamp {
    pub(super) fn of(dir: &Path) -> Self {
        Stamp([SERVER_CERT, SERVER_KEY].map(|name| {
            let file = fs::metadata(dir.join(name)).ok()?;
            Some((file.modified().ok()?, file.len(), file.ino()))
        }))
    }
}

/// Whether something has this name, be it a link to nowhere: what the user put there is reported, not replaced.
pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let (certificates, _) = read(path)?;
    if certificates.is_empty() {
        return Err(format!(
            "{}: has no \"BEGIN CERTIFICATE\" in it: it must be PEM",
            path.display()
        ));
    }
    Ok(certificates)
}

/// The first private key of a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let (_, key) = read(path)?;
    key.ok_or_else(|| {
        format!(
            "{}: has no \"BEGIN PRIVATE KEY\" in it: it must be PEM, without a passphrase",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Items, String> {
    let found = fs::read(path).and_then(|text| items(&text));
    found.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{}: is missing", path.display()),
        io::ErrorKind::InvalidData => format!("{}: is damaged: {error}", path.display()),
        _ => format!("{}: cannot be read: {error}", path.display()),
    })
}

type Items = (Vec<CertificateDer<'static>>, Option<PrivateKeyDer<'static>>);

/// The certificates and the first private key of some PEM: the one place that uses `rustls_pemfile`.
///
/// The crate is no longer worked on. It is a thin layer over `pki_types::pem`, which can take its place here.
pub(super) fn items(pem: &[u8]) -> io::Result<Items> {
    let mut items = (Vec::new(), None);
    for item in rustls_pemfile::read_all(&mut &pem[..]) {
        let key = match item? {
            Item::X509Certificate(certificate) => {
                items.0.push(certificate);
                continue;
            }
            Item::Pkcs8Key(key) => PrivateKeyDer::from(key),
            Item::Sec1Key(key) => PrivateKeyDer::from(key),
            Item::Pkcs1Key(key) => PrivateKeyDer::from(key),
            _ => continue,
        };
        items.1.get_or_insert(key);
    }
    Ok(items)
}

/// A line for each key file that others than its owner may read or write.
pub(super) fn exposed_keys(dir: &Path) -> impl Iterator<Item = String> {
    [CA_KEY, SERVER_KEY]
        .map(|name| dir.join(name))
        .into_iter()
        .filter_map(|path| {
            let mode = path.metadata().ok()?.mode() & 0o777;
            let exposed = mode & 0o077 != 0;
            exposed.then(|| {
                format!(
                    "{}: is open to others (mode {mode:03o}): chmod 600 it",
                    path.display()
                )
            })
        })
}

/// Makes the directory if it is missing, and keeps other instances from writing to it while the file lives.
pub(super) fn lock(dir: &Path) -> Result<File, String> {
    let cannot = |error| format!("{}: cannot be written to: {error}", dir.display());
    fs::create_dir_all(dir).map_err(cannot)?;
    let open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(".lock"));
    let lock = open.map_err(cannot)?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
    }
    Err(format!(
        "{}: another process has held .lock for {:?}",
        dir.display(),
        LOCK_PAUSE * LOCK_TRIES
    ))
}

/// Writes a certificate, which may replace an earlier one.
pub(super) fn write_certificate(path: &Path, pem: &str) -> Result<(), String> {
    write(path, pem, 0o644)
}

/// Writes a key where none is.
pub(super) fn write_key(path: &Path, pem: &str) -> Result<(), String> {
    if exists(path) {
        return Err(format!(
            "{}: is there already, and a key is never overwritten",
            path.display()
        ));
    }
    write(path, pem, 0o600)
}

/// Under another name first, so that no reader sees half a file and a crash leaves either none or all of it.
fn write(path: &Path, pem: &str, mode: u32) -> Result<(), String> {
    let draft = beside(path, ".new");
    let written = || {
        if exists(&draft) {
            fs::remove_file(&draft)?; // of a start that was cut off
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    written().map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    sync(path);
    Ok(())
}

/// Renames what stands there to `*.old`, and tells what was kept.
///
/// Last made, first moved: cut off anywhere, it leaves what a cut-off making would have left.
pub(super) fn set_aside(dir: &Path) -> Result<Vec<String>, String> {
    let mut kept = Vec::new();
    for path in IN_ORDER
        .iter()
        .rev()
        .map(|name| dir.join(name))
        .filter(|path| exists(path))
    {
        let old = beside(&path, ".old");
        fs::rename(&path, &old)
            .map_err(|error| format!("{}: cannot be renamed: {error}", path.display()))?;
        sync(&path);
        kept.push(format!("{}: the earlier one, kept", old.display()));
    }
    Ok(kept)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes a rename last. Not every file system can sync a directory, and without it the order mostly holds all the same.
fn sync(path: &Path) {
    if let Some(dir) = path.parent() {
        let _ = File::open(dir).and_then(|dir| dir.sync_all());
    }
}
