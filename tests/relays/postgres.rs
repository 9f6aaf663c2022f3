//! Postgres as it is run: behind a pooler, as a standby that becomes the one that takes writes, and without room.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::broker::Broker;
use crate::replica::Replica;
use crate::support::reading::texts;
use crate::support::server::{BINARY, LISTENERS, new_dir};
use crate::wrong::{ends, last};

/// Where the pooler lends sessions, or transactions.
fn pooled(database: &str) -> Option<String> {
    let base = Broker::variable("TRIWIRE_TEST_POOLED")?;
    Some(format!("{base}/{database}"))
}

#[test]
fn a_pooler_of_transactions_ends_it() {
    let Some(url) = pooled("transactions") else {
        return;
    };
    let words = ends(&url);
    assert!(last(&words).contains("pool_mode = session"), "{words}");
    assert!(last(&words).contains("--relay: "), "{words}");
}

#[test]
fn a_pooler_of_transactions_is_none_for_documents_either() {
    let Some(url) = pooled("transactions") else {
        return;
    };
    let dir = new_dir();
    let certs = format!("--certs={}", dir.display());
    for args in [&["migrate"][..], &["serve", &certs]] {
        let done = Command::new(BINARY)
            .args(args)
            .env("TRIWIRE_STORE", &url)
            .output()
            .expect("it starts");
        let words = String::from_utf8(done.stderr).expect("text");
        assert!(last(&words).contains("pool_mode = session"), "{words}");
    }
    let _ = std::fs::remove_dir_all(dir);
}

#[tokio::test]
async fn a_pooler_of_sessions_is_as_none() {
    let Some(url) = pooled("sessions") else {
        return;
    };
    let broker = Broker {
        url: format!("{url}?stream=pooled"),
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    let first = a.publish("1").await.expect("it is there");
    b.has(first.last).await;
    let second = b.publish("2").await.expect("it is there");
    a.has(second.last).await;
    assert_eq!(texts(&a.all()), ["1", "2"]);
    assert_eq!(a.all(), b.all());
}

#[test]
fn a_standby_is_waited_for_until_it_takes_writes() {
    let Some(url) = Broker::variable("TRIWIRE_TEST_STANDBY") else {
        return;
    };
    let dir = new_dir();
    let mut serve = Command::new(BINARY);
    serve.arg("serve").arg("--certs").arg(dir.join("certs"));
    for name in LISTENERS {
        serve.args([format!("--{name}"), "127.0.0.1:0".into()]);
    }
    serve.env("TRIWIRE_RELAY", url);
    let pipes = serve.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("it starts");
    let log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut log = log.map_while(Result::ok);
    let said = log.find(|line| line.contains("it is a standby"));
    let ctl = std::env::var("TRIWIRE_TEST_STANDBY_CTL").expect("the script says it");
    let promoted = Command::new(ctl).arg("promote").output();
    let mut ready = String::new();
    let read = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready);
    let _ = child.kill();
    let _ = child.wait();
    let _ = std::fs::remove_dir_all(dir);
    assert!(said.is_some_and(|line| line.contains("it is tried again")));
    assert!(promoted.is_ok_and(|done| done.status.success()));
    assert!(read.is_ok() && ready.contains("is ready"), "{ready}");
}

#[tokio::test]
async fn a_disk_without_room_is_said_and_used_again_when_it_has_some() {
    // Empty, where nobody may mount anything.
    let Some(broker) = Broker::at("TRIWIRE_TEST_SMALL").filter(|one| one.url.contains("://"))
    else {
        return;
    };
    let (a, b) = (Replica::new(&broker).await, Replica::new(&broker).await);
    let client = broker.sql().await;
    // What somebody else has there, and takes away.
    let ballast = "
        create table ballast (x text);
        alter table ballast alter x set storage external;
        insert into ballast select repeat('x', 100000) from generate_series(1, 30)";
    let added = client.batch_execute(ballast).await;
    added.expect("there is room");
    let text = |number: usize| format!("{number} {}", "x".repeat(100_000));
    let mut taken = Vec::new();
    let refused = loop {
        let text = text(taken.len());
        match a.publish(&text).await {
            Ok(done) => taken.push((done.last, text)),
            Err(refused) => break refused,
        }
        assert!(taken.len() < 100, "it never ends");
    };
    assert_eq!((refused.status.as_u16(), refused.kind), (503, "relay-full"));
    let words = refused.detail;
    assert!(words.contains("No space left"), "{words}");
    let away = client.batch_execute("drop table ballast").await;
    away.expect("it is there");
    let text = text(taken.len());
    let done = a.publish(&text).await.expect("there is room again");
    taken.push((done.last, text));
    b.has(done.last).await;
    assert!(taken.len() > 5, "{}", taken.len());
    assert!(a.all() == taken && b.all() == taken);
    assert_eq!(a.log.carried().map(|carried| carried.lost), Some(0));
}
