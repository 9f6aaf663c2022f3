//! What servers that share a database say to each other in the relay's order: whose turn it is to tell what is in the
//! outbox, and what that is.
//!
//! `{"store":"…","claim":"…"}` begins a turn; `{"store":"…","claim":"…","since":"1-0","to":"…","changes":[…]}` tells, in the
//! turn that began there, what is in the outbox up to that place; with `"lost":true` that something of it is gone.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::outbox::{Place, Told};
use crate::event::EventId;
use crate::problem::Problem;
use crate::store::name::{Collection, Id};
use crate::store::write::{Change, Kind};

/// What is said, read.
pub(super) struct Word {
    /// Which database it is about.
    pub(super) store: String,
    /// Names a turn.
    pub(super) claim: String,
    pub(super) what: What,
}

/// What a word says.
pub(super) enum What {
    /// The turn begins here.
    Begins,
    /// In the turn that has begun there, this is told, up to this place of the outbox.
    Tells(EventId, Place, Vec<Told>),
    /// The same, and something before it can not be told any more.
    Loses(EventId, Place),
}

#[derive(Serialize, Deserialize)]
struct Said<'s> {
    #[serde(borrow)]
    store: Cow<'s, str>,
    #[serde(borrow)]
    claim: Cow<'s, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    since: Option<Cow<'s, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    to: Option<Cow<'s, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Cow<'s, RawValue>>,
}

#[derive(Serialize, Deserialize)]
struct One<'s> {
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<i64>,
    #[serde(borrow)]
    collection: Cow<'s, str>,
    #[serde(borrow)]
    kind: Cow<'s, str>,
    #[serde(borrow)]
    id: Cow<'s, str>,
    version: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    document: Option<&'s RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    before: Option<&'s RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    patch: Option<&'s RawValue>,
}

/// Whoever speaks, and in which turn.
#[derive(Clone)]
pub(super) struct Turn {
    pub(super) store: String,
    pub(super) claim: String,
    /// Where it began, when it has.
    pub(super) since: Option<EventId>,
}

impl Turn {
    /// That it begins.
    pub(super) fn begins(&self) -> String {
        written(&self.said(None))
    }

    /// What is in the outbox up to this place; each change as it was written by [`change`].
    pub(super) fn tells(&self, to: &Place, changes: Vec<Box<RawValue>>) -> String {
        written(&Said {
            changes: changes.into_iter().map(Cow::Owned).collect(),
            ..self.said(Some(to))
        })
    }

    /// That something is gone that was in it before this place.
    pub(super) fn loses(&self, to: &Place) -> String {
        let lost = true;
        written(&Said {
            lost,
            ..self.said(Some(to))
        })
    }

    fn said(&self, to: Option<&Place>) -> Said<'_> {
        Said {
            store: Cow::from(&self.store),
            claim: Cow::from(&self.claim),
            since: self.since.map(|since| since.to_string().into()),
            to: to.map(|to| to.to_string().into()),
            lost: false,
            changes: Vec::new(),
        }
    }
}

/// Writes a change. Where that is more than so many bytes, without what is not needed to know that there was one: who looks
/// for it finds the document in the database.
pub(super) fn change((change, token): &Told, most: usize) -> Box<RawValue> {
    let mut parts = [&change.patch, &change.before, &change.document].map(|part| {
        part.as_deref()
            .and_then(|json| serde_json::from_slice(json).ok())
    });
    let mut left = parts.len();
    loop {
        let [patch, before, document] = parts;
        let one = One {
            seq: change.seq,
            token: *token,
            collection: change.collection.as_str().into(),
            kind: change.kind.as_str().into(),
            id: change.id.to_string().into(),
            version: change.version,
            document,
            before,
            patch,
        };
        let text = serde_json::value::to_raw_value(&one).expect("strings and JSON become JSON");
        if text.get().len() <= most || left == 0 {
            return text;
        }
        parts[parts.len() - left] = None;
        left -= 1;
    }
}

fn written(said: &Said) -> String {
    serde_json::to_string(said).expect("strings and JSON become JSON")
}

/// Reads one.
///
/// # Errors
/// 400 for what is none.
pub(super) fn read(said: &str) -> Result<Word, Problem> {
    let malformed = |why: &str| {
        let detail = format!("it says nothing of an outbox that can be understood: {why}");
        Problem::bad_request("entry", detail)
    };
    let said: Said = serde_json::from_str(said).map_err(|error| malformed(&error.to_string()))?;
    let what = match (said.since, said.to) {
        (None, None) => What::Begins,
        (Some(since), Some(to)) => {
            let since: EventId = since.parse().map_err(|_| malformed("since"))?;
            let to: Place = to.parse().map_err(malformed)?;
            let changes = said.changes.iter().map(|one| {
                let one = serde_json::from_str(one.get());
                one.map_err(|error| malformed(&error.to_string()))
                    .and_then(told)
            });
            match said.lost {
                true => What::Loses(since, to),
                false => What::Tells(since, to, changes.collect::<Result<_, _>>()?),
            }
        }
        _ => return Err(malformed("since, without to")),
    };
    Ok(Word {
        store: said.store.into_owned(),
        claim: said.claim.into_owned(),
        what,
    })
}

fn told(one: One) -> Result<Told, Problem> {
    let json =
        |part: Option<&RawValue>| part.map(|json| Bytes::copy_from_slice(json.get().as_bytes()));
    let kind = Kind::named(&one.kind)
        .ok_or_else(|| Problem::bad_request("entry", "there is no such kind of change"))?;
    let change = Change {
        seq: one.seq,
        collection: Collection::new(&one.collection)?,
        kind,
        id: Id::parse(&one.id)?,
        version: one.version,
        document: json(one.document),
        before: json(one.before),
        patch: json(one.patch),
    };
    Ok((change, one.token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn() -> Turn {
        Turn {
            store: "s".to_owned(),
            claim: "c".to_owned(),
            since: Some(EventId { ms: 5, n: 7 }),
        }
    }

    fn sample() -> Told {
        let json = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let change = Change {
            seq: 12,
            collection: Collection::new("items").expect("a name"),
            kind: Kind::Modified,
            id: Id::parse("a \"b\"").expect("an id"),
            version: 3,
            document: json(r#"{"id": "a \"b\"", "n": 1.00000000000000000000001}"#),
            before: json(r#"{"id": "a \"b\"", "n": 1e300}"#),
            patch: json(r#"[{"op":"test"}]"#),
        };
        (change, Some(i64::MAX))
    }

    #[test]
    fn what_was_said_is_heard() {
        let to: Place = "1:1:/0/0".parse().expect("a place");
        let changes = vec![change(&sample(), usize::MAX)];
        let word = read(&turn().tells(&to, changes)).expect("a word");
        assert_eq!((&*word.store, &*word.claim), ("s", "c"));
        let What::Tells(since, place, told) = word.what else {
            panic!("it tells");
        };
        assert_eq!((Some(since), place), (turn().since, to.clone()));
        assert_eq!(told, [sample()]);
        let word = read(&turn().loses(&to)).expect("a word");
        assert!(matches!(word.what, What::Loses(..)));
        let begins = Turn {
            since: None,
            ..turn()
        };
        let word = read(&begins.begins()).expect("a word");
        assert!(matches!(word.what, What::Begins));
    }

    #[test]
    fn a_change_that_is_too_large_is_told_with_less() {
        let length = |most| change(&sample(), most).get().len();
        let whole = length(usize::MAX);
        let to: Place = "1:1:/0/0".parse().expect("a place");
        let told = |most| {
            let word = read(&turn().tells(&to, vec![change(&sample(), most)])).expect("a word");
            match word.what {
                What::Tells(_, _, told) => told[0].0.clone(),
                _ => panic!("it tells"),
            }
        };
        assert_eq!(told(whole - 1).patch, None);
        assert!(told(whole - 1).before.is_some());
        let less = length(whole - 1);
        assert_eq!(told(less - 1).before, None);
        assert!(told(less - 1).document.is_some());
        let least = told(0);
        assert_eq!((least.document, least.version), (None, 3));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "{}",
            "[]",
            r#"{"store":"s"}"#,
            r#"{"store":"s","claim":"c","since":"1-0"}"#,
            r#"{"store":"s","claim":"c","since":"x","to":"1:1:/0/0"}"#,
            r#"{"store":"s","claim":"c","since":"1-0","to":"1:1:/0/0","changes":[1]}"#,
            r#"{"store":"s","claim":"c","since":"1-0","to":"1:1:/0/0","changes":[{"seq":1,"collection":"$x","kind":"ADDED","id":"1","version":1}]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
