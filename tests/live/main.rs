//! Live SQL over HTTP: queries, subscriptions and tables are made, changed and deleted while their streams are read, on
//! every wire.

#[path = "../support/mod.rs"]
mod support;

mod desk;
mod draft;
mod edits;
mod names;
mod restart;
mod resume;
mod seam;
mod tables;
mod temporary;
mod trouble;

use support::client::link::Link;
use support::client::{Framing, Transport};

/// Every wire, on each version of HTTP that it has.
const WIRES: [Transport; 8] = [
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
