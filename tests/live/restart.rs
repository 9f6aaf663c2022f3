//! What outlives a restart with `--data`, and what a start says of a directory that it cannot use.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use super::WIRES;
use super::desk::Desk;
use super::support::server::{BINARY, Server, new_dir};

#[tokio::test]
async fn definitions_outlive_a_restart_even_a_sudden_one() {
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    let server = Server::start(&[&flag]);
    let mut desk = Desk::of(&server).await;
    desk.table("t").await;
    desk.table("gone").await;
    desk.query("q", "select count(*) from t").await;
    desk.query("of_gone", "select count(*) from gone").await;
    desk.query("deleted", "select count(*) from t").await;
    desk.change("q", "select sum(n) from t").await;
    for name in ["named", "not_named"] {
        let temporary = json!({ "sql": "select 1", "temporary": true });
        let made = desk.post(&format!("/queries/{name}"), temporary).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let of_named = desk.subscription(&["named"], &[]).await;
    let id = desk.subscription(&["q", "of_gone"], &["a"]).await;
    let ended = desk.subscription(&[], &["a"]).await;
    desk.resubscribe(&id, &["q", "of_gone"], &["b"]).await;
    assert_eq!(desk.delete("/queries/deleted").await.status, 204);
    assert_eq!(desk.delete("/streams/gone").await.status, 204);
    let path = format!("/subscriptions/{ended}");
    assert_eq!(desk.delete(&path).await.status, 204);

    let of_subscription = format!("/subscriptions/{id}");
    let mut tags = Vec::new();
    for path in ["/queries/q", &of_subscription] {
        tags.push(desk.get(path).await.body["etag"].clone());
    }
    let certs = server.kill();
    let server = Server::start_in(certs, &[&flag]);
    let mut desk = Desk::of(&server).await;
    for (path, tag) in ["/queries/q", &of_subscription].into_iter().zip(tags) {
        assert_eq!(desk.get(path).await.body["etag"], tag, "{path}");
    }
    assert_eq!(
        desk.get("/queries/q").await.body["sql"],
        "select sum(n) from t"
    );
    assert_eq!(desk.get("/queries/deleted").await.status, 404);
    // A temporary one is there for as long as what names it.
    desk.until("/queries/not_named", |answer| answer.status == 404)
        .await;
    assert_eq!(desk.get("/queries/named").await.status, 200);
    let path_of_named = format!("/subscriptions/{of_named}");
    assert_eq!(desk.delete(&path_of_named).await.status, 204);
    desk.until("/queries/named", |answer| answer.status == 404)
        .await;
    assert_eq!(desk.get(&path).await.status, 404);
    // It does not plan any more, and says so.
    let broken = desk.get("/queries/of_gone").await.body;
    assert_eq!(
        (&broken["state"], &broken["sql"]),
        (&json!("failed"), &json!("select count(*) from gone"))
    );
    let mut stream = desk.open(WIRES[0], &id).await;
    stream.failure("of_gone").await;
    desk.rows("t", [3, 4]).await;
    stream.until("q", json!(7)).await;
    desk.publisher.text("b", "x").await;
    assert_eq!(
        stream.next().await.said,
        json!({ "topic": "b", "data": "x" })
    );
    drop(server);
    fs::remove_dir_all(data).expect("it can be removed");
}

#[test]
fn a_directory_that_cannot_be_used_ends_the_start() {
    let server_data = new_dir();
    let server = Server::start(&[&format!("--data={}", server_data.display())]);
    let (damaged, foreign, file) = (new_dir(), new_dir(), new_dir());
    let name = "definitions.sqlite";
    fs::write(
        damaged.join(name),
        b"this is not a database, and long enough to be sure of it",
    )
    .expect("written");
    let other = rusqlite::Connection::open(foreign.join(name)).expect("a database");
    other.execute_batch("create table x (y)").expect("a table");
    drop(other);
    fs::write(file.join("file"), b"").expect("written");
    for (dir, why) in [
        (server_data.clone(), "another process"),
        (damaged.clone(), "not a database"),
        (foreign.clone(), "another program"),
        (file.join("file"), "file"),
    ] {
        let started = Command::new(BINARY)
            .args(["serve", "--http1=127.0.0.1:0", "--h2c=off", "--ws=off"])
            .args(["--http2=off", "--http1s=off", "--wss=off"])
            .arg(format!("--certs={}", server.dir.join("certs").display()))
            .arg(format!("--data={}", dir.display()))
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        assert_eq!(started.status.code(), Some(2), "{}", dir.display());
        let said = String::from_utf8_lossy(&started.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("--data") && said.contains(why), "{said}");
    }
    for dir in [server_data, damaged, foreign, file] {
        let _ = fs::remove_dir_all(dir);
    }
}

#[test]
fn a_start_without_it_says_that_nothing_outlives_a_restart() {
    let server = Server::start(&[]);
    server.until("it has said so", |_| {
        server.stderr().contains("nothing outlives a restart")
    });
}
