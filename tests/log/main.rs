//! The promise of the log, for any interleaving of publishing, subscribing, resuming, trimming and forgetting:
//! every reader sees every retained event after its cursor once, in id order, and a gap notice exactly when
//! something was, or may have been, lost.

mod guide;
#[path = "../support/reading.rs"]
mod reading;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use triwire::bundle::Bell;
use triwire::event::{Draft, Event, EventId, EventType, Framing, Payload, Topic};
use triwire::log::{End, Gap, Lag, Limits, Log, Next, Reader, Reason, Start};

use self::reading::{fresh, seat};

/// What one event costs beside its payload, as the log counts it.
fn overhead() -> u64 {
    let log = Log::new(Limits::default(), "s", 1, Box::new(|| 1));
    log.append(draft(0, 0)).expect("there is room");
    log.held().bytes
}

fn topic(number: u8) -> Topic {
    Topic::new(&format!("t{number}")).expect("a good name")
}

fn draft(number: u8, size: usize) -> Draft {
    Draft {
        topic: topic(number),
        event_type: EventType::default(),
        payload: Payload::text(Bytes::from(vec![b'x'; size])).expect("UTF-8"),
    }
}

fn reader(log: &Arc<Log>, topics: &[Topic], start: Start, lag: Lag) -> Reader {
    let mut reader = Reader::new(log, 0, Bell::alone(), seat(), lag, None);
    reader.begin(topics, start).expect("few topics");
    reader
}

fn drain(reader: &mut Reader) -> Vec<Next> {
    std::iter::from_fn(|| reader.try_next()).collect()
}

fn events(nexts: &[Next]) -> Vec<Arc<Event>> {
    let event = |next: &Next| match next {
        Next::Event(event) => Some(event.clone()),
        _ => None,
    };
    nexts.iter().filter_map(event).collect()
}

fn gaps(nexts: &[Next]) -> Vec<Gap> {
    let gap = |next: &Next| match next {
        Next::Gap(gap) => Some(gap.clone()),
        _ => None,
    };
    nexts.iter().filter_map(gap).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        topic: u8,
        size: usize,
    },
    /// A new reader of some topics, at the head, or after the n-th id from the end of all that was ever appended.
    Open {
        topics: Vec<u8>,
        back: Option<usize>,
    },
    SubscribeMore {
        reader: usize,
        topic: u8,
        back: Option<usize>,
    },
    Unsubscribe {
        reader: usize,
        topic: u8,
    },
    Read {
        reader: usize,
        count: usize,
    },
    /// Leaves, and comes back with the last id that it saw.
    Resume {
        reader: usize,
    },
    Leave {
        reader: usize,
    },
    Tick {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let topic = 0..4u8;
    let back = proptest::option::of(0..40usize);
    prop_oneof![
        8 => (topic.clone(), 0..60usize).prop_map(|(topic, size)| Step::Publish { topic, size }),
        2 => (proptest::collection::vec(topic.clone(), 1..4), back.clone())
            .prop_map(|(topics, back)| Step::Open { topics, back }),
        1 => (0..8usize, topic.clone(), back)
            .prop_map(|(reader, topic, back)| Step::SubscribeMore { reader, topic, back }),
        1 => (0..8usize, topic).prop_map(|(reader, topic)| Step::Unsubscribe { reader, topic }),
        6 => (0..8usize, 1..12usize).prop_map(|(reader, count)| Step::Read { reader, count }),
        2 => (0..8usize).prop_map(|reader| Step::Resume { reader }),
        1 => (0..8usize).prop_map(|reader| Step::Leave { reader }),
        1 => (-5..5i64).prop_map(|ms| Step::Tick { ms }),
    ]
}

/// A reader, and what it must see.
struct Watched {
    reader: Reader,
    /// Per topic: everything up to here was seen, or announced as lost.
    after: BTreeMap<Topic, EventId>,
    last: EventId,
    /// Whether topics were added with a cursor: then ids are ordered per topic alone.
    mixed: bool,
}

struct Model {
    log: Arc<Log>,
    clock: Arc<AtomicU64>,
    /// All that was ever appended.
    history: Vec<(EventId, Topic)>,
    readers: Vec<Watched>,
}

impl Model {
    fn new(limits: Limits) -> Model {
        let clock = Arc::new(AtomicU64::new(1_000));
        let now = clock.clone();
        Model {
            log: Log::new(
                limits,
                "s",
                1,
                Box::new(move || now.load(Ordering::Relaxed)),
            ),
            clock,
            history: Vec::new(),
            readers: Vec::new(),
        }
    }

    fn retained(&self, topic: &Topic) -> Vec<EventId> {
        let mut probe = reader(
            &self.log,
            std::slice::from_ref(topic),
            Start::After(EventId::ZERO),
            Lag::Gap,
        );
        let nexts = drain(&mut probe);
        assert!(
            gaps(&nexts).is_empty(),
            "a reader from 0-0 is told of a gap"
        );
        events(&nexts).iter().map(|e| e.id).collect()
    }

    fn of<'m>(&'m self, topic: &'m Topic) -> impl Iterator<Item = EventId> + 'm {
        self.history
            .iter()
            .filter(move |(_, t)| t == topic)
            .map(|(id, _)| *id)
    }

    /// Whether events of the topic after the cursor are gone.
    fn lost_after(&self, topic: &Topic, cursor: EventId) -> bool {
        let retained = self.retained(topic);
        self.of(topic)
            .any(|id| id > cursor && !retained.contains(&id))
    }

    /// Whether the log may have had to forget what it knew of the topic: then it may not rule a loss out.
    fn may_be_unknown(&self, topic: &Topic, cursor: EventId) -> bool {
        let gone = |t: &Topic| self.of(t).filter(|id| !self.retained(t).contains(id)).max();
        let floors = (0..4).map(self::topic).filter_map(|t| gone(&t)).max();
        let whole = self.retained(topic).len() == self.of(topic).count();
        floors.is_some_and(|floor| cursor < floor)
            && (!whole || self.of(topic).next().is_none_or(|id| id > cursor))
    }

    fn cursor(&self, back: usize) -> EventId {
        let index = self.history.len().checked_sub(back + 1);
        index.map_or(EventId { ms: 1_000, n: 0 }, |i| self.history[i].0)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish {
                topic: number,
                size,
            } => {
                let id = self.log.append(draft(number, size)).expect("there is room");
                assert!(
                    self.history.last().is_none_or(|(last, _)| *last < id),
                    "ids increase"
                );
                self.history.push((id, topic(number)));
            }
            Step::Tick { ms } => {
                let now = self.clock.load(Ordering::Relaxed).saturating_add_signed(ms);
                self.clock.store(now, Ordering::Relaxed);
            }
            Step::Open { topics, back } => {
                let mut names: Vec<Topic> = topics.into_iter().map(topic).collect();
                names.sort();
                names.dedup();
                let start = back.map_or(Start::Head, |back| Start::After(self.cursor(back)));
                self.open(&names, start);
            }
            Step::SubscribeMore {
                reader,
                topic: number,
                back,
            } => self.subscribe_more(reader, topic(number), back),
            Step::Unsubscribe {
                reader,
                topic: number,
            } => {
                if let Some(watched) = self.readers.get_mut(reader) {
                    watched.reader.unsubscribe(&[topic(number)]);
                    watched.after.remove(&topic(number));
                }
            }
            Step::Read { reader, count } => self.read(reader, count),
            Step::Resume { reader } => {
                if reader < self.readers.len() && !self.readers[reader].mixed {
                    let watched = self.readers.swap_remove(reader);
                    let names: Vec<Topic> = watched.after.keys().cloned().collect();
                    drop(watched.reader);
                    self.open(&names, Start::After(watched.last));
                }
            }
            Step::Leave { reader } => {
                if reader < self.readers.len() {
                    self.readers.swap_remove(reader);
                }
            }
        }
    }

    fn open(&mut self, names: &[Topic], start: Start) {
        let mut watched = Watched {
            reader: fresh(&self.log),
            after: BTreeMap::new(),
            last: EventId::ZERO,
            mixed: false,
        };
        watched.last = self.join(&mut watched, names, start);
        self.readers.push(watched);
    }

    /// Subscribes, and checks that a gap is announced exactly for those topics that lost something.
    fn join(&self, watched: &mut Watched, names: &[Topic], start: Start) -> EventId {
        let expected: Vec<(Topic, bool, bool)> = names
            .iter()
            .map(|name| match start {
                Start::After(cursor) => (
                    name.clone(),
                    self.lost_after(name, cursor),
                    self.may_be_unknown(name, cursor),
                ),
                _ => (name.clone(), false, false),
            })
            .collect();
        let cursor = watched.reader.subscribe(names, start).expect("few topics");
        // Notices come before any event, so that exactly these are next.
        let mut told = BTreeMap::new();
        for (name, lost, unknown) in expected {
            let probe = reader(&self.log, std::slice::from_ref(&name), start, Lag::Gap).try_next();
            let gap = match probe {
                Some(Next::Gap(gap)) => Some(gap),
                _ => None,
            };
            assert!(
                gap.is_some() || !lost,
                "{name} lost something after {start:?} and nobody was told"
            );
            assert!(
                gap.is_none() || lost || unknown,
                "{name}: a gap after {start:?}, and nothing can be lost"
            );
            if let Some(gap) = gap {
                assert_eq!((gap.reason, gap.missed), (Reason::Expired, None));
                assert!(
                    self.of(&name)
                        .all(|id| id <= gap.resumed_at || self.retained(&name).contains(&id))
                );
                told.insert(name.clone(), gap.resumed_at);
            }
            watched.after.entry(name).or_insert(cursor);
        }
        for _ in 0..told.len() {
            let Some(Next::Gap(gap)) = watched.reader.try_next() else {
                panic!("the notices of a resume come first");
            };
            assert_eq!(told.get(&gap.topic), Some(&gap.resumed_at));
            watched.after.insert(gap.topic, gap.resumed_at);
        }
        cursor
    }

    fn subscribe_more(&mut self, index: usize, name: Topic, back: Option<usize>) {
        if index >= self.readers.len() || self.readers[index].after.contains_key(&name) {
            return;
        }
        // What lagged meanwhile is announced first, so that the notices of the new topic are told apart.
        self.read(index, usize::MAX);
        let mut watched = self.readers.remove(index);
        let start = back.map_or(Start::Head, |back| Start::After(self.cursor(back)));
        watched.mixed |= back.is_some();
        self.join(&mut watched, &[name], start);
        self.readers.insert(index, watched);
    }

    fn read(&mut self, index: usize, count: usize) {
        if index >= self.readers.len() {
            return;
        }
        let mut watched = self.readers.remove(index);
        for _ in 0..count {
            match watched.reader.try_next() {
                None => {
                    self.check_complete(&watched);
                    break;
                }
                Some(Next::Event(event)) => self.check_event(&mut watched, &event),
                Some(Next::Gap(gap)) => self.check_gap(&mut watched, gap),
                Some(Next::End(end)) => panic!("nobody ended it: {end:?}"),
            }
        }
        self.readers.insert(index, watched);
    }

    fn check_event(&self, watched: &mut Watched, event: &Event) {
        let name = &event.draft.topic;
        let after = *watched
            .after
            .get(name)
            .unwrap_or_else(|| panic!("{name} was not asked for"));
        let due = self.of(name).find(|id| *id > after);
        assert_eq!(
            Some(event.id),
            due,
            "the next event of {name} after {after}"
        );
        assert!(
            watched.mixed || event.id > watched.last,
            "order over topics: {} after {}",
            event.id,
            watched.last
        );
        watched.after.insert(name.clone(), event.id);
        watched.last = watched.last.max(event.id);
    }

    fn check_gap(&self, watched: &mut Watched, gap: Gap) {
        let after = watched.after[&gap.topic];
        assert_eq!(gap.reason, Reason::Lagged);
        let missed = self
            .of(&gap.topic)
            .filter(|id| *id > after && *id <= gap.resumed_at)
            .count();
        assert_eq!(gap.missed, Some(missed as u64), "missed is exact");
        assert!(missed > 0, "a notice of nothing");
        watched.after.insert(gap.topic, gap.resumed_at);
    }

    /// A reader that has nothing more to read has had everything.
    fn check_complete(&self, watched: &Watched) {
        for (name, after) in &watched.after {
            assert_eq!(
                self.of(name).find(|id| id > after),
                None,
                "{name} has more after {after}"
            );
        }
    }
}

fn small(topic_events: usize, total_events: u64) -> Limits {
    Limits {
        topic_events,
        topic_bytes: 400,
        total_bytes: total_events * (overhead() + 30),
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_interleaving_keeps_the_promise(
        steps in proptest::collection::vec(step(), 1..120),
        topic_events in 2..12usize,
        total_events in 3..30u64,
    ) {
        let mut model = Model::new(small(topic_events, total_events));
        for step in steps {
            model.step(step);
        }
        for index in (0..model.readers.len()).rev() {
            model.read(index, usize::MAX);
        }
    }
}

#[test]
fn retention_is_per_topic_and_in_all() {
    let log = Log::new(small(5, 1_000), "s", 1, Box::new(|| 1));
    for _ in 0..20 {
        log.append(draft(0, 1)).expect("there is room");
    }
    log.append(draft(1, 1)).expect("there is room");
    assert_eq!(log.held().events, 6);

    // 400 bytes a topic: the sixth of 70 is one too many.
    for _ in 0..6 {
        log.append(draft(2, 70)).expect("there is room");
    }
    assert_eq!(log.held().events, 6 + 5);

    let tight = Log::new(small(100, 4), "s", 1, Box::new(|| 1));
    for number in [0, 1, 2, 3, 0, 1] {
        tight.append(draft(number, 30)).expect("there is room");
    }
    let held = tight.held();
    assert_eq!(
        (held.events, held.topics),
        (4, 4),
        "the oldest over all topics went first"
    );
    assert!(held.bytes <= 4 * (overhead() + 30));
}

#[test]
fn framings_count_against_the_bound() {
    let log = Log::new(small(100, 4), "s", 1, Box::new(|| 1));
    for _ in 0..4 {
        log.append(draft(0, 30)).expect("there is room");
    }
    let mut all = reader(&log, &[topic(0)], Start::After(EventId::ZERO), Lag::Gap);
    for event in events(&drain(&mut all)) {
        event.framed(Framing::Sse);
        event.framed(Framing::Json);
    }
    log.append(draft(0, 30)).expect("there is room");
    assert!(log.held().events < 4, "{:?}", log.held());
}

#[test]
fn too_many_topics_are_refused_and_forgotten_ones_make_room() {
    let limits = Limits {
        topics: 2,
        total_bytes: 3 * (overhead() + 10),
        ..Limits::default()
    };
    let log = Log::new(limits, "s", 1, Box::new(|| 1));
    log.append(draft(0, 10)).expect("there is room");
    log.append(draft(1, 10)).expect("there is room");
    let problem = log.append(draft(2, 10)).expect_err("a third topic");
    assert_eq!(problem.status.as_u16(), 429);
    log.append(draft(1, 10)).expect("a topic that exists");
    log.append(draft(1, 10)).expect("this pushes topic 0 out");
    log.append(draft(2, 10)).expect("topic 0 was forgotten");

    let mut late = reader(
        &log,
        &[topic(0)],
        Start::After(EventId { ms: 1, n: 0 }),
        Lag::Gap,
    );
    assert_eq!(
        gaps(&drain(&mut late)).len(),
        1,
        "it may have lost something"
    );
}

#[test]
fn the_clock_may_step_back() {
    let clock = Arc::new(AtomicU64::new(5_000));
    let now = clock.clone();
    let log = Log::new(
        Limits::default(),
        "s",
        1,
        Box::new(move || now.load(Ordering::Relaxed)),
    );
    let mut last = log.head();
    for ms in [5_000, 5_001, 4_000, 1, 5_001, 6_000, 0] {
        clock.store(ms, Ordering::Relaxed);
        let id = log.append(draft(0, 1)).expect("there is room");
        assert!(id > last, "{id} after {last}");
        last = id;
    }
    assert_eq!(last, EventId { ms: 6_000, n: 1 });
}

#[test]
fn cursors_that_are_not_of_this_log() {
    let log = Log::new(Limits::default(), "s", 1, Box::new(|| 1_000));
    let first = log.append(draft(0, 1)).expect("there is room");
    for start in [
        Start::Unknown,
        Start::After(EventId { ms: 9_999, n: 0 }),
        Start::After(EventId { ms: 999, n: 5 }),
    ] {
        let mut late = reader(&log, &[topic(0), topic(1)], start, Lag::Gap);
        let nexts = drain(&mut late);
        assert_eq!(gaps(&nexts).len(), 2, "{start:?}");
        assert_eq!(events(&nexts)[0].id, first, "{start:?}");
    }
    let mut fresh = fresh(&log);
    let beyond = Start::After(EventId { ms: 9_999, n: 0 });
    let cursor = fresh.begin(&[topic(0)], beyond).expect("few topics");
    assert!(
        cursor < first,
        "a cursor beyond the head is not kept: the head would pass it"
    );
}

/// A log of five events a topic on which a reader of three topics has fallen behind on one.
fn lagged(lag: Lag) -> (Arc<Log>, Vec<Next>, Vec<EventId>) {
    let log = Log::new(small(5, 1_000), "s", 1, Box::new(|| 1_000));
    let mut slow = reader(&log, &[topic(0), topic(1), topic(2)], Start::Head, lag);
    let publish = |number| log.append(draft(number, 1)).expect("there is room");
    let mut ids = vec![publish(1), publish(1)];
    ids.extend((0..8).map(|_| publish(0)));
    let nexts = drain_to_end(&mut slow);
    (log, nexts, ids)
}

fn drain_to_end(reader: &mut Reader) -> Vec<Next> {
    let mut nexts = Vec::new();
    while let Some(next) = reader.try_next() {
        let over = matches!(next, Next::End(_));
        nexts.push(next);
        if over {
            break;
        }
    }
    nexts
}

#[test]
fn lag_gap_goes_on_from_the_oldest() {
    let (_, nexts, ids) = lagged(Lag::Gap);
    let told = gaps(&nexts);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].missed, told[0].resumed_at), (Some(3), ids[4]));
    let seen: Vec<EventId> = events(&nexts).iter().map(|e| e.id).collect();
    assert_eq!(seen, [&ids[..2], &ids[5..]].concat());
}

#[test]
fn lag_latest_skips_to_the_newest_of_each_topic() {
    let (_, nexts, ids) = lagged(Lag::Latest);
    let told: Vec<_> = gaps(&nexts)
        .into_iter()
        .map(|g| (g.topic, g.missed, g.resumed_at))
        .collect();
    assert_eq!(
        told,
        [(topic(0), Some(7), ids[8]), (topic(1), Some(1), ids[0])]
    );
    let seen: Vec<EventId> = events(&nexts).iter().map(|e| e.id).collect();
    assert_eq!(seen, [ids[1], ids[9]]);
}

#[test]
fn lag_close_says_where_to_go_on() {
    let (log, nexts, ids) = lagged(Lag::Close);
    let told = gaps(&nexts);
    assert!(matches!(nexts.last(), Some(Next::End(End::Lagged))));
    assert!(events(&nexts).is_empty());
    // The other topic has lost nothing yet, so going on must not skip what it still has.
    let go_on = told[0].go_on.expect("a cursor to go on with");
    let mut resumed = reader(
        &log,
        &[topic(0), topic(1), topic(2)],
        Start::After(go_on),
        Lag::Close,
    );
    let nexts = drain(&mut resumed);
    let seen: Vec<EventId> = events(&nexts).iter().map(|e| e.id).collect();
    assert_eq!(seen, [&ids[..2], &ids[5..]].concat());
}

#[test]
fn idempotency_keys_append_once_and_expire() {
    let clock = Arc::new(AtomicU64::new(1));
    let now = clock.clone();
    let limits = Limits {
        keys: 2,
        keys_for: Duration::from_millis(100),
        ..Limits::default()
    };
    let log = Log::new(
        limits,
        "s",
        1,
        Box::new(move || now.load(Ordering::Relaxed)),
    );
    let append = |number, key| log.append_all(vec![draft(number, 1)], Some(key));
    let first = append(0, "a").expect("there is room");
    assert_eq!(append(0, "a").expect("known"), first);
    assert_eq!(log.held().events, 1);
    assert_ne!(append(1, "a").expect("another topic"), first);
    let refused = append(0, "b").expect_err("a third key would have to push one out");
    assert_eq!(refused.status.as_u16(), 429);
    clock.store(200, Ordering::Relaxed);
    assert_ne!(append(0, "a").expect("forgotten"), first);
}

#[test]
fn a_batch_is_all_or_none() {
    let limits = Limits {
        topics: 1,
        ..Limits::default()
    };
    let log = Log::new(limits, "s", 1, Box::new(|| 1));
    log.append_all(vec![draft(0, 1), draft(1, 1)], None)
        .expect_err("two topics");
    assert_eq!(log.held().events, 0);
    let done = log
        .append_all(vec![draft(0, 1); 3], None)
        .expect("one topic");
    assert_eq!((done.count, done.last.n - done.first.n), (3, 2));
}

/// Publishers and readers on threads of their own: nobody sleeps through an event.
#[test]
fn wake_ups_reach_every_reader_on_every_shard() {
    const EVENTS: usize = 5_000;
    let log = Log::new(Limits::default(), "s", 2, Box::new(|| 1));
    let readers: Vec<_> = (0..2)
        .map(|shard| {
            let log = log.clone();
            let (ready, started) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    let hub = log.clone();
                    tokio::spawn(async move { hub.run_hub(shard).await });
                    let tasks: Vec<_> = (0..4)
                        .map(|_| {
                            let mut reader = Reader::new(
                                &log,
                                shard,
                                Bell::alone(),
                                seat(),
                                Lag::Gap,
                                Some(2 * EVENTS as u64),
                            );
                            reader
                                .begin(&[topic(0), topic(1)], Start::Head)
                                .expect("few topics");
                            tokio::spawn(async move { read_to_end(&mut reader).await })
                        })
                        .collect();
                    ready.send(()).expect("the test waits");
                    for task in tasks {
                        task.await.expect("no panic");
                    }
                });
            });
            started.recv().expect("the readers are there");
            thread
        })
        .collect();
    let publishers: Vec<_> = (0..2)
        .map(|number| {
            let log = log.clone();
            std::thread::spawn(move || {
                for _ in 0..EVENTS {
                    log.append(draft(number, 1)).expect("there is room");
                }
            })
        })
        .collect();
    for thread in publishers.into_iter().chain(readers) {
        thread.join().expect("no panic");
    }
}

async fn read_to_end(reader: &mut Reader) {
    let mut last = EventId::ZERO;
    loop {
        match std::future::poll_fn(|cx| reader.poll_next(cx)).await {
            Next::Event(event) => {
                assert!(event.id > last);
                last = event.id;
            }
            Next::End(end) => return assert_eq!(end, End::Limit),
            Next::Gap(gap) => panic!("nothing was trimmed: {gap:?}"),
        }
    }
}

/// What a shard's last wake-up brought is handed over in one piece, but only where event by event would give the same.
#[test]
fn a_run_is_what_comes_next_and_nothing_else() {
    const MOST: usize = 16 * 1024;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let log = Log::new(small(100, 1_000), "s", 1, Box::new(|| 1));
    let mut hub = pin!(log.run_hub(0));
    let mut publish = |count: usize| {
        for n in 0..count {
            log.append(draft(0, 10 + n)).expect("there is room");
        }
        let mut cx = Context::from_waker(Waker::noop());
        assert!(hub.as_mut().poll(&mut cx).is_pending());
    };
    let open = |topics: &[Topic], limit| {
        let mut reader = Reader::new(&log, 0, Bell::alone(), seat(), Lag::Gap, limit);
        reader.begin(topics, Start::Head).expect("few topics");
        reader
    };
    let one = [topic(0)];
    let mut behind = open(&one, None);
    publish(1);
    let (mut live, mut byte, mut other) = (open(&one, None), open(&one, None), open(&one, None));
    let (mut limited, mut to_the_limit) = (open(&one, Some(2)), open(&one, Some(3)));
    let mut two = open(&[topic(0), topic(1)], None);
    publish(3);
    let joined = |framing| {
        let mut all = reader(&log, &one, Start::After(EventId::ZERO), Lag::Gap);
        let pieces = events(&drain(&mut all)).into_iter().skip(1);
        Vec::from_iter(pieces.flat_map(|event| event.framed(framing)))
    };

    let (run, content) = live.take_run(Framing::SseChunk, MOST).expect("a run");
    assert_eq!(run, joined(Framing::SseChunk));
    assert_eq!(content, joined(Framing::Sse).len());
    assert_eq!(live.position(), log.head());
    assert!(live.take_run(Framing::SseChunk, MOST).is_none());
    assert!(live.try_next().is_none());
    let (run, _) = other.take_run(Framing::Message, MOST).expect("a run");
    assert_eq!(run, joined(Framing::Message));

    let most = joined(Framing::Sse).len() - 1;
    for (name, reader, most, count) in [
        ("too long", &mut byte, most, 3),
        ("behind", &mut behind, MOST, 4),
        ("limited", &mut limited, MOST, 2),
        ("two topics", &mut two, MOST, 3),
    ] {
        let run = reader.take_run(Framing::Sse, most);
        assert!(run.is_none(), "{name}");
        let nexts = drain_to_end(reader);
        assert_eq!(events(&nexts).len(), count, "{name}");
    }
    assert!(to_the_limit.take_run(Framing::Sse, MOST).is_some());
    let end = to_the_limit.try_next();
    assert!(matches!(end, Some(Next::End(End::Limit))), "{end:?}");

    publish(1);
    log.end();
    assert!(live.take_run(Framing::Sse, MOST).is_none());
    let end = live.try_next();
    assert!(matches!(end, Some(Next::End(End::Drain))), "{end:?}");
}

#[test]
fn what_nobody_can_tell_any_more_is_a_gap_for_everybody() {
    let log = Log::new(Limits::default(), "s", 1, Box::new(|| 1));
    let [lost, other] = [topic(1), topic(2)];
    let read = |start| reader(&log, &[lost.clone(), other.clone()], start, Lag::Gap);
    let (mut idle, mut slow) = (read(Start::Head), read(Start::Head));
    let first = log.append(draft(1, 1)).expect("there is room");
    let second = log.append(draft(2, 1)).expect("there is room");
    drain(&mut idle);
    log.lose(Reason::Expired, |topic| *topic == lost);
    let after = log.append(draft(1, 2)).expect("there is room");
    let late = [EventId::ZERO, first].map(|cursor| read(Start::After(cursor)));
    let [mut all, mut resumed] = late;
    for (reader, seen, cursor) in [
        (&mut idle, vec![after], Some(second)),
        (&mut slow, vec![second, after], None),
        (&mut resumed, vec![second, after], Some(first)),
    ] {
        let nexts = drain(reader);
        let ids: Vec<EventId> = events(&nexts).iter().map(|event| event.id).collect();
        assert_eq!(ids, seen);
        let [gap] = &*gaps(&nexts) else {
            panic!("not one gap: {nexts:?}");
        };
        assert_eq!((&gap.topic, gap.reason), (&lost, Reason::Expired));
        assert_eq!(gap.missed, None, "nobody knows how many");
        assert!(gap.resumed_at > second && gap.resumed_at < after);
        assert!(cursor.is_none_or(|cursor| gap.after <= Some(cursor)));
    }
    let nexts = drain(&mut all);
    assert_eq!((events(&nexts).len(), gaps(&nexts).len()), (2, 0));
    assert_eq!(log.held().events, 2);
}
