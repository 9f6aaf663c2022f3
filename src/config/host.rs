//! Names of hosts and origins of pages, in the one spelling that browsers send, so that comparing
//! them is comparing text.

use std::net::Ipv6Addr;

/// A host's name, as `Host` may say it: lower case, without a port.
pub(super) fn host(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    if let Some((before, port)) = name.split_once(':') {
        let hint = format!("has a port; write {before}, which allows every port");
        return Err(if is_name(before) && is_number(port) {
            hint
        } else {
            nonsense()
        });
    }
    if is_name(&name) {
        Ok(name)
    } else {
        Err(nonsense())
    }
}

/// An origin: `scheme://host[:port]`, lower case. A scheme's own port is left out, as browsers do.
pub(super) fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err(
            "would let in every page there is; name each origin, such as https://example.org"
                .to_owned(),
        );
    }
    let lower = text.to_ascii_lowercase();
    let parts = lower
        .split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme));
    let (scheme, rest) =
        parts.ok_or("is not an origin; write scheme://host or scheme://host:port")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority != rest {
        return Err(format!(
            "has a path, which an origin has not; write {scheme}://{authority}"
        ));
    }
    let (host, port) = split_port(authority)?;
    let host = match host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
    {
        Some(inner) => format!("[{}]", inner.parse::<Ipv6Addr>().map_err(|_| nonsense())?),
        None if is_name(host) => host.to_owned(),
        None => return Err(nonsense()),
    };
    match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => Ok(format!("{scheme}://{host}")),
        (_, Some(port)) => Ok(format!("{scheme}://{host}:{port}")),
    }
}

fn nonsense() -> String {
    "names no host; write one such as example.org (other alphabets as xn--…), no wildcard"
        .to_owned()
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => match port.parse() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err("has no valid port; a port is 1 to 65535".to_owned()),
        },
        _ => Ok((authority, None)),
    }
}

fn is_scheme(text: &str) -> bool {
    let tail = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.')
    };
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(tail)
}

/// Labels of letters, digits, `-` and `_`: what DNS and container networks hand out, and IPv4
/// addresses along with them.
fn is_name(text: &str) -> bool {
    let letter = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
    text.len() <= 253 && text.split('.').all(label)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_come_out_as_browsers_send_them() {
        for (text, out) in [
            ("https://Example.ORG", "https://example.org"),
            ("HTTPS://example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(text), Ok(out.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_explained() {
        for (text, hint) in [
            ("*", "name each origin"),
            ("null", "write scheme://host"),
            ("example.org", "write scheme://host"),
            ("://example.org", "write scheme://host"),
            ("https://example.org/", "write https://example.org"),
            (
                "https://example.org:8443/app?x",
                "write https://example.org:8443",
            ),
            ("https://", "names no host"),
            ("https://*.example.org", "no wildcard"),
            ("https://user@example.org", "names no host"),
            ("https://bücher.example", "xn--"),
            ("https://example.org:", "no valid port"),
            ("https://example.org:0", "no valid port"),
            ("https://example.org:https", "no valid port"),
            ("https://[::1", "names no host"),
            ("https://[nonsense]", "names no host"),
        ] {
            let reason = origin(text).expect_err(text);
            assert!(reason.contains(hint), "{text}: {reason}");
        }
    }

    #[test]
    fn hosts_are_names_without_a_port() {
        assert_eq!(host("Push.Example.org"), Ok("push.example.org".to_owned()));
        assert_eq!(host("my_service"), Ok("my_service".to_owned()));
        for (text, hint) in [
            ("push.example.org:8443", "write push.example.org,"),
            ("", "names no host"),
            ("*.example.org", "no wildcard"),
            ("a..b", "names no host"),
            ("https://a", "names no host"),
            ("a/b", "names no host"),
        ] {
            let reason = host(text).expect_err(text);
            assert!(reason.contains(hint), "{text}: {reason}");
        }
    }
}
