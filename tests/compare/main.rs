//! The promise: a comparison finds what goes wrong with events, on the wire where it does, and says in a line what it
//! could not do; and whatever ends it, nothing of it is left behind.

#[path = "../support/mod.rs"]
mod support;

mod comparison;
mod ended;
mod faults;
mod network;
mod refused;
mod relay;
mod relayed;
mod tool;
