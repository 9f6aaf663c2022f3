//! `triwire doctor` where there is nothing to examine: servers that take no streams, somebody else, nobody; and whoever
//! asks wrongly, or does not wait for the answer.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::certificate::Flaw;
use super::doctor::{BEATS, Told, command, side_by_side, told};
use super::proxy::Kind;
use super::support::raw::{Peer, ask, until};
use super::support::server::{BINARY, Server, new_dir, signal};

/// Whether a request is answered 503.
fn refuses(server: &Server, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    ask(server, "http1", &request).status == 503
}

#[test]
fn a_server_that_is_full() {
    let server = Server::start(&["--connections", "2"]);
    let held = [(); 2].map(|()| Peer::connect(&server, "http1"));
    until("it is full", || refuses(&server, "/healthz"));
    let url = format!("http://{}", server.addr("http1"));
    Told::by(&url, &server.ca()).is_wrong("server", "full");
    drop(held);
}

#[test]
fn a_server_that_drains() {
    let server = Server::start(&["--drain", "10min", "--http1-unsent", "16KiB"]);
    // Whoever does not take what was sent holds the drain open.
    let mut stuck = Peer::narrow(server.addr("http1"), 4_096);
    stuck.say("GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stuck.until("event: ready").expect("a stream");
    server.publish("t", &"x".repeat(255 * 1024));
    server.signal("TERM");
    until("it drains", || refuses(&server, "/readyz"));
    let url = format!("http://{}", server.addr("http1"));
    Told::by(&url, &server.ca()).is_wrong("server", "draining");
    drop(stuck);
}

#[test]
fn somebody_else() {
    let kind = Kind::Haproxy;
    side_by_side(
        [
            ("content-type text/html string hello", "no event stream"),
            (
                "content-type text/event-stream string \"data: x\\n\\n\"",
                "does not begin as triwire's do",
            ),
        ],
        |(answer, says)| {
            let line =
                format!("http-request return status 200 {answer}\n    default_backend triwire");
            if let Some(told) = told(
                kind,
                &BEATS,
                &[("default_backend triwire", &line)],
                Flaw::None,
            ) {
                told.is_wrong("server", says);
            }
        },
    );
    // Somebody who says nothing at all.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    Told::by(&format!("http://{addr}"), Path::new("unused")).is_wrong("connection", "nothing");
}

#[test]
fn nobody() {
    let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let url = format!("http://{}", addr.expect("a free port"));
    Told::by(&url, Path::new("unused")).is_wrong("connection", "nobody listens");
    Told::by("http://does-not-exist.invalid", Path::new("unused"))
        .is_wrong("connection", "resolve");
}

#[test]
fn what_makes_no_sense() {
    let dir = new_dir();
    let missing = dir.join("missing.pem").display().to_string();
    let table: [(&[&str], &str); 8] = [
        (&[], "URL"),
        (&["localhost:8080"], "no whole URL"),
        (&["ftp://localhost"], "http://"),
        (&["ws://localhost"], "no http:// or https://"),
        (&["http://localhost:99999"], "port"),
        (&["http://localhost", "--idle", "0s"], "--idle"),
        (&["http://localhost", "--idle", "soon"], "--idle"),
        (&["https://localhost", "--cacert", &missing], "missing.pem"),
    ];
    for (args, says) in table {
        let output = Command::new(BINARY).arg("doctor").args(args).output();
        let output = output.expect("the binary starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(
            stderr.contains(says) && stderr.lines().count() == 1,
            "{args:?}: {stderr}"
        );
        assert!(output.stdout.is_empty());
    }
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn who_reads_it_leaves() {
    let server = Server::start(&BEATS);
    let url = format!("http://{}", server.addr("http1"));
    let mut child = command(&url, &server.ca())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut stderr)
        .expect("UTF-8");
    assert_eq!(
        (child.wait().expect("it ends").code(), &*stderr),
        (Some(1), "")
    );
}

#[test]
fn who_started_it_ends_it() {
    let server = Server::start(&BEATS);
    let url = format!("http://{}", server.addr("http1"));
    let mut child = Command::new(BINARY)
        .args(["doctor", "--idle", "1h", &url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut first).expect("a line");
    signal(child.id(), "INT");
    assert_eq!(child.wait().expect("it ends").signal(), Some(2));
    server.until("it has left", |stats| {
        stats["wires"]["sse_http1"]["streams"] == 0
    });
}
