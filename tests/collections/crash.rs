//! What a crash leaves behind: nothing that was acknowledged is lost, and nothing of it is told twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::contract::WIRES;
use crate::shelf::{Shelf, Told, brief, told};
use crate::support::client::Reader;
use crate::support::client::link::{Call, Connection, Link, Target};
use crate::support::client::message::{Id, Message};
use crate::support::client::publisher::Publisher;
use crate::support::server::{Server, new_dir};

const WRITERS: usize = 8;
const WRITES: usize = 1000;

/// A change that was acknowledged: which document, in which version, and what it says.
type Acknowledged = (Value, u64, Value);

#[test]
fn what_was_acknowledged_outlives_a_kill_and_is_told_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    // In the middle, wherever that is.
    for kill_after in [150, 400, 700] {
        let server = Server::start(&[&flag]);
        let name: &'static str = format!("crash{kill_after}").leak();
        let (before, acknowledged, certs) = runtime.block_on(interrupted(server, name, kill_after));
        let server = Server::start_in(certs, &[&flag]);
        runtime.block_on(examine(&server, name, &before, &acknowledged));
    }
    std::fs::remove_dir_all(data).expect("it can be removed");
}

/// Writes with several writers, kills the server among their writes, and returns what was told and acknowledged.
async fn interrupted(
    server: Server,
    name: &'static str,
    kill_after: usize,
) -> (Vec<Told>, Vec<Acknowledged>, std::path::PathBuf) {
    let target = Target::of(&server);
    let mut shelf = Shelf::at(&target, name).await;
    for id in 0..3 {
        shelf.put(id, &json!({"n": 0})).await;
    }
    let watch = shelf.watch(WIRES[0], "", Some(Id::ZERO)).await;
    let reading = tokio::spawn(read_to_the_end(watch));
    let count = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|who| tokio::spawn(write(target.clone(), name, who, count.clone())))
        .collect();
    while count.load(Ordering::Acquire) < kill_after {
        tokio::task::yield_now().await;
    }
    let certs = tokio::task::spawn_blocking(|| server.kill())
        .await
        .expect("killed");
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("a writer"));
    }
    assert!(acknowledged.len() >= kill_after && acknowledged.len() < WRITES);
    (reading.await.expect("a reader"), acknowledged, certs)
}

/// Writes until nobody answers: documents of its own, and patches of some that all write.
async fn write(
    target: Target,
    name: &'static str,
    who: usize,
    count: Arc<AtomicUsize>,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let connection = Connection::try_open(&target, Link::Http1).await;
    let mut publisher = Publisher::on(connection.expect("it accepts"));
    for n in 0..WRITES / WRITERS {
        let call = match n % 2 {
            0 => Call::put(
                format!("/api/v2/{name}/own-{who}-{n}"),
                json!({"n": n}).to_string(),
            ),
            _ => Call::patch(
                format!("/api/v2/{name}/{}", n % 3),
                json!({format!("w{who}"): n}).to_string(),
            ),
        };
        let Ok(answer) = publisher.try_call(call).await else {
            break;
        };
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        let etag = crate::shelf::header(&answer, "etag").expect("an etag");
        let version = etag.trim_matches('"').parse().expect("a version");
        acknowledged.push((answer.body["id"].clone(), version, answer.body));
        count.fetch_add(1, Ordering::AcqRel);
    }
    acknowledged
}

async fn read_to_the_end(mut watch: Reader) -> Vec<Told> {
    let mut all = Vec::new();
    loop {
        match watch.next().await {
            Message::Event(event) => all.push(Told::of(event)),
            Message::End(_) => return all,
            _ => {}
        }
    }
}

async fn examine(
    server: &Server,
    name: &'static str,
    before: &[Told],
    acknowledged: &[Acknowledged],
) {
    let mut shelf = Shelf::of(server, name).await;
    let listed = shelf.list("per_page=1000").await;
    let items = listed.body["items"].as_array().expect("items");
    assert_eq!(listed.body["total"], items.len());
    let now: BTreeMap<String, &Value> = items.iter().map(|d| (d["id"].to_string(), d)).collect();
    // What is told at the start is in the log when the first request is answered.
    shelf.put("last", &json!({})).await;
    let mut watch = shelf.watch(WIRES[0], "", Some(Id::ZERO)).await;
    watch.ready().await;
    let mut after = Vec::new();
    loop {
        let told = told(&mut watch).await;
        if told.said["id"] == "last" {
            break;
        }
        after.push(told);
    }
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for told in before {
        let version = versions.entry(told.said["id"].to_string()).or_default();
        *version += 1;
        assert_eq!(
            told.said["version"], *version,
            "a hole before the crash: {told:?}"
        );
    }
    let later: BTreeSet<(String, u64)> = after.iter().map(identity).collect();
    assert_eq!(later.len(), after.len(), "told twice: {after:?}");
    for (id, version, body) in acknowledged {
        let key = id.to_string();
        assert!(
            !later.contains(&(key.clone(), *version)),
            "told again: {id} {version}"
        );
        let there = now
            .get(&key)
            .unwrap_or_else(|| panic!("{id} was acknowledged and is gone"));
        if id.is_string() {
            assert_eq!(*there, body);
        }
    }
    // Of the documents that all write, each version that was acknowledged is in the one that is there.
    for id in 0..3 {
        let document = now[&id.to_string()];
        let read = shelf.get(id).await;
        let etag = crate::shelf::header(&read, "etag").expect("an etag");
        let version: u64 = etag.trim_matches('"').parse().expect("a version");
        let of_id = acknowledged.iter().filter(|(of, ..)| *of == id);
        let newest = of_id.max_by_key(|(_, version, _)| *version);
        let (_, newest, body) = newest.expect("it was written");
        assert!(version >= *newest);
        for (member, value) in body.as_object().expect("an object") {
            let there = document[member].as_u64();
            assert!(there >= value.as_u64(), "{member}: {there:?} {value}");
        }
        // What comes after the crash goes on where it ended.
        let later = after.iter().filter(|told| told.said["id"] == id);
        let later: Vec<u64> = later.map(|told| identity(told).1).collect();
        assert!(
            later.windows(2).all(|two| two[1] == two[0] + 1),
            "{later:?}"
        );
        assert!(
            later.last().is_none_or(|last| *last == version),
            "{later:?} {version}"
        );
    }
}

fn identity(told: &Told) -> (String, u64) {
    let version = told.said["version"].as_u64().expect("a version");
    (told.said["id"].to_string(), version)
}

/// A crash between the commit and the announcement, as it is found in the file.
#[tokio::test]
async fn what_was_committed_and_not_told_is_told_at_the_start_once() {
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    let server = Server::start(&[&flag]);
    let mut shelf = Shelf::of(&server, "left").await;
    shelf.put("x", &json!({"n": 1})).await;
    shelf.delete("x").await;
    let certs = server.kill();
    let file = rusqlite::Connection::open(data.join("collections.sqlite")).expect("a database");
    let left: i64 = file
        .query_row("select count(*) from outbox", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(left, 0, "what was answered has left nothing");
    file.execute_batch(
        "insert into outbox (collection, kind, id, version, document, patch) values
            ('left', 'ADDED', 'x', 1, '{\"id\":\"x\",\"n\":1}', null),
            ('left', 'MODIFIED', 'x', 2, '{\"id\":\"x\",\"n\":2}', '{\"n\":2}'),
            ('left', 'DELETED', 7, 3, null, null)",
    )
    .expect("inserted");
    drop(file);

    let server = Server::start_in(certs, &[&flag]);
    let shelf = Shelf::of(&server, "left").await;
    let mut watch = shelf.watch(WIRES[0], "", Some(Id::ZERO)).await;
    watch.ready().await;
    for expected in [
        json!(["ADDED", "x", 1]),
        json!(["MODIFIED", "x", 2]),
        json!(["DELETED", 7, 3]),
    ] {
        let told = told(&mut watch).await;
        assert_eq!(brief(&told), expected);
    }
    let server = Server::start_in(server.kill(), &[&flag]);
    let mut shelf = Shelf::of(&server, "left").await;
    let mut watch = shelf.watch(WIRES[0], "", Some(Id::ZERO)).await;
    watch.ready().await;
    shelf.put("next", &json!({})).await;
    assert_eq!(brief(&told(&mut watch).await), json!(["ADDED", "next", 1]));
    drop(server);
    std::fs::remove_dir_all(data).expect("it can be removed");
}

/// Ids, versions, schemas and counts are as they were.
#[tokio::test]
async fn everything_outlives_a_restart() {
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    let server = Server::start(&[&flag]);
    let mut shelf = Shelf::of(&server, "kept").await;
    let schema = json!({"properties": {"n": {"type": "integer"}}});
    let put = Call::put(shelf.path("$schema"), schema.to_string());
    assert_eq!(shelf.call(put).await.status, 201);
    for n in 1..=3 {
        shelf.post(&json!({"n": n})).await;
    }
    shelf.put(2, &json!({"n": 20})).await;
    shelf.delete(3).await;
    let old = crate::shelf::cursor(&shelf.list("").await);
    let server = Server::start_in(server.kill(), &[&flag]);
    let mut shelf = Shelf::of(&server, "kept").await;
    let listed = shelf.list("").await;
    assert_eq!(
        listed.body["items"],
        json!([{"id": 1, "n": 1}, {"id": 2, "n": 20}])
    );
    assert_eq!(listed.body["total"], 2);
    assert_eq!(
        crate::shelf::header(&shelf.get(2).await, "etag"),
        Some("\"2\"")
    );
    assert_eq!(shelf.post(&json!({"n": "x"})).await.status, 400);
    assert_eq!(shelf.post(&json!({"n": 4})).await.body["id"], 4);
    // Who comes back with a cursor of before is told that something may be missing.
    let mut watch = shelf.watch(WIRES[0], "", Some(old)).await;
    watch.ready().await;
    assert_eq!(watch.gap().await.reason, "expired");
    drop(server);
    std::fs::remove_dir_all(data).expect("it can be removed");
}
