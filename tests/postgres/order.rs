//! Sequence numbers are drawn before they are committed: who draws the lower may commit later, and is told then.

use serde_json::json;

use super::database::Database;
use super::rest::{Rest, change, watch};
use crate::support::client::Framing;

fn insert(id: i32) -> String {
    format!(
        r#"insert into triwire.documents (collection, id, document) values ('items', '{id}', '{{}}')"#
    )
}

#[tokio::test]
async fn a_lower_number_may_be_committed_later() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut reader = watch(&server, Framing::Sse, "items").await;
    let (mut slow, mut quick) = (database.session(), database.session());
    slow.say("begin");
    slow.say(&insert(1));
    quick.say(&insert(2));
    assert_eq!(change(&reader.event().await).1, json!(2));
    // Nor does it hold up what others write here.
    let mut client = Rest::of(&server).await;
    let put = client.put("items/3", "{}").await;
    assert_eq!(put.status, 201);
    assert_eq!(change(&reader.event().await).1, json!(3));
    slow.say("commit");
    assert_eq!(change(&reader.event().await).1, json!(1));
    quick.say(&insert(4));
    assert_eq!(change(&reader.event().await).1, json!(4));
    let numbers = database.sql("select string_agg(id, ' ' order by seq) from triwire.outbox");
    assert_eq!(numbers, "1 2 3 4");
}

#[tokio::test]
async fn what_is_rolled_back_is_not_told() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut reader = watch(&server, Framing::Sse, "items").await;
    let mut session = database.session();
    session.say("begin");
    session.say(&insert(1));
    session.say("savepoint s");
    session.say(&insert(2));
    session.say("rollback to s");
    session.say(&insert(3));
    session.say("commit");
    session.say("begin");
    session.say(&insert(4));
    session.say("rollback");
    session.say(&insert(5));
    for id in [1, 3, 5] {
        assert_eq!(change(&reader.event().await).1, json!(id));
    }
}

#[tokio::test]
async fn many_sessions_that_overlap_are_each_told_once() {
    const SESSIONS: i32 = 8;
    const EACH: i32 = 25;
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut reader = watch(&server, Framing::Sse, "items").await;
    let database = std::sync::Arc::new(database);
    let writers: Vec<_> = (0..SESSIONS)
        .map(|session| {
            let database = database.clone();
            std::thread::spawn(move || {
                let mut psql = database.session();
                for n in 0..EACH {
                    psql.say("begin");
                    psql.say(&insert(session * 1000 + n));
                    psql.say(&format!(
                        "update triwire.documents set document = document || '{{\"n\": {n}}}' where id = '{}'",
                        session * 1000 + n
                    ));
                    psql.say("commit");
                }
            })
        })
        .collect();
    let mut seen = std::collections::HashMap::new();
    for _ in 0..2 * SESSIONS * EACH {
        let (kind, id, version, _) = change(&reader.event().await);
        let before = seen.insert(id.as_i64().expect("a number"), version);
        // Each once, the first version first.
        assert_eq!(before.unwrap_or(0) + 1, version, "{kind} {id}");
    }
    assert_eq!(seen.len(), (SESSIONS * EACH) as usize);
    for writer in writers {
        writer.join().expect("it wrote");
    }
}
