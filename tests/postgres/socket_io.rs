//! Socket.IO readers of a collection on several servers: one whose server is killed goes on at another with its last cursor.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::database::Database;
use super::replicas::serve;
use super::rest::Rest;
use super::session::{Carry, Client};
use crate::support::client::link::{Link, Target};
use crate::support::server::Server;

/// Changes that are made while servers are killed.
const CHANGES: u64 = 200;

/// After so many that a reader has seen, its server is killed.
const SEEN: usize = 70;

/// One who reads whatever becomes of servers.
struct Reader {
    carry: Carry,
    filter: Option<Value>,
    cursor: Value,
    /// The numbers of what was told.
    seen: Vec<u64>,
}

impl Reader {
    /// Reads from this server, which is killed when so many have been seen, until the session has ended or all was seen.
    async fn read(&mut self, server: &Server, many: usize, all: usize) {
        let mut client = Client::connect(&Target::of(server), Link::Http1, self.carry).await;
        let mut watch = json!({ "collection": "items", "after": self.cursor });
        if let Some(filter) = &self.filter {
            watch["filters"] = filter.clone();
        }
        client.call("WATCH", &[watch]).await;
        while self.seen.len() < all
            && let Ok(packet) = client.try_packet().await
        {
            let event = packet.strip_prefix("42").expect("an event");
            let (name, change): (String, Value) = serde_json::from_str(event).expect("JSON");
            assert_eq!(name, "change", "{change}");
            self.cursor = change["id"].clone();
            let number = change["data"]["document"]["n"].as_u64();
            self.seen.push(number.expect("a number"));
            if self.seen.len() == many {
                server.signal("KILL");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_a_server_misses_nothing_at_another() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let database = Arc::new(database);
    let writing = serve(&database, &database, "w");
    let mut writer = Rest::of(&writing).await;
    assert_eq!(writer.put("items/first", r#"{"n": 0}"#).await.status, 201);
    let begin = writer.get("items").await.body["cursor"].clone();
    let readers: Vec<_> = Carry::ALL
        .into_iter()
        .flat_map(|carry| [(carry, None), (carry, Some(json!({ "even": true })))])
        .map(|(carry, filter)| Reader {
            carry,
            filter,
            cursor: begin.clone(),
            seen: Vec::new(),
        })
        .collect();
    let written = tokio::spawn(async move {
        for n in 1..=CHANGES {
            let document = json!({ "n": n, "even": n % 2 == 0 }).to_string();
            let put = writer.put(&format!("items/{n}"), &document).await;
            assert_eq!(put.status, 201, "{put:?}");
        }
    });
    let reading = readers
        .into_iter()
        .enumerate()
        .map(async |(at, mut reader)| {
            let all: Vec<u64> = match reader.filter {
                Some(_) => (1..=CHANGES).filter(|n| n % 2 == 0).collect(),
                None => (1..=CHANGES).collect(),
            };
            let mut round = 0;
            while reader.seen.len() < all.len() {
                // Beside the other readers, whose connections wait for nobody.
                let (place, name) = (database.clone(), format!("r{at}-{round}"));
                let starting = spawn_blocking(move || serve(&place, &place, &name));
                let server = starting.await.expect("it starts");
                let many = reader.seen.len() + SEEN;
                reader.read(&server, many, all.len()).await;
                round += 1;
            }
            assert_eq!(reader.seen, all, "{:?}", reader.carry);
        });
    futures_util::future::join_all(reading).await;
    written.await.expect("it wrote");
}
