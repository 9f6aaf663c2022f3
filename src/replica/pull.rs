//! The one loop that reads a relay, whichever it is: connects, tries again, notices what was lost, and hands out entries.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::event::Place;
use crate::pace::Pace;
use crate::relay::{Batch, Bounds, Entry, Fault, Reading, Relay, WAIT};

/// What is said of what was trimmed.
const LET_GO: &str = "the relay let go of entries before they were read";

/// Who reads a stream.
pub(super) trait Follower: Send {
    /// The stream is seen for the first time: where to begin.
    fn begin(&mut self, bounds: &Bounds) -> Place;

    /// The next entries, in order.
    fn take(&mut self, entries: Vec<Entry>);

    /// Everything that there was when it was connected has been taken.
    fn is_caught_up(&mut self);

    /// Something was not told, and nobody here knows what; whether others may, who have read it in time.
    fn lost(&mut self, why: &str, is_here_alone: bool);

    /// Nothing can be read, and why.
    fn away(&mut self, fault: &Fault);
}

/// How far a stream was read.
struct At {
    epoch: String,
    place: Place,
    /// What was read there, in short; nothing when it was only begun there.
    read: Option<u64>,
}

/// Reads for ever, or to a fault that will stay before anything was read.
pub(super) async fn run(
    relay: Arc<dyn Relay>,
    wait: Duration,
    follower: &mut impl Follower,
) -> Fault {
    let mut at: Option<At> = None;
    let mut pace = Pace::default();
    loop {
        let fault = connected(&*relay, wait, follower, &mut at, &mut pace).await;
        if fault.is_final && at.is_none() {
            return fault;
        }
        follower.away(&fault);
        tokio::time::sleep(pace.wait()).await;
    }
}

/// Reads by one connection, as long as it lasts.
async fn connected(
    relay: &dyn Relay,
    wait: Duration,
    follower: &mut impl Follower,
    at: &mut Option<At>,
    pace: &mut Pace,
) -> Fault {
    let begun = async {
        let mut reading = within(wait, relay.reading()).await?;
        let bounds = within(wait, reading.bounds()).await?;
        Ok(match at {
            Some(at) => {
                let (bounds, place) = go_on(&mut *reading, wait, follower, at, bounds).await?;
                (reading, bounds, place)
            }
            None => {
                let place = follower.begin(&bounds);
                (reading, bounds, place)
            }
        })
    };
    let (mut reading, bounds, mut place) = match begun.await {
        Ok(begun) => begun,
        Err(fault) => return fault,
    };
    let (mut is_behind, mut is_more) = (true, true);
    // What was read by another connection is there, or that was noticed.
    let mut read = at
        .as_ref()
        .and_then(|at| at.read.filter(|_| at.place == place));
    loop {
        *at = Some(At {
            epoch: bounds.epoch.clone(),
            place,
            read,
        });
        // What was last may have been taken out by hand.
        if is_behind && (place >= bounds.last || !is_more) {
            is_behind = false;
            pace.reset();
            follower.is_caught_up();
        }
        // It waits for what comes, and no broker is quiet for so long.
        match within(wait + WAIT, reading.next(place)).await {
            Err(fault) => return fault,
            // Where it goes on, the stream's bounds say.
            Ok(Batch { entries, is_lossy }) if is_lossy && entries.is_empty() => {
                return Fault::passing(LET_GO);
            }
            Ok(Batch { entries, is_lossy }) => {
                if is_lossy {
                    follower.lost(LET_GO, true);
                }
                is_more = !entries.is_empty();
                if let Some(last) = entries.last() {
                    place = last.place;
                    read = Some(digest(&last.bytes));
                    follower.take(entries);
                }
            }
        }
    }
}

/// Where to go on after the connection was lost; what the broker has lost meanwhile is told.
async fn go_on(
    reading: &mut dyn Reading,
    wait: Duration,
    follower: &mut impl Follower,
    at: &At,
    bounds: Bounds,
) -> Result<(Bounds, Place), Fault> {
    if bounds.epoch != at.epoch {
        follower.lost("the relay has forgotten all that it had", false);
        // What has come since then is new to us as well, unless its places are below those that we know.
        if bounds.first < at.place {
            return Ok((raised(reading, wait, at.place).await?, at.place));
        }
        let first = bounds.first;
        return Ok((bounds, first));
    }
    // Others may have appended to the older copy already, so that its end says nothing.
    let is_gone = match at.read {
        Some(read) if bounds.first < at.place => {
            let entry = within(wait, reading.entry(at.place)).await?;
            entry.is_none_or(|bytes| digest(&bytes) != read)
        }
        _ => false,
    };
    if bounds.last < at.place || is_gone {
        follower.lost("the relay has forgotten the newest of what it had", false);
        return Ok((raised(reading, wait, at.place).await?, at.place));
    }
    if bounds.first > at.place {
        follower.lost(LET_GO, true);
    }
    // Not before what is gone: it would be missed once more.
    let place = at.place.max(bounds.first);
    Ok((bounds, place))
}

/// Enough of an entry to tell it from another.
fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// What the stream is when its places are greater than this one: it may have another epoch since.
async fn raised(reading: &mut dyn Reading, wait: Duration, above: Place) -> Result<Bounds, Fault> {
    within(wait, reading.raise(above)).await?;
    within(wait, reading.bounds()).await
}

/// A broker that takes and never answers is as one that is away.
pub(super) async fn within<T>(
    wait: Duration,
    answer: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match timeout(wait, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::passing(format!("no answer within {wait:?}"))),
    }
}
