//! Packets that no client should send: each is answered, or ends the session that it came on, and nobody else notices.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::{Carry, Client};
use super::support::client::link::{Link, Target};
use super::support::server::{PATIENCE, Server};

/// What becomes of a session on which a packet came.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It goes on, and nothing is said.
    Silence,
    /// It goes on, and this comes.
    Says(&'static str),
    /// It ends.
    Ends,
    /// It ends where packets come on a WebSocket; a POST of it is refused, and the session goes on.
    Refused,
}

use Fate::{Ends, Refused, Says, Silence};

const NOT_THERE: &str = r#"430[{"error":{"type":"/problems/"#;

fn table() -> Vec<(String, Fate)> {
    let deep = format!(
        r#"420["GET",{}{}]"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let table = [
        ("9", Ends),
        ("é", Ends),
        ("0", Ends),
        ("5", Refused),
        ("2probe", Refused),
        ("3", Silence),
        ("4", Ends),
        ("4é", Ends),
        ("49", Ends),
        ("47", Ends),
        // Another namespace: not there to come to, and not there to be spoken to.
        (
            "40/admin,",
            Says(r#"44/admin,{"message":"Invalid namespace"}"#),
        ),
        (r#"42/admin,["GET","items",1]"#, Silence),
        ("41/admin,", Silence),
        // Again.
        ("40", Silence),
        ("40{", Silence),
        ("44", Ends),
        // No event.
        ("42", Ends),
        ("42x", Ends),
        (r#"42"GET""#, Ends),
        ("42{}", Ends),
        ("42[]", Ends),
        ("42[1]", Ends),
        ("42[null]", Ends),
        (r#"42["GET""#, Ends),
        (r#"42["GET",]"#, Ends),
        (r#"42["GET"] "#, Silence),
        // The number of an acknowledgement that is none makes it an event without one, or none at all.
        (r#"42-1["GET"]"#, Ends),
        (r#"4299999999999999999999["GET"]"#, Silence),
        (r#"420["get","items",1]"#, Says(NOT_THERE)),
        (r#"420["constructor"]"#, Says(NOT_THERE)),
        (r#"420["",1]"#, Says(NOT_THERE)),
        // Acknowledgements of what was never asked.
        ("43", Ends),
        ("430[]", Silence),
        // Attachments without the event, too many, none.
        ("bAQID", Ends),
        ("b!", Ends),
        (r#"45["GET"]"#, Ends),
        (r#"4565-0["GET"]"#, Ends),
        (r#"4599999999999999999999-0["GET"]"#, Ends),
        (r#"450-0["X"]"#, Says(NOT_THERE)),
        (r#"460-0[]"#, Silence),
    ];
    let mut table: Vec<(String, Fate)> = table.map(|(packet, fate)| (packet.into(), fate)).into();
    table.push((deep, Says(NOT_THERE)));
    table.push((format!("40/{},", "x".repeat(2000)), Ends));
    let auth = format!(r#"40{{"token":"{}"}}"#, "x".repeat(2000));
    table.push((auth, Silence));
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_answered_or_ends_its_session() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut witness = Client::connect(&target, Link::Ws, Carry::WebSocket).await;
    let mut wrong = Vec::new();
    for carry in Carry::ALL {
        for (packet, fate) in table() {
            let mut client = Client::connect(&target, Link::Http1, carry).await;
            let what = format!("{carry:?} {:.60}", packet);
            let (status, body) = client.try_say(&packet).await;
            let expected = match (fate, carry) {
                (Refused, Carry::Polling) => {
                    assert_eq!(status, StatusCode::BAD_REQUEST, "{what}: {body}");
                    Silence
                }
                (Refused, _) => Ends,
                (fate, _) => fate,
            };
            if let Err(found) = becomes(&mut client, expected).await {
                wrong.push(format!("{what}: {expected:?}, and {found}"));
            }
            goes_on(&mut witness, "the witness").await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let log = server.stderr();
    assert!(!log.contains("panicked"), "{log}");
}

/// Whether a session comes to this; if not, what it comes to.
async fn becomes(client: &mut Client, fate: Fate) -> Result<(), String> {
    client.try_say(r#"421["GET","items",1]"#).await;
    let first = timeout(PATIENCE, client.try_packet()).await;
    let first = first.map_err(|_| "nothing comes".to_owned())?;
    match (fate, first) {
        (Ends, Err(_)) => Ok(()),
        (Silence, Ok(packet)) if packet == "431[]" => Ok(()),
        (Says(start), Ok(packet)) if packet.starts_with(start) => match client.try_packet().await {
            Ok(packet) if packet == "431[]" => Ok(()),
            other => Err(format!("then {other:.200?}")),
        },
        (_, first) => Err(format!("{first:.200?}")),
    }
}

async fn ends(client: &mut Client, what: &str) {
    let end = timeout(PATIENCE, client.end()).await;
    assert!(end.is_ok(), "{what}: it goes on");
}

async fn goes_on(client: &mut Client, what: &str) {
    let args = [json!("items"), json!(1)];
    let answer = timeout(Duration::from_secs(10), client.call("GET", &args));
    let answer = answer.await.unwrap_or_else(|_| panic!("{what}: no answer"));
    assert_eq!(answer, [] as [Value; 0], "{what}");
}

/// An event that comes with attachments is not done, and says why.
#[tokio::test]
async fn attachments_are_refused_in_words() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let event = r#"451-0["POST","items",{"id":1,"data":{"_placeholder":true,"num":0}}]"#;
    for carry in Carry::ALL {
        let mut client = Client::connect(&target, Link::Http1, carry).await;
        match carry {
            Carry::Polling => client.say(&format!("{event}\u{1e}bAQID")).await,
            _ => {
                client.say(event).await;
                client.attach(&[1, 2, 3]).await;
            }
        }
        let [refused] = &client.ack(0).await[..] else {
            panic!("one argument");
        };
        assert_eq!(refused["error"]["status"], 415, "{refused}");
        goes_on(&mut client, "after it").await;
        // Half of it, and then something else.
        client.try_say(event).await;
        client.try_say("42[\"X\"]").await;
        ends(&mut client, "half an event").await;
    }
}

/// An event before the namespace, and one packet with it, end the session: nobody would answer.
#[tokio::test]
async fn an_event_before_its_time() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut client = Client::polling(&target, Link::Http1).await;
    client.try_say(r#"420["GET","items",1]"#).await;
    ends(&mut client, "polling").await;
    let mut client = Client::websocket(&target, Link::Ws).await;
    client.try_say(r#"420["GET","items",1]"#).await;
    ends(&mut client, "websocket").await;
}

/// Two polls at once are against the protocol, and end the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_polls_at_once() {
    let server = Server::start(&[]);
    let target = Target::of(&server);
    let mut client = Client::connect(&target, Link::Http1, Carry::Polling).await;
    let held = client.held(&target);
    server.until("one is held", |stats| {
        stats["wires"]["socket_io"]["connections"] == 1
    });
    let end = client.end().await;
    assert!(end.starts_with("400"), "{end}");
    let (status, _) = held.await.expect("it is answered");
    assert_eq!(status, StatusCode::OK);
}
