//! A relay in memory, for several replicas in one process: what tests cut, slow down and make forget.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, pending, ready};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Batch, Bounds, Entry, Fault, LOST, Reading, Relay, Taken, WAIT, Writing};
use crate::event::Place;
use crate::problem::Problem;

/// Entries that are read at once.
const AT_ONCE: usize = 1_000;

/// One stream.
pub struct Memory {
    kept: Mutex<Kept>,
    changed: watch::Sender<u64>,
}

struct Kept {
    epoch: u64,
    entries: VecDeque<(Place, Bytes)>,
    most: usize,
    first: Place,
    last: Place,
    clock_ms: u64,
    is_away: bool,
    is_full: bool,
    is_silent: bool,
    /// How many appends it takes and does not answer.
    unanswered: usize,
}

impl Memory {
    /// An empty stream that keeps so many entries.
    pub fn new(most: usize) -> Arc<Memory> {
        Arc::new(Memory {
            kept: Mutex::new(Kept {
                epoch: 1,
                entries: VecDeque::new(),
                most,
                first: Place::default(),
                last: Place::default(),
                clock_ms: 1,
                is_away: false,
                is_full: false,
                is_silent: false,
                unanswered: 0,
            }),
            changed: watch::Sender::new(0),
        })
    }

    /// Cuts every connection, or lets them come back.
    pub fn cut(&self, is_away: bool) {
        self.change(|kept| kept.is_away = is_away);
    }

    /// Takes no more, or does again.
    pub fn fill(&self, is_full: bool) {
        self.change(|kept| kept.is_full = is_full);
    }

    /// Answers no append, or does again.
    pub fn silence(&self, is_silent: bool) {
        self.change(|kept| kept.is_silent = is_silent);
    }

    /// Loses the answers to so many appends, and the connections with them.
    pub fn lose_answers(&self, count: usize) {
        self.change(|kept| kept.unanswered = count);
    }

    /// Forgets all that it has, and what it was.
    pub fn forget(&self) {
        self.change(|kept| {
            kept.epoch += 1;
            kept.entries.clear();
            kept.first = Place::default();
            kept.last = Place::default();
        });
    }

    /// Forgets the newest entries, as a copy does that was behind.
    pub fn forget_newest(&self, count: usize) {
        self.change(|kept| {
            kept.entries
                .truncate(kept.entries.len().saturating_sub(count));
            kept.last = kept.entries.back().map_or(kept.first, |(place, _)| *place);
        });
    }

    /// Takes all but the newest so many away, as anybody can.
    pub fn trim(&self, most: usize) {
        self.change(|kept| {
            while kept.entries.len() > most {
                if let Some((place, _)) = kept.entries.pop_front() {
                    kept.first = place;
                }
            }
        });
    }

    /// Sets its clock, in milliseconds.
    pub fn set_clock(&self, ms: u64) {
        self.change(|kept| kept.clock_ms = ms);
    }

    /// Appends by no connection.
    pub fn put(&self, bytes: Bytes) {
        self.change(|kept| kept.push(bytes));
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.kept().entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn change(&self, how: impl FnOnce(&mut Kept)) {
        how(&mut self.kept());
        self.changed.send_modify(|count| *count += 1);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics under this lock")
    }
}

impl Kept {
    fn here(&self) -> Result<(), Fault> {
        match self.is_away {
            true => Err(Fault::passing("it is away")),
            false => Ok(()),
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.last = match self.clock_ms > self.last.ms {
            true => Place {
                ms: self.clock_ms,
                number: 0,
            },
            false => Place {
                number: self.last.number + 1,
                ..self.last
            },
        };
        self.entries.push_back((self.last, bytes));
        while self.entries.len() > self.most {
            if let Some((place, _)) = self.entries.pop_front() {
                self.first = place;
            }
        }
    }
}

/// What the broker is to those who are connected.
struct Connection(Arc<Memory>);

impl Relay for Arc<Memory> {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading>, Fault>> {
        let here = self.kept().here();
        ready(here.map(|()| Box::new(Connection(self.clone())) as Box<dyn Reading>)).boxed()
    }

    fn writing(&self) -> BoxFuture<'_, Result<Box<dyn Writing>, Fault>> {
        let here = self.kept().here();
        ready(here.map(|()| Box::new(Connection(self.clone())) as Box<dyn Writing>)).boxed()
    }
}

impl Reading for Connection {
    fn bounds(&mut self) -> BoxFuture<'_, Result<Bounds, Fault>> {
        let kept = self.0.kept();
        let bounds = kept.here().map(|()| Bounds {
            epoch: kept.epoch.to_string(),
            first: kept.first,
            last: kept.last,
            is_whole: kept.first == Place::default(),
        });
        ready(bounds).boxed()
    }

    fn next(&mut self, after: Place) -> BoxFuture<'_, Result<Batch, Fault>> {
        async move {
            let mut changed = self.0.changed.subscribe();
            let found = async {
                loop {
                    let batch = self.0.kept().after(after)?;
                    if !batch.entries.is_empty() || batch.is_lossy {
                        return Ok(batch);
                    }
                    let _ = changed.changed().await;
                }
            };
            timeout(WAIT, found).await.unwrap_or(Ok(Batch::default()))
        }
        .boxed()
    }

    fn entry(&mut self, place: Place) -> BoxFuture<'_, Result<Option<Bytes>, Fault>> {
        let kept = self.0.kept();
        let found = kept.entries.iter().find(|(at, _)| *at == place);
        ready(Ok(found.map(|(_, bytes)| bytes.clone()))).boxed()
    }

    fn raise(&mut self, above: Place) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.change(|kept| {
            kept.last = kept.last.max(above);
            kept.push(Bytes::from_static(LOST));
        });
        ready(Ok(())).boxed()
    }
}

impl Kept {
    fn after(&self, after: Place) -> Result<Batch, Fault> {
        self.here()?;
        let entries = self.entries.iter().filter(|(place, _)| *place > after);
        let entries = entries.take(AT_ONCE).map(|(place, bytes)| Entry {
            place: *place,
            bytes: bytes.clone(),
        });
        Ok(Batch {
            entries: entries.collect(),
            is_lossy: after < self.first,
        })
    }
}

impl Writing for Connection {
    fn append<'a>(&'a mut self, entries: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Taken>, Fault>> {
        let mut kept = self.0.kept();
        let mut done = Vec::new();
        if let Err(fault) = kept.here() {
            return ready(Err(fault)).boxed();
        }
        if kept.is_silent {
            return pending().boxed();
        }
        for bytes in entries {
            done.push(match kept.is_full {
                true => Err(Problem::unavailable("relay-full", "the relay is full")),
                false => {
                    kept.push(bytes.clone());
                    Ok(())
                }
            });
        }
        let is_lost = kept.unanswered > 0;
        kept.unanswered = kept.unanswered.saturating_sub(1);
        drop(kept);
        self.0.changed.send_modify(|count| *count += 1);
        ready(match is_lost {
            true => Err(Fault::passing("the connection was lost")),
            false => Ok(done),
        })
        .boxed()
    }
}
