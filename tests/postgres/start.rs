//! What is wrong with the database ends the start, with what to do about it; and the password is nowhere.

use std::process::{Command, Output, Stdio};

use super::database::Database;
use super::rest::Rest;
use crate::support::raw::until;
use crate::support::server::{BINARY, LISTENERS, new_dir};

/// A start that fails.
fn start(store: &str, by_variable: bool) -> (Option<i32>, String) {
    let dir = new_dir();
    let mut command = Command::new(BINARY);
    command.arg("serve").arg("--certs").arg(dir.join("certs"));
    for name in LISTENERS {
        command.args([format!("--{name}"), "127.0.0.1:0".into()]);
    }
    match by_variable {
        true => command.env("TRIWIRE_STORE", store),
        false => command.args(["--store", store]),
    };
    let done: Output = command
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let _ = std::fs::remove_dir_all(dir);
    assert_eq!(done.stdout, b"");
    let words = String::from_utf8(done.stderr).expect("text");
    (done.status.code(), words)
}

#[test]
fn a_database_without_the_schema_says_what_to_run() {
    let Some(database) = Database::empty() else {
        return;
    };
    let (status, words) = start(&database.url, true);
    assert_eq!(status, Some(2), "{words}");
    assert!(words.contains("triwire migrate --store"), "{words}");
    assert_eq!(
        words
            .lines()
            .filter(|line| line.starts_with("triwire: "))
            .count(),
        1,
        "{words}"
    );
    let refused = database.refused(&["watch-table", "people"]);
    assert!(refused.contains("triwire migrate --store"), "{refused}");
}

#[test]
fn migrating_twice_does_nothing_and_says_so() {
    let Some(database) = Database::empty() else {
        return;
    };
    assert!(
        database
            .told(&["migrate"])
            .contains("was made, in version 2")
    );
    assert!(database.told(&["migrate"]).contains("nothing was done"));
    let server = database.server(&[]);
    assert_eq!(server.get("/api/v2/items")["total"], 0);
}

#[test]
fn migrating_at_once_makes_it_once() {
    let Some(database) = Database::empty() else {
        return;
    };
    let database = std::sync::Arc::new(database);
    let all: Vec<_> = (0..4)
        .map(|_| {
            let database = database.clone();
            std::thread::spawn(move || database.told(&["migrate"]))
        })
        .collect();
    let told: Vec<String> = all
        .into_iter()
        .map(|one| one.join().expect("it ended"))
        .collect();
    let made = told.iter().filter(|words| words.contains("was made"));
    assert_eq!(made.count(), 1, "{told:?}");
}

#[test]
fn a_newer_schema_is_left_to_a_newer_program() {
    let Some(database) = Database::migrated() else {
        return;
    };
    database.sql("update triwire.meta set version = 99");
    for words in [
        start(&database.url, true).1,
        database.refused(&["migrate"]),
        database.refused(&["watch-table", "people"]),
    ] {
        assert!(
            words.contains("version 99") && words.contains("newer"),
            "{words}"
        );
    }
    assert_eq!(database.sql("select version from triwire.meta"), "99");
}

#[test]
fn the_password_is_nowhere() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let (user, rest) = database
        .url
        .split_once(':')
        .and_then(|(scheme, rest)| {
            let (user, rest) = rest.split_once(':')?;
            let (password, rest) = rest.split_once('@')?;
            Some((
                format!("{scheme}:{user}"),
                (password.to_owned(), rest.to_owned()),
            ))
        })
        .expect("a URL with a password");
    let (password, rest) = rest;
    let wrong = format!("{user}:not-{password}@{rest}");
    for (url, word) in [
        (wrong.clone(), "authentication failed"),
        (format!("{user}:{password}@{rest}_not"), "does not exist"),
        (
            format!("{user}:{password}@{rest}?sslmode=perhaps"),
            "sslmode",
        ),
        (
            format!("{user}:{password}@{rest}?sslmode=verify-full&sslrootcert=/none"),
            "/none",
        ),
        (format!("mysql:{password}@{rest}"), "postgres://"),
    ] {
        for by_variable in [true, false] {
            let (status, words) = start(&url, by_variable);
            assert_eq!(status, Some(2), "{words}");
            assert!(words.contains(word), "{word}: {words}");
            assert!(!words.contains(&password), "{words}");
        }
    }
    let server = database.server(&[]);
    assert!(!server.stderr().contains(&password));
    until("it says where documents are", || {
        server.stderr().contains("documents are in postgres://")
    });
    assert!(!server.stderr().contains(&password));
}

#[tokio::test]
async fn what_was_there_before_is_there_and_is_not_told_again() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let before = database.server(&[]);
    Rest::of(&before).await.put("items/1", r#"{"n": 1}"#).await;
    drop(before);
    database.sql(
        r#"insert into triwire.documents (collection, document) values ('items', '{"id": 2}')"#,
    );
    let after = database.server(&[]);
    let mut client = Rest::of(&after).await;
    assert_eq!(client.get("items").await.body["total"], 2);
    let mut reader =
        super::rest::watch(&after, crate::support::client::Framing::Sse, "items").await;
    client.put("items/3", "{}").await;
    assert_eq!(super::rest::change(&reader.event().await).1, 3);
}

#[test]
fn what_is_kept_in_a_directory_may_be_beside_it() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let dir = new_dir();
    let data = dir.to_str().expect("a path").to_owned();
    let server = database.server(&["--data", &data]);
    assert!(!dir.join("collections.sqlite").exists());
    assert!(dir.join("definitions.sqlite").exists());
    drop(server);
    let _ = std::fs::remove_dir_all(dir);
}
