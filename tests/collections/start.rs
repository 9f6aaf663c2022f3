//! Files that cannot be used end the start, in words.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::server::{BINARY, Server, new_dir};

const NAME: &str = "collections.sqlite";

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    let server = Server::start(&[]);
    let [damaged, foreign, newer, taken] = [new_dir(), new_dir(), new_dir(), new_dir()];
    let garbage = b"this is not a database, and long enough to be sure of it";
    fs::write(damaged.join(NAME), garbage).expect("written");
    let other = rusqlite::Connection::open(foreign.join(NAME)).expect("a database");
    other.execute_batch("create table x (y)").expect("a table");
    drop(other);
    let used = Server::start(&[&format!("--data={}", newer.display())]);
    drop(used);
    let future = rusqlite::Connection::open(newer.join(NAME)).expect("a database");
    future
        .pragma_update(None, "user_version", 2)
        .expect("a version");
    drop(future);
    fs::create_dir(taken.join(NAME)).expect("a directory");
    for (dir, why) in [
        (&*damaged, "not a database"),
        (&*foreign, "another program"),
        (&*newer, "version 2"),
        (&*taken, "unable to open"),
        // Nobody can write there, not even root.
        (Path::new("/proc/triwire"), "/proc/triwire"),
    ] {
        let started = Command::new(BINARY)
            .args(["serve", "--http1=127.0.0.1:0", "--h2c=off", "--ws=off"])
            .args(["--http2=off", "--http1s=off", "--wss=off"])
            .arg(format!("--certs={}", server.dir.join("certs").display()))
            .arg(format!("--data={}", dir.display()))
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&started.stderr);
        assert_eq!(started.status.code(), Some(2), "{}: {said}", dir.display());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("--data") && said.contains(why), "{said}");
    }
    for dir in [damaged, foreign, newer, taken] {
        let _ = fs::remove_dir_all(dir);
    }
}
