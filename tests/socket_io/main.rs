//! Socket.IO: documents and their changes by the events that front ends use, on every listener, by polling, by
//! WebSocket, and by an upgrade from the one to the other.

mod client;
mod documents;
mod ends;
mod flow;
mod packets;
mod refused;
#[path = "../support/mod.rs"]
mod support;
mod transports;
mod watch;
