//! What is asked of a document, what it was made of it, and what is told of it.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::name::{Collection, Id};
use crate::event::EventId;

/// A document as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id, which is also its member `id`.
    pub id: Id,
    /// Counts its changes, from 1.
    pub version: u64,
    /// An object in JSON.
    pub json: Bytes,
}

/// What is done to one document.
#[derive(Clone, Debug)]
pub enum Op {
    /// It must not be there yet.
    Create(Map<String, Value>),
    /// It becomes this, whether it was there or not.
    Replace(Map<String, Value>),
    /// RFC 7396.
    MergePatch(Map<String, Value>),
    /// RFC 6902.
    JsonPatch(json_patch::Patch),
    /// It goes.
    Delete,
}

/// What a document must be if it is to be changed: `If-Match` and `If-None-Match`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    #[default]
    Any,
    /// Not there.
    Absent,
    /// There, in any version.
    Present,
    /// There, in one of these versions; in none, if there are none.
    Versions(Vec<u64>),
}

/// One change that is asked for.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub collection: Collection,
    /// Which document; `None`, only of [`Op::Create`], has an integer made.
    pub id: Option<Id>,
    /// What to do.
    pub op: Op,
    /// To what.
    pub expected: Expected,
    /// On which line of a bulk it stands: a store says so of what is wrong with it ([`Problem::of_line`]).
    ///
    /// [`Problem::of_line`]: crate::problem::Problem::of_line
    pub line: Option<usize>,
}

/// What a change has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which document.
    pub id: Id,
    /// What it is now, unless it is gone.
    pub document: Option<Document>,
    /// Its version, or the last that it had.
    pub version: u64,
    /// The event that tells of it.
    pub event: EventId,
    /// Whether it was not there before.
    pub made: bool,
}

/// What a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The document was not there before.
    Added,
    /// It was another.
    Modified,
    /// It is gone.
    Deleted,
}

impl Kind {
    /// The type of the event that tells of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Added => "ADDED",
            Kind::Modified => "MODIFIED",
            Kind::Deleted => "DELETED",
        }
    }

    /// What has this name.
    pub fn named(name: &str) -> Option<Kind> {
        let all = [Kind::Added, Kind::Modified, Kind::Deleted];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A change that is committed and has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place among the changes of its store, as that counts them.
    pub seq: u64,
    /// Where.
    pub collection: Collection,
    /// What it was.
    pub kind: Kind,
    /// Which document.
    pub id: Id,
    /// The document's version now, or the last that it had.
    pub version: u64,
    /// What it is now, unless it is gone.
    pub document: Option<Bytes>,
    /// What it was, unless it was not there. Watchers with filters need it.
    pub before: Option<Bytes>,
    /// The patch that was asked for, in JSON: an object is a merge patch, a list is a JSON Patch.
    pub patch: Option<Bytes>,
}
