//! Several writers at once: no version is made twice, none is left out, and what is told is in the order of versions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::contract::WIRES;
use crate::shelf::{MERGE, Shelf, event, header, told};
use crate::support::client::link::Call;
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    of_two_with_one_version_one_wins(server).await;
    versions_have_no_holes(server).await;
    who_leaves_before_the_answer_is_no_matter(server).await;
}

async fn of_two_with_one_version_one_wins(server: &Server) {
    let mut shelf = Shelf::of(server, "writers_two").await;
    shelf.put("x", &json!({"n": 0})).await;
    for version in 1..=20 {
        let writer = |who: &'static str| async move {
            let mut shelf = Shelf::of(server, "writers_two").await;
            let body = json!({"by": who, "version": version}).to_string();
            let call = Call::put(shelf.path("x"), body);
            let call = call.with("if-match", format!("\"{version}\""));
            (who, shelf.call(call).await)
        };
        let (a, b) = tokio::join!(writer("a"), writer("b"));
        let (won, lost) = if a.1.status == 200 { (a, b) } else { (b, a) };
        assert_eq!((won.1.status, lost.1.status), (200, 412));
        let now = shelf.get("x").await;
        assert_eq!(now.body["by"], won.0);
        assert_eq!(header(&now, "etag"), Some(&*format!("\"{}\"", version + 1)));
    }
}

async fn versions_have_no_holes(server: &Server) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let mut shelf = Shelf::of(server, "writers_many").await;
    let mut watch = shelf.watch(WIRES[0], "", None).await;
    watch.ready().await;
    for id in 0..3 {
        shelf.put(id, &json!({"n": 0})).await;
    }
    let writers = (0..WRITERS).map(|who| async move {
        let mut shelf = Shelf::of(server, "writers_many").await;
        let mut done = Vec::new();
        for n in 0..EACH {
            let id = (who + n) % 3;
            let answer = shelf.patch(id, MERGE, &json!({format!("w{who}"): n})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            done.push((event(&answer), answer.body));
        }
        done
    });
    let done = futures_util::future::join_all(writers).await;
    let mut acknowledged: BTreeMap<_, Value> = done.into_iter().flatten().collect();
    let mut versions = [0_u64; 3];
    for _ in 0..3 + WRITERS * EACH {
        let told = told(&mut watch).await;
        let id = told.said["id"].as_u64().expect("an id") as usize;
        versions[id] += 1;
        assert_eq!(told.said["version"], versions[id], "{told:?}");
        if let Some(body) = acknowledged.remove(&told.event) {
            assert_eq!(body, told.said["document"]);
        }
    }
    assert_eq!(acknowledged.len(), 0, "each acknowledgement names an event");
    assert_eq!(versions.iter().sum::<u64>() as usize, 3 + WRITERS * EACH);
}

/// All of it is there, or nothing.
async fn who_leaves_before_the_answer_is_no_matter(server: &Server) {
    use std::io::Write;
    let mut shelf = Shelf::of(server, "writers_gone").await;
    let mut watch = shelf.watch(WIRES[0], "", None).await;
    watch.ready().await;
    let body = json!({"id": 1}).to_string();
    for n in 0..20 {
        let mut stream = std::net::TcpStream::connect(server.addr("http1")).expect("it accepts");
        let request = format!(
            "PUT /api/v2/writers_gone/{n} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let request = request.replace(&body, &json!({"id": n}).to_string());
        let request = request.replace(
            &format!("length: {}", body.len()),
            &format!("length: {}", json!({"id": n}).to_string().len()),
        );
        stream
            .write_all(request.as_bytes())
            .expect("it can be sent");
    }
    shelf.put("last", &json!({})).await;
    let mut seen = Vec::new();
    loop {
        let told = told(&mut watch).await;
        if told.said["id"] == "last" {
            break;
        }
        seen.push(told.said["id"].as_u64().expect("a number"));
    }
    seen.sort_unstable();
    seen.dedup();
    let there = shelf.ids("filter[id][lt]=100").await;
    let there: Vec<u64> = there.iter().filter_map(Value::as_u64).collect();
    // What came later was told later.
    assert!(
        seen.iter().all(|id| there.contains(id)),
        "{seen:?} {there:?}"
    );
}
