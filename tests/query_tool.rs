//! `triwire query`, as a shell runs it: what it prints, on a terminal and in a pipe, how it ends, and that it leaves
//! nothing on the server.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::server::{BINARY, PATIENCE, Server};
use support::terminal::Terminal;
use support::tool::{TRANSPORTS, Tool, url};

/// A table of numbers, `numbers(n int64, even bool)`.
fn with_numbers(args: &[&str]) -> Server {
    let server = Server::start(args);
    let columns = json!([{"name": "n", "type": "int64"}, {"name": "even", "type": "bool"}]);
    let table = json!({"name": "numbers", "columns": columns});
    let (head, body) = send(&server, "POST", "/streams", &table);
    assert!(head.starts_with("HTTP/1.1 201"), "{head}\n{body}");
    server
}

fn send(server: &Server, method: &str, path: &str, body: &Value) -> (String, String) {
    let body = body.to_string();
    server.request(&format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn insert(server: &Server, numbers: impl IntoIterator<Item = i64>) {
    let rows = numbers.into_iter().map(|n| json!([n, n % 2 == 0]));
    let data = json!({"data": rows.collect::<Vec<_>>()});
    let (head, body) = send(server, "POST", "/streams/numbers/ingest", &data);
    assert!(head.starts_with("HTTP/1.1 201"), "{head}\n{body}");
}

/// Waits until the table has so many rows: they are appended first, and read after.
fn until_rows(server: &Server, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let table = server.get("/streams/numbers");
        if table["rows"] == count {
            return;
        }
        assert!(Instant::now() < deadline, "not {count} rows: {table}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What there is on the server, by name.
fn left(server: &Server) -> Value {
    server.get("/queries")["queries"].take()
}

/// A query that is told as soon as may be.
fn query(server: &Server, wire: &str, args: &[&str]) -> Tool {
    Tool::on(
        server,
        "query",
        wire,
        &[&["--every", "50ms"], args].concat(),
    )
}

#[test]
fn a_result_is_a_line_on_every_transport() {
    let server = with_numbers(&[]);
    insert(&server, [1, 2, 3]);
    until_rows(&server, 3);
    for (round, (wire, ..)) in TRANSPORTS.into_iter().enumerate() {
        let tool = query(
            &server,
            wire,
            &["select count(*) from numbers", "--limit", "2"],
        );
        let before = 3 + round;
        assert_eq!(tool.line(), json!({"result": before}), "{wire}");
        insert(&server, [0]);
        assert_eq!(tool.line(), json!({"result": before + 1}), "{wire}");
        let (status, said) = tool.end();
        assert_eq!((status.code(), &*said), (Some(0), ""), "{wire}");
        assert_eq!(left(&server), json!([]), "{wire}");
        until_rows(&server, before as u64 + 1);
    }
}

#[test]
fn rows_are_lines_in_the_order_in_which_they_came() {
    let server = with_numbers(&[]);
    insert(&server, 1..=4);
    until_rows(&server, 4);
    let sql = "select n, even from numbers where n <> 3";
    let tool = query(&server, "sse-h2c", &[sql, "--limit", "5"]);
    for (n, even) in [(1, false), (2, true), (4, true)] {
        assert_eq!(tool.line(), json!({"n": n, "even": even}));
    }
    insert(&server, [3, 5]);
    insert(&server, [6, 7]);
    for (n, even) in [(5, false), (6, true)] {
        assert_eq!(tool.line(), json!({"n": n, "even": even}));
    }
    let (status, said) = tool.end();
    assert_eq!((status.code(), &*said), (Some(0), ""));
}

#[test]
fn once_is_the_present_result() {
    let server = with_numbers(&[]);
    insert(&server, 1..=4);
    until_rows(&server, 4);
    let sql = "select even, sum(n) as sum from numbers group by even order by even";
    let mut tool = query(&server, "ws", &["-", "--once"]);
    tool.write(sql);
    drop(tool.stdin.take());
    let rows = json!([{"even": false, "sum": 4}, {"even": true, "sum": 6}]);
    assert_eq!(tool.line(), json!({"result": rows}));
    let (status, said) = tool.end();
    assert_eq!((status.code(), &*said), (Some(0), ""));

    let file = server.dir.join("query.sql");
    std::fs::write(&file, sql).expect("it can be written");
    let file = file.to_str().expect("a path");
    let tool = query(&server, "sse-http1", &["--file", file, "--once"]);
    assert_eq!(tool.line(), json!({"result": rows}));
    assert_eq!(tool.end().0.code(), Some(0));
}

#[test]
fn a_mistake_is_pointed_at() {
    let server = with_numbers(&[]);
    let tool = query(&server, "sse-http1", &["select n,\n  nn\nfrom numbers"]);
    let (status, said) = tool.end();
    assert_eq!(status.code(), Some(1));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("line 2, column 3"), "{said}");
    assert_eq!(lines[1..], ["    nn", "    ^"], "{said}");
    let (status, said) = query(&server, "sse-http1", &["drop table numbers"]).end();
    assert_eq!(status.code(), Some(1), "{said}");
    for args in [
        &[][..],
        &["select 1", "--every", "1ms"],
        &["select 1", "--once", "--limit", "2"],
    ] {
        let (status, said) = query(&server, "sse-http1", args).end();
        assert_eq!(status.code(), Some(2), "{args:?}: {said}");
    }
    let (status, said) = query(&server, "sse-http1", &["--file", "/nowhere/to.sql"]).end();
    assert_eq!(status.code(), Some(2), "{said}");
    assert_eq!(left(&server), json!([]));
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let server = with_numbers(&[]);
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let tool = query(&server, "sse-http2", &["select count(*) from numbers"]);
        assert_eq!(tool.line(), json!({"result": 0}));
        assert_eq!(left(&server).as_array().map(Vec::len), Some(1));
        tool.signal(signal);
        let (status, said) = tool.end();
        assert_eq!((status.code(), &*said), (Some(code), ""), "{signal}");
        assert_eq!(left(&server), json!([]), "{signal}");
    }
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let server = with_numbers(&[]);
    let url = url(&server, "http1");
    let command = format!("{BINARY} query 'select count(*) from numbers' --url {url} | head -n 1");
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &command])
        .output();
    let output = output.expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"result\":0}\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(left(&server), json!([]));
}

#[test]
fn a_server_that_has_forgotten_it_is_asked_anew() {
    let server = Server::start(&[]);
    let tool = query(&server, "sse-http1", &["select count(*) from metrics"]);
    assert_eq!(tool.line(), json!({"result": 0}));
    let address = server.addr("http1").to_string();
    let server = Server::start_in(server.kill(), &["--http1", &address]);
    tool.until_said("asking anew");
    assert_eq!(tool.line(), json!({"result": 0}));
    assert_eq!(left(&server).as_array().map(Vec::len), Some(1));
}

#[test]
fn it_resumes_where_it_was() {
    let server = with_numbers(&[]);
    let data = server.dir.join("data");
    drop(server);
    let data = data.to_str().expect("a path").to_owned();
    let server = with_numbers(&["--data", &data]);
    insert(&server, [0, 1]);
    until_rows(&server, 2);
    let tool = query(&server, "ws", &["select n from numbers"]);
    for n in [0, 1] {
        assert_eq!(tool.line(), json!({"n": n}));
    }
    let address = server.addr("ws").to_string();
    let dir = server.kill();
    let server = Server::start_in(dir, &["--ws", &address, "--data", &data]);
    tool.until_said("is back");
    insert(&server, [2, 3]);
    for n in [2, 3] {
        assert_eq!(tool.line(), json!({"n": n}));
    }
}

#[test]
fn a_terminal_shows_a_table_that_is_kept_fresh() {
    let server = with_numbers(&[]);
    insert(&server, 1..=3);
    until_rows(&server, 3);
    let url = url(&server, "http1");
    let sql = "select even, count(*) as many from numbers group by even order by even";
    let command = format!("{BINARY} query '{sql}' --every 50ms --limit 2 --url {url}");
    let mut terminal = Terminal::run(20, 60, &command);
    let mut until = |words: &str| terminal.until(words, |seen| seen.contains(words).then_some(()));
    until("2 rows, 0 s old, 1 update even many false 2 true 1");
    insert(&server, [4]);
    until("2 rows, 0 s old, 2 updates even many false 2 true 2");
    assert_eq!(terminal.end().code(), Some(0));
    let deadline = Instant::now() + PATIENCE;
    while left(&server) != json!([]) {
        assert!(Instant::now() < deadline, "{}", left(&server));
        std::thread::sleep(Duration::from_millis(2));
    }
}
