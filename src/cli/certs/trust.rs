//! `triwire certs --print-trust`: how this machine comes to trust the CA, as commands to paste, each with the one that
//! takes it back. It looks around and changes nothing.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::certs::Anchor;

/// What is there of what can be told to trust.
pub(super) struct Machine {
    is_root: bool,
    system: Option<&'static System>,
    /// Whether there is a Java that copies from the system.
    debian_java: bool,
    /// Whether certutil is there.
    has_certutil: bool,
    /// Databases of Chromium, and of Firefox' profiles.
    databases: Vec<PathBuf>,
    /// Where Chromium will look for its own, which is not there yet.
    unmade: Option<PathBuf>,
}

/// A kind of system, and how it keeps the CAs that were added by hand.
struct System {
    name: &'static str,
    /// Where it keeps them; that this is there tells the kinds apart.
    directory: &'static str,
    command: &'static str,
    /// With `{ca}` and `{file}`, a name for a file of its own.
    add: &'static str,
    remove: &'static str,
    /// What has certutil.
    certutil: &'static str,
}

/// Arch comes before Fedora, whose tools it may have too.
const SYSTEMS: [System; 5] = [
    System {
        name: "Arch",
        directory: "/etc/ca-certificates/trust-source/anchors",
        command: "trust",
        add: "{sudo}trust anchor --store {ca}",
        remove: "{sudo}trust anchor --remove {ca}",
        certutil: "pacman -S nss",
    },
    System {
        name: "Fedora, RHEL",
        directory: "/etc/pki/ca-trust/source/anchors",
        command: "update-ca-trust",
        add: "{sudo}install -m 644 {ca} /etc/pki/ca-trust/source/anchors/{file}.pem && {sudo}update-ca-trust",
        remove: "{sudo}rm /etc/pki/ca-trust/source/anchors/{file}.pem && {sudo}update-ca-trust",
        certutil: "dnf install nss-tools",
    },
    System {
        name: "openSUSE",
        directory: "/etc/pki/trust/anchors",
        command: "update-ca-certificates",
        add: "{sudo}install -m 644 {ca} /etc/pki/trust/anchors/{file}.pem && {sudo}update-ca-certificates",
        remove: "{sudo}rm /etc/pki/trust/anchors/{file}.pem && {sudo}update-ca-certificates",
        certutil: "zypper install mozilla-nss-tools",
    },
    System {
        name: "Alpine",
        directory: "/etc/apk",
        command: "update-ca-certificates",
        add: "{sudo}install -m 644 {ca} /usr/local/share/ca-certificates/{file}.crt && {sudo}update-ca-certificates",
        remove: "{sudo}rm /usr/local/share/ca-certificates/{file}.crt && {sudo}update-ca-certificates",
        certutil: "apk add nss-tools",
    },
    System {
        name: "Debian, Ubuntu",
        directory: "/usr/local/share/ca-certificates",
        command: "update-ca-certificates",
        add: "{sudo}install -m 644 {ca} /usr/local/share/ca-certificates/{file}.crt && {sudo}update-ca-certificates",
        remove: "{sudo}rm /usr/local/share/ca-certificates/{file}.crt && {sudo}update-ca-certificates --fresh",
        certutil: "apt-get install libnss3-tools",
    },
];

const MACOS: System = System {
    name: "macOS, with Safari and Chrome",
    directory: "/Library/Keychains",
    command: "security",
    add: "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {ca}",
    remove: "sudo security remove-trusted-cert -d {ca}",
    certutil: "brew install nss",
};

/// Where browsers keep their own CAs, below the home directory: a file for each of them. `*` is any one directory.
const DATABASES: [&str; 8] = [
    ".pki/nssdb/cert9.db",
    ".local/share/pki/nssdb/cert9.db",
    "snap/chromium/current/.pki/nssdb/cert9.db",
    ".mozilla/firefox/*/cert9.db",
    ".config/mozilla/firefox/*/cert9.db",
    "snap/firefox/common/.mozilla/firefox/*/cert9.db",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/*/cert9.db",
    "Library/Application Support/Firefox/Profiles/*/cert9.db",
];

/// What ca-certificates-java writes; it does not take out again what the system no longer trusts.
const DEBIAN_JAVA: &str = "/etc/ssl/certs/java/cacerts";

const CHROMIUMS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
];

impl Machine {
    /// What is found here.
    pub(super) fn this() -> Machine {
        let is_macos = env::consts::OS == "macos";
        let is_here = |s: &&System| Path::new(s.directory).is_dir() && is_command(s.command);
        let system = match is_macos {
            true => Some(&MACOS),
            false => SYSTEMS.iter().find(is_here),
        };
        let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let databases: Vec<PathBuf> = DATABASES.iter().flat_map(|at| found(&home, at)).collect();
        let has_one = databases.iter().any(|db| db.ends_with("nssdb"));
        let has_chromium = CHROMIUMS.iter().any(|name| is_command(name));
        Machine {
            is_root: rustix::process::geteuid().is_root(),
            system,
            debian_java: Path::new(DEBIAN_JAVA).is_file(),
            has_certutil: is_command("certutil"),
            databases,
            unmade: (has_chromium && !has_one && !is_macos).then(|| home.join(".pki/nssdb")),
        }
    }
}

fn is_command(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// The directories of the databases at a place of [`DATABASES`].
fn found(home: &Path, at: &str) -> Vec<PathBuf> {
    let candidates = match at.split_once('*') {
        None => vec![home.join(at)],
        Some((above, below)) => {
            let entries = fs::read_dir(home.join(above))
                .into_iter()
                .flatten()
                .flatten();
            let below = below.trim_start_matches('/');
            entries.map(|entry| entry.path().join(below)).collect()
        }
    };
    let mut found: Vec<PathBuf> = candidates
        .into_iter()
        .filter(|file| file.is_file())
        .filter_map(|file| Some(file.parent()?.to_owned()))
        .collect();
    found.sort();
    found
}

/// The commands, with what they do as comments: a script, if all of it is wanted.
pub(super) fn commands(anchor: &Anchor, machine: &Machine) -> String {
    let ca = quoted(&anchor.path);
    let mut out = format!(
        "# {} may sign for this host's own names and addresses only, until {}.\n\
         # Take what you need; after \"back:\" stands what undoes it. docs/certificates.md says more.\n",
        anchor.name, anchor.last_day
    );
    let sudo = if machine.is_root { "" } else { "sudo " };
    let mut say = |what: &str, add: &str, back: &str| {
        // A String takes all.
        let _ = writeln!(out, "\n# {what}");
        if !add.is_empty() {
            let _ = writeln!(out, "{add}");
        }
        if !back.is_empty() {
            let _ = writeln!(out, "# back: {back}");
        }
    };
    say(
        "One program: curl",
        &format!("curl --cacert {ca} https://localhost:8444/healthz"),
        "",
    );
    say(
        "Programs started from this shell: Node; curl, which then trusts nothing else",
        &format!("export NODE_EXTRA_CA_CERTS={ca}\nexport CURL_CA_BUNDLE={ca}"),
        "unset NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE",
    );
    match machine.system {
        Some(system) => {
            let file = anchor.name.replace(' ', "-");
            let fill = |line: &str| {
                let line = line.replace("{sudo}", sudo).replace("{file}", &file);
                line.replace("{ca}", &ca)
            };
            let what = format!("The whole system: {}", system.name);
            say(&what, &fill(system.add), &fill(system.remove));
            if machine.debian_java {
                let alias = format!("debian:{}.pem", file.to_lowercase());
                let delete = format!(
                    "{sudo}keytool -delete -alias {alias} -keystore {DEBIAN_JAVA} -storepass changeit"
                );
                say(
                    "Java here takes over what the system trusts, and keeps it",
                    "",
                    &delete,
                );
            }
        }
        None => say(
            "The whole system: none that is known here; see docs/certificates.md",
            "",
            "",
        ),
    }
    let browsers = !machine.databases.is_empty() || machine.unmade.is_some();
    if browsers && !machine.has_certutil {
        let install = machine.system.map_or("", |system| system.certutil);
        say(
            "What the browsers' databases are changed with",
            &format!("{sudo}{install}"),
            "",
        );
    }
    if let Some(database) = &machine.unmade {
        let at = quoted(database);
        let make = format!("mkdir -p {at} && certutil -N --empty-password -d sql:{at}");
        say(
            "A database for Chromium, Chrome and Edge, which have none yet",
            &make,
            "",
        );
    }
    for database in machine.unmade.iter().chain(&machine.databases) {
        let at = quoted(database);
        let name = &anchor.name;
        let what = match database.ends_with("nssdb") {
            true => "Chromium, Chrome and Edge, of this user",
            false => "Firefox, of this profile; close it before",
        };
        say(
            what,
            &format!("certutil -A -d sql:{at} -n '{name}' -t C,, -i {ca}"),
            &format!("certutil -D -d sql:{at} -n '{name}'"),
        );
    }
    out
}

/// A path as one word for the shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@%:,".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands_on(system: Option<&'static System>, machine: Machine) -> String {
        let anchor = Anchor {
            path: "/it's here/ca.pem".into(),
            name: "triwire CA 1a2b3c4d".into(),
            last_day: "2036-11-19".into(),
        };
        commands(&anchor, &Machine { system, ..machine })
    }

    fn bare() -> Machine {
        Machine {
            is_root: false,
            system: None,
            debian_java: false,
            has_certutil: false,
            databases: Vec::new(),
            unmade: None,
        }
    }

    #[test]
    fn systems() {
        for system in SYSTEMS.iter().chain([&MACOS]) {
            let said = commands_on(Some(system), bare());
            let is_filled = !said.contains(['{', '}']);
            assert!(is_filled, "{}: {said}", system.name);
            for part in [
                system.name,
                system.command,
                r"'/it'\''s here/ca.pem'",
                "sudo ",
                "# back: sudo ",
            ] {
                assert!(said.contains(part), "{}: no {part}: {said}", system.name);
            }
            let by_root = commands_on(
                Some(system),
                Machine {
                    is_root: true,
                    ..bare()
                },
            );
            assert_eq!(
                by_root.contains("sudo"),
                system.name == MACOS.name,
                "{by_root}"
            );
        }
        assert!(commands_on(None, bare()).contains("none that is known here"));
    }

    #[test]
    fn databases() {
        let machine = || Machine {
            databases: vec!["/h/.mozilla/firefox/a b.default".into()],
            unmade: Some("/h/.pki/nssdb".into()),
            ..bare()
        };
        let said = commands_on(Some(&SYSTEMS[1]), machine());
        for line in [
            "sudo dnf install nss-tools",
            "mkdir -p /h/.pki/nssdb && certutil -N --empty-password -d sql:/h/.pki/nssdb",
            r"certutil -A -d sql:/h/.pki/nssdb -n 'triwire CA 1a2b3c4d' -t C,, -i '/it'\''s here/ca.pem'",
            "# back: certutil -D -d sql:/h/.pki/nssdb -n 'triwire CA 1a2b3c4d'",
            "# back: certutil -D -d sql:'/h/.mozilla/firefox/a b.default' -n 'triwire CA 1a2b3c4d'",
        ] {
            assert!(said.lines().any(|said| said == line), "no {line}: {said}");
        }
        let with_it = Machine {
            has_certutil: true,
            ..machine()
        };
        assert!(!commands_on(Some(&SYSTEMS[1]), with_it).contains("install nss-tools"));
    }
}
