//! Whether events come as they are made: not late, not in clumps, and no later for being compressed.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::advice::Trouble;
use super::recording::{Heard, Recording};
use super::{Report, STATS};
use crate::client::Place;

/// A head and a first block are there by then on any line that is of use.
pub const PROMPT: Duration = Duration::from_secs(3);
/// A few events of `$stats`, one a second.
const EVENTS: usize = 4;
/// By then they are there, should the server be busy too.
const BY_THEN: Duration = Duration::from_secs(7);
/// One event may be later than another by this; the server's own second is no exact one.
const JITTER: f64 = 0.7;

/// Whether a stream's head, first block and events come in time.
pub async fn buffering(
    idle: &mut Recording,
    stats: &mut Recording,
    report: &mut Report<'_>,
) -> io::Result<bool> {
    const CHECK: &str = "buffering";
    // Nothing follows the first block of the idle stream, so nothing pushes it out.
    let late = idle.asked().await + PROMPT;
    let ready =
        |heard: &[(Instant, Heard)]| heard.iter().any(|(_, h)| matches!(h, Heard::Ready(_)));
    if !idle.until(late, ready).await {
        let head = idle.count(|heard| matches!(heard, Heard::Head(_)));
        let words = match head {
            0 => format!("the head of an SSE answer does not come in {PROMPT:?}"),
            _ => format!("the first block of a stream does not come in {PROMPT:?}"),
        };
        report.blame(CHECK, &words, Trouble::Buffered)?;
        return Ok(false);
    }
    let late = stats.asked().await + BY_THEN;
    let enough = |heard: &[(Instant, Heard)]| {
        let over = heard.iter().any(|(_, h)| h.is_end());
        over || heard.iter().filter(|(_, h)| is_event(h)).count() >= EVENTS
    };
    stats.until(late, enough).await;
    let (events, delay) = delays(stats);
    if events >= EVENTS - 1 && delay < JITTER {
        report.well(CHECK, "head, first block and events come as they are made")?;
        return Ok(true);
    }
    let words = match events {
        _ if delay >= JITTER => format!("events come in clumps, up to {delay:.1} s late"),
        _ if stats.end().is_some() => return Ok(true),
        _ => format!("{events} events came in {BY_THEN:?}, where there is one a second"),
    };
    report.blame(CHECK, &words, Trouble::Buffered)?;
    Ok(false)
}

fn is_event(heard: &Heard) -> bool {
    matches!(heard, Heard::Event(_))
}

/// How many events of `$stats` came, and by how much one was later than another, by the server's clock in them.
fn delays(stats: &Recording) -> (usize, f64) {
    let Some((begin, _)) = stats.heard.first() else {
        return (0, 0.0);
    };
    let events = stats.heard.iter().filter_map(|(at, heard)| match heard {
        Heard::Event(data) => {
            let data: Value = serde_json::from_str(data).ok()?;
            Some(at.duration_since(*begin).as_secs_f64() - data["uptime_s"].as_f64()?)
        }
        _ => None,
    });
    spread(events)
}

/// How many there are, and the largest without the smallest.
fn spread(all: impl Iterator<Item = f64>) -> (usize, f64) {
    let (mut count, mut least, mut most) = (0, f64::INFINITY, f64::NEG_INFINITY);
    for one in all {
        (count, least, most) = (count + 1, least.min(one), most.max(one));
    }
    (count, if count == 0 { 0.0 } else { most - least })
}

/// Whether an answer that may be compressed is, and comes later for it.
pub async fn compression(place: &Place, report: &mut Report<'_>) -> io::Result<()> {
    const CHECK: &str = "compression";
    let mut stream = Recording::of_sse(place, STATS, Some("gzip, br, zstd"));
    let asked = stream.asked().await;
    let head = |heard: &Heard| match heard {
        Heard::Head(encoding) => Some(Ok(encoding.clone())),
        Heard::Failed(failure) => Some(Err(failure.words.clone())),
        _ => None,
    };
    let found = |heard: &[(Instant, Heard)]| heard.iter().any(|(_, h)| head(h).is_some());
    stream.until(asked + PROMPT, found).await;
    let encoding = match stream.first(head) {
        Some((_, Ok(None))) => return report.well(CHECK, "none, though it was offered"),
        Some((_, Ok(Some(encoding)))) => encoding,
        Some((_, Err(words))) => return report.wrong(CHECK, words),
        None => {
            let words = format!(
                "when compression is offered, the head of an SSE answer does not come in {PROMPT:?}"
            );
            return report.blame(CHECK, &words, Trouble::Compressed);
        }
    };
    let clumps = |heard: &[(Instant, Heard)]| {
        let bytes = heard.iter().filter(|(_, h)| matches!(h, Heard::Bytes));
        clumps(bytes.map(|(at, _)| *at))
    };
    // The first block is one, and each event one more.
    let in_time = stream
        .until(asked + BY_THEN, |heard| clumps(heard) >= EVENTS)
        .await;
    if in_time {
        let words = format!("{encoding}, and events come in time all the same");
        return report.note(CHECK, words);
    }
    let words = format!(
        "{encoding} holds events back: bytes came {} times in {BY_THEN:?}, where there is an event a second",
        clumps(&stream.heard)
    );
    report.blame(CHECK, &words, Trouble::Compressed)
}

/// How often something came, what came almost at once taken for one.
fn clumps(all: impl Iterator<Item = Instant>) -> usize {
    const ALMOST: Duration = Duration::from_millis(300);
    let (mut count, mut last) = (0, None);
    for at in all {
        if last.is_none_or(|last| at.duration_since(last) > ALMOST) {
            count += 1;
        }
        last = Some(at);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_late_one_is_beside_another() {
        assert_eq!(spread([].into_iter()), (0, 0.0));
        assert_eq!(spread([-7.0].into_iter()), (1, 0.0));
        // Three that were made at 1, 2 and 3 and came together at 13.
        assert_eq!(spread([12.0, 11.0, 10.0].into_iter()), (3, 2.0));
    }

    #[test]
    fn what_comes_together_is_one() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!(clumps([].into_iter()), 0);
        assert_eq!(clumps([at(0), at(10), at(300), at(1_000)].into_iter()), 2);
        assert_eq!(clumps([at(0), at(1_000), at(2_000)].into_iter()), 3);
    }
}
