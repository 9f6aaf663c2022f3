//! What is defined on one of several servers behind one relay is defined on all, whatever happens to the relay and to them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use triwire::event::EventId;
use triwire::live::engine;
use triwire::live::tables;
use triwire::log::Start;
use triwire::relay::memory::Memory;

use super::defining::{
    Replica, TTL, asked, named, refused, set, told, two, until, until_hears, until_late,
};
use super::reading::{rest, texts};

#[tokio::test]
async fn what_is_defined_on_one_is_defined_on_all() {
    let (memory, [a, b]) = two().await;
    a.table("t").await.expect("it is new");
    b.query("q", "select count(*) as n from t")
        .await
        .expect("the table is there");
    b.table("u").await.expect("it is new");
    let id = a
        .subscribe(&["q"], &["c"])
        .await
        .expect("the query is there");
    let subscription = b
        .live
        .find_subscription(&id)
        .await
        .expect("it is there too");
    assert_eq!(subscription.id(), id);
    a.settled().await;
    assert_eq!(a.defined(), b.defined());
    assert_eq!(a.defined()["queries"][0][0], "q");
    assert!(b.live.find_table("t").await.is_ok());
    // One that begins now as well.
    let c = Replica::new(&memory).await;
    assert_eq!(c.defined(), b.defined());

    c.delete("q").await;
    c.forget("u").await;
    c.unsubscribe(id).await;
    a.settled().await;
    b.settled().await;
    assert_eq!(a.defined(), c.defined());
    assert_eq!(b.defined(), c.defined());
    assert_eq!(a.defined()["queries"], json!([]));
    assert_eq!(a.defined()["subscriptions"], 0);
}

#[tokio::test]
async fn of_two_who_want_the_same_one_is_refused() {
    let (_, [a, b]) = two().await;
    for number in 0..10 {
        let (table, name) = (format!("t{number}"), format!("q{number}"));
        let made = tokio::join!(a.table(&table), b.table(&table));
        assert_eq!(refused(made), ["table-exists"]);
        let made = tokio::join!(a.query(&name, "select 1"), b.query(&name, "select 2"));
        assert_eq!(refused(made), ["query-exists"]);
        let about: Value =
            serde_json::from_str(&a.live.query(&named(&name)).expect("it is there")).expect("JSON");
        let etag = Some(vec![about["etag"].as_str().expect("an etag").to_owned()]);
        let change = |replica: &Replica, sql: &str| {
            replica
                .live
                .clone()
                .change_query(named(&name), asked(sql, false), etag.clone())
        };
        let changed = tokio::join!(change(&a, "select 3"), change(&b, "select 4"));
        assert_eq!(refused(changed), ["changed"]);
    }
    a.settled().await;
    b.settled().await;
    assert_eq!(a.defined(), b.defined());
}

#[tokio::test]
async fn a_table_that_is_too_much_for_who_is_asked_is_on_no_replica() {
    let memory = Memory::new(1_000);
    let small = engine::Limits {
        // Two are built in.
        tables: 3,
        columns: 1,
        ..engine::Limits::default()
    };
    let (a, b) = (
        Replica::new(&memory).await,
        Replica::of(&memory, 1_000, small).await,
    );
    a.table("t").await.expect("it is new");
    let refused = b.table("u").await.expect_err("there are three");
    assert_eq!(refused.kind, "too-many-tables");
    let columns = ["x", "y"].map(|name| (name.to_owned(), "int64".to_owned()));
    let wide = tables::Asked::new("w".into(), columns.into(), None);
    let refused = b.live.clone().create_table(wide).await;
    assert_eq!(refused.expect_err("two are too many").status.as_u16(), 400);
    a.settled().await;
    assert_eq!(a.live.tables().len(), 3);
    // What another has dropped makes room at once.
    a.forget("t").await;
    b.table("u").await.expect("there is room");
}

#[tokio::test]
async fn a_late_one_knows_what_was_said_before_all_that_the_relay_retains() {
    let memory = Memory::new(200);
    let (a, b) = (
        Replica::with(&memory, 200).await,
        Replica::with(&memory, 200).await,
    );
    a.table("t").await.expect("it is new");
    let mut names = Vec::new();
    for number in 0..40 {
        let name = format!("q{number:02}");
        // All of them are more than one entry holds.
        let sql = format!("select count(*) as n from t where x <> {number:0300}");
        a.query(&name, &sql).await.expect("it is new");
        names.push(name);
    }
    let id = b
        .subscribe(&["q07"], &["c"])
        .await
        .expect("the query is there");
    let _used = b.reader(&id, Start::Head);
    b.delete("q03").await;
    for x in 0..700 {
        a.row("t", x).await;
        // The wholes have to get in between.
        if x % 50 == 0 {
            b.settled().await;
        }
    }
    let late = Replica::with(&memory, 200).await;
    b.settled().await;
    assert_eq!(late.defined(), b.defined());
    assert_eq!(late.defined()["queries"].as_array().map(Vec::len), Some(39));
    assert_eq!(
        late.live.describe_subscription(&id).expect("it is there")["queries"],
        json!(["q07"])
    );
}

#[tokio::test]
async fn a_late_one_asks_for_what_somebody_has_taken_out_of_the_relay() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    a.table("t").await.expect("it is new");
    a.query("q", "select count(*) as n from t")
        .await
        .expect("the table is there");
    memory.trim(0);
    a.query("p", "select 1").await.expect("it is new");
    let late = Replica::new(&memory).await;
    until("it has asked", || late.defined() == a.defined()).await;
    assert_eq!(late.defined()["queries"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn what_the_relay_forgets_the_replicas_know() {
    let (memory, [a, b]) = two().await;
    a.table("t").await.expect("it is new");
    a.query("q", "select count(*) as n from t")
        .await
        .expect("the table is there");
    b.settled().await;
    // All that it had.
    memory.cut(true);
    until_hears([&a, &b], false).await;
    assert_eq!(
        a.query("p", "select 1").await.expect_err("it is away").kind,
        "relay-away"
    );
    memory.forget();
    memory.cut(false);
    a.link.caught_up().await;
    until_hears([&a, &b], true).await;
    until("it is there", || !memory.is_empty()).await;
    until_late(&memory, &a).await;
    assert_eq!(a.defined(), b.defined());
    assert_eq!(a.defined()["queries"].as_array().map(Vec::len), Some(1));

    // A change that one has heard of, and that is gone.
    a.settled().await;
    b.settled().await;
    a.query("r", "select 2").await.expect("it is new");
    b.settled().await;
    memory.cut(true);
    until_hears([&a, &b], false).await;
    memory.forget_newest(2);
    memory.cut(false);
    until_hears([&a, &b], true).await;
    until("they agree", || a.defined() == b.defined()).await;
    until_late(&memory, &a).await;
    assert_eq!(a.defined(), b.defined());
}

#[tokio::test]
async fn a_subscription_lives_as_long_as_any_uses_it() {
    let (_, [a, b]) = two().await;
    let id = a.subscribe(&[], &["c"]).await.expect("it is new");
    b.settled().await;
    let used = b.reader(&id, Start::Head);
    // The one that made it does not use it.
    let begun = Instant::now();
    until("more than its time", || begun.elapsed() > TTL * 3).await;
    assert!(a.live.subscription(&id).is_ok());
    assert!(b.live.subscription(&id).is_ok());
    let about = a.live.describe_subscription(&id).expect("it is there");
    assert_eq!(
        (&about["streams"], &about["ends_in_s"]),
        (&json!(0), &json!(null))
    );
    drop(used);
    until("it ends", || {
        a.live.subscription(&id).is_err() && b.live.subscription(&id).is_err()
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_replica_used_is_there_for_who_comes_to_another() {
    let (_, [a, b]) = two().await;
    let id = a.subscribe(&[], &["c"]).await.expect("it is new");
    let other = a.subscribe(&[], &["d"]).await.expect("it is new");
    b.settled().await;
    drop(a);
    let used = b.reader(&id, Start::Head);
    until("nobody comes to the other", || {
        b.live.subscription(&other).is_err()
    })
    .await;
    assert!(b.live.subscription(&id).is_ok());
    drop(used);
    until("nobody comes", || b.live.subscription(&id).is_err()).await;
}

#[tokio::test]
async fn a_temporary_query_goes_with_the_last_subscription_on_any_replica() {
    let (_, [a, b]) = two().await;
    let live = a.live.clone();
    live.create_query(named("q"), asked("select 1", true))
        .await
        .expect("it is new");
    let id = b.subscribe(&["q"], &[]).await.expect("the query is there");
    a.settled().await;
    let _used = a.reader(&id, Start::Head);
    let begun = Instant::now();
    until("more than its time", || begun.elapsed() > TTL * 3).await;
    assert!(a.live.query(&named("q")).is_ok());
    b.unsubscribe(id).await;
    until("it ends", || {
        a.live.query(&named("q")).is_err() && b.live.query(&named("q")).is_err()
    })
    .await;
}

#[tokio::test]
async fn a_change_of_a_subscription_comes_before_what_is_published_after_it() {
    let (_, [a, b]) = two().await;
    let id = a.subscribe(&[], &["c"]).await.expect("it is new");
    b.settled().await;
    let mut reader = b.reader(&id, Start::Head);
    for number in 0..50 {
        let topic = format!("t{number}");
        let change = set(&[], &["c", &topic]);
        a.live
            .clone()
            .change_subscription(id.clone(), change, None)
            .await
            .expect("it is there");
        a.row(&topic, number).await;
        told(&mut reader, &format!("{{\"x\":{number}}}")).await;
    }
}

#[tokio::test]
async fn a_table_that_was_made_again_has_the_same_rows_on_all() {
    let memory = Memory::new(1_000);
    let a = Replica::new(&memory).await;
    a.table("t").await.expect("it is new");
    for x in 0..5 {
        a.row("t", x).await;
    }
    a.forget("t").await;
    a.row("t", 50).await;
    a.table("t").await.expect("it is new again");
    a.row("t", 100).await;
    let b = Replica::new(&memory).await;
    assert_eq!(a.defined(), b.defined());
    for replica in [&a, &b] {
        until("its rows", || {
            replica.live.table("t").expect("it is there").rows == 2
        })
        .await;
    }
}

#[tokio::test]
async fn who_comes_from_another_replica_is_told_what_is_so() {
    let (_, [a, b]) = two().await;
    a.table("t").await.expect("it is new");
    a.query("n", "select count(*) as n from t")
        .await
        .expect("the table is there");
    a.query("r", "select x, 1 as one from t where x >= 0")
        .await
        .expect("the table is there");
    let id = a
        .subscribe(&["n", "r"], &["t"])
        .await
        .expect("the queries are there");
    b.settled().await;
    // Both are evaluated on both.
    let (mut there, mut here) = (a.reader(&id, Start::Head), b.reader(&id, Start::Head));
    let mut x = 0;
    for _ in 0..20 {
        let last = a.row("t", x).await;
        x += 1;
        // It leaves a with the row itself and, as it happens, with or without the results.
        let mut cursor = EventId::ZERO;
        until("the row", || {
            rest(&mut there);
            cursor = there.cursor();
            cursor >= last
        })
        .await;
        b.log.come_to(cursor, Duration::from_secs(5)).await;
        let mut moved = b.reader(&id, Start::After(cursor));
        let all = told(&mut moved, &format!("{{\"query\":\"n\",\"result\":{x}}}")).await;
        let ids: Vec<EventId> = all
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| *id != EventId::ZERO)
            .collect();
        assert!(ids.is_sorted(), "{all:?}");
        rest(&mut here);
    }
    let newest = format!("{{\"x\":{},\"one\":1}}", x - 1);
    let cursor = there.cursor();
    let mut moved = b.reader(&id, Start::After(cursor));
    // All rows of it, not only those that are added.
    let all = told(
        &mut moved,
        "\"query\":\"r\",\"result\":[{\"x\":0,\"one\":1}",
    )
    .await;
    assert!(
        texts(&all).iter().any(|text| text.contains(&newest)),
        "{all:?}"
    );
}
