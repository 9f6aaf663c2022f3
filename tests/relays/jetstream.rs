//! A JetStream cluster with three copies of the stream: the server that leads it is killed while much is published.

use std::fmt::Debug;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use async_nats::jetstream::stream::Info;
use triwire::log::Log;

use crate::broker::Broker;
use crate::replica::{Replica, until};
use crate::support::reading::{draft, texts};
use crate::support::server::PATIENCE;

/// Who publishes at once, on each replica.
const PUBLISHERS: u64 = 20;

/// What is published before the leader is killed, and after there is another.
const SOME: u64 = 500;

/// Has the program of a server's do something; `name` is what the server is called.
fn tell(name: &str, word: &str) {
    let dir = std::env::var("TRIWIRE_TEST_JETSTREAM_CTL").expect("the script says it");
    let done = Command::new(format!("{dir}/{name}/ctl")).arg(word).output();
    let done = done.expect("it starts");
    assert!(done.status.success(), "{word}: {done:?}");
}

/// The stream, as one of the servers that are there has it.
async fn info(broker: &Broker) -> Option<Info> {
    for address in broker.address().split(',') {
        if std::net::TcpStream::connect(address).is_err() {
            continue;
        }
        let jetstream = broker.by(address).jetstream().await;
        let (_, name) = broker.url.split_once("&stream=").expect("a stream");
        let stream = jetstream.get_stream(format!("{name}-events")).await;
        if let Ok(stream) = stream {
            return Some(stream.cached_info().clone());
        }
    }
    None
}

/// Who leads the stream now.
async fn leader(broker: &Broker) -> Option<String> {
    info(broker).await?.cluster?.leader
}

/// Publishes one number after the other, each until it is taken, until it is told to end; how many there were.
async fn publish(
    log: Arc<Log>,
    by: String,
    acknowledged: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> u64 {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let text = format!("{by}-{number}");
        let began = Instant::now();
        while let Err(problem) = log.publish(vec![draft(&text)], Some(&text)).await {
            assert!(
                ["relay-away", "relay-unknown", "relay-full"].contains(&problem.kind),
                "{}",
                problem.detail
            );
            assert!(began.elapsed() < PATIENCE, "{}", problem.detail);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_the_leader_is_killed() {
    let Some(broker) = Broker::at("TRIWIRE_TEST_JETSTREAM") else {
        return;
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    let copies = info(&broker)
        .await
        .expect("it is there")
        .config
        .num_replicas;
    assert_eq!(copies, 3);
    let (acknowledged, is_over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let publishing: Vec<_> = [("a", &a), ("b", &b)]
        .iter()
        .flat_map(|(name, replica)| {
            (0..PUBLISHERS).map(move |number| (format!("{name}{number}"), replica.log.clone()))
        })
        .map(|(by, log)| {
            let published = publish(log, by.clone(), acknowledged.clone(), is_over.clone());
            (by, tokio::spawn(published))
        })
        .collect();
    let more = |count: u64| {
        let (from, acknowledged) = (acknowledged.load(Ordering::Relaxed), acknowledged.clone());
        move || acknowledged.load(Ordering::Relaxed) >= from + count
    };
    until("much is published", more(SOME)).await;
    let killed = leader(&broker).await.expect("there is one");
    tell(&killed, "kill");
    until("it goes on without it", more(SOME)).await;
    tell(&killed, "start");
    until("and with it", more(SOME)).await;
    is_over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for (by, publishing) in publishing {
        let count = publishing.await.expect("no panic");
        all.extend((0..count).map(|number| format!("{by}-{number}")));
    }
    for replica in [&a, &b] {
        replica.comes_back().await;
    }
    let last = a.publish_at_last("last").await.last;
    all.push("last".to_owned());
    all.sort();
    let late = Replica::new(&broker).await;
    for replica in [&a, &b, &late] {
        replica.has(last).await;
        let events = replica.all();
        let mut found = texts(&events);
        found.sort_unstable();
        same(&found, &all);
        same(&events, &a.all());
        assert_eq!(replica.gaps(), 0);
    }
}

/// Where two lists are not the same: all of them would be many lines.
#[track_caller]
fn same<T: PartialEq<U> + Debug, U: Debug>(found: &[T], wanted: &[U]) {
    let first = found
        .iter()
        .zip(wanted)
        .position(|(one, other)| one != other);
    let near = first
        .unwrap_or(found.len().min(wanted.len()))
        .saturating_sub(2);
    let is_same = first.is_none() && found.len() == wanted.len();
    assert!(
        is_same,
        "{} and {}, from {near} on: {:?} and {:?}",
        found.len(),
        wanted.len(),
        &found[near..found.len().min(near + 6)],
        &wanted[near..wanted.len().min(near + 6)]
    );
}
