//! Patches: what they make of a document, and how much they may make of it.

use std::io;

use hyper::StatusCode;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};

use super::{check_depth, depth};
use crate::problem::Problem;
use crate::store::Limits;
use crate::store::write::Document;

/// RFC 7396.
pub(super) fn merge(
    old: &Document,
    patch: &Value,
    limits: &Limits,
) -> Result<Map<String, Value>, Problem> {
    check_depth(patch, limits)?;
    let mut value = parsed(old)?;
    json_patch::merge(&mut value, patch);
    object(value)
}

/// RFC 6902. Each operation is looked at before it is done: one that copies doubles what is there, twenty of them make
/// a million of it.
pub(super) fn apply(
    old: &Document,
    patch: &[PatchOperation],
    limits: &Limits,
) -> Result<Map<String, Value>, Problem> {
    if patch.len() > limits.patch_operations {
        let detail = format!(
            "the patch has {} operations, over the limit of {} (patch-operations); send several, or replace the document",
            patch.len(),
            limits.patch_operations
        );
        return Err(too_large(detail));
    }
    let mut value = parsed(old)?;
    let mut copied = 0;
    for (index, operation) in patch.iter().enumerate() {
        copied += grows(&value, operation, limits)?;
        if copied > limits.document_bytes {
            let detail = format!(
                "operation {index} of the patch copies more than a document may have, {} bytes (document-bytes)",
                limits.document_bytes
            );
            return Err(too_large(detail));
        }
        json_patch::patch_unsafe(&mut value, std::slice::from_ref(operation)).map_err(|error| {
            let why = match error.kind {
                PatchErrorKind::TestFailed => "the value there is another",
                PatchErrorKind::InvalidFromPointer => "there is nothing where it takes from",
                PatchErrorKind::CannotMoveInsideItself => "nothing moves into itself",
                _ => "there is no such place",
            };
            let detail = format!(
                "operation {index} of the patch does not fit the document, at {:?}: {why}",
                error.path.as_str()
            );
            Problem::new(StatusCode::CONFLICT, "patch", detail)
        })?;
    }
    object(value)
}

/// How many bytes an operation copies, if what it puts somewhere does not become too deep there.
fn grows(value: &Value, operation: &PatchOperation, limits: &Limits) -> Result<usize, Problem> {
    let there = |from: &str| value.pointer(from);
    let (put, copies) = match operation {
        PatchOperation::Add(add) => (Some(&add.value), false),
        PatchOperation::Replace(replace) => (Some(&replace.value), false),
        PatchOperation::Copy(copy) => (there(copy.from.as_str()), true),
        PatchOperation::Move(moved) => (there(moved.from.as_str()), false),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => (None, false),
    };
    let Some(put) = put else { return Ok(0) };
    if operation.path().count() + depth(put) > limits.document_depth {
        let detail = format!(
            "the patch puts objects and lists within each other more than {} deep, which is the limit (document-depth)",
            limits.document_depth
        );
        return Err(too_large(detail));
    }
    Ok(if copies { length(put) } else { 0 })
}

fn parsed(old: &Document) -> Result<Value, Problem> {
    serde_json::from_slice(&old.json).map_err(|error| {
        let detail = format!("the document as it is kept cannot be read: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store", detail)
    })
}

fn object(value: Value) -> Result<Map<String, Value>, Problem> {
    match value {
        Value::Object(object) => Ok(object),
        _ => {
            let detail = "the patch makes no object of the document";
            Err(Problem::bad_request("patch", detail))
        }
    }
}

/// How many bytes a value is in JSON.
fn length(value: &Value) -> usize {
    let mut count = Count(0);
    // It takes everything.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large(detail: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "patch", detail)
}
