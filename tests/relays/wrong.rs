//! What is no relay, or one that does not want us: a server ends at the start, with one line that says why.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::broker::Broker;
use crate::support::server::{BINARY, LISTENERS, Server, new_dir};

/// What a server says that ends at once.
pub fn ends(url: &str) -> String {
    let dir = new_dir();
    let mut serve = Command::new(BINARY);
    serve.arg("serve").arg("--certs").arg(dir.join("certs"));
    for name in LISTENERS {
        serve.args([format!("--{name}"), "127.0.0.1:0".into()]);
    }
    serve
        .args(["--relay-timeout", "4s"])
        .env("TRIWIRE_RELAY", url);
    let done = serve.stdin(Stdio::null()).output().expect("it starts");
    let _ = std::fs::remove_dir_all(dir);
    let words = String::from_utf8(done.stderr).expect("text");
    assert_eq!(done.status.code(), Some(2), "{url}: {words}");
    assert_eq!(done.stdout, b"", "{url}");
    words
}

/// The line that is no log line.
pub fn last(words: &str) -> &str {
    words.trim_end().lines().last().expect("a line")
}

#[test]
fn a_wrong_password_ends_it() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let address = broker.address();
    let (scheme, rest) = broker.url.split_once("://").expect("a URL");
    let (_, path) = rest.split_once(address).expect("an address");
    let user = match broker.kind() {
        "redis" => "",
        "nats" => "user",
        _ => "postgres",
    };
    let words = ends(&format!("{scheme}://{user}:wrong-secret@{address}{path}"));
    let line = last(&words);
    assert!(line.contains("--relay: "), "{words}");
    assert!(!words.contains("wrong-secret"), "{words}");
    let why = match broker.kind() {
        "redis" => "authentication failed",
        "nats" => "authorization violation",
        _ => "password authentication failed",
    };
    assert!(line.to_lowercase().contains(&why.to_lowercase()), "{words}");
    // None at all is wrong as well.
    let user = if broker.kind() == "postgres" {
        "postgres@"
    } else {
        ""
    };
    let words = ends(&format!("{scheme}://{user}{address}{path}"));
    assert!(last(&words).contains("--relay: "), "{words}");
}

#[test]
fn what_speaks_another_language_ends_it() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    // An address of each kind, by the script, and one of ours.
    let mut others = Broker::variable("TRIWIRE_TEST_OTHERS").unwrap_or_default();
    let web = Server::start(&[]);
    others += &format!(" HTTP={}", web.addr("http1"));
    for other in others.split_whitespace() {
        let (spoken, address) = other.split_once('=').expect("SPOKEN=ADDRESS");
        let url = match broker.kind() {
            _ if spoken.eq_ignore_ascii_case(broker.kind()) => continue,
            "redis" => format!("redis://:x@{address}"),
            "nats" => format!("nats://a:x@{address}"),
            _ => format!("postgres://a:x@{address}/b"),
        };
        let words = ends(&url);
        assert!(
            last(&words).contains(&format!("it speaks {spoken} there")),
            "{url}: {words}"
        );
        if broker.kind() == "redis" && spoken == "TLS" {
            assert!(last(&words).contains("rediss://"), "{words}");
        }
    }
    if broker.kind() == "redis" {
        let words = ends(&broker.url.replace("redis://", "rediss://"));
        assert!(
            last(&words).contains("it speaks Redis there without TLS"),
            "{words}"
        );
    }
}

#[test]
fn what_speaks_nothing_that_is_known_ends_it() {
    // One whose words are several lines, which are one in a log.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"220 mail\r\n\r\n220 more mail\r\n");
        }
    });
    let words = ends(&format!("redis://localhost:{port}"));
    let line = last(&words);
    assert!(
        line.contains("it does not answer as a Redis server does"),
        "{words}"
    );
    let mut lines = words.lines().filter(|line| !line.contains(" made "));
    assert!(lines.all(|line| line.contains("relay")), "{words}");
}

#[test]
fn a_key_of_somebody_elses_ends_it() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    if broker.kind() != "redis" || broker.url.starts_with("rediss") {
        return;
    }
    let (_, stream) = broker.url.split_once("?stream=").expect("a stream");
    broker.redis_cli(&["set", &format!("{{{stream}}}:events"), "a string"]);
    let words = ends(&broker.url);
    assert!(last(&words).contains("WRONGTYPE"), "{words}");
}

#[test]
fn a_number_that_is_no_database_ends_it() {
    let Some(broker) = Broker::shared().filter(|broker| broker.kind() == "redis") else {
        return;
    };
    let words = ends(&broker.url.replace('?', "/999?"));
    assert!(last(&words).contains("is no database"), "{words}");
}

#[test]
fn tls_where_there_is_none_ends_it() {
    let Some(broker) = Broker::shared().filter(|broker| broker.url.starts_with("nats://")) else {
        return;
    };
    let words = ends(&broker.url.replace("nats://", "tls://"));
    let why = "it speaks NATS there without TLS, for which the URL is nats://";
    assert!(last(&words).contains(why), "{words}");
}

#[test]
fn a_url_that_is_none_ends_it() {
    if Broker::shared().is_none() {
        return;
    }
    for (url, word) in [
        ("redis://localhost:1?stream=a%20b", "stream"),
        ("redis://localhost:1?x=y", "stream and cacert"),
        ("redis://u:a?secret@localhost:1", "%3F"),
        ("nats://localhost:1?stream=a.b", "stream"),
        ("nats://localhost:1?replicas=9", "replicas"),
        ("nats://localhost:1?cacert=/none", "/none: No such file"),
        (
            "tls://localhost:1?cacert=/dev/null",
            "/dev/null: there is no cert",
        ),
        ("rediss://localhost:1?cacert=/none", "/none: No such file"),
        (
            "rediss://localhost:1?cacert=/dev/null",
            "/dev/null: there is no cert",
        ),
        (
            "rediss+cluster://localhost:1?cacert=/dev/null",
            "/dev/null: there is no cert",
        ),
        (
            "redis+sentinel://localhost:1/main?cacert=/dev/null",
            "cacert is for TLS",
        ),
        (
            "postgres://u:secret@localhost:1/d?sslmode=require&sslrootcert=/dev/null",
            "sslrootcert=/dev/null: there is no cert",
        ),
        ("nats://:x", "NATS"),
        ("postgres://u:secret@localhost:1/d?stream=a%20b", "stream"),
        ("postgres://u:secret@localhost:1/d?x=y", "x"),
        ("redis+sentinel://localhost:1", "MASTER"),
        ("redis+cluster://localhost", "HOST:PORT"),
    ] {
        let words = ends(url);
        assert!(last(&words).contains(word), "{url}: {words}");
        assert!(!words.contains("secret"), "{url}: {words}");
    }
}

#[cfg(feature = "nats")]
mod nats {
    use async_nats::jetstream::stream::{Config, DiscardPolicy};

    use super::{ends, last};
    use crate::broker::Broker;

    /// A stream that somebody has made.
    async fn made(broker: &Broker, config: Config) {
        let (_, stream) = broker.url.split_once("?stream=").expect("a stream");
        let config = Config {
            name: format!("{stream}-events"),
            subjects: vec![format!("{stream}.events.{}", config.subjects.join("."))],
            ..config
        };
        let made = broker.jetstream().await.create_stream(config).await;
        made.expect("it is a good one");
    }

    #[tokio::test]
    async fn a_stream_that_is_another_ends_it() {
        for (config, word) in [
            (
                Config {
                    subjects: vec!["*".into()],
                    ..Config::default()
                },
                "somebody else's",
            ),
            (
                Config {
                    subjects: vec!["17-a".into()],
                    discard: DiscardPolicy::New,
                    max_messages: 10,
                    ..Config::default()
                },
                "--discard=old",
            ),
        ] {
            let Some(broker) = Broker::shared().filter(|broker| broker.kind() == "nats") else {
                return;
            };
            made(&broker, config).await;
            let url = broker.url.clone();
            let words = tokio::task::spawn_blocking(move || ends(&url))
                .await
                .expect("it ends");
            assert!(last(&words).contains(word), "{words}");
        }
    }
}
