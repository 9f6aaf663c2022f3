//! AMQP queues: at least once. One RabbitMQ, which takes its time to start, for one case after the other.

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::json;

use crate::broker::{Broker, OTHER, USER, VHOST, WHO};
use crate::secure::Way;
use crate::seen::{begin, events, serve, until, until_said, until_told};

/// Somebody who publishes already.
struct Publisher {
    _connection: Connection,
    channel: Channel,
}

impl Publisher {
    async fn to(broker: &Broker) -> Publisher {
        Publisher::at(&format!("amqp://{WHO}@127.0.0.1:{}/%2f", broker.port)).await
    }

    async fn at(url: &str) -> Publisher {
        let connection = Connection::connect(url, ConnectionProperties::default()).await;
        let connection = connection.expect("it is there");
        let channel = connection.create_channel().await.expect("there is room");
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await.expect("it confirms");
        Publisher {
            _connection: connection,
            channel,
        }
    }

    async fn declare(&self, queue: &str, arguments: FieldTable) {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let made = self.channel.queue_declare(queue.into(), options, arguments);
        made.await.expect("it can be made");
    }

    async fn say(&self, queue: &str, id: Option<&str>, words: &[u8]) {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(id) = id {
            properties = properties.with_message_id(id.into());
        }
        let options = BasicPublishOptions::default();
        let said = self
            .channel
            .basic_publish("".into(), queue.into(), options, words, properties);
        let confirmed = said.await.expect("it can be said").await;
        assert!(confirmed.expect("it is confirmed").is_ack());
    }

    /// Messages in a queue that nobody has.
    async fn ready(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let seen = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        seen.await.expect("it is there").message_count()
    }

    async fn until_ready(&self, queue: &str, count: u32) {
        let began = std::time::Instant::now();
        while self.ready(queue).await != count {
            assert!(began.elapsed().as_secs() < 20, "{queue} has not {count}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

fn url(broker: &Broker, rest: &str) -> String {
    format!("amqp://{WHO}@127.0.0.1:{}/?{rest}", broker.port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues() {
    let Some(mut broker) = Broker::rabbitmq() else {
        return;
    };
    let publisher = Publisher::to(&broker).await;
    messages_are_events_and_what_is_none_is_a_dead_letter(&broker, &publisher).await;
    what_came_while_nobody_was_there_comes(&broker, &publisher).await;
    what_the_relay_does_not_take_goes_back_and_comes_once(&broker, &publisher).await;
    a_queue_that_is_not_there_is_waited_for(&broker, &publisher).await;
    who_is_refused_is_told(&broker);
    who_speaks_something_else_is_told(&broker);
    over_tls(&broker, &publisher).await;
    another_user_has_another_virtual_host(&broker).await;
    drop(publisher);
    a_broker_that_comes_again_is_used(&mut broker).await;
}

async fn messages_are_events_and_what_is_none_is_a_dead_letter(
    broker: &Broker,
    publisher: &Publisher,
) {
    let mut dead = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    dead.insert("x-dead-letter-exchange".into(), text(""));
    dead.insert("x-dead-letter-routing-key".into(), text("dead"));
    publisher.declare("dead", FieldTable::default()).await;
    publisher.declare("q.a", dead).await;
    let server = serve(
        &url(broker, "queue=q.a&type=said"),
        &["--event-bytes", "64"],
    );
    publisher.say("q.a", None, b"{\"a\": 1}").await;
    publisher.say("q.a", None, b"text").await;
    publisher.say("q.a", None, &[255, 0]).await;
    publisher.say("q.a", None, &[b'x'; 65]).await;
    // Said twice, and meant once.
    publisher.say("q.a", Some("1"), b"once").await;
    publisher.say("q.a", Some("1"), b"once").await;
    until_told(&server, 4, 2);
    assert_eq!(
        events(&server, "q.a"),
        [json!({ "a": 1 }), json!("text"), json!("once")]
    );
    publisher.until_ready("dead", 2).await;
    drop(server);
    // All were acknowledged.
    publisher.until_ready("q.a", 0).await;
}

async fn what_came_while_nobody_was_there_comes(broker: &Broker, publisher: &Publisher) {
    publisher.declare("later", FieldTable::default()).await;
    for number in 0..1000 {
        let words = format!("{number}");
        publisher.say("later", None, words.as_bytes()).await;
    }
    let server = serve(&url(broker, "queue=later&prefetch=10"), &[]);
    until_told(&server, 1000, 0);
    let all: Vec<_> = (0..1000).map(|number| json!(number)).collect();
    assert_eq!(events(&server, "later"), all);
}

async fn what_the_relay_does_not_take_goes_back_and_comes_once(
    broker: &Broker,
    publisher: &Publisher,
) {
    let mut relay = Broker::redis().expect("there are servers");
    publisher.declare("back", FieldTable::default()).await;
    let relay_url = relay.redis_url("");
    let args = ["--relay", &relay_url, "--relay-timeout", "2s"];
    let server = serve(&url(broker, "queue=back"), &args);
    publisher.say("back", Some("1"), b"1").await;
    until_told(&server, 1, 0);
    relay.kill();
    until_said(&server, "relay redis:");
    for number in 2..=9 {
        let id = number.to_string();
        publisher.say("back", Some(&id), id.as_bytes()).await;
    }
    until(&server, "they are given back", |bridge| {
        bridge["returned"].as_u64() >= Some(16)
    });
    assert_eq!(server.stats()["bridges"][0]["published"], 1);
    relay.start();
    until(&server, "they come again", |bridge| {
        bridge["published"] == 9
    });
    // Each once; but what goes back meets what is just coming.
    let mut all: Vec<_> = events(&server, "back")
        .iter()
        .map(|data| data.as_u64())
        .collect();
    all.sort();
    assert_eq!(all, (1..=9).map(Some).collect::<Vec<_>>());
    let bridge = until_told(&server, 9, 0);
    assert_eq!(
        (&bridge["dropped"], &bridge["refused"]),
        (&json!(0), &json!(0))
    );
    drop(server);
    publisher.until_ready("back", 0).await;
}

async fn a_queue_that_is_not_there_is_waited_for(broker: &Broker, publisher: &Publisher) {
    let server = begin(&url(broker, "queue=none"), &[]);
    until_said(&server, "NOT_FOUND");
    publisher.declare("none", FieldTable::default()).await;
    until(&server, "it is subscribed", |bridge| bridge["up"] == true);
    publisher.say("none", None, b"1").await;
    until_told(&server, 1, 0);
    let options = QueueDeleteOptions::default();
    let deleted = publisher.channel.queue_delete("none".into(), options).await;
    deleted.expect("it can be deleted");
    until_said(&server, "the queue was deleted");
}

fn who_is_refused_is_told(broker: &Broker) {
    let url = format!("amqp://user:wrong-cret@127.0.0.1:{}?queue=a", broker.port);
    let server = begin(&url, &[]);
    until_said(&server, "ACCESS_REFUSED");
    assert!(
        !server.stderr().contains("wrong-cret"),
        "{}",
        server.stderr()
    );
}

fn who_speaks_something_else_is_told(broker: &Broker) {
    for (scheme, rest) in [
        ("redis", "channel=a"),
        ("nats", "subject=a"),
        ("mqtt", "filter=a"),
    ] {
        let known = scheme == "redis"
            || scheme == "nats" && cfg!(feature = "nats")
            || scheme == "mqtt" && cfg!(feature = "mqtt");
        if known {
            let server = begin(&format!("{scheme}://127.0.0.1:{}?{rest}", broker.port), &[]);
            until_said(&server, "it speaks AMQP there, not");
        }
    }
}

async fn over_tls(broker: &Broker, publisher: &Publisher) {
    publisher.declare("secure", FieldTable::default()).await;
    let url = format!("amqps://{WHO}@localhost:{}?queue=secure", broker.secure);
    let server = serve(&format!("{url}&{}", broker.cacert()), &[]);
    publisher.say("secure", None, &[b'x'; 100_000]).await;
    until_told(&server, 1, 0);
    let way = Way {
        schemes: ("amqp", "amqps"),
        who: "user:a-se%3Acret@",
        ports: (Some(broker.port), broker.secure),
        rest: "queue=secure",
    };
    way.fails(broker, "ACCESS_REFUSED");
}

async fn another_user_has_another_virtual_host(broker: &Broker) {
    let at = |user: &str, vhost: &str, queue: &str| {
        let port = broker.port;
        format!("amqp://{user}:a-se%3Acret@127.0.0.1:{port}/{vhost}?queue={queue}")
    };
    let publisher = Publisher::at(&at(OTHER, "shop%2feu", "q").replace("?queue=q", "")).await;
    for queue in ["q", "p"] {
        publisher.declare(queue, FieldTable::default()).await;
    }
    let server = serve(&at(OTHER, "shop%2Feu", "q"), &[]);
    publisher.say("q", None, b"1").await;
    until_told(&server, 1, 0);
    let bridge = server.stats()["bridges"][0].clone();
    let name = format!("amqp://127.0.0.1:{}/{VHOST}/q", broker.port);
    assert_eq!(bridge["name"], name);
    for (url, words) in [
        // It is not his, it is not there, it is not for him to read.
        (
            at(USER, "shop%2Feu", "q"),
            "access to vhost 'shop/eu' refused",
        ),
        (at(OTHER, "", "q"), "access to vhost '/' refused"),
        (at(USER, "none", "q"), "vhost none not found"),
        (at(OTHER, "shop%2Feu", "p"), "ACCESS_REFUSED"),
        (at(OTHER, "shop%2Feu", "q-none"), "NOT_FOUND"),
    ] {
        let server = begin(&url, &[]);
        until_said(&server, words);
        assert!(!server.stderr().contains("cret"), "{}", server.stderr());
    }
}

async fn a_broker_that_comes_again_is_used(broker: &mut Broker) {
    let server = serve(&url(broker, "queue=later"), &[]);
    broker.kill();
    until(&server, "that is seen", |bridge| bridge["up"] == false);
    broker.start();
    until(&server, "it is subscribed", |bridge| bridge["up"] == true);
    Publisher::to(broker)
        .await
        .say("later", None, b"again")
        .await;
    until_told(&server, 1, 0);
    assert!(!server.stderr().contains("cret"), "{}", server.stderr());
}
