//! Live SQL: tables are topics with a declared schema, queries read them, and what a query yields is told whenever it
//! changes. Nothing is evaluated that nobody watches, and equal queries are evaluated once.
//!
//! It announces through `log` and names no wire.

pub mod engine;
pub mod sandbox;
pub mod schema;
pub mod sql;
