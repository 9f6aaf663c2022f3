//! Core NATS: at most once; a queue group shares.

use async_nats::{Client, ConnectOptions};
use serde_json::json;

use crate::broker::{Broker, PASSWORD, USER, WHO};
use crate::seen::{events, serve, until, until_said, until_told};

impl Broker {
    fn nats_url(&self, rest: &str) -> String {
        format!("nats://{WHO}@127.0.0.1:{}?{rest}", self.port)
    }

    async fn nats_client(&self) -> Client {
        let options = ConnectOptions::new().user_and_password(USER.into(), PASSWORD.into());
        let client = options.connect(format!("127.0.0.1:{}", self.port)).await;
        client.expect("it is there")
    }
}

async fn say(client: &Client, subject: &'static str, words: &'static str) {
    let said = client.publish(subject, words.into()).await;
    said.expect("it can be said");
    client.flush().await.expect("it is sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subjects_are_topics_and_come_again_after_a_restart() {
    let Some(mut broker) = Broker::nats() else {
        return;
    };
    let server = serve(&broker.nats_url("subject=a.>"), &["--event-bytes", "64"]);
    let client = broker.nats_client().await;
    say(&client, "a.b", "{\"c\":[1]}").await;
    say(&client, "a.b.c", "text").await;
    say(&client, "b", "nobody asked for this").await;
    say(&client, "a.$x", "1").await;
    client
        .publish("a.b", vec![255u8, 0].into())
        .await
        .expect("it can be said");
    client
        .publish("a.b", vec![b'x'; 65].into())
        .await
        .expect("it can be said");
    client.flush().await.expect("it is sent");
    until_told(&server, 2, 3);
    assert_eq!(events(&server, "a.b"), [json!({ "c": [1] })]);
    assert_eq!(events(&server, "a.b.c"), [json!("text")]);
    broker.kill();
    until(&server, "that is seen", |bridge| bridge["up"] == false);
    broker.start();
    until(&server, "it is subscribed", |bridge| bridge["up"] == true);
    let client = broker.nats_client().await;
    say(&client, "a.b", "again").await;
    until_told(&server, 3, 3);
    assert_eq!(
        events(&server, "a.b"),
        [json!({ "c": [1] }), json!("again")]
    );
    assert!(!server.stderr().contains("cret"), "{}", server.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_group_shares() {
    let Some(broker) = Broker::nats() else {
        return;
    };
    let url = broker.nats_url("subject=a&queue=g");
    let (one, two) = (serve(&url, &[]), serve(&url, &[]));
    let client = broker.nats_client().await;
    for _ in 0..100 {
        client
            .publish("a", "1".into())
            .await
            .expect("it can be said");
    }
    client.flush().await.expect("it is sent");
    let count = |bridge: &serde_json::Value| bridge["published"].as_u64().expect("a count");
    let first = until(&one, "both have some", |bridge| {
        let other = two.stats()["bridges"][0].clone();
        count(bridge) + count(&other) == 100
    });
    assert!((1..100).contains(&count(&first)), "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_subscribe_is_told() {
    let Some(broker) = Broker::nats() else {
        return;
    };
    let url = format!("nats://user:wrong-cret@127.0.0.1:{}?subject=a", broker.port);
    let server = crate::seen::begin(&url, &[]);
    until_said(&server, "it does not take this user and password");
    assert!(
        !server.stderr().contains("wrong-cret"),
        "{}",
        server.stderr()
    );
}
