//! The seam between the present result and the changes after it: whoever comes, and whenever, has what those have who
//! were there all the time.

use std::time::Duration;

use serde_json::{Value, json};

use super::WIRES;
use super::desk::{Desk, Stream, Told};
use super::support::client::link::{Call, Target};
use super::support::client::publisher::Publisher;
use super::support::server::Server;

const LAST: i64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_misses_nothing_and_gets_nothing_twice() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.query("count", "select count(*) from t").await;
    desk.query("rows", "select n from t").await;
    let id = desk.subscription(&["count", "rows"], &[]).await;
    let mut control = desk.open(WIRES[0], &id).await;
    control.until("count", json!(0)).await;
    let publishing = tokio::spawn(publish(desk.target.clone()));
    let control = tokio::spawn(to_the_end(control));
    let mut newcomers = Vec::new();
    for round in 0..3 * WIRES.len() {
        let transport = WIRES[round % WIRES.len()];
        let stream = desk.open(transport, &id).await;
        newcomers.push((transport, tokio::spawn(to_the_end(stream))));
    }
    publishing.await.expect("it publishes");
    let all = control.await.expect("the control");
    // The first was read before.
    let counts = [vec![json!(0)], results(&all, "count")].concat();
    let rows = additions(&all);
    for (transport, newcomer) in newcomers {
        let told = newcomer
            .await
            .unwrap_or_else(|e| panic!("{transport}: {e}"));
        let mine = results(&told, "count");
        assert!(
            counts.ends_with(&mine),
            "{transport}: {mine:?} of {counts:?}"
        );
        let mine = additions(&told);
        // Of what was before it came, the newest hundred.
        assert!(rows.ends_with(&mine), "{transport}: {mine:?}");
    }
}

async fn publish(target: Target) {
    let mut publisher = Publisher::new(&target).await;
    for n in 1..=LAST {
        let body = json!({ "data": [[n]] }).to_string();
        let done = publisher.call(Call::post("/streams/t/ingest", body)).await;
        assert_eq!(done.status, 201, "{done:?}");
        // At some pace, so that there are many changes for newcomers to come between.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Everything up to the last count and the last row.
async fn to_the_end(mut stream: Stream) -> Vec<Told> {
    let (mut all, mut has_count, mut has_row) = (Vec::new(), false, false);
    while !(has_count && has_row) {
        let told = stream.next().await;
        let said = &told.said;
        has_count |= said["query"] == "count" && said["result"] == LAST;
        has_row |=
            said["query"] == "rows" && said["result"].to_string().contains(&format!(":{LAST}}}"));
        all.push(told);
    }
    all
}

fn results(told: &[Told], query: &str) -> Vec<Value> {
    let of_query = told.iter().filter(|t| t.said["query"] == query);
    of_query.map(|t| t.said["result"].clone()).collect()
}

/// All rows: a whole result is in place of what was before it.
fn additions(told: &[Told]) -> Vec<i64> {
    let mut all = Vec::new();
    for said in told
        .iter()
        .map(|t| &t.said)
        .filter(|said| said["query"] == "rows")
    {
        let rows = match &said["result"] {
            Value::Array(rows) => rows.clone(),
            bare => vec![json!({ "n": bare })],
        };
        let rows: Vec<i64> = rows
            .iter()
            .map(|row| row["n"].as_i64().expect("n"))
            .collect();
        if said["mode"] != "append" {
            all.clear();
        }
        all.extend(rows);
    }
    all
}
