//! The command line's clients, as a shell runs them: what they print, how they end, and what they survive.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::server::{BINARY, Server};
use support::terminal::Terminal;
use support::tool::{TRANSPORTS, Tool, transport, url};

/// Starts a subscriber and waits until the server counts it.
fn subscribed(server: &Server, wire: &str, args: &[&str]) -> Tool {
    let (_, counted) = transport(wire);
    let before = server.stats()["wires"][counted]["streams_total"].clone();
    let tool = Tool::on(server, "subscribe", wire, args);
    server.until("the subscriber is there", |stats| {
        stats["wires"][counted]["streams_total"].as_u64() > before.as_u64()
    });
    tool
}

/// Publishes lines, and returns how it ended.
fn publish(server: &Server, wire: &str, args: &[&str], input: &str) -> (ExitStatus, String) {
    let mut tool = Tool::on(server, "publish", wire, args);
    tool.write(input);
    tool.end()
}

fn retained(server: &Server, topic: &str) -> Vec<Value> {
    let answer = server.get(&format!("/poll?topic={topic}&after=0-0&timeout=0"));
    let events = answer["events"].as_array().expect("a list").clone();
    events
        .into_iter()
        .map(|event| event["data"].clone())
        .collect()
}

#[test]
fn the_same_events_over_every_transport() {
    let server = Server::start(&[]);
    let first = server.publish("t", "plain ü");
    for (wire, ..) in TRANSPORTS {
        let lines = "{\"a\": 1.50}\n\n\"x\"\n";
        let (status, said) = publish(&server, wire, &[wire, "--json", "--type", "k"], lines);
        assert!(status.success(), "{wire}: {said}");
        let (status, said) = publish(&server, wire, &[wire], " a\n\nb");
        assert!(status.success(), "{wire}: {said}");
        let want = [
            json!({"a": 1.5}),
            json!("x"),
            json!(" a"),
            json!(""),
            json!("b"),
        ];
        assert_eq!(retained(&server, wire), want, "{wire}");

        let args = ["t", wire, "--after", "0-0", "--limit", "6"];
        let tool = subscribed(&server, wire, &args);
        let got: Vec<Value> = (0..6).map(|_| tool.line()).collect();
        assert_eq!(
            got[0],
            json!({"id": first, "topic": "t", "data": "plain ü"}),
            "{wire}"
        );
        let mut data = Vec::new();
        for event in &got[1..] {
            assert_eq!(event["topic"], wire);
            assert!(
                event["id"].as_str().is_some_and(|id| id.contains('-')),
                "{event}"
            );
            data.push(event["data"].clone());
        }
        assert_eq!(data, want, "{wire}");
        assert_eq!(
            (&got[1]["type"], &got[3]["type"]),
            (&json!("k"), &Value::Null)
        );
        let (status, said) = tool.end();
        assert_eq!((status.code(), &*said), (Some(0), ""), "{wire}");
    }
}

#[test]
fn an_event_is_one_line_whatever_it_is() {
    let server = Server::start(&[]);
    let body = "{\"a\":\n1,\r\n\"b\": \"x\\ny\"}";
    let request = format!(
        "POST /publish/t HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, _) = server.request(&request);
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    server.publish("t", "two\nlines");
    for (wire, ..) in TRANSPORTS {
        let tool = subscribed(&server, wire, &["t", "--after", "0-0", "--limit", "2"]);
        assert_eq!(tool.line()["data"], json!({"a": 1, "b": "x\ny"}), "{wire}");
        assert_eq!(tool.line()["data"], "two\nlines", "{wire}");
    }
}

/// A server that stands still for longer than the client's patience, and goes on.
#[test]
fn a_subscriber_outlives_a_silence() {
    let soon = ["--retry-min", "10ms", "--retry-max", "10ms"];
    let often = ["--heartbeat", "100ms", "--ping", "100ms"];
    let server = Server::start(&[soon, often].concat());
    for (wire, ..) in TRANSPORTS {
        // A poll has no heartbeat, and is silent until something comes.
        if wire == "long-poll" {
            continue;
        }
        let tool = subscribed(&server, wire, &[wire, "--idle", "500ms"]);
        server.publish(wire, "before");
        assert_eq!(tool.line()["data"], "before", "{wire}");
        server.signal("STOP");
        tool.until_said("nothing for 500ms");
        server.signal("CONT");
        server.publish(wire, "after");
        assert_eq!(tool.line()["data"], "after", "{wire}");
        tool.until_said("is back");
        server.publish(wire, "last");
        assert_eq!(tool.line()["data"], "last", "{wire}");
    }
}

/// Without a log on disk the new server knows nothing of the old one's events, and says so.
#[test]
fn a_subscriber_outlives_a_restart() {
    let server = Server::start(&[]);
    let addr = server.addr("http1").to_string();
    let url = format!("http://{addr}");
    let tools = ["sse-http1", "ws", "long-poll"].map(|wire| {
        let tool = Tool::start(&[
            "subscribe",
            "t",
            "--wire",
            wire,
            "--url",
            &url.replace("http", if wire == "ws" { "ws" } else { "http" }),
        ]);
        (wire, tool)
    });
    server.until("all are there", |stats| {
        let streams = |wire: &str| stats["wires"][wire]["streams_total"].as_u64().unwrap_or(0);
        streams("sse_http1") > 0 && streams("websocket") > 0 && streams("long_poll") > 1
    });
    let before = server.publish("t", "before");
    for (wire, tool) in &tools {
        assert_eq!(tool.line()["id"], before, "{wire}");
    }
    let dir = server.kill();
    for (_, tool) in &tools {
        tool.until_said("again in");
    }
    let server = Server::start_in(dir, &["--http1", &addr]);
    let after = server.publish("t", "after");
    for (wire, tool) in &tools {
        let notice = tool.line();
        assert_eq!(
            (&notice["type"], &notice["reason"]),
            (&json!("$gap"), &json!("expired")),
            "{wire}"
        );
        assert_eq!(
            tool.line(),
            json!({"id": after, "topic": "t", "data": "after"}),
            "{wire}"
        );
    }
    for (_, tool) in tools {
        tool.until_said("is back");
    }
}

/// Takes the next connection and passes on what is said, up to the answer to a publish, which it keeps.
fn lose_the_answer(front: &TcpListener, server: SocketAddr) {
    let (mut client, _) = front.accept().expect("a client comes");
    let mut back = TcpStream::connect(server).expect("the server accepts");
    let mut request = client.try_clone().expect("a second handle");
    let mut to_server = back.try_clone().expect("a second handle");
    std::thread::spawn(move || std::io::copy(&mut request, &mut to_server));
    let mut answer = [0; 1024];
    loop {
        let count = back.read(&mut answer).expect("an answer");
        assert!(count > 0, "the server closes");
        if answer[..count].starts_with(b"HTTP/1.1 201") {
            break;
        }
        client.write_all(&answer[..count]).expect("it reads");
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
}

/// Passes everything both ways, for as long as the client wants.
fn pass(front: TcpListener, server: SocketAddr) {
    std::thread::spawn(move || {
        for client in front.incoming().map_while(Result::ok) {
            let back = TcpStream::connect(server).expect("the server accepts");
            let (mut from, mut to) = (
                client.try_clone().expect("a handle"),
                back.try_clone().expect("a handle"),
            );
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (back, client);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
}

#[test]
fn a_line_whose_answer_was_lost_is_published_once() {
    let server = Server::start(&[]);
    let front = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", front.local_addr().expect("bound"));
    let mut tool = Tool::start(&["publish", "t", "--url", &url]);
    tool.write("once\ntwice?\n");
    lose_the_answer(&front, server.addr("http1"));
    pass(front, server.addr("http1"));
    tool.write("and on\n");
    let (status, said) = tool.end();
    assert!(status.success(), "{said}");
    assert_eq!(retained(&server, "t"), ["once", "twice?", "and on"]);
}

#[test]
fn a_publisher_waits_for_a_server_that_comes_back() {
    let server = Server::start(&[]);
    let addr = server.addr("http1").to_string();
    let url = format!("http://{addr}");
    let mut tool = Tool::start(&["publish", "t", "--url", &url]);
    tool.write("before\n");
    server.until("it is there", |stats| stats["log"]["events"] == 1);
    let dir = server.kill();
    tool.write("meanwhile\n");
    tool.until_said("again in");
    let server = Server::start_in(dir, &["--http1", &addr]);
    tool.write("after\n");
    let (status, said) = tool.end();
    assert!(status.success() && said.contains("is back"), "{said}");
    assert_eq!(retained(&server, "t"), ["meanwhile", "after"]);
}

#[test]
fn a_bad_line_is_named_and_those_before_it_are_published() {
    let server = Server::start(&["--event-bytes", "100B"]);
    let long = "x".repeat(101);
    let table = [
        (
            "--json",
            "1\n2\n\n{\n5\n".to_owned(),
            "line 4",
            vec![json!(1), json!(2)],
        ),
        (
            "--json",
            format!("1\n\"{long}\"\n"),
            "line 2",
            vec![json!(1)],
        ),
        (
            "--type=m",
            format!("a\nb\n{long}\nd\n"),
            "line 3",
            vec![json!("a"), json!("b")],
        ),
    ];
    for (n, (flag, input, named, want)) in table.into_iter().enumerate() {
        let topic = format!("t{n}");
        let (status, said) = publish(&server, "sse-http1", &[&topic, flag], &input);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("triwire: ") && said.contains(named),
            "{said}"
        );
        assert_eq!(retained(&server, &topic), want);
    }
}

#[test]
fn many_lines_keep_their_order() {
    let server = Server::start(&[]);
    let input: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    let (status, said) = publish(&server, "sse-http2", &["t"], &input);
    assert!(status.success(), "{said}");
    let tool = subscribed(
        &server,
        "ws-http2",
        &["t", "--after", "0-0", "--limit", "20000"],
    );
    for n in 0..20_000 {
        assert_eq!(tool.line()["data"], n.to_string());
    }
    assert_eq!(tool.end().0.code(), Some(0));
}

#[test]
fn each_failure_has_its_word() {
    let server = Server::start(&[]);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody_url = format!("http://{}", nobody.local_addr().expect("bound"));
    drop(nobody);
    let ca = server.ca().to_str().expect("a path").to_owned();
    let (http1, h2c) = (url(&server, "http1"), url(&server, "h2c"));
    let (http2, http1s) = (url(&server, "http2"), url(&server, "http1s"));
    let not_tls = http1.replace("http", "https");
    let not_cleartext = http2.replace("https", "http");
    // The same address by a name that no certificate has.
    let by_address = http2.replace("localhost", "[::ffff:127.0.0.1]");
    let table: [(i32, &[&str], &str); 21] = [
        (2, &["subscribe"], "TOPIC"),
        (
            2,
            &["subscribe", "t", "--wire", "carrier-pigeon"],
            "carrier-pigeon",
        ),
        (
            2,
            &["subscribe", "t", "--url", "localhost:8080"],
            "https://localhost:8443",
        ),
        (
            2,
            &["subscribe", "t", "--url", &http1, "--wire", "wss"],
            "write https://",
        ),
        (
            2,
            &[
                "subscribe",
                "t",
                "--url",
                &http2,
                "--cacert",
                "/does/not/exist",
            ],
            "/does/not/exist",
        ),
        (2, &["subscribe", "t", "--limit", "0"], "0"),
        (2, &["subscribe", "t", "--idle", "5"], "unit"),
        (2, &["generate"], "call-center"),
        (2, &["generate", "call-center", "--rate", "0"], "0.01"),
        (
            1,
            &["subscribe", "t", "--url", &nobody_url],
            "nobody listens",
        ),
        (1, &["publish", "t", "--url", &nobody_url], "nobody listens"),
        (
            1,
            &["subscribe", "t", "--url", "http://name.invalid"],
            "does not resolve",
        ),
        (
            1,
            &["subscribe", "t", "--url", &http2, "--wire", "sse-http2"],
            "--cacert",
        ),
        (
            1,
            &["subscribe", "t", "--url", &by_address, "--cacert", &ca],
            "other names",
        ),
        (
            1,
            &["subscribe", "t", "--url", &not_tls, "--cacert", &ca],
            "not TLS",
        ),
        (1, &["subscribe", "t", "--url", &not_cleartext], "TLS"),
        (
            1,
            &["subscribe", "t", "--url", &http1, "--wire", "sse-h2c"],
            "HTTP/2",
        ),
        (1, &["subscribe", "t", "--url", &h2c], "426"),
        (
            1,
            &[
                "subscribe",
                "t",
                "--url",
                &http1s,
                "--wire",
                "sse-http2",
                "--cacert",
                &ca,
            ],
            "version of HTTP",
        ),
        (1, &["subscribe", "a b", "--url", &http1], "topic"),
        (1, &["publish", "$stats", "--url", &http1], "403"),
    ];
    for (code, args, word) in table {
        let mut tool = Tool::start(args);
        // A tool that has ended already does not read it.
        let _ = tool.stdin.as_mut().expect("open").write_all(b"x\n");
        let (status, said) = tool.end();
        assert_eq!(status.code(), Some(code), "{args:?}: {said}");
        assert!(
            said.starts_with("triwire: ") && said.lines().count() == 1,
            "{args:?}: {said}"
        );
        assert!(said.contains(word), "{args:?}: {word:?} is not in: {said}");
    }
}

#[test]
fn a_server_that_is_full_is_waited_for() {
    let server = Server::start(&["--connections", "1"]);
    let hog = TcpStream::connect(server.addr("h2c")).expect("there is one place");
    let url = url(&server, "http1");
    let tool = Tool::start(&[
        "subscribe",
        "t",
        "--url",
        &url,
        "--retry-for",
        "1min",
        "--limit",
        "1",
    ]);
    tool.until_said("full");
    drop(hog);
    tool.until_said("is back");
}

/// As with `| head -1`: also when nothing more comes that could not be written.
#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let server = Server::start(&[]);
    let url = url(&server, "http1");
    for wire in ["sse-http1", "ws", "long-poll"] {
        let url = if wire == "ws" {
            url.replace("http", "ws")
        } else {
            url.clone()
        };
        let mut child = Command::new(BINARY)
            .args([
                "subscribe",
                "t",
                "--after",
                "0-0",
                "--wire",
                wire,
                "--url",
                &url,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        server.publish("t", "x");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        drop(stdout);
        let ended = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*said), (Some(0), ""), "{wire}");
    }
}

#[test]
fn an_interrupt_ends_it_as_the_shell_expects() {
    use std::os::unix::process::ExitStatusExt;
    let server = Server::start(&[]);
    let tool = subscribed(&server, "sse-http2", &["t"]);
    tool.signal("INT");
    let (status, said) = tool.end();
    assert_eq!((status.signal(), &*said), (Some(2), ""));
}

#[test]
fn a_seed_makes_the_same_calls() {
    let server = Server::start(&[]);
    let url = url(&server, "http1");
    for _ in 0..2 {
        let args = [
            "generate",
            "call-center",
            "--rate",
            "200",
            "--seed",
            "7",
            "--limit",
            "300",
            "--url",
            &url,
        ];
        let (status, said) = Tool::start(&args).end();
        assert_eq!((status.code(), &*said), (Some(0), ""));
    }
    let mut calls = retained(&server, "calls");
    assert_eq!(calls.len(), 600);
    for call in &mut calls {
        let members: Vec<&String> = call.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["ts", "agent", "queue", "duration_s", "ivr_s"]);
        call["ts"].take();
    }
    assert_eq!(calls[..300], calls[300..]);
    for topic in ["avg_call_duration", "active_agents", "avg_time_ivr"] {
        let numbers = retained(&server, topic);
        assert!(
            !numbers.is_empty() && numbers.iter().all(|n| n.as_f64() > Some(0.0)),
            "{topic}: {numbers:?}"
        );
    }
}

#[test]
fn top_draws_what_the_server_counts() {
    let server = Server::start(&[]);
    let _reader = subscribed(&server, "ws", &["t"]);
    let url = url(&server, "http1");
    let (status, said) = Tool::start(&["top", "--url", &url]).end();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("terminal"), "{said}");

    let mut terminal = Terminal::run(40, 120, &format!("{BINARY} top --url {url}"));
    let numbers = terminal.until("row of WebSockets, and the rows below it", |seen| {
        let row = &seen[seen.find("websocket")?..];
        let numbers: Vec<String> = row.split(' ').skip(1).take(2).map(str::to_owned).collect();
        (numbers.len() == 2 && seen.contains("wss")).then_some(numbers)
    });
    assert_eq!(numbers, ["1", "1"], "one WebSocket on one connection");
    terminal.press("q");
    assert_eq!(terminal.end().code(), Some(0));
}

#[test]
fn completions_and_the_manual_name_everything() {
    let names = [
        "serve",
        "subscribe",
        "query",
        "publish",
        "generate",
        "top",
        "certs",
    ];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let made = Command::new(BINARY).args(["completions", shell]).output();
        let script = String::from_utf8(made.expect("it runs").stdout).expect("UTF-8");
        for name in names {
            assert!(script.contains(name), "{shell} does not know {name}");
        }
        if shell == "bash" {
            let mut bash = Command::new("bash")
                .arg("-n")
                .stdin(Stdio::piped())
                .spawn()
                .expect("bash runs");
            bash.stdin
                .take()
                .expect("piped")
                .write_all(script.as_bytes())
                .expect("it reads");
            assert!(bash.wait().expect("it ends").success());
        }
    }
    let made = Command::new(BINARY).arg("man").output().expect("it runs");
    let page = String::from_utf8(made.stdout).expect("UTF-8");
    assert!(page.contains(".TH triwire 1"), "{page}");
    for name in &names[1..] {
        let heading = format!("TRIWIRE {}", name.to_uppercase());
        assert!(page.contains(&heading), "{heading} is not in the page");
    }
}

/// That nobody reads is no mistake; that it cannot be written is.
#[test]
fn what_cannot_be_written_is_told() {
    let server = Server::start(&[]);
    for n in 0..10 {
        server.publish("t", &n.to_string());
    }
    let url = url(&server, "http1");
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("it is there")
    };
    let subscribe = [
        "subscribe",
        "t",
        "--after",
        "0-0",
        "--limit",
        "10",
        "--url",
        &url,
    ];
    for args in [
        &subscribe[..],
        &["--help"],
        &["man"],
        &["completions", "bash"],
    ] {
        let ended = Command::new(BINARY)
            .args(args)
            .stdout(full())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {said}");
        assert!(
            said.starts_with("triwire: stdout: ") && said.lines().count() == 1,
            "{said}"
        );
    }
}

/// What answers in place of a server, and what is said of it.
#[test]
fn a_stranger_is_told_from_a_server() {
    let table = [
        (
            "301 Moved Permanently\r\nlocation: https://elsewhere.example/",
            "https://elsewhere.example/",
        ),
        ("200 OK\r\ncontent-type: text/html", "\"text/html\""),
        (
            "200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip",
            "gzip",
        ),
        (
            "403 Forbidden\r\ncontent-type: application/problem+json",
            "one  [31mtwo",
        ),
    ];
    for (head, word) in table {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let stranger = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("it comes");
            let mut request = [0; 4096];
            let count = client.read(&mut request).expect("a request");
            assert!(request[..count].starts_with(b"GET "));
            let body = "{\"detail\":\"one\\n\\u001b[31mtwo\"}";
            let length = body.len();
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
            client.write_all(answer.as_bytes()).expect("it reads");
        });
        let (status, said) = Tool::start(&["subscribe", "t", "--url", &url]).end();
        stranger.join().expect("it does not panic");
        assert_eq!(
            (status.code(), said.lines().count()),
            (Some(1), 1),
            "{said}"
        );
        assert!(
            said.contains(word) && !said.contains('\u{1b}'),
            "{word}: {said}"
        );
    }
}

/// A reader that stands still is not taken for a server that does, and memory stays bounded.
#[test]
fn a_reader_that_stands_still_is_waited_for() {
    let server = Server::start(&["--topic-events", "200000"]);
    let args = ["t", "--idle", "500ms", "--limit", "100000"];
    for wire in ["sse-http1", "ws-h2c", "long-poll"] {
        let url = url(&server, transport(wire).0);
        let mut child = Command::new(BINARY)
            .args(["subscribe", "--url", &url, "--wire", wire, "--after", "0-0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        if wire == "sse-http1" {
            let body: String = (0..10_000)
                .map(|n| format!("{{\"n\":{n},\"x\":\"{:0100}\"}}\n", 0))
                .collect();
            for _ in 0..10 {
                let (status, said) = publish(&server, "sse-h2c", &["t", "--json"], &body);
                assert!(status.success(), "{said}");
            }
        }
        // Longer than its patience with a server that is silent.
        let pipe_is_full = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < pipe_is_full {
            assert!(
                child.try_wait().expect("it can be asked").is_none(),
                "{wire} has ended"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it lives");
        let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let held: u64 = held
            .and_then(|kb| kb.trim().split(' ').next()?.parse().ok())
            .expect("a number");
        assert!(held < 64 << 10, "{wire} holds {held} KiB of 14 MB");
        assert_eq!(BufReader::new(stdout).lines().count(), 100_000, "{wire}");
        let ended = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*said), (Some(0), ""), "{wire}");
    }
}
