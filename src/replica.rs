//! A server as one of several: its log follows the order of a relay, and it says of itself what the others want to know.
//!
//! [`link::Link`] is what a log publishes by when it has a relay; [`outbox`] and [`pull`] are the loops that append and
//! read, the same for every relay; [`replicas`] is who else there is. [`sender::Sender`] publishes to a relay without any
//! server.

pub mod entry;
pub mod link;
pub mod outbox;
mod publishers;
mod pull;
pub mod replicas;
pub mod sender;
