//! The dialect of Timeplus over HTTP, held to what its clients were seen to send and to need.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod everywhere;
mod ingest;
mod keys;
mod queries;
mod running;
mod sockets;
mod streams;
