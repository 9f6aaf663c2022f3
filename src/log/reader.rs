//! A reader: a cursor into the log and the topics that it reads. What it yields is an event, a gap, or the end. With a
//! guide, somebody else decides on the topics.
//!
//! It merges its topics by the log's order. Not `Clone`: two readers are two seats.

mod loss;
mod topics;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use smallvec::SmallVec;

use super::Log;
use super::guide::{Guide, News, Ringer};
use super::kept::TopicLog;
use super::notice::{End, Gap, Lag, Next};
use crate::bundle::{Bell, Look};
use crate::counts::Seat;
use crate::event::{Event, EventId, Framing};

/// A topic that is read, and the place of its reader there.
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

    /// Says that it has nothing after this cursor yet: its guide tells it what was between.
    pub fn hold(&mut self, cursor: EventId) {
        self.cursor = cursor;
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

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.hubs[self.shard].remove(self.key);
        self.bell.retire();
        for subscribed in self.subscribed.drain(..) {
            subscribed.leave(&self.log, self.shard);
        }
    }
}
