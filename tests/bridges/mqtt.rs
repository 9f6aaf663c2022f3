//! MQTT: at most once, or, with a client's name, at least once.

use std::process::Command;

use serde_json::json;

use crate::broker::{Broker, PASSWORD, USER, WHO};
use crate::seen::{begin, events, serve, until, until_said, until_told};

impl Broker {
    fn mqtt_url(&self, rest: &str) -> String {
        format!("mqtt://{WHO}@127.0.0.1:{}?{rest}", self.port)
    }

    /// Has mosquitto_pub say something.
    fn mosquitto_pub(&self, topic: &str, qos: &str, words: &[u8]) {
        let file = self.dir.join("words");
        std::fs::write(&file, words).expect("a file can be written");
        let mut said = Command::new("mosquitto_pub");
        said.args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-u", USER, "-P", PASSWORD, "-t", topic, "-q", qos, "-f"])
            .arg(&file);
        let done = said.output().expect("mosquitto_pub is installed");
        assert!(done.status.success(), "{done:?}");
    }
}

#[test]
fn topics_are_topics() {
    let Some(mut broker) = Broker::mosquitto() else {
        return;
    };
    let server = serve(&broker.mqtt_url("filter=a/%23"), &["--event-bytes", "64"]);
    broker.mosquitto_pub("a/b", "0", b"{\"c\": 1.50}");
    broker.mosquitto_pub("a/b/c", "1", b"text");
    broker.mosquitto_pub("b", "0", b"nobody asked for this");
    broker.mosquitto_pub("a//c", "0", b"no topic here");
    broker.mosquitto_pub("a/b", "0", &[255, 0]);
    broker.mosquitto_pub("a/b", "0", &[b'x'; 65]);
    until_told(&server, 2, 3);
    assert_eq!(events(&server, "a/b"), [json!({ "c": 1.5 })]);
    assert_eq!(events(&server, "a/b/c"), [json!("text")]);
    broker.stop();
    until(&server, "that is seen", |bridge| bridge["up"] == false);
    broker.start();
    until(&server, "it is subscribed", |bridge| bridge["up"] == true);
    broker.mosquitto_pub("a/b", "0", b"again");
    until_told(&server, 3, 3);
    assert!(!server.stderr().contains("cret"), "{}", server.stderr());
}

#[test]
fn a_client_with_a_name_misses_nothing() {
    let (Some(mut broker), Some(mut relay)) = (Broker::mosquitto(), Broker::redis()) else {
        return;
    };
    let (url, relay_url) = (
        broker.mqtt_url("filter=a/%2B&client=bridge&topic=all"),
        relay.redis_url(""),
    );
    let args = ["--relay", &relay_url, "--relay-timeout", "2s"];
    let server = serve(&url, &args);
    broker.mosquitto_pub("a/1", "1", b"1");
    until_told(&server, 1, 0);
    // While triwire is down.
    drop(server);
    broker.mosquitto_pub("a/1", "1", b"2");
    broker.stop();
    broker.start();
    let server = serve(&url, &args);
    until_told(&server, 1, 0);
    assert_eq!(events(&server, "all"), [json!(1), json!(2)]);
    // While the relay is away, and the broker goes and comes.
    relay.kill();
    until_said(&server, "relay redis:");
    broker.mosquitto_pub("a/2", "1", b"3");
    until_said(&server, "not published now: 503");
    broker.stop();
    until(&server, "that is seen", |bridge| bridge["returned"] == 1);
    broker.start();
    relay.start();
    until_told(&server, 2, 0);
    broker.mosquitto_pub("a/2", "1", b"4");
    until_told(&server, 3, 0);
    assert_eq!(
        events(&server, "all"),
        [json!(1), json!(2), json!(3), json!(4)]
    );
}

#[test]
fn over_tls_by_a_ca_that_is_named() {
    let Some(broker) = Broker::mosquitto() else {
        return;
    };
    let url = format!("mqtts://{WHO}@localhost:{}?filter=a", broker.secure);
    let server = serve(&format!("{url}&{}", broker.cacert()), &[]);
    broker.mosquitto_pub("a", "0", b"1");
    until_told(&server, 1, 0);
}

#[test]
fn who_is_refused_is_told() {
    let Some(broker) = Broker::mosquitto() else {
        return;
    };
    let url = format!("mqtt://user:wrong-cret@127.0.0.1:{}?filter=a", broker.port);
    let server = begin(&url, &[]);
    until_said(&server, "it does not take this user and password");
    assert!(
        !server.stderr().contains("wrong-cret"),
        "{}",
        server.stderr()
    );
}
