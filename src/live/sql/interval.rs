//! `interval '60' second`, `interval 1 minute` and `interval '1 hour'`, in milliseconds.

use sqlparser::ast::{DateTimeField, Expr, Interval, Value};
use sqlparser::tokenizer::Location;

use crate::live::sql::parse::refuse;
use crate::problem::Problem;

/// How many milliseconds it is.
///
/// # Errors
/// 400 when it is not a whole number of a unit of fixed length.
pub fn millis(interval: &Interval, at: Location) -> Result<i64, Problem> {
    let words = match &*interval.value {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits.as_str()),
            Value::SingleQuotedString(text) => Some(text.trim()),
            _ => None,
        },
        _ => None,
    };
    words
        .and_then(|words| {
            let (number, unit) = match (&interval.leading_field, &interval.last_field) {
                (Some(field), None) => (words, of_field(field)?),
                (None, None) => {
                    let (number, word) = words.split_at(words.find(|c: char| !c.is_ascii_digit())?);
                    (number, of_word(word.trim())?)
                }
                _ => return None,
            };
            number.parse::<i64>().ok()?.checked_mul(unit)
        })
        .ok_or_else(|| {
            refuse(
                at,
                "an interval is a whole number of milliseconds, seconds, minutes, hours, days or weeks: interval '5' minute",
            )
        })
}

/// In the largest unit of which it is a whole number.
pub fn said(millis: i64) -> String {
    let units = [
        (86_400_000, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1_000, "second"),
    ];
    let unit = units
        .into_iter()
        .find(|(unit, _)| millis % unit == 0 && millis != 0);
    let (unit, name) = unit.unwrap_or((1, "millisecond"));
    format!("interval {} {name}", millis / unit)
}

fn of_field(field: &DateTimeField) -> Option<i64> {
    of_word(&field.to_string())
}

fn of_word(word: &str) -> Option<i64> {
    Some(match word.to_ascii_lowercase().as_str() {
        "millisecond" | "milliseconds" | "ms" => 1,
        "second" | "seconds" | "s" => 1_000,
        "minute" | "minutes" | "m" => 60_000,
        "hour" | "hours" | "h" => 3_600_000,
        "day" | "days" | "d" => 86_400_000,
        "week" | "weeks" | "w" => 7 * 86_400_000,
        _ => return None,
    })
}
