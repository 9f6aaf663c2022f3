//! Streams that are watched for a while: one on which nothing happens but heartbeats, one with an event a second, and
//! a WebSocket with nothing but pings. Which of them end, and when, tells what limits them.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::advice::Trouble;
use super::recording::{Heard, Recording};
use super::{Report, Said, Verdict};

/// Streams that end at ages that differ by less than this end for the same reason.
const ALIKE: Duration = Duration::from_secs(2);
/// What is heard on an idle stream, and within what time unless the server was told otherwise.
type Beat = (&'static str, Duration);
const HEARTBEAT: Beat = ("heartbeat", Duration::from_secs(16));
const PING: Beat = ("ping", Duration::from_secs(21));

/// Watches them, and says what became of each.
pub async fn watch(
    mut idle: Recording,
    mut stats: Recording,
    mut socket: Option<Recording>,
    (began, end): (Instant, Instant),
    report: &mut Report<'_>,
) -> io::Result<()> {
    let mut next = Instant::now();
    loop {
        for stream in [&mut idle, &mut stats].into_iter().chain(&mut socket) {
            stream.until(Instant::now(), is_over).await;
        }
        let all = [&idle, &stats].into_iter().chain(&socket);
        let over = all.into_iter().all(|stream| is_over(&stream.heard));
        if over || Instant::now() >= end {
            break;
        }
        (report.hear)(Said::Watched(began.elapsed()))?;
        next = (next + Duration::from_secs(1)).min(end);
        sleep_until(next).await;
    }
    let now = Instant::now();
    let busy = life(&mut stats, now).await;
    let life_of_idle = life(&mut idle, now).await;
    say(
        report,
        "idle stream",
        judge(&life_of_idle, &busy, HEARTBEAT),
    )?;
    say(report, "long stream", judge_long(&busy, &life_of_idle))?;
    if let Some(mut socket) = socket {
        let life = life(&mut socket, now).await;
        say(report, "idle WebSocket", judge(&life, &busy, PING))?;
    }
    Ok(())
}

fn is_over(heard: &[(Instant, Heard)]) -> bool {
    heard.last().is_some_and(|(_, heard)| heard.is_end())
}

type Finding = (Verdict, String, Option<Trouble>);

fn say(report: &mut Report<'_>, check: &'static str, finding: Finding) -> io::Result<()> {
    match finding {
        (Verdict::Wrong, words, Some(trouble)) => report.blame(check, &words, trouble),
        (verdict, words, _) => report.say(check, verdict, words),
    }
}

/// How a stream lived.
#[derive(Clone, Debug, Default)]
struct Life {
    /// For how long it was there, or was watched.
    age: Duration,
    /// How it ended, if it did.
    end: Option<String>,
    /// The server said that it is full or draining.
    dismissed: bool,
    beats: usize,
    events: usize,
    /// With nothing, before the end.
    silence: Duration,
}

async fn life(stream: &mut Recording, watched: Instant) -> Life {
    let asked = stream.asked().await;
    let ended = stream.end();
    let last = ended.as_ref().map_or(watched, |(at, _)| *at);
    let before = stream.heard.iter().filter(|(_, heard)| !heard.is_end());
    let before = before.map(|(at, _)| *at).next_back().unwrap_or(asked);
    Life {
        age: last.duration_since(asked),
        end: ended.map(|(_, words)| words),
        dismissed: stream.count(|heard| matches!(heard, Heard::Busy(_))) > 0,
        beats: stream.count(|heard| matches!(heard, Heard::Beat)),
        events: stream.count(|heard| matches!(heard, Heard::Event(_))),
        silence: last.duration_since(before),
    }
}

/// Of a stream on which nothing happens, beside one on which something does.
fn judge(idle: &Life, busy: &Life, (beat, within): Beat) -> Finding {
    let age = seconds(idle.age);
    let Some(words) = &idle.end else {
        return match idle.beats {
            0 if idle.age < within => (
                Verdict::Note,
                format!(
                    "no {beat} in {age}: the first may take {within:?}, so watch for longer (--idle)"
                ),
                None,
            ),
            0 => (
                Verdict::Note,
                format!(
                    "not cut, but no {beat} in {age}: the server's are rarer than proxies like, or get lost"
                ),
                None,
            ),
            beats => (Verdict::Well, format!("{age}; {beat}s: {beats}"), None),
        };
    };
    if idle.dismissed {
        return (
            Verdict::Wrong,
            format!("the server ended it after {age}: {words}"),
            None,
        );
    }
    if alike(idle, busy) {
        let words = format!("cut at an age of {age}, and so is a stream with events: {words}");
        return (Verdict::Wrong, words, Some(Trouble::LengthCut));
    }
    let silence = seconds(idle.silence);
    let words = format!(
        "cut at an age of {age} after {silence} of silence, while one with events went on: its limit is to be longer \
         than the time between two {beat}s"
    );
    (Verdict::Wrong, words, Some(Trouble::IdleCut))
}

/// Of a stream on which something happens.
fn judge_long(busy: &Life, idle: &Life) -> Finding {
    let (age, events) = (seconds(busy.age), busy.events);
    match &busy.end {
        None => (Verdict::Well, format!("{age}, with {events} events"), None),
        Some(words) if busy.dismissed => (
            Verdict::Wrong,
            format!("the server ended it after {age}: {words}"),
            None,
        ),
        Some(words) if alike(idle, busy) => {
            let words = format!("cut at an age of {age}, with events or without: {words}");
            (Verdict::Wrong, words, Some(Trouble::LengthCut))
        }
        Some(words) => {
            let words = format!("cut at an age of {age} in the midst of events: {words}");
            (Verdict::Wrong, words, Some(Trouble::LengthCut))
        }
    }
}

fn alike(one: &Life, other: &Life) -> bool {
    one.end.is_some() && other.end.is_some() && one.age.abs_diff(other.age) < ALIKE
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(age: u64, ended: bool, beats: usize) -> Life {
        Life {
            age: Duration::from_secs(age),
            end: ended.then(|| "it ended".into()),
            beats,
            ..Life::default()
        }
    }

    #[test]
    fn what_limits_a_stream() {
        let whole = life(65, false, 0);
        let table = [
            (life(65, false, 4), &whole, Verdict::Well, None),
            (life(5, false, 0), &whole, Verdict::Note, None),
            (life(65, false, 0), &whole, Verdict::Note, None),
            (
                life(3, true, 0),
                &whole,
                Verdict::Wrong,
                Some(Trouble::IdleCut),
            ),
            (
                life(3, true, 0),
                &life(30, true, 0),
                Verdict::Wrong,
                Some(Trouble::IdleCut),
            ),
            (
                life(30, true, 2),
                &life(31, true, 0),
                Verdict::Wrong,
                Some(Trouble::LengthCut),
            ),
        ];
        for (idle, busy, verdict, trouble) in table {
            let (said, words, why) = judge(&idle, busy, HEARTBEAT);
            assert_eq!((said, why), (verdict, trouble), "{words}");
        }
        let drained = Life {
            dismissed: true,
            ..life(9, true, 0)
        };
        assert_eq!(judge(&drained, &drained, PING).2, None);
        assert_eq!(judge_long(&drained, &drained).2, None);
        assert_eq!(
            judge_long(&life(30, true, 0), &whole).2,
            Some(Trouble::LengthCut)
        );
        assert_eq!(judge_long(&whole, &life(3, true, 0)).0, Verdict::Well);
    }
}
