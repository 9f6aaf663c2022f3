//! A stream's place in its subscription: what has changed since it last looked, and which present results it is told.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Member, Subscription};
use crate::event::{Event, EventId, Topic};
use crate::log::{End, Guide, News, Reader, Start};

/// Guides one stream. Dropping it leaves the subscription.
pub(super) struct Follower {
    subscription: Arc<Subscription>,
    key: usize,
    /// The changes that it knows.
    seen: u64,
    /// What its reader reads.
    members: Vec<Member>,
    /// With the id that it had in the log, if it is something to tell.
    news: VecDeque<(EventId, News)>,
}

impl Follower {
    /// Under the lock of the subscription, whose members these are.
    pub fn new(subscription: Arc<Subscription>, key: usize, members: Vec<Member>) -> Follower {
        Follower {
            key,
            seen: subscription.changes.load(Ordering::Acquire),
            subscription,
            members,
            news: VecDeque::new(),
        }
    }

    /// Sets a new reader at its place, puts the present results in front of it, and guides it from there. One that goes
    /// on where it was has had those that are no later than its cursor, but for queries that were added since.
    pub fn guide(mut self, reader: &mut Reader, place: Start, asked: Start, is_poll: bool) {
        let cursor = self.begin(reader, place);
        let goes_on = asked == Start::After(cursor) && cursor != EventId::ZERO;
        if goes_on && self.subscription.log.is_following() {
            let queries = self.members.iter().filter_map(|m| m.query.as_ref());
            queries.for_each(|query| query.retell(cursor));
        }
        match is_poll && asked != Start::Head {
            true => self.present(cursor, |member, _| member.since > cursor),
            false => self.present(cursor, |member, id| {
                !goes_on || member.since > cursor || id > cursor
            }),
        }
        reader.follow(Box::new(self));
    }

    fn has_changed(&self) -> bool {
        self.subscription.changes.load(Ordering::Acquire) != self.seen
    }

    /// What was added after the reader's cursor starts where it was added, unless all is asked for.
    fn begin(&self, reader: &mut Reader, start: Start) -> EventId {
        let is_later = |member: &&Member| match start {
            Start::After(EventId::ZERO) => false,
            Start::After(cursor) => member.since > cursor,
            _ => false,
        };
        let (later, begun): (Vec<&Member>, Vec<&Member>) = self.members.iter().partition(is_later);
        const FEW: &str = "a subscription has no more topics than a reader may have";
        let topics: Vec<Topic> = begun.iter().map(|m| m.topic.clone()).collect();
        let cursor = reader.begin(&topics, start).expect(FEW);
        for member in later {
            let (topics, start) = ([member.topic.clone()], Start::After(member.since));
            reader.subscribe(&topics, start).expect(FEW);
        }
        cursor
    }

    /// Puts the present results in front of a reader that has begun: of those queries that have nothing after its
    /// cursor, since the log tells the others'.
    fn present(&mut self, cursor: EventId, wants: impl Fn(&Member, EventId) -> bool) {
        let members = self.members.clone();
        self.tell(members, |m| m.since.max(cursor), wants);
    }

    fn tell(
        &mut self,
        members: Vec<Member>,
        after: impl Fn(&Member) -> EventId,
        wants: impl Fn(&Member, EventId) -> bool,
    ) {
        let log = &self.subscription.log;
        let mut told: Vec<(EventId, News)> = Vec::new();
        for member in &members {
            let present = member.query.as_ref().and_then(|query| query.present());
            if let Some((id, event)) = present
                && wants(member, id)
                && (id <= after(member) || !log.retains(&member.topic, id))
            {
                told.push((id, News::Tell(event)));
            }
        }
        // So that a poll which has no room for all is told the rest by its cursor.
        told.sort_by_key(|(id, _)| *id);
        self.news.extend(told);
    }

    /// Looks what has changed.
    fn look(&mut self) {
        let subscription = self.subscription.clone();
        let state = subscription.state();
        self.seen = subscription.changes.load(Ordering::Acquire);
        if state.is_over {
            self.news
                .push_back((EventId::ZERO, News::End(End::Deleted)));
            return;
        }
        let members = state.members.clone();
        drop(state);
        let in_both = |one: &[Member], other: &Member| one.iter().any(|m| m.topic == other.topic);
        let gone = self.members.iter().filter(|m| !in_both(&members, m));
        let gone: Vec<Topic> = gone.map(|m| m.topic.clone()).collect();
        self.news.retain(|(_, news)| match news {
            News::Tell(event) => !gone.contains(&event.draft.topic),
            _ => true,
        });
        let fresh = members.iter().filter(|m| !in_both(&self.members, m));
        let fresh: Vec<Member> = fresh.cloned().collect();
        if !gone.is_empty() {
            self.news.push_back((EventId::ZERO, News::Leave(gone)));
        }
        let starts: BTreeSet<EventId> = fresh.iter().map(|m| m.since).collect();
        for since in starts {
            let at_once = fresh.iter().filter(|m| m.since == since);
            let topics = at_once.map(|m| m.topic.clone()).collect();
            let join = News::Join(topics, Start::After(since));
            self.news.push_back((EventId::ZERO, join));
        }
        self.tell(fresh, |member| member.since, |_, _| true);
        self.members = members;
    }
}

impl Guide for Follower {
    fn has_news(&self) -> bool {
        !self.news.is_empty() || self.has_changed()
    }

    fn news(&mut self, fits: &dyn Fn(&Event) -> bool) -> Option<News> {
        if self.has_changed() {
            self.look();
        }
        if let Some((_, News::Tell(event))) = self.news.front()
            && !fits(event)
        {
            return None;
        }
        self.news.pop_front().map(|(_, news)| news)
    }

    fn held_at(&self) -> Option<EventId> {
        let told = |(id, news): &(EventId, News)| matches!(news, News::Tell(_)).then_some(*id);
        self.news.iter().filter_map(told).min().map(EventId::before)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.subscription.state();
        state.followers.remove(self.key);
        state.used_at = Instant::now();
        // The subscription's own: what the stream has not seen yet is watched for it already.
        state.watched().for_each(|query| query.unwatch(1));
    }
}
