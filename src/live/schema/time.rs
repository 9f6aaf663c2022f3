//! Times and dates as texts (ISO 8601), to milliseconds since the Unix epoch.

/// From the first to the last millisecond of the years 1 to 9999.
pub(super) const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// `2026-11-22`, `2026-11-22T15:49:29`, with a blank for the `T`, a fraction of a second, and `Z` or an offset; UTC
/// without one. What is finer than a millisecond is cut off.
pub(super) fn millis(text: &str) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let day_ms = days(day)? * 86_400_000;
    let Some(mark) = rest.chars().next() else {
        return Some(day_ms);
    };
    if !matches!(mark, 'T' | 't' | ' ') {
        return None;
    }
    let rest = &rest[1..];
    let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    let offset_ms = match zone {
        "" | "Z" | "z" => 0,
        _ => {
            let (sign, zone) = zone.split_at(1);
            let (hours, minutes) = match zone.len() {
                5 => zone.split_once(':')?,
                4 => zone.split_at_checked(2)?,
                2 => (zone, "00"),
                _ => return None,
            };
            let minutes = number(hours, 2, 23)? * 60 + number(minutes, 2, 59)?;
            minutes * if sign == "-" { -60_000 } else { 60_000 }
        }
    };
    let mut parts = clock.splitn(3, ':');
    let hours = number(parts.next()?, 2, 23)?;
    let minutes = number(parts.next()?, 2, 59)?;
    let (seconds, fraction) = match parts.next() {
        None => ("00", ""),
        Some(text) => text.split_once('.').unwrap_or((text, "")),
    };
    let seconds = number(seconds, 2, 59)?;
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}")[..3].parse::<i64>().ok()?;
    let clock_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths;
    let ms = day_ms + clock_ms - offset_ms;
    RANGE.contains(&ms).then_some(ms)
}

/// `2026-11-22T15:49:29.000Z`, with so many digits of a second; what is out of range is brought to its edge.
pub(super) fn iso(ms: i64, digits: u8) -> String {
    let ms = ms.clamp(*RANGE.start(), *RANGE.end());
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // By years that begin in March, 400 of which are always as long.
    let day = days + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (seconds, fraction) = (of_day / 1_000, of_day % 1_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let mut text = format!(
        "{year:04}-{month:02}-{date:02}T{hours:02}:{minutes:02}:{:02}",
        seconds % 60
    );
    if digits > 0 {
        let fraction = format!("{fraction:03}");
        text += &format!(".{}", &fraction[..usize::from(digits.min(3))]);
    }
    text + "Z"
}

/// Days from the Unix epoch to a date, `YYYY-MM-DD`.
pub(super) fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year = number(year, 4, 9999).filter(|year| *year > 0)?;
    let month = number(month, 2, 12).filter(|month| *month > 0)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let day = number(day, 2, last).filter(|day| *day > 0)?;
    if parts.next().is_some() {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let in_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468)
}

fn number(text: &str, digits: usize, most: i64) -> Option<i64> {
    let good = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    let number = good.then(|| text.parse::<i64>().ok()).flatten()?;
    (number <= most).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        let years = 86_400_000 * 365;
        let times = (-2_100..8_000).map(|n| n * (years + 1_234_567));
        for ms in times
            .filter(|ms| RANGE.contains(ms))
            .chain([0, -1, 951_782_400_000])
        {
            assert_eq!(millis(&iso(ms, 3)), Some(ms), "{}", iso(ms, 3));
        }
        assert_eq!(iso(1_689_528_355_650, 3), "2023-07-16T17:25:55.650Z");
        assert_eq!(iso(1_689_528_355_650, 0), "2023-07-16T17:25:55Z");
    }

    #[test]
    fn texts_are_times() {
        for (text, ms) in [
            ("1970-01-01", Some(0)),
            ("1970-01-01T00:00:00.001Z", Some(1)),
            ("2026-11-22 15:49:29", Some(1_795_362_569_000)),
            ("2026-11-22T15:49:29.1239+01:00", Some(1_795_358_969_123)),
            ("2026-11-22T15:49:29-0130", Some(1_795_367_969_000)),
            ("2026-11-22T15:49", Some(1_795_362_540_000)),
            ("2024-02-29", Some(1_709_164_800_000)),
            ("0001-01-01", Some(-62_135_596_800_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("9999-12-31T23:59:59.999-01:00", None),
            ("2025-02-29", None),
            ("1900-02-29", None),
            ("2026-13-01", None),
            ("2026-11-31", None),
            ("2026-11-22T24:00:00", None),
            ("2026-11-22T15", None),
            ("2026-11-22T15:49:29,5", None),
            ("2026-11-22T15:49:29+1", None),
            ("2026-11-2215:49:29", None),
            ("22.11.2026", None),
            ("2026-11-22ü", None),
            ("", None),
            ("+026-11-22", None),
        ] {
            assert_eq!(millis(text), ms, "{text}");
        }
    }
}
