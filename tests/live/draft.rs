//! The sequence that it was made for: two queries, a subscription, a stream, and then both are edited while the stream is
//! open. On all wires at once, which are clients of one subscription.

use serde_json::{Value, json};

use super::desk::{Desk, Stream};
use super::support::server::Server;

const CALL: &str =
    r#"{"ts":1763758000000,"agent":"AGENT","queue":"q","duration_s":SECONDS,"ivr_s":4}"#;

#[tokio::test]
async fn an_open_stream_follows_its_queries_and_its_subscription() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    call(&mut desk, "a", "8").await;
    call(&mut desk, "b", "12").await;
    let average = "select avg(duration_s) from calls";
    desk.query("avg_call_duration", average).await;
    desk.query("active_agents", "select count(distinct agent) from calls")
        .await;
    let both = ["avg_call_duration", "active_agents"];
    let id = desk.subscription(&both, &[]).await;
    let mut streams = desk.open_everywhere(&id).await;

    expect(&mut streams, &[(both[0], json!(10)), (both[1], json!(2))]).await;
    call(&mut desk, "c", "16").await;
    expect(&mut streams, &[(both[0], json!(12)), (both[1], json!(3))]).await;

    desk.change("avg_call_duration", "select max(duration_s) from calls")
        .await;
    expect(&mut streams, &[(both[0], json!(16))]).await;

    desk.query("avg_time_ivr", "select avg(ivr_s) from calls")
        .await;
    desk.resubscribe(&id, &["avg_call_duration", "avg_time_ivr"], &["messages"])
        .await;
    expect(&mut streams, &[("avg_time_ivr", json!(4))]).await;
    desk.publisher.text("messages", "hello").await;
    for stream in &mut streams {
        let told = stream.next().await;
        let hello = json!({ "topic": "messages", "data": "hello" });
        assert_eq!(told.said, hello, "{}", stream.transport);
    }

    // What was taken out is told no more, though it changes; what is in has not changed, but for the last.
    call(&mut desk, "d", "20").await;
    expect(&mut streams, &[(both[0], json!(20))]).await;
}

/// The next of each stream are these results, each once, in any order.
async fn expect(streams: &mut [Stream], results: &[(&str, Value)]) {
    for stream in streams {
        let mut left: Vec<Value> = results
            .iter()
            .map(|(query, result)| json!({ "query": query, "result": result }))
            .collect();
        while !left.is_empty() {
            let told = stream.next().await.said;
            let known = left.iter().position(|said| *said == told);
            let known = known.unwrap_or_else(|| panic!("{}: {told}", stream.transport));
            left.remove(known);
        }
    }
}

async fn call(desk: &mut Desk, agent: &str, seconds: &str) {
    let row = CALL.replace("AGENT", agent).replace("SECONDS", seconds);
    desk.publisher.json("calls", &row).await;
}
