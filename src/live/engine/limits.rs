//! What strangers can make the engine hold and do.

use std::time::Duration;

/// The bounds; each is a setting of its own.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Tables, those that are built in among them.
    pub tables: usize,
    /// Columns of a table.
    pub columns: usize,
    /// Rows retained of a table that says nothing of it, and the most that it may say.
    pub table_rows: u64,
    /// Bytes retained of a table, as they are held.
    pub table_bytes: u64,
    /// Bytes retained of all tables; the oldest go first.
    pub tables_bytes: u64,
    /// Bytes of a query.
    pub query_bytes: usize,
    /// How long one evaluation may take.
    pub query_time: Duration,
    /// Bytes that SQLite may take for everything; what is beyond the tables is for the query that runs.
    pub query_memory: u64,
    /// Bytes of groups that the queries of the dialect may hold all together; they are not SQLite's.
    pub states_bytes: usize,
    /// Groups of a query.
    pub groups: usize,
    /// Bytes that the groups of all queries may hold, as far as new rows keep them fresh.
    pub groups_bytes: usize,
    /// Bytes of a result.
    pub result_bytes: usize,
    /// Bytes of what a query of the dialect tells at once: all of it, if it is not told row by row.
    pub flow_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            tables: 100,
            columns: 100,
            table_rows: 1_000_000,
            table_bytes: 128 << 20,
            tables_bytes: 256 << 20,
            query_bytes: 16 << 10,
            query_time: Duration::from_secs(1),
            query_memory: 768 << 20,
            states_bytes: 192 << 20,
            groups: 100_000,
            groups_bytes: 256 << 20,
            result_bytes: 256 << 10,
            flow_bytes: 16 << 20,
        }
    }
}
