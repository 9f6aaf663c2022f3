//! The events of documents: what they are acknowledged with, and that it is the same as what REST says.

use serde_json::{Value, json};

use super::client::{Carry, Client};
use super::support::client::link::{Link, Target};
use super::support::server::Server;

const NOTHING: [Value; 0] = [];

/// The one argument of an acknowledgement that refuses.
fn refused(args: &[Value], status: u16) -> String {
    let [refused] = args else {
        panic!("one argument: {args:?}");
    };
    assert_eq!(refused["error"]["status"], status, "{refused}");
    refused["error"]["detail"]
        .as_str()
        .expect("what to do about it")
        .to_owned()
}

async fn client(server: &Server) -> Client {
    Client::connect(&Target::of(server), Link::Ws, Carry::WebSocket).await
}

#[tokio::test]
async fn documents_come_change_and_go() {
    let server = Server::start(&[]);
    let mut client = client(&server).await;
    let items = || json!("items");

    assert_eq!(client.call("GET", &[items(), json!(1)]).await, NOTHING);
    let made = client
        .call("POST", &[items(), json!({ "id": 1, "name": "one" })])
        .await;
    assert_eq!(made[0], json!({ "id": 1, "name": "one" }));
    assert_eq!(made[1]["version"], 1);
    assert_eq!(made[1]["etag"], "\"1\"");
    let event = made[1]["event"].as_str().expect("a change has an event");
    assert_eq!(server.stats()["log"]["newest"], event);

    // One argument, as `database.get(collection, id).then(callback)` would have.
    let got = client.call("GET", &[items(), json!(1)]).await;
    assert_eq!(got, [json!({ "id": 1, "name": "one" })]);
    assert_eq!(server.get("/api/v2/items/1"), got[0]);
    let got = client
        .call("GET", &[items(), json!("1"), json!({ "meta": true })])
        .await;
    assert_eq!(got[1], json!({ "version": 1, "etag": "\"1\"" }));

    let put = client
        .call("PUT", &[items(), json!(1), json!({ "name": "two" })])
        .await;
    assert_eq!(
        (&put[0], &put[1]["version"]),
        (&json!({ "id": 1, "name": "two" }), &json!(2))
    );
    let put = client
        .call(
            "PUT",
            &[items(), json!({ "id": 1, "name": "three", "n": 3 })],
        )
        .await;
    assert_eq!(put[1]["version"], 3);

    let patched = client
        .call("PATCH", &[items(), json!(1), json!({ "n": null })])
        .await;
    assert_eq!(patched[0], json!({ "id": 1, "name": "three" }));
    let patch = json!([{ "op": "replace", "path": "/name", "value": "four" }]);
    let patched = client.call("PATCH", &[items(), json!(1), patch]).await;
    assert_eq!(patched[0], json!({ "id": 1, "name": "four" }));
    let patched = client
        .call("PATCH", &[items(), json!({ "id": 1, "n": 5 })])
        .await;
    assert_eq!(patched[0], json!({ "id": 1, "name": "four", "n": 5 }));

    let deleted = client.call("DELETE", &[items(), json!(1)]).await;
    assert_eq!(deleted[0], true);
    assert!(deleted[1]["event"].is_string(), "{deleted:?}");
    assert_eq!(
        client.call("DELETE", &[items(), json!(1)]).await,
        [json!(false)]
    );
    assert_eq!(client.call("GET", &[items(), json!(1)]).await, NOTHING);
}

#[tokio::test]
async fn lists_are_the_documents_and_then_the_rest() {
    let server = Server::start(&[]);
    let mut client = client(&server).await;
    for n in 1..=5 {
        let document = json!({ "n": n, "even": n % 2 == 0, "name": format!("a,{n}") });
        client.call("POST", &[json!("items"), document]).await;
    }
    let all = client.call("LIST", &[json!("items")]).await;
    assert_eq!(all[0].as_array().map(Vec::len), Some(5));
    assert_eq!((&all[1]["total"], &all[1]["page"]), (&json!(5), &json!(1)));
    assert!(all[1]["cursor"].is_string(), "{}", all[1]);
    let numbers = |list: &[Value]| -> Vec<i64> {
        let items = list[0].as_array().expect("documents");
        items
            .iter()
            .map(|item| item["n"].as_i64().expect("a number"))
            .collect()
    };
    let table = [
        (json!({ "sort": "-n", "per_page": 2 }), vec![5, 4]),
        (
            json!({ "sort": ["-n"], "perPage": 2, "page": 2 }),
            vec![3, 2],
        ),
        (json!({ "filters": { "n": "3" } }), vec![3]),
        (json!({ "filters": { "n": 3 } }), vec![3]),
        (
            json!({ "filters": { "n": { "gte": 2, "lt": 4 } } }),
            vec![2, 3],
        ),
        (json!({ "filters": { "even": true } }), vec![2, 4]),
        (json!({ "filter": { "name": ["a,1", "a,5"] } }), vec![1, 5]),
        (json!({ "filters": { "name": "a" } }), vec![]),
    ];
    for (ask, expected) in table {
        let list = client.call("LIST", &[json!("items"), ask.clone()]).await;
        assert_eq!(numbers(&list), expected, "{ask}");
    }
    let nobody = client.call("LIST", &[json!("nobody")]).await;
    assert_eq!((&nobody[0], &nobody[1]["total"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn what_cannot_be_done_is_acknowledged_with_a_problem() {
    let server = Server::start(&["--document-bytes=1KiB"]);
    let mut client = client(&server).await;
    let document = json!({ "id": 1 });
    client
        .call("POST", &[json!("items"), document.clone()])
        .await;
    let large = json!({ "text": "x".repeat(1024) });
    let table = [
        ("POST", vec![json!("items"), document.clone()], 409),
        ("POST", vec![json!("no name"), document.clone()], 400),
        ("POST", vec![json!("items"), json!([1])], 400),
        ("POST", vec![json!("items"), large.clone()], 413),
        ("PUT", vec![json!("items"), json!(1), large], 413),
        (
            "PUT",
            vec![json!("items"), json!(1), json!({ "id": 2 })],
            400,
        ),
        (
            "PUT",
            vec![
                json!("items"),
                json!(1),
                json!({}),
                json!({ "ifMatch": "\"9\"" }),
            ],
            412,
        ),
        (
            "DELETE",
            vec![json!("items"), json!(1), json!({ "ifMatch": 9 })],
            412,
        ),
        (
            "PATCH",
            vec![json!("items"), json!(2), json!({ "a": 1 })],
            404,
        ),
        (
            "PATCH",
            vec![
                json!("items"),
                json!(1),
                json!([{ "op": "remove", "path": "/a" }]),
            ],
            409,
        ),
        (
            "PATCH",
            vec![json!("items"), json!(1), json!([{ "op": "what" }])],
            400,
        ),
        ("GET", vec![json!("items")], 400),
        ("GET", vec![], 400),
        (
            "GET",
            vec![json!("items"), json!(1), json!({ "unknown": 1 })],
            400,
        ),
        ("LIST", vec![json!("items"), json!({ "sort": "a b" })], 400),
        ("LIST", vec![json!("items"), json!({ "per_page": 0 })], 400),
        (
            "LIST",
            vec![json!("items"), json!({ "filters": { "a; drop": 1 } })],
            400,
        ),
        ("NOTHING", vec![], 404),
    ];
    for (name, args, status) in table {
        let said = client.call(name, &args).await;
        let [refused] = &said[..] else {
            panic!("{name} {args:?}: {said:?}");
        };
        assert_eq!(
            refused["error"]["status"], status,
            "{name} {args:?}: {refused}"
        );
        let members = ["type", "title", "status", "detail"];
        assert!(
            members.iter().all(|m| !refused["error"][m].is_null()),
            "{refused}"
        );
    }
    assert_eq!(
        client.call("GET", &[json!("items"), json!(1)]).await,
        [document]
    );
    let said = client.call("GET", &[json!("items")]).await;
    assert!(refused(&said, 400).contains("GET takes (collection, id"));
}

#[tokio::test]
async fn two_who_know_one_version() {
    let server = Server::start(&[]);
    let (mut one, mut two) = (client(&server).await, client(&server).await);
    one.call("POST", &[json!("items"), json!({ "id": "x", "n": 1 })])
        .await;
    let knowing = |version: u64, n: u64| {
        let options = json!({ "ifMatch": version });
        [json!("items"), json!("x"), json!({ "n": n }), options]
    };
    let won = one.call("PATCH", &knowing(1, 2)).await;
    assert_eq!(won[1]["version"], 2);
    refused(&two.call("PATCH", &knowing(1, 3)).await, 412);
    let won = two.call("PATCH", &knowing(2, 4)).await;
    assert_eq!(won[0], json!({ "id": "x", "n": 4 }));
}

/// Without an acknowledgement nothing is said, and what was asked is done.
#[tokio::test]
async fn nobody_waits_for_it() {
    let server = Server::start(&[]);
    let mut client = client(&server).await;
    for packet in [
        r#"42["POST","items",{"id":1}]"#,
        r#"42["POST","items",{"id":1}]"#,
        r#"42["GET","items",1]"#,
        r#"42["NOTHING"]"#,
        r#"42["WATCH",{"collection":"other"}]"#,
    ] {
        client.say(packet).await;
    }
    // They are done side by side.
    while client
        .call("GET", &[json!("items"), json!(1)])
        .await
        .is_empty()
    {}
}

/// Who leaves before the acknowledgement has asked all the same: what was begun is done.
#[tokio::test]
async fn a_client_that_leaves() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    for carry in Carry::ALL {
        let mut client = Client::connect(&target, Link::Http1, carry).await;
        let document = json!({ "id": format!("{carry:?}") });
        client.emit("POST", &[json!("items"), document]).await;
        client.leave().await;
    }
    let mut witness = client(&server).await;
    for carry in Carry::ALL {
        loop {
            let id = json!(format!("{carry:?}"));
            if !witness.call("GET", &[json!("items"), id]).await.is_empty() {
                break;
            }
        }
    }
}
