//! `earliest(value, place)` and `latest(value, place)`: the value of the row with the least or the greatest place; NULL
//! is left out.

use rusqlite::functions::{Aggregate, Context};
use rusqlite::types::Value;
use rusqlite::{Connection, Result};

use crate::live::sandbox::functions::PURE;

pub fn register(connection: &Connection) -> Result<()> {
    connection.create_aggregate_function("earliest", 2, PURE, Edge { is_last: false })?;
    connection.create_aggregate_function("latest", 2, PURE, Edge { is_last: true })
}

struct Edge {
    is_last: bool,
}

impl Aggregate<Option<(i64, Value)>, Value> for Edge {
    fn init(&self, _: &mut Context<'_>) -> Result<Option<(i64, Value)>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, kept: &mut Option<(i64, Value)>) -> Result<()> {
        let (value, place) = (context.get::<Value>(0)?, context.get::<i64>(1)?);
        let is_beyond = |kept: &(i64, Value)| match self.is_last {
            true => place >= kept.0,
            false => place < kept.0,
        };
        if value != Value::Null && kept.as_ref().is_none_or(is_beyond) {
            *kept = Some((place, value));
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, kept: Option<Option<(i64, Value)>>) -> Result<Value> {
        Ok(kept.flatten().map_or(Value::Null, |(_, value)| value))
    }
}
