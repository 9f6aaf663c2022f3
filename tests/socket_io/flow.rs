//! How much a client may have asked at once: as much as it likes, and each acknowledgement comes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::client::{Carry, Client, event};
use super::support::client::link::{Link, Target};
use super::support::raw::process::resident;
use super::support::server::Server;

/// The number of the acknowledgement that a packet is.
fn acknowledged(packet: &str) -> u64 {
    let rest = packet.strip_prefix("43").expect("an acknowledgement");
    let (id, _) = rest.split_once('[').expect("its arguments");
    id.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_acknowledgements() {
    const MANY: u64 = 5000;
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for link in [Link::Http1, Link::Http2] {
        for carry in Carry::ALL {
            let mut client = Client::connect(&target, link, carry).await;
            let document = json!({ "id": "it", "text": "x".repeat(200) });
            client.call("PUT", &[json!("items"), document]).await;
            let args = [json!("items"), json!("it")];
            let packets: Vec<String> = (0..MANY).map(|id| event(id, "GET", &args)).collect();
            let said = client.say_all(&target, packets);
            let mut missing: BTreeSet<u64> = (0..MANY).collect();
            while !missing.is_empty() {
                let packet = client.packet().await;
                let id = acknowledged(&packet);
                assert!(missing.remove(&id), "{carry:?} on {link}: {id} comes twice");
                assert!(packet.len() > 200, "{packet}");
            }
            said.await.expect("all is taken");
            client.leave().await;
        }
    }
}

/// Answers that nobody takes are not piled up: what is asked meanwhile is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_does_not_listen() {
    const MANY: u64 = 2000;
    let server = Server::start(&["--ping=1h", "--pong=1h"]);
    let target = Target::of(&server);
    let mut first = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    let document = json!({ "id": 1, "text": "x".repeat(200_000) });
    first.call("PUT", &[json!("items"), document]).await;
    let before = resident(server.pid());
    let mut deaf = Vec::new();
    for (link, carry) in [
        (Link::Ws, Carry::WebSocket),
        (Link::Http2, Carry::WebSocket),
        (Link::Http1, Carry::Polling),
        (Link::Http2, Carry::Polling),
    ] {
        let client = Client::connect(&target, link, carry).await;
        client.stop();
        let args = [json!("items"), json!(1)];
        let packets = (0..MANY).map(|id| event(id, "GET", &args)).collect();
        let said = client.say_all(&target, packets);
        deaf.push((client, said));
    }
    // 400 MB for each of them, if they were made.
    for _ in 0..200 {
        first.call("GET", &[json!("items"), json!(1)]).await;
    }
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes more");
    let (mut client, said) = deaf.swap_remove(0);
    client.go_on();
    for _ in 0..MANY {
        acknowledged(&client.packet().await);
    }
    said.await.expect("all is taken");
    for (_, said) in deaf {
        said.abort();
    }
}

/// Nor are the refusals of the library's own, which ours do not see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knocks_everywhere_and_does_not_listen() {
    let server = Server::start(&["--ping=1h", "--pong=1h"]);
    let target = Target::of(&server);
    let mut deaf = Vec::new();
    let before = resident(server.pid());
    for carry in [Carry::WebSocket, Carry::Polling] {
        for _ in 0..10 {
            let client = Client::connect(&target, Link::Ws, carry).await;
            client.stop();
            let name = format!("40/{},", "x".repeat(1000));
            let said = client.say_all(&target, vec![name; 1500]);
            said.await.expect("all is taken");
            deaf.push(client);
        }
    }
    let mut witness = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    witness.call("GET", &[json!("items"), json!(1)]).await;
    let grown = resident(server.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

/// Requests are begun in the order in which they came.
#[tokio::test]
async fn the_last_of_many_writes_wins() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for carry in Carry::ALL {
        let mut client = Client::connect(&target, Link::Http1, carry).await;
        for n in 0..300 {
            client
                .emit("PUT", &[json!("items"), json!(1), json!({ "n": n })])
                .await;
        }
        let mut versions = Vec::new();
        for _ in 0..300 {
            let packet = client.packet().await;
            let (_, args) = packet.split_at(packet.find('[').expect("arguments"));
            let args: Vec<Value> = serde_json::from_str(args).expect("an array");
            versions.push((args[1]["version"].as_u64(), args[0]["n"].as_u64()));
        }
        versions.sort_unstable();
        assert!(
            versions.is_sorted_by_key(|(_, n)| *n),
            "{carry:?}: {versions:?}"
        );
        client.call("DELETE", &[json!("items"), json!(1)]).await;
    }
}
