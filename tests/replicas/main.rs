//! Several logs behind one relay: the same events with the same ids, whatever happens to the relay.

mod cable;
mod defining;
mod definitions;
mod doubts;
mod gone;
#[path = "../support/reading.rs"]
mod reading;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use triwire::event::{Draft, EventId, Topic};
use triwire::log::{Appended, Limits, Log, Next, Reader, Reason, Start};
use triwire::problem::Problem;
use triwire::relay;
use triwire::relay::memory::Memory;
use triwire::replica::entry;
use triwire::replica::link::Link;

use self::reading::{draft, rest, texts};

/// Later than any place of the relay in memory.
const NOW_MS: u64 = 1_000_000;

struct Replica {
    log: Arc<Log>,
    link: Arc<Link>,
    running: tokio::task::JoinHandle<relay::Fault>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Replica {
    async fn new(memory: &Arc<Memory>) -> Replica {
        Replica::with(memory, Limits::default()).await
    }

    async fn with(memory: &Arc<Memory>, limits: Limits) -> Replica {
        let log = Log::new(limits, "s", 1, Box::new(|| NOW_MS));
        let relaying = relay::Limits {
            entries: 1_000,
            timeout: Duration::from_secs(5),
            waiting: 4,
            entry_bytes: 4_096,
        };
        let link = Link::new(Arc::new(memory.clone()), &log, relaying);
        let running = tokio::spawn(link.clone().run());
        link.caught_up().await;
        Replica { log, link, running }
    }

    async fn publish(&self, text: &str) -> Result<Appended, Problem> {
        self.log.publish(vec![draft(text)], None).await
    }

    /// Until it has what the other has.
    async fn follow(&self, id: EventId) {
        let mut reader = self.reader(Start::After(id.before()));
        until(|| matches!(reader.try_next(), Some(Next::Event(event)) if event.id == id)).await;
    }

    fn reader(&self, start: Start) -> Reader {
        reading::reader(&self.log, start)
    }

    fn all(&self) -> Vec<(EventId, String)> {
        let mut reader = self.reader(Start::After(EventId::ZERO));
        rest(&mut reader)
    }
}

/// Lets the others go on until something is so: time stands still until nobody has anything else to do.
async fn until(mut is: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it has not come to that");
}

async fn is_away(replica: &Replica) {
    until(|| replica.log.carried().is_some_and(|c| c.lost == 1)).await;
}

#[tokio::test(start_paused = true)]
async fn all_replicas_have_the_same_events_with_the_same_ids() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    let mut ids = Vec::new();
    for number in 0..20 {
        let by = if number % 3 == 0 { &a } else { &b };
        ids.push(
            by.publish(&number.to_string())
                .await
                .expect("it is there")
                .last,
        );
        // What each tells by itself stands between, and differs.
        let own = Draft {
            topic: Topic::new("$stats").expect("a good name"),
            ..draft("own")
        };
        b.log.append(own).expect("there is room");
    }
    let last = ids[19];
    a.follow(last).await;
    b.follow(last).await;
    // One that comes later has them as well.
    let late = Replica::new(&memory).await;
    let found: Vec<EventId> = a.all().iter().map(|(id, _)| *id).collect();
    assert_eq!(found, ids);
    assert_eq!(b.all(), a.all());
    assert_eq!(late.all(), a.all());
    assert!(ids.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn who_comes_from_further_on_to_one_that_loses_something_gets_nothing_twice() {
    let memory = Memory::new(1_000);
    memory.set_clock(1_000);
    let a = Replica::new(&memory).await;
    let first = a.publish("1").await.expect("it is there").last;
    let had = EventId { ms: 1_005, ..first };
    let mut reader = a.reader(Start::After(had));
    a.log.lose(Reason::Relay, |topic| !topic.is_reserved());
    for (ms, text) in [(1_002, "2"), (1_005, "3"), (1_006, "4")] {
        memory.set_clock(ms);
        a.publish(text).await.expect("it is there");
    }
    let told = rest(&mut reader);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].0, had);
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    assert_eq!(told[1].1, "4");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_entry_with_nothing_between() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    let drafts = ["1", "2", "3"].map(draft).to_vec();
    let done = a.log.publish(drafts, None).await.expect("it is there");
    assert_eq!(memory.len(), 1);
    assert_eq!(done.count, 3);
    assert_eq!(
        (done.last.ms, done.last.n),
        (done.first.ms, done.first.n + 2)
    );
    assert_eq!(texts(&a.all()), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_from_a_replica_that_is_further_on_gets_nothing_twice() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    let first = a.publish("1").await.expect("it is there").last;
    let b = Replica::new(&memory).await;
    b.follow(first).await;
    // Cuts nobody, but b has not been told yet when its reader comes.
    let second = a.publish("2").await.expect("it is there").last;
    let ahead = EventId {
        ms: second.ms + 5,
        ..second
    };
    let mut reader = b.reader(Start::After(ahead));
    b.follow(second).await;
    assert_eq!(rest(&mut reader), []);
    assert_eq!(reader.position(), ahead);
    memory.set_clock(second.ms + 5);
    a.publish("3, at the same place")
        .await
        .expect("it is there");
    memory.set_clock(second.ms + 6);
    let fourth = a.publish("4").await.expect("it is there").last;
    b.follow(fourth).await;
    assert_eq!(texts(&rest(&mut reader)), ["4"]);
    // A cursor from a time that has not come is none of this log's.
    let mut reader = b.reader(Start::After(EventId {
        ms: NOW_MS * 1_000,
        n: 0,
    }));
    let all = rest(&mut reader);
    assert!(all[0].1.contains("expired"), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_twice_is_there_once() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    a.publish("1").await.expect("it is there");
    memory.lose_answers(1);
    let second = a.publish("2").await.expect("it is there, once").last;
    // It is connected anew; what was given to it meanwhile was refused, and is nowhere.
    let third = loop {
        match a.publish("3").await {
            Ok(done) => break done.last,
            Err(problem) => assert_eq!(problem.kind, "relay-away"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    // One who has heard nothing of it sends it again, and so what the relay did not take when it took what came behind it.
    for number in [1, 2, 1, 2, 4, 3, 4, 3, 5] {
        memory.put(entry::write(
            "other",
            number,
            None,
            &[draft(&format!("other {number}"))],
        ));
    }
    let last = a.publish("4").await.expect("it is there").last;
    assert!(last > third);
    b.follow(last).await;
    let others = ["other 1", "other 2", "other 4", "other 3", "other 5"];
    assert_eq!(
        texts(&a.all()),
        [&["1", "2", "3"], &others[..], &["4"]].concat()
    );
    assert_eq!(a.all(), b.all());
    assert_eq!(a.all()[1].0, second);
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_relay_was_not_handed_is_known_not_to_be_there() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    memory.silence(true);
    let (first, second) = tokio::join!(a.publish("1"), async {
        // This clock goes on when nobody has anything to do any more: the first has been handed over.
        tokio::time::sleep(Duration::from_millis(1)).await;
        a.publish("2").await
    });
    let kinds = [first, second].map(|done| done.expect_err("nobody answers").kind);
    assert_eq!(kinds, ["relay-unknown", "relay-away"]);
    memory.silence(false);
    let last = loop {
        match a.publish("3").await {
            Ok(done) => break done.last,
            Err(problem) => assert_eq!(problem.kind, "relay-away"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    a.follow(last).await;
    assert_eq!(texts(&a.all()), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_holds_on_every_replica() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    let first = a.log.publish(vec![draft("1")], Some("k")).await;
    let again = b.log.publish(vec![draft("1")], Some("k")).await;
    assert_eq!(first.expect("it is there"), again.expect("it was there"));
    let other = b.log.publish(vec![draft("2")], Some("l")).await;
    a.follow(other.expect("it is there").last).await;
    assert_eq!(texts(&a.all()), ["1", "2"]);
    assert_eq!(a.all(), b.all());
}

#[tokio::test(start_paused = true)]
async fn without_the_relay_nothing_is_published_and_nothing_lost() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    a.publish("1").await.expect("it is there");
    let mut reader = b.reader(Start::After(EventId::ZERO));
    memory.cut(true);
    is_away(&a).await;
    let refused = a.publish("not there").await.expect_err("it is away");
    assert_eq!(refused.status.as_u16(), 503);
    assert!(a.log.ready().is_err());
    memory.cut(false);
    until(|| a.link.hears().is_ok()).await;
    let second = a.publish("2").await.expect("it is there").last;
    b.follow(second).await;
    assert_eq!(texts(&rest(&mut reader)), ["1", "2"]);
    assert_eq!(memory.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_has_forgotten_all_is_a_gap() {
    let memory = Memory::new(1_000);
    memory.set_clock(500);
    let a = Replica::new(&memory).await;
    let first = a.publish("1").await.expect("it is there").last;
    let mut reader = a.reader(Start::After(EventId::ZERO));
    assert_eq!(texts(&rest(&mut reader)), ["1"]);
    memory.cut(true);
    is_away(&a).await;
    // And its clock is behind.
    memory.set_clock(3);
    memory.forget();
    memory.cut(false);
    until(|| a.link.hears().is_ok()).await;
    let second = a.publish("2").await.expect("it is there").last;
    assert!(second > first);
    let told = rest(&mut reader);
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    assert_eq!(texts(&told[1..]), ["2"]);
    // And so for who comes back.
    let told = rest(&mut a.reader(Start::After(first)));
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    // One that comes later has the same.
    assert_eq!(texts(&Replica::new(&memory).await.all()), ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_has_forgotten_the_newest_is_a_gap() {
    let memory = Memory::new(1_000);
    memory.set_clock(500);
    let a = Replica::new(&memory).await;
    for text in ["1", "2", "3"] {
        a.publish(text).await.expect("it is there");
    }
    let mut reader = a.reader(Start::Head);
    memory.cut(true);
    is_away(&a).await;
    memory.forget_newest(2);
    memory.cut(false);
    until(|| a.link.hears().is_ok()).await;
    a.publish("4").await.expect("it is there");
    let told = rest(&mut reader);
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    assert_eq!(texts(&told[1..]), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_after_the_relay_has_forgotten_something_knows_of_it() {
    let memory = Memory::new(1_000);
    memory.set_clock(500);
    let a = Replica::new(&memory).await;
    let first = a.publish("1").await.expect("it is there").last;
    let gone = a.publish("2").await.expect("it is there").last;
    memory.cut(true);
    is_away(&a).await;
    memory.forget_newest(1);
    // Somebody is quicker than those who would see where it ends.
    memory.set_clock(600);
    let quick = br#"{"events":[{"topic":"a","text":"quick"}]}"#;
    memory.put(Bytes::from_static(quick));
    memory.cut(false);
    until(|| a.link.hears().is_ok()).await;
    a.publish("3").await.expect("it is there");
    let b = Replica::new(&memory).await;
    for replica in [&a, &b] {
        for cursor in [first, gone] {
            let told = rest(&mut replica.reader(Start::After(cursor)));
            assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
        }
        let told = rest(&mut replica.reader(Start::After(first)));
        assert_eq!(told.last().map(|(_, text)| &**text), Some("3"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_away_for_too_long_has_a_gap() {
    let memory = Memory::new(3);
    let a = Replica::new(&memory).await;
    a.publish("1").await.expect("it is there");
    let mut reader = a.reader(Start::Head);
    memory.cut(true);
    is_away(&a).await;
    // By somebody else, who is not cut off.
    for text in ["2", "3", "4", "5", "6"] {
        memory.put(entry::write(
            "other",
            text.parse().expect("a number"),
            None,
            &[draft(text)],
        ));
    }
    memory.cut(false);
    until(|| a.link.hears().is_ok()).await;
    let told = rest(&mut reader);
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    assert_eq!(texts(&told[1..]), ["4", "5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn foreign_entries_are_passed_over() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    for bytes in [
        &b"nonsense"[..],
        b"",
        b"{\"events\":[{\"topic\":\"$x\",\"data\":1}]}",
    ] {
        memory.put(bytes.into());
    }
    memory.put((&br#"{"events":[{"topic":"a","text":"by any program"}]}"#[..]).into());
    a.publish("1").await.expect("it is there");
    assert_eq!(texts(&a.all()), ["by any program", "1"]);
    assert_eq!(a.log.carried().map(|c| c.foreign), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_full_relay_says_so_and_others_go_on() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    memory.fill(true);
    let refused = a.publish("not there").await.expect_err("it is full");
    assert_eq!((refused.status.as_u16(), refused.kind), (503, "relay-full"));
    memory.fill(false);
    a.publish("1").await.expect("it is there");
    let large = "x".repeat(4_096);
    let refused = a.publish(&large).await.expect_err("it is too large");
    assert_eq!(refused.status.as_u16(), 413);
    assert_eq!(texts(&a.all()), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_too_many_push_the_oldest_out() {
    let memory = Memory::new(1_000);
    let few = Limits {
        topics: 2,
        ..Limits::default()
    };
    let (a, b) = (
        Replica::new(&memory).await,
        Replica::with(&memory, few).await,
    );
    let mut last = None;
    for name in ["a", "b", "c", "d"] {
        let draft = Draft {
            topic: Topic::new(name).expect("a good name"),
            ..draft(name)
        };
        last = a.log.publish(vec![draft], None).await.ok();
    }
    let last = last.expect("it is there").last;
    until(|| b.log.head() >= last).await;
    assert_eq!((a.log.held().topics, b.log.held().topics), (4, 2));
    assert_eq!(b.all(), []);
}
