//! What is seen of a bridge from outside.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::server::{PATIENCE, Server};

/// A server with this bridge, once it is subscribed.
pub fn serve(url: &str, args: &[&str]) -> Server {
    let server = begin(url, args);
    until(&server, "it is subscribed", |bridge| bridge["up"] == true);
    server
}

/// The same, whether or not there is something to subscribe to.
pub fn begin(url: &str, args: &[&str]) -> Server {
    let args: Vec<&str> = ["--subscribe", url]
        .into_iter()
        .chain(args.to_vec())
        .collect();
    Server::start(&args)
}

/// Waits for a fact of the only bridge.
#[track_caller]
pub fn until(server: &Server, what: &str, fact: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let bridge = server.stats()["bridges"][0].clone();
        if fact(&bridge) {
            return bridge;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "not in time: {what}: {bridge}\n{}",
            server.stderr()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until so many were published and so many refused; whatever else came was dropped or returned, and counted so.
#[track_caller]
pub fn until_told(server: &Server, published: u64, refused: u64) -> Value {
    until(server, &format!("{published} are published"), |bridge| {
        let is = |name: &str| bridge[name].as_u64().expect("a count");
        let others = is("dropped") + is("returned");
        (is("published"), is("refused")) == (published, refused)
            && is("received") == published + refused + others
    })
}

/// Data of all that there is on a topic.
pub fn events(server: &Server, topic: &str) -> Vec<Value> {
    let answer = server.get(&format!("/poll?topic={topic}&after=0-0&timeout=1"));
    let events = answer["events"].as_array().expect("a list");
    events.iter().map(|event| event["data"].clone()).collect()
}

/// Waits for words in what it has logged.
#[track_caller]
pub fn until_said(server: &Server, words: &str) {
    let began = Instant::now();
    while !server.stderr().contains(words) {
        assert!(
            began.elapsed() < PATIENCE,
            "it does not say {words:?}: {}",
            server.stderr()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How often it has said so.
pub fn said(server: &Server, words: &str) -> usize {
    server.stderr().matches(words).count()
}

/// The value of a metric with the only bridge's label.
pub fn metric(server: &Server, name: &str) -> Option<u64> {
    let (_, body) =
        server.request("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let line = body
        .lines()
        .find(|line| line.starts_with(&format!("triwire_{name}{{bridge=\"")))?;
    line.rsplit(' ').next()?.parse().ok()
}
