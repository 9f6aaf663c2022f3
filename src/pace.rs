//! How long to wait before a broker is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Twice as long each time, and never quite the same for two who lost the same broker.
#[derive(Default)]
pub struct Pace {
    tries: u32,
}

impl Pace {
    /// How long to wait before the next try.
    pub fn wait(&mut self) -> Duration {
        let longest = (FIRST * 2u32.saturating_pow(self.tries)).min(LONGEST);
        self.tries = (self.tries + 1).min(16);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// It has gone well: the next wait is the shortest again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}
