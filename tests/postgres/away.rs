//! A database that goes away and comes back, under load: nothing that was acknowledged is lost, nothing is told twice,
//! and who asks meanwhile is told to come back.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::database::Database;
use super::load::{Load, by_document, put_end, read};
use super::rest::{post, watch};
use crate::support::client::Framing;
use crate::support::client::link::Target;
use crate::support::client::message::Id;
use crate::support::client::publisher::Publisher;
use crate::support::server::{PATIENCE, Server};

fn ctl(args: &[&str]) {
    let script = std::env::var("TRIWIRE_POSTGRES_CTL").expect("the script says it");
    let status = Command::new(script).args(args).status();
    assert!(status.expect("it runs").success(), "{args:?}");
}

/// Asks until the server is ready, or not.
async fn until_ready(server: &Server, ready: bool) {
    let deadline = Instant::now() + PATIENCE;
    let wanted = if ready {
        "HTTP/1.1 200"
    } else {
        "HTTP/1.1 503"
    };
    loop {
        let (head, body) =
            server.request("GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        if head.starts_with(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{wanted}: {head}\n{body}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Readers of two servers, on two wires.
async fn readers(server: &Server, other: &Server) -> [JoinHandle<Vec<(Id, i64)>>; 2] {
    [
        read(watch(server, Framing::Sse, "items").await),
        read(watch(other, Framing::WebSocket, "items").await),
    ]
}

/// Holds what was acknowledged against what is there, and what two servers have told.
async fn hold(
    database: &Database,
    acknowledged: &HashMap<i64, Id>,
    readers: [JoinHandle<Vec<(Id, i64)>>; 2],
) {
    put_end(database);
    let there = database.sql("select number from triwire.documents where number is not null");
    let there = there.lines().map(|line| line.parse().expect("a number"));
    let there: HashSet<i64> = there.collect();
    let gone = |id: &&i64| !there.contains(*id);
    let lost: Vec<&i64> = acknowledged.keys().filter(gone).collect();
    assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
    for (number, reader) in readers.into_iter().enumerate() {
        let seen = by_document(&reader.await.expect("it read"));
        let told: HashSet<i64> = seen.keys().copied().collect();
        assert_eq!(told, there, "what is there is told, and nothing else");
        // Each server has ids of its own.
        for (id, event) in acknowledged.iter().filter(|_| number == 0) {
            assert_eq!(seen[id], *event, "{id} is told by another event");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_and_started_under_load() {
    let Some(database) = Database::fragile() else {
        return;
    };
    let (server, other) = (database.server(&[]), database.server(&[]));
    let readers = readers(&server, &other).await;
    let load = Load::start(&[&server]);
    load.more(100).await;
    for mode in ["fast", "immediate", "immediate", "fast"] {
        ctl(&["-m", mode, "stop"]);
        until_ready(&server, false).await;
        until_ready(&other, false).await;
        ctl(&["start"]);
        until_ready(&server, true).await;
        until_ready(&other, true).await;
        load.more(100).await;
    }
    assert!(load.refused() > 0);
    let acknowledged = load.end().await;
    hold(&database, &acknowledged, readers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_terminated_under_load() {
    const TERMINATE: &str = "
        select count(pg_terminate_backend(pid)) from pg_stat_activity
        where application_name = 'triwire' and datname = current_database()";
    let Some(database) = Database::migrated() else {
        return;
    };
    let (server, other) = (database.server(&[]), database.server(&[]));
    let readers = readers(&server, &other).await;
    let load = Load::start(&[&server]);
    load.more(20).await;
    for _ in 0..10 {
        let ended: usize = database.sql(TERMINATE).parse().expect("a number");
        assert!(ended > 0);
        load.more(30).await;
    }
    let acknowledged = load.end().await;
    hold(&database, &acknowledged, readers).await;
}

#[tokio::test]
async fn who_waits_is_not_left_waiting() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&[]);
    let mut client = Publisher::new(&Target::of(&server)).await;
    assert_eq!(client.call(post("items", "{}")).await.status, 201);
    // It does not answer any more: it takes no connections, and ends those that there are.
    let name = database.sql("select current_database()");
    let admin = database.admin();
    admin.sql(&format!("alter database {name} allow_connections false"));
    admin.sql(&format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{name}'"
    ));
    until_ready(&server, false).await;
    let began = Instant::now();
    let refused = client.call(post("items", "{}")).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(refused.body["type"], Value::from("/problems/store-away"));
    admin.sql(&format!("alter database {name} allow_connections true"));
    until_ready(&server, true).await;
    assert_eq!(client.call(post("items", "{}")).await.status, 201);
}
