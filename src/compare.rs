//! The comparator: the same load on every wire, and what came of it. A stranger: it talks to a server over the
//! network and knows nothing of its code.
//!
//! In the order of reading: [`scenarios`] says what is measured and what each figure means; [`results`] is what a
//! comparison found, as its JSON file has it; everything that is said of it is made from that alone.

pub mod html;
mod places;
#[cfg(test)]
mod planted;
mod question;
pub mod results;
pub mod scenarios;
pub mod series;
pub mod stats;
pub mod table;
pub mod verdict;
pub mod warnings;
pub mod words;
