//! What happens to a reader that really stops reading: its socket is left alone until the log has moved on. It is
//! told exactly what it missed, by the policy that it asked for, and nobody else misses anything.

mod support;

use support::client::ask::Ask;
use support::client::link::{Link, Target};
use support::client::message::{End, Event, Gap, Id, Message};
use support::client::publisher::Publisher;
use support::client::{Framing, Reader, Transport};
use support::server::Server;

use serde_json::Value;

/// Little is kept, and little may be on its way.
const SMALL: [&str; 6] = [
    "--topic-events",
    "50",
    "--http1-unsent",
    "16KiB",
    "--http2-unsent",
    "64KiB",
];
const KEPT: usize = 50;
/// The second of them is larger than all buffers on the way, so that a reader takes none of the others before it reads
/// on. What the kernel takes is its own affair: without this, a reader might lag twice.
const EVENTS: usize = 401;
const BATCH: u64 = 20;
const LARGE: usize = 255 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_is_told_what_it_missed() {
    let server = Server::start(&SMALL);
    let target = Target::of(&server);
    let transports = [Framing::Sse, Framing::WebSocket].map(Transport::with);
    for transport in transports.into_iter().flatten() {
        stop_and_go(&server, &target, transport).await;
    }
    let stats = server.stats();
    for (wire, links) in [
        ("sse_http1", 4),
        ("sse_http2", 3),
        ("websocket", 4),
        ("websocket_http2", 2),
    ] {
        assert_eq!(stats["wires"][wire]["gaps"], 3 * links, "{wire}");
    }
}

/// One healthy reader, and one for each policy that stops.
async fn stop_and_go(server: &Server, target: &Target, transport: Transport) {
    let topic = format!("lag/{:?}-{:?}", transport.framing, transport.link);
    let mut publisher = Publisher::new(target).await;
    let mut healthy = start(target, transport, Ask::of([&topic])).await;
    let policies = ["gap", "latest", "close"];
    let mut stopped = Vec::new();
    for policy in policies {
        stopped.push(start(target, transport, Ask::of([&topic]).lag(policy)).await);
    }
    let first = publisher.text(&topic, "first").await;
    for reader in stopped.iter_mut().chain([&mut healthy]) {
        assert_eq!(reader.event().await.id, first);
    }
    stopped.iter().for_each(|reader| reader.valve().close());
    taken_by_all(server, &mut publisher, transport, &topic, 4).await;
    let mut ids = vec![first, healthy.event().await.id];
    while ids.len() <= EVENTS {
        let batch = publisher.numbers(&topic, 0..BATCH).await;
        // The healthy one is not measured here: it is given the time to keep up.
        let events = healthy.events(BATCH as usize).await;
        for (n, event) in events.iter().enumerate() {
            assert!(event.data.is_json(&n.to_string()), "{transport}");
        }
        assert_eq!((events[0].id, events[events.len() - 1].id), batch);
        ids.extend(events.iter().map(|event| event.id));
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{transport}: {ids:?}");

    let [gap, latest, close] = stopped.try_into().ok().expect("three");
    let gap = goes_on_from_the_oldest(gap, &topic, &ids).await;
    let latest = goes_on_from_the_newest(latest, &topic, &ids).await;
    is_closed(close, &topic, &ids, transport, target).await;
    // Both are up to date again.
    let live = publisher.text(&topic, "live").await;
    for mut reader in [gap, latest, healthy] {
        assert_eq!(reader.event().await.id, live, "{transport}");
    }
}

/// Publishes the large event, and waits until every reader has got as far as to take it.
async fn taken_by_all(
    server: &Server,
    publisher: &mut Publisher,
    transport: Transport,
    topic: &str,
    readers: u64,
) {
    let sent = |stats: &Value| stats["wires"][transport.wire()]["events_sent"].as_u64();
    let before = sent(&server.stats()).expect("a number");
    publisher.text(topic, &"x".repeat(LARGE)).await;
    server.until("all have taken it", |stats| {
        sent(stats) == Some(before + readers)
    });
}

async fn start(target: &Target, transport: Transport, ask: Ask) -> Reader {
    let mut reader = transport.open(target, ask).await;
    reader.ready().await;
    reader
}

/// Reads on: what was on its way still comes, in order, and then the notice.
async fn until_the_notice(reader: &mut Reader, topic: &str, ids: &[Id]) -> (usize, Gap) {
    reader.valve().open();
    let mut last = 0;
    loop {
        match reader.next().await {
            Message::Event(event) => {
                last += 1;
                assert_eq!(event.id, ids[last], "whole and in order");
            }
            Message::Gap(gap) => {
                assert_eq!((&*gap.topic, &*gap.reason), (topic, "lagged"));
                assert_eq!(gap.after, Some(ids[last]));
                return (last, gap);
            }
            Message::Heartbeat => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn goes_on_from_the_oldest(mut reader: Reader, topic: &str, ids: &[Id]) -> Reader {
    let (last, gap) = until_the_notice(&mut reader, topic, ids).await;
    let floor = EVENTS - KEPT;
    assert_eq!(gap.missed, Some((floor - last) as u64));
    assert_eq!((gap.resumed_at, gap.go_on), (ids[floor], None));
    let got: Vec<Event> = reader.events(KEPT).await;
    assert!(
        got.iter()
            .map(|event| event.id)
            .eq(ids[floor + 1..].iter().copied())
    );
    reader
}

async fn goes_on_from_the_newest(mut reader: Reader, topic: &str, ids: &[Id]) -> Reader {
    let (last, gap) = until_the_notice(&mut reader, topic, ids).await;
    assert_eq!(gap.missed, Some((EVENTS - 1 - last) as u64));
    assert_eq!((gap.resumed_at, gap.go_on), (ids[EVENTS - 1], None));
    assert_eq!(reader.event().await.id, ids[EVENTS]);
    reader
}

async fn is_closed(
    mut reader: Reader,
    topic: &str,
    ids: &[Id],
    transport: Transport,
    target: &Target,
) {
    let (last, gap) = until_the_notice(&mut reader, topic, ids).await;
    let floor = EVENTS - KEPT;
    assert_eq!(gap.missed, Some((floor - last) as u64));
    assert_eq!(gap.resumed_at, ids[floor]);
    match (transport.framing, reader.end().await) {
        // What an EventSource sends when it comes back.
        (Framing::Sse, End::Body) => assert_eq!(gap.go_on, Some(ids[floor])),
        (Framing::WebSocket, End::Close(1000, _)) => {}
        (_, end) => panic!("it ends so: {end:?}"),
    }
    let ask = Ask::of([topic])
        .lag("close")
        .last_event_id(gap.resumed_at.to_string());
    let mut reader = start(target, transport, ask).await;
    assert_eq!(reader.events(KEPT).await[0].id, ids[floor + 1]);
}

/// Where a closed reader goes on is the lowest place of all its topics: what it had not read yet of one that lost
/// nothing is not lost either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_lost_nothing_loses_nothing_by_the_close() {
    let server = Server::start(&SMALL);
    let target = Target::of(&server);
    let mut publisher = Publisher::new(&target).await;
    for link in Link::ALL {
        let transport = Transport {
            framing: Framing::Sse,
            link,
        };
        let [noisy, quiet] = ["noisy", "quiet"].map(|name| format!("{name}/{link:?}"));
        let ask = Ask::of([&noisy, &quiet]).lag("close");
        let mut reader = start(&target, transport, ask.clone()).await;
        reader.valve().close();
        taken_by_all(&server, &mut publisher, transport, &noisy, 1).await;
        publisher.numbers(&noisy, 0..100).await;
        // Late enough not to be on its way already, early enough to be below what is left of the other.
        let safe = publisher.text(&quiet, "safe").await;
        publisher.numbers(&noisy, 0..10).await;
        let (oldest, _) = publisher.numbers(&noisy, 0..KEPT as u64).await;
        reader.valve().open();
        let gap = loop {
            match reader.next().await {
                Message::Gap(gap) => break gap,
                Message::Event(event) => assert_ne!(event.id, safe, "{transport}: too early"),
                other => panic!("{transport}: {other:?}"),
            }
        };
        assert_eq!(gap.topic, noisy);
        let go_on = gap.go_on.expect("an id");
        assert!(
            go_on < safe && go_on > reader.cursor(),
            "{transport}: {gap:?}"
        );
        assert_eq!(reader.end().await, End::Body);
        let mut reader = start(&target, transport, ask.last_event_id(go_on.to_string())).await;
        // It comes from below the noisy topic's floor, and is told so again.
        assert_eq!(reader.gap().await.topic, noisy);
        assert_eq!(reader.event().await.id, safe, "{transport}");
        assert_eq!(reader.events(KEPT).await[0].id, oldest);
    }
}
