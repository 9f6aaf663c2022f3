//! What a broker does not take: too large an entry, and any when it is full.

use crate::broker::Broker;
use crate::replica::Replica;
use crate::support::reading::texts;

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_rest_goes_on() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let a = Replica::new(&broker).await;
    let large = "x".repeat(3 << 20);
    let (one, two, three) = tokio::join!(a.publish("1"), a.publish(&large), a.publish("3"));
    assert!(one.is_ok() && three.is_ok());
    // That of NATS is a megabyte, if nobody says another.
    if broker.kind() == "nats" {
        let refused = two.expect_err("it is too large");
        assert_eq!((refused.status.as_u16(), refused.kind), (413, "too-large"));
        assert!(refused.detail.contains("max_payload"), "{}", refused.detail);
        assert_eq!(texts(&a.all()), ["1", "3"]);
    } else {
        assert!(two.is_ok());
        assert_eq!(a.all().len(), 3);
    }
    let larger = "x".repeat(17 << 20);
    let refused = a.publish(&larger).await.expect_err("it is too large");
    assert_eq!(refused.status.as_u16(), 413);
    assert!(
        refused.detail.contains("relay-entry-bytes"),
        "{}",
        refused.detail
    );
    assert_eq!((a.gaps(), a.link.hears().is_ok()), (0, true));
}

#[tokio::test]
async fn a_full_redis_says_so_and_is_used_again_when_it_has_room() {
    let Some((broker, _control)) = Broker::fragile().await else {
        return;
    };
    if broker.kind() != "redis" {
        return;
    }
    let a = Replica::new(&broker).await;
    a.publish("1").await.expect("there is room");
    broker.redis_cli(&["config", "set", "maxmemory", "1mb"]);
    let refused = a.publish("not there").await.expect_err("it is full");
    assert_eq!((refused.status.as_u16(), refused.kind), (503, "relay-full"));
    assert!(refused.detail.contains("maxmemory"), "{}", refused.detail);
    broker.redis_cli(&["config", "set", "maxmemory", "0"]);
    a.publish("2").await.expect("there is room again");
    assert_eq!(texts(&a.all()), ["1", "2"]);
}

#[tokio::test]
async fn a_full_postgres_says_so_and_is_used_again_when_it_has_room() {
    let Some((broker, _control)) = Broker::fragile().await else {
        return;
    };
    if broker.kind() != "postgres" {
        return;
    }
    let a = Replica::new(&broker).await;
    a.publish("1").await.expect("there is room");
    let client = broker.sql().await;
    // As it says when its disk is full.
    let full = "
        create function triwire_relay.no_room() returns trigger language plpgsql as $$
            begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end
        $$;
        create trigger no_room before insert on triwire_relay.entries execute function triwire_relay.no_room()";
    client.batch_execute(full).await.expect("it is well-formed");
    let refused = a.publish("not there").await.expect_err("it is full");
    assert_eq!((refused.status.as_u16(), refused.kind), (503, "relay-full"));
    assert!(
        refused.detail.contains("No space left"),
        "{}",
        refused.detail
    );
    let empty = "drop function triwire_relay.no_room cascade";
    client.batch_execute(empty).await.expect("it is there");
    a.publish("2").await.expect("there is room again");
    assert_eq!(texts(&a.all()), ["1", "2"]);
    assert_eq!(a.log.carried().map(|carried| carried.lost), Some(0));
}

#[cfg(feature = "nats")]
#[tokio::test]
async fn a_nats_stream_that_gets_other_limits_says_so_and_is_used_again_without_them() {
    use async_nats::jetstream::stream::{Config, DiscardPolicy};

    let Some(broker) = Broker::shared().filter(|broker| broker.kind() == "nats") else {
        return;
    };
    let a = Replica::new(&broker).await;
    a.publish("1").await.expect("there is room");
    let jetstream = broker.jetstream().await;
    let (_, name) = broker.url.split_once("?stream=").expect("a stream");
    let stream = jetstream.get_stream(format!("{name}-events")).await;
    let was = stream.expect("it is there").cached_info().config.clone();
    let new = DiscardPolicy::New;
    for (config, status, kind) in [
        (
            Config {
                discard: new,
                max_messages: 1,
                ..was.clone()
            },
            503,
            "relay-full",
        ),
        (
            Config {
                discard: new,
                max_bytes: 300,
                ..was.clone()
            },
            503,
            "relay-full",
        ),
        (
            Config {
                max_message_size: 200,
                ..was.clone()
            },
            413,
            "too-large",
        ),
    ] {
        jetstream
            .update_stream(config)
            .await
            .expect("it is a good one");
        let refused = a
            .publish(&"x".repeat(200))
            .await
            .expect_err("it is too much");
        assert_eq!(
            (refused.status.as_u16(), refused.kind),
            (status, kind),
            "{}",
            refused.detail
        );
        assert!(refused.detail.contains("NATS"), "{}", refused.detail);
    }
    jetstream
        .update_stream(was)
        .await
        .expect("it is a good one");
    a.publish("2").await.expect("there is room again");
    assert_eq!(texts(&a.all()), ["1", "2"]);
    assert_eq!(a.log.carried().map(|carried| carried.lost), Some(0));
}
