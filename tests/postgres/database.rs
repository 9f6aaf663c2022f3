//! A database of a test's own on the server that `scripts/postgres-tests` has started, and psql, a stranger to it.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::server::{BINARY, Server};

/// The server that all tests share.
const SHARED: &str = "TRIWIRE_POSTGRES";

/// The one that they stop.
const FRAGILE: &str = "TRIWIRE_POSTGRES_FRAGILE";

pub struct Database {
    pub url: String,
}

impl Database {
    /// An empty one.
    pub fn empty() -> Option<Database> {
        Database::of(SHARED)
    }

    /// One that `triwire migrate` has been at.
    pub fn migrated() -> Option<Database> {
        let database = Database::of(SHARED)?;
        database.migrate();
        Some(database)
    }

    /// The same on the server that can be stopped. One test at a time has it.
    pub fn fragile() -> Option<Database> {
        let database = Database::of(FRAGILE)?;
        database.migrate();
        Some(database)
    }

    fn of(server: &str) -> Option<Database> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SAID: Once = Once::new();
        let Ok(base) = std::env::var(server) else {
            // Not by a macro, whose words a test that succeeds keeps to itself.
            SAID.call_once(|| {
                let words = "not run: there is no Postgres in TRIWIRE_POSTGRES; scripts/postgres-tests starts one\n";
                let _ = std::io::stdout().write_all(words.as_bytes());
            });
            return None;
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let admin = Database {
            url: format!("{base}/postgres"),
        };
        admin.sql(&format!("create database {name}"));
        Some(Database {
            url: format!("{base}/{name}"),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        let (_, name) = self.url.rsplit_once('/').expect("it names a database");
        name
    }

    /// The one of the same server that is always there.
    pub fn admin(&self) -> Database {
        let (base, _) = self.url.rsplit_once('/').expect("it names a database");
        Database {
            url: format!("{base}/postgres"),
        }
    }

    /// The same with something else behind the `?`.
    pub fn with(&self, query: &str) -> String {
        format!("{}?{query}", self.url)
    }

    pub fn migrate(&self) {
        let done = self.tool(&["migrate"]);
        assert!(done.status.success(), "{done:?}");
    }

    /// A subcommand of triwire's for this database.
    pub fn tool(&self, args: &[&str]) -> Output {
        Command::new(BINARY)
            .args(args)
            .env("TRIWIRE_STORE", &self.url)
            .output()
            .expect("the binary starts")
    }

    /// What a subcommand says that succeeds.
    pub fn told(&self, args: &[&str]) -> String {
        let done = self.tool(args);
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    }

    /// What one says that fails.
    pub fn refused(&self, args: &[&str]) -> String {
        let done = self.tool(args);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        String::from_utf8(done.stderr).expect("text")
    }

    /// Has psql say something; what it answers, bare.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let done = self.try_sql(sql);
        assert!(done.status.success(), "{sql}: {done:?}");
        let text = String::from_utf8(done.stdout).expect("text");
        text.trim_end().to_owned()
    }

    pub fn try_sql(&self, sql: &str) -> Output {
        self.psql()
            .args(["-c", sql])
            .output()
            .expect("psql is installed")
    }

    /// psql, to be spoken to.
    pub fn session(&self) -> Session {
        let mut psql = self.psql();
        psql.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = psql.spawn().expect("psql is installed");
        let answers = std::io::BufReader::new(child.stdout.take().expect("piped"));
        Session { child, answers }
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.url,
        ]);
        psql
    }

    /// A server whose collections are here.
    pub fn server(&self, args: &[&str]) -> Server {
        Server::start(&[&["--store", &self.url], args].concat())
    }
}

/// A person at psql, with a transaction of his own.
pub struct Session {
    child: std::process::Child,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Session {
    /// Says something, and waits until it is done.
    pub fn say(&mut self, sql: &str) {
        use std::io::BufRead;
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{sql};\n\\echo done").expect("psql reads");
        let mut line = String::new();
        while line.trim_end() != "done" {
            line.clear();
            let read = self.answers.read_line(&mut line).expect("psql answers");
            assert!(read > 0, "psql has ended: {sql}");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
