//! A table as the threads share it, and the way of its rows from the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::Table;
use crate::event::{Event, EventId, Topic};
use crate::live::sandbox::Sandbox;
use crate::live::schema::Schema;
use crate::log::{Log, Scan};

/// Rows of a block at most: what is over its bytes is let go in blocks too.
const MOST_ROWS: u64 = 4_096;

/// Bytes of events that are made rows at once.
const BATCH_BYTES: usize = 4 << 20;

/// From so many queries on that compare a column, it has an index.
const MANY_QUERIES: usize = 16;

/// Into how many blocks the rows, the time, and the bytes of what is retained are divided at least.
pub(super) const BLOCKS: u64 = 64;

/// What is known of a table on all threads.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) schema: Arc<Schema>,
    scan: Scan,
    /// Up to which event each thread has taken them, if it wants them.
    taken: [AtomicU64; 2],
    /// What else must not be let go: the events from these on are wanted, each by so many.
    held: Mutex<BTreeMap<u64, usize>>,
    /// Events and milliseconds of a block.
    block: (u64, Option<u64>),
    /// The number of the first event that could be a row when the table was declared.
    begin: u64,
    /// The place that this is after.
    since: EventId,
    /// The number of the first event that is retained as a row.
    pub(super) first: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) missed: AtomicU64,
    /// Counts the changes of what is retained.
    pub(super) version: AtomicU64,
}

/// Who takes rows from the log.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Whole,
    Fresh,
}

/// Rows are retained and let go in blocks, so that what is kept of a block can be let go with it. Which one an event
/// belongs to is told by its number and its time alone, so that all threads say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block(u64, u64);

impl Shared {
    /// Events up to `since` are of a table that was dropped.
    pub(super) fn new(schema: Arc<Schema>, log: &Arc<Log>, since: EventId) -> Shared {
        let retention = schema.retention;
        let scan = log.scan(&schema.name);
        let begin = scan.number_after(since);
        Shared {
            // The thread of all rows will want them, whenever it begins.
            taken: [AtomicU64::new(begin), AtomicU64::new(u64::MAX)],
            begin,
            since,
            held: Mutex::default(),
            scan,
            block: (
                (retention.rows / BLOCKS).clamp(1, MOST_ROWS),
                retention.age_ms.map(|ms| (ms / BLOCKS).max(1)),
            ),
            schema,
            first: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            version: AtomicU64::new(0),
        }
    }

    /// The number that the next event will have.
    pub(super) fn end(&self) -> u64 {
        self.scan.end()
    }

    pub(super) fn table(&self) -> Table {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Table {
            schema: self.schema.clone(),
            since: self.since,
            rows: read(&self.rows),
            bytes: read(&self.bytes),
            refused: read(&self.refused),
            missed: read(&self.missed),
        }
    }

    /// Notes up to which event a thread has taken them; none when it does not want them.
    pub(super) fn has_taken(&self, which: Which, place: Option<u64>) {
        self.taken[which as usize].store(place.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many events have not been taken yet, and about how many bytes.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let taken = self.taken.iter().map(|place| place.load(Ordering::Relaxed));
        let held = self.held().first_key_value().map(|(place, _)| *place);
        self.scan.after(taken.chain(held).min().unwrap_or(u64::MAX))
    }

    /// Keeps publishers from having the log let go the events from this one on.
    pub(super) fn hold(self: &Arc<Shared>, place: u64) -> Held {
        *self.held().entry(place).or_default() += 1;
        Held {
            shared: self.clone(),
            place,
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn block(&self, number: u64, came_ms: u64) -> Block {
        Block(
            number / self.block.0,
            self.block.1.map_or(0, |ms| came_ms / ms),
        )
    }
}

/// A place from which on the events are wanted, for as long as it lives.
#[derive(Debug)]
pub(super) struct Held {
    shared: Arc<Shared>,
    pub(super) place: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.shared.held();
        if let Some(count) = held.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.place);
            }
        }
    }
}

/// An event that is a row.
#[derive(Debug)]
pub(super) struct Row {
    /// The event's number in its topic.
    pub(super) number: u64,
    /// When it came.
    pub(super) came_ms: u64,
    pub(super) block: Block,
    pub(super) values: Vec<Value>,
}

impl Row {
    /// Its `_tp_time`.
    pub(super) fn time(&self) -> i64 {
        match self.values.last() {
            Some(Value::Integer(ms)) => *ms,
            _ => i64::MAX,
        }
    }

    /// Bytes that SQLite holds of it, about.
    pub(super) fn bytes(&self) -> u64 {
        let value = |value: &Value| match value {
            Value::Null => 1,
            Value::Integer(_) => 7,
            Value::Real(_) => 9,
            Value::Text(text) => text.len() + 2,
            Value::Blob(bytes) => bytes.len() + 2,
        };
        (self.values.iter().map(value).sum::<usize>() + 10) as u64
    }
}

/// Rows of a table in SQLite, added by their numbers, a batch at a time.
#[derive(Debug)]
pub(super) struct Batch {
    name: Topic,
    /// For each column, how many queries compare it with a constant, and whether it has an index.
    columns: Vec<(String, usize, bool)>,
    ddl: String,
    insert: String,
    /// Whether SQLite has the table.
    is_made: bool,
    is_empty: bool,
}

impl Batch {
    pub(super) fn new(schema: &Schema) -> Batch {
        let names = schema.all_columns().map(|(name, _)| format!("\"{name}\""));
        let names: Vec<String> = names.collect();
        Batch {
            name: schema.name.clone(),
            columns: names.iter().map(|name| (name.clone(), 0, false)).collect(),
            ddl: schema.ddl(),
            insert: format!(
                "INSERT INTO \"{}\" (rowid, {}) VALUES (?{})",
                schema.name,
                names.join(", "),
                ", ?".repeat(names.len())
            ),
            is_made: false,
            is_empty: true,
        }
    }

    /// Has SQLite make the table, if it has not.
    pub(super) fn make(&mut self, sandbox: &Sandbox) -> rusqlite::Result<()> {
        if !self.is_made {
            sandbox.connection().execute_batch(&self.ddl)?;
            sandbox.permit(self.name.as_str());
            self.is_made = true;
            self.index(sandbox);
        }
        Ok(())
    }

    /// Counts the queries that pick rows by the value of one column: with many of them, an index is cheaper than to
    /// look at each row for each query. Of a range with two ends this is so for few rows; in many it may hold most of
    /// them, and then the index costs more than it spares. It is told from the text, where a mistake costs time and
    /// nothing else.
    pub(super) fn compared(&mut self, sandbox: &Sandbox, text: &str, by: isize, are_few: bool) {
        for (name, queries, _) in &mut self.columns {
            let compares = |by: &str| text.contains(&format!("{name} {by} "));
            let is_one = compares("=") || compares("is");
            let is_above = || compares(">") || compares(">=");
            let is_below = || compares("<") || compares("<=");
            let is_within = || compares("between") || (is_above() && is_below());
            if is_one || (are_few && is_within()) {
                *queries = queries.saturating_add_signed(by);
            }
        }
        if self.is_made {
            self.index(sandbox);
        }
    }

    /// As if nobody compared anything any more.
    pub(super) fn compared_no_more(&mut self, sandbox: &Sandbox) {
        self.columns.iter_mut().for_each(|column| column.1 = 0);
        self.index(sandbox);
    }

    /// How many columns have an index.
    #[cfg(test)]
    pub(super) fn indexes(&self) -> usize {
        self.columns.iter().filter(|column| column.2).count()
    }

    /// Has SQLite make the indexes that are wanted, and no others.
    fn index(&mut self, sandbox: &Sandbox) {
        for (name, queries, has_index) in &mut self.columns {
            let index = format!("\"{}${}\"", self.name, name.trim_matches('"'));
            let (wanted, ddl) = match *has_index {
                false if *queries >= MANY_QUERIES => (
                    true,
                    format!("CREATE INDEX {index} ON \"{}\" ({name})", self.name),
                ),
                true if *queries == 0 => (false, format!("DROP INDEX {index}")),
                _ => continue,
            };
            match sandbox.connection().execute_batch(&ddl) {
                Ok(()) => *has_index = wanted,
                // Not again for each of those that want it.
                Err(error) => {
                    *queries = 0;
                    tracing::warn!("index {index}: {error}");
                }
            }
        }
    }

    /// Adds all rows to the table, or none.
    pub(super) fn add(&mut self, sandbox: &Sandbox, rows: &[Row]) -> rusqlite::Result<()> {
        self.make(sandbox)?;
        let all = sandbox.connection().unchecked_transaction()?;
        let mut insert = all.prepare_cached(&self.insert)?;
        for row in rows {
            let number = Value::Integer(i64::try_from(row.number).unwrap_or(i64::MAX));
            insert.execute(params_from_iter([&number].into_iter().chain(&row.values)))?;
        }
        drop(insert);
        all.commit()?;
        self.is_empty = false;
        Ok(())
    }

    /// Has these rows in the table and no others.
    pub(super) fn load(&mut self, sandbox: &Sandbox, rows: &[Row]) -> rusqlite::Result<()> {
        self.clear(sandbox);
        self.add(sandbox, rows)
    }

    /// Empties the table.
    pub(super) fn clear(&mut self, sandbox: &Sandbox) {
        if self.is_empty {
            return;
        }
        let sql = format!("DELETE FROM \"{}\"", self.name);
        let delete = sandbox.connection().prepare_cached(&sql);
        match delete.and_then(|mut delete| delete.execute([])) {
            Ok(_) => self.is_empty = true,
            Err(error) => tracing::error!("table {} cannot be emptied: {error}", self.name),
        }
    }

    /// Takes the table away.
    pub(super) fn drop_table(&self, sandbox: &Sandbox) {
        sandbox.forbid(self.name.as_str());
        let ddl = format!("DROP TABLE IF EXISTS \"{}\"", self.name);
        if let Err(error) = sandbox.connection().execute_batch(&ddl) {
            tracing::error!("table {} cannot be dropped: {error}", self.name);
        }
    }
}

/// The rows of one table in the log.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) shared: Arc<Shared>,
    /// The number of the next event.
    pub(super) place: u64,
}

/// What has come of some events.
#[derive(Debug, Default)]
pub(super) struct Pulled {
    pub(super) rows: Vec<Row>,
    /// The number after the last event.
    pub(super) end: u64,
    pub(super) missed: u64,
    pub(super) refused: u64,
}

impl Pulled {
    /// The blocks that the rows belong to, with the numbers in each.
    pub(super) fn blocks(&self) -> Vec<(Block, Range<u64>)> {
        let blocks = self.rows.chunk_by(|a, b| a.block == b.block);
        let numbers = blocks.filter_map(|rows| {
            let (first, last) = (rows.first()?, rows.last()?);
            Some((first.block, first.number..last.number + 1))
        });
        numbers.collect()
    }
}

impl Feed {
    /// From the oldest event that the log retains and that may be a row.
    pub(super) fn new(shared: &Arc<Shared>) -> Feed {
        Feed {
            place: shared.begin.max(shared.scan.first()),
            shared: shared.clone(),
        }
    }

    /// The number that the next event will have.
    pub(super) fn end(&self) -> u64 {
        self.shared.end()
    }

    pub(super) fn has_news(&self) -> bool {
        self.end() > self.place
    }

    /// The rows among some events: at most so many events, in `from..end`, and not many more bytes than a batch has.
    pub(super) fn read(&self, from: u64, end: u64, most: usize) -> Pulled {
        let room = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        let batch = self.shared.scan.take(from, most.min(room));
        // What was asked for may be gone in part, or all of it.
        let first = batch.first.min(end);
        let mut pulled = Pulled {
            end: first,
            missed: first - from,
            ..Pulled::default()
        };
        let mut bytes = 0;
        for (number, event) in (first..end).zip(&batch.events) {
            match self.row(number, event) {
                Some(row) => pulled.rows.push(row),
                None => pulled.refused += 1,
            }
            pulled.end = number + 1;
            bytes += event.draft.payload.bytes().len();
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        pulled
    }

    fn row(&self, number: u64, event: &Event) -> Option<Row> {
        let (id, payload) = (event.id, &event.draft.payload);
        // What is no row was told so when it was published, or is an event and no row on purpose.
        let values = payload
            .is_json()
            .then(|| self.shared.schema.row(payload.bytes(), id.ms).ok())
            .flatten()
            .flatten()?;
        Some(Row {
            number,
            came_ms: id.ms,
            block: self.shared.block(number, id.ms),
            values,
        })
    }
}
