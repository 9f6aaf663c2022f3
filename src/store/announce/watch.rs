//! Watches with filters: what is told of a collection to those who ask for some of its documents. Equal filters are one
//! topic, which is fed while somebody reads it.
//!
//! Who lists first and watches then has a cursor from before the watch began: it is told what was between from the
//! collection's own topic.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Announcer, draft, payload};
use crate::event::{Event, EventId, Topic};
use crate::log::{Guide, Limits, Log, News, Reader, Scan, Start, mark};
use crate::problem::Problem;
use crate::store::ask::filter::Filter;
use crate::store::name::Collection;
use crate::store::write::{Change, Kind};

/// How many events are looked at without a thread of its own.
const FEW: usize = 100;

/// All watches, by collection.
#[derive(Default)]
pub(super) struct Watches {
    of: HashMap<Collection, Vec<Watch>>,
    /// Counts those that ever were, for their names.
    made: u64,
}

/// One of them.
struct Watch {
    filters: Arc<[Filter]>,
    /// The same, as they could be asked for.
    asked: String,
    /// What its events are told apart by from those of others.
    mark: u64,
    /// Keeps its topic remembered.
    scan: Scan,
    used: Instant,
}

/// Whom a change concerns, and what it is for them.
pub(super) struct Concerned {
    pub(super) topic: Topic,
    pub(super) kind: Kind,
    pub(super) mark: u64,
}

/// Where a reader of a watch is set.
pub struct Watched {
    topic: Topic,
    start: Start,
    /// What comes before it, from this cursor on.
    told: Option<(EventId, VecDeque<Arc<Event>>)>,
}

impl Watches {
    /// The watches that a change concerns.
    pub(super) fn concerned<'w>(
        &'w self,
        change: &Change,
    ) -> impl Iterator<Item = Concerned> + use<'w> {
        let watches = self.of.get(&change.collection);
        let watches = watches.filter(|watches| !watches.is_empty());
        let known = watches.map(|_| {
            let before = change.before.as_deref().and_then(object);
            // Of what was there before and is not said, nobody knows whether it was asked for.
            let is_told = change.before.is_some() || change.kind == Kind::Added;
            (change.document.as_deref().and_then(object), before, is_told)
        });
        let kind = change.kind;
        let concerned = move |watch: &Watch| {
            let (document, before, is_told) = known.as_ref()?;
            let asked = |document: &Map<String, Value>| matches(&watch.filters, document);
            let is = document.as_ref().is_some_and(asked);
            let was = match is_told {
                true => before.as_ref().is_some_and(asked),
                false => true,
            };
            let kind = seen(kind, was, is)?;
            let topic = watch.scan.topic().clone();
            let mark = watch.mark;
            Some(Concerned { topic, kind, mark })
        };
        watches.into_iter().flatten().filter_map(concerned)
    }

    /// Takes out those that nobody has read for a while; returns their topics.
    pub(super) fn rest(&mut self, log: &Log, now: Instant, rest: Duration) -> Vec<Topic> {
        let mut gone = Vec::new();
        for watches in self.of.values_mut() {
            watches.retain_mut(|watch| {
                if log.has_readers(watch.scan.topic()) {
                    watch.used = now;
                }
                let stays = now.duration_since(watch.used) < rest;
                if !stays {
                    gone.push(watch.scan.topic().clone());
                }
                stays
            });
        }
        self.of.retain(|_, watches| !watches.is_empty());
        gone
    }

    fn count(&self) -> usize {
        self.of.values().map(Vec::len).sum()
    }
}

/// A watch that is fed from now on.
struct Begun {
    topic: Topic,
    filters: Arc<[Filter]>,
    missed: Option<Missed>,
    mark: u64,
}

/// What was told before a watch, and is retained.
struct Missed {
    /// What the reader has.
    cursor: EventId,
    /// Where the watch goes on.
    since: EventId,
    events: Vec<Arc<Event>>,
}

impl Announcer {
    /// Where a reader begins who watches the documents of a collection that all these filters ask for.
    ///
    /// # Errors
    /// 429 when it is a watch too many.
    pub async fn watch(
        &self,
        collection: &Collection,
        filters: Vec<Filter>,
        start: Start,
    ) -> Result<Watched, Problem> {
        let Begun {
            topic,
            filters,
            missed,
            mark,
        } = self.begin(collection, filters, start)?;
        let Some(missed) = missed else {
            let told = None;
            return Ok(Watched { topic, start, told });
        };
        let (log, of, events) = (self.log.clone(), topic.clone(), missed.events);
        let is_little = events.len() <= FEW;
        let tell = move || -> VecDeque<Arc<Event>> {
            let told = |event: &Arc<Event>| retold(&log, &of, event, &filters, mark);
            events.iter().filter_map(told).collect()
        };
        let told = match is_little {
            true => tell(),
            false => tokio::task::spawn_blocking(tell)
                .await
                .map_err(|_| Problem::unavailable("stopped", "the server is leaving"))?,
        };
        Ok(Watched {
            topic,
            start: Start::After(missed.since),
            told: Some((missed.cursor, told)),
        })
    }

    /// Finds a watch or makes it; nothing is announced meanwhile.
    fn begin(
        &self,
        collection: &Collection,
        mut filters: Vec<Filter>,
        start: Start,
    ) -> Result<Begun, Problem> {
        filters.sort_by_cached_key(Filter::to_string);
        filters.dedup();
        let asked: Vec<String> = filters.iter().map(Filter::to_string).collect();
        let asked = asked.join("&");
        let mut watches = self.watches();
        let (count, most) = (watches.count(), self.limits.watches);
        let Watches { of, made } = &mut *watches;
        let of = of.entry(collection.clone()).or_default();
        let index = match of.iter().position(|watch| watch.asked == asked) {
            Some(index) => index,
            None if count >= most => return Err(too_many(most)),
            None => {
                *made += 1;
                let topic = Topic::of_watch(&format!("{collection}/{made}"))?;
                of.push(Watch {
                    filters: filters.into(),
                    mark: mark(&asked),
                    asked,
                    scan: self.log.begin(&topic),
                    used: Instant::now(),
                });
                of.len() - 1
            }
        };
        let watch = &mut of[index];
        watch.used = Instant::now();
        let since = watch.scan.floor();
        let missed = match start {
            Start::After(cursor) if cursor < since => {
                let all = self.log.scan(&collection.topic());
                let after = self.log.told_after(cursor, watch.mark);
                let events = all.between(after, since, Limits::WATCH_TOPIC_EVENTS);
                events.map(|events| Missed {
                    cursor,
                    since,
                    events,
                })
            }
            _ => None,
        };
        Ok(Begun {
            topic: watch.scan.topic().clone(),
            filters: watch.filters.clone(),
            missed,
            mark: watch.mark,
        })
    }
}

impl Watched {
    /// Sets a reader at its place.
    ///
    /// # Errors
    /// As [`Reader::begin`].
    pub fn set(self, reader: &mut Reader) -> Result<(), Problem> {
        reader.begin(&[self.topic], self.start)?;
        if let Some((cursor, told)) = self.told {
            reader.hold(cursor);
            reader.follow(Box::new(Told(told)));
        }
        Ok(())
    }
}

/// Tells what was before a watch began, each with the id that it had.
struct Told(VecDeque<Arc<Event>>);

impl Guide for Told {
    fn decides(&self) -> bool {
        false
    }

    fn has_news(&self) -> bool {
        !self.0.is_empty()
    }

    fn news(&mut self, fits: &dyn Fn(&Event) -> bool) -> Option<News> {
        let fits = self.0.front().is_some_and(|event| fits(event));
        let next = if fits { self.0.pop_front() } else { None };
        next.map(News::Tell)
    }

    fn held_at(&self) -> Option<EventId> {
        self.0.front().map(|event| event.id.before())
    }
}

/// An event of a collection's topic as a watch would have told it.
fn retold(
    log: &Log,
    topic: &Topic,
    event: &Event,
    filters: &[Filter],
    mark: u64,
) -> Option<Arc<Event>> {
    /// What the announcer has written.
    #[derive(Deserialize)]
    struct Said<'s> {
        #[serde(borrow)]
        id: &'s RawValue,
        version: u64,
        document: Option<Map<String, Value>>,
    }
    let said: Said = serde_json::from_slice(event.draft.payload.bytes()).ok()?;
    let was = event.draft.event_type.name().and_then(Kind::named)?;
    let is = said
        .document
        .is_some_and(|document| matches(filters, &document));
    // Nobody knows any more whether it was asked for.
    let kind = seen(was, was != Kind::Added, is)?;
    let payload = match kind {
        Kind::Deleted => payload(format!(
            r#"{{"id":{},"version":{}}}"#,
            said.id, said.version
        )),
        _ => event.draft.payload.clone(),
    };
    Some(log.retold(event, draft(topic.clone(), kind, payload), mark))
}

/// What a change is for who sees only what is asked for.
fn seen(kind: Kind, was: bool, is: bool) -> Option<Kind> {
    match (was, is) {
        (false, false) => None,
        (false, true) => Some(Kind::Added),
        (true, true) => Some(kind),
        (true, false) => Some(Kind::Deleted),
    }
}

fn matches(filters: &[Filter], document: &Map<String, Value>) -> bool {
    filters.iter().all(|filter| filter.matches(document))
}

fn object(json: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(json).ok()
}

fn too_many(most: usize) -> Problem {
    let detail = format!(
        "there are {most} watches with different filters, which is the limit (watches); watch with filters that others use, or without, or raise it"
    );
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail).with(RETRY_AFTER, "60")
}

#[cfg(test)]
mod tests;
