//! HTTP/1.1 heads: where one ends, and what its fields say.

use super::Result;

/// A request's or an answer's head.
pub struct Head<'a>(&'a str);

impl<'a> Head<'a> {
    /// The head that `bytes` begin with and its length, when it is complete.
    ///
    /// # Errors
    /// When it is no text.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Head<'a>, usize)>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        Ok(Some((Head(std::str::from_utf8(&bytes[..end])?), end + 4)))
    }

    /// The request or status line.
    pub fn first_line(&self) -> &'a str {
        self.0.lines().next().unwrap_or_default()
    }

    /// That `what` was answered like this, and what to do about it.
    pub(super) fn refusal(&self, what: &str) -> String {
        let line = self.first_line();
        let advice = match line.split(' ').nth(1) {
            Some("503") => ": it is full or draining; ask for fewer readers",
            Some("413") => ": ask for a smaller payload",
            _ => "",
        };
        format!("{what} was answered {line:?}{advice}")
    }

    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let mut fields = self
            .0
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        fields
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// The length of the body that follows.
    ///
    /// # Errors
    /// When the field is no number.
    pub fn content_length(&self) -> Result<usize> {
        Ok(self.field("content-length").unwrap_or("0").parse()?)
    }
}
