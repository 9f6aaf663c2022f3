//! What bodies and headers say: documents, patches and versions.

use hyper::StatusCode;
use hyper::header::HeaderName;
use serde_json::{Map, Value};

use crate::problem::Problem;
use crate::store::write::Op;

/// A patch. What it is says its type, or, where that leaves it open, its form.
///
/// # Errors
/// 400 for what is none, 415 for what is of another type.
pub(super) fn patch(body: &[u8], essence: &str) -> Result<Op, Problem> {
    const MERGE: &str = "application/merge-patch+json";
    const JSON: &str = "application/json-patch+json";
    let is_list = body.trim_ascii_start().first() == Some(&b'[');
    let is_json_patch = match essence {
        MERGE => false,
        JSON => true,
        "" | "application/json" => is_list,
        other => {
            let detail = format!("a patch is {MERGE} or {JSON}, not {other:?}");
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "patch", detail);
            let accepted = "application/merge-patch+json, application/json-patch+json";
            return Err(problem.with(HeaderName::from_static("accept-patch"), accepted));
        }
    };
    match is_json_patch {
        true => serde_json::from_slice(body)
            .map(Op::JsonPatch)
            .map_err(|error| {
                Problem::bad_request(
                    "patch",
                    format!("this is no JSON Patch (RFC 6902): {error}"),
                )
            }),
        false => object(body).map(Op::MergePatch),
    }
}

/// A document, or what else is one JSON object.
///
/// # Errors
/// 400 for what is none.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_request("document", format!("this is not JSON: {error}")))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Problem::bad_request(
            "document",
            "a document is a JSON object",
        )),
    }
}

/// The versions that etags name; nothing for `*`. A weak one, and one that was never given, names none.
///
/// # Errors
/// 400 for what is no etag.
pub(super) fn versions(tags: &str) -> Result<Option<Vec<u64>>, Problem> {
    let mut versions = Vec::new();
    for tag in tags.split(',').map(str::trim) {
        let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        match bare {
            Some(bare) => versions.extend(bare.parse::<u64>().ok()),
            None if tag == "*" => return Ok(None),
            None if tag.starts_with("W/\"") => {}
            None => {
                let detail =
                    "an etag is in quotes; several have commas between, and * stands for any";
                return Err(Problem::bad_request("if-match", detail));
            }
        }
    }
    Ok(Some(versions))
}
