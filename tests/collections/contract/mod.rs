//! What holds of collections on every store. Each check has a collection of its own, so that one server does for all.

mod bulk;
mod changes;
mod documents;
mod hostile;
mod lists;
mod patches;
mod schemas;
mod sockets;
mod watches;
mod writers;

use crate::support::client::link::Link;
use crate::support::client::{Framing, Transport};
use crate::support::server::Server;

/// Every wire, on each version of HTTP that it has.
pub const WIRES: [Transport; 8] = [
    wire(Framing::Sse, Link::Http1),
    wire(Framing::Sse, Link::H2c),
    wire(Framing::Sse, Link::Http2),
    wire(Framing::WebSocket, Link::Ws),
    wire(Framing::WebSocket, Link::H2c),
    wire(Framing::WebSocket, Link::Http2),
    wire(Framing::LongPoll, Link::Http1),
    wire(Framing::LongPoll, Link::Http2),
];

const fn wire(framing: Framing, link: Link) -> Transport {
    Transport { framing, link }
}

/// Runs it all on a server, whose store has none of these collections.
pub fn holds(server: &Server) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        documents::hold(server).await;
        patches::hold(server).await;
        lists::hold(server).await;
        schemas::hold(server).await;
        bulk::hold(server).await;
        changes::hold(server).await;
        watches::hold(server).await;
        sockets::hold(server).await;
        writers::hold(server).await;
        hostile::hold(server).await;
    });
}
