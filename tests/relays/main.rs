//! The promise: several replicas are one log behind every relay, whatever happens to the broker; what it loses is told.
//!
//! The broker is a real one, which `scripts/relay-tests` starts, one after the other; without it these tests say that they
//! did not run, but for the few that need none. `tests/replicas` has the same loop on a relay in memory.

#[path = "../support/mod.rs"]
mod support;

mod broker;
mod cable;
mod cluster;
mod full;
#[cfg(feature = "nats")]
mod jetstream;
mod lost;
mod old;
mod one_log;
mod postgres;
mod replica;
mod sentinel;
mod served;
mod wrong;
