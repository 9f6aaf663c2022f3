//! What changes make of documents, and what is refused.

use serde_json::json;

use super::*;
use crate::store::write::Expected;

const LIMITS: Limits = Limits {
    document_bytes: 1000,
    document_depth: 8,
    patch_operations: 30,
    bulk_bytes: 1000,
    bulk_documents: 10,
    per_page: 10,
    page_bytes: 10_000,
    collections: 10,
    collection_indexes: 2,
};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn json_patch(value: Value) -> Op {
    Op::JsonPatch(serde_json::from_value(value).expect("a patch"))
}

/// What becomes of the document 1, in version 3 if it is there.
fn done(op: Op, old: Option<&str>, expected: Expected) -> Result<Applied, Problem> {
    let collection = Collection::new("items").expect("a name");
    let old = old.map(|json| Document {
        id: Id::Integer(1),
        version: 3,
        json: Bytes::copy_from_slice(json.as_bytes()),
    });
    let rules = Rules {
        limits: &LIMITS,
        schema: None,
    };
    let place = (&collection, &Id::Integer(1));
    apply(op, place, &expected, old.as_ref(), rules)
}

/// The status that it is refused with, or what the document is then.
fn became(op: Op, old: Option<&str>) -> Result<(u64, String), u16> {
    match done(op, old, Expected::Any) {
        Ok(applied) => {
            let json = applied.json.unwrap_or_default();
            let text = std::str::from_utf8(&json).expect("UTF-8").to_owned();
            Ok((applied.version, text))
        }
        Err(problem) => Err(problem.status.as_u16()),
    }
}

#[test]
fn documents_have_their_ids_and_versions() {
    let made = |value| became(Op::Create(object(value)), None);
    assert_eq!(made(json!({"a": 1})), Ok((1, r#"{"id":1,"a":1}"#.into())));
    assert_eq!(
        made(json!({"a": 1, "id": 1})),
        Ok((1, r#"{"a":1,"id":1}"#.into()))
    );
    for id in [json!(2), json!("1"), json!("x"), json!(null), json!(1.0)] {
        assert_eq!(made(json!({"id": id})), Err(400), "{id}");
    }
    let old = Some(r#"{"id":1,"a":1}"#);
    assert_eq!(became(Op::Create(object(json!({}))), old), Err(409));
    let replaced = became(Op::Replace(object(json!({"b": 2}))), old);
    assert_eq!(replaced, Ok((4, r#"{"id":1,"b":2}"#.into())));
    assert_eq!(became(Op::Delete, old), Ok((3, String::new())));
    assert_eq!(became(Op::Delete, None), Err(404));
}

#[test]
fn patches_change_what_they_say() {
    let old = Some(r#"{"id":1,"a":{"b":[1,2]},"c":"x"}"#);
    let merged = became(
        Op::MergePatch(object(json!({"a": {"b": null, "d": 1}, "c": null}))),
        old,
    );
    assert_eq!(merged, Ok((4, r#"{"id":1,"a":{"d":1}}"#.into())));
    let patched = became(
        json_patch(json!([
            { "op": "test", "path": "/c", "value": "x" },
            { "op": "add", "path": "/a/b/-", "value": 3 },
            { "op": "remove", "path": "/a/b/0" },
            { "op": "copy", "from": "/a/b", "path": "/e" },
            { "op": "move", "from": "/c", "path": "/f~1g" },
        ])),
        old,
    );
    let expected = r#"{"id":1,"a":{"b":[2,3]},"e":[2,3],"f/g":"x"}"#;
    assert_eq!(patched, Ok((4, expected.into())));
    for (status, patch) in [
        (409, json!([{ "op": "test", "path": "/c", "value": "y" }])),
        (
            409,
            json!([{ "op": "replace", "path": "/none", "value": 1 }]),
        ),
        (409, json!([{ "op": "remove", "path": "/a/b/7" }])),
        (409, json!([{ "op": "add", "path": "/none/x", "value": 1 }])),
        (409, json!([{ "op": "add", "path": "/a/b/01", "value": 1 }])),
        (
            409,
            json!([{ "op": "copy", "from": "/none", "path": "/x" }]),
        ),
        (409, json!([{ "op": "move", "from": "/a", "path": "/a/b" }])),
        (400, json!([{ "op": "replace", "path": "/id", "value": 2 }])),
        (400, json!([{ "op": "replace", "path": "", "value": [] }])),
    ] {
        assert_eq!(
            became(json_patch(patch.clone()), old),
            Err(status),
            "{patch}"
        );
    }
    // Without it, it is given back.
    let without = became(
        json_patch(json!([{ "op": "remove", "path": "/id" }])),
        Some(r#"{"id":1}"#),
    );
    assert_eq!(without, Ok((4, r#"{"id":1}"#.into())));
}

#[test]
fn bombs_do_not_go_off() {
    let double = json!({ "op": "copy", "from": "/a", "path": "/a/-" });
    let old = Some(r#"{"id":1,"a":["xxxxxxxx"]}"#);
    let doubling = became(json_patch(vec![double.clone(); 30].into()), old);
    assert_eq!(doubling, Err(413));
    assert_eq!(became(json_patch(vec![double; 31].into()), old), Err(413));
    let deep = json!([
        { "op": "add", "path": "/a", "value": {"b": {"b": {"b": {}}}} },
        { "op": "copy", "from": "/a", "path": "/a/b/b/b/b" },
        { "op": "move", "from": "/a", "path": "/c" },
        { "op": "copy", "from": "/c", "path": "/c/b/b/b/b/b/b/b/b" },
    ]);
    assert_eq!(became(json_patch(deep), Some(r#"{"id":1}"#)), Err(413));
    let deep = (0..9).fold(json!(1), |inner, _| json!({ "a": inner }));
    assert_eq!(became(Op::Replace(object(deep.clone())), None), Err(413));
    assert_eq!(became(Op::MergePatch(object(deep)), old), Err(413));
    let large = json!({ "a": "x".repeat(1000) });
    assert_eq!(became(Op::Create(object(large.clone())), None), Err(413));
    assert_eq!(became(Op::MergePatch(object(large)), old), Err(413));
}

#[test]
fn what_is_expected_is_looked_at() {
    use Expected::{Absent, Any, Present, Versions};
    let put = || Op::Replace(object(json!({})));
    let old = Some(r#"{"id":1}"#);
    for (expected, there, fits) in [
        (Any, true, true),
        (Any, false, true),
        (Absent, true, false),
        (Absent, false, true),
        (Present, true, true),
        (Present, false, false),
        (Versions(vec![2, 3]), true, true),
        (Versions(vec![2, 4]), true, false),
        (Versions(vec![]), true, false),
        (Versions(vec![3]), false, false),
    ] {
        let outcome = done(put(), old.filter(|_| there), expected.clone());
        let status = outcome.map(|_| 200).unwrap_or_else(|p| p.status.as_u16());
        assert_eq!(status, if fits { 200 } else { 412 }, "{expected:?} {there}");
    }
    let stale = done(Op::Delete, None, Versions(vec![3]));
    assert_eq!(stale.map_err(|p| p.status.as_u16()), Err(404));
}
