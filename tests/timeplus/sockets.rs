//! The generation before: a query is made for itself, and its rows are read on a WebSocket.

use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, message};
use super::running::check;
use super::support::client::link::{Call, Link, Target};
use super::support::client::websocket::WebSocket;
use super::support::server::{PATIENCE, Server};

/// Links that carry a WebSocket.
const LINKS: [Link; 6] = [
    Link::Http1,
    Link::Ws,
    Link::Wss,
    Link::Http1s,
    Link::H2c,
    Link::Http2,
];

async fn made(client: &mut Client, sql: &str) -> String {
    let body = json!({ "name": "unamed", "sql": sql }).to_string();
    let call = Call::post("/tenant/api/v1beta1/queries/", body);
    let made = client.publisher.call(call).await;
    assert_eq!(made.status, 201, "{made:?}");
    check(&made.body);
    made.body["id"].as_str().expect("an id").to_owned()
}

async fn open(target: &Target, link: Link, id: &str) -> WebSocket {
    let call = Call::get(format!("/tenant/ws/queries/{id}")).with("x-api-key", "k");
    let opened = WebSocket::open(target, link, call).await;
    opened.unwrap_or_else(|status| panic!("{link}: {status}")).0
}

/// The next row, or the code and the reason of the end.
async fn next(socket: &mut WebSocket) -> Result<Value, (u16, String)> {
    loop {
        let frame = timeout(PATIENCE, socket.frame()).await.expect("in time");
        match frame.expect("a frame") {
            Message::Text(text) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Message::Close(frame) => {
                let frame = frame.expect("a reason");
                return Err((frame.code.into(), frame.reason.to_string()));
            }
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_a_row_and_the_end() {
    let server = Server::start(&[]);
    let (mut client, target) = (Client::of(&server).await, Target::of(&server));
    client.stream("t", &[("n", "int64"), ("s", "string")]).await;
    let body = json!({ "data": [[1, "a"], [2, "b"]] }).to_string();
    client
        .ingest("/streams/t/ingest", "application/json", &body)
        .await;
    for link in LINKS {
        let id = made(&mut client, "select n, s from table(t)").await;
        let mut socket = open(&target, link, &id).await;
        for row in [json!([1, "a"]), json!([2, "b"])] {
            assert_eq!(next(&mut socket).await, Ok(row), "{link}");
        }
        assert_eq!(
            next(&mut socket).await,
            Err((1000, "finished".into())),
            "{link}"
        );
        let query = client
            .publisher
            .call(Call::get(format!("/api/v1beta1/queries/{id}")))
            .await;
        assert_eq!(query.body["status"], "finished", "{link}");
        let metrics = &query.body["metrics"];
        assert_eq!(
            (&metrics["count"], &metrics["scanned_rows"]),
            (&json!(2), &json!(2)),
            "{link}"
        );
    }
    server.until("no socket is left", |stats| {
        ["websocket", "websocket_http2"]
            .iter()
            .all(|w| stats["wires"][w]["streams"] == 0)
    });
}

#[tokio::test]
async fn live_rows_until_either_leaves() {
    let server = Server::start(&[]);
    let (mut client, target) = (Client::of(&server).await, Target::of(&server));
    client.stream("t", &[("n", "int64")]).await;
    for link in LINKS {
        let [cancelled, left] = [
            made(&mut client, "select n from t").await,
            made(&mut client, "select n from t").await,
        ];
        // From when it was made, not from when somebody came.
        client
            .ingest("/streams/t/ingest", "application/json", r#"{"data":[[7]]}"#)
            .await;
        let mut socket = open(&target, link, &cancelled).await;
        assert_eq!(next(&mut socket).await, Ok(json!([7])), "{link}");
        let cancel = Call::post(
            format!("/tenant/api/v1beta1/queries/{cancelled}/cancel"),
            "null",
        );
        assert_eq!(client.publisher.call(cancel).await.status, 204);
        assert_eq!(
            next(&mut socket).await,
            Err((1000, "canceled".into())),
            "{link}"
        );
        let mut socket = open(&target, link, &left).await;
        assert_eq!(next(&mut socket).await, Ok(json!([7])), "{link}");
        drop(socket);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let path = format!("/queries/{left}");
        while client.get(&path).await.body["status"] != "canceled" {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{link}: it still runs"
            );
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let delete = Call::delete(format!("/tenant/api/v1beta1/queries/{left}"));
        assert_eq!(client.publisher.call(delete).await.status, 204);
    }
}

#[tokio::test]
async fn what_is_no_socket_of_a_query() {
    let server = Server::start(&["--api-key=0123456789abcdef"]);
    let target = Target::of(&server);
    let mut client = Client::of(&server).await;
    let key = ("x-api-key", "0123456789abcdef");
    let call = Call::get("/tenant/ws/queries/none").with(key.0, key.1);
    for link in LINKS {
        let refused = WebSocket::open(&target, link, call.clone()).await;
        assert_eq!(refused.err().expect("no query").as_u16(), 404, "{link}");
        let without = Call::get("/tenant/ws/queries/none");
        let refused = WebSocket::open(&target, link, without).await;
        assert_eq!(refused.err().expect("no key").as_u16(), 401, "{link}");
    }
    let answer = client.publisher.call(call).await;
    assert!(message(&answer, 426).contains("WebSocket"));
    let body = json!({ "sql": "select value from metrics" }).to_string();
    let call = Call::post("/api/v1beta1/queries", body).with(key.0, key.1);
    let made = client.publisher.call(call).await;
    let id = made.body["id"].as_str().expect("an id").to_owned();
    let call = Call::get(format!("/ws/queries/{id}/")).with(key.0, key.1);
    let first = WebSocket::open(&target, Link::Ws, call.clone()).await;
    let second = WebSocket::open(&target, Link::Ws, call).await;
    assert!(first.is_ok());
    assert_eq!(second.err().expect("one is enough").as_u16(), 409);
}
