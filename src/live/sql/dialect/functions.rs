//! Functions that only the dialect has, written for SQLite.

use sqlparser::ast::{Expr, Function, Spanned};

use crate::live::sql::function::Call;
use crate::live::sql::names::quoted;
use crate::live::sql::parse::refuse;
use crate::live::sql::print::{Level, Piece, Printer, Written};

/// Counts the results that have been told.
pub const VERSION: &str = ":version";

/// Writes a time as functions of time read it.
pub const TIME_TEXT: &str = "time_text";

/// What `to_…` makes of a value, by how its name goes on, and what SQLite calls that.
const CASTS: [(&str, &str); 4] = [
    ("int", "integer"),
    ("uint", "integer"),
    ("float", "real"),
    ("string", "text"),
];

/// Parts of a time that `to_start_of_…` cuts to, in milliseconds.
const STARTS: [(&str, i64); 4] = [
    ("second", 1_000),
    ("minute", 60_000),
    ("hour", 3_600_000),
    ("day", 86_400_000),
];

const OTHERS: [&str; 8] = [
    TIME_TEXT,
    "now64",
    "emit_version",
    "json_text",
    "earliest",
    "latest",
    "int_div",
    "is_null",
];

/// Whether it is one of them; `name` is in lower case.
pub fn is_of_dialect(name: &str) -> bool {
    OTHERS.contains(&name) || cast(name).is_some() || start_of(name).is_some()
}

/// What `to_int32` and the like make of a value.
pub fn cast(name: &str) -> Option<&'static str> {
    let kind = name.strip_prefix("to_")?;
    let word = kind.trim_end_matches(|c: char| c.is_ascii_digit());
    let found = CASTS.iter().find(|(name, _)| *name == word);
    found.map(|(_, held_as)| *held_as)
}

/// The bits of a whole number of fewer than are held, negative with a sign.
fn width(name: &str) -> Option<i64> {
    let name = name.strip_prefix("to_")?;
    let (sign, bits) = match name.strip_prefix("uint") {
        Some(bits) => (1, bits),
        None => (-1, name.strip_prefix("int")?),
    };
    let bits = bits.parse().ok().filter(|bits| *bits < 64);
    bits.map(|bits: i64| sign * bits)
}

fn start_of(name: &str) -> Option<i64> {
    let unit = name.strip_prefix("to_start_of_")?;
    STARTS
        .iter()
        .find(|(own, _)| *own == unit)
        .map(|(_, ms)| *ms)
}

impl Printer<'_> {
    /// A call of one of them.
    pub fn of_dialect(&self, function: &Function, call: &Call<'_>) -> Written {
        let at = function.name.span().start;
        let name = call.name.as_str();
        if self.naming {
            let list = self.arguments(call)?;
            return Ok(Piece::atom(match name {
                // It stands for the column's name, a colon and the key.
                "json_text" => list.replacen(", '$.", ":", 1).replace(['"', '\''], ""),
                TIME_TEXT => list,
                _ => format!("{name}({list})"),
            }));
        }
        if call.over.is_some() || call.filter.is_some() || call.distinct || call.star {
            return Err(refuse(
                at,
                format!("{name} takes no OVER, FILTER, DISTINCT or *"),
            ));
        }
        let takes = |what: &str| refuse(at, format!("{name} takes {what}"));
        let one = |what: &str| match call.arguments.as_slice() {
            [one] => Ok(*one),
            _ => Err(takes(what)),
        };
        Ok(match name {
            // Digits of a second: times have three.
            "now64" if call.arguments.len() <= 1 => {
                self.seen.now.set(true);
                Piece::atom(self.now.get())
            }
            "emit_version" if call.arguments.is_empty() => Piece::atom(VERSION),
            "json_text" => {
                let [of, path] = call.arguments.as_slice() else {
                    return Err(takes("a text and a path"));
                };
                let (of, path) = (self.text(of)?, self.text(path)?);
                Piece::atom(format!("json_text({of}, {path})"))
            }
            TIME_TEXT => Piece::atom(format!("{TIME_TEXT}({})", self.text(one("a time")?)?)),
            "earliest" | "latest" => {
                self.seen.aggregate.set(true);
                let of = self.text(one("one value")?)?;
                let Some(source) = self.source else {
                    let why =
                        format!("{name} is of one stream, and not of a join or a nested query");
                    return Err(refuse(at, why));
                };
                let table = quoted(source.schema.name.as_str());
                Piece::atom(format!("{name}({of}, {table}._rowid_)"))
            }
            "int_div" => {
                let [left, right] = call.arguments.as_slice() else {
                    return Err(takes("two numbers"));
                };
                let whole = |of: &Expr| Ok(format!("cast({} as integer)", self.text(of)?));
                let text = format!("{} / {}", whole(left)?, whole(right)?);
                Piece::new(text, Level::Product)
            }
            "is_null" => {
                let of = self.held(one("one value")?, Level::Bits)?;
                Piece::new(format!("{of} is null"), Level::Compare)
            }
            _ => {
                let of = one("one value")?;
                match (cast(name), start_of(name)) {
                    (Some(kind), _) => {
                        let text = format!("cast({} as {kind})", self.text(of)?);
                        Piece::atom(match width(name) {
                            Some(bits) => format!("wrapped({text}, {bits})"),
                            None => text,
                        })
                    }
                    (_, Some(ms)) => Piece::atom(format!("start_of({}, {ms})", self.text(of)?)),
                    _ => return Err(takes("other arguments")),
                }
            }
        })
    }
}
