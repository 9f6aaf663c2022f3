//! One cursor for every wire: readers that change the transport every few events, while two topics are published
//! to, lose nothing, get nothing twice, and keep the order.

mod support;

use std::time::Duration;

use support::client::ask::Ask;
use support::client::link::{Call, Link, Target};
use support::client::message::{Data, Id};
use support::client::publisher::Publisher;
use support::client::{Framing, Transport};
use support::server::Server;

const TOPICS: [&str; 2] = ["hop/a", "hop/b"];
/// Events a topic.
const EACH: u64 = 4_000;
/// Events a request, and requests a second and topic: 2,000 events a second in all.
const BATCH: u64 = 5;
const EVERY: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_hops_between_transports_and_misses_nothing() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    // Taken before anything is published, so that all of it is after.
    let start = Publisher::new(&target).await.text("hop/start", "x").await;
    let readers: Vec<_> = (0..4)
        .map(|seed| tokio::spawn(hop(target.clone(), start, seed)))
        .collect();
    let publishers: Vec<_> = (0..TOPICS.len())
        .map(|topic| tokio::spawn(publish(target.clone(), topic)))
        .collect();
    for publisher in publishers {
        publisher.await.expect("all is published");
    }
    for reader in readers {
        let hops = reader.await.expect("nothing is missed");
        assert!(hops >= 40, "only {hops} hops");
    }
    let stats = server.stats();
    for transport in Transport::all() {
        let wire = &stats["wires"][transport.wire()];
        assert_eq!(wire["gaps"], 0, "{transport}");
        assert_ne!(wire["events_sent"], 0, "{transport}");
    }
}

async fn publish(target: Target, topic: usize) {
    let mut publisher = Publisher::new(&target).await;
    let mut tick = tokio::time::interval(EVERY);
    for first in (0..EACH).step_by(BATCH as usize) {
        tick.tick().await;
        let lines: String = (first..first + BATCH)
            .map(|n| format!("[{topic},{n}]\n"))
            .collect();
        let call = Call::post(format!("/publish/{}", TOPICS[topic]), lines)
            .with("content-type", "application/x-ndjson");
        assert_eq!(publisher.call(call).await.status, 201);
    }
}

/// Reads all of both topics, and returns how often it has changed the transport.
async fn hop(target: Target, start: Id, seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    // Framing after framing: SSE, WebSocket, poll on one link, then on the next.
    let route = Link::ALL.into_iter().flat_map(|link| {
        [Framing::Sse, Framing::WebSocket, Framing::LongPoll]
            .map(|framing| Transport { framing, link })
            .into_iter()
            .filter(|t| Transport::all().any(|known| known == *t))
    });
    let mut cursor = start;
    let mut next = [0; TOPICS.len()];
    let route = route.cycle().skip(seed as usize * 5);
    for (hops, transport) in route.enumerate() {
        let ask = Ask::of(TOPICS).after(cursor);
        let mut reader = transport.open(&target, ask).await;
        assert_eq!(reader.ready().await, cursor, "{transport}: its own cursor");
        // It leaves in the middle of what is on its way.
        for _ in 0..random.u64(1..200) {
            if next == [EACH; TOPICS.len()] {
                return hops;
            }
            let event = reader.event().await;
            assert!(
                event.id > cursor,
                "{transport}: {} after {cursor}",
                event.id
            );
            cursor = event.id;
            let (topic, n) = number(&event.data);
            assert_eq!(n, next[topic], "{transport}: {}", TOPICS[topic]);
            next[topic] += 1;
        }
        assert_eq!(reader.cursor(), cursor);
    }
    unreachable!("the route is a circle")
}

fn number(data: &Data) -> (usize, u64) {
    let (Data::Lines(text) | Data::Json(text)) = data;
    serde_json::from_str(text).expect("as it was published")
}
