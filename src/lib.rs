//! triwire: one event log on every wire, told apart and counted.
//!
//! The modules in reading order. An event goes out through three places: `api::publish` (or a `source`), `log`,
//! and one of `wire`. A request comes in through four: `server`, `routes`, one of `wire`, `log`.
//!
//! The library binds nothing, reads no environment and listens for no signal: it is given listeners, values and
//! a future that ends when the server shall.

pub mod problem;

pub mod openapi;

pub mod event;

pub mod counts;

pub mod bundle;

pub mod log;

pub mod live;

pub mod trust;

pub mod database;

pub mod store;

pub mod body;

pub mod access;

pub mod wire;

pub mod api;

pub mod page;

pub mod routes;

pub mod server;

pub mod greeting;

pub mod pace;

pub mod relay;

pub mod replica;

pub mod source;

pub mod certs;

pub mod client;

pub mod doctor;

#[cfg(target_os = "linux")]
pub mod load;

#[cfg(target_os = "linux")]
pub mod compare;

pub mod config;

pub mod cli;
