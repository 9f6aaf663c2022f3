//! What a person does at psql is told to whoever watches, on every wire.

use serde_json::{Value, json};

use super::database::Database;
use super::rest::{Rest, change, told, version, watch};
use crate::support::client::{Framing, Reader};

const FRAMINGS: [Framing; 3] = [Framing::Sse, Framing::WebSocket, Framing::LongPoll];

async fn next(reader: &mut Reader) -> (String, Value, u64, Value) {
    change(&reader.event().await)
}

#[tokio::test]
async fn psql_is_seen_on_every_wire() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut readers = Vec::new();
    for framing in FRAMINGS {
        readers.push(watch(&server, framing, "items").await);
    }
    database.sql(r#"insert into triwire.documents (collection, document) values ('items', '{"id": 7, "name": "x"}')"#);
    database.sql(
        r#"update triwire.documents set document = document || '{"name": "y"}' where id = '7'"#,
    );
    database.sql("update triwire.documents set id = 'z' where id = '7'");
    database.sql("delete from triwire.documents where id = 'z'");
    database.sql(
        r#"insert into triwire.documents (collection, id, document) values ('items', 'a', '{}')"#,
    );
    database.sql("truncate triwire.documents");
    for mut reader in readers {
        let expected = [
            ("ADDED", json!(7), 1, json!({"id": 7, "name": "x"})),
            ("MODIFIED", json!(7), 2, json!({"id": 7, "name": "y"})),
            ("DELETED", json!(7), 2, Value::Null),
            ("ADDED", json!("z"), 1, json!({"id": "z", "name": "y"})),
            ("DELETED", json!("z"), 1, Value::Null),
            ("ADDED", json!("a"), 1, json!({"id": "a"})),
            ("DELETED", json!("a"), 1, Value::Null),
        ];
        for (kind, id, version, document) in expected {
            assert_eq!(
                next(&mut reader).await,
                (kind.into(), id, version, document)
            );
        }
    }
}

#[tokio::test]
async fn one_statement_of_many_rows_is_told_whole() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut reader = watch(&server, Framing::Sse, "items").await;
    database.sql(
        "insert into triwire.documents (collection, id, document)
            select 'items', n::text, jsonb_build_object('n', n) from generate_series(1, 5000) n",
    );
    for n in 1..=5000 {
        let (kind, id, version, _) = next(&mut reader).await;
        assert_eq!((&*kind, id, version), ("ADDED", json!(n), 1));
    }
}

#[tokio::test]
async fn two_servers_see_each_others_changes() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let (one, other) = (database.server(&[]), database.server(&[]));
    let mut readers = [
        watch(&one, Framing::Sse, "items").await,
        watch(&other, Framing::Sse, "items").await,
    ];
    let mut clients = [Rest::of(&one).await, Rest::of(&other).await];
    let made = clients[0].post("items", r#"{"n": 0}"#).await;
    assert_eq!((made.status, version(&made)), (201, 1));
    for n in 1..20 {
        let body = format!(r#"{{"n": {n}}}"#);
        let put = clients[n % 2].put("items/1", &body).await;
        assert_eq!((put.status, version(&put)), (200, n as u64 + 1));
        let seen = clients[(n + 1) % 2].get("items/1").await;
        assert_eq!(seen.body["n"], n);
    }
    for reader in &mut readers {
        for n in 0..20 {
            let (_, _, version, document) = next(reader).await;
            assert_eq!((version, &document["n"]), (n + 1, &json!(n)));
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_names_its_event() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut reader = watch(&server, Framing::WebSocket, "items").await;
    let mut client = Rest::of(&server).await;
    let answers = [
        client.post("items", r#"{"name": "x"}"#).await,
        client.put("items/1", r#"{"name": "y"}"#).await,
        client
            .patch("items/1", super::rest::MERGE, r#"{"name": null}"#)
            .await,
        client.delete("items/1").await,
    ];
    for answer in &answers {
        assert_eq!(reader.event().await.id, told(answer));
    }
}

#[tokio::test]
async fn what_cannot_be_a_document_is_refused_at_psql_too() {
    let Some(database) = Database::migrated() else {
        return;
    };
    for document in [
        r#"'[1]'"#,
        r#"'1'"#,
        "null",
        r#"'{"id": 1.5}'"#,
        r#"'{"id": "1"}'"#,
        r#"'{"id": "a/b"}'"#,
    ] {
        let insert = format!(
            "insert into triwire.documents (collection, document) values ('items', {document})"
        );
        assert!(!database.try_sql(&insert).status.success(), "{document}");
    }
    for collection in ["", "1a", "a b", "a/b"] {
        let insert = format!(
            "insert into triwire.documents (collection, document) values ('{collection}', '{{}}')"
        );
        assert!(!database.try_sql(&insert).status.success(), "{collection}");
    }
    assert_eq!(database.sql("select count(*) from triwire.outbox"), "0");
}
