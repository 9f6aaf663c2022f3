//! CLOCK_MONOTONIC in nanoseconds.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A second.
pub const SECOND: u64 = 1_000_000_000;

/// The time.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * SECOND + now.tv_nsec as u64
}

/// A while, as the kernel wants it.
pub fn timespec(nanoseconds: u64) -> Timespec {
    Timespec {
        tv_sec: (nanoseconds / SECOND) as i64,
        tv_nsec: (nanoseconds % SECOND) as i64,
    }
}
