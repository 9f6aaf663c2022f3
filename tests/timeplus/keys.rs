//! Keys: with them every request of the dialect needs one, and nothing shows them.

use super::client::{Client, at, message};
use super::support::client::link::Call;
use super::support::client::publisher::Answer;
use super::support::server::Server;

const KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const OTHER: &str = "a:second:key:of:this:server";

/// `anybody:` and OTHER, then KEY with no user, in base64.
const BASIC: [&str; 2] = [
    "Basic YW55Ym9keTphOnNlY29uZDprZXk6b2Y6dGhpczpzZXJ2ZXI=",
    "basic OmtrazprZXk=",
];

#[tokio::test]
async fn every_request_needs_a_key_when_there_are_keys() {
    let keys = format!("--api-key={KEY},{OTHER}");
    let server = Server::start(&[&keys]);
    let mut client = Client::of(&server).await;
    let calls = || {
        [
            Call::get(at("/streams")),
            Call::get("/api/v1beta2/views/"),
            Call::post(at("/streams"), "{}"),
            Call::post(at("/streams/metrics/ingest"), "{}"),
            Call::delete(at("/streams/none")),
            Call::get(at("/queries")),
            Call::post(at("/queries"), "{}"),
            Call::post(at("/queries/1/cancel"), "null"),
            Call::post(at("/sqlanalyze"), "{}"),
        ]
    };
    let refused = |answer: &Answer| {
        assert!(message(answer, 401).contains("X-Api-Key"), "{answer:?}");
        assert_eq!(
            answer.headers["www-authenticate"],
            "Basic realm=\"triwire\""
        );
    };
    let long = "k".repeat(8_000);
    for call in calls() {
        refused(&client.publisher.call(call.clone()).await);
        for (name, value) in [
            ("x-api-key", "wrong"),
            ("x-api-key", &KEY[1..]),
            ("x-api-key", &long),
            ("x-api-key", ""),
            ("authorization", BASIC[1]),
            ("authorization", KEY),
        ] {
            let call = call.clone().with(name, value);
            refused(&client.publisher.call(call).await);
        }
        for (name, value) in [
            ("x-api-key", KEY),
            ("x-api-key", OTHER),
            ("authorization", BASIC[0]),
        ] {
            let answer = client.publisher.call(call.clone().with(name, value)).await;
            assert_ne!(answer.status, 401, "{call:?} {name}");
        }
    }
    let unknown = client.publisher.call(Call::get(at("/nothing"))).await;
    message(&unknown, 404);
    // What a browser asks before, and everything that is not the dialect, needs none.
    let preflight = Call {
        method: "OPTIONS".parse().expect("a method"),
        ..Call::get(at("/streams"))
    };
    assert_eq!(client.publisher.call(preflight).await.status, 204);
    assert_eq!(
        client.publisher.call(Call::get("/streams")).await.status,
        200
    );

    for key in [KEY, OTHER] {
        assert!(!server.stderr().contains(key), "{}", server.stderr());
        assert!(!server.stats().to_string().contains(key));
    }
}

#[tokio::test]
async fn without_keys_any_is_taken() {
    let server = Server::start(&[]);
    let mut client = Client::of(&server).await;
    for (name, value) in [("x-api-key", "any"), ("authorization", BASIC[0])] {
        let call = Call::get(at("/streams")).with(name, value);
        assert_eq!(client.publisher.call(call).await.status, 200, "{name}");
    }
}
