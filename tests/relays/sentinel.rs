//! Redis behind Sentinel: the master is another one after a failover, and everything goes on there.

use std::process::{Command, Output};

use crate::broker::Broker;
use crate::replica::{Replica, until};
use crate::support::reading::texts;

/// What a sentinel answers.
fn sentinel(address: &str, args: &[&str]) -> Output {
    let (_, port) = address.rsplit_once(':').expect("a port");
    let mut cli = Command::new("redis-cli");
    cli.args(["-p", port, "sentinel"]).args(args);
    cli.output().expect("redis-cli is installed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_everything_goes_on() {
    let Some(broker) = Broker::at("TRIWIRE_TEST_SENTINEL") else {
        return;
    };
    let address = broker.address().to_owned();
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    for number in 0..20 {
        a.publish(&number.to_string()).await.expect("it is there");
    }
    let asked = |args: &[&str]| {
        let done = sentinel(&address, args);
        String::from_utf8(done.stdout).expect("text")
    };
    let before = asked(&["get-master-addr-by-name", "main"]);
    // A failover does not wait for what the replica has not got yet.
    let port = before.lines().nth(1).expect("a port");
    until("the replica has it", || {
        let done = broker.redis(port, b"set written 1\nwait 1 1000\n");
        done.lines().nth(1) == Some("1")
    })
    .await;
    until("the sentinel knows the replica", || {
        asked(&["failover", "main"]).starts_with("OK")
    })
    .await;
    until("there is another master", || {
        asked(&["get-master-addr-by-name", "main"]) != before
    })
    .await;
    until("the old one has sent its clients away", || {
        a.log.carried().is_some_and(|carried| carried.lost > 0)
            && b.log.carried().is_some_and(|carried| carried.lost > 0)
    })
    .await;
    let last = b.publish_at_last("20").await.last;
    a.has(last).await;
    b.has(last).await;
    let numbers: Vec<String> = (0..=20).map(|number| number.to_string()).collect();
    assert_eq!(texts(&a.all()), numbers);
    assert_eq!(a.all(), b.all());
    assert_eq!(Replica::new(&broker).await.all(), a.all());
    assert_eq!((a.gaps(), b.gaps()), (0, 0));
}
