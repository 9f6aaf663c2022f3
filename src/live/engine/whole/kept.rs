//! A table with all the rows that it retains: they come from its topic, and are let go again in blocks.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::live::engine::fill::Span;
use crate::live::engine::table::{BLOCKS, Batch, Block, Feed, Row, Which};
use crate::live::engine::{Counters, Limits};
use crate::live::sandbox::Sandbox;

/// Rows beyond what a table retains that are kept while queries of the dialect are about to read them.
const SPARED: u64 = 100_000;

/// A table with its rows.
pub(super) struct Kept {
    pub(super) feed: Feed,
    pub(super) batch: Batch,
    pub(super) blocks: VecDeque<KeptBlock>,
    /// Bytes of a block, from which on it is let go in parts.
    pub(super) part_bytes: u64,
    /// The first row that queries of the dialect are about to read.
    pub(super) wanted: Option<u64>,
}

pub(super) struct KeptBlock {
    block: Block,
    /// The numbers of the first event, and the one after the last.
    first: u64,
    end: u64,
    pub(super) newest_ms: u64,
    /// The greatest `_tp_time`, which rows may bring with them.
    latest: i64,
    rows: u64,
    bytes: u64,
}

impl Kept {
    pub(super) fn new(feed: Feed, limits: &Limits) -> Kept {
        Kept {
            part_bytes: limits.table_bytes / BLOCKS,
            batch: Batch::new(&feed.shared.schema),
            wanted: None,
            feed,
            blocks: VecDeque::new(),
        }
    }

    /// Takes some events; all that are rows, or none when there is no memory for them. Whether there were any.
    pub(super) fn pull(
        &mut self,
        sandbox: &Sandbox,
        most: usize,
        counters: &Counters,
    ) -> rusqlite::Result<bool> {
        self.batch.make(sandbox)?;
        if !self.feed.has_news() {
            return Ok(false);
        }
        let pulled = self.feed.read(self.feed.place, u64::MAX, most);
        if !pulled.rows.is_empty() {
            self.batch.add(sandbox, &pulled.rows)?;
        }
        let shared = &self.feed.shared;
        let add = |counter: &std::sync::atomic::AtomicU64, number: u64| {
            counter.fetch_add(number, Ordering::Relaxed);
        };
        add(&shared.missed, pulled.missed);
        add(&shared.refused, pulled.refused);
        add(&counters.rows, pulled.rows.len() as u64);
        if !pulled.rows.is_empty() {
            add(&shared.version, 1);
        }
        for row in &pulled.rows {
            self.note(row);
        }
        self.feed.place = pulled.end;
        self.feed.shared.has_taken(Which::Whole, Some(pulled.end));
        Ok(true)
    }

    fn note(&mut self, row: &Row) {
        let bytes = row.bytes();
        let is_full = |b: &KeptBlock| b.block != row.block || b.bytes >= self.part_bytes;
        if self.blocks.back().is_none_or(is_full) {
            self.blocks.push_back(KeptBlock {
                block: row.block,
                first: row.number,
                end: row.number,
                newest_ms: row.came_ms,
                latest: i64::MIN,
                rows: 0,
                bytes: 0,
            });
        }
        let block = self.blocks.back_mut().expect("one was added");
        block.end = row.number + 1;
        block.newest_ms = row.came_ms;
        block.latest = block.latest.max(row.time());
        block.rows += 1;
        block.bytes += bytes;
        self.feed.shared.rows.fetch_add(1, Ordering::Relaxed);
        self.feed.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Lets go what is too much or too old.
    pub(super) fn retain(&mut self, sandbox: &Sandbox, now_ms: u64, limits: &Limits) {
        let retention = self.feed.shared.schema.retention;
        let is_old = |block: &KeptBlock| {
            let age = retention.age_ms;
            age.is_some_and(|age| block.newest_ms < now_ms.saturating_sub(age))
        };
        let is_over = |kept: &Kept| {
            kept.feed.shared.rows.load(Ordering::Relaxed) > retention.rows
                || kept.feed.shared.bytes.load(Ordering::Relaxed) > limits.table_bytes
        };
        // They are on their way to somebody, for a moment.
        let is_wanted = |kept: &Kept, oldest: &KeptBlock| {
            let shared = &kept.feed.shared;
            kept.wanted.is_some_and(|wanted| wanted < oldest.end)
                && shared.rows.load(Ordering::Relaxed) <= retention.rows + SPARED
                && shared.bytes.load(Ordering::Relaxed) <= limits.table_bytes
        };
        while let Some(oldest) = self.blocks.front()
            && (is_old(oldest) || is_over(self))
            && !is_wanted(self, oldest)
            && self.drop_block(sandbox)
        {}
    }

    /// Lets the oldest block go. False when SQLite has no memory even for that.
    pub(super) fn drop_block(&mut self, sandbox: &Sandbox) -> bool {
        let Some(block) = self.blocks.front() else {
            return false;
        };
        let shared = &self.feed.shared;
        let sql = format!("DELETE FROM \"{}\" WHERE rowid < ?", shared.schema.name);
        let done = sandbox
            .connection()
            .prepare_cached(&sql)
            .and_then(|mut delete| delete.execute([i64::try_from(block.end).unwrap_or(i64::MAX)]));
        if let Err(error) = done {
            tracing::warn!("table {}: old rows stay: {error}", shared.schema.name);
            return false;
        }
        shared.rows.fetch_sub(block.rows, Ordering::Relaxed);
        shared.bytes.fetch_sub(block.bytes, Ordering::Relaxed);
        shared.first.store(block.end, Ordering::Release);
        shared.version.fetch_add(1, Ordering::Relaxed);
        self.blocks.pop_front();
        true
    }

    /// Bytes that rows with these numbers hold; of a part of a block, as many as that is of its numbers.
    pub(super) fn bytes_of(&self, numbers: Range<u64>) -> u64 {
        let before = self
            .blocks
            .partition_point(|block| block.end <= numbers.start);
        let blocks = self.blocks.iter().skip(before);
        let blocks = blocks.take_while(|block| block.first < numbers.end);
        let part = |block: &KeptBlock| {
            let part = numbers.end.min(block.end) - numbers.start.max(block.first);
            u128::from(block.bytes) * u128::from(part) / u128::from(block.end - block.first)
        };
        blocks.map(part).sum::<u128>() as u64
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let spans = self.blocks.iter().map(|b| Span {
            block: b.block,
            numbers: b.first..b.end,
            latest: b.latest,
        });
        spans.collect()
    }
}
