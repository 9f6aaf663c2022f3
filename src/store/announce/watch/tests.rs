//! What a watch is told, of what was before it and of what comes.

use bytes::Bytes;
use serde_json::json;

use super::super::{Limits as Most, REST};
use super::*;
use crate::log;

const MOST: Most = Most {
    event_bytes: 1000,
    watches: 2,
};

fn announcer(limits: log::Limits) -> Arc<Announcer> {
    let log = Log::new(limits, "here", 1, Box::new(|| 1000));
    Announcer::new(log, MOST)
}

fn items() -> Collection {
    Collection::new("items").expect("a name")
}

fn filter(value: &str) -> Vec<Filter> {
    vec![Filter::parse("filter[on]", value).expect("a filter")]
}

/// The document `id` becomes `on` or not.
fn change(id: i64, on: bool, before: Option<bool>) -> Change {
    let json = |on: bool| Bytes::from(json!({"id": id, "on": on}).to_string());
    Change {
        seq: 0,
        collection: items(),
        kind: match before {
            Some(_) => Kind::Modified,
            None => Kind::Added,
        },
        id: crate::store::name::Id::Integer(id),
        version: 1,
        document: Some(json(on)),
        before: before.map(json),
        patch: None,
    }
}

fn told(watched: &Watched) -> Option<Vec<(EventId, Option<String>)>> {
    let one = |event: &Arc<Event>| {
        let kind = event.draft.event_type.name().map(str::to_owned);
        (event.id, kind)
    };
    let (_, told) = watched.told.as_ref()?;
    Some(told.iter().map(one).collect())
}

#[tokio::test]
async fn what_was_before_it_is_told_from_what_is_retained() {
    let announcer = announcer(log::Limits::default());
    let cursor = announcer.head();
    let events = announcer.announce(&[
        change(1, true, None),
        change(2, false, None),
        change(1, false, Some(true)),
    ]);
    let watched = announcer
        .watch(&items(), filter("true"), Start::After(cursor))
        .await
        .expect("a watch");
    let kind = |kind: &str| Some(kind.to_owned());
    let expected = vec![(events[0], kind("ADDED")), (events[2], kind("DELETED"))];
    assert_eq!(told(&watched), Some(expected));
    // It goes on where that ends.
    let Start::After(since) = watched.start else {
        panic!("after that");
    };
    assert!(since > events[2]);
    // From now on it has its own.
    let later = announcer.head();
    announcer.announce(&[change(3, true, None)]);
    let watched = announcer
        .watch(&items(), filter("true"), Start::After(later))
        .await
        .expect("a watch");
    assert_eq!((told(&watched), watched.start), (None, Start::After(later)));
}

#[tokio::test]
async fn what_is_not_retained_any_more_is_a_gap() {
    let announcer = announcer(log::Limits {
        topic_events: 2,
        ..log::Limits::default()
    });
    let cursor = announcer.head();
    announcer.announce(&[
        change(1, true, None),
        change(2, true, None),
        change(3, true, None),
    ]);
    for (start, expected) in [(cursor, None), (EventId::ZERO, Some(2))] {
        let watched = announcer
            .watch(&items(), filter("true"), Start::After(start))
            .await;
        let told = told(&watched.expect("a watch"));
        assert_eq!(told.map(|told| told.len()), expected);
    }
}

#[tokio::test]
async fn equal_filters_are_one_watch_which_ends_when_nobody_reads_it() {
    let announcer = announcer(log::Limits::default());
    let watch = |value: &'static str| {
        let announcer = announcer.clone();
        async move { announcer.watch(&items(), filter(value), Start::Head).await }
    };
    let one = watch("true").await.expect("a watch");
    assert_eq!(watch("true").await.expect("the same").topic, one.topic);
    assert_ne!(watch("false").await.expect("another").topic, one.topic);
    let refused = watch("1").await.err().expect("one too many");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let rest = |later| {
        let now = Instant::now() + later;
        announcer.watches().rest(&announcer.log, now, REST)
    };
    assert_eq!(rest(REST / 2), []);
    assert_eq!(rest(2 * REST).len(), 2);
    assert_ne!(watch("true").await.expect("a new one").topic, one.topic);
}

#[test]
fn whether_it_was_asked_for_makes_what_it_is() {
    let filters = filter("true");
    for (change, expected) in [
        (change(1, true, None), Some(Kind::Added)),
        (change(1, false, None), None),
        (change(1, true, Some(true)), Some(Kind::Modified)),
        (change(1, true, Some(false)), Some(Kind::Added)),
        (change(1, false, Some(true)), Some(Kind::Deleted)),
        (change(1, false, Some(false)), None),
    ] {
        let announcer = announcer(log::Limits::default());
        let begun = announcer.begin(&items(), filters.clone(), Start::Head);
        begun.expect("a watch");
        let watches = announcer.watches();
        let concerned: Vec<Kind> = watches.concerned(&change).map(|c| c.kind).collect();
        assert_eq!(concerned.first().copied(), expected, "{change:?}");
    }
}
