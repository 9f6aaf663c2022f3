//! Collections: documents over REST and WebSocket, and the changes that are told of them. The contract is written once
//! and runs on every store; what only the embedded store has stands beside it.

#[path = "../support/mod.rs"]
mod support;

mod contract;
mod crash;
mod indexes;
mod limits;
mod shelf;
mod start;

use support::server::{Server, new_dir};

#[test]
fn the_contract_holds_in_memory() {
    contract::holds(&Server::start(&[]));
}

#[test]
fn the_contract_holds_in_a_file() {
    let data = new_dir();
    contract::holds(&Server::start(&[&format!("--data={}", data.display())]));
    std::fs::remove_dir_all(data).expect("it can be removed");
}
