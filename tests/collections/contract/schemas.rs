//! Schemas: what documents must be, and what a list may ask for.

use serde_json::{Value, json};

use crate::shelf::{JSON_PATCH, MERGE, Shelf};
use crate::support::client::link::Call;
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    documents_are_held_to_it(&mut Shelf::of(server, "schemas").await).await;
    lists_are_told_of_unknown_fields(&mut Shelf::of(server, "schemas_fields").await).await;
    what_is_no_schema_is_refused(&mut Shelf::of(server, "schemas_bad").await).await;
}

async fn put(shelf: &mut Shelf, schema: &Value) -> (u16, Value) {
    let call = Call::put(shelf.path("$schema"), schema.to_string());
    let answer = shelf.call(call).await;
    (answer.status, answer.body)
}

async fn documents_are_held_to_it(shelf: &mut Shelf) {
    shelf.put("old", &json!({"price": "none"})).await;
    assert_eq!(shelf.get("$schema").await.status, 404);
    let schema = json!({
        "type": "object",
        "required": ["price"],
        "properties": {
            "price": { "type": "number", "minimum": 0 },
            "tags": { "type": "array", "items": { "$ref": "#/$defs/tag" } },
        },
        "$defs": { "tag": { "type": "string", "pattern": "^[a-z]+$" } },
    });
    assert_eq!(put(shelf, &schema).await, (201, schema.clone()));
    assert_eq!(put(shelf, &schema).await.0, 200);
    assert_eq!(shelf.get("$schema").await.body, schema);
    // What is there stays, until it is changed.
    assert_eq!(shelf.get("old").await.status, 200);
    assert_eq!(
        shelf.patch("old", MERGE, &json!({"x": 1})).await.status,
        400
    );
    assert_eq!(
        shelf.patch("old", MERGE, &json!({"price": 1})).await.status,
        200
    );

    let bad = json!({"price": -1, "tags": ["a", "B"]});
    let refused = shelf.post(&bad).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let errors = refused.body["errors"].as_array().expect("errors");
    let mut pointers: Vec<&str> = errors
        .iter()
        .filter_map(|e| e["pointer"].as_str())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/price", "/tags/1"]);
    let detail = refused.body["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("/price") && detail.contains("/tags/1"),
        "{detail}"
    );
    assert_eq!(shelf.put("new", &json!({})).await.status, 400);
    assert_eq!(shelf.get("new").await.status, 404);
    assert_eq!(shelf.put("new", &json!({"price": 1})).await.status, 201);
    let patch = json!([{ "op": "remove", "path": "/price" }]);
    assert_eq!(shelf.patch("new", JSON_PATCH, &patch).await.status, 400);
    let bulk = shelf.bulk("{\"price\":1}\n\n{\"price\":true}\n").await;
    assert_eq!(bulk.status, 400);
    let detail = bulk.body["detail"].as_str().expect("a detail");
    assert!(
        detail.starts_with("line 3: ") && detail.contains("/price"),
        "{detail}"
    );

    assert_eq!(shelf.delete("$schema").await.status, 204);
    assert_eq!(shelf.delete("$schema").await.status, 404);
    assert_eq!(shelf.put("new", &json!({})).await.status, 200);
}

async fn lists_are_told_of_unknown_fields(shelf: &mut Shelf) {
    let schema = json!({ "properties": {
        "price": {},
        "address": { "properties": { "city": {} } },
        "free": {},
    } });
    assert_eq!(put(shelf, &schema).await.0, 201);
    for (query, hint) in [
        ("sort=prise", "did you mean price?"),
        ("filter[adress.city]=x", "did you mean address?"),
        ("filter[address.town]=x", "no address.town"),
        ("sort=price,-zzzzzzzzzzzz", "no zzzzzzzzzzzz"),
    ] {
        let answer = shelf.list(query).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        let detail = answer.body["detail"].as_str().expect("a detail");
        assert!(detail.contains(hint), "{query}: {detail}");
    }
    for query in [
        "sort=-price,id",
        "filter[address.city]=x",
        "filter[free.any]=x",
    ] {
        assert_eq!(shelf.list(query).await.status, 200, "{query}");
    }
}

async fn what_is_no_schema_is_refused(shelf: &mut Shelf) {
    for schema in [
        json!(true),
        json!([]),
        json!({"type": "nothing"}),
        json!({"properties": 1}),
        json!({"pattern": "("}),
        json!({"pattern": "(?=x)"}),
        json!({"$ref": "https://example.com/schema"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$ref": "#/$defs/none"}),
        json!({"$ref": "#"}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        // Two ways at each of sixty-four steps.
        json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}),
    ] {
        let (status, body) = put(shelf, &schema).await;
        assert_eq!(status, 400, "{schema}: {body}");
    }
    let deep = (0..70).fold(json!({}), |inner, _| json!({ "not": inner }));
    assert_eq!(put(shelf, &deep).await.0, 413);
    assert_eq!(shelf.get("$schema").await.status, 404);
    // One that goes down by itself is one.
    let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "number"}}});
    assert_eq!(put(shelf, &tree).await.0, 201);
    assert_eq!(
        shelf
            .post(&json!({"left": {"right": {"n": 1}}}))
            .await
            .status,
        201
    );
    assert_eq!(
        shelf
            .post(&json!({"left": {"right": {"n": "1"}}}))
            .await
            .status,
        400
    );
}
