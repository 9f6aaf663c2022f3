//! While the broker is there: the same events with the same ids everywhere.

use std::time::{Duration, Instant};

use triwire::event::EventId;
use triwire::log::Start;
use triwire::relay::Batch;

use crate::broker::{Broker, limits};
use crate::cable::Cable;
use crate::replica::{Replica, until};
use crate::support::reading::{draft, rest, texts};

#[tokio::test]
async fn all_replicas_have_the_same_events_with_the_same_ids() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    let mut ids = Vec::new();
    for number in 0..50 {
        let by = if number % 3 == 0 { &a } else { &b };
        let done = by.publish(&number.to_string()).await;
        ids.push(done.expect("it is there").last);
    }
    let batch: Vec<_> = ["x", "y", "z"].map(draft).into();
    let done = a.log.publish(batch, None).await.expect("it is there");
    // In one place, with nothing in between.
    assert_eq!(done.first.relay_place(), done.last.relay_place());
    assert_eq!(done.last.n, done.first.n + 2);
    for replica in [&a, &b] {
        replica.has(done.last).await;
    }
    let late = Replica::new(&broker).await;
    let found: Vec<EventId> = a.all().iter().map(|(id, _)| *id).collect();
    assert_eq!(found[..50], ids);
    assert_eq!(found.len(), 53);
    assert!(found.is_sorted());
    assert_eq!(b.all(), a.all());
    assert_eq!(late.all(), a.all());
    // A cursor of one is one of all.
    let half = rest(&mut late.reader(Start::After(ids[24])));
    assert_eq!(half[..25], a.all()[25..50]);
    assert_eq!((a.gaps(), b.gaps(), late.gaps()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_keep_their_order() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    let publishing = [&a, &b].map(|replica| {
        let log = replica.log.clone();
        tokio::spawn(async move {
            let mut all = Vec::new();
            for round in 0..20 {
                let under_way: Vec<_> = (0..50)
                    .map(|number| {
                        log.publish(vec![draft(&format!("{}", round * 50 + number))], None)
                    })
                    .collect();
                for done in under_way {
                    all.push(done.await.expect("it is there").last);
                }
            }
            all
        })
    });
    let mut last = EventId::ZERO;
    for published in publishing {
        let ids = published.await.expect("no panic");
        assert!(ids.is_sorted());
        last = last.max(*ids.last().expect("some"));
    }
    for replica in [&a, &b] {
        replica.has(last).await;
        assert_eq!(replica.all().len(), 2_000);
    }
    assert_eq!(a.all(), b.all());
    assert_eq!(Replica::new(&broker).await.all(), a.all());
}

#[tokio::test]
async fn foreign_entries_are_passed_over() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let a = Replica::new(&broker).await;
    broker
        .put(&[
            b"nonsense",
            b"",
            b"\xff\xfe",
            b"{\"events\":[{\"topic\":\"$x\",\"data\":1}]}",
            b"{\"events\":[{\"topic\":\"a\",\"text\":\"by any program\"}]}",
        ])
        .await;
    let last = a.publish("1").await.expect("it is there").last;
    a.has(last).await;
    assert_eq!(texts(&a.all()), ["by any program", "1"]);
    assert_eq!(a.log.carried().map(|carried| carried.foreign), Some(4));
}

#[tokio::test]
async fn what_is_there_before_the_first_replica_is_in_the_log() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    for text in ["1", "2"] {
        let entry = format!(r#"{{"events":[{{"topic":"a","text":"{text}"}}]}}"#);
        broker.put(&[entry.as_bytes()]).await;
    }
    // An entry's place has the millisecond of then.
    let begun = Instant::now();
    until("another millisecond", || {
        begun.elapsed() > Duration::from_millis(3)
    })
    .await;
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    let last = a.publish("3").await.expect("it is there").last;
    b.has(last).await;
    assert_eq!(texts(&a.all()), ["1", "2", "3"]);
    assert_eq!(a.all(), b.all());
    assert_eq!((a.gaps(), b.gaps()), (0, 0));
}

#[tokio::test]
async fn a_replica_that_is_cut_off_has_it_all_afterwards() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let cable = Cable::to(broker.address()).await;
    let (a, b) = (
        Replica::new(&broker).await,
        Replica::new(&broker.by(&cable.address())).await,
    );
    a.publish("1").await.expect("it is there");
    cable.cut();
    b.goes_away().await;
    let refused = b.publish("not there").await.expect_err("it is cut off");
    assert_eq!((refused.status.as_u16(), refused.kind), (503, "relay-away"));
    a.publish("2").await.expect("it is there");
    cable.mend();
    b.comes_back().await;
    let last = b.publish_at_last("3").await.last;
    a.has(last).await;
    assert_eq!(texts(&a.all()), ["1", "2", "3"]);
    assert_eq!(a.all(), b.all());
    assert_eq!((a.gaps(), b.gaps()), (0, 0));
}

#[tokio::test]
async fn who_stood_still_while_the_stream_was_trimmed_has_a_gap() {
    let Some(broker) = Broker::shared().filter(|broker| broker.url.starts_with("redis://")) else {
        return;
    };
    let mut reading = broker.relay(limits()).reading().await.expect("it is there");
    let begin = reading.bounds().await.expect("it answers").first;
    let one = broker.put_one("1");
    let batch = reading.next(begin).await.expect("it answers");
    let found = |batch: &Batch| batch.entries.iter().map(|e| e.place).collect::<Vec<_>>();
    assert_eq!((found(&batch), batch.is_lossy), (vec![one], false));
    // Nothing after it was let go: neither where it is there, nor where it is not.
    let two = broker.put_one("2");
    let batch = reading.next(one).await.expect("it answers");
    assert_eq!((found(&batch), batch.is_lossy), (vec![two], false));
    broker.trim();
    let batch = reading.next(two).await.expect("it answers");
    assert_eq!((found(&batch), batch.is_lossy), (vec![], false));
    let three = broker.put_one("3");
    let batch = reading.next(two).await.expect("it answers");
    assert_eq!(found(&batch), [three]);
    // What came in between is gone.
    broker.put_one("4");
    broker.trim();
    let five = broker.put_one("5");
    let batch = reading.next(three).await.expect("it answers");
    assert_eq!((found(&batch), batch.is_lossy), (vec![five], true));
    broker.put_one("6");
    broker.trim();
    let batch = reading.next(five).await.expect("it answers");
    assert_eq!((found(&batch), batch.is_lossy), (vec![], true));
}

#[tokio::test]
async fn who_was_cut_off_for_too_long_has_a_gap() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let few = triwire::relay::Limits {
        entries: 200,
        ..limits()
    };
    let cable = Cable::to(broker.address()).await;
    let (a, b) = (
        Replica::with(&broker, few).await,
        Replica::with(&broker.by(&cable.address()), few).await,
    );
    let first = a.publish("first").await.expect("it is there").last;
    b.has(first).await;
    let mut reader = b.reader(Start::Head);
    assert!(broker.is_whole(few).await);
    cable.cut();
    b.goes_away().await;
    let mut last = first;
    for number in 0..1_000 {
        let done = a.publish(&number.to_string()).await;
        last = done.expect("it is there").last;
    }
    assert!(!broker.is_whole(few).await);
    cable.mend();
    b.has(last).await;
    let told = rest(&mut reader);
    assert!(told[0].1.contains(r#""reason":"relay""#), "{:?}", told[0]);
    let (there, all) = (texts(&told[1..]), a.all());
    // Without a hole, to the end; a broker may keep some more than it must.
    assert!((200..1_000).contains(&there.len()), "{}", there.len());
    assert_eq!(there, texts(&all[all.len() - there.len()..]));
    assert_eq!((a.gaps(), b.gaps()), (0, 1));
    // One that comes now has no more, and says so to who asks for more.
    let late = Replica::with(&broker, few).await;
    assert!(late.all().len() < 1_000);
    let told = rest(&mut late.reader(Start::After(first)));
    assert!(told[0].1.contains("expired"), "{:?}", told[0]);
}
