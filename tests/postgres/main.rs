//! The promise: collections in Postgres are what collections are, whoever changes them: each change is told once, in
//! order, on every wire, and nothing that was acknowledged is lost, whatever happens to the database.
//!
//! Postgres is a real one, which `scripts/postgres-tests` starts; without it these tests say that they did not run.

#[path = "../support/mod.rs"]
mod support;

#[path = "../collections/contract/mod.rs"]
mod contract;
#[path = "../socket_io/client.rs"]
#[allow(dead_code, reason = "its own tests use all of it")]
mod session;
#[path = "../collections/shelf.rs"]
mod shelf;

mod agree;
mod away;
mod changes;
mod database;
mod load;
mod order;
mod outbox;
mod relayed;
mod replicas;
mod rest;
mod socket_io;
mod start;
mod tables;
mod tls;
mod turns;
mod watch_table;
mod writes;

#[test]
fn the_contract_holds_in_postgres() {
    let Some(database) = database::Database::migrated() else {
        return;
    };
    contract::holds(&database.server(&[]));
}

#[test]
fn the_contract_holds_behind_a_relay() {
    let Some(database) = database::Database::migrated() else {
        return;
    };
    contract::holds(&database.server(&["--relay", &database.url]));
}
