//! What is no source: said at the start when it is the URL, and else while everything else goes on.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::broker::Broker;
use crate::seen::{begin, until_said};
use crate::support::server::{BINARY, LISTENERS, new_dir};

/// What a start with these bridges says that ends at once.
fn mistakes(urls: &[&str]) -> Vec<String> {
    let dir = new_dir();
    let mut serve = Command::new(BINARY);
    serve.arg("serve").arg("--certs").arg(dir.join("certs"));
    for name in LISTENERS {
        serve.args([format!("--{name}"), "127.0.0.1:0".into()]);
    }
    for url in urls {
        serve.args(["--subscribe", url]);
    }
    let done = serve.stdin(Stdio::null()).output().expect("it starts");
    let _ = std::fs::remove_dir_all(dir);
    let words = String::from_utf8(done.stderr).expect("text");
    assert_eq!(done.status.code(), Some(2), "{words}");
    assert!(!words.contains("cret"), "{words}");
    let lines = words.lines().filter(|line| line.contains("--subscribe: "));
    lines.map(str::to_owned).collect()
}

#[test]
fn all_that_is_wrong_with_urls_is_said_at_once() {
    let lines = mistakes(&[
        "redis://:se-cret@h?channel=a",
        "kafka://h:1?topic=a",
        "redis://",
    ]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("URL 2 of 3 is none; write redis://HOST:PORT?channel=NAME"));
    let urls = [
        "redis://:se-cret@h:1?topic=$a&type=gap&x=1",
        "redis://:se-cret@h:x?channel=a&pattern=b",
        "redis://h?channel=$a",
        "redis://h?channel=a%20b",
        "redis://h?pattern=$a*",
        "redis://h?channel=a&topic=collections/b",
        "rediss://h?channel=a&cacert=/none",
        "rediss://h?channel=a&cacert=/dev/null",
    ];
    let lines = mistakes(&urls);
    for (at, words) in [
        (1, "topic=$a: topics that begin with $"),
        (1, "type=: ready, gap, busy"),
        (1, "it needs channel= or pattern=, one of them"),
        (1, "?x= is not known: topic, type, channel, pattern, cacert"),
        (2, "it has no HOST:PORT"),
        (2, "it needs channel= or pattern=, one of them"),
        (
            3,
            "give topic=, since the name of what comes can be none: topics that begin",
        ),
        (
            4,
            "give topic=, since the name of what comes can be none: a topic is",
        ),
        (
            5,
            "give topic=, since the name of what comes can be none: topics that begin",
        ),
        (6, "topic=collections/b: topics that begin"),
        (7, "cacert=/none: No such file"),
        (8, "cacert=/dev/null: there is no certificate in it"),
    ] {
        let begin = format!("--subscribe: URL {at} of 8: {words}");
        assert!(
            lines.iter().any(|line| line.contains(&begin)),
            "{begin}: {lines:#?}"
        );
    }
}

#[test]
#[cfg(all(feature = "amqp", feature = "mqtt", feature = "nats"))]
fn each_source_has_words_of_its_own() {
    for (url, words) in [
        ("nats://h?topic=a", "it needs subject="),
        ("nats://h?subject=a..b", "subject= is none"),
        ("nats://h?subject=$SYS.>", "give topic="),
        ("nats://h?subject=a&cacert=/none", "/none: No such file"),
        (
            "tls://h?subject=a&cacert=/dev/null",
            "/dev/null: there is no cert",
        ),
        ("mqtt://h?topic=a", "it needs filter="),
        ("mqtt://h?filter=a/%23/b", "filter= is none"),
        ("mqtt://h?filter=$SYS/%23", "give topic="),
        ("mqtts://h?filter=a&cacert=/none", "/none: No such file"),
        (
            "mqtts://h?filter=a&cacert=/dev/null",
            "/dev/null: there is no cert",
        ),
        ("amqp://h?topic=a", "it needs queue="),
        ("amqp://h?queue=a&prefetch=0", "prefetch= is 1 to 65535"),
        ("amqps://-:1?queue=a", "its host can be in no certificate"),
        (
            "amqps://h?queue=a&cacert=/dev/null",
            "/dev/null: there is no cert",
        ),
    ] {
        let lines = mistakes(&[url]);
        assert!(
            lines.iter().any(|line| line.contains(words)),
            "{url}: {lines:?}"
        );
    }
}

/// The same place, spoken to in every language.
fn urls(port: u16) -> Vec<(&'static str, String)> {
    let mut urls = vec![(
        "Redis",
        format!("redis://:se-cret@127.0.0.1:{port}?channel=a"),
    )];
    if cfg!(feature = "nats") {
        urls.push((
            "NATS",
            format!("nats://u:se-cret@127.0.0.1:{port}?subject=a"),
        ));
    }
    if cfg!(feature = "mqtt") {
        urls.push((
            "MQTT",
            format!("mqtt://u:se-cret@127.0.0.1:{port}?filter=a"),
        ));
    }
    if cfg!(feature = "amqp") {
        urls.push(("AMQP", format!("amqp://u:se-cret@127.0.0.1:{port}?queue=a")));
    }
    urls
}

#[test]
fn what_speaks_another_language_is_told_apart_and_the_server_goes_on() {
    let (Some(redis), Some(nats)) = (Broker::redis(), Broker::nats()) else {
        return;
    };
    for (spoken, port) in [("Redis", redis.port), ("NATS", nats.port)] {
        for (wanted, url) in urls(port) {
            if wanted == spoken {
                continue;
            }
            let server = begin(&url, &[]);
            until_said(&server, &format!("it speaks {spoken} there, not {wanted}"));
            server.publish("a", "still there");
            let ready = server
                .request("GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            assert!(ready.0.starts_with("HTTP/1.1 200"), "{ready:?}");
            assert!(!server.stderr().contains("cret"), "{}", server.stderr());
        }
    }
}

#[test]
fn who_takes_and_never_answers_is_tried_again_and_leaves_nothing_behind() {
    // Each has a place of its own, so that the tries are counted.
    let asked: Vec<_> = urls(0).into_iter().map(|(wanted, _)| wanted).collect();
    let silent: Vec<_> = asked
        .iter()
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let servers: Vec<_> = silent
        .iter()
        .enumerate()
        .map(|(at, silent)| {
            let port = silent.local_addr().expect("it is bound").port();
            begin(&urls(port)[at].1, &[])
        })
        .collect();
    for ((server, silent), wanted) in servers.iter().zip(&silent).zip(&asked) {
        until_said(server, "it is tried again");
        // Some of them only say hello, to find out who is there.
        let several = if *wanted == "AMQP" { 12 } else { 2 };
        let tries: Vec<_> = (0..several)
            .map(|_| silent.accept().expect("a try"))
            .collect();
        let left = threads(server.pid(), "lapin");
        assert!(left <= 2, "{left} threads");
        drop(tries);
    }
}

/// How many threads of a process have this in their names.
fn threads(process: u32, name: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let names = tasks
        .flatten()
        .flat_map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.filter(|comm| comm.contains(name)).count()
}
