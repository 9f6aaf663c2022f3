//! What a broker does not take: too large an entry, and any when it is full.

use crate::broker::Broker;
use crate::reading::texts;
use crate::replica::Replica;

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
