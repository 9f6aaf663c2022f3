//! How what is kept fresh by the new rows stands to the others: what a row costs it, and whether it is behind.

use std::time::Duration;

/// What is costly may be behind the others, which do not wait for it.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// What a row took, when it was run last.
    row: Option<Duration>,
    /// The first event that it has not had, while it is behind its table.
    pub(super) place: Option<u64>,
    /// Since when it is.
    pub(super) since: Duration,
}

impl Late {
    /// What so many rows will take; of what has never run it is not known.
    pub(super) fn cost(&self, rows: usize) -> Option<Duration> {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.row.map(|row| row.saturating_mul(rows))
    }

    /// How many rows it may be given for so much time.
    pub(super) fn rows_within(&self, time: Duration) -> Option<usize> {
        let row = self.row?.as_nanos().max(1);
        usize::try_from(time.as_nanos() / row).ok()
    }

    /// So many rows took so long.
    pub(super) fn ran(&mut self, rows: usize, took: Duration) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX).max(1);
        let row = took / rows;
        // The thread may have had to wait for a moment: that is not its cost.
        let most = self.row.map_or(row, |before| before * 2);
        self.row = Some(row.min(most).max(Duration::from_nanos(100)));
    }

    /// It has not had the events from this one on.
    pub(super) fn stay(&mut self, place: u64, now: Duration) {
        (self.place, self.since) = (Some(place), now);
    }

    /// It has had the events before this one, of which the table has had those before `end`.
    pub(super) fn go_on(&mut self, place: u64, end: u64) {
        self.place = (place < end).then_some(place);
    }
}
