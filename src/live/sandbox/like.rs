//! LIKE, with a memory of one place only: SQLite's own tries all ways for each `%`, and cannot be interrupted.

use std::sync::Arc;

use rusqlite::functions::Context;
use rusqlite::{Connection, Error, Result};

use crate::live::sandbox::Watch;
use crate::live::sandbox::functions::PURE;
use crate::live::sandbox::text::string;

/// The longest pattern, in bytes. In the worst case each of a text's bytes is compared with all of it.
const LONGEST: usize = 256;

/// How many beginnings are tried between two looks at the clock.
const TRIES: usize = 1 << 12;

pub fn register(connection: &Connection, watch: &Arc<Watch>) -> Result<()> {
    for arguments in [2, 3] {
        let watch = Arc::clone(watch);
        connection.create_scalar_function("like", arguments, PURE, move |c| like(c, &watch))?;
    }
    Ok(())
}

/// `text LIKE pattern ESCAPE escape` is `like(pattern, text, escape)`.
fn like(context: &mut Context<'_>, watch: &Watch) -> Result<Option<bool>> {
    let escape = match context.len() {
        2 => None,
        _ => match string(context, 2) {
            None => return Ok(None),
            Some(by) => match (by.chars().next(), by.chars().nth(1)) {
                (Some(escape), None) => Some(escape),
                _ => return Err(complaint("ESCAPE takes a single character")),
            },
        },
    };
    let pattern = match string(context, 0) {
        None => return Ok(None),
        Some(pattern) if pattern.len() > LONGEST => {
            return Err(complaint(&format!(
                "a pattern of LIKE has at most {LONGEST} bytes"
            )));
        }
        // The same for all rows, most of the time.
        Some(pattern) if escape.is_none() => context
            .get_or_create_aux(0, |_| Ok::<_, Error>(Pattern::new(&pattern, None)))
            .map_err(|_: Error| complaint("a pattern of LIKE is a text")),
        Some(pattern) => Ok(Arc::new(Pattern::new(&pattern, escape))),
    }?;
    match string(context, 1) {
        None => Ok(None),
        Some(text) => pattern.matches(text.as_bytes(), watch).map(Some),
    }
}

fn complaint(words: &str) -> Error {
    Error::UserFunctionError(words.into())
}

/// A pattern, in parts.
struct Pattern(Vec<Part>);

#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// `%`: anything, nothing too.
    Any,
    /// `_`: one character.
    One,
    /// This byte, and for a letter of ASCII the other case of it.
    Byte(u8),
}

impl Pattern {
    fn new(pattern: &str, escape: Option<char>) -> Pattern {
        let mut parts = Vec::new();
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            let literal = match letter {
                letter if Some(letter) == escape => letters.next(),
                '%' => {
                    parts.push(Part::Any);
                    None
                }
                '_' => {
                    parts.push(Part::One);
                    None
                }
                letter => Some(letter),
            };
            if let Some(literal) = literal {
                let mut bytes = [0; 4];
                let bytes = literal.encode_utf8(&mut bytes).bytes();
                parts.extend(bytes.map(|b| Part::Byte(b.to_ascii_lowercase())));
            }
        }
        Pattern(parts)
    }

    /// What follows the last `%` is tried one character further each time that it does not fit: whatever the `%` before
    /// it took, taking more would not help.
    fn matches(&self, text: &[u8], watch: &Watch) -> Result<bool> {
        let (mut at, mut part) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        let mut tries = 0;
        loop {
            match (self.0.get(part), text.get(at)) {
                (Some(Part::Any), _) => {
                    part += 1;
                    retry = Some((at, part));
                    continue;
                }
                (Some(Part::One), Some(_)) => {
                    at = after(text, at);
                    part += 1;
                    continue;
                }
                (Some(Part::Byte(wanted)), Some(byte)) if byte.to_ascii_lowercase() == *wanted => {
                    at += 1;
                    part += 1;
                    continue;
                }
                (None, None) => return Ok(true),
                _ => {}
            }
            match retry {
                Some((from, rest)) if from < text.len() => {
                    at = after(text, from);
                    part = rest;
                    retry = Some((at, rest));
                }
                _ => return Ok(false),
            }
            tries += 1;
            if tries % TRIES == 0 {
                watch.check()?;
            }
        }
    }
}

/// The place after the character that begins here.
fn after(text: &[u8], at: usize) -> usize {
    let rest = text[at + 1..].iter();
    at + 1 + rest.take_while(|byte| **byte & 0xC0 == 0x80).count()
}
