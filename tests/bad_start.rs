//! The promise: what is wrong with how the server is started ends the start, with exit status 2 and one line for each
//! mistake, which names what to change; and nothing on stdout.

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use support::raw::{Peer, until};
use support::server::{BINARY, LISTENERS, Server, new_dir};

/// Starts `serve` with every listener that is not named on a free port, and returns what it said of its mistakes.
#[track_caller]
fn mistakes(certs: &Path, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(BINARY);
    command
        .arg("serve")
        .arg("--certs")
        .arg(certs)
        .args(arguments);
    for name in LISTENERS.map(|name| format!("--{name}")) {
        if !arguments.contains(&&*name) {
            command.args([&name, "127.0.0.1:0"]);
        }
    }
    ended(&mut command)
}

/// The lines of a start that fails.
#[track_caller]
fn ended(command: &mut Command) -> Vec<String> {
    let pipes = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the binary starts");
    let mut status = None;
    until("the start fails", || {
        status = child.try_wait().expect("it can be waited for");
        status.is_some()
    });
    let (mut out, mut errors) = (String::new(), String::new());
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut out)
        .expect("text");
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut errors)
        .expect("text");
    assert_eq!(status.and_then(|status| status.code()), Some(2), "{errors}");
    assert_eq!(out, "");
    // What was made before the mistake was seen is news, not a mistake.
    errors
        .lines()
        .filter(|line| !line.contains("INFO"))
        .map(str::to_owned)
        .collect()
}

/// One line for each of these, in any order, with these words.
#[track_caller]
fn are(lines: &[String], expected: &[&[&str]]) {
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for words in expected {
        let says = |line: &String| words.iter().all(|word| line.contains(word));
        assert_eq!(
            lines.iter().filter(|line| says(line)).count(),
            1,
            "{words:?}: {lines:#?}"
        );
    }
    assert!(
        lines.iter().all(|line| line.starts_with("triwire: ")),
        "{lines:#?}"
    );
}

/// A directory with a complete set in it.
fn made() -> std::path::PathBuf {
    let dir = new_dir();
    let made = Command::new(BINARY)
        .arg("certs")
        .arg("--certs")
        .arg(&dir)
        .output();
    assert!(made.expect("it runs").status.success());
    dir
}

#[test]
fn a_port_that_is_in_use() {
    let certs = made();
    let used = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let [one, two] = used
        .each_ref()
        .map(|socket| socket.local_addr().expect("it is bound").to_string());
    are(
        &mistakes(&certs, &["--http1", &one]),
        &[&["--http1", &one, "in use"]],
    );
    are(
        &mistakes(&certs, &["--h2c", &one, "--wss", &two]),
        &[&["--h2c", &one, "in use"], &["--wss", &two, "in use"]],
    );
    let foreign = ["--http1", "192.0.2.1:8080", "--open"];
    are(
        &mistakes(&certs, &foreign),
        &[&["--http1", "192.0.2.1:8080"]],
    );
    fs::remove_dir_all(certs).expect("a directory of our own");
}

#[test]
fn a_certificate_that_cannot_be_used() {
    let certs = made();
    let path = |name: &str| certs.join(name);
    let good = fs::read_to_string(path("server.key")).expect("a key");
    let other = KeyPair::generate().expect("a key");

    fs::remove_file(path("server.key")).expect("a file of our own");
    are(
        &mistakes(&certs, &[]),
        &[&["server.pem", "without server.key"]],
    );
    fs::write(path("server.key"), other.serialize_pem()).expect("a file of our own");
    are(&mistakes(&certs, &[]), &[&["server.key", "server.pem"]]);
    fs::write(path("server.key"), &good[..60]).expect("a file of our own");
    are(&mistakes(&certs, &[]), &[&["server.key"]]);
    fs::write(path("server.key"), good).expect("a file of our own");
    fs::write(path("server.pem"), "nonsense").expect("a file of our own");
    are(&mistakes(&certs, &[]), &[&["server.pem", "PEM"]]);

    // The user's own, which is not ours to renew.
    let mut expired = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let expired = expired.self_signed(&other).expect("a certificate");
    fs::write(path("server.pem"), expired.pem()).expect("a file of our own");
    fs::write(path("server.key"), other.serialize_pem()).expect("a file of our own");
    are(&mistakes(&certs, &[]), &[&["server.pem", "expired"]]);
    fs::remove_dir_all(certs).expect("a directory of our own");
}

#[test]
fn a_directory_that_cannot_be_written() {
    let dir = new_dir();
    fs::write(dir.join("file"), "").expect("a file of our own");
    let below = dir.join("file/certs");
    are(
        &mistakes(&below, &[]),
        &[&["file/certs", "cannot be written"]],
    );
    // Not even root makes a directory there.
    are(
        &mistakes(Path::new("/proc/certs"), &[]),
        &[&["/proc/certs", "cannot be written"]],
    );
    // Without a listener that speaks TLS there is nothing to write.
    let tls = ["--http2", "off", "--http1s", "off", "--wss", "off"];
    let server = Server::start_in(dir.join("file"), &tls);
    assert_eq!(server.stats()["listeners"]["http1"]["tls"], false);
}

#[test]
fn several_mistakes_at_once() {
    let dir = new_dir();
    let config = dir.join("config.toml");
    fs::write(&config, "stal = '1s'\nping = 20\n").expect("a file of our own");
    let config = config.to_str().expect("a plain path");
    let arguments = ["--topics", "none", "--http1", "nowhere", "--config", config];
    let lines = mistakes(&dir, &arguments);
    are(
        &lines,
        &[
            &["topics", "none"],
            &["http1", "nowhere"],
            &["stal"],
            &["ping", "20"],
        ],
    );
    let public = [
        "--http1",
        "0.0.0.0:0",
        "--retry-min",
        "5s",
        "--retry-max",
        "1s",
    ];
    are(
        &mistakes(&dir, &public),
        &[&["open"], &["retry-min", "retry-max"]],
    );
    for (arguments, words) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["nonsense"][..], "nonsense"),
        (&["--topics"][..], "--topics"),
        (&["--config", "/nowhere.toml"][..], "/nowhere.toml"),
    ] {
        are(&ended(Command::new(BINARY).args(arguments)), &[&[words]]);
    }
    fs::remove_dir_all(dir).expect("a directory of our own");
}

/// A certificate that is no good and a port that is taken: the second start should find nothing new.
#[test]
fn mistakes_of_different_kinds() {
    let certs = made();
    fs::remove_file(certs.join("server.key")).expect("a file of our own");
    let used = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = used.local_addr().expect("it is bound").to_string();
    are(
        &mistakes(&certs, &["--http1", &port]),
        &[&["--http1", &port], &["server.pem", "without server.key"]],
    );
    fs::remove_dir_all(certs).expect("a directory of our own");
}

#[test]
fn two_that_start_at_once() {
    let dir = new_dir();
    let servers = std::thread::scope(|scope| {
        let starting = [(); 3].map(|()| scope.spawn(|| Server::start_in(dir.clone(), &[])));
        starting.map(|server| server.join().expect("each of them starts"))
    });
    for server in &servers {
        // The CA is read from the directory, so this is the one that all of them have.
        Peer::tls(server, "http1s", &[b"http/1.1"]).expect("a handshake");
        let log = server.stderr();
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }
    let made = servers
        .iter()
        .filter(|server| server.stderr().contains("server.key"));
    assert_eq!(made.count(), 1, "one of them has made the set");
}
