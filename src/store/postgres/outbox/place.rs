//! How far an outbox was read, as one server remembers it and as it tells others.

use std::fmt;
use std::str::FromStr;

/// How far it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct Place {
    /// All that is visible in it was told.
    pub(in crate::store::postgres) snapshot: String,
    /// The greatest number that was told, and its transaction's; transaction 0 is before all others.
    pub(super) newest: i64,
    pub(super) newest_in: String,
    /// A reading that is not at its end: of what is visible in this snapshot, all was told up to this number.
    pub(super) partly: Option<(String, i64)>,
}

impl Place {
    /// What a snapshot shows is told up to this number, and when that is the last all of it.
    pub(super) fn pass(&mut self, snapshot: &str, last: i64, last_in: &str, is_last: bool) {
        if last > self.newest {
            self.newest = last;
            last_in.clone_into(&mut self.newest_in);
        }
        if is_last {
            snapshot.clone_into(&mut self.snapshot);
            self.partly = None;
        } else {
            self.partly = Some((snapshot.to_owned(), last));
        }
    }

    /// Whether there was more to be read than was asked for.
    pub(in crate::store::postgres) fn is_partial(&self) -> bool {
        self.partly.is_some()
    }

    /// The place on the way from here to a later one of the same reading, when no more than up to this number is told.
    pub(in crate::store::postgres) fn on_the_way(&self, later: &Place, number: u64) -> Place {
        let snapshot = match &later.partly {
            Some((snapshot, _)) => snapshot,
            None => &later.snapshot,
        };
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        Place {
            partly: Some((snapshot.clone(), number)),
            ..self.clone()
        }
    }
}

/// As others can read it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.snapshot, self.newest, self.newest_in)?;
        match &self.partly {
            Some((snapshot, number)) => write!(f, "/{snapshot}/{number}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Place, &'static str> {
        const BAD: &str = "it is no place of an outbox";
        let number = |text: &str| text.parse().map_err(|_| BAD);
        let is_xid = |text: &str| text.parse::<u64>().is_ok();
        let parts: Vec<&str> = text.split('/').collect();
        let ([snapshot, newest, newest_in], rest) = parts.split_first_chunk().ok_or(BAD)?;
        let partly = match rest {
            [] => None,
            [until, above] if is_snapshot(until) => Some(((*until).to_owned(), number(above)?)),
            _ => return Err(BAD),
        };
        match is_snapshot(snapshot) && is_xid(newest_in) {
            true => Ok(Place {
                snapshot: (*snapshot).to_owned(),
                newest: number(newest)?,
                newest_in: (*newest_in).to_owned(),
                partly,
            }),
            false => Err(BAD),
        }
    }
}

/// `10:20:10,14`, as far as nothing else can be in it.
fn is_snapshot(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_digit() || c == ',';
    text.split(':').count() == 3 && text.split(':').all(|part| part.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_can_be_told_to_others() {
        for text in ["752:760:752,755/12/751", "1:1:/0/0", "1:1:/0/0/7:9:8/3"] {
            let place: Place = text.parse().expect("a place");
            assert_eq!(place.to_string(), text);
        }
        for text in [
            "",
            "1:1:",
            "1:1:/0",
            "1:1:/0/x",
            "1:1:/0/0/1",
            "a/0/0",
            "1:1:/0/0/1:1:/x",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn on_the_way_a_reading_is_not_at_its_end() {
        let place = |text: &str| text.parse::<Place>().expect("a place");
        let from = place("5:5:/7/4");
        for later in [place("9:9:/12/8"), place("5:5:/12/8/9:9:/12")] {
            assert_eq!(from.on_the_way(&later, 10), place("5:5:/7/4/9:9:/10"));
        }
    }
}
