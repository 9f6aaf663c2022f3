//! What is kept for servers that are away is not kept for ever; one that was away for longer says that it has missed
//! something.

use serde_json::json;

use super::database::Database;
use super::rest::{Rest, change, watch};
use crate::support::client::Framing;
use crate::support::raw::until;

const SHORT: [&str; 2] = ["--store-outbox-age", "1s"];

fn insert(id: i32) -> String {
    format!(
        "insert into triwire.documents (collection, id, document) values ('items', '{id}', '{{}}')"
    )
}

fn is_empty(database: &Database) -> bool {
    database.sql("select count(*) from triwire.outbox") == "0"
}

#[tokio::test]
async fn what_is_old_goes() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&SHORT);
    let mut reader = watch(&server, Framing::Sse, "items").await;
    let mut client = Rest::of(&server).await;
    for id in 0..50 {
        client.put(&format!("items/{id}"), "{}").await;
    }
    // A transaction that was there all the time is not forgotten.
    let mut slow = database.session();
    slow.say("begin");
    slow.say(&insert(77));
    until("the outbox is empty", || is_empty(&database));
    assert_ne!(database.sql("select pruned from triwire.meta"), "1:1:");
    slow.say("commit");
    for id in (0..50).chain([77]) {
        assert_eq!(change(&reader.event().await).1, json!(id));
    }
    until("the outbox is empty again", || is_empty(&database));
}

#[tokio::test]
async fn who_was_away_for_too_long_says_so() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let (server, other) = (database.server(&SHORT), database.server(&SHORT));
    let mut reader = watch(&server, Framing::WebSocket, "items").await;
    let mut untroubled = watch(&other, Framing::Sse, "items").await;
    database.sql(&insert(1));
    assert_eq!(change(&reader.event().await).1, json!(1));
    server.signal("STOP");
    database.sql(&insert(2));
    until("the outbox is empty", || is_empty(&database));
    server.signal("CONT");
    database.sql(&insert(3));
    let gap = reader.gap().await;
    assert_eq!(
        (&*gap.topic, &*gap.reason, gap.missed),
        ("collections/items", "expired", None)
    );
    assert_eq!(change(&reader.event().await).1, json!(3));
    for id in 1..=3 {
        assert_eq!(change(&untroubled.event().await).1, json!(id));
    }
}

#[tokio::test]
async fn what_comes_from_the_dump_of_another_database_is_nothing_new() {
    let Some(database) = Database::migrated() else {
        return;
    };
    database.sql(&insert(1));
    database.sql("update triwire.outbox set xid = '99999999999'");
    database.sql("update triwire.meta set pruned = '99999999999:99999999999:'");
    let server = database.server(&[]);
    let mut reader = watch(&server, Framing::Sse, "items").await;
    for id in 2..=3 {
        database.sql(&insert(id));
        assert_eq!(change(&reader.event().await).1, json!(id));
    }
    assert_eq!(
        database.sql("select string_agg(id, ' ' order by seq) from triwire.outbox"),
        "2 3"
    );
}
