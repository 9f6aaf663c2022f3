//! A reader that comes back: it resumes where it was, and says so.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::failure::{Failure, Fault};
use super::place::Place;
use super::reader::{Ask, Item, Reader};

/// The first pause after a loss, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A connection that lasts so long is one that was worth coming back for: the next pause is short again.
const STEADY: Duration = Duration::from_secs(5);

/// How long to go on trying.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the first connection.
    pub first: Duration,
    /// For one that was lost; `None` is for ever.
    pub again: Option<Duration>,
}

/// When to try again, and when to give up.
#[derive(Debug)]
pub(super) struct Tries {
    patience: Patience,
    /// Since when there is no connection.
    since: Instant,
    was_there: bool,
    /// Since when there is one.
    up: Option<Instant>,
    count: u32,
}

impl Tries {
    pub(super) fn new(patience: Patience) -> Tries {
        Tries {
            patience,
            since: Instant::now(),
            was_there: false,
            up: None,
            count: 0,
        }
    }

    /// All is well; whether it was not before.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_lost = self.count > 0 && self.up.is_none();
        self.was_there = true;
        self.up.get_or_insert_with(Instant::now);
        was_lost
    }

    /// After what pause to try again; or the failure itself, if that is of no use or has gone on for too long.
    /// The pauses double, and are random between a half and the whole, so that a crash does not bring all clients
    /// back at once; the server may ask for longer ones.
    pub(super) fn failed(&mut self, failure: Failure) -> Result<Duration, Failure> {
        let was_up = self.up.take();
        if was_up.is_some_and(|since| since.elapsed() >= STEADY) {
            self.count = 0;
        }
        if self.count == 0 || was_up.is_some() {
            self.since = Instant::now();
        }
        let longest = match self.was_there {
            true => self.patience.again,
            false => Some(self.patience.first),
        };
        let over = longest.is_some_and(|longest| self.since.elapsed() >= longest);
        if failure.is_lasting() || over {
            return Err(failure);
        }
        let (first, most) = PAUSES;
        let pause = first.saturating_mul(1 << self.count.min(10)).min(most);
        self.count += 1;
        let asked = failure.retry_after.unwrap_or_default().min(most);
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked);
        let left = longest.map(|longest| longest.saturating_sub(self.since.elapsed()));
        Ok(left.map_or(pause, |left| pause.min(left)))
    }
}

/// A reader on a place that outlives its connections.
pub struct Follower<S> {
    place: Place,
    ask: Ask,
    say: S,
    tries: Tries,
    reader: Option<Reader>,
}

impl<S: FnMut(&str)> Follower<S> {
    /// Nothing is connected yet. `say` is told, in words, when the connection is lost and when it is back.
    pub fn new(place: Place, ask: Ask, patience: Patience, say: S) -> Follower<S> {
        Follower {
            place,
            ask,
            say,
            tries: Tries::new(patience),
            reader: None,
        }
    }

    /// The next event or gap notice, across losses; `None` once there were as many events as asked for.
    ///
    /// # Errors
    /// A failure that another try does not mend, or that has gone on for too long.
    pub async fn next(&mut self) -> Result<Option<Item>, Failure> {
        loop {
            if self.ask.limit == Some(0) {
                return Ok(None);
            }
            let failure = match self.step().await {
                Ok(Some(item)) => return Ok(Some(item)),
                Ok(None) => continue,
                Err(failure) => failure,
            };
            let asked = self.reader.take().and_then(|reader| reader.retry());
            let words = failure.words.clone();
            let failure = Failure {
                retry_after: failure.retry_after.or(asked),
                ..failure
            };
            let pause = self.tries.failed(failure)?;
            (self.say)(&format!("{words}; again in {:.1} s", pause.as_secs_f64()));
            sleep(pause).await;
        }
    }

    /// One item of the stream, if it is for others.
    async fn step(&mut self) -> Result<Option<Item>, Failure> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.place, self.ask.clone()).await?),
        };
        match reader.next().await? {
            Item::Ready { cursor } => {
                if self.tries.succeeded() {
                    let from = &self.place.authority;
                    (self.say)(&format!("{from} is back; resumed after {cursor}"));
                }
                // What a gap notice skips is told again after a loss, since nothing says that it was heard.
                self.ask.after.get_or_insert(cursor);
                Ok(None)
            }
            Item::Event { id, json } => {
                if id.is_some() {
                    self.ask.after.clone_from(&id);
                }
                if let Some(left) = &mut self.ask.limit {
                    *left -= 1;
                }
                Ok(Some(Item::Event { id, json }))
            }
            Item::Gap { cursor, json } => {
                if cursor.is_some() {
                    self.ask.after.clone_from(&cursor);
                }
                Ok(Some(Item::Gap { cursor, json }))
            }
            Item::Alive => Ok(None),
            Item::Busy { retry, words } => Err(Failure {
                retry_after: retry,
                ..Failure::new(Fault::Busy, words)
            }),
            Item::End(words) => Err(Failure::new(Fault::Broken, words)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        first: Duration::ZERO,
        again: None,
    };

    fn broken() -> Failure {
        Failure::new(Fault::Broken, "gone")
    }

    #[test]
    fn the_first_connection_is_tried_once() {
        assert!(Tries::new(PATIENCE).failed(broken()).is_err());
    }

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew() {
        let mut tries = Tries::new(PATIENCE);
        assert!(!tries.succeeded());
        for n in 0..40 {
            let whole = PAUSES.0.saturating_mul(1 << n.min(10)).min(PAUSES.1);
            let pause = tries.failed(broken()).expect("for ever");
            assert!(pause >= whole / 2 && pause <= whole, "{n}: {pause:?}");
        }
        assert!(tries.succeeded());
        let pause = tries.failed(broken()).expect("for ever");
        assert!(
            pause >= PAUSES.1 / 2,
            "lost as soon as it was there: {pause:?}"
        );
        assert!(tries.succeeded() && !tries.succeeded());
        tries.up = Instant::now().checked_sub(STEADY);
        assert!(tries.failed(broken()).expect("for ever") <= PAUSES.0);
    }

    #[test]
    fn the_server_is_heard() {
        let mut tries = Tries::new(PATIENCE);
        tries.succeeded();
        let asked = Duration::from_secs(9);
        let failure = Failure {
            retry_after: Some(asked),
            ..broken()
        };
        assert_eq!(tries.failed(failure).expect("for ever"), asked);
    }

    #[test]
    fn what_lasts_is_not_tried_again() {
        for fault in [Fault::Untrusted, Fault::Protocol, Fault::Foreign] {
            let mut tries = Tries::new(PATIENCE);
            tries.succeeded();
            assert!(
                tries.failed(Failure::new(fault, "no")).is_err(),
                "{fault:?}"
            );
        }
    }
}
