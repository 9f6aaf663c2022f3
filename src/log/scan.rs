//! A look through one topic from inside the server: batches of events by their numbers, uncounted and never woken.
//!
//! A reader is somebody's stream: it is counted, it is woken, it belongs to a shard. A scan is none of that. It keeps
//! its topic remembered, so that the numbers stay, and asks for the topic's own lock alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Log;
use super::kept::TopicLog;
use crate::event::{Event, EventId, Topic};

/// A handle on one topic, for as long as it lives.
pub struct Scan {
    log: Arc<Log>,
    topic: Arc<TopicLog>,
}

/// Events that follow each other.
#[derive(Debug, Default)]
pub struct Batch {
    /// The number of the first.
    pub first: u64,
    /// How many between the number that was asked for and [`Batch::first`] are retained no more.
    pub missed: u64,
    /// The events.
    pub events: Vec<Arc<Event>>,
}

impl Batch {
    /// The number after the last.
    pub fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Log {
    /// Begins to look through a topic.
    pub fn scan(self: &Arc<Log>, topic: &Topic) -> Scan {
        let mut state = self.state();
        let topic = self.topic(&mut state, topic);
        // Under the log's lock, under which topics are forgotten.
        topic.scans.fetch_add(1, Ordering::AcqRel);
        drop(state);
        Scan {
            log: self.clone(),
            topic,
        }
    }
}

impl Log {
    /// The same of a topic that nobody has written to until now: a cursor from before may have lost something.
    pub fn begin(self: &Arc<Log>, topic: &Topic) -> Scan {
        let scan = self.scan(topic);
        let mark = self.mark();
        let mut kept = scan.topic.kept();
        kept.floor = kept.floor.max(mark);
        drop(kept);
        scan
    }
}

impl Scan {
    /// The topic's name.
    pub fn topic(&self) -> &Topic {
        &self.topic.name
    }

    /// The number of the oldest event that is retained.
    pub fn first(&self) -> u64 {
        self.topic.kept().first
    }

    /// A cursor below it has lost something.
    pub fn floor(&self) -> EventId {
        self.topic.floor()
    }

    /// What is after one cursor and not after another, unless something of it is lost or it is more than this;
    /// [`EventId::ZERO`] has lost nothing, and is the newest of what is retained.
    pub fn between(&self, after: EventId, last: EventId, most: usize) -> Option<Vec<Arc<Event>>> {
        let kept = self.topic.kept();
        let (first, end) = (kept.after(after), kept.after(last));
        let count = usize::try_from(end - first).unwrap_or(usize::MAX);
        let first = match after {
            EventId::ZERO => first.max(end.saturating_sub(most as u64)),
            _ if after < kept.floor || count > most => return None,
            _ => first,
        };
        Some((first..end).filter_map(|n| kept.get(n)).cloned().collect())
    }

    /// The number of the first event after a cursor.
    pub fn number_after(&self, cursor: EventId) -> u64 {
        self.topic.kept().after(cursor)
    }

    /// The number that the next event will have; costs nothing.
    pub fn end(&self) -> u64 {
        self.topic.end()
    }

    /// How many events there are from this number on, and about how many bytes.
    pub fn after(&self, from: u64) -> (u64, u64) {
        if from >= self.end() {
            return (0, 0);
        }
        let kept = self.topic.kept();
        let later = kept.end().saturating_sub(from.max(kept.first));
        let all = kept.end().saturating_sub(kept.first).max(1);
        // They are taken to be as large as the others.
        let bytes = u128::from(kept.bytes) * u128::from(later) / u128::from(all);
        (later, bytes as u64)
    }

    /// At most so many events from this number on, under one short lock.
    pub fn take(&self, from: u64, most: usize) -> Batch {
        if from >= self.end() {
            let first = from;
            return Batch {
                first,
                ..Batch::default()
            };
        }
        let kept = self.topic.kept();
        let first = from.max(kept.first);
        let events = (first..kept.end()).take(most);
        Batch {
            first,
            missed: first - from,
            events: events.filter_map(|n| kept.get(n)).cloned().collect(),
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.topic.scans.fetch_sub(1, Ordering::AcqRel);
        self.log.forget_if_unused(&self.topic);
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scan").field(self.topic()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Draft, EventType, Payload};
    use crate::log::Limits;

    fn log(topic_events: usize, total_bytes: u64) -> Arc<Log> {
        let limits = Limits {
            topic_events,
            total_bytes,
            ..Limits::default()
        };
        Log::new(limits, "here", 1, Box::new(|| 1_000))
    }

    fn publish(log: &Log, topic: &Topic, texts: &[&str]) {
        for text in texts {
            let payload = Payload::text(text.to_string().into()).expect("UTF-8");
            let draft = Draft {
                topic: topic.clone(),
                event_type: EventType::default(),
                payload,
            };
            log.append(draft).expect("there is room");
        }
    }

    fn texts(batch: &Batch) -> Vec<&[u8]> {
        let events = batch.events.iter();
        events.map(|e| &e.draft.payload.bytes()[..]).collect()
    }

    #[test]
    fn events_come_by_number_and_what_is_gone_is_counted() {
        let (log, topic) = (log(3, 1 << 20), Topic::new("t").expect("a topic"));
        let scan = log.scan(&topic);
        assert!(scan.take(0, 10).events.is_empty(), "a topic without events");
        publish(&log, &topic, &["a", "b"]);
        assert_eq!(texts(&scan.take(0, 1)), [b"a"]);
        assert_eq!(texts(&scan.take(1, 10)), [b"b"]);
        publish(&log, &topic, &["c", "d", "e"]);
        let batch = scan.take(1, 2);
        assert_eq!((batch.first, batch.missed, batch.end()), (2, 1, 4));
        assert_eq!(texts(&batch), [b"c", b"d"]);
        assert_eq!((scan.first(), scan.end()), (2, 5));
        let nothing = scan.take(5, 10);
        assert_eq!((nothing.first, nothing.missed), (5, 0));
    }

    #[test]
    fn what_is_after_a_number_is_counted() {
        let topic = Topic::new("t").expect("a topic");
        let log = log(4, 1 << 20);
        let scan = log.scan(&topic);
        assert_eq!(scan.after(0), (0, 0));
        publish(&log, &topic, &["a", "bbb", "c", "ddd"]);
        assert_eq!(scan.after(0), (4, 8));
        assert_eq!(scan.after(1), (3, 6), "about");
        assert_eq!(scan.after(4), (0, 0));
        publish(&log, &topic, &["e", "fff"]);
        assert_eq!(scan.after(0), (4, 8), "the others are gone");
    }

    #[test]
    fn a_topic_is_remembered_while_it_is_scanned() {
        let log = log(1_000, 10_000);
        let (quiet, noisy) = (Topic::new("quiet"), Topic::new("noisy"));
        let (quiet, noisy) = (quiet.expect("a topic"), noisy.expect("a topic"));
        let scan = log.scan(&quiet);
        publish(&log, &quiet, &["a", "b"]);
        assert!(log.state().topics.contains_key(&quiet));
        // What pushes everything else out of the log.
        let large = "x".repeat(5_000);
        publish(&log, &noisy, &[&*large; 3]);
        assert!(scan.take(0, 10).missed == 2, "its events are gone");
        publish(&log, &quiet, &["c"]);
        assert_eq!(texts(&scan.take(2, 10)), [b"c"], "its numbers are not");
        drop(scan);
        publish(&log, &noisy, &[&*large; 3]);
        assert!(!log.state().topics.contains_key(&quiet));
    }
}
