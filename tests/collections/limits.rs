//! Limits: what happens when they are reached, and that it goes on when there is room again.

use std::process::Command;

use serde_json::{Value, json};

use crate::contract::WIRES;
use crate::shelf::{JSON_PATCH, Shelf, brief, header, told};
use crate::support::client::ask::Ask;
use crate::support::client::link::Call;
use crate::support::server::{BINARY, Server, new_dir};

#[tokio::test]
async fn numbers_and_sizes_have_limits() {
    let server = Server::start(&[
        "--collections=2",
        "--watches=1",
        "--page-bytes=1KiB",
        "--document-bytes=500B",
        "--document-depth=3",
        "--patch-operations=2",
        "--page-documents=10",
        "--batch-events=2",
    ]);
    let mut shelf = Shelf::of(&server, "a").await;
    assert_eq!(shelf.post(&json!({"n": 1})).await.status, 201);
    let mut other = Shelf::of(&server, "b").await;
    let schema = Call::put(other.path("$schema"), "{}");
    assert_eq!(other.call(schema).await.status, 201);
    let mut third = Shelf::of(&server, "c").await;
    for call in [
        Call::post(third.list_path(""), "{}"),
        Call::put(third.path(1), "{}"),
        Call::put(third.path("$schema"), "{}"),
    ] {
        let refused = third.call(call).await;
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_eq!(header(&refused, "retry-after"), Some("60"));
    }
    let mut socket = third.watch(WIRES[3], "", None).await;
    socket.ready().await;
    let post =
        json!({"type": "request", "method": "POST", "path": third.list_path(""), "body": {}});
    socket.websocket().say(&post).await;
    let refused = socket.answer().await;
    assert_eq!(refused["status"], 429, "{refused}");
    assert_eq!(refused["retry_after"], 60, "{refused}");
    drop(socket);
    // What is refused for another reason makes none, and what only asks neither.
    assert_eq!(third.list("").await.status, 200);
    assert_eq!(third.get(1).await.status, 404);
    assert_eq!(other.post(&json!({})).await.status, 201);

    let watch = shelf.watch(WIRES[0], "filter[n]=1", None).await;
    let same = shelf
        .watch(WIRES[3], "filter[n][eq]=1&filter[n]=1", None)
        .await;
    let ask = Ask::default().at("/api/v2/a").with("watch", 1);
    let refused = WIRES[0]
        .try_open(&shelf.target, ask.clone().with("filter[n]", 2))
        .await;
    assert_eq!(refused.err().map(|refused| refused.status), Some(429));
    drop((watch, same));

    let large = json!({"x": "y".repeat(400)});
    for _ in 0..3 {
        assert_eq!(shelf.post(&large).await.status, 201);
    }
    let refused = shelf.list("").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body["detail"]
            .as_str()
            .is_some_and(|d| d.contains("page-bytes"))
    );
    assert_eq!(shelf.list("per_page=2").await.status, 200);
    assert_eq!(shelf.list("per_page=11").await.status, 400);
    assert_eq!(shelf.post(&json!({"x": "y".repeat(500)})).await.status, 413);
    assert_eq!(shelf.post(&json!({"x": [[1]]})).await.status, 201);
    assert_eq!(shelf.post(&json!({"x": [[[1]]]})).await.status, 413);
    assert_eq!(shelf.bulk("{}\n{}\n{}\n").await.status, 413);
    let add = json!({ "op": "add", "path": "/a", "value": 1 });
    for (count, status) in [(2, 200), (3, 413)] {
        let patch = Value::from(vec![add.clone(); count]);
        assert_eq!(shelf.patch(1, JSON_PATCH, &patch).await.status, status);
    }
}

#[tokio::test]
async fn a_list_that_takes_too_long_is_ended() {
    let server = Server::start(&["--list-time=10ms", "--collection-indexes=0"]);
    let mut shelf = Shelf::of(&server, "slow").await;
    let lines: String = (0..10_000)
        .map(|n| format!("{{\"n\":{n},\"x\":\"{n:050}\"}}\n"))
        .collect();
    for _ in 0..3 {
        assert_eq!(shelf.bulk(&lines).await.status, 201);
    }
    let names: Vec<String> = (0..8).map(|n| format!("filter[f{n}][ne]=1")).collect();
    let slow = shelf.list(&format!("{}&sort=x", names.join("&"))).await;
    assert_eq!(slow.status, 503, "{slow:?}");
    assert!(
        slow.body["detail"]
            .as_str()
            .is_some_and(|d| d.contains("list-time"))
    );
    assert_eq!(shelf.list("").await.body["total"], 30_000);
    assert_eq!(shelf.post(&json!({})).await.status, 201);
}

#[tokio::test]
async fn few_requests_under_way_are_enough_for_all() {
    let server = Server::start(&["--socket-requests=1"]);
    let shelf = Shelf::of(&server, "sockets").await;
    let mut socket = shelf.watch(WIRES[3], "filter[none]=1", None).await;
    socket.ready().await;
    for n in 0..200 {
        let (method, path) = match n % 2 {
            0 => ("POST", "/api/v2/sockets"),
            _ => ("GET", "/api/v2/sockets?per_page=1"),
        };
        let message =
            json!({"type": "request", "ref": n, "method": method, "path": path, "body": {"n": n}});
        socket.websocket().say(&message).await;
    }
    for n in 0..200 {
        let reply = socket.answer().await;
        // One at a time is one after the other.
        assert_eq!(reply["ref"], n, "{reply}");
        assert_eq!(reply["status"], if n % 2 == 0 { 201 } else { 200 });
    }
}

#[tokio::test]
async fn memory_that_is_full_takes_again_what_fits() {
    let server = Server::start(&["--collections-memory=1MiB"]);
    let mut shelf = Shelf::of(&server, "memory").await;
    let document = json!({"x": "y".repeat(50_000)});
    let mut made = Vec::new();
    let refused = loop {
        let answer = shelf.post(&document).await;
        if answer.status != 201 {
            break answer;
        }
        made.push(answer.body["id"].clone());
        assert!(made.len() < 100, "it never ends");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.body["detail"]
            .as_str()
            .is_some_and(|d| d.contains("full")),
        "{refused:?}"
    );
    assert_eq!(shelf.list("per_page=1").await.body["total"], made.len());
    for id in made.drain(..3) {
        assert_eq!(shelf.delete(id).await.status, 204);
    }
    assert_eq!(shelf.post(&document).await.status, 201);
    assert_eq!(shelf.list("per_page=1").await.body["total"], made.len() + 1);
}

/// What the kernel does not let grow is a disk without room.
#[tokio::test]
async fn a_disk_that_is_full_loses_nothing_and_takes_again_what_fits() {
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    let mut shell = Command::new("sh");
    // In blocks of 512 bytes, as POSIX has it: 3 MiB. Without the trap it would be the end of the server.
    shell.args([
        "-c",
        "trap '' XFSZ; ulimit -f 6144; exec \"$0\" \"$@\"",
        BINARY,
    ]);
    let server = Server::start_by(shell, &[&flag]);
    let mut shelf = Shelf::of(&server, "disk").await;
    let document = json!({"x": "y".repeat(100_000)});
    let mut made = Vec::new();
    let refused = loop {
        let answer = shelf.post(&document).await;
        if answer.status != 201 {
            break answer;
        }
        made.push(answer.body["id"].clone());
        assert!(made.len() < 200, "it never ends");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    let ids = shelf.ids("per_page=20").await;
    assert_eq!(ids, made[..20.min(made.len())]);
    assert_eq!(shelf.list("per_page=1").await.body["total"], made.len());
    let (first, rest) = made.split_at(made.len() / 2);
    for id in first {
        assert_eq!(shelf.delete(id).await.status, 204);
    }
    assert_eq!(shelf.post(&document).await.status, 201);
    let server = Server::start_in(server.kill(), &[&flag]);
    let mut shelf = Shelf::of(&server, "disk").await;
    assert_eq!(shelf.list("per_page=1").await.body["total"], rest.len() + 1);
    for id in rest {
        assert_eq!(shelf.get(id).await.status, 200);
    }
    drop(server);
    std::fs::remove_dir_all(data).expect("it can be removed");
}

/// A file system of its own that has no room at all any more, until somebody makes some.
#[tokio::test]
async fn a_disk_without_any_room_is_waited_for() {
    let can = Command::new("unshare").args(["-rm", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("not run: nobody may mount anything here");
        return;
    }
    let mount = new_dir();
    let mut shell = Command::new("unshare");
    shell.env("MOUNT", &mount).args([
        "-rm",
        "sh",
        "-c",
        "mount -t tmpfs -o size=5m tmpfs \"$MOUNT\" && head -c 1500000 /dev/zero > \"$MOUNT/ballast\" && exec \"$0\" \"$@\"",
        BINARY,
    ]);
    let server = Server::start_by(
        shell,
        &[&format!("--data={}", mount.join("data").display())],
    );
    let mut shelf = Shelf::of(&server, "disk").await;
    let mut watch = shelf.watch(WIRES[0], "", None).await;
    watch.ready().await;
    let document = json!({"x": "y".repeat(100_000)});
    let mut made = 0;
    while shelf.post(&document).await.status == 201 {
        made += 1;
        assert!(made < 100, "it never ends");
    }
    for n in 1..=made {
        assert_eq!(brief(&told(&mut watch).await), json!(["ADDED", n, 1]));
        assert_eq!(shelf.get(n).await.status, 200);
    }
    let refused = shelf.put(1, &document).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.body["detail"]
            .as_str()
            .is_some_and(|d| d.contains("full"))
    );
    // As its own processes see it.
    let inside = format!("/proc/{}/root{}/ballast", server.pid(), mount.display());
    std::fs::remove_file(inside).expect("it makes room");
    assert_eq!(shelf.put("late", &document).await.status, 201);
    assert_eq!(brief(&told(&mut watch).await), json!(["ADDED", "late", 1]));
    assert_eq!(shelf.list("per_page=1").await.body["total"], made + 1);
    drop(server);
    std::fs::remove_dir_all(mount).expect("it can be removed");
}
