//! When the broker goes away, with what it has or without it, or is there and says nothing.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use triwire::log::Start;

use crate::broker::{Broker, TIMEOUT};
use crate::cable::Cable;
use crate::replica::{Replica, until};
use crate::support::reading::{rest, texts};
use crate::support::server::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_has_lost_nothing() {
    let Some((broker, control)) = Broker::fragile().await else {
        return;
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    for number in 0..100 {
        let by = if number % 2 == 0 { &a } else { &b };
        by.publish(&number.to_string()).await.expect("it is there");
    }
    let mut reader = b.reader(Start::Head);
    control.kill().await;
    for replica in [&a, &b] {
        replica.goes_away().await;
        let refused = replica.publish("not there").await.expect_err("it is away");
        assert_eq!((refused.status.as_u16(), refused.kind), (503, "relay-away"));
        assert!(replica.log.ready().is_err());
    }
    control.start().await;
    let last = a.publish_at_last("100").await.last;
    b.has(last).await;
    let numbers: Vec<String> = (0..=100).map(|number| number.to_string()).collect();
    assert_eq!(texts(&a.all()), numbers);
    assert_eq!(b.all(), a.all());
    assert_eq!(texts(&rest(&mut reader)), ["100"]);
    assert_eq!(Replica::new(&broker).await.all(), a.all());
    assert_eq!((a.gaps(), b.gaps()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_several_make_at_once_is_one_and_stays_the_same() {
    let Some((broker, control)) = Broker::fragile().await else {
        return;
    };
    let making = (0..4).map(|_| Replica::new(&broker));
    let all = futures_util::future::join_all(making).await;
    for (number, replica) in all.iter().enumerate() {
        replica
            .publish(&number.to_string())
            .await
            .expect("it is there");
    }
    control.kill().await;
    for replica in &all {
        replica.goes_away().await;
    }
    control.start().await;
    let last = all[3].publish_at_last("4").await.last;
    for replica in &all {
        replica.has(last).await;
        assert_eq!(texts(&replica.all()), ["0", "1", "2", "3", "4"]);
        assert_eq!(replica.gaps(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_has_forgotten_all_is_a_gap() {
    let Some((broker, control)) = Broker::fragile().await else {
        return;
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    let mut first = None;
    for number in 0..30 {
        first = a.publish(&number.to_string()).await.ok();
    }
    let first = first.expect("it is there").last;
    b.has(first).await;
    let mut readers = [a.reader(Start::Head), b.reader(Start::Head)];
    control.kill().await;
    for replica in [&a, &b] {
        replica.goes_away().await;
    }
    control.wipe().await;
    control.start().await;
    // One that knows nothing of what was there is the first to publish.
    let c = Replica::new(&broker).await;
    let second = c.publish("new").await.expect("it is there").last;
    let third = a.publish_at_last("newer").await.last;
    assert!(second > first && third > first, "{first} {second} {third}");
    for replica in [&a, &b, &c] {
        replica.has(second.max(third)).await;
    }
    for reader in &mut readers {
        let told = rest(reader);
        assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
        assert_eq!(texts(&told[1..]), ["new", "newer"], "{told:?}");
    }
    let told = rest(&mut b.reader(Start::After(first)));
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    assert_eq!(texts(&c.all()), ["new", "newer"]);
    assert_eq!((a.gaps(), b.gaps(), c.gaps()), (1, 1, 0));
    // It is lost once, and not again with the next connection.
    control.kill().await;
    b.goes_away().await;
    control.start().await;
    let last = b.publish_at_last("newest").await.last;
    a.has(last).await;
    assert_eq!((a.gaps(), b.gaps()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_emptied_while_it_runs_is_a_gap() {
    let Some((broker, _control)) = Broker::fragile().await else {
        return;
    };
    if !broker.url.starts_with("redis://") {
        return;
    }
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    // Whether it is quiet or not.
    for text in ["1", "2"] {
        let old = a.publish(text).await.expect("it is there").last;
        b.has(old).await;
        let gaps = (a.gaps(), b.gaps());
        broker.redis_cli(&["FLUSHALL"]);
        if text == "2" {
            a.publish_at_last("meanwhile").await;
        }
        until("both have noticed", || {
            a.gaps() > gaps.0 && b.gaps() > gaps.1
        })
        .await;
        for replica in [&a, &b] {
            replica.comes_back().await;
        }
        let new = a.publish_at_last("new").await.last;
        assert!(new > old, "{old} {new}");
        b.has(new).await;
        let late = Replica::new(&broker).await;
        let told = rest(&mut late.reader(Start::After(old)));
        assert!(told[0].1.contains(r#""reason":"#), "{told:?}");
        assert_eq!(told.last().map(|(_, text)| &**text), Some("new"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_an_older_copy_of_itself_is_a_gap() {
    let Some((broker, control)) = Broker::fragile().await else {
        return;
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    for text in ["1", "2"] {
        a.publish(text).await.expect("it is there");
    }
    control.kill().await;
    control.save().await;
    control.start().await;
    let mut last = a.publish_at_last("3").await.last;
    for text in ["4", "5"] {
        last = a.publish(text).await.expect("it is there").last;
    }
    b.has(last).await;
    let mut reader = b.reader(Start::Head);
    let gaps = (a.gaps(), b.gaps());
    control.kill().await;
    for replica in [&a, &b] {
        replica.goes_away().await;
    }
    control.restore().await;
    control.start().await;
    for replica in [&a, &b] {
        replica.comes_back().await;
    }
    // The places of what is forgotten are not given to anything else.
    let next = b.publish_at_last("6").await.last;
    assert!(next > last, "{last} {next}");
    a.has(next).await;
    let told = rest(&mut reader);
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    assert_eq!(texts(&told[1..]), ["6"]);
    // Each that sees it says so to the other, which may be told once more.
    let told = (a.gaps() - gaps.0, b.gaps() - gaps.1);
    assert!(
        (1..=3).contains(&told.0) && (1..=3).contains(&told.1),
        "{told:?}"
    );
    // What was before that may not be all that there was, to who comes later as well.
    let late = Replica::new(&broker).await;
    assert_eq!(late.all(), a.all());
    let told = rest(&mut late.reader(Start::After(last)));
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    // And not again with the next connection.
    let gaps = (a.gaps(), b.gaps());
    control.kill().await;
    for replica in [&a, &b] {
        replica.goes_away().await;
    }
    control.start().await;
    let last = b.publish_at_last("7").await.last;
    a.has(last).await;
    assert_eq!((a.gaps(), b.gaps()), gaps);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_that_has_gone_on_without_us_is_a_gap() {
    let Some((broker, control)) = Broker::fragile().await else {
        return;
    };
    let cable = Cable::to(broker.address()).await;
    let a = Replica::new(&broker.by(&cable.address())).await;
    a.publish("1").await.expect("it is there");
    cable.cut();
    control.kill().await;
    control.save().await;
    control.start().await;
    cable.mend();
    let last = a.publish_at_last("forgotten").await.last;
    let (mut reader, gaps) = (a.reader(Start::Head), a.gaps());
    cable.cut();
    a.goes_away().await;
    control.kill().await;
    control.restore().await;
    control.start().await;
    // Others have had the places of what is forgotten before it can be asked for them.
    let other = br#"{"events":[{"topic":"a","text":"other"}]}"#;
    broker.put(&[other, other, other]).await;
    cable.mend();
    a.comes_back().await;
    let next = a.publish_at_last("2").await.last;
    assert!(next > last, "{last} {next}");
    let told = rest(&mut reader);
    assert!(told[0].1.contains(r#""reason":"relay""#), "{told:?}");
    assert_eq!(texts(&told).last(), Some(&"2"), "{told:?}");
    assert!(a.gaps() > gaps);
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_as_one_that_is_away() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let cable = Cable::to(broker.address()).await;
    let a = Replica::new(&broker.by(&cable.address())).await;
    a.publish("1").await.expect("it is there");
    cable.clog();
    let began = Instant::now();
    let refused = a.publish("2").await.expect_err("nobody answers");
    assert_eq!(refused.status.as_u16(), 503);
    assert!(began.elapsed() < TIMEOUT + PATIENCE / 4);
    a.goes_away().await;
    cable.mend();
    a.comes_back().await;
    let last = a.publish_at_last("3").await.last;
    a.has(last).await;
    // It was told that nobody knows whether the second is there.
    let all = a.all();
    assert!(
        matches!(&*texts(&all), ["1", "3"] | ["1", "2", "3"]),
        "{all:?}"
    );
    assert_eq!(Replica::new(&broker).await.all(), all);
    assert_eq!(a.gaps(), 0);
}

#[tokio::test]
async fn who_is_silent_from_the_beginning_is_waited_for() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let limits = crate::broker::limits();
    let relay = broker.by(&format!("localhost:{port}")).relay(limits);
    let (reading, writing) = tokio::join!(relay.reading(), relay.writing());
    let words = |fault: Option<triwire::relay::Fault>| {
        let fault = fault.expect("nobody is there");
        assert!(!fault.is_final, "{fault}");
        fault.words
    };
    assert!(!words(reading.err()).is_empty());
    assert!(!words(writing.err()).is_empty());
    // And one that takes no connection at all.
    drop(silent);
    let relay = broker.by(&format!("localhost:{port}")).relay(limits);
    assert!(!words(relay.reading().await.err()).is_empty());
}

#[tokio::test]
async fn it_is_the_stream_that_is_read_not_a_silence() {
    let Some(broker) = Broker::shared() else {
        return;
    };
    // Nothing comes for longer than anybody waits for an entry.
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    tokio::time::sleep(TIMEOUT + Duration::from_secs(2)).await;
    assert_eq!(a.log.carried().map(|carried| carried.lost), Some(0));
    let last = b.publish("1").await.expect("it is there").last;
    until("it comes", || a.log.head() >= last).await;
    assert_eq!(texts(&a.all()), ["1"]);
}
