//! TLS to the database, as far as the URL asks for it.

use super::database::Database;
use super::rest::Rest;
use crate::support::server::{Server, new_dir};
use std::process::Command;

fn ca() -> String {
    std::env::var("TRIWIRE_POSTGRES_CA").expect("the script says it")
}

/// Whether all of a server's connections are encrypted.
fn encrypted(database: &Database) -> String {
    database.sql(
        "select bool_and(s.ssl) from pg_stat_ssl s join pg_stat_activity a using (pid)
            where a.application_name = 'triwire' and a.datname = current_database()",
    )
}

#[tokio::test]
async fn the_url_says_how_much() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let ca = ca();
    for (query, encryption) in [
        ("sslmode=disable".to_owned(), "f"),
        ("sslmode=prefer".to_owned(), "t"),
        ("sslmode=require".to_owned(), "t"),
        (format!("sslmode=require&sslrootcert={ca}"), "t"),
        (format!("sslmode=verify-ca&sslrootcert={ca}"), "t"),
        (format!("sslmode=verify-full&sslrootcert={ca}"), "t"),
    ] {
        let server = Server::start(&["--store", &database.with(&query)]);
        let mut client = Rest::of(&server).await;
        let made = client.post("items", "{}").await;
        assert_eq!(made.status, 201, "{query}: {made:?}");
        assert_eq!(encrypted(&database), encryption, "{query}");
    }
}

#[test]
fn a_stranger_is_not_trusted() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let dir = new_dir();
    let other = dir.to_str().expect("a path");
    let made = Command::new(crate::support::server::BINARY)
        .args(["certs", "--certs", other])
        .output();
    assert!(made.expect("it runs").status.success());
    let stranger = format!("{other}/ca.pem");
    for query in [
        "sslmode=verify-full".to_owned(),
        format!("sslmode=verify-full&sslrootcert={stranger}"),
        format!("sslmode=verify-ca&sslrootcert={stranger}"),
        format!("sslmode=require&sslrootcert={stranger}"),
    ] {
        let done = Command::new(crate::support::server::BINARY)
            .args(["migrate", "--store", &database.with(&query)])
            .output()
            .expect("it runs");
        let words = String::from_utf8(done.stderr).expect("text");
        assert_eq!(done.status.code(), Some(1), "{query}: {words}");
        assert!(words.contains("certificate"), "{query}: {words}");
    }
    let _ = std::fs::remove_dir_all(dir);
}
