//! Reading `text/event-stream` (WHATWG HTML, 9.2.5 and 9.2.6).

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use super::failure::{Failure, Fault};

/// Bytes of one block, and of one line, before it is no triwire's.
const MOST: usize = 128 << 20;

/// What stands on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Lines up to a blank one, with data.
    Event {
        /// `id:`, if this block has one.
        id: Option<String>,
        /// `event:`; empty is `message`.
        event: String,
        /// `data:`, its lines joined by LF.
        data: String,
        /// `retry:`.
        retry: Option<Duration>,
    },
    /// A line that begins with a colon: a heartbeat.
    Comment,
}

/// Bytes in, blocks out.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    has_begun: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
    retry: Option<Duration>,
    blocks: VecDeque<Block>,
}

impl SseParser {
    /// Reads on.
    ///
    /// # Errors
    /// When a line or a block is larger than any event may be.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            // LF after CR ended the same line.
            if mem::take(&mut self.after_cr) && byte == b'\n' {
                rest = after;
                continue;
            }
            match rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
                Some(end) => {
                    self.line.extend_from_slice(&rest[..end]);
                    self.after_cr = rest[end] == b'\r';
                    rest = &rest[end + 1..];
                    self.end_line();
                }
                None => {
                    self.line.extend_from_slice(rest);
                    rest = &[];
                }
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > MOST {
                let words = format!("an event is over {MOST} bytes: this is no triwire stream");
                return Err(Failure::new(Fault::Foreign, words));
            }
        }
        Ok(())
    }

    /// The next that is complete.
    pub fn next_block(&mut self) -> Option<Block> {
        self.blocks.pop_front()
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let first = !mem::replace(&mut self.has_begun, true);
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) if first => rest,
            _ => &*text,
        };
        match text.split_once(':') {
            _ if text.is_empty() => self.end_block(),
            Some(("", _)) => self.blocks.push_back(Block::Comment),
            Some((field, value)) => self.field(field, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(text, ""),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
    }

    fn end_block(&mut self) {
        let (id, event) = (self.id.take(), mem::take(&mut self.event));
        let retry = self.retry.take();
        if let Some(data) = self.data.take() {
            self.blocks.push_back(Block::Event {
                id,
                event,
                data,
                retry,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Vec<Block> {
        let mut parser = SseParser::default();
        for piece in pieces {
            parser.push(piece.as_bytes()).expect("it is small");
        }
        std::iter::from_fn(|| parser.next_block()).collect()
    }

    fn event(id: Option<&str>, event: &str, data: &str) -> Block {
        Block::Event {
            id: id.map(str::to_owned),
            event: event.to_owned(),
            data: data.to_owned(),
            retry: None,
        }
    }

    #[test]
    fn blocks_however_they_are_cut() {
        let text = "id: 1-0\nevent: a\ndata: one\ndata:\ndata:  two\n\n:hb\ndata\n\n";
        let want = [
            event(Some("1-0"), "a", "one\n\n two"),
            Block::Comment,
            event(None, "", ""),
        ];
        assert_eq!(read(&[text]), want);
        for at in 0..=text.len() {
            assert_eq!(read(&[&text[..at], &text[at..]]), want, "cut at {at}");
        }
        for end in ["\r", "\r\n"] {
            let other = text.replace('\n', end);
            assert_eq!(read(&[&other]), want, "{end:?}");
            let bytes: Vec<String> = other.chars().map(String::from).collect();
            let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
            assert_eq!(read(&bytes), want, "{end:?}, byte by byte");
        }
    }

    #[test]
    fn what_is_no_event() {
        assert_eq!(read(&["id: 1\nevent: a\nretry: 5\n\n"]), []);
        assert_eq!(read(&["data: not ended\n"]), []);
        assert_eq!(
            read(&["\u{feff}data: x\nnonsense: y\n\n"]),
            [event(None, "", "x")]
        );
    }

    #[test]
    fn a_retry_is_digits() {
        for (value, want) in [("250", Some(250)), ("2s", None), ("", None), ("-1", None)] {
            let blocks = read(&[&format!("retry: {value}\ndata: x\n\n")]);
            let Block::Event { retry, .. } = &blocks[0] else {
                panic!("{blocks:?}");
            };
            assert_eq!(*retry, want.map(Duration::from_millis), "{value}");
        }
    }
}
