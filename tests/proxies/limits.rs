//! The idle limits of a proxy, 3 s here, and what keeps a silent stream from them: a heartbeat a second.

use super::proxy::Kind;
use super::support::client::ask::Ask;
use super::support::client::link::Link;
use super::support::client::message::Message;
use super::support::client::{Framing, Reader, Transport};
use super::through::sockets;
use super::{Front, each};

/// Past the limit.
const BEATS: usize = 5;

fn transports(kind: Kind) -> impl Iterator<Item = Transport> {
    let sse = [Link::Http1s, Link::Http2].map(|link| (Framing::Sse, link));
    let sockets = sockets(kind).iter().map(|link| (Framing::WebSocket, *link));
    let all = sse.into_iter().chain(sockets);
    all.map(|(framing, link)| Transport { framing, link })
}

#[test]
fn heartbeats_keep_an_idle_stream() {
    each(async |kind| {
        let front = Front::with(
            kind,
            &["--heartbeat", "1s", "--ping", "1s"],
            &kind.impatient(),
        );
        let mut publisher = front.publisher().await;
        let mut readers = Vec::new();
        for transport in transports(kind) {
            let mut reader = transport.open(&front.target, Ask::of(["t"])).await;
            reader.ready().await;
            readers.push((transport, reader));
        }
        let watched = readers
            .iter_mut()
            .map(|(transport, reader)| beats(*transport, reader));
        futures_util::future::join_all(watched).await;
        let id = publisher.text("t", "after the silence").await;
        for (transport, reader) in &mut readers {
            assert_eq!(reader.event().await.id, id, "{kind}, {transport}");
        }
    });
}

async fn beats(transport: Transport, reader: &mut Reader) {
    for _ in 0..BEATS {
        match transport.framing {
            Framing::WebSocket => {
                let frame = reader.websocket().frame().await.expect("it is open");
                assert!(frame.is_ping(), "{transport}: {frame:?}");
            }
            _ => assert_eq!(reader.next().await, Message::Heartbeat, "{transport}"),
        }
    }
}

/// Else the test before would say nothing.
#[test]
fn without_them_it_is_cut() {
    each(async |kind| {
        let front = Front::with(
            kind,
            &["--heartbeat", "1h", "--ping", "1h"],
            &kind.impatient(),
        );
        let cut = transports(kind).map(async |transport| {
            let mut reader = transport.open(&front.target, Ask::of(["t"])).await;
            reader.ready().await;
            reader.end().await;
        });
        futures_util::future::join_all(cut).await;
    });
}
