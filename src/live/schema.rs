//! What a table's rows are made of: names, types, and which values a type takes.

use crate::event::Topic;

/// A table: a topic whose JSON objects are rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Its topic, and its name in SQL: `[A-Za-z_][A-Za-z0-9_]*`, at most 64 bytes.
    pub name: Topic,
    /// Its columns, as they were declared; `_tp_time` comes after them and is in every table.
    pub columns: Vec<Column>,
    /// How much of it is retained.
    pub retention: Retention,
}

/// The column that every table has: when the row came, in milliseconds since the Unix epoch, unless it says itself.
pub const TIME: &str = "_tp_time";

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, told apart without case, as SQL does.
    pub name: String,
    /// What its values are.
    pub kind: Type,
}

/// How many rows, for how long; whichever is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows.
    pub rows: u64,
    /// Milliseconds since a row came.
    pub age_ms: Option<u64>,
}

/// What a column's values are, as JSON says them and as SQLite holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `bool`: held as 0 or 1.
    Bool,
    /// `int8` to `int64` and `uint8` to `uint64`, by their bits; held as an integer of 64 bits with a sign.
    Int {
        /// 8, 16, 32 or 64.
        bits: u8,
        /// Whether it can be negative.
        signed: bool,
    },
    /// `float32` and `float64`: held as a double.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// `decimal(p, s)`.
    Decimal {
        /// Digits in all, at most 15.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `string`.
    String,
    /// `uuid`: held as text, in lower case.
    Uuid,
    /// `date`: held as text, `YYYY-MM-DD`.
    Date,
    /// `datetime` and `datetime64(p)`: held as milliseconds since the Unix epoch.
    DateTime {
        /// Digits of a second, at most 3.
        precision: u8,
    },
    /// `array(T)`: held as JSON text.
    Array(Box<Type>),
    /// `map(K, V)`: held as JSON text.
    Map(Box<Type>, Box<Type>),
    /// `nullable(T)`.
    Nullable(Box<Type>),
}
