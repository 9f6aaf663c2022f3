//! Servers that are one behind a relay: a change of a document is told once, with the same id, on all of them, whoever
//! makes it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::database::Database;
use super::rest::{Rest, change, told, watch};
use crate::support::client::ask::Ask;
use crate::support::client::link::{Link, Target};
use crate::support::client::message::Id;
use crate::support::client::{Framing, Reader, Transport};
use crate::support::raw::until;
use crate::support::server::{PATIENCE, Server};

/// A server whose relay is another database.
pub fn serve(database: &Database, relay: &Database, name: &str) -> Server {
    let args = [
        "--relay",
        &relay.url,
        "--name",
        name,
        "--relay-timeout",
        "2s",
    ];
    database.server(&args)
}

/// Several that have all in one database.
pub fn servers<const N: usize>(database: &Database) -> [Server; N] {
    ["a", "b", "c", "d"][..N]
        .iter()
        .map(|name| serve(database, database, name))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| panic!("there are as many"))
}

/// Who watches the documents that are on.
async fn filtered(server: &Server, framing: Framing, after: Option<Id>) -> Reader {
    let link = Link::Http1;
    let ask = Ask::default().at("/api/v2/items").with("watch", 1);
    let ask = ask.with("filter[on]", true);
    let ask = match after {
        Some(cursor) => ask.after(cursor),
        None => ask,
    };
    let transport = Transport { framing, link };
    let mut reader = transport.open(&Target::of(server), ask).await;
    reader.ready().await;
    reader
}

fn insert(rows: &str, on: &str) -> String {
    format!(
        "insert into triwire.documents (collection, id, document)
            select 'items', n::text, jsonb_build_object('n', n, 'on', {on}) from generate_series({rows}) n"
    )
}

/// Ids of events, and the documents that they are about.
pub async fn next(reader: &mut Reader, count: usize) -> Vec<(Id, Value)> {
    let events = reader.events(count).await;
    events.iter().map(|e| (e.id, change(e).1)).collect()
}

/// The same with the ids of the changes that a watch was told of.
fn changes(told: &[(Id, Value)]) -> Vec<(Id, Value)> {
    let change = |(id, document): &(Id, Value)| {
        let own = id.1 % 4096;
        assert_ne!(own, 0, "{id:?}");
        (Id(id.0, id.1 - own), document.clone())
    };
    told.iter().map(change).collect()
}

#[tokio::test]
async fn a_change_is_one_event_on_every_replica() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let [a, b, c] = servers(&database);
    let mut readers = vec![
        watch(&a, Framing::LongPoll, "items").await,
        watch(&b, Framing::Sse, "items").await,
        watch(&c, Framing::WebSocket, "items").await,
    ];
    for server in [&a, &b, &c] {
        readers.push(filtered(server, Framing::Sse, None).await);
    }
    let mut ids = Vec::new();
    for (n, server) in [&a, &b, &c].into_iter().cycle().take(9).enumerate() {
        let mut client = Rest::of(server).await;
        let put = client.put(&format!("items/{n}"), r#"{"on": true}"#).await;
        assert_eq!(put.status, 201, "{put:?}");
        ids.push((told(&put), json!(n)));
        // Whoever answers has it in its log, and what it lists is not told again.
        let list = client.get("items").await;
        let cursor = list.body["cursor"].as_str().expect("text");
        let cursor: Id = cursor.parse().expect("an id");
        assert!(cursor >= told(&put));
    }
    assert!(ids.is_sorted_by_key(|(id, _)| *id));
    let (all, some) = readers.split_at_mut(3);
    for reader in all.iter_mut() {
        assert_eq!(next(reader, ids.len()).await, ids);
    }
    // Each watch has ids of its own, between those of the changes, and the same on all.
    let mut watched = Vec::new();
    for reader in some.iter_mut() {
        watched.push(next(reader, ids.len()).await);
        assert_eq!(changes(&watched[0]), ids);
        assert_eq!(watched[0], *watched.last().expect("it was pushed"));
    }
    database.sql(&insert("100, 399", "true"));
    let first = next(&mut all[0], 300).await;
    assert_eq!(first[299].1, json!(399));
    for reader in &mut all[1..] {
        assert_eq!(next(reader, 300).await, first);
    }
    for reader in some {
        assert_eq!(changes(&next(reader, 300).await), first);
    }
}

#[tokio::test]
async fn a_cursor_goes_on_anywhere_also_in_the_middle_of_a_transaction() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let [a, b, c] = servers(&database);
    let mut all = watch(&a, Framing::Sse, "items").await;
    let mut before = filtered(&b, Framing::Sse, None).await;
    // One who watches something else makes no difference to ids.
    let other = Ask::default().at("/api/v2/items").with("watch", 1);
    let other = other.with("filter[n][gt]", 10);
    let transport = Transport {
        framing: Framing::Sse,
        link: Link::Http1,
    };
    let mut other = transport.open(&Target::of(&a), other).await;
    other.ready().await;
    database.sql(&insert("1, 1000", "n % 2 = 0"));
    let all = next(&mut all, 1000).await;
    let even: Vec<(Id, Value)> = all.iter().skip(1).step_by(2).cloned().collect();
    let on = next(&mut before, 500).await;
    assert_eq!(changes(&on), even);
    // Where there is a watch, and where there is none yet.
    for (taken, server) in [(1, &a), (77, &b), (130, &c), (400, &a), (499, &c)] {
        let cursor = on[taken - 1].0;
        for framing in [Framing::Sse, Framing::WebSocket] {
            let mut rest = filtered(server, framing, Some(cursor)).await;
            assert_eq!(next(&mut rest, 500 - taken).await, on[taken..]);
        }
    }
    let newcomer = serve(&database, &database, "d");
    let mut rest = filtered(&newcomer, Framing::Sse, Some(on[200].0)).await;
    assert_eq!(next(&mut rest, 299).await, on[201..]);
    let ask = Ask::of(["collections/items"]).after("0-0");
    let mut rest = transport.open(&Target::of(&newcomer), ask).await;
    rest.ready().await;
    assert_eq!(next(&mut rest, 1000).await, all);
}

/// Takes a database away, or gives it back.
fn allow(database: &Database, is_there: bool) {
    let name = database.name();
    let admin = database.admin();
    admin.sql(&format!(
        "alter database {name} allow_connections {is_there}"
    ));
    if !is_there {
        admin.sql(&format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = '{name}'"
        ));
    }
}

/// Writes until it is answered so; what was said last.
pub async fn until_answered(client: &mut Rest, status: u16) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.put("items/again", "{}").await;
        if answer.status == status {
            return answer.body;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_the_relay_nothing_is_written_and_nothing_lost() {
    let (Some(database), Some(relay)) = (Database::migrated(), Database::empty()) else {
        return;
    };
    let servers = ["a", "b"].map(|name| serve(&database, &relay, name));
    let mut readers = Vec::new();
    for server in &servers {
        readers.push(watch(server, Framing::Sse, "items").await);
    }
    let mut clients = [Rest::of(&servers[0]).await, Rest::of(&servers[1]).await];
    assert_eq!(clients[0].put("items/1", "{}").await.status, 201);
    allow(&relay, false);
    for server in &servers {
        until("it is known", || {
            let ask = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            server.request(ask).0.starts_with("HTTP/1.1 503")
        });
    }
    let there = "select count(*) from triwire.documents";
    for client in &mut clients {
        let refused = client.put("items/2", "{}").await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.body["type"], json!("/problems/relay-away"));
        // What is read is there.
        assert_eq!(client.get("items/1").await.status, 200);
    }
    assert_eq!(database.sql(there), "1");
    // Others can not be kept from it.
    database.sql(&insert("10, 12", "true"));
    allow(&relay, true);
    until_answered(&mut clients[1], 201).await;
    let told = next(&mut readers[0], 5).await;
    let ids: Vec<&Value> = told.iter().map(|(_, id)| id).collect();
    assert_eq!(
        ids,
        [
            &json!(1),
            &json!(10),
            &json!(11),
            &json!(12),
            &json!("again")
        ]
    );
    assert_eq!(next(&mut readers[1], 5).await, told);
}

#[tokio::test]
async fn what_is_changed_while_no_server_is_there_is_told_later() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let [a, b] = servers(&database);
    let mut reader = watch(&b, Framing::Sse, "items").await;
    let put = Rest::of(&a).await.put("items/1", "{}").await;
    assert_eq!(put.status, 201);
    let cursor = reader.event().await.id;
    // One that told nothing for a while has not written down more than it has told.
    drop((a, b));
    database.sql(&insert("2, 4", "true"));
    let [c, d] = servers(&database);
    for server in [&c, &d] {
        let transport = Transport {
            framing: Framing::Sse,
            link: Link::Http1,
        };
        let ask = Ask::of(["collections/items"]).after(cursor);
        let mut reader = transport.open(&Target::of(server), ask).await;
        reader.ready().await;
        let ids: Vec<Value> = next(&mut reader, 3)
            .await
            .into_iter()
            .map(|e| e.1)
            .collect();
        assert_eq!(ids, [json!(2), json!(3), json!(4)]);
    }
}

#[tokio::test]
async fn what_is_defined_is_known_to_all() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let [a, b] = servers(&database);
    let (mut one, mut other) = (Rest::of(&a).await, Rest::of(&b).await);
    let schema = r#"{"required": ["name"]}"#;
    for (client, path) in [(&mut one, "items/$schema"), (&mut other, "others/$schema")] {
        let put = client.put(path, schema).await;
        assert!(matches!(put.status, 200 | 201), "{put:?}");
    }
    for (client, path) in [(&mut other, "items/1"), (&mut one, "others/1")] {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let put = client.put(path, "{}").await;
            if put.status == 400 {
                break;
            }
            assert!(Instant::now() < deadline, "{put:?}");
        }
    }
}

#[test]
fn two_databases_are_no_store_of_one_relay() {
    let (Some(one), Some(other)) = (Database::migrated(), Database::migrated()) else {
        return;
    };
    let (a, b) = (serve(&one, &one, "a"), serve(&other, &one, "b"));
    until("they notice", || {
        a.stderr().contains("in another database") && b.stderr().contains("in another database")
    });
}

#[test]
fn without_a_database_they_share_nothing() {
    let Some(database) = Database::empty() else {
        return;
    };
    let server = Server::start(&["--relay", &database.url]);
    let ask = "GET /api/v2/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (head, body) = server.request(ask);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(
        body.contains("not-shared") && body.contains("--store"),
        "{body}"
    );
}
