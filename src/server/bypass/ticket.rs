//! A number in a header field that is written the same wherever it stands, and can be cut off a header block.
//!
//! The field is one of a request, so no response of ours has it otherwise. h2 keeps it out of the client's compression
//! state, since it is sensitive: a literal that is never indexed (RFC 7541, 6.2.3), its name from the static table and
//! its value coded by Huffman. The digits 0, 1 and 2 have codes of five bits, which are their own values (RFC 7541,
//! appendix B), so sixteen of them are ten bytes.

use hyper::header::{self, HeaderMap, HeaderValue};

const DIGITS: u32 = 16;
const BYTES: usize = 10;
/// How many tickets there are.
const ALL: u32 = 3u32.pow(DIGITS);
/// `if-none-match` is entry 41; a value of ten bytes, coded.
const BEGIN: [u8; 3] = [0x1f, 41 - 15, 0x80 | BYTES as u8];

/// Adds the ticket as the last field. Numbers come again after 43 million.
pub(super) fn add(headers: &mut HeaderMap, number: u32) {
    let digit = |place| number % ALL / 3u32.pow(place) % 3;
    let digits: String = (0..DIGITS).map(|place| digit(place).to_string()).collect();
    if let Ok(mut value) = HeaderValue::try_from(digits) {
        value.set_sensitive(true);
        headers.remove(header::IF_NONE_MATCH);
        headers.insert(header::IF_NONE_MATCH, value);
    }
}

/// A ticket's number as it is read again.
pub(super) fn number(number: u32) -> u32 {
    number % ALL
}

/// A header block without the ticket at its end, and that; nothing when there is none.
pub(super) fn cut(block: &[u8]) -> Option<(&[u8], u32)> {
    let (block, coded) = block.split_last_chunk::<BYTES>()?;
    let block = block.strip_suffix(&BEGIN)?;
    let bits = coded
        .iter()
        .fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    let mut number = 0;
    for place in (0..DIGITS).rev() {
        let digit = (bits >> (5 * (DIGITS - 1 - place))) as u32 & 0x1f;
        number = number * 3 + digit;
        if digit > 2 {
            return None;
        }
    }
    Some((block, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 2, 3, 4_711, ALL - 1] {
            let mut headers = HeaderMap::new();
            add(&mut headers, number);
            let digits = headers[header::IF_NONE_MATCH].to_str().expect("digits");
            // What Huffman makes of it (RFC 7541, appendix B).
            let coded = digits
                .bytes()
                .fold(0u128, |bits, digit| bits << 5 | u128::from(digit - b'0'));
            let mut block = b"before".to_vec();
            block.extend_from_slice(&BEGIN);
            block.extend_from_slice(&coded.to_be_bytes()[16 - BYTES..]);
            assert_eq!(cut(&block), Some((&b"before"[..], number)));
            block[7] ^= 1;
            assert_eq!(cut(&block), None);
        }
    }
}
