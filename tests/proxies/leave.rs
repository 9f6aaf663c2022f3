//! Clients that leave: the server is told by the proxy, and need not find out by writing to them.

use super::support::client::ask::Ask;
use super::support::client::link::Link;
use super::support::client::{Framing, Transport};
use super::through::sockets;
use super::{Front, each};

#[test]
fn a_client_that_leaves_is_seen() {
    each(async |kind| {
        // Neither a heartbeat nor, in that time, the proxy's own limit tells it.
        let front = Front::start(kind, &["--heartbeat", "1h", "--ping", "1h"]);
        let sse = [Link::Http1s, Link::Http2].map(|link| (Framing::Sse, link));
        let sockets = sockets(kind).iter().map(|link| (Framing::WebSocket, *link));
        for (framing, link) in sse.into_iter().chain(sockets) {
            let transport = Transport { framing, link };
            let wire = match framing {
                Framing::WebSocket => "websocket",
                _ => "sse_http1",
            };
            let mut reader = transport.open(&front.target, Ask::of(["t"])).await;
            reader.ready().await;
            assert_eq!(front.streams(wire), 1, "{kind}, {transport}");
            drop(reader);
            front
                .server
                .until(&format!("{kind}, {transport}: it has left"), |stats| {
                    stats["wires"][wire]["streams"] == 0
                });
        }
    });
}
