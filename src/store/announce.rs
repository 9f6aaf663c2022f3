//! Tells changes: each is one event on its collection's topic, in the order in which they were committed, and one on the
//! topic of each watch that it concerns.

pub mod watch;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::watch::{Concerned, Watches};
use super::write::{Change, Kind};
use crate::event::{Draft, EventId, EventType, Payload, Place, Topic};
use crate::log::{Log, Reason, Told};

/// How many events are appended at once: with many watches, a bulk of many documents makes a great many.
const AT_ONCE: usize = 1000;

/// For how long a watch is fed that nobody reads: who comes back meanwhile has lost nothing.
const REST: Duration = Duration::from_secs(60);

/// Appends changes to the log.
pub struct Announcer {
    log: Arc<Log>,
    limits: Limits,
    /// Its lock is the order of announcements.
    watches: Mutex<Watches>,
}

/// How much may be told.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What an event carries at most, if it can carry less: a patch is left out that would make it larger.
    pub event_bytes: usize,
    /// Watches with different filters at once.
    pub watches: usize,
}

impl Announcer {
    /// Tells in this log.
    pub fn new(log: Arc<Log>, limits: Limits) -> Arc<Announcer> {
        Arc::new(Announcer {
            log,
            limits,
            watches: Mutex::default(),
        })
    }

    /// Where it tells.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The newest id: what is announced from now on has a greater one.
    pub fn head(&self) -> EventId {
        self.log.head()
    }

    /// Tells of changes that are committed, in this order; returns the id of each one's event. Whoever calls it from
    /// several threads must order the calls as the commits.
    pub fn announce(&self, changes: &[Change]) -> Vec<EventId> {
        let watches = self.watches();
        let mut events = Vec::with_capacity(changes.len());
        let mut drafts = Vec::new();
        let mut own = Vec::new();
        for change in changes {
            let Told { event, also } = self.told(&watches, change);
            own.push(drafts.len());
            drafts.push(event);
            drafts.extend(also.into_iter().map(|(_, draft)| draft));
            if drafts.len() >= AT_ONCE {
                self.append(&mut drafts, &mut own, &mut events);
            }
        }
        self.append(&mut drafts, &mut own, &mut events);
        events
    }

    /// Tells of changes that have a place in the relay's order, as every replica does; returns the id of each one's event.
    pub fn announce_at(&self, at: Place, changes: &[Change]) -> Vec<EventId> {
        let watches = self.watches();
        let told = changes.iter().map(|change| self.told(&watches, change));
        self.log.tell(at, told.collect())
    }

    /// What is told of a change: on its collection's topic, and on that of each watch that it concerns.
    fn told(&self, watches: &Watches, change: &Change) -> Told {
        let payload = self.payload(change);
        let concerned = watches.concerned(change);
        let also = concerned.map(|Concerned { topic, kind, mark }| match kind {
            Kind::Deleted => (mark, draft(topic, kind, gone(change))),
            _ => (mark, draft(topic, kind, payload.clone())),
        });
        Told {
            also: also.collect(),
            event: draft(change.collection.topic(), change.kind, payload),
        }
    }

    /// Appends what there is; the ids of those with these places go to the others.
    fn append(&self, drafts: &mut Vec<Draft>, own: &mut Vec<usize>, events: &mut Vec<EventId>) {
        if drafts.is_empty() {
            return;
        }
        let done = self.log.append_all(std::mem::take(drafts), None);
        let done = done.expect("the server's own topics are never one too many");
        // They were appended at one time, one after the other.
        let mut ids = std::iter::successors(Some(done.first), |id| Some(id.next(id.ms)));
        let mut next = 0;
        for place in own.drain(..) {
            events.extend(ids.nth(place - next));
            next = place + 1;
        }
    }

    /// Changes were made that nobody can tell any more: whoever watches is told so.
    pub fn lose(&self) {
        let _order = self.watches();
        self.log.lose(Reason::Expired, |topic| {
            topic.is_of_collection() || topic.is_of_watch()
        });
    }

    /// The same, at a place in the relay's order: who has come as far as that on one replica has on all.
    pub fn lose_at(&self, at: Place) {
        self.log.reach(at);
        self.lose();
    }

    fn payload(&self, change: &Change) -> Payload {
        let mut text = head(change);
        let most = self.limits.event_bytes;
        if let Some(document) = change.document.as_deref().map(String::from_utf8_lossy) {
            text.push_str(r#","document":"#);
            text.push_str(&document);
        }
        let patch = change.patch.as_deref().map(String::from_utf8_lossy);
        if let Some(patch) = patch.filter(|patch| text.len() + patch.len() + 16 <= most) {
            text.push_str(r#","patch":"#);
            text.push_str(&patch);
        }
        text.push('}');
        payload(text)
    }

    /// Lets go of watches that nobody reads any more, for as long as it is polled.
    pub async fn tidy(self: Arc<Announcer>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let gone = self.watches().rest(&self.log, Instant::now(), REST);
            self.log.clear(&gone);
        }
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().expect("nothing panics under this lock")
    }
}

/// `{"id":ID,"version":VERSION`
fn head(change: &Change) -> String {
    format!(
        r#"{{"id":{},"version":{}"#,
        change.id.json(),
        change.version
    )
}

/// What is told of a document that is gone, or that is not asked for any more.
fn gone(change: &Change) -> Payload {
    payload(head(change) + "}")
}

fn payload(text: String) -> Payload {
    Payload::json(Bytes::from(text)).expect("it was made of JSON")
}

fn draft(topic: Topic, kind: Kind, payload: Payload) -> Draft {
    Draft {
        topic,
        event_type: EventType::new(kind.as_str()).expect("a good name"),
        payload,
    }
}
