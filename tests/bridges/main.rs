//! The promise: what others publish comes here as events, by what the source promises of it; what does not is counted and
//! said; and a source that is away, or not what it should be, is tried again while everything else goes on.
//!
//! The sources are real servers that these tests start, which `scripts/test bridges` has installed and asks for; without
//! that they say that they did not run.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "amqp")]
mod amqp;
mod broker;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "nats")]
mod nats;
mod redis;
mod secure;
mod seen;
mod wrong;
