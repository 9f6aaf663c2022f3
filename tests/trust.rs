//! `triwire certs --print-trust`: the lines that it prints work when they are pasted, and it does nothing itself.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::server::{BINARY, Server, new_dir};

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is printed for these certificates and this home.
fn print_trust(certs: &Path, home: &Path) -> Output {
    let mut triwire = Command::new(BINARY);
    triwire
        .args(["certs", "--print-trust", "--certs"])
        .arg(certs);
    triwire.env("HOME", home).output().expect("the binary runs")
}

fn lines(certs: &Path, home: &Path) -> Vec<String> {
    let output = print_trust(certs, home);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

fn starting<'l>(lines: &'l [String], word: &str) -> &'l str {
    let line = lines.iter().find(|line| line.starts_with(word));
    line.unwrap_or_else(|| panic!("no line with {word}: {lines:#?}"))
}

/// As if it were pasted.
fn paste(line: &str) -> Output {
    let shell = Command::new("sh").args(["-c", line]).output();
    shell.expect("there is a shell")
}

#[test]
fn curl_trusts_the_server_by_its_line() {
    let server = Server::start(&[]);
    let home = Dir(new_dir());
    let lines = lines(&server.dir.join("certs"), &home.0);
    let line = starting(&lines, "curl ");
    let port = format!(":{}/", server.addr("http1s").port());
    let line = line.replace(":8444/", &port);
    let answer = paste(&line);
    assert_eq!(answer.stdout, b"ok\n", "{line}: {answer:?}");
    // 60: the peer's certificate is none that is trusted.
    let (_, url) = line.rsplit_once(' ').expect("a URL");
    let distrusted = paste(&format!("curl {url}"));
    assert_eq!(distrusted.status.code(), Some(60), "{distrusted:?}");
}

/// Where certutil is not installed, the lines have to say what has it.
#[test]
fn a_browsers_database_trusts_and_forgets() {
    let server = Server::start(&[]);
    let home = Dir(new_dir());
    let database = home.0.join("snap/chromium/current/.pki/nssdb");
    fs::create_dir_all(&database).expect("a directory");
    let sql = format!("sql:{}", database.display());
    let certutil = |args: &[&str]| Command::new("certutil").args(args).output();
    let Ok(made) = certutil(&["-N", "--empty-password", "-d", &sql]) else {
        eprintln!("certutil is not here: its lines were not tried");
        fs::write(database.join("cert9.db"), "").expect("a file");
        let lines = lines(&server.dir.join("certs"), &home.0);
        starting(&lines, "# What the browsers' databases are changed with");
        return;
    };
    assert!(made.status.success(), "{made:?}");
    let lines = lines(&server.dir.join("certs"), &home.0);
    let trusted = || {
        let list = certutil(&["-L", "-d", &sql]).expect("it ran before");
        let list = String::from_utf8(list.stdout).expect("UTF-8");
        list.lines()
            .any(|line| line.starts_with("triwire CA ") && line.contains("C,,"))
    };
    assert!(!trusted());
    let added = paste(starting(&lines, "certutil -A"));
    assert!(added.status.success() && trusted(), "{added:?}");
    let back = starting(&lines, "# back: certutil -D").trim_start_matches("# back: ");
    let removed = paste(back);
    assert!(removed.status.success() && !trusted(), "{removed:?}");
}

#[test]
fn what_is_missing_is_said_and_not_made() {
    let home = Dir(new_dir());
    let certs = home.0.join("certs");
    let output = print_trust(&certs, &home.0);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("ca.pem: is missing") && said.contains("triwire certs"),
        "{said}"
    );
    assert!(output.stdout.is_empty() && !certs.exists());
}

/// Somebody else's CA may sign for anybody: whether to trust it is not for us to say.
#[test]
fn a_ca_of_somebody_else_is_left_to_him() {
    let home = Dir(new_dir());
    let key = rcgen::KeyPair::generate().expect("a key");
    let ca = rcgen::CertificateParams::new(Vec::new()).and_then(|params| params.self_signed(&key));
    fs::write(home.0.join("ca.pem"), ca.expect("a certificate").pem()).expect("a file");
    let output = print_trust(&home.0, &home.0);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("none of ours"), "{said}");
}
