//! Of servers behind one relay, the one that tells what is changed may die or hang at any time: nothing that was acknowledged is
//! lost, and nothing is told twice.

use serde_json::{Value, json};

use super::database::Database;
use super::load::{Load, by_document, put_end, read};
use super::replicas::{next, serve, servers, until_answered};
use super::rest::{Rest, watch};
use crate::support::client::Framing;
use crate::support::raw::until;
use crate::support::server::Server;

/// What the server says whose turn it is.
const TELLS: &str = "this server tells all others";

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
    let load = Load::start(&[one, other]);
    load.come_to(200).await;
    let _ = first.kill();
    load.come_to(300).await;
    until("another tells", || {
        rest.iter().any(|server| server.stderr().contains(TELLS))
    });
    // And once more, where the one is there that died.
    let again = serve(&database, &database, "again");
    let late = read(watch(&again, Framing::Sse, "items").await);
    load.come_to(1_000).await;
    let acknowledged = load.end().await;
    put_end(&database);
    let [one, other] = readers;
    let (one, other) = (one.await.expect("it read"), other.await.expect("it read"));
    assert_eq!(one, other);
    let late = late.await.expect("it read");
    assert!(one.ends_with(&late), "one that comes later has the same");
    let told = by_document(&one);
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
