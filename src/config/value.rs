//! Reads one value from its text: times, sizes, numbers, switches, names.
//!
//! An error completes a sentence that starts with the quoted value: "`10` has no unit; write 10s".

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// Milliseconds of each unit, in the order in which they are preferred for showing.
const TIMES: [(&str, u64); 5] = [
    ("h", HOUR),
    ("min", MINUTE),
    ("m", MINUTE),
    ("s", SECOND),
    ("ms", 1),
];

/// Bytes of each unit, likewise.
const SIZES: [(&str, u64); 8] = [
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("B", 1),
    ("", 1),
];

/// A name's length, in bytes.
const NAME: RangeInclusive<usize> = 1..=64;

/// A time; the range is in milliseconds. A number without a unit is refused: half of the world
/// would read it as seconds.
pub(super) fn time(text: &str, range: &RangeInclusive<u64>) -> Result<Duration, String> {
    let nonsense = || "is not a time; write one like 200ms, 15s, 2min or 1h".to_owned();
    let (count, unit) = quantity(text).ok_or_else(nonsense)?;
    if unit.is_empty() {
        return Err(format!(
            "has no unit; write {count}ms, {count}s, {count}min or {count}h"
        ));
    }
    let (_, each) = TIMES
        .iter()
        .find(|(name, _)| unit == *name)
        .ok_or_else(nonsense)?;
    within(count.saturating_mul(*each), range, times).map(Duration::from_millis)
}

/// A size in bytes.
pub(super) fn size(text: &str, range: &RangeInclusive<u64>) -> Result<usize, String> {
    let nonsense = || "is not a size; write one like 4096, 256KiB, 64MiB or 1GiB".to_owned();
    let (count, unit) = quantity(text).ok_or_else(nonsense)?;
    if matches!(unit, "k" | "K" | "m" | "M" | "g" | "G") {
        let unit = unit.to_ascii_uppercase();
        return Err(format!(
            "has half a unit; write {count}{unit}iB (powers of 1024) or {count}{unit}B (of 1000)"
        ));
    }
    let (_, each) = SIZES
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))
        .ok_or_else(nonsense)?;
    within(count.saturating_mul(*each), range, sizes).and_then(fits)
}

/// A plain number.
pub(super) fn number(text: &str, range: &RangeInclusive<u64>) -> Result<usize, String> {
    match quantity(text) {
        Some((count, "")) => within(count, range, numbers).and_then(fits),
        _ => Err(format!("is not a number; write {}", numbers(range))),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// A replica's name, which stands unescaped in JSON, labels and logs.
pub(super) fn name(text: &str) -> Result<String, String> {
    if NAME.contains(&text.len()) && text.chars().all(nameable) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "is not a name; write {} to {} printable ASCII characters without quotes and backslashes",
        NAME.start(),
        NAME.end()
    ))
}

/// What keys are: long enough that nobody guesses one, and nothing that a header or a list with commas cannot hold.
pub(super) const KEYS: &str =
    "16 to 255 visible ASCII characters without commas, any number of keys";

pub(super) fn is_key(text: &str) -> bool {
    (16..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a URL may begin with; what is behind the `://` is for those to judge who connect to it.
#[derive(Debug)]
pub(super) struct Schemes {
    /// How one is written.
    pub(super) form: &'static str,
    schemes: &'static [&'static str],
}

/// What names a database.
pub(super) static STORE: Schemes = Schemes {
    form: "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    schemes: &["postgres", "postgresql"],
};

/// What names a relay.
pub(super) static RELAY: Schemes = Schemes {
    form: "redis://HOST:PORT, rediss://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/MASTER, redis+cluster://HOST:PORT,HOST:PORT, rediss+cluster://, nats://HOST:PORT, tls://HOST:PORT or \
           postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    schemes: &[
        "redis",
        "rediss",
        "redis+sentinel",
        "redis+cluster",
        "rediss+cluster",
        "nats",
        "tls",
        "postgres",
        "postgresql",
    ],
};

/// What names a bridge.
pub(super) static BRIDGES: Schemes = Schemes {
    form: "redis://HOST:PORT?channel=NAME, nats://HOST:PORT?subject=NAME, mqtt://HOST:PORT?filter=NAME or amqp://HOST:PORT/VHOST?queue=NAME",
    schemes: &[
        "redis", "rediss", "nats", "tls", "mqtt", "mqtts", "amqp", "amqps",
    ],
};

impl Schemes {
    /// Whether it is one of these.
    pub(super) fn take(&self, text: &str) -> bool {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        self.schemes.contains(&scheme) && !rest.is_empty() && !rest.contains(char::is_control)
    }
}

/// As much of a host's name as a name may hold.
pub(super) fn name_from(host: &str) -> String {
    let kept: String = host
        .trim()
        .chars()
        .filter(|&letter| nameable(letter))
        .take(*NAME.end())
        .collect();
    if kept.is_empty() {
        "triwire".to_owned()
    } else {
        kept
    }
}

/// `64B to 64MiB`.
pub(super) fn sizes(range: &RangeInclusive<u64>) -> String {
    format!(
        "{} to {}",
        shortest(*range.start(), &SIZES),
        shortest(*range.end(), &SIZES)
    )
}

/// `50ms to 1h`.
pub(super) fn times(range: &RangeInclusive<u64>) -> String {
    format!(
        "{} to {}",
        shortest(*range.start(), &TIMES),
        shortest(*range.end(), &TIMES)
    )
}

/// `1 to 1_000_000`.
pub(super) fn numbers(range: &RangeInclusive<u64>) -> String {
    format!("{} to {}", grouped(*range.start()), grouped(*range.end()))
}

/// Splits `10 MiB`; `_` may group the digits. What is too large for 64 bits is too large for every
/// range.
fn quantity(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '_')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if !digits.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    Some((
        digits.replace('_', "").parse().unwrap_or(u64::MAX),
        unit.trim_start(),
    ))
}

fn within(
    value: u64,
    range: &RangeInclusive<u64>,
    show: fn(&RangeInclusive<u64>) -> String,
) -> Result<u64, String> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("is out of range; write {}", show(range)))
    }
}

fn fits(value: u64) -> Result<usize, String> {
    usize::try_from(value).map_err(|_| "is too large for this machine".to_owned())
}

fn nameable(letter: char) -> bool {
    matches!(letter, ' '..='~') && !matches!(letter, '"' | '\'' | '\\')
}

/// In the largest unit that leaves no fraction; zero in the usual one.
fn shortest(value: u64, units: &[(&str, u64)]) -> String {
    let whole = units
        .iter()
        .find(|(name, each)| value >= *each && value.is_multiple_of(*each) && !name.is_empty());
    whole.map_or_else(
        || "0s".to_owned(),
        |(name, each)| format!("{}{name}", value / each),
    )
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let lead = digits.len() % 3;
    let mut groups = Vec::from_iter((lead > 0).then(|| &digits[..lead]));
    groups.extend(
        (lead..digits.len())
            .step_by(3)
            .map(|start| &digits[start..start + 3]),
    );
    groups.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: RangeInclusive<u64> = 0..=u64::MAX;

    #[test]
    fn times_need_a_unit() {
        for (text, milliseconds) in [
            ("200ms", 200),
            ("15s", 15_000),
            ("15 s", 15_000),
            ("2m", 120_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("1_000ms", 1000),
        ] {
            assert_eq!(
                time(text, &ANY),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for (text, hint) in [
            ("10", "write 10ms, 10s, 10min or 10h"),
            ("", "is not a time"),
            ("s", "is not a time"),
            ("-1s", "is not a time"),
            ("1.5s", "is not a time"),
            ("1d", "is not a time"),
            ("10S", "is not a time"),
            ("_1s", "is not a time"),
        ] {
            let reason = time(text, &ANY).expect_err(text);
            assert!(reason.contains(hint), "{text}: {reason}");
        }
        assert_eq!(
            time("1ms", &(50..=HOUR)),
            Err("is out of range; write 50ms to 1h".to_owned())
        );
        assert!(time("99999999999999999999h", &(50..=HOUR)).is_err());
    }

    #[test]
    fn sizes_tell_1024_from_1000() {
        for (text, bytes) in [
            ("4096", 4096),
            ("1B", 1),
            ("256KiB", 262_144),
            ("256 kib", 262_144),
            ("64MB", 64_000_000),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text, &ANY), Ok(bytes), "{text}");
        }
        for (text, hint) in [
            ("64k", "64KiB (powers of 1024) or 64KB"),
            ("64M", "64MiB"),
            ("", "is not a size"),
            ("KiB", "is not a size"),
            ("-1", "is not a size"),
            ("1.5MiB", "is not a size"),
            ("1 furlong", "is not a size"),
        ] {
            let reason = size(text, &ANY).expect_err(text);
            assert!(reason.contains(hint), "{text}: {reason}");
        }
        assert_eq!(
            size("63", &(64..=64 * MIB)),
            Err("is out of range; write 64B to 64MiB".to_owned())
        );
        assert!(size("99999999999GiB", &(64..=64 * MIB)).is_err());
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        assert_eq!(number("10_000", &(1..=1_000_000)), Ok(10_000));
        for text in ["", "0", "-5", "1e3", "0x10", "10 000", "1.0", "1000001"] {
            let reason = number(text, &(1..=1_000_000)).expect_err(text);
            assert!(reason.ends_with("write 1 to 1_000_000"), "{text}: {reason}");
        }
    }

    #[test]
    fn switches_and_names() {
        for (text, on) in [
            ("true", true),
            ("YES", true),
            ("1", true),
            ("off", false),
            ("no", false),
            ("0", false),
        ] {
            assert_eq!(switch(text), Ok(on), "{text}");
        }
        assert!(switch("maybe").is_err() && switch("").is_err());
        assert_eq!(name("eu west-1 #2"), Ok("eu west-1 #2".to_owned()));
        for text in ["", "a\"b", "it's", "a\\b", "é", "a\nb", &"x".repeat(65)] {
            assert!(name(text).is_err(), "{text}");
        }
        assert_eq!(name_from("\"é\"box\n"), "box");
        assert_eq!(name_from("é"), "triwire");
        assert_eq!(name_from(&"x".repeat(99)).len(), 64);
    }
}
