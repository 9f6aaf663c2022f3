//! What stands between a client and a server, told by its marks: answers that come late, streams that are cut, an
//! upgrade that is lost, a version or a certificate that is not what it should be.
//!
//! It needs no rights: it publishes nothing. The topic `$stats` brings an event a second for as long as somebody
//! reads it, and a topic that nobody publishes to shows the heartbeats. Both are read at once, so that what ends
//! one and not the other tells why.

mod advice;
mod greeting;
mod idle;
mod pace;
mod recording;
mod upgrade;

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use self::advice::{Advice, Trouble};
use self::greeting::Greeted;
use self::recording::Recording;
use crate::client::Place;

/// A topic that nobody publishes to.
const IDLE: &str = "/events?topic=triwire/doctor/idle";
/// One with an event a second.
const STATS: &str = "/events?topic=%24stats";

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Well,
    /// Worth knowing.
    Note,
    /// Something has to be done.
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Well => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
        })
    }
}

/// What is said while it goes on.
#[derive(Clone, Debug)]
pub enum Said {
    /// A check is done: what was checked, what it came to, and what to do.
    Finding(&'static str, Verdict, String),
    /// How long an idle stream has been watched.
    Watched(Duration),
}

/// Who hears it; an error ends the examination.
pub type Hear<'a> = &'a mut dyn FnMut(Said) -> io::Result<()>;

/// What was found so far, and whom to tell.
struct Report<'a> {
    hear: Hear<'a>,
    worst: Verdict,
    advice: Advice,
}

impl Report<'_> {
    fn well(&mut self, check: &'static str, words: impl Into<String>) -> io::Result<()> {
        self.say(check, Verdict::Well, words.into())
    }

    fn note(&mut self, check: &'static str, words: impl Into<String>) -> io::Result<()> {
        self.say(check, Verdict::Note, words.into())
    }

    fn wrong(&mut self, check: &'static str, words: impl Into<String>) -> io::Result<()> {
        self.say(check, Verdict::Wrong, words.into())
    }

    /// Something wrong that a proxy's settings are to be blamed for.
    fn blame(&mut self, check: &'static str, words: &str, trouble: Trouble) -> io::Result<()> {
        let words = format!("{words}. {}", self.advice.on(trouble));
        self.say(check, Verdict::Wrong, words)
    }

    fn say(&mut self, check: &'static str, verdict: Verdict, words: String) -> io::Result<()> {
        self.worst = self.worst.max(verdict);
        (self.hear)(Said::Finding(check, verdict, words))
    }
}

/// Examines the way to a server, watching an idle stream for so long. Returns the worst that was found.
///
/// # Errors
/// Whoever hears it does not any more.
pub async fn examine(place: &Place, watch: Duration, hear: Hear<'_>) -> io::Result<Verdict> {
    let mut report = Report {
        hear,
        worst: Verdict::Well,
        advice: Advice::default(),
    };
    if let Some(greeted) = greeting::greet(place, &mut report).await? {
        streams(&greeted, watch, &mut report).await?;
    }
    Ok(report.worst)
}

async fn streams(greeted: &Greeted, watch: Duration, report: &mut Report<'_>) -> io::Result<()> {
    let place = &greeted.place;
    let began = Instant::now();
    let mut idle = Recording::of_sse(place, IDLE, None);
    let mut stats = Recording::of_sse(place, STATS, None);
    if !greeting::is_triwire(&mut idle, report).await? {
        return Ok(());
    }
    // Early, for it is watched as long as the others.
    let socket = upgrade::examine(greeted, report).await?;
    if !pace::buffering(&mut idle, &mut stats, report).await? {
        // What does not come cannot be told from what was cut.
        return Ok(());
    }
    greeting::counted(greeted, &stats, report)?;
    pace::compression(place, report).await?;
    let end = began + watch;
    idle::watch(idle, stats, socket, (began, end), report).await
}
