//! What groups hold in memory, of all queries together: SQLite knows nothing of it, so it has a limit of its own.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is kept, or how much more than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Groups, and values that are kept to tell them apart.
    pub(super) cells: isize,
    /// Bytes, about, with what an allocation and a map take beside.
    pub(super) bytes: isize,
}

impl Size {
    /// Bytes, and nothing that is counted by itself.
    pub(super) fn of_bytes(bytes: usize) -> Size {
        Size {
            cells: 0,
            bytes: bytes as isize,
        }
    }

    /// One group or value that holds so many bytes.
    pub(super) fn of_cell(bytes: usize) -> Size {
        Size {
            cells: 1,
            bytes: bytes as isize,
        }
    }

    pub(super) fn bytes(self) -> usize {
        usize::try_from(self.bytes).unwrap_or_default()
    }
}

impl Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size {
            cells: self.cells + other.cells,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Sub for Size {
    type Output = Size;

    fn sub(self, other: Size) -> Size {
        Size {
            cells: self.cells - other.cells,
            bytes: self.bytes - other.bytes,
        }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        *self = *self + other;
    }
}

impl SubAssign for Size {
    fn sub_assign(&mut self, other: Size) {
        *self = *self - other;
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        sizes.fold(Size::default(), Size::add)
    }
}

/// A part of what all groups together may hold; given back with it.
#[derive(Debug)]
pub(super) struct Room {
    held: Arc<AtomicUsize>,
    most: usize,
    own: usize,
}

impl Room {
    /// `held` is what all of them hold, and `most` what they may.
    pub(super) fn new(held: &Arc<AtomicUsize>, most: usize) -> Room {
        Room {
            held: held.clone(),
            most,
            own: 0,
        }
    }

    /// Takes or gives back as much as makes it so many bytes. False when there are not so many left.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        if bytes > self.own {
            let more = bytes - self.own;
            let held = self.held.fetch_add(more, Ordering::Relaxed);
            if held.saturating_add(more) > self.most {
                self.held.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            self.held.fetch_sub(self.own - bytes, Ordering::Relaxed);
        }
        self.own = bytes;
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.own, Ordering::Relaxed);
    }
}
