//! What is defined is the same on all replicas also when one of them, or all, can not know what was said.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::timeout;
use triwire::event::EventId;
use triwire::live::engine;
use triwire::relay::LOST;
use triwire::relay::memory::Memory;

use super::cable::{Cable, End};
use super::defining::{Replica, named, until};

/// What another replica says of definitions.
fn said(word: Value) -> Bytes {
    let entry = json!({ "by": "another", "n": 1, "to": "live", "word": word });
    Bytes::from(entry.to_string())
}

fn made(name: &str) -> Bytes {
    let asked = json!({ "sql": "select 1", "every_ms": 50, "temporary": false });
    let entry = json!({ "to": "live", "word": { "change": { "make_query": [name, asked] } } });
    Bytes::from(entry.to_string())
}

async fn at_the_end_of(cable: &Arc<Cable>) -> Replica {
    let end = Arc::new(End(cable.clone()));
    Replica::behind(end, 1_000, engine::Limits::default()).await
}

#[tokio::test]
async fn who_was_cut_off_for_too_long_learns_what_was_said_meanwhile() {
    let memory = Memory::new(1_000);
    let cable = Cable::new(&memory);
    let (a, b) = (at_the_end_of(&cable).await, Replica::new(&memory).await);
    a.query("p", "select 1").await.expect("it is new");
    b.settled().await;
    cable.cut(true);
    until("a knows", || a.link.hears().is_err()).await;
    b.query("q", "select 2").await.expect("it is new");
    let gone = b.live.clone().delete_query(named("p"), None).await;
    gone.expect("it is there");
    memory.trim(0);
    cable.cut(false);
    until("a is back", || a.link.hears().is_ok()).await;
    until("they are alike", || a.defined() == b.defined()).await;
    assert_eq!(a.defined()["queries"][0][0], "q");
}

#[tokio::test]
async fn when_all_were_cut_off_for_too_long_they_agree_on_something() {
    let memory = Memory::new(1_000);
    let (a, b) = (Replica::new(&memory).await, Replica::new(&memory).await);
    a.query("p", "select 1").await.expect("it is new");
    b.settled().await;
    memory.cut(true);
    until("they know", || {
        a.link.hears().is_err() && b.link.hears().is_err()
    })
    .await;
    memory.put(made("q"));
    memory.trim(0);
    memory.put(made("r"));
    memory.cut(false);
    until("they are back", || {
        a.link.hears().is_ok() && b.link.hears().is_ok()
    })
    .await;
    until("they have what is left", || {
        let names = |replica: &Replica| replica.defined()["queries"].as_array().map(Vec::len);
        names(&a) == Some(2) && names(&b) == Some(2)
    })
    .await;
    until("they are alike", || a.defined() == b.defined()).await;
}

#[tokio::test]
async fn a_change_between_two_losses_is_made() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    a.query("p", "select 1").await.expect("it is new");
    // With nothing in between: what is defined is said as it was at the first.
    memory.put(Bytes::from_static(LOST));
    memory.put(made("q"));
    memory.put(Bytes::from_static(LOST));
    until("it has said all", || memory.len() > 4).await;
    a.settled().await;
    let defined = a.defined();
    assert_eq!(defined["queries"][0][0], "p");
    assert_eq!(defined["queries"][1][0], "q");
    // Who begins now reads the same.
    let late = Replica::new(&memory).await;
    assert_eq!(late.defined(), a.defined());
}

#[tokio::test]
async fn an_answer_from_before_a_change_that_was_read_does_not_undo_it() {
    let memory = Memory::new(1_000);
    memory.put(made("o"));
    memory.trim(0);
    memory.put(made("q"));
    let a = Replica::new(&memory).await;
    assert_eq!(a.defined()["queries"][0][0], "q");
    memory.put(said(json!({
        "whole": { "of": EventId::ZERO, "part": 0, "parts": 1, "anew": false, "said": [] }
    })));
    a.settled().await;
    assert_eq!(a.defined()["queries"][0][0], "q");
}

#[tokio::test]
async fn what_goes_between_the_look_and_the_first_read_is_asked_for() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    a.query("q", "select 1").await.expect("it is new");
    let cable = Cable::new(&memory);
    cable.trim_once_seen();
    let late = at_the_end_of(&cable).await;
    until("it has asked", || late.defined() == a.defined()).await;
}

#[tokio::test]
async fn who_waits_with_another_is_told_what_that_one_is_told() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    // The next waits a moment before it asks, and the one after it waits for that.
    a.settled().await;
    memory.silence(true);
    let (one, two) = tokio::join!(a.live.settle(), a.live.settle());
    assert!(one.is_err() && two.is_err(), "{one:?} {two:?}");
}

#[tokio::test]
async fn who_waits_with_one_that_goes_asks_by_itself() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    a.settled().await;
    memory.silence(true);
    let goes = timeout(Duration::from_millis(200), a.live.settle());
    let (gone, stays) = tokio::join!(goes, a.live.settle());
    assert!(gone.is_err() && stays.is_err(), "{gone:?} {stays:?}");
}

#[tokio::test]
async fn a_subscription_with_more_topics_than_this_server_reads_is_not_there() {
    let memory = Memory::new(1_000);
    let topics: Vec<Value> = (0..300)
        .map(|n| json!([format!("t{n}"), EventId::ZERO]))
        .collect();
    let one = json!({
        "subscription": { "id": "many", "queries": [], "topics": topics, "holders": ["another"] }
    });
    memory.put(said(json!({
        "whole": { "of": EventId::ZERO, "part": 0, "parts": 1, "anew": false, "said": [one] }
    })));
    let a = Replica::new(&memory).await;
    let found = a.live.find_subscription("many").await;
    let Ok(subscription) = found else { return };
    let mut reader = super::reading::fresh(&a.log);
    let start = triwire::log::Start::Head;
    let followed = a.live.follow(&subscription, &mut reader, start, false);
    panic!("it is there, and read: {}", followed.is_ok());
}
