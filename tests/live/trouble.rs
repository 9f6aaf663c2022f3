//! What goes wrong while queries run: a table is dropped, a query breaks a limit, a client leaves. Everybody else goes
//! on.

use std::time::{Duration, Instant};

use serde_json::json;

use super::WIRES;
use super::desk::Desk;
use super::support::client::link::{Call, Target};
use super::support::client::publisher::Publisher;
use super::support::server::Server;

#[tokio::test]
async fn a_table_that_is_dropped_ends_its_queries_and_no_other() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    for table in ["t", "u"] {
        desk.table(table).await;
    }
    desk.query("of_t", "select count(*) from t").await;
    desk.query("of_u", "select count(*) from u").await;
    let id = desk.subscription(&["of_t", "of_u"], &[]).await;
    let mut streams = desk.open_everywhere(&id).await;
    for stream in &mut streams {
        stream.next().await;
    }
    assert_eq!(desk.delete("/streams/t").await.status, 204);
    for stream in &mut streams {
        let problem = stream.failure("of_t").await;
        assert_eq!(problem["type"], "/problems/table-dropped", "{problem}");
    }
    let about = desk.get("/queries/of_t").await.body;
    assert_eq!(about["state"], "failed");
    assert_eq!(about["error"]["type"], "/problems/table-dropped");
    desk.rows("u", [1]).await;
    for stream in &mut streams {
        stream.until("of_u", json!(1)).await;
    }
    // A newcomer is told what there is: a result and a failure.
    let mut late = desk.open(WIRES[0], &id).await;
    late.failure("of_t").await;
    // Changed to what there is, it goes on.
    desk.change("of_t", "select sum(n) from u").await;
    for stream in &mut streams {
        stream.until("of_t", json!(1)).await;
    }
}

/// Whoever opens a stream has what has failed tried again, though not at once, and who reads it already is told too.
#[tokio::test]
async fn a_query_goes_on_when_its_table_is_back() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.query("of_t", "select count(*) from t").await;
    let id = desk.subscription(&["of_t"], &[]).await;
    let mut stream = desk.open(WIRES[0], &id).await;
    stream.until("of_t", json!(0)).await;
    assert_eq!(desk.delete("/streams/t").await.status, 204);
    stream.failure("of_t").await;
    desk.table("t").await;
    desk.rows("t", [1, 2]).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while desk.get("/queries/of_t").await.body["state"] == "failed" {
        assert!(Instant::now() < deadline, "it is never tried again");
        drop(desk.open(WIRES[0], &id).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stream.until("of_t", json!(2)).await;
}

#[tokio::test]
async fn a_query_that_breaks_its_time_ends_and_others_go_on() {
    let server = Server::start(&["--query-time=100ms"]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    let endless =
        "with recursive r(x) as (select 1 union all select x + 1 from r) select count(*) from r, t";
    desk.query("endless", endless).await;
    desk.query("count", "select count(*) from t").await;
    let id = desk.subscription(&["endless", "count"], &[]).await;
    let mut stream = desk.open(WIRES[0], &id).await;
    desk.rows("t", [1]).await;
    let problem = stream.failure("endless").await;
    assert_eq!(problem["type"], "/problems/query-time", "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("query-time"), "{detail}");
    desk.rows("t", [2]).await;
    stream.until("count", json!(2)).await;
}

/// The log is short, and many publish at once while queries come: what they were told is taken is in the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_in_the_table() {
    const WRITERS: i64 = 6;
    const BATCHES: i64 = 40;
    const ROWS: i64 = 30;
    let server = Server::start(&["--topic-events=100"]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(desk.target.clone(), writer * BATCHES, BATCHES, ROWS)))
        .collect();
    let (mut streams, mut refused) = (Vec::new(), 0);
    for n in 0..10 {
        let (rows, groups) = (format!("rows{n}"), format!("groups{n}"));
        desk.query(
            &rows,
            &format!("select n from t where n >= 0 and {n} = {n}"),
        )
        .await;
        let sums = format!("select count(distinct n) from t where {n} = {n}");
        desk.query(&groups, &sums).await;
        let id = desk.subscription(&[&rows, &groups], &[]).await;
        streams.push((groups, desk.open(WIRES[n % WIRES.len()], &id).await));
    }
    for writer in writers {
        refused += writer.await.expect("it writes");
    }
    assert!(refused > 0, "there was no need to refuse any");
    let all = WRITERS * BATCHES * ROWS;
    for (groups, stream) in &mut streams {
        stream.until(groups, json!(all)).await;
    }
    let about = desk.get("/streams/t").await.body;
    assert_eq!((&about["rows"], &about["missed"]), (&json!(all), &json!(0)));
}

/// Publishes batches of rows that nobody else does; how often it had to try again.
async fn write(target: Target, first: i64, batches: i64, rows: i64) -> usize {
    let mut publisher = Publisher::new(&target).await;
    let (mut batch, mut refused) = (first, 0);
    while batch < first + batches {
        let data: Vec<[i64; 1]> = (batch * rows..(batch + 1) * rows).map(|n| [n]).collect();
        let body = json!({ "data": data }).to_string();
        let done = publisher.call(Call::post("/streams/t/ingest", body)).await;
        match done.status {
            201 => batch += 1,
            503 => {
                assert_eq!(done.body["type"], "/problems/table-late", "{done:?}");
                refused += 1;
                tokio::task::yield_now().await;
            }
            _ => panic!("{done:?}"),
        }
    }
    refused
}

/// Streams and requests that are left in the middle leave nothing behind but what was said to the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave() {
    let server = Server::start(&["--subscription-ttl=200ms"]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.query("q", "select count(*) from t").await;
    for round in 0..5 {
        let id = desk.subscription(&["q"], &["t"]).await;
        for transport in WIRES {
            let stream = desk.open(transport, &id).await;
            desk.rows("t", [round]).await;
            drop(stream);
        }
        server.until("all have left", |stats| {
            let wires = stats["wires"].as_object().expect("wires");
            wires.values().all(|wire| wire["streams"] == 0)
        });
        let path = format!("/subscriptions/{id}");
        desk.until(&path, |answer| answer.status == 404).await;
    }
    let about = desk.get("/queries/q").await.body;
    assert_eq!(about["streams"], 0);
}
