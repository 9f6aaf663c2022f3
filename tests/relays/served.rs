//! Real servers: what they say of the broker, and what who publishes and who reads is told.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

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
    let kind = match body.starts_with('{') {
        true => "content-type: application/json\r\n",
        false => "",
    };
    let (head, body) = server.request(&format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}content-length: {length}\r\n\r\n{body}"
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

/// The same of what is there; the body is JSON.
fn done(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = asked(server, method, path, &body.to_string());
    assert!(
        (200..300).contains(&status),
        "{method} {path}: {status} {answer}"
    );
    answer
}

/// What a subscription is told after a cursor, or from the start, once it has told this.
fn told(server: &Server, subscription: &str, after: Option<&str>, part: &str) -> String {
    let began = Instant::now();
    let mut after = after.map(str::to_owned);
    loop {
        let cursor = after.map(|cursor| format!("&after={cursor}"));
        let cursor = cursor.unwrap_or_default();
        let path = format!("/stream/{subscription}?poll=1&timeout=1{cursor}");
        let (status, answer) = asked(server, "GET", &path, "");
        assert_eq!(status, 200, "{answer}");
        let cursor = answer["cursor"].as_str().expect("a cursor").to_owned();
        if answer["events"].to_string().contains(part) {
            return cursor;
        }
        assert!(began.elapsed() < PATIENCE, "{part}: {answer}");
        after = Some(cursor);
    }
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
fn what_is_defined_on_one_server_is_there_on_all() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let (a, b) = (serve(&broker, "a"), serve(&broker, "b"));
    let columns = json!([{ "name": "n", "type": "int64" }]);
    done(
        &a,
        "POST",
        "/streams",
        &json!({ "name": "t", "columns": columns }),
    );
    let query = json!({ "sql": "select sum(n) as s from t", "every_ms": 50 });
    done(&b, "POST", "/queries/q", &query);
    let again = asked(&a, "POST", "/queries/q", &query.to_string());
    assert_eq!(again.0, 409, "{}", again.1);
    let made = done(&a, "POST", "/subscriptions", &json!({ "queries": ["q"] }));
    let id = made["subscription_id"].as_str().expect("an id").to_owned();
    let row = |server: &Server, n: u64| {
        let rows = json!({ "columns": ["n"], "data": [[n]] });
        done(server, "POST", "/streams/t/ingest", &rows);
    };
    row(&b, 1);
    let result = |sum: u64| format!("\"result\":{sum}}}");
    // Each poll goes to another server, as a proxy sends them.
    let mut cursor = told(&b, &id, None, &result(1));
    for n in 1..5 {
        let (one, other) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        row(one, 10);
        cursor = told(other, &id, Some(&cursor), &result(1 + 10 * n));
    }
    // The one that made it dies, and another begins.
    drop(a);
    let c = serve(&broker, "c");
    row(&c, 100);
    cursor = told(&c, &id, Some(&cursor), &result(141));
    done(
        &c,
        "PUT",
        &format!("/subscriptions/{id}"),
        &json!({ "topics": ["z"] }),
    );
    done(&b, "POST", "/publish/z", &json!("said"));
    told(&b, &id, Some(&cursor), "said");
    done(&c, "DELETE", "/queries/q", &Value::Null);
    done(&b, "DELETE", "/streams/t", &Value::Null);
    for server in [&b, &c] {
        until(server, "GET", "/queries/q", 404);
        until(server, "GET", "/streams/t", 404);
    }
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
