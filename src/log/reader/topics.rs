//! The topics of a reader: how it joins them at a place, and leaves them.

use super::{Reader, Subscribed};
use crate::event::{EventId, Topic};
use crate::log::notice::{Gap, Lag, Reason, Start};
use crate::log::{Log, State};
use crate::problem::Problem;

impl Reader {
    /// Adds topics; those that it reads already stay where they are. Returns the cursor after which nothing of
    /// the new ones will be missed without a notice.
    ///
    /// # Errors
    /// 400 when they would be too many; then none is added.
    pub fn subscribe(&mut self, topics: &[Topic], start: Start) -> Result<EventId, Problem> {
        let fresh = self.check_room(topics)?;
        let log = self.log.clone();
        let mut state = log.state();
        // A cursor beyond the head is not of this log. It must not be kept: once the head has passed it,
        // it would look like one, and what was in between would be skipped.
        let honest = match start {
            Start::After(cursor) => cursor <= state.head || log.may_come_to(state.head, cursor),
            Start::Head => true,
            Start::Unknown => false,
        };
        let head = state.head;
        let (told, joined) = (self.notices.len(), self.subscribed.len());
        for topic in fresh {
            self.join(&mut state, topic, start, honest);
        }
        drop(state);
        if self.lag == Lag::Latest && self.notices.len() > told {
            // What it read before has lost nothing by this cursor.
            self.skip_to_newest(joined, Reason::Expired);
        }
        let lowest = self
            .notices
            .iter()
            .skip(told)
            .map(|gap| gap.resumed_at)
            .min();
        Ok(match start {
            Start::Head => head,
            Start::After(cursor) if honest => cursor,
            _ => lowest.unwrap_or(head),
        })
    }

    /// Those of the topics that it does not read yet, each once.
    ///
    /// # Errors
    /// 400 when they would be too many.
    pub fn check_room<'t>(&self, topics: &'t [Topic]) -> Result<Vec<&'t Topic>, Problem> {
        let mut fresh: Vec<&Topic> = topics.iter().filter(|t| !self.reads(t)).collect();
        fresh.sort();
        fresh.dedup();
        let limit = self.log.limits.reader_topics;
        if self.subscribed.len() + fresh.len() > limit {
            let detail =
                format!("a reader may have {limit} topics (reader-topics); open another stream");
            return Err(Problem::bad_request("too-many-topics", detail));
        }
        Ok(fresh)
    }

    /// Like [`Reader::subscribe`], for a reader that has just been made: its cursor becomes the one returned.
    ///
    /// # Errors
    /// As there.
    pub fn begin(&mut self, topics: &[Topic], start: Start) -> Result<EventId, Problem> {
        self.cursor = self.subscribe(topics, start)?;
        Ok(self.cursor)
    }

    fn join(&mut self, state: &mut State, name: &Topic, start: Start, honest: bool) {
        let topic = self.log.topic(state, name);
        let kept = topic.kept();
        let (next, after) = match start {
            Start::Head => (kept.end(), state.head),
            Start::After(cursor) if honest => (kept.after(cursor), cursor),
            _ => (kept.first, kept.floor),
        };
        let lost = match start {
            Start::Head | Start::After(EventId::ZERO) => false,
            Start::After(cursor) => !honest || cursor < kept.floor,
            Start::Unknown => true,
        };
        if lost {
            let after = match start {
                Start::After(cursor) => Some(cursor),
                _ => None,
            };
            self.notices.push_back(Gap {
                topic: name.clone(),
                reason: after.map_or(Reason::Expired, |cursor| kept.why(cursor)),
                after,
                resumed_at: kept.floor,
                missed: None,
                go_on: None,
            });
        }
        drop(kept);
        let key = topic.listeners[self.shard].add(self.bell.clone());
        self.subscribed.push(Subscribed {
            is_ahead: after > state.head,
            topic,
            key,
            next,
            after,
        });
    }

    /// Leaves topics; what it does not read is not an error.
    pub fn unsubscribe(&mut self, topics: &[Topic]) {
        let log = self.log.clone();
        let shard = self.shard;
        self.subscribed.retain(|s| {
            let stays = !topics.contains(&s.topic.name);
            if !stays {
                s.leave(&log, shard);
            }
            stays
        });
        self.notices.retain(|gap| !topics.contains(&gap.topic));
    }

    fn reads(&self, topic: &Topic) -> bool {
        self.subscribed.iter().any(|s| s.topic.name == *topic)
    }
}

impl Subscribed {
    pub(super) fn leave(&self, log: &Log, shard: usize) {
        self.topic.listeners[shard].remove(self.key);
        if self.topic.is_empty() {
            log.forget_if_unused(&self.topic);
        }
    }
}
