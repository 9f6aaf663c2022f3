//! A guide: somebody else decides, while a reader reads, what it reads. What the guide has to say is news: topics to
//! join and to leave, something to tell that is in no log, and the end.

use std::sync::Arc;

use super::Log;
use super::notice::{End, Start};
use crate::bundle::Bell;
use crate::event::{Event, EventId, Topic};

/// Decides what a reader reads. Who changes its mind rings the reader, by the [`Ringer`] that the guide was given.
pub trait Guide: Send {
    /// Whether it decides on topics at all; one that does not only tells something first.
    fn decides(&self) -> bool {
        true
    }

    /// Whether there is news: asked at each look for an event, so this must be no more than a look.
    fn has_news(&self) -> bool;

    /// The next of it. A [`News::Tell`] that does not fit stays where it is, and nothing comes before it.
    fn news(&mut self, fits: &dyn Fn(&Event) -> bool) -> Option<News>;

    /// The cursor that a reader which leaves now must not go beyond, if there is still something to tell.
    fn held_at(&self) -> Option<EventId>;
}

/// What a guide says.
#[derive(Clone, Debug)]
pub enum News {
    /// Read these too. They must not be more than a reader may have.
    Join(Vec<Topic>, Start),
    /// Do not read these any more, from now on.
    Leave(Vec<Topic>),
    /// Tell this first: it is in no log, and so has no id ([`Log::unlogged`]).
    Tell(Arc<Event>),
    /// Nothing comes any more.
    End(End),
}

/// Wakes a reader, from any thread.
#[derive(Clone)]
pub struct Ringer {
    log: Arc<Log>,
    shard: usize,
    bell: Bell,
}

impl Ringer {
    pub(super) fn new(log: Arc<Log>, shard: usize, bell: Bell) -> Ringer {
        Ringer { log, shard, bell }
    }

    /// Wakes it, on its own shard.
    pub fn ring(&self) {
        self.log.hubs[self.shard].remind(0, self.bell.clone());
    }
}
