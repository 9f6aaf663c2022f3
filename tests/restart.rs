//! A server that is killed and started again: ids go on increasing, and who comes back with an old cursor is told
//! that something may be lost, on every wire.

mod support;

use support::client::ask::Ask;
use support::client::link::Target;
use support::client::message::{End, Gap, Id, Message};
use support::client::publisher::Publisher;
use support::client::{Framing, Transport};
use support::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_after_a_crash_is_told_of_the_gap() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut publisher = Publisher::new(&target).await;
    let mut open = Vec::new();
    let mut last = Id::ZERO;
    for transport in Transport::all() {
        let topic = format!("restart/{:?}-{:?}", transport.framing, transport.link);
        let mut reader = transport.open(&target, Ask::of([&topic])).await;
        reader.ready().await;
        last = publisher.text(&topic, "in the first life").await;
        assert_eq!(reader.event().await.id, last);
        open.push((transport, topic, reader));
    }

    let dir = server.kill();
    let mut left = Vec::new();
    for (transport, topic, mut reader) in open {
        // A crash must not look like an end that the server wanted.
        let end = reader.next().await;
        assert!(
            matches!(end, Message::End(End::Cut(_))),
            "{transport}: {end:?}"
        );
        left.push((transport, topic, reader.cursor()));
    }

    let server = Server::start_in(dir, &[]);
    let target = Target::of(&server);
    let mut publisher = Publisher::new(&target).await;
    for (transport, topic, cursor) in left {
        let ask = match transport.framing {
            // As a browser comes back.
            Framing::Sse => Ask::of([&topic]).last_event_id(cursor.to_string()),
            _ => Ask::of([&topic]).after(cursor),
        };
        let mut reader = transport.open(&target, ask).await;
        assert_eq!(reader.ready().await, cursor, "{transport}: its own cursor");
        let gap = reader.gap().await;
        let want = Gap {
            topic: topic.clone(),
            reason: "expired".to_owned(),
            after: Some(cursor),
            resumed_at: gap.resumed_at,
            missed: None,
            go_on: None,
        };
        assert_eq!(gap, want, "{transport}");
        assert!(gap.resumed_at > last, "{transport}: {gap:?}");
        let id = publisher.text(&topic, "in the second life").await;
        assert!(id > gap.resumed_at, "{transport}: {id}");
        assert_eq!(reader.event().await.id, id, "{transport}");
        // Its new cursor is of this life: no gap.
        let ask = Ask::of([&topic]).after(reader.cursor());
        let mut reader = transport.open(&target, ask).await;
        reader.ready().await;
        let id = publisher.text(&topic, "on").await;
        assert_eq!(reader.event().await.id, id, "{transport}");
    }
}
