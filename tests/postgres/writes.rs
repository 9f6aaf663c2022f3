//! What is written, and what is refused: values that a database has its own view of, and writers that meet.

use serde_json::{Value, json};

use super::database::Database;
use super::rest::{MERGE, PATCH, Rest, detail, post, put, version, watch};
use crate::support::client::Framing;
use crate::support::client::link::Call;

#[tokio::test]
async fn versions_count_whoever_changes() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut client = Rest::of(&server).await;
    assert_eq!(version(&client.put("items/1", r#"{"n": 1}"#).await), 1);
    database.sql("update triwire.documents set document = document || '{\"n\": 2}', version = 77");
    let found = client.get("items/1").await;
    assert_eq!((version(&found), &found.body["n"]), (2, &json!(2)));
    let stale = put("items/1", r#"{"n": 3}"#).with("if-match", "\"1\"");
    assert_eq!(client.0.call(stale).await.status, 412);
    let fresh = put("items/1", r#"{"n": 3}"#).with("if-match", "\"2\"");
    assert_eq!(version(&client.0.call(fresh).await), 3);
    assert_eq!(client.delete("items/1").await.status, 204);
    assert_eq!(client.get("items/1").await.status, 404);
    assert_eq!(version(&client.put("items/1", "{}").await), 1);
}

#[tokio::test]
async fn of_writers_that_expect_one_version_one_writes() {
    const WRITERS: usize = 12;
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut client = Rest::of(&server).await;
    client.put("items/1", r#"{"n": 0}"#).await;
    let mut clients = Vec::new();
    for _ in 0..WRITERS {
        clients.push(Rest::of(&server).await);
    }
    let writers = clients.into_iter().enumerate().map(|(n, mut client)| {
        tokio::spawn(async move {
            let body = format!(r#"{{"n": {n}}}"#);
            client
                .0
                .call(put("items/1", &body).with("if-match", "\"1\""))
                .await
                .status
        })
    });
    let mut written = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.expect("it was answered") {
            200 => written += 1,
            status => assert_eq!(status, 412),
        }
    }
    assert_eq!(written, 1);
    assert_eq!(version(&client.get("items/1").await), 2);
}

#[tokio::test]
async fn who_creates_the_same_document_at_once_creates_one() {
    const WRITERS: usize = 12;
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut clients = Vec::new();
    for _ in 0..WRITERS {
        clients.push(Rest::of(&server).await);
    }
    let writers = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let created = client.post("items", r#"{"id": 5}"#).await.status;
            let put = client.put("items/6", "{}").await.status;
            (created, put, client.post("items", "{}").await)
        })
    });
    let (mut created, mut put, mut made) = (Vec::new(), Vec::new(), Vec::new());
    for writer in writers.collect::<Vec<_>>() {
        let (one, other, third) = writer.await.expect("it was answered");
        created.push(one);
        put.push(other);
        made.push(third.body["id"].as_i64().expect("made"));
    }
    let count = |all: &[u16], of: u16| all.iter().filter(|status| **status == of).count();
    assert_eq!(
        (count(&created, 201), count(&created, 409)),
        (1, WRITERS - 1)
    );
    assert_eq!((count(&put, 201), count(&put, 200)), (1, WRITERS - 1));
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), WRITERS, "{made:?}");
}

#[tokio::test]
async fn made_ids_go_on_after_those_that_are_given() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut client = Rest::of(&server).await;
    client.put("items/10", "{}").await;
    assert_eq!(client.post("items", "{}").await.body["id"], 11);
    database.sql(r#"insert into triwire.documents (collection, document) values ('items', '{"id": 20}'), ('items', '{}')"#);
    assert_eq!(client.post("items", "{}").await.body["id"], 22);
    client.put("items/9007199254740993", "{}").await;
    assert_eq!(client.post("items", "{}").await.body["id"], 23);
    client.delete("items/23").await;
    assert_eq!(client.post("items", "{}").await.body["id"], 24);
    assert_eq!(client.post("others", "{}").await.body["id"], 1);
}

#[tokio::test]
async fn a_bulk_is_all_or_nothing() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut reader = watch(&server, Framing::Sse, "items").await;
    let mut client = Rest::of(&server).await;
    let bulk = |lines: &str| Call {
        headers: vec![("content-type", b"application/x-ndjson".to_vec())],
        ..post("items", lines)
    };
    let bad = client
        .0
        .call(bulk("{\"id\": 1}\n{\"id\": \"x\\u0000\"}\n"))
        .await;
    assert_eq!(bad.status, 400, "{bad:?}");
    let bad = client
        .0
        .call(bulk("{\"id\": 1}\n{\"n\": \"\\u0000\"}\n{}\n"))
        .await;
    assert_eq!(bad.status, 400, "{bad:?}");
    assert!(detail(&bad).starts_with("line 2: "), "{bad:?}");
    let twice = client.0.call(bulk("{\"id\": 1}\n{}\n{\"id\": 1}\n")).await;
    assert_eq!(twice.status, 409, "{twice:?}");
    assert_eq!(database.sql("select count(*) from triwire.documents"), "0");
    let lines: String = (1..=2000).map(|n| format!("{{\"id\": {n}}}\n")).collect();
    let made = client.0.call(bulk(&lines)).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["count"], 2000);
    let mut last = None;
    for n in 1..=2000 {
        let event = reader.event().await;
        assert_eq!(super::rest::change(&event).1, json!(n));
        if n == 1 {
            assert_eq!(event.id, made.id("first"));
        }
        last = Some(event.id);
    }
    assert_eq!(last, Some(made.id("last")));
}

#[tokio::test]
async fn what_a_database_cannot_hold_is_refused() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&["--document-bytes", "64KiB"]);
    let mut client = Rest::of(&server).await;
    for body in [
        r#"{"v": "a\u0000b"}"#,
        r#"{"a\u0000": 1}"#,
        r#"{"v": "\ud800"}"#,
    ] {
        let refused = client.put("items/1", body).await;
        assert_eq!(refused.status, 400, "{body}: {refused:?}");
    }
    // Few bytes here, and many as the database writes them.
    let numbers = vec!["1e300"; 5_000].join(",");
    let refused = client
        .put("items/1", &format!(r#"{{"v": [{numbers}]}}"#))
        .await;
    assert_eq!(refused.status, 413, "{refused:?}");
    let large = "x".repeat(60 << 10);
    let put = client
        .put("items/1", &format!(r#"{{"v": "{large}"}}"#))
        .await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(client.get("items/1").await.body["v"], large);
    for path in ["items/1'%20or%20'1'='1", "items/%22%3B%20drop%20table%20x"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
        assert_eq!(
            client
                .put(path, r#"{"v": "'); drop table triwire.documents; --"}"#)
                .await
                .status,
            201
        );
        assert_eq!(
            client.get(path).await.body["v"],
            "'); drop table triwire.documents; --"
        );
    }
}

#[tokio::test]
async fn numbers_are_exact_as_far_as_json_readers_are() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut client = Rest::of(&server).await;
    let body =
        r#"{"i": 9223372036854775807, "u": 18446744073709551615, "f": 0.1, "e": 1e-7, "one": 1.0}"#;
    client.put("items/1", body).await;
    let found = client.get("items/1").await.body;
    assert_eq!(found["i"], json!(i64::MAX));
    assert_eq!(found["u"], json!(u64::MAX));
    assert_eq!(
        (found["f"].as_f64(), found["e"].as_f64()),
        (Some(0.1), Some(1e-7))
    );
    assert_eq!(found["one"].as_f64(), Some(1.0));
    // What others write is told and read as they wrote it.
    database.sql("update triwire.documents set document = document || '{\"long\": 3.14159265358979323846264338327950288}'");
    let call = Call::get("/api/v2/items/1");
    let found = client.0.call(call).await;
    assert_eq!(found.status, 200);
    assert!(found.body["long"].is_number());
}

#[tokio::test]
async fn patches_and_schemas_hold_here_too() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let (server, other) = (database.server(&[]), database.server(&[]));
    let mut client = Rest::of(&server).await;
    let schema =
        r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;
    assert_eq!(client.put("items/$schema", schema).await.status, 201);
    assert_eq!(client.put("items/$schema", schema).await.status, 200);
    // Another server knows it when it writes, whether it was told or not.
    let mut elsewhere = Rest::of(&other).await;
    let refused = elsewhere.put("items/1", r#"{"n": "x"}"#).await;
    assert_eq!(
        (
            refused.status,
            refused.body["errors"][0]["pointer"].as_str()
        ),
        (400, Some("/n"))
    );
    assert_eq!(
        elsewhere
            .put("items/1", r#"{"n": 1, "l": [1, 2]}"#)
            .await
            .status,
        201
    );
    let patched = client
        .patch(
            "items/1",
            PATCH,
            r#"[{"op": "remove", "path": "/l/0"}, {"op": "add", "path": "/m", "value": {}}]"#,
        )
        .await;
    assert_eq!(patched.body, json!({"id": 1, "n": 1, "l": [2], "m": {}}));
    assert_eq!(
        client
            .patch("items/1", MERGE, r#"{"n": null}"#)
            .await
            .status,
        400
    );
    assert_eq!(
        client
            .patch("items/1", MERGE, r#"{"m": null, "l": {"a": 1}}"#)
            .await
            .body["l"],
        json!({"a": 1})
    );
    assert_eq!(client.patch("items/2", MERGE, "{}").await.status, 404);
    assert_eq!(client.delete("items/$schema").await.status, 204);
    assert_eq!(elsewhere.put("items/1", r#"{"n": "x"}"#).await.status, 200);
    assert_eq!(client.get("items/$schema").await.status, 404);
    assert_eq!(client.get("items/1").await.body["n"], Value::from("x"));
}

#[tokio::test]
async fn there_are_no_more_collections_than_there_may_be() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&["--collections", "2"]);
    let mut client = Rest::of(&server).await;
    for (path, status) in [
        ("a/1", 201),
        ("b/1", 201),
        ("c/1", 429),
        ("a/2", 201),
        ("b/1", 200),
    ] {
        assert_eq!(client.put(path, "{}").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&["--list-time", "50ms", "--store-connections", "2"]);
    let mut client = Rest::of(&server).await;
    client.put("items/1", "{}").await;
    let mut session = database.session();
    session.say("begin");
    session.say("lock table triwire.documents in access exclusive mode");
    let list = client.get("items").await;
    assert_eq!(list.status, 503, "{list:?}");
    assert!(list.headers.contains_key("retry-after"));
    // Somebody holds the lock: that is not forever either.
    let put = client.put("items/1", "{}").await;
    assert_eq!(put.status, 503, "{put:?}");
    session.say("commit");
    assert_eq!(client.put("items/1", "{}").await.status, 200);
    assert_eq!(client.get("items").await.status, 200);
}
