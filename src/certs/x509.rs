//! What we want to know of a certificate: from when, until when, whose it is, by whom, and for which names.
//!
//! Not a validator: what comes here was taken by rustls before, and what rustls can tell (signatures, keys, name
//! constraints) is asked of rustls. It only does not tell these, so they are read from the DER here.

use std::net::IpAddr;
use std::time::Duration;
use std::time::SystemTime;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// What a certificate says of itself.
pub(super) struct Facts {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// The issuer's distinguished name, as DER.
    pub(super) issuer: Vec<u8>,
    /// The subject's distinguished name, as DER.
    pub(super) subject: Vec<u8>,
    /// DNS names and addresses of the subjectAltName, as text, lower case.
    pub(super) names: Vec<String>,
}

/// Reads a certificate (RFC 5280 section 4.1); `None` if it is not shaped like one.
pub(super) fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut tbs = Der(Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?);
    if tbs.peek() == Some(VERSION) {
        tbs.take(VERSION)?;
    }
    tbs.take(INTEGER)?; // serialNumber
    tbs.take(SEQUENCE)?; // signature
    let issuer = tbs.take(SEQUENCE)?.to_vec();
    let mut validity = Der(tbs.take(SEQUENCE)?);
    let facts = Facts {
        issuer,
        not_before: time(validity.next()?)?,
        not_after: time(validity.next()?)?,
        subject: tbs.take(SEQUENCE)?.to_vec(),
        names: names(tbs)?,
    };
    Some(facts)
}

/// The names in what follows the subject.
fn names(mut rest: Der<'_>) -> Option<Vec<String>> {
    rest.take(SEQUENCE)?; // subjectPublicKeyInfo
    while let Some((tag, body)) = rest.next() {
        if tag == EXTENSIONS {
            return alternative_names(Der(Der(body).take(SEQUENCE)?));
        }
    }
    Some(Vec::new())
}

fn alternative_names(mut extensions: Der<'_>) -> Option<Vec<String>> {
    while let Some((SEQUENCE, extension)) = extensions.next() {
        let mut extension = Der(extension);
        if extension.take(OID)? != SUBJECT_ALT_NAME {
            continue;
        }
        let value = match extension.next()? {
            (OCTET_STRING, value) => value,
            _critical => extension.take(OCTET_STRING)?,
        };
        let mut names = Der(Der(value).take(SEQUENCE)?);
        return Some(
            std::iter::from_fn(|| names.next())
                .filter_map(name)
                .collect(),
        );
    }
    Some(Vec::new())
}

fn name((tag, value): (u8, &[u8])) -> Option<String> {
    match tag {
        DNS_NAME => Some(str::from_utf8(value).ok()?.to_ascii_lowercase()),
        IP_ADDRESS => Some(address(value)?.to_string()),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only two forms that RFC 5280 allows.
fn time((tag, text): (u8, &[u8])) -> Option<SystemTime> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2])?;
            (year + if year < 50 { 2000 } else { 1900 }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let day = day_number(year, number(&rest[..2])?, number(&rest[2..4])?)?;
    let [hour, minute, second] = [&rest[4..6], &rest[6..8], &rest[8..]].map(number);
    let seconds = (day * 24 + hour?) * 3600 + minute? * 60 + second?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day is the last of its year.
fn day_number(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month < 3 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

/// What is left to read of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, body)| body)
    }

    /// The next element's tag and body.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (
                    length
                        .iter()
                        .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                    rest,
                )
            }
            _ => return None,
        };
        let (body, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(tag: u8, text: &str) -> Option<u64> {
        let time = time((tag, text.as_bytes()))?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    }

    #[test]
    fn times_are_read_as_rfc_5280_writes_them() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229120000Z", Some(951_825_600)),
            (UTC_TIME, "261121232100Z", Some(1_795_303_260)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "21000301000000Z", Some(4_107_542_400)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "500101000000Z", None),
            (UTC_TIME, "261321232100Z", None),
            (UTC_TIME, "2611212321Z", None),
            (UTC_TIME, "26112123210xZ", None),
            (GENERALIZED_TIME, "20500101000000", None),
            (OID, "700101000000Z", None),
        ] {
            assert_eq!(seconds(tag, text), expected, "{text}");
        }
    }

    #[test]
    fn every_cut_of_a_certificate_is_refused_and_none_panics() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = ["Example.COM", "*.example.com", "192.0.2.1", "2001:db8::1"];
        let params = rcgen::CertificateParams::new(names.map(String::from)).expect("names");
        let whole = params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .to_vec();
        let found = facts(&whole).expect("facts").names;
        assert_eq!(
            found,
            ["example.com", "*.example.com", "192.0.2.1", "2001:db8::1"]
        );
        for length in 0..whole.len() {
            assert!(facts(&whole[..length]).is_none());
        }
        for place in 0..whole.len() {
            for value in [0, 0x30, 0x7f, 0x80, 0x83, 0xff] {
                let mut bent = whole.clone();
                bent[place] = value;
                facts(&bent);
            }
        }
    }
}
