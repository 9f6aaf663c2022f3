//! Numbers, spreads and lists as people read them.

use super::results::Faults;
use super::stats::Spread;

/// What stands where there is no figure.
pub const NOTHING: &str = "-";

/// Three digits that matter, whole thousands grouped; never more than two behind the point, but for what would be 0.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    // Rounded first, so that 9.996 is written as what it is rounded to.
    let rounded = format!("{value:.2e}").parse().unwrap_or(value);
    match f64::abs(rounded) {
        size if size >= 1e6 => scaled(rounded / 1e6, "M"),
        size if size >= 1e5 => scaled(rounded / 1e3, "k"),
        size if size >= 1e3 => grouped(value.round() as i64),
        size if size >= 100.0 => format!("{rounded:.0}"),
        size if size >= 10.0 => format!("{rounded:.1}"),
        size if size >= 0.01 => format!("{rounded:.2}"),
        size if size >= 0.0005 => format!("{rounded:.3}"),
        _ => "0".to_owned(),
    }
}

fn scaled(value: f64, unit: &str) -> String {
    match value.abs() {
        size if size >= 1e3 => format!("{}{unit}", grouped(value.round() as i64)),
        size if size >= 100.0 => format!("{value:.0}{unit}"),
        size if size >= 10.0 => format!("{value:.1}{unit}"),
        _ => format!("{value:.2}{unit}"),
    }
}

/// A whole number with commas between its thousands.
pub fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "-" } else { "" }.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The median, and the ends in parentheses where they are others.
pub fn spread(spread: Option<Spread>) -> String {
    let Some(spread) = spread else {
        return NOTHING.to_owned();
    };
    let [median, least, greatest] = [spread.median, spread.least, spread.greatest].map(number);
    if least == greatest {
        return median;
    }
    let to = if spread.least < 0.0 { " to " } else { "-" };
    format!("{median} ({least}{to}{greatest})")
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// `3 lost and 1 doubled`; empty when there are none.
pub fn faults(faults: Faults) -> String {
    let kinds = [
        (faults.lost, "lost"),
        (faults.doubled, "doubled"),
        (faults.reordered, "reordered"),
        (faults.late, "late"),
    ];
    let said = kinds.into_iter().filter(|(count, _)| *count > 0);
    let said: Vec<String> = said
        .map(|(count, kind)| {
            format!(
                "{} {kind}",
                grouped(i64::try_from(count).unwrap_or(i64::MAX))
            )
        })
        .collect();
    list(&said)
}

/// Everything from the first letter on, with that one in upper case.
pub fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.0001, "0"),
            (0.001_24, "0.001"),
            (0.0312, "0.03"),
            (0.807, "0.81"),
            (-0.5, "-0.50"),
            (6.719, "6.72"),
            (9.996, "10.0"),
            (12.07, "12.1"),
            (99.96, "100"),
            (128.4, "128"),
            (1_229.4, "1,229"),
            (24_748.0, "24,748"),
            (99_960.0, "100k"),
            (123_456.0, "123k"),
            (1_834_000.0, "1.83M"),
            (12_340_000.0, "12.3M"),
            (5_432_000_000.0, "5,430M"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
    }

    #[test]
    fn a_spread_shows_its_ends_where_they_are_others() {
        let of = |median, least, greatest| {
            spread(Some(Spread {
                median,
                least,
                greatest,
            }))
        };
        assert_eq!(of(6.72, 6.22, 6.9), "6.72 (6.22-6.90)");
        assert_eq!(of(0.1, -0.5, 1.0), "0.10 (-0.50 to 1.00)");
        assert_eq!(of(22.0, 22.0, 22.0), "22.0");
        assert_eq!(spread(None), "-");
    }

    #[test]
    fn lists_and_faults_are_words() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(faults(Faults::default()), "");
        let some = Faults {
            lost: 1234,
            late: 1,
            ..Faults::default()
        };
        assert_eq!(faults(some), "1,234 lost and 1 late");
        assert_eq!(sentence("a wire"), "A wire");
    }
}
