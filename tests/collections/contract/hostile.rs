//! What nobody should send: it is refused, in words, and the next is served.

use serde_json::{Value, json};

use crate::shelf::{JSON_PATCH, MERGE, Shelf};
use crate::support::client::link::Call;
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    let shelf = &mut Shelf::of(server, "hostile").await;
    malformed_documents(shelf).await;
    huge_and_deep_documents(shelf).await;
    bombs(shelf).await;
    sql_in_every_field(shelf).await;
    assert_eq!(shelf.post(&json!({"still": "here"})).await.status, 201);
}

async fn malformed_documents(shelf: &mut Shelf) {
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"1",
        b"\"x\"",
        b"{\"a\":}",
        b"{\"a\":1}}",
        b"{\"a\":1} {}",
        b"{\"a\":NaN}",
        b"{'a':1}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\\ud800\"}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":1e999}",
    ] {
        for call in [
            Call::post(shelf.list_path(""), body.to_vec()),
            Call::put(shelf.path(1), body.to_vec()),
        ] {
            let answer = shelf.call(call).await;
            assert_eq!(
                answer.status,
                400,
                "{}: {answer:?}",
                String::from_utf8_lossy(body)
            );
        }
    }
    let encoded = Call::post(shelf.list_path(""), "{}").with("content-encoding", "gzip");
    assert_eq!(shelf.call(encoded).await.status, 415);
    // The last of several members of a name is the one.
    let twice = Call::post(shelf.list_path(""), "{\"a\":1,\"a\":2}");
    let twice = shelf.call(twice).await;
    assert_eq!((twice.status, &twice.body["a"]), (201, &json!(2)));
}

async fn huge_and_deep_documents(shelf: &mut Shelf) {
    let large = json!({"a": "x".repeat(256 << 10)});
    assert_eq!(shelf.post(&large).await.status, 413);
    assert_eq!(shelf.put(1, &large).await.status, 413);
    let nearly = json!({"id": "nearly", "a": "x".repeat((256 << 10) - 100)});
    assert_eq!(shelf.post(&nearly).await.status, 201);
    let more = shelf
        .patch("nearly", MERGE, &json!({"b": "x".repeat(100)}))
        .await;
    assert_eq!(more.status, 413, "{more:?}");
    // It fits only without the id that would be made for it.
    let brim = json!({"a": "x".repeat((256 << 10) - 8)});
    assert_eq!(brim.to_string().len(), 256 << 10);
    assert_eq!(shelf.post(&brim).await.status, 413);
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    for (levels, status) in [(63, 201), (64, 413), (120, 413), (200, 400), (100_000, 400)] {
        let call = Call::post(shelf.list_path(""), nested(levels));
        let answer = shelf.call(call).await;
        assert_eq!(answer.status, status, "{levels}");
    }
}

async fn bombs(shelf: &mut Shelf) {
    shelf.put("bomb", &json!({"a": ["xxxxxxxxxxxxxxxx"]})).await;
    let double = json!({ "op": "copy", "from": "/a", "path": "/a/-" });
    for count in [40, 100, 101] {
        let patch = Value::from(vec![double.clone(); count]);
        let answer = shelf.patch("bomb", JSON_PATCH, &patch).await;
        assert_eq!(answer.status, 413, "{count}: {answer:?}");
    }
    let path = "/b".repeat(63);
    let deep = json!([{ "op": "add", "path": "/b", "value": {} }, { "op": "copy", "from": "/b", "path": path }]);
    assert_eq!(shelf.patch("bomb", JSON_PATCH, &deep).await.status, 409);
    let deeper: Vec<Value> = (0..8)
        .map(|n| json!({ "op": "copy", "from": "", "path": "/b".repeat(1 << n) }))
        .collect();
    assert_eq!(
        shelf.patch("bomb", JSON_PATCH, &deeper.into()).await.status,
        413
    );
    assert_eq!(
        shelf.get("bomb").await.body,
        json!({"id": "bomb", "a": ["xxxxxxxxxxxxxxxx"]})
    );
}

async fn sql_in_every_field(shelf: &mut Shelf) {
    let sql = "'); drop table collections; --";
    let encoded = "%27%29%3B%20drop%20table%20collections%3B%20--";
    let made = shelf.post(&json!({"id": sql, sql: sql})).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(shelf.get(encoded).await.body, json!({"id": sql, sql: sql}));
    for query in [
        format!("filter[{encoded}]=1"),
        format!("filter[n][{encoded}]=1"),
        format!("sort={encoded}"),
        format!("page={encoded}"),
        format!("per_page={encoded}"),
    ] {
        assert_eq!(shelf.list(&query).await.status, 400, "{query}");
    }
    assert_eq!(
        shelf.ids(&format!("filter[id]={encoded}")).await,
        [json!(sql)]
    );
    assert_eq!(
        shelf.ids(&format!("filter[n][in]=1,{encoded}")).await.len(),
        0
    );
    let named = shelf.call(Call::get(format!("/api/v2/{encoded}"))).await;
    assert_eq!(named.status, 400);
    let patch = json!([{ "op": "add", "path": format!("/{sql}2"), "value": sql }]);
    assert_eq!(shelf.patch(encoded, JSON_PATCH, &patch).await.status, 200);
    let tagged = Call::delete(shelf.path(encoded)).with("if-match", format!("\"{sql}\""));
    assert_eq!(shelf.call(tagged).await.status, 412);
    assert_eq!(shelf.delete(encoded).await.status, 204);
}
