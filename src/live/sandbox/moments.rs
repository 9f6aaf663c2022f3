//! Variance and standard deviation: the state of one, which can be added to and merged, and the aggregates of SQL that
//! are made of it.

use rusqlite::functions::{Aggregate, Context};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use crate::live::sandbox::functions::PURE;
use crate::live::sql::Function;

/// Count, mean and sum of squared differences from the mean (Welford): no loss of digits when the mean is large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Takes one more value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Takes all values of another (Chan, Golub and LeVeque).
    pub fn merge(&mut self, other: &Moments) {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = *other;
            }
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.count += other.count;
        self.mean += apart * b / (a + b);
        self.squares += other.squares + apart * apart * a * b / (a + b);
    }

    /// What one of the four functions of it makes of it; NULL of too few.
    pub fn finish(&self, function: Function) -> Option<f64> {
        let freedom = match function {
            Function::VarPop | Function::StddevPop => self.count,
            _ => self.count.saturating_sub(1),
        };
        if freedom == 0 {
            return None;
        }
        let variance = self.squares / freedom as f64;
        let value = match function {
            Function::StddevPop | Function::StddevSamp => variance.sqrt(),
            _ => variance,
        };
        (!value.is_nan()).then_some(value)
    }
}

/// A value as the aggregates of numbers take it: NULL is left out, text is what number it begins with, as for `sum`.
pub fn number(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n as f64),
        ValueRef::Real(x) => Some(x),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(leading(text)),
    }
}

/// The number that a text begins with, or 0.
fn leading(text: &[u8]) -> f64 {
    let text = text.trim_ascii_start();
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let digits = |from: usize| {
        text[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut end = sign + digits(sign);
    if text.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let from = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let more = if from <= text.len() { digits(from) } else { 0 };
        if more > 0 {
            end = from + more;
        }
    }
    let number = std::str::from_utf8(&text[..end]).unwrap_or_default();
    number.parse().unwrap_or(0.0)
}

pub(super) fn register(connection: &Connection) -> Result<()> {
    for (name, function) in [
        ("stddev", Function::StddevSamp),
        ("stddev_samp", Function::StddevSamp),
        ("stddev_pop", Function::StddevPop),
        ("variance", Function::VarSamp),
        ("var_samp", Function::VarSamp),
        ("var_pop", Function::VarPop),
    ] {
        connection.create_aggregate_function(name, 1, PURE, Spread(function))?;
    }
    Ok(())
}

struct Spread(Function);

impl Aggregate<Moments, Option<f64>> for Spread {
    fn init(&self, _: &mut Context<'_>) -> Result<Moments> {
        Ok(Moments::default())
    }

    fn step(&self, context: &mut Context<'_>, moments: &mut Moments) -> Result<()> {
        if let Some(value) = number(context.get_raw(0)) {
            moments.add(value);
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, moments: Option<Moments>) -> Result<Option<f64>> {
        Ok(moments.and_then(|m| m.finish(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole() {
        let values = [1e9, 1e9 + 1.0, 1e9 + 2.0, 1e9 + 4.0];
        let of = |part: &[f64]| {
            let mut moments = Moments::default();
            part.iter().for_each(|v| moments.add(*v));
            moments
        };
        for at in 0..=values.len() {
            let mut merged = of(&values[..at]);
            merged.merge(&of(&values[at..]));
            let variance = merged.finish(Function::VarPop).unwrap();
            assert!((variance - 2.1875).abs() < 1e-6, "{at}: {variance}");
        }
        assert_eq!(of(&[3.0]).finish(Function::StddevSamp), None);
        assert_eq!(of(&[3.0]).finish(Function::StddevPop), Some(0.0));
        assert_eq!(of(&[]).finish(Function::VarPop), None);
    }

    #[test]
    fn text_counts_as_the_number_it_begins_with() {
        for (text, value) in [
            ("12", 12.0),
            (" -1.5e2x", -150.0),
            ("1e", 1.0),
            ("1e+", 1.0),
            (".5", 0.5),
            ("x", 0.0),
            ("", 0.0),
            ("-", 0.0),
        ] {
            assert_eq!(leading(text.as_bytes()), value, "{text:?}");
        }
    }
}
