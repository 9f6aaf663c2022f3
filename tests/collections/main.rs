//! Collections: documents over REST and WebSocket, and the changes that are told of them. The contract is written once
//! and runs on every store; what only the embedded store has stands beside it.

#[path = "../support/mod.rs"]
mod support;

mod contract;
mod crash;
mod drain;
mod indexes;
mod limits;
mod shelf;
mod start;

use serde_json::json;
use shelf::Shelf;
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

/// Not part of the contract: a database can have a type for JSON that has no such character.
#[tokio::test]
async fn nul_is_a_character() {
    let server = Server::start(&[]);
    let mut shelf = Shelf::of(&server, "nul").await;
    let document = json!({"id": 1, "\0": "\0"});
    assert_eq!(shelf.post(&document).await.status, 201);
    assert_eq!(shelf.get(1).await.body, document);
}
