//! How long what is done on the thread of all rows may take at once. What nobody knows yet is only tried at first: if that
//! was not enough, it is begun anew when it is its turn among what takes long, and may take more.

use std::time::Duration;

/// How long something may take at first.
pub(super) const TRIAL: Duration = Duration::from_millis(50);

/// How many times as long it may take each time that was not enough.
pub(super) const MORE: u32 = 5;

/// The time of what is done at once, and known by how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantum {
    next: Duration,
    most: Duration,
    is_large: bool,
}

impl Quantum {
    /// Of something that was never done, and may take so long at most.
    pub(super) fn new(most: Duration) -> Quantum {
        Quantum {
            next: trial(most).min(most),
            most,
            is_large: false,
        }
    }

    /// How long it may take now.
    pub(super) fn time(&self) -> Duration {
        self.next
    }

    /// Whether others go before it.
    pub(super) fn is_large(&self) -> bool {
        self.is_large
    }

    /// It is done, and took so long.
    pub(super) fn took(&mut self, took: Duration) {
        self.is_large = took > trial(self.most);
        // It may be given more rows until then, and has not to be tried anew for that.
        self.next = (took * MORE).max(trial(self.most)).min(self.most);
    }

    /// Its time was not enough. False when there is no more.
    pub(super) fn grow(&mut self) -> bool {
        let can_grow = self.next < self.most;
        self.is_large = true;
        self.next = (self.next * MORE).min(self.most);
        can_grow
    }
}

/// How long something may take at first that may take so long at most.
pub(super) fn trial(most: Duration) -> Duration {
    TRIAL.min(most / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_tried_before_it_has_all_its_time() {
        let ms = Duration::from_millis;
        let mut quantum = Quantum::new(ms(1_000));
        for (time, is_large, can_grow) in
            [(50, false, true), (250, true, true), (1_000, true, false)]
        {
            assert_eq!(quantum.time(), ms(time));
            assert_eq!(quantum.is_large(), is_large);
            assert_eq!(quantum.grow(), can_grow);
        }
        quantum.took(ms(100));
        assert_eq!((quantum.time(), quantum.is_large()), (ms(500), true));
        quantum.took(ms(2));
        assert_eq!((quantum.time(), quantum.is_large()), (ms(50), false));
        // What has little time is tried too.
        assert_eq!(Quantum::new(ms(20)).time(), ms(5));
    }
}
