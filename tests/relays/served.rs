//! Real servers: what they say of the broker, and what who publishes and who reads is told.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::support::raw::{Answer, Peer};
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
    ids_and_data(&answer)
}

fn ids_and_data(answer: &Value) -> Vec<(String, String)> {
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
    // And one that comes while nobody is there waits, and is watched meanwhile.
    control.kill().await;
    until(&a, "GET", "/readyz", 503);
    let mut late = Waiting::on(&broker.url);
    let http1 = late.address();
    control.start().await;
    let began = Instant::now();
    while get(http1, "/readyz", "").status != 200 {
        assert!(
            began.elapsed() < PATIENCE,
            "{:?}",
            get(http1, "/readyz", "")
        );
    }
    let told = get(http1, "/poll?topic=a&after=0-0&timeout=1", "").body;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(ids_and_data(&told), all);
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

/// A server that has not begun to serve.
struct Waiting {
    child: Child,
    dir: PathBuf,
    lines: Box<dyn Iterator<Item = String>>,
    seen: Vec<String>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Waiting {
    fn on(relay: &str) -> Waiting {
        let dir = new_dir();
        let mut serve = Command::new(BINARY);
        serve.arg("serve").arg("--certs").arg(dir.join("certs"));
        for name in LISTENERS {
            serve.args([format!("--{name}"), "127.0.0.1:0".into()]);
        }
        serve.args(["--relay-timeout", "1s", "--relay", relay]);
        let serve = serve.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = serve.spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let lines = Box::new(lines.map_while(Result::ok));
        Waiting {
            child,
            dir,
            lines,
            seen: Vec::new(),
        }
    }

    /// A line that it says with this in it, sooner or later.
    fn said(&mut self, part: &str) -> String {
        let is_it = |line: &String| line.contains(part);
        while !self.seen.iter().any(is_it) {
            let line = self.lines.next();
            self.seen.push(line.expect("it says so before it ends"));
        }
        self.seen
            .iter()
            .find(|line| is_it(line))
            .cloned()
            .expect("it is seen")
    }

    /// Where it listens, once it says so.
    fn address(&mut self) -> SocketAddr {
        let line = self.said("only what is asked about this server");
        let rest = line.split("http1 http://").nth(1).expect("its addresses");
        let address = rest.split(',').next().expect("a beginning");
        address.parse().expect("an address")
    }
}

fn get(from: SocketAddr, path: &str, headers: &str) -> Answer {
    let mut peer = Peer::cleartext(from);
    peer.say(format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
    ));
    peer.answer()
}

#[test]
fn a_server_says_for_what_it_waits() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    // Accepted by the kernel, and answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let mut server = Waiting::on(&broker.by(&format!("localhost:{port}")).url);
    assert!(server.said("it is tried again").contains("relay "));
    // It lives, and says what is wrong.
    let http1 = server.address();
    assert_eq!(get(http1, "/healthz", "").status, 200);
    assert_eq!(get(http1, "/stats", "").status, 200);
    assert_eq!(get(http1, "/metrics", "").status, 200);
    let ready = get(http1, "/readyz", "");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("relay-away"), "{}", ready.body);
    // An EventSource gives up on any other status.
    let reader = get(http1, "/events?topic=a", "accept: text/event-stream\r\n");
    assert_eq!(reader.status, 200);
    let is_busy = |body: &str| body.contains("event: busy") && body.contains("starting");
    assert!(is_busy(&reader.body), "{}", reader.body);
    for path in ["/poll?topic=a", "/queries", "/"] {
        let answer = get(http1, path, "");
        assert_eq!(answer.status, 503, "{path}");
        assert_ne!(answer.header("retry-after"), "", "{path}");
    }
}
