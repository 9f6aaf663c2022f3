//! `quantile(value, share)` and `median(value)`: exact, between neighbours in proportion. All values of a group are kept
//! until its end, so such a query is run again over all rows.

use rusqlite::functions::{Aggregate, Context};
use rusqlite::{Connection, Error, Result, ffi};

use crate::live::sandbox::failure;
use crate::live::sandbox::functions::PURE;
use crate::live::sandbox::moments::number;

/// Values of one group: 64 MiB of them.
const MOST: usize = 8 << 20;

pub fn register(connection: &Connection) -> Result<()> {
    connection.create_aggregate_function("median", 1, PURE, Quantile)?;
    connection.create_aggregate_function("quantile", 2, PURE, Quantile)
}

struct Quantile;

struct Values {
    all: Vec<f64>,
    share: f64,
}

impl Aggregate<Values, Option<f64>> for Quantile {
    fn init(&self, context: &mut Context<'_>) -> Result<Values> {
        let share = match context.len() {
            1 => Some(0.5),
            _ => number(context.get_raw(1)),
        };
        let share = share
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| {
                Error::UserFunctionError("the share of quantile(value, share) is 0 to 1".into())
            })?;
        Ok(Values {
            all: Vec::new(),
            share,
        })
    }

    fn step(&self, context: &mut Context<'_>, values: &mut Values) -> Result<()> {
        if values.all.len() == MOST {
            return Err(failure(ffi::SQLITE_TOOBIG));
        }
        values.all.extend(number(context.get_raw(0)));
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, values: Option<Values>) -> Result<Option<f64>> {
        let Some(Values { mut all, share }) = values.filter(|v| !v.all.is_empty()) else {
            return Ok(None);
        };
        let place = share * (all.len() - 1) as f64;
        // Linear on average; a full sort is not.
        let (_, low, above) = all.select_nth_unstable_by(place as usize, f64::total_cmp);
        let next = above.iter().copied().min_by(f64::total_cmp).unwrap_or(*low);
        let part = place.fract();
        // Not by a difference alone: that of two infinities is no number.
        Ok(Some(if part == 0.0 {
            *low
        } else {
            *low * (1.0 - part) + next * part
        }))
    }
}
