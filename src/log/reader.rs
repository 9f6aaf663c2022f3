//! A reader: a cursor into the log and the topics that it reads. What it yields is an event, a gap, or the end. With a
//! guide, somebody else decides on the topics.
//!
//! It merges its topics by the log's order. Not `Clone`: two readers are two seats.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use smallvec::SmallVec;

use super::guide::{Guide, News, Ringer};
use super::kept::{Kept, TopicLog};
use super::notice::{End, Gap, Lag, Next, Reason, Start};
use super::{Log, State};
use crate::bundle::{Bell, Look};
use crate::counts::Seat;
use crate::event::{Event, EventId, Framing, Topic};
use crate::problem::Problem;

struct Subscribed {
    topic: Arc<TopicLog>,
    key: usize,
    /// The number of the next event to take.
    next: u64,
    /// Everything of this topic up to here has been taken.
    after: EventId,
    /// Elsewhere, on a replica that was further on than this one: what comes up to there, it has had.
    is_ahead: bool,
}

/// A cursor into the log, with its seat. Dropping it leaves the seat and the topics.
pub struct Reader {
    log: Arc<Log>,
    shard: usize,
    bell: Bell,
    key: usize,
    /// Nearly always one.
    subscribed: SmallVec<[Subscribed; 1]>,
    cursor: EventId,
    lag: Lag,
    left: u64,
    notices: VecDeque<Gap>,
    ending: Option<End>,
    guide: Option<Box<dyn Guide>>,
    seat: Seat,
}

impl Reader {
    /// A reader of nothing yet, at the head of the log; the bell wakes who polls it, and `limit` events end it.
    pub fn new(
        log: &Arc<Log>,
        shard: usize,
        bell: Bell,
        seat: Seat,
        lag: Lag,
        limit: Option<u64>,
    ) -> Reader {
        Reader {
            shard,
            key: log.hubs[shard].add(bell.clone()),
            bell,
            subscribed: SmallVec::new(),
            cursor: log.head(),
            lag,
            left: limit.unwrap_or(u64::MAX),
            notices: VecDeque::new(),
            ending: None,
            guide: None,
            seat,
            log: log.clone(),
        }
    }

    /// What wakes it from outside: for its guide.
    pub fn ringer(&self) -> Ringer {
        Ringer::new(self.log.clone(), self.shard, self.bell.clone())
    }

    /// From now on it reads what the guide says.
    pub fn follow(&mut self, guide: Box<dyn Guide>) {
        self.guide = Some(guide);
    }

    /// Whether somebody else decides what it reads.
    pub fn is_guided(&self) -> bool {
        self.guide.as_ref().is_some_and(|guide| guide.decides())
    }

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

    /// Says that it has nothing after this cursor yet: its guide tells it what was between.
    pub fn hold(&mut self, cursor: EventId) {
        self.cursor = cursor;
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

    /// Its seat, which counts what the wire writes.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Everything up to here was taken, or was before it; with what it has not taken yet of other topics between.
    pub fn cursor(&self) -> EventId {
        self.cursor
    }

    /// The shard whose hub wakes it.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// What comes next, or `Pending` until something does.
    pub fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        if self.bell.has_waited() {
            return Poll::Pending;
        }
        if let Some(next) = self.try_next() {
            return Poll::Ready(next);
        }
        match self.bell.wait(cx) {
            Look::Again => self.try_next().map_or(Poll::Pending, Poll::Ready),
            Look::NoMore => Poll::Pending,
        }
    }

    /// The shard's time, in [`ticks`](super::ticks): as of the last wake-up, which costs nothing to ask.
    pub fn tick(&self) -> u64 {
        self.log.hubs[self.shard].tick()
    }

    /// The shard's time now.
    pub fn now(&self) -> u64 {
        self.log.hubs[self.shard].now()
    }

    /// Has who polls this reader woken once [`Reader::tick`] has come to `tick`; what does not wait by
    /// [`Reader::poll_next`] is not woken.
    pub fn remind(&self, tick: u64) {
        self.log.hubs[self.shard].remind(tick, self.bell.clone());
    }

    /// All that the last wake-up has brought, in one piece, if it is just what comes next and no longer than `most`:
    /// the bytes, and how many they are without what HTTP/1.1 puts around each event. Nothing says nothing.
    pub fn take_run(&mut self, framing: Framing, most: usize) -> Option<(Bytes, usize)> {
        let [subscribed] = &mut *self.subscribed else {
            return None;
        };
        let is_plain = self.notices.is_empty() && self.ending.is_none() && !subscribed.is_ahead;
        if self.bell.has_waited() || !is_plain {
            return None;
        }
        let left = self.left;
        let guide = &self.guide;
        let (log, listeners) = (&self.log, &subscribed.topic.listeners[self.shard]);
        let (count, last, taken) =
            listeners.run(subscribed.next, framing, |count, last, run| {
                // As in `end` and `first_due`.
                let visible = last.seq <= log.appended.load(Ordering::Acquire);
                let fits = run.bytes.len() <= most && count <= left;
                let goes = visible
                    && fits
                    && !log.ended.load(Ordering::Acquire)
                    && !guide.as_ref().is_some_and(|guide| guide.has_news());
                goes.then(|| (count, last.id, (run.bytes.clone(), run.content)))
            })?;
        subscribed.next += count;
        subscribed.after = last;
        self.cursor = self.cursor.max(last);
        self.left -= count;
        self.seat.events(count);
        Some(taken)
    }

    /// What comes next, if it is there. Once it is [`Next::End`], it stays so.
    pub fn try_next(&mut self) -> Option<Next> {
        self.try_next_if(|_| true)
    }

    /// The same, but an event that does not fit stays where it is.
    pub fn try_next_if(&mut self, fits: impl Fn(&Event) -> bool) -> Option<Next> {
        loop {
            if let Some(gap) = self.notices.pop_front() {
                self.seat.gap();
                return Some(Next::Gap(gap));
            }
            if let Some(end) = self.end() {
                return Some(Next::End(end));
            }
            let due = self.first_due();
            // Only now: an event that was appended after the guide had changed its mind must not go before the news.
            match self.heed(&fits) {
                Heeded::Nothing => {}
                Heeded::Change => continue,
                Heeded::Told(event) => return Some(Next::Event(event)),
                Heeded::Full => return None,
            }
            match due {
                Due::Nothing => return None,
                Due::Event(index, event) if self.has_had(index, &event) => {}
                Due::Event(_, event) if !fits(&event) => return None,
                Due::Event(index, event) => return Some(self.take(index, event)),
                Due::Lagged => self.lagged(),
            }
        }
    }

    /// Does what its guide says next.
    fn heed(&mut self, fits: &dyn Fn(&Event) -> bool) -> Heeded {
        let Some(guide) = self.guide.as_mut().filter(|guide| guide.has_news()) else {
            return Heeded::Nothing;
        };
        match guide.news(fits) {
            None if guide.has_news() => return Heeded::Full,
            None => {}
            Some(News::Leave(topics)) => self.unsubscribe(&topics),
            Some(News::End(end)) => self.ending = Some(end),
            Some(News::Tell(event)) => {
                self.left -= 1;
                self.seat.events(1);
                return Heeded::Told(event);
            }
            Some(News::Join(topics, start)) => {
                let joined = self.subscribe(&topics, start);
                joined.expect("a guide names no more topics than a reader may have");
            }
        }
        Heeded::Change
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.end().is_some()
    }

    fn end(&self) -> Option<End> {
        if self.ending.is_some() {
            return self.ending;
        }
        if self.left == 0 {
            return Some(End::Limit);
        }
        self.log.ended.load(Ordering::Acquire).then_some(End::Drain)
    }

    /// The event with the lowest place in the log over all topics.
    fn first_due(&self) -> Due {
        // Whatever is not above this is in its topic, so nothing lower can still appear.
        let visible = self.log.appended.load(Ordering::Acquire);
        let mut due = Due::Nothing;
        for (index, subscribed) in self.subscribed.iter().enumerate() {
            if subscribed.next == subscribed.topic.end() {
                continue;
            }
            let newest = subscribed.topic.listeners[self.shard].newest(subscribed.next);
            let event = match newest {
                Some(event) => event,
                None => {
                    let kept = subscribed.topic.kept();
                    if subscribed.next < kept.first {
                        return Due::Lagged;
                    }
                    let Some(event) = kept.get(subscribed.next) else {
                        continue;
                    };
                    event.clone()
                }
            };
            let lowest = match &due {
                Due::Event(_, best) => event.seq < best.seq,
                _ => true,
            };
            if event.seq <= visible && lowest {
                due = Due::Event(index, event);
            }
        }
        due
    }

    /// Passes over an event that it has had elsewhere.
    fn has_had(&mut self, index: usize, event: &Event) -> bool {
        let subscribed = &mut self.subscribed[index];
        subscribed.is_ahead &= event.id <= subscribed.after;
        subscribed.next += u64::from(subscribed.is_ahead);
        subscribed.is_ahead
    }

    fn take(&mut self, index: usize, event: Arc<Event>) -> Next {
        let subscribed = &mut self.subscribed[index];
        subscribed.next += 1;
        subscribed.after = event.id;
        self.cursor = self.cursor.max(event.id);
        self.left -= 1;
        self.seat.events(1);
        Next::Event(event)
    }

    fn lagged(&mut self) {
        if self.lag == Lag::Latest {
            return self.skip_to_newest(0, Reason::Lagged);
        }
        // Nothing is appended meanwhile: an event of a topic that was looked at already could otherwise be lower than
        // the place to go on at, and be lost by it.
        let log = self.log.clone();
        let _order = log.state();
        let mut go_on: Option<EventId> = None;
        for subscribed in &mut self.subscribed {
            let kept = subscribed.topic.kept();
            let missed = kept.first.saturating_sub(subscribed.next);
            // For a topic that lost nothing: just before what it has not taken.
            let mut resumed_at = kept.get(subscribed.next).map(|event| event.id.before());
            if missed > 0 {
                // What it has had elsewhere it is not told again.
                let at = kept.floor.max(subscribed.after);
                resumed_at = Some(at);
                self.notices.push_back(subscribed.lost(&kept, at, missed));
                subscribed.next = kept.first;
                subscribed.after = at;
            }
            go_on = [go_on, resumed_at].into_iter().flatten().min();
        }
        if self.lag == Lag::Close {
            self.notices.iter_mut().for_each(|gap| gap.go_on = go_on);
            self.ending = Some(End::Lagged);
        }
    }

    /// Leaves each topic from this index on with no more than its newest event, and a notice where that skips
    /// something.
    fn skip_to_newest(&mut self, from: usize, reason: Reason) {
        for subscribed in &mut self.subscribed[from..] {
            let kept = subscribed.topic.kept();
            let newest = kept.end().saturating_sub(1).max(kept.first);
            let skipped = newest.saturating_sub(subscribed.next);
            if skipped == 0 {
                continue;
            }
            let resumed_at = kept.cursor_before(newest).max(subscribed.after);
            let topic = &subscribed.topic.name;
            match self.notices.iter_mut().find(|gap| gap.topic == *topic) {
                Some(gap) => gap.resumed_at = resumed_at,
                None => {
                    let gap = subscribed.lost(&kept, resumed_at, skipped);
                    let reason = gap.missed.map_or(gap.reason, |_| reason);
                    self.notices.push_back(Gap { reason, ..gap });
                }
            }
            drop(kept);
            subscribed.next = newest;
            subscribed.after = resumed_at;
        }
    }

    /// A cursor after which this reader would get just what it still has to get.
    pub fn position(&mut self) -> EventId {
        loop {
            // Up to what it would have to tell.
            while matches!(self.heed(&|_| false), Heeded::Change) {}
            let state = self.log.state();
            let has_all = self.subscribed.iter().all(|s| s.next == s.topic.end());
            let position = match has_all && self.notices.is_empty() {
                true => state.head.max(self.cursor),
                false => self.cursor,
            };
            drop(state);
            if let Some(held) = self.guide.as_ref().and_then(|guide| guide.held_at()) {
                return held.min(position);
            }
            // Looked at last: a change before that place is seen.
            if !self.has_news() {
                return position;
            }
        }
    }

    fn has_news(&self) -> bool {
        self.guide.as_ref().is_some_and(|guide| guide.has_news())
    }
}

enum Due {
    Nothing,
    Event(usize, Arc<Event>),
    Lagged,
}

enum Heeded {
    Nothing,
    Change,
    Told(Arc<Event>),
    Full,
}

impl Subscribed {
    fn lost(&self, kept: &Kept, resumed_at: EventId, missed: u64) -> Gap {
        let is_known = self.next >= kept.unknown;
        Gap {
            topic: self.topic.name.clone(),
            reason: match is_known {
                true => Reason::Lagged,
                false if self.is_ahead => kept.why.1,
                false => kept.why(self.after),
            },
            after: Some(self.after),
            resumed_at,
            missed: is_known.then_some(missed),
            go_on: None,
        }
    }

    fn leave(&self, log: &Log, shard: usize) {
        self.topic.listeners[shard].remove(self.key);
        if self.topic.is_empty() {
            log.forget_if_unused(&self.topic);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.hubs[self.shard].remove(self.key);
        self.bell.retire();
        for subscribed in self.subscribed.drain(..) {
            subscribed.leave(&self.log, self.shard);
        }
    }
}
