//! Patches: what they change, what they are called, and how one that does not fit is refused.

use serde_json::json;

use crate::shelf::{JSON_PATCH, MERGE, Shelf, header};
use crate::support::client::link::Call;
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    let mut shelf = Shelf::of(server, "patches").await;
    both_kinds_change_a_document(&mut shelf).await;
    the_form_tells_what_the_type_leaves_open(&mut shelf).await;
    what_does_not_fit_changes_nothing(&mut shelf).await;
}

async fn both_kinds_change_a_document(shelf: &mut Shelf) {
    shelf
        .put("x", &json!({"a": {"b": 1, "c": 2}, "l": [1]}))
        .await;
    let merged = shelf
        .patch("x", MERGE, &json!({"a": {"b": null}, "n": 1}))
        .await;
    assert_eq!(merged.status, 200, "{merged:?}");
    assert_eq!(header(&merged, "etag"), Some("\"2\""));
    assert_eq!(
        merged.body,
        json!({"id": "x", "a": {"c": 2}, "l": [1], "n": 1})
    );
    let patch = json!([
        { "op": "test", "path": "/n", "value": 1 },
        { "op": "add", "path": "/l/0", "value": 0 },
        { "op": "remove", "path": "/a" },
    ]);
    let patched = shelf.patch("x", JSON_PATCH, &patch).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    assert_eq!(patched.body, json!({"id": "x", "l": [0, 1], "n": 1}));
    assert_eq!(shelf.get("x").await.body, patched.body);
}

async fn the_form_tells_what_the_type_leaves_open(shelf: &mut Shelf) {
    shelf.put("f", &json!({})).await;
    let path = shelf.path("f");
    let add = json!([{ "op": "add", "path": "/a", "value": 1 }]).to_string();
    for (kind, body, status) in [
        (None, "{\"b\":1}", 200),
        (None, &*add, 200),
        (Some("application/json; charset=utf-8"), "{\"b\":2}", 200),
        (Some("application/json"), &*add, 200),
        (Some("Application/Merge-Patch+JSON"), "{\"b\":3}", 200),
        (Some(MERGE), &*add, 400),
        (Some(JSON_PATCH), "{\"b\":1}", 400),
        (Some("text/plain"), "{\"b\":1}", 415),
        (Some("application/x-www-form-urlencoded"), "{\"b\":1}", 415),
    ] {
        let mut call = Call::patch(&path, body.to_owned());
        if let Some(kind) = kind {
            call = call.with("content-type", kind);
        }
        let answer = shelf.call(call).await;
        assert_eq!(answer.status, status, "{kind:?} {body}: {answer:?}");
        let accepts = header(&answer, "accept-patch").is_some();
        assert_eq!(accepts, status == 415);
    }
}

async fn what_does_not_fit_changes_nothing(shelf: &mut Shelf) {
    let whole = json!({"id": "w", "a": {"b": 1}, "s": "x"});
    shelf.put("w", &whole).await;
    for (status, patch) in [
        (409, json!([{ "op": "test", "path": "/s", "value": "y" }])),
        (
            409,
            json!([{ "op": "add", "path": "/n", "value": 1 }, { "op": "remove", "path": "/none" }]),
        ),
        (
            409,
            json!([{ "op": "replace", "path": "/a/c/d", "value": 1 }]),
        ),
        (
            409,
            json!([{ "op": "move", "from": "/none", "path": "/x" }]),
        ),
        (
            400,
            json!([{ "op": "replace", "path": "/id", "value": "v" }]),
        ),
        (400, json!([{ "op": "replace", "path": "", "value": 1 }])),
        (400, json!([{ "op": "jump", "path": "/a" }])),
        (400, json!([{ "op": "add", "path": "a", "value": 1 }])),
        (400, json!([{ "op": "add", "path": "/a~2", "value": 1 }])),
        (400, json!([{ "op": "add", "path": "/a" }])),
        (400, json!([1])),
    ] {
        let answer = shelf.patch("w", JSON_PATCH, &patch).await;
        assert_eq!(answer.status, status, "{patch}: {answer:?}");
    }
    for patch in [
        json!(null),
        json!("x"),
        json!({"id": "v"}),
        json!({"id": null, "x": 1}),
    ] {
        let answer = shelf.patch("w", MERGE, &patch).await;
        // Without its id it is given it again.
        let status = if patch["id"].is_null() && patch.is_object() {
            200
        } else {
            400
        };
        assert_eq!(answer.status, status, "{patch}: {answer:?}");
    }
    let now = shelf.get("w").await;
    assert_eq!(
        now.body,
        json!({"id": "w", "a": {"b": 1}, "s": "x", "x": 1})
    );
    assert_eq!(header(&now, "etag"), Some("\"2\""));
}
