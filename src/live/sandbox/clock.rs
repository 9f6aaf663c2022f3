//! What time is taken by in a sandbox: the machine's, or, for a test that must come out the same on a busy one, the work
//! that SQLite has done.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many steps of SQLite's machine lie between two looks at the clock: about two microseconds of work.
pub(super) const STEPS: i32 = 100;

/// Tells the time.
#[derive(Debug)]
pub(super) enum Clock {
    /// By the machine, since then.
    Machine(Instant),
    /// By the looks: it stands still while nothing is computed.
    #[cfg(test)]
    Work(AtomicU64),
}

impl Clock {
    /// Of the machine, from now on.
    pub(super) fn start() -> Clock {
        Clock::Machine(Instant::now())
    }

    /// What it is now.
    pub(super) fn now(&self) -> Duration {
        match self {
            Clock::Machine(began) => began.elapsed(),
            #[cfg(test)]
            Clock::Work(looks) => Duration::from_micros(2 * looks.load(Ordering::Relaxed)),
        }
    }

    /// So many [`STEPS`] were done.
    pub(super) fn stepped(&self) {
        #[cfg(test)]
        if let Clock::Work(looks) = self {
            looks.fetch_add(1, Ordering::Relaxed);
        }
    }
}
