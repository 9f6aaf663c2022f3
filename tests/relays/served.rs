//! Real servers: what they say of the broker, and what who publishes and who reads is told.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::Broker;
use crate::support::server::{BINARY, LISTENERS, PATIENCE, Server, new_dir};

fn serve(broker: &Broker, name: &str) -> Server {
    let args = [
        "--relay",
        &broker.url,
        "--name",
        name,
        "--relay-timeout",
        "2s",
    ];
    Server::start(&args)
}

/// The status and the body of an answer.
fn asked(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let (head, body) = server.request(&format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (
        status.expect("a status"),
        serde_json::from_str(&body).unwrap_or_default(),
    )
}

/// Asks until it is answered like this.
fn until(server: &Server, method: &str, path: &str, status: u16) -> Value {
    let began = Instant::now();
    loop {
        let (now, body) = asked(server, method, path, "again");
        if now == status {
            return body;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{path}: {now} {body}: {}",
            server.stderr()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ids and data of all that there is on a topic.
fn events(server: &Server) -> Vec<(String, String)> {
    let (status, answer) = asked(server, "GET", "/poll?topic=a&after=0-0&timeout=1", "");
    assert_eq!(status, 200, "{answer}");
    let events = answer["events"].as_array().expect("a list");
    let word = |event: &Value, key: &str| event[key].as_str().expect("text").to_owned();
    events
        .iter()
        .map(|event| (word(event, "id"), word(event, "data")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_are_one_and_say_when_the_broker_is_away() {
    let Some((broker, control)) = Broker::fragile().await else {
        return;
    };
    let (a, b) = (serve(&broker, "a"), serve(&broker, "b"));
    let one = a.publish("a", "1");
    let two = b.publish("a", "2");
    for server in [&a, &b] {
        until(server, "GET", "/readyz", 200);
    }
    control.kill().await;
    let why = until(&a, "GET", "/readyz", 503);
    assert!(
        why["detail"]
            .as_str()
            .is_some_and(|words| words.contains("relay")),
        "{why}"
    );
    assert_eq!(asked(&b, "GET", "/healthz", "").0, 200);
    let began = Instant::now();
    let (status, why) = asked(&b, "POST", "/publish/a", "not there");
    assert_eq!(status, 503, "{why}");
    assert!(began.elapsed() < Duration::from_secs(8));
    control.start().await;
    for server in [&a, &b] {
        until(server, "GET", "/readyz", 200);
    }
    let three = a.publish("a", "3");
    let all: Vec<_> = [(one, "1"), (two, "2"), (three, "3")]
        .map(|(id, text)| (id, text.to_owned()))
        .into();
    let began = Instant::now();
    while events(&b).len() < 3 {
        assert!(began.elapsed() < PATIENCE, "{:?}", events(&b));
    }
    assert_eq!(events(&a), all);
    assert_eq!(events(&b), all);
    // And one that comes while nobody is there waits.
    control.kill().await;
    let url = broker.url.clone();
    let starting = tokio::task::spawn_blocking(move || serve(&Broker { url }, "late"));
    until(&a, "GET", "/readyz", 503);
    control.start().await;
    let late = starting.await.expect("it starts");
    assert_eq!(events(&late), all);
}

#[test]
fn a_server_says_for_what_it_waits() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    // Accepted by the kernel, and answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let dir = new_dir();
    let mut serve = Command::new(BINARY);
    serve.arg("serve").arg("--certs").arg(dir.join("certs"));
    for name in LISTENERS {
        serve.args([format!("--{name}"), "127.0.0.1:0".into()]);
    }
    serve.args(["--relay-timeout", "1s", "--relay"]);
    serve.arg(broker.by(&format!("localhost:{port}")).url);
    let mut child = serve.stderr(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    let said = lines.find(|line| line.contains("it is tried again"));
    let is_waiting = child.try_wait().expect("it can be waited for").is_none();
    let _ = child.kill();
    let _ = child.wait();
    let _ = std::fs::remove_dir_all(dir);
    assert!(said.is_some_and(|line| line.contains("relay ")));
    assert!(is_waiting);
}
