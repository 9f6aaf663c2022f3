//! Of servers behind one relay, the one that tells what is changed may die or hang at any time: nothing that was acknowledged is
//! lost, and nothing is told twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::database::Database;
use super::replicas::{next, serve, servers, until_answered};
use super::rest::{Rest, change, post, told, watch};
use crate::support::client::link::Target;
use crate::support::client::message::{Id, Message};
use crate::support::client::publisher::Publisher;
use crate::support::client::{Framing, Reader};
use crate::support::raw::until;
use crate::support::server::{PATIENCE, Server};

/// What the server says whose turn it is.
const TELLS: &str = "this server tells all others";

/// Writers at these servers, until so many documents are acknowledged; and these, with their events.
struct Load {
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<HashMap<i64, Id>>>,
}

impl Load {
    fn start(servers: &[&Server], goal: usize) -> Load {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers = (0..8).map(|number| {
            let target = Target::of(servers[number % servers.len()]);
            let count = acknowledged.clone();
            tokio::spawn(async move {
                let mut client = Publisher::new(&target).await;
                let mut written = HashMap::new();
                while count.load(Ordering::Relaxed) < goal {
                    let answer = client.call(post("items", r#"{"name": "x"}"#)).await;
                    if answer.status == 201 {
                        count.fetch_add(1, Ordering::Relaxed);
                        let id = answer.body["id"].as_i64().expect("an id");
                        assert!(written.insert(id, told(&answer)).is_none());
                    } else {
                        assert_eq!(answer.status, 503, "{answer:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                written
            })
        });
        Load {
            writers: writers.collect(),
            acknowledged,
        }
    }

    async fn come_to(&self, count: usize) {
        let deadline = Instant::now() + 2 * PATIENCE;
        while self.acknowledged.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn end(self) -> HashMap<i64, Id> {
        let mut all = HashMap::new();
        for writer in self.writers {
            all.extend(writer.await.expect("it wrote"));
        }
        all
    }
}

/// Reads all up to the document `end`, in the order of ids.
fn read(mut reader: Reader) -> JoinHandle<Vec<(Id, Value)>> {
    tokio::spawn(async move {
        let mut seen: Vec<(Id, Value)> = Vec::new();
        loop {
            let event = match reader.next().await {
                Message::Event(event) => event,
                Message::Heartbeat => continue,
                other => panic!("no event, but {other:?}"),
            };
            assert!(seen.last().is_none_or(|(last, _)| *last < event.id));
            let (_, id, version, _) = change(&event);
            assert_eq!(version, 1);
            if id == json!("end") {
                return seen;
            }
            seen.push((event.id, id));
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tells_may_die_under_load() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let [a, b, c] = servers(&database);
    let all = [&a, &b, &c];
    until("somebody tells", || {
        all.iter().any(|server| server.stderr().contains(TELLS))
    });
    let first = all
        .iter()
        .position(|server| server.stderr().contains(TELLS));
    let mut rest: Vec<Server> = vec![a, b, c];
    let first = rest.remove(first.expect("somebody tells"));
    let [one, other] = &rest[..] else {
        panic!("two are left");
    };
    let readers = [
        read(watch(one, Framing::Sse, "items").await),
        read(watch(other, Framing::WebSocket, "items").await),
    ];
    let load = Load::start(&[one, other], 1_000);
    load.come_to(200).await;
    let _ = first.kill();
    load.come_to(300).await;
    until("another tells", || {
        rest.iter().any(|server| server.stderr().contains(TELLS))
    });
    // And once more, where the one is there that died.
    let again = serve(&database, &database, "again");
    let late = read(watch(&again, Framing::Sse, "items").await);
    let acknowledged = load.end().await;
    assert!(acknowledged.len() >= 1_000);
    database.sql(
        r#"insert into triwire.documents (collection, document) values ('items', '{"id": "end"}')"#,
    );
    let [one, other] = readers;
    let (one, other) = (one.await.expect("it read"), other.await.expect("it read"));
    assert_eq!(one, other);
    let late = late.await.expect("it read");
    assert!(one.ends_with(&late), "one that comes later has the same");
    let told: HashMap<i64, Id> = one
        .iter()
        .map(|(event, id)| (id.as_i64().expect("a number"), *event))
        .collect();
    assert_eq!(told.len(), one.len(), "nothing is told twice");
    for (id, event) in &acknowledged {
        assert_eq!(told.get(id), Some(event), "{id}");
    }
    let count = database.sql("select count(*) from triwire.documents where id <> 'end'");
    assert_eq!(count, told.len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tells_may_hang() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let a = serve(&database, &database, "a");
    until("it tells", || a.stderr().contains(TELLS));
    let b = serve(&database, &database, "b");
    let mut reader = watch(&b, Framing::Sse, "items").await;
    let mut client = Rest::of(&b).await;
    assert_eq!(client.put("items/1", "{}").await.status, 201);
    a.signal("STOP");
    // It waits for somebody who tells it.
    let put = client.put("items/2", "{}").await;
    a.signal("CONT");
    assert_eq!(put.status, 201, "{put:?}");
    until_answered(&mut Rest::of(&a).await, 201).await;
    let ids = next(&mut reader, 3).await.into_iter().map(|event| event.1);
    let ids: Vec<Value> = ids.collect();
    assert_eq!(ids, [json!(1), json!(2), json!("again")]);
}
