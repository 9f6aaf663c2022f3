//! Bytes of a stream that wait for the rest of their frame.

use super::Result;

/// What came of a frame so far. Empty, and without memory, as long as reads end where frames do.
#[derive(Default)]
pub struct Partial(Vec<u8>);

impl Partial {
    /// Hands `bytes`, behind what was left of earlier ones, to `take` for as long as it uses some.
    /// `take` answers how many bytes it used: none when its frame is not complete.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn feed(&mut self, bytes: &[u8], take: impl FnMut(&[u8]) -> Result<usize>) -> Result<()> {
        if self.0.is_empty() {
            let used = use_up(bytes, take)?;
            self.0.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.0.extend_from_slice(bytes);
        let used = use_up(&self.0, take)?;
        self.0.drain(..used);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Ok(())
    }
}

fn use_up(bytes: &[u8], mut take: impl FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match take(&bytes[at..])? {
            0 => break,
            used => at += used,
        }
    }
    Ok(at)
}
