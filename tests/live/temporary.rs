//! Queries that are made for somebody who may be gone without a word: each goes with the last subscription that names it.

use serde_json::json;

use super::WIRES;
use super::desk::Desk;
use super::support::server::Server;

#[tokio::test]
async fn a_temporary_query_goes_with_the_last_subscription_that_names_it() {
    let server = Server::start(&[]);
    let mut desk = Desk::of(&server).await;
    for name in ["one", "both", "made_lasting", "not_named"] {
        let body = json!({ "sql": "select 40 + 2", "every_ms": 50, "temporary": true });
        let made = desk.post(&format!("/queries/{name}"), body).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(made.body["temporary"], true);
    }
    let first = desk
        .subscription(&["one", "both", "made_lasting"], &[])
        .await;
    let second = desk.subscription(&["both"], &[]).await;
    let mut stream = desk.open(WIRES[0], &second).await;
    stream.until("both", json!(42)).await;
    let lasting = json!({ "sql": "select 1" });
    let changed = desk.put("/queries/made_lasting", lasting).await;
    assert_eq!(changed.body["temporary"], false, "{changed:?}");

    let path = format!("/subscriptions/{first}");
    assert_eq!(desk.delete(&path).await.status, 204);
    desk.until("/queries/one", |answer| answer.status == 404)
        .await;
    for name in ["both", "made_lasting", "not_named"] {
        let path = format!("/queries/{name}");
        assert_eq!(desk.get(&path).await.status, 200, "{name}");
    }
    // One that is changed is still temporary if that is said.
    let changed = json!({ "sql": "select 43", "every_ms": 50, "temporary": true });
    assert_eq!(desk.put("/queries/both", changed).await.status, 200);
    stream.until("both", json!(43)).await;
    // Another subscription may name it no more, and that is the end of it too.
    drop(stream);
    desk.resubscribe(&second, &[], &["a"]).await;
    desk.until("/queries/both", |answer| answer.status == 404)
        .await;
    assert_eq!(desk.get("/queries/made_lasting").await.status, 200);
}
