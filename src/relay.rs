//! What carries events between replicas, and puts them into one order. One trait, one file each, one line in [`open`].
//!
//! A relay knows nothing of events: it takes entries, gives each a place, and hands all of them out in that order. What
//! is in an entry, and trying again, catching up and noticing what is lost, is [`replica`](crate::replica)'s business and
//! the same for all of them.

pub mod memory;
#[cfg(feature = "nats")]
mod nats;
mod postgres;
mod redis;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::event::Place;
use crate::problem::Problem;

/// A stream of entries in a broker.
pub trait Relay: Send + Sync {
    /// What kind it is: `redis`, `nats`, `postgres`, `memory`.
    fn kind(&self) -> &'static str;

    /// A connection to read by.
    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading>, Fault>>;

    /// A connection to append by.
    fn writing(&self) -> BoxFuture<'_, Result<Box<dyn Writing>, Fault>>;
}

/// Reads a stream.
pub trait Reading: Send {
    /// What the stream is now; it is made when it is not there.
    fn bounds(&mut self) -> BoxFuture<'_, Result<Bounds, Fault>>;

    /// The entries after this place, in order, some of them: waits for the first, but not for ever.
    fn next(&mut self, after: Place) -> BoxFuture<'_, Result<Batch, Fault>>;

    /// What is at this place, if there is something: an older copy of the stream may have gone on without what was read there,
    /// or with something else.
    fn entry(&mut self, place: Place) -> BoxFuture<'_, Result<Option<Bytes>, Fault>>;

    /// Sees to it that whatever comes from now on has a greater place: the broker has forgotten what it had. Leaves an
    /// entry that says so, [`LOST`], for those who were not there.
    fn raise(&mut self, above: Place) -> BoxFuture<'_, Result<(), Fault>>;
}

/// What an entry says where the broker has forgotten something: what was before it may not be all that there was.
pub const LOST: &[u8] = br#"{"lost":true}"#;

/// Appends to a stream.
pub trait Writing: Send {
    /// Appends all, in this order; what became of each. After a fault, some of them may be there.
    fn append<'a>(&'a mut self, entries: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Taken>, Fault>>;
}

/// The broker has it, or says why it takes none of it.
pub type Taken = Result<(), Problem>;

/// What a stream is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Tells one life of the stream from another: it is another one when its data are gone.
    pub epoch: String,
    /// Nothing after this place was let go.
    pub first: Place,
    /// The place of the last entry that there ever was in this life.
    pub last: Place,
    /// Whether nothing was ever let go in this life, as far as the broker knows.
    pub is_whole: bool,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order.
    pub entries: Vec<Entry>,
    /// Whether something before them was let go before it was read.
    pub is_lossy: bool,
}

/// One entry of a stream.
#[derive(Debug)]
pub struct Entry {
    /// Where it is.
    pub place: Place,
    /// What it says; nothing when it is no entry of ours.
    pub bytes: Bytes,
}

/// Why a broker can not be used.
#[derive(Debug)]
pub struct Fault {
    /// What it is.
    pub words: String,
    /// Whether it can not become better by itself: a wrong password, another protocol, a version that is too old.
    pub is_final: bool,
}

impl Fault {
    /// One that may pass.
    pub fn passing(words: impl fmt::Display) -> Fault {
        Fault {
            words: one_line(words),
            is_final: false,
        }
    }

    /// One that will stay.
    pub fn lasting(words: impl fmt::Display) -> Fault {
        Fault {
            words: one_line(words),
            is_final: true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What a broker says may have several, and stands in a log.
fn one_line(words: impl fmt::Display) -> String {
    let words = words.to_string();
    let parts: Vec<&str> = words.split_whitespace().collect();
    parts.join(" ")
}

/// How long a relay waits for an entry before it says that there is none.
pub const WAIT: Duration = Duration::from_secs(1);

/// How a relay is used.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries that the broker keeps of a stream, about.
    pub entries: u64,
    /// How long the broker may take to answer.
    pub timeout: Duration,
    /// Batches under way at once.
    pub waiting: usize,
    /// Bytes of one entry.
    pub entry_bytes: usize,
}

/// What a stream is for, and so what is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The events.
    Events,
    /// What the replicas say of themselves.
    Replicas,
}

impl Stream {
    /// Its name in the broker.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Events => "events",
            Stream::Replicas => "replicas",
        }
    }

    /// How many entries are kept of it, about.
    pub fn entries(self, limits: &Limits) -> u64 {
        match self {
            Stream::Events => limits.entries,
            Stream::Replicas => 1_000,
        }
    }
}

/// The relay at this URL; nothing is connected yet.
///
/// # Errors
/// What is wrong with the URL.
pub fn open(url: &str, stream: Stream, limits: Limits) -> Result<Arc<dyn Relay>, String> {
    let scheme = url.split("://").next().unwrap_or_default();
    match scheme {
        "redis" | "rediss" | "redis+sentinel" | "redis+cluster" | "rediss+cluster" => {
            redis::open(url, stream, limits)
        }
        #[cfg(feature = "nats")]
        "nats" | "tls" => nats::open(url, stream, limits),
        #[cfg(not(feature = "nats"))]
        "nats" | "tls" => {
            Err("this triwire was built without NATS: cargo build --features nats".into())
        }
        "postgres" | "postgresql" => postgres::open(url, stream, limits),
        // What has no scheme may begin with a password.
        _ => Err("it is no relay that is known here: redis://, rediss://, redis+sentinel://, redis+cluster://, rediss+cluster://, nats://, tls://, postgres://".into()),
    }
}

/// What is said of a part of a URL that means nothing. It is not shown: behind a `?` that stands in a password it is the
/// rest of that.
fn not_known(known: &str) -> String {
    format!("behind ? it knows only {known}; a ? in a password is %3F")
}

/// What a URL calls a stream, by which several systems on one broker are told apart: letters, digits, and these marks.
fn stream_name(name: &str, most: usize, marks: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || marks.contains(letter);
    match (1..=most).contains(&name.len()) && name.chars().all(plain) {
        true => Ok(name.to_owned()),
        false => Err(format!("stream is 1 to {most} of A-Z a-z 0-9 {marks}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_url_shows_no_password() {
        let limits = Limits {
            entries: 10_000,
            timeout: WAIT,
            waiting: 1,
            entry_bytes: 1_000,
        };
        for url in [
            "user:se-cret@host:1",
            "redis:/user:se-cret@host:1",
            "http://user:se-cret@host:1",
            "redis://user:x?se-cret@host:1",
            "redis://user:x?y&se-cret=z@host:1",
            "redis+cluster://user:se-cret@host",
            "redis+cluster://user:x/se-cret@host:1",
            "redis+sentinel://user:x/se-cret@host:1",
            "nats://user:x?se-cret@host:1",
            "postgres://user:se-cret@host:1/d?sslmode=se-cret",
            "postgres://user:x?se-cret@host:1/d",
            "postgres://user:x?y=z&se-cret=z@host:1/d",
        ] {
            let words = open(url, Stream::Events, limits).err().unwrap_or_default();
            assert!(!words.contains("cret"), "{url}: {words}");
        }
        let wrong = open("redis://host?steam=x", Stream::Events, limits).err();
        assert!(wrong.is_some_and(|words| words.contains("only stream and cacert")));
    }
}
