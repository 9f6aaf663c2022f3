//! The classes agree.
