//! Many documents at once: all or none, and the error names the line.

use serde_json::json;

use crate::contract::WIRES;
use crate::shelf::{Shelf, brief, event, told};
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    all_or_none(&mut Shelf::of(server, "bulk").await).await;
    of_a_great_many_each_is_told(&mut Shelf::of(server, "bulk_many").await).await;
}

/// They are appended in several pieces, between which the events of watches stand.
async fn of_a_great_many_each_is_told(shelf: &mut Shelf) {
    let mut all = shelf.watch(WIRES[0], "", None).await;
    let mut even = shelf.watch(WIRES[3], "filter[even]=true", None).await;
    all.ready().await;
    even.ready().await;
    let line = |n: u64| format!("{{\"even\":{}}}\n", n.is_multiple_of(2));
    let made = shelf.bulk(&(1..=2500).map(line).collect::<String>()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let mut events = Vec::new();
    for n in 1..=2500 {
        let told = told(&mut all).await;
        assert_eq!(brief(&told), json!(["ADDED", n, 1]));
        events.push(told.event);
    }
    assert_eq!(
        (events[0], events[2499]),
        (made.id("first"), made.id("last"))
    );
    for n in 1..=1250 {
        assert_eq!(brief(&told(&mut even).await), json!(["ADDED", 2 * n, 1]));
    }
}

async fn all_or_none(shelf: &mut Shelf) {
    let mut watch = shelf.watch(WIRES[0], "", None).await;
    watch.ready().await;
    let made = shelf
        .bulk("{\"n\":1}\r\n\n  \n{\"id\":\"x\",\"n\":2}\n{\"n\":3}")
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["count"], 3);
    assert_eq!(made.id("last"), event(&made));
    let mut ids = Vec::new();
    for expected in [
        json!(["ADDED", 1, 1]),
        json!(["ADDED", "x", 1]),
        json!(["ADDED", 2, 1]),
    ] {
        let told = told(&mut watch).await;
        assert_eq!(brief(&told), expected);
        ids.push(told.event);
    }
    assert_eq!((ids[0], ids[2]), (made.id("first"), made.id("last")));
    assert_eq!(shelf.bulk("{}").await.body["count"], 1);

    for (lines, status, detail) in [
        ("{\"id\":9}\n{\"id\":9}\n", 409, "line 2: "),
        ("{\"id\":9}\n\n{\"id\":\"x\"}\n", 409, "line 3: "),
        ("{\"id\":9}\nx\n", 400, "line 2: "),
        ("{\"id\":9}\n[]\n", 400, "line 2: "),
        ("{\"id\":9}\n{\"id\":true}\n", 400, "line 2: "),
        ("\n \n", 400, "no document"),
        ("", 400, "no document"),
    ] {
        let refused = shelf.bulk(lines).await;
        assert_eq!(refused.status, status, "{lines:?}: {refused:?}");
        let said = refused.body["detail"].as_str().expect("a detail");
        assert!(said.contains(detail), "{lines:?}: {said}");
        assert_eq!(shelf.get(9).await.status, 404, "{lines:?}");
    }
    // What was refused has used up no id that anybody was told of.
    let next = shelf.post(&json!({})).await;
    assert_eq!(shelf.list("").await.body["total"], 5, "{next:?}");
}
