//! What cannot be done is said in a line, before anything is measured.

use std::fs::{self, set_permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use rustix::process::geteuid;

use crate::comparison::{Comparison, Files, alone, start};
use crate::support::server::{BINARY, Server};

/// Ends with this status, and says these words in one line.
fn refused(command: Command, args: &[&str], code: i32, words: &[&str]) {
    let (_alone, files) = (alone(), Files::new());
    let ended = start(command, &files, args).end();
    assert_eq!((ended.code, &*ended.stdout), (Some(code), ""), "{ended:?}");
    let said = ended.stderr.strip_suffix('\n').unwrap_or_default();
    assert!(said.starts_with("triwire: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "not {word:?} but {said}");
    }
}

fn triwire() -> Command {
    Command::new(BINARY)
}

/// As a user who is not root and may not do what root may; the binary is in a directory of its own.
fn as_nobody(files: &Files) -> Command {
    if !geteuid().is_root() {
        return triwire();
    }
    // Where it was built there may be no way for others.
    let copy = files.temporary().join("triwire");
    if !copy.exists() && fs::hard_link(BINARY, &copy).is_err() {
        fs::copy(BINARY, &copy).expect("there is room for it");
    }
    let mut nobody = Command::new("setpriv");
    nobody.args([
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ]);
    nobody.arg(copy);
    nobody
}

#[test]
fn unknown_names() {
    let wires = ["--wires", "sse-http1,sse-http3"];
    refused(
        triwire(),
        &wires,
        2,
        &["sse-http3", "sse-http2", "ws-h2c", "long-poll"],
    );
    let scenarios = ["--scenarios", "fan-out"];
    refused(
        triwire(),
        &scenarios,
        2,
        &["fan-out", "fanout", "throughput", "loss"],
    );
}

#[test]
fn wrong_numbers() {
    for (flag, value) in [
        ("--readers", "0"),
        ("--repetitions", "0"),
        ("--rate", "none"),
        ("--loss", "101"),
        ("--late", "2"),
        ("--target", "ws://localhost:1"),
    ] {
        refused(triwire(), &[flag, value], 2, &[value]);
    }
}

/// Answers whoever connects, at most so often, and hangs up.
fn stranger(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for client in listener.incoming().take(100).flatten() {
            let mut client = client;
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn targets_that_are_none() {
    let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nhi\n";
    refused(
        triwire(),
        &["--target", &stranger(text)],
        1,
        &["/stats", "triwire"],
    );
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    refused(
        triwire(),
        &["--target", &stranger(json)],
        1,
        &["/stats", "triwire"],
    );
    refused(triwire(), &["--target", &stranger("")], 1, &["127.0.0.1:"]);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", nobody.local_addr().expect("bound"));
    drop(nobody);
    refused(triwire(), &["--target", &url], 1, &["nobody listens"]);
}

#[test]
fn a_certificate_of_nobody_knows_whom() {
    let server = Server::start(&[]);
    let url = format!("https://localhost:{}", server.addr("http1s").port());
    refused(
        triwire(),
        &["--target", &url],
        1,
        &["certificate", "--cacert"],
    );
}

#[test]
fn files_that_cannot_be_written() {
    let (dir, theirs) = (Files::new(), Files::new());
    let nowhere = dir.temporary().join("none/results.json");
    let nowhere = nowhere.to_str().expect("a path");
    refused(triwire(), &["--json", nowhere], 1, &[nowhere]);
    refused(triwire(), &["--html", nowhere], 1, &[nowhere]);
    set_permissions(dir.temporary(), PermissionsExt::from_mode(0o555)).expect("it is ours");
    let closed = dir.temporary().join("results.json");
    let closed = closed.to_str().expect("a path");
    refused(as_nobody(&theirs), &["--json", closed], 1, &[closed]);
}

#[test]
fn more_readers_than_descriptors() {
    let mut few = Command::new("prlimit");
    few.args(["--nofile=64:64", BINARY]);
    let args = [
        "--wires",
        "ws",
        "--scenarios",
        "fanout",
        "--readers",
        "1000",
    ];
    refused(few, &args, 1, &["64", "--readers", "ulimit -n"]);
}

#[test]
fn a_bad_network_without_root() {
    let theirs = Files::new();
    let args = ["--wires", "ws", "--scenarios", "loss", "--quick"];
    refused(as_nobody(&theirs), &args, 1, &["loss", "root"]);
    // The rest is done.
    let what = ["--wires", "ws", "--scenarios", "loss,fanout", "--quick"];
    let load = ["--readers", "5", "--repetitions", "1"];
    let args = [&what[..], &load].concat();
    let done = Comparison::start_by(&alone(), as_nobody(&theirs), &args).end();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let mut lines = done.stderr.lines();
    let why = lines.find(|line| line.starts_with("triwire: left out: loss: "));
    assert!(
        why.is_some_and(|why| why.contains("root")),
        "{}",
        done.stderr
    );
    let scenarios = done.runs().iter().map(|run| &run["scenario"]);
    assert!(scenarios.eq(["fanout"]), "{}", done.results);
    let skipped = done.results["skipped"].to_string();
    assert!(skipped.contains("\"loss: "), "{skipped}");
}

#[test]
fn a_second_one_at_the_same_time() {
    let alone = alone();
    let what = ["--wires", "ws", "--scenarios", "fanout", "--quick"];
    let load = ["--readers", "5", "--repetitions", "100"];
    let args = [&what[..], &load].concat();
    let mut first = Comparison::start(&alone, &args);
    first.until_measured();
    let files = Files::new();
    let second = start(triwire(), &files, &args).end();
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("another comparison"), "{second:?}");
    first.tool.signal("INT");
    let first = first.end();
    assert_eq!(first.code, Some(130), "not at work: {}", first.stderr);
}
