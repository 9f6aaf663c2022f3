//! What a query has told: it is appended to the query's own topic, and the latest of it is kept for newcomers.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Query;
use crate::event::{Draft, Event, EventId, EventType, Payload};
use crate::live::engine::{Outcome, Rows, Sink};
use crate::problem::Problem;

/// How many rows of a query of rows a newcomer is told.
const NEWEST: usize = 100;
const NEWEST_BYTES: usize = 256 << 10;

/// What is heard, and what was told of it.
#[derive(Default)]
pub(super) struct Told {
    /// Counts the views: what an earlier one still tells is not heard.
    pub session: u64,
    /// Whether [`Told::latest`] is of the view that is open.
    pub is_present: bool,
    latest: Option<(EventId, Latest)>,
    pub failed_at: Option<Instant>,
    /// How many events it was.
    pub results: u64,
    changed_at: Option<Instant>,
    /// Who has come to this place was told the latest, on whichever replica.
    settled: Option<EventId>,
    is_due: bool,
}

/// What was told last, put together for who comes now.
enum Latest {
    Event(Arc<Event>),
    Rows(Newest),
}

/// The newest rows of a query of rows, in the order in which they were appended.
#[derive(Default)]
struct Newest {
    rows: VecDeque<Bytes>,
    bare: Option<Bytes>,
    /// Made of them when somebody has come.
    event: Option<Arc<Event>>,
}

impl Query {
    /// What a newcomer is told, and the id that this had in the log: nothing after that is in it.
    pub(in crate::live) fn present(&self) -> Option<(EventId, Arc<Event>)> {
        let mut told = self.told();
        told.is_present.then(|| told.last(self)).flatten()
    }

    /// Appends to its topic. Under the lock of what was told, so that a newcomer gets everything once: in the present
    /// result, or as an event after it.
    fn append(&self, told: &mut Told, draft: &Draft) -> Option<EventId> {
        match self.log.append(draft.clone()) {
            Ok(id) => {
                told.results += 1;
                told.is_present = true;
                (told.changed_at, told.settled) = (Some(Instant::now()), None);
                Some(id)
            }
            Err(problem) => {
                tracing::warn!("query {}: {problem}", self.name);
                None
            }
        }
    }

    /// `{"query":NAME,MEMBER:JSON TAIL}`
    fn draft(&self, member: &str, json: &[u8], tail: &str) -> Draft {
        let head = format!(r#"{{"query":"{}","{member}":"#, self.name);
        let text = [head.as_bytes(), json, tail.as_bytes(), b"}"].concat();
        Draft {
            topic: self.topic.clone(),
            event_type: EventType::default(),
            payload: Payload::json(text.into()).expect("it was made of JSON"),
        }
    }

    fn tell(&self, session: u64, is_of_rows: bool, outcome: Outcome) {
        let mut told = self.told();
        if told.session != session {
            return;
        }
        match outcome {
            Outcome::Whole(rows) => {
                let draft = self.draft("result", &rows.json(), "");
                if let Some(id) = self.append(&mut told, &draft) {
                    let event = self.log.unlogged(draft);
                    let latest = match is_of_rows {
                        true => Latest::Rows(Newest::of(rows, event)),
                        false => Latest::Event(event),
                    };
                    told.latest = Some((id, latest));
                }
            }
            Outcome::More(rows) => {
                // Additions are rows in any case: whoever adds them need not look twice.
                let rows = Rows { bare: None, ..rows };
                let draft = self.draft("result", &rows.json(), r#","mode":"append""#);
                if let Some(id) = self.append(&mut told, &draft) {
                    let mut newest = match told.latest.take() {
                        Some((_, Latest::Rows(newest))) => newest,
                        _ => Newest::default(),
                    };
                    newest.add(rows);
                    told.latest = Some((id, Latest::Rows(newest)));
                }
            }
            Outcome::Failed(problem) => self.tell_failure(&mut told, &problem),
        }
    }

    /// Tells all that there is, unless that was told since or is no more.
    pub(super) fn tell_again(&self, (session, results): (u64, u64)) {
        let mut told = self.told();
        told.is_due = false;
        let is_whole = !matches!(told.latest, Some((_, Latest::Rows(_))));
        if told.session != session || !told.is_present || is_whole && told.results != results {
            return;
        }
        let Some((_, event)) = told.last(self) else {
            return;
        };
        let Ok(id) = self.log.append(event.draft.clone()) else {
            return;
        };
        told.results += 1;
        if let Some((at, _)) = &mut told.latest {
            *at = id;
        }
    }

    pub(super) fn tell_failure(&self, told: &mut Told, problem: &Problem) {
        told.failed_at = Some(Instant::now());
        let draft = self.draft("error", problem.json().as_bytes(), "");
        if let Some(id) = self.append(told, &draft) {
            told.latest = Some((id, Latest::Event(self.log.unlogged(draft))));
        }
    }
}

impl Told {
    /// Begins anew.
    pub fn forget(&mut self) {
        *self = Told {
            session: self.session + 1,
            ..Told::default()
        };
    }

    /// What it is now is known to all once it is so old.
    pub fn settle(&mut self, head: EventId, age: Duration) {
        let is_old = self.changed_at.is_some_and(|at| at.elapsed() >= age);
        if is_old && self.settled.is_none() {
            self.settled = Some(head);
        }
    }

    /// What is to be told once more to who comes from elsewhere, unless that is on its way or known to him.
    pub fn due(&mut self, cursor: EventId) -> Option<(u64, u64)> {
        let is_known = self.settled.is_some_and(|settled| cursor >= settled);
        if !self.is_present || self.is_due || is_known {
            return None;
        }
        self.is_due = true;
        Some((self.session, self.results))
    }

    /// What was told last, and the id that this had in the log.
    pub fn last(&mut self, of: &Query) -> Option<(EventId, Arc<Event>)> {
        let (id, latest) = self.latest.as_mut()?;
        let event = match latest {
            Latest::Event(event) => event.clone(),
            Latest::Rows(newest) => newest.event(of).clone(),
        };
        Some((*id, event))
    }
}

impl Newest {
    fn of(rows: Rows, event: Arc<Event>) -> Newest {
        Newest {
            rows: rows.objects.into(),
            bare: rows.bare,
            event: Some(event),
        }
    }

    fn add(&mut self, rows: Rows) {
        (self.event, self.bare) = (None, None);
        self.rows.extend(rows.objects);
        let mut room = NEWEST_BYTES;
        let fits = |row: &&Bytes| {
            room = room.saturating_sub(row.len());
            room > 0
        };
        let newest = self.rows.iter().rev().take(NEWEST);
        let most = newest.take_while(fits).count().max(1);
        self.rows.drain(..self.rows.len().saturating_sub(most));
    }

    fn event(&mut self, of: &Query) -> &Arc<Event> {
        self.event.get_or_insert_with(|| {
            let rows = Rows {
                objects: self.rows.iter().cloned().collect(),
                bare: self.bare.clone(),
            };
            of.log.unlogged(of.draft("result", &rows.json(), ""))
        })
    }
}

/// Tells what one view of a query yields.
pub(super) struct Teller {
    pub query: Weak<Query>,
    pub session: u64,
    pub is_of_rows: bool,
}

impl Sink for Teller {
    fn tell(&self, outcome: Outcome) {
        if let Some(query) = self.query.upgrade() {
            query.tell(self.session, self.is_of_rows, outcome);
        }
    }
}
