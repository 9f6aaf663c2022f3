//! One document: it is created, read, replaced and deleted, and each version has its ETag.

use serde_json::{Value, json};

use crate::shelf::{Shelf, event, header};
use crate::support::client::link::Call;
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    a_document_lives(&mut Shelf::of(server, "documents_life").await).await;
    ids_are_integers_or_texts(&mut Shelf::of(server, "documents_ids").await).await;
    a_stale_version_changes_nothing(&mut Shelf::of(server, "documents_stale").await).await;
    what_is_known_is_not_sent_again(&mut Shelf::of(server, "documents_known").await).await;
    what_is_not_there_is_not_found(&mut Shelf::of(server, "documents_none").await).await;
}

async fn a_document_lives(shelf: &mut Shelf) {
    let made = shelf
        .post(&json!({"name": "one", "deep": {"list": [1, 2.5, null, "é"]}}))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["id"].as_i64().expect("an integer was made");
    assert_eq!(header(&made, "etag"), Some("\"1\""));
    assert_eq!(header(&made, "location"), Some(&*shelf.path(id)));
    assert_eq!(header(&made, "content-type"), Some("application/json"));
    let whole = json!({"id": id, "name": "one", "deep": {"list": [1, 2.5, null, "é"]}});
    assert_eq!(made.body, whole);
    let read = shelf.get(id).await;
    assert_eq!((read.status, &read.body), (200, &whole));
    assert_eq!(header(&read, "etag"), Some("\"1\""));

    let replaced = shelf.put(id, &json!({"id": id, "other": true})).await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    assert_eq!(header(&replaced, "etag"), Some("\"2\""));
    assert_eq!(header(&replaced, "location"), None);
    assert_eq!(replaced.body, json!({"id": id, "other": true}));
    assert!(event(&replaced) > event(&made));

    let deleted = shelf.delete(id).await;
    assert_eq!((deleted.status, &deleted.body), (204, &Value::Null));
    assert!(event(&deleted) > event(&replaced));
    assert_eq!(shelf.get(id).await.status, 404);
    assert_eq!(shelf.delete(id).await.status, 404);

    // It is another one now, and a made id is not used again.
    let again = shelf.put(id, &json!({"n": 1})).await;
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(header(&again, "etag"), Some("\"1\""));
    assert_eq!(header(&again, "location"), Some(&*shelf.path(id)));
    let next = shelf.post(&json!({})).await;
    assert!(next.body["id"].as_i64() > Some(id), "{next:?}");
}

async fn ids_are_integers_or_texts(shelf: &mut Shelf) {
    let conflict = shelf.post(&json!({"id": 7})).await;
    assert_eq!(conflict.status, 201);
    assert_eq!(shelf.post(&json!({"id": 7})).await.status, 409);
    // What is made goes on after what was given.
    assert_eq!(shelf.post(&json!({})).await.body["id"], 8);
    for (id, segment) in [
        (json!("seven"), "seven"),
        (json!("a b"), "a%20b"),
        (json!("é€😀"), "%C3%A9%E2%82%AC%F0%9F%98%80"),
        (json!("100%"), "100%25"),
        (json!("a?b#c"), "a%3Fb%23c"),
        (json!("07"), "07"),
        (json!("' or 1=1; --"), "'%20or%201=1;%20--"),
        (json!("\"]"), "%22%5D"),
        (json!(-3), "-3"),
        (json!(i64::MAX), "9223372036854775807"),
        (json!(i64::MIN), "-9223372036854775808"),
    ] {
        let made = shelf.post(&json!({"id": id})).await;
        assert_eq!(made.status, 201, "{id}: {made:?}");
        assert_eq!(header(&made, "location"), Some(&*shelf.path(segment)));
        let read = shelf.get(segment).await;
        assert_eq!((read.status, &read.body["id"]), (200, &id), "{read:?}");
        assert_eq!(shelf.put(segment, &json!({})).await.status, 200, "{id}");
        assert_eq!(shelf.delete(segment).await.status, 204, "{id}");
    }
    // The greatest of all leave made ones alone.
    assert_eq!(shelf.post(&json!({})).await.body["id"], 9);
    for id in [
        json!("1"),
        json!(1.5),
        json!(1e300),
        json!(null),
        json!([]),
        json!({}),
        json!(true),
        json!(""),
    ] {
        assert_eq!(shelf.post(&json!({"id": id})).await.status, 400, "{id}");
    }
    for segment in [
        "a%2Fb",
        "a/b",
        "%00",
        "%0A",
        "$x",
        "%FF",
        "",
        "%2E%2E",
        &"x".repeat(256),
    ] {
        let answer = shelf.get(segment).await;
        assert_eq!(answer.status, 400, "{segment}: {answer:?}");
    }
    let other = shelf.put(1, &json!({"id": 2})).await;
    assert_eq!(other.status, 400, "{other:?}");
    assert_eq!(shelf.put(1, &json!({"id": "1"})).await.status, 400);
}

async fn a_stale_version_changes_nothing(shelf: &mut Shelf) {
    let path = shelf.path("x");
    let put = |n: i64| Call::put(&path, json!({"n": n}).to_string());
    let absent = shelf.call(put(0).with("if-match", "*")).await;
    assert_eq!(absent.status, 412, "{absent:?}");
    assert_eq!(
        shelf.call(put(1).with("if-none-match", "*")).await.status,
        201
    );
    assert_eq!(
        shelf.call(put(2).with("if-none-match", "*")).await.status,
        412
    );
    assert_eq!(
        shelf.call(put(2).with("if-match", "\"1\"")).await.status,
        200
    );
    for (tags, status) in [
        ("\"1\"", 412),
        ("W/\"2\"", 412),
        ("\"1\", \"3\"", 412),
        ("\"x\"", 412),
        ("2", 400),
        ("", 400),
    ] {
        for call in [put(3), Call::delete(&path), Call::patch(&path, "{}")] {
            let answer = shelf.call(call.with("if-match", tags)).await;
            assert_eq!(answer.status, status, "{tags}: {answer:?}");
        }
    }
    assert_eq!(shelf.get("x").await.body["n"], 2);
    assert_eq!(
        shelf
            .call(put(3).with("if-match", "\"1\", \"2\""))
            .await
            .status,
        200
    );
    assert_eq!(shelf.call(put(4).with("if-match", "*")).await.status, 200);
    assert_eq!(
        shelf
            .call(Call::delete(&path).with("if-match", "\"4\""))
            .await
            .status,
        204
    );
    let gone = shelf
        .call(Call::delete(&path).with("if-match", "\"4\""))
        .await;
    assert_eq!(gone.status, 404, "{gone:?}");
}

async fn what_is_known_is_not_sent_again(shelf: &mut Shelf) {
    shelf.put("x", &json!({"n": 1})).await;
    let path = shelf.path("x");
    for (tags, status) in [
        ("\"1\"", 304),
        ("*", 304),
        ("\"0\", \"1\"", 304),
        ("\"2\"", 200),
    ] {
        let answer = shelf
            .call(Call::get(&path).with("if-none-match", tags))
            .await;
        assert_eq!(answer.status, status, "{tags}");
        assert_eq!(header(&answer, "etag"), Some("\"1\""));
        assert_eq!(answer.body.is_null(), status == 304);
    }
}

async fn what_is_not_there_is_not_found(shelf: &mut Shelf) {
    assert_eq!(shelf.get(1).await.status, 404);
    assert_eq!(shelf.delete(1).await.status, 404);
    assert_eq!(
        shelf.patch(1, crate::shelf::MERGE, &json!({})).await.status,
        404
    );
    let list = shelf.list("").await;
    assert_eq!((list.status, &list.body["total"]), (200, &json!(0)));
    for (method, path, allow) in [
        ("PUT", "/api/v2/x", "GET, HEAD, POST, CONNECT"),
        ("POST", "/api/v2/x/1", "GET, HEAD, PUT, PATCH, DELETE"),
        ("PATCH", "/api/v2/x/$schema", "GET, HEAD, PUT, DELETE"),
    ] {
        let mut call = Call::put(path, "{}");
        call.method = method.parse().expect("a method");
        let answer = shelf.call(call).await;
        assert_eq!(answer.status, 405);
        assert_eq!(header(&answer, "allow"), Some(allow));
    }
    for path in [
        "/api/v2/",
        "/api/v2",
        "/api/v2/1x",
        "/api/v2/a.b/1",
        "/api/v2/%FF",
    ] {
        let status = shelf.call(Call::get(path)).await.status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
}
