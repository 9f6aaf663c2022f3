//! What a change makes of a document: the same for all stores, each of which calls it within its own transaction.
//!
//! Nothing is kept here and nothing is asked: the document that was there comes in, the one that shall be there goes out.

mod patch;

use std::io;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Map, Value};

use super::name::{Collection, Id};
use super::schema::Schema;
use super::write::{Document, Expected, Kind, Op};
use super::{Limits, not_found};
use crate::problem::Problem;

/// What a change is held to.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    /// Sizes and depths.
    pub limits: &'r Limits,
    /// What documents must be here, if anything.
    pub schema: Option<&'r Schema>,
}

/// What has to be kept now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What the change is.
    pub kind: Kind,
    /// The document's version now, or the last that it had.
    pub version: u64,
    /// What it is now, unless it is gone.
    pub json: Option<Bytes>,
    /// The patch that did it, if there was one.
    pub patch: Option<Bytes>,
}

/// Does something to a document, or says why it cannot be.
///
/// # Errors
/// 400 for what breaks the schema or changes the id, 404, 409 for what is there already and for a patch that does not
/// fit the document, 412 when it is not what was expected, 413 over a limit.
pub fn apply(
    op: Op,
    (collection, id): (&Collection, &Id),
    expected: &Expected,
    old: Option<&Document>,
    rules: Rules<'_>,
) -> Result<Applied, Problem> {
    match (&op, old) {
        (Op::Create(_), Some(_)) => return Err(conflict(collection, id)),
        (Op::MergePatch(_) | Op::JsonPatch(_) | Op::Delete, None) => {
            return Err(not_found(collection, id));
        }
        _ => {}
    }
    check(expected, old)?;
    let (value, patch) = match (op, old) {
        (Op::Delete, Some(old)) => {
            return Ok(Applied {
                kind: Kind::Deleted,
                version: old.version,
                json: None,
                patch: None,
            });
        }
        (Op::Create(object) | Op::Replace(object), _) => (object, None),
        (Op::MergePatch(patch), Some(old)) => {
            let patch = Value::Object(patch);
            let text = Bytes::from(patch.to_string());
            (patch::merge(old, &patch, rules.limits)?, Some(text))
        }
        (Op::JsonPatch(patch), Some(old)) => {
            let text = serde_json::to_vec(&patch).map(Bytes::from);
            let value = patch::apply(old, &patch, rules.limits)?;
            (value, text.ok())
        }
        (Op::MergePatch(_) | Op::JsonPatch(_) | Op::Delete, None) => {
            return Err(not_found(collection, id));
        }
    };
    let value = Value::Object(identified(value, id)?);
    check_depth(&value, rules.limits)?;
    if let Some(schema) = rules.schema {
        schema.check(&value)?;
    }
    let json = written(&value, rules.limits)?;
    Ok(Applied {
        kind: match old {
            Some(_) => Kind::Modified,
            None => Kind::Added,
        },
        version: old.map_or(0, |old| old.version) + 1,
        json: Some(json),
        patch,
    })
}

/// Whether objects and lists are no deeper within each other than they may.
///
/// # Errors
/// 413 when they are.
pub fn check_depth(value: &Value, limits: &Limits) -> Result<(), Problem> {
    if depth(value) <= limits.document_depth {
        return Ok(());
    }
    let detail = format!(
        "objects and lists are within each other more than {} deep, which is the limit (document-depth)",
        limits.document_depth
    );
    Err(Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-deep",
        detail,
    ))
}

/// How many objects and lists are within each other at the deepest place. The parser has bounded it already.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn check(expected: &Expected, old: Option<&Document>) -> Result<(), Problem> {
    let detail = match (expected, old) {
        (Expected::Any, _) | (Expected::Absent, None) | (Expected::Present, Some(_)) => {
            return Ok(());
        }
        (Expected::Versions(versions), Some(old)) if versions.contains(&old.version) => {
            return Ok(());
        }
        (Expected::Absent, Some(old)) => {
            format!("it is there, in version {}", old.version)
        }
        (Expected::Present | Expected::Versions(_), None) => "it is not there".to_owned(),
        (Expected::Versions(_), Some(old)) => format!(
            "it is in version {} by now; GET it, and try again with its etag",
            old.version
        ),
    };
    Err(Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed",
        detail,
    ))
}

/// With its id, which stands first where it did not stand at all.
fn identified(object: Map<String, Value>, id: &Id) -> Result<Map<String, Value>, Problem> {
    match object.get("id") {
        Some(said) if Id::of(said)? == *id => Ok(object),
        Some(said) => {
            let detail = format!(
                "its member id is {said} and not {}; an id does not change: delete the document and create another",
                id.json()
            );
            Err(Problem::bad_request("id", detail))
        }
        None => {
            let first = [("id".to_owned(), id.json())];
            Ok(first.into_iter().chain(object).collect())
        }
    }
}

fn written(value: &Value, limits: &Limits) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let most = limits.document_bytes;
    serde_json::to_writer(Bounded(&mut bytes, most), value)
        .map_err(|_| Problem::too_large("the document", most as u64, "document-bytes"))?;
    bytes.shrink_to_fit();
    Ok(bytes.into())
}

/// Takes so many bytes.
struct Bounded<'b>(&'b mut Vec<u8>, usize);

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > self.1 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn conflict(collection: &Collection, id: &Id) -> Problem {
    let detail = format!(
        "there is a document {id} in {collection}; PUT replaces it, and POST without an id makes one"
    );
    Problem::new(StatusCode::CONFLICT, "document-exists", detail)
}

#[cfg(test)]
mod tests;
