//! What strangers try.
