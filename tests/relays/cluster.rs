//! Redis Cluster: whichever nodes are named, the one that has the stream is found, and so is the one that takes it over.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::replica::{Replica, until};
use crate::support::reading::texts;

/// After this a failover that was asked for is none any more.
const GIVEN_UP: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_found_on_its_node_and_on_the_one_that_takes_over() {
    let Some(broker) = Broker::at("TRIWIRE_TEST_CLUSTER") else {
        return;
    };
    let places = broker.address().to_owned();
    let ports: Vec<&str> = places
        .split(',')
        .filter_map(|place| Some(place.rsplit_once(':')?.1))
        .collect();
    assert_eq!(ports.len(), 6, "{places}");
    // Each is told of one node alone, of which most do not have it.
    let by = |index: usize| broker.by(&format!("127.0.0.1:{}", ports[index]));
    let (a, b) = (Replica::new(&by(0)).await, Replica::new(&by(1)).await);
    let c = Replica::new(&by(5)).await;
    for number in 0..20 {
        let from = if number % 2 == 0 { &a } else { &b };
        from.publish(&number.to_string())
            .await
            .expect("it is there");
    }
    // Each replica takes over what its master has.
    let role = |port: &str| broker.redis(port, b"role\n");
    let replicas: Vec<&str> = ports
        .iter()
        .filter(|port| role(port).starts_with("slave"))
        .copied()
        .collect();
    assert_eq!(replicas.len(), 3);
    for port in &replicas {
        let mut asked = None::<Instant>;
        until("it is a master", || {
            // A node gives it up after five seconds, when another has not voted for it in time.
            if asked.is_none_or(|at| at.elapsed() > GIVEN_UP) {
                let answer = broker.redis(port, b"cluster failover\n");
                asked = answer.starts_with("OK").then(Instant::now);
            }
            role(port).starts_with("master")
        })
        .await;
    }
    until("they were sent away", || {
        let lost = |replica: &Replica| replica.log.carried().is_some_and(|c| c.lost > 0);
        lost(&a) && lost(&b) && lost(&c)
    })
    .await;
    let last = b.publish_at_last("20").await.last;
    for replica in [&a, &b, &c] {
        replica.has(last).await;
    }
    let numbers: Vec<String> = (0..=20).map(|number| number.to_string()).collect();
    assert_eq!(texts(&a.all()), numbers);
    assert_eq!(a.all(), b.all());
    assert_eq!(a.all(), c.all());
    assert_eq!((a.gaps(), b.gaps(), c.gaps()), (0, 0, 0));
}
