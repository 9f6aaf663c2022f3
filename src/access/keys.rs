//! Keys: words that the server was started with, one of which each request of the Timeplus dialect has to name.
//!
//! Nothing here can be printed.

use base64::prelude::{BASE64_STANDARD, Engine};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use subtle::{Choice, ConstantTimeEq};

use crate::problem::Problem;

/// The keys that are known; without any, nobody needs one.
pub struct Keys(Vec<String>);

impl Keys {
    /// Those of the settings.
    pub fn new(keys: Vec<String>) -> Keys {
        Keys(keys)
    }

    /// Looks for a key in `X-Api-Key`, and in the password of `Authorization: Basic` (RFC 7617).
    ///
    /// # Errors
    /// 401 when keys are known and the request has none of them.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let named = headers.get("x-api-key").map(|key| key.as_bytes().to_vec());
        let is_known = |key: Vec<u8>| self.are_one(&key);
        if self.0.is_empty()
            || named.is_some_and(is_known)
            || password(headers).is_some_and(is_known)
        {
            return Ok(());
        }
        let detail = "this server has keys (api-key): send one of them in X-Api-Key, or as the password of Basic";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "key", detail)
            .with(header::WWW_AUTHENTICATE, "Basic realm=\"triwire\""))
    }

    /// Takes as long for a key that is nearly right as for any other of its length, so that none can be found letter by
    /// letter.
    fn are_one(&self, given: &[u8]) -> bool {
        let same = self.0.iter().map(|key| key.as_bytes().ct_eq(given));
        same.fold(Choice::from(0), |one, same| one | same).into()
    }
}

fn password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn one_of_the_keys_is_enough() {
        let keys = Keys::new(vec!["0123456789abcdef".into(), "fedcba:9876543210".into()]);
        let basic = |pair: &str| format!("basic {}", BASE64_STANDARD.encode(pair));
        for (name, value, good) in [
            ("x-api-key", "0123456789abcdef".to_owned(), true),
            ("x-api-key", "fedcba:9876543210".to_owned(), true),
            ("x-api-key", "0123456789abcdeF".to_owned(), false),
            ("x-api-key", "0123456789abcdef0".to_owned(), false),
            ("x-api-key", String::new(), false),
            ("x-api-key", "x".repeat(10_000), false),
            ("authorization", basic("anybody:0123456789abcdef"), true),
            ("authorization", basic(":fedcba:9876543210"), true),
            ("authorization", basic("0123456789abcdef"), false),
            ("authorization", basic("0123456789abcdef:"), false),
            ("authorization", "Basic ?".to_owned(), false),
            ("authorization", "Bearer 0123456789abcdef".to_owned(), false),
            ("other", "0123456789abcdef".to_owned(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::try_from(&value).expect("visible"));
            let checked = keys.check(&headers);
            assert_eq!(checked.is_ok(), good, "{name}: {value}");
            if let Err(problem) = checked {
                assert_eq!(problem.status, StatusCode::UNAUTHORIZED);
            }
            assert!(Keys::new(Vec::new()).check(&headers).is_ok());
        }
    }
}
