//! The other end of the wires: what the command line's tools talk to a server with. A stranger: it knows the
//! protocol and nothing of the server's code.
//!
//! A [`Place`] says where a server is and how it is spoken to; [`Connection`] is one HTTP connection there;
//! [`Reader`] is one stream on any transport, and [`Follower`] one that comes back after a loss; [`Publisher`]
//! sends events, each once; [`Query`] is one that is there as long as somebody looks.

mod any_certificate;
mod connection;
mod dial;
mod failure;
mod follower;
mod place;
mod publisher;
mod query;
mod reader;
mod settings;
mod sse;
mod websocket;

pub use self::connection::{Connection, Http};
pub use self::failure::{Failure, Fault};
pub use self::follower::{Follower, Patience};
pub use self::place::{Framing, Place, TRANSPORTS, Transport};
pub use self::publisher::{Draft, Format, Publisher, Unpublished};
pub use self::query::Query;
pub use self::reader::{Ask, Item, Reader, Source};
pub use self::settings::Settings;
pub use self::sse::{Block, SseParser};
