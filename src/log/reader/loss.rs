//! What a reader has lost, because it did not read for too long or came from too far back: it is told of that, and goes
//! on as it has asked to.

use super::{Reader, Subscribed};
use crate::event::EventId;
use crate::log::kept::Kept;
use crate::log::notice::{End, Gap, Lag, Reason};

impl Reader {
    pub(super) fn lagged(&mut self) {
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
    pub(super) fn skip_to_newest(&mut self, from: usize, reason: Reason) {
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
}
