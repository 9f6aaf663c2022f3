//! How long a subscription lives: while a stream uses it, and a while longer. One that several replicas have is held by
//! those that use it, and ends when none does any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Subscription, unname};
use crate::live::Live;
use crate::live::change::Op;
use crate::live::definitions::{Change, Kind};

impl Live {
    /// Ends those that no stream has used for long; of those that other replicas have too, says which are used here.
    pub(in crate::live) async fn end_unused_subscriptions(self: &Arc<Live>) {
        let ttl = self.limits.subscription_ttl;
        let all: Vec<_> = self.subscriptions().values().cloned().collect();
        if let Some(life) = self.log.life() {
            return self.say_uses(&all, life, ttl).await;
        }
        for subscription in all {
            if subscription.end_if_unused(ttl) {
                self.subscriptions().remove(subscription.id());
                let id = subscription.id().to_owned();
                // After a restart that comes first, it ends once more.
                let _ = self.keep(Change::Remove(Kind::Subscription, id)).await;
            }
        }
    }

    /// A subscription is held by the replicas that use it: it ends when none does any more.
    async fn say_uses(self: &Arc<Live>, all: &[Arc<Subscription>], life: &str, ttl: Duration) {
        let (mut held, mut released) = (Vec::new(), Vec::new());
        let mut gone = BTreeSet::new();
        for subscription in all {
            match subscription.is_used(life, ttl) {
                (true, false) => held.push(subscription.id().to_owned()),
                (false, true) => released.push(subscription.id().to_owned()),
                _ => {}
            }
            gone.extend(subscription.holders(|holder| !self.log.is_alive(holder)));
        }
        let at_once = (self.log.word_bytes() / 2 / 40).clamp(1, 1000);
        let held = held.chunks(at_once).map(|ids| Op::Hold(ids.to_vec()));
        let released = released
            .chunks(at_once)
            .map(|ids| Op::Release(ids.to_vec()));
        let gone = gone.into_iter().map(Op::Inherit);
        for op in held.chain(gone).chain(released) {
            // What the relay does not take now is said the next time.
            if self.change(op, None).await.is_err() {
                return;
            }
        }
    }
}

impl Subscription {
    /// This replica uses it.
    pub(in crate::live) fn hold(&self, life: &str) {
        let mut state = self.state();
        state.holders.insert(life.into());
        // Who has lost another replica comes here, or not, within the time that there is for that.
        state.used_at = Instant::now();
    }

    /// This one does no more; whether none does.
    pub(in crate::live) fn release(&self, life: &str) -> bool {
        let mut state = self.state();
        state.is_used = !state.followers.is_empty();
        state.holders.remove(life);
        state.holders.is_empty()
    }

    /// Whether this replica is said to use it.
    pub(in crate::live) fn is_held_by(&self, life: &str) -> bool {
        self.state().holders.contains(life)
    }

    /// From now on these use it.
    pub(in crate::live) fn held_by(&self, lives: Vec<String>) {
        let lives = lives.into_iter().map(Box::from);
        self.state().holders = lives.collect();
    }

    /// Those who use it that are so.
    fn holders(&self, are: impl Fn(&str) -> bool) -> Vec<String> {
        let state = self.state();
        let holders = state.holders.iter().filter(|life| are(life));
        holders.map(|life| life.to_string()).collect()
    }

    /// Whether this replica uses it and does not say so, and whether it says so and has not for this long.
    fn is_used(&self, life: &str, ttl: Duration) -> (bool, bool) {
        let state = self.state();
        let is_held = state.holders.contains(life);
        let is_recent = !state.followers.is_empty() || state.used_at.elapsed() < ttl;
        (
            state.is_used && is_recent && !is_held,
            is_held && !is_recent,
        )
    }

    /// Ends it if no stream has used it for so long; whether it did.
    fn end_if_unused(&self, ttl: Duration) -> bool {
        let mut state = self.state();
        if state.is_over || !state.followers.is_empty() || state.used_at.elapsed() < ttl {
            return false;
        }
        state.is_over = true;
        unname(&state.members);
        true
    }
}
