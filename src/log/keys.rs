//! Idempotency keys: what a publisher's first try has done, so that its second does nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;

use super::Appended;
use crate::event::Topic;
use crate::problem::Problem;

type Key = (Topic, Box<str>);

/// The keys of the last minutes, bounded in number.
pub(super) struct Keys {
    limit: usize,
    keep_ms: u64,
    done: HashMap<Key, Appended>,
    by_age: VecDeque<(u64, Key)>,
}

impl Keys {
    pub(super) fn new(limit: usize, keep: Duration) -> Keys {
        Keys {
            limit,
            keep_ms: keep.as_millis() as u64,
            done: HashMap::new(),
            by_age: VecDeque::new(),
        }
    }

    /// What the key has done, if it was used.
    ///
    /// # Errors
    /// 429 when the key is new and could not be remembered: to forget another one early would break its promise.
    pub(super) fn find(
        &mut self,
        topic: &Topic,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<Appended>, Problem> {
        while let Some((at, _)) = self.by_age.front()
            && at.saturating_add(self.keep_ms) <= now_ms
        {
            if let Some((_, old)) = self.by_age.pop_front() {
                self.done.remove(&old);
            }
        }
        let found = self.done.get(&(topic.clone(), key.into())).copied();
        if found.is_none() && self.done.len() >= self.limit {
            let detail = format!(
                "{} idempotency keys are remembered, which is the limit (idempotency-keys); retry later",
                self.limit
            );
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-keys", detail);
            return Err(problem.with(RETRY_AFTER, "60"));
        }
        Ok(found)
    }

    pub(super) fn keep(&mut self, topic: Topic, key: &str, now_ms: u64, done: Appended) {
        let key: Key = (topic, key.into());
        self.done.insert(key.clone(), done);
        self.by_age.push_back((now_ms, key));
    }
}
