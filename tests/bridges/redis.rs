//! Redis Pub/Sub: at most once; what is not published is counted.

use std::process::Command;

use serde_json::json;

use crate::broker::{Broker, PASSWORD};
use crate::seen::{begin, events, metric, said, serve, until, until_said, until_told};

impl Broker {
    pub fn redis_url(&self, rest: &str) -> String {
        format!("redis://:a-se%3Acret@127.0.0.1:{}{rest}", self.port)
    }

    /// Has redis-cli say something.
    pub fn redis_cli(&self, args: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()])
            .args(args)
            .env("REDISCLI_AUTH", PASSWORD);
        let done = cli.output().expect("redis-cli is installed");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    }

    /// Publishes so many numbered messages in one go.
    fn publish_many(&self, count: usize, width: usize) {
        let script = format!(
            "for i = 1, {count} do redis.call('publish', 'ch', i .. string.rep('.', {width} - #tostring(i))) end"
        );
        self.redis_cli(&["eval", &script, "0"]);
    }
}

#[test]
fn a_channel_is_a_topic() {
    let Some(broker) = Broker::redis() else {
        return;
    };
    let server = serve(
        &broker.redis_url("?channel=ch&type=said"),
        &["--event-bytes", "64"],
    );
    let large = "x".repeat(65);
    for words in ["{\"a\": 1}", "12", "plain text", "", &large] {
        broker.redis_cli(&["publish", "ch", words]);
    }
    broker.redis_cli(&[
        "eval",
        "return redis.call('publish', 'ch', '\\255\\254')",
        "0",
    ]);
    let bridge = until_told(&server, 4, 2);
    assert_eq!(
        events(&server, "ch"),
        [json!({ "a": 1 }), json!(12), json!("plain text"), json!("")]
    );
    assert_eq!(
        bridge["name"],
        format!("redis://127.0.0.1:{}/ch", broker.port)
    );
    // Byte for byte, with its type.
    let answer = server.get("/poll?topic=ch&after=0-0&timeout=1");
    assert_eq!(answer["events"][0]["type"], "said");
    until_said(&server, "over its limit of 64 bytes (event-bytes)");
    until_said(&server, "not UTF-8");
    for (name, value) in [
        ("bridge_received_total", 6),
        ("bridge_published_total", 4),
        ("bridge_refused_total", 2),
        ("bridge_dropped_total", 0),
        ("bridge_up", 1),
    ] {
        assert_eq!(metric(&server, name), Some(value), "{name}");
    }
    assert!(!server.stderr().contains("cret"), "{}", server.stderr());
}

#[test]
fn a_pattern_is_many_and_some_names_are_none() {
    let Some(broker) = Broker::redis() else {
        return;
    };
    let server = serve(&broker.redis_url("/3?pattern=news.*"), &[]);
    broker.redis_cli(&["publish", "news.a", "1"]);
    broker.redis_cli(&["publish", "news.b", "2"]);
    broker.redis_cli(&["publish", "news.a b", "3"]);
    broker.redis_cli(&["publish", "other", "4"]);
    until_told(&server, 2, 1);
    assert_eq!(events(&server, "news.a"), [json!(1)]);
    assert_eq!(events(&server, "news.b"), [json!(2)]);
    until_said(&server, "\\\"news.a b\\\": 400 topic");
}

#[test]
fn a_server_that_comes_later_or_again_is_used() {
    let Some(mut broker) = Broker::redis() else {
        return;
    };
    broker.kill();
    let server = begin(&broker.redis_url("?channel=ch&topic=other/name"), &[]);
    until_said(&server, "it is tried again");
    let (head, _) = server.request("GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200") || head.contains("421"),
        "{head}"
    );
    assert_eq!(metric(&server, "bridge_up"), Some(0));
    for round in 1..=3 {
        broker.start();
        until(&server, "it is subscribed", |bridge| bridge["up"] == true);
        broker.redis_cli(&["publish", "ch", "1"]);
        until_told(&server, round, 0);
        broker.kill();
        until(&server, "that is seen", |bridge| bridge["up"] == false);
    }
    assert_eq!(events(&server, "other/name").len(), 3);
    assert_eq!(said(&server, ": subscribed"), 3, "{}", server.stderr());
}

#[test]
fn what_comes_while_the_relay_is_away_waits_or_is_counted() {
    let (Some(broker), Some(mut relay)) = (Broker::redis(), Broker::redis()) else {
        return;
    };
    let url = relay.redis_url("");
    let args = [
        "--relay",
        &url,
        "--relay-timeout",
        "2s",
        "--bridge-bytes",
        "64KiB",
    ];
    let server = serve(&broker.redis_url("?channel=ch"), &args);
    broker.redis_cli(&["publish", "ch", "first"]);
    until_told(&server, 1, 0);
    relay.kill();
    until_said(&server, "relay redis:");
    broker.publish_many(1000, 1000);
    let bridge = until(&server, "all came", |bridge| bridge["received"] == 1001);
    until_said(&server, "not published now: 503");
    until_said(
        &server,
        "as much waits to be published as may (bridge-bytes)",
    );
    let dropped = bridge["dropped"].as_u64().expect("a count");
    assert!((900..1000).contains(&dropped), "{bridge}");
    relay.start();
    let bridge = until_told(&server, 1001 - dropped, 0);
    assert_eq!(bridge["returned"], 0);
    // Those that came first, in their order, and each once.
    let kept = events(&server, "ch");
    assert_eq!(kept.len() as u64, 1001 - dropped);
    for (at, data) in kept.iter().enumerate().skip(1) {
        assert_eq!(data.as_str(), Some(&*format!("{at:.<1000}")));
    }
    until_said(&server, "what comes is published again");
}
