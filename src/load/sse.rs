//! Server-Sent Events: blocks of lines, as they come out of an HTTP body.

use super::Result;
use super::note::{Id, Note};
use super::partial::Partial;

/// Reads the blocks of one stream.
#[derive(Default)]
pub(super) struct Blocks(Partial);

#[derive(Default)]
struct Block<'a> {
    id: &'a [u8],
    event: &'a [u8],
    data: &'a [u8],
}

impl Blocks {
    /// Tells `each` of every block that is complete with `bytes`.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Note) -> Result<()>,
    ) -> Result<()> {
        self.0.feed(bytes, |bytes| {
            let Some((block, used)) = parse(bytes) else {
                return Ok(0);
            };
            if let Some(note) = block.note()? {
                each(note)?;
            }
            Ok(used)
        })
    }
}

impl<'a> Block<'a> {
    /// Nothing, for a comment that stands by itself.
    fn note(self) -> Result<Option<Note<'a>>> {
        Ok(Some(match self.event {
            b"" if self.data.is_empty() => return Ok(None),
            b"" => Note::Event {
                id: Id::parse(self.id),
                payload: self.data,
            },
            b"ready" => Note::Ready,
            b"gap" => Note::gap(&serde_json::from_slice(self.data)?),
            b"busy" => {
                let notice = String::from_utf8_lossy(self.data);
                return Err(format!("the server is busy: {notice}").into());
            }
            _ => {
                let event = String::from_utf8_lossy(self.event);
                return Err(format!("an unexpected block: {event}").into());
            }
        }))
    }
}

/// The first block and its length. Comment lines and `retry:` are passed over; a comment need not end a block.
fn parse(bytes: &[u8]) -> Option<(Block<'_>, usize)> {
    let mut block = Block::default();
    let mut at = 0;
    loop {
        let end = at + bytes[at..].iter().position(|&byte| byte == b'\n')?;
        let line = &bytes[at..end];
        at = end + 1;
        if line.is_empty() {
            return Some((block, at));
        } else if let Some(value) = line.strip_prefix(b"data: ") {
            block.data = value;
        } else if let Some(value) = line.strip_prefix(b"id: ") {
            block.id = value;
        } else if let Some(value) = line.strip_prefix(b"event: ") {
            block.event = value;
        }
    }
}
