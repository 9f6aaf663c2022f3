//! The broker that `scripts/relay-tests` has started, and what can be done to it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use triwire::event::Place;
use triwire::relay::{self, Limits, Relay, Stream};

/// The URL of the one that all tests share.
const SHARED: &str = "TRIWIRE_TEST_RELAY";

/// The URL of the one that they stop, and the program that does it.
const FRAGILE: &str = "TRIWIRE_TEST_RELAY_FRAGILE";
const CTL: &str = "TRIWIRE_TEST_RELAY_CTL";

/// How long the broker may take to answer, in these tests.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// A stream of a test's own on a broker.
#[derive(Clone)]
pub struct Broker {
    pub url: String,
}

impl Broker {
    /// On the one that all tests share.
    pub fn shared() -> Option<Broker> {
        Broker::at(SHARED)
    }

    /// On the one that can be stopped; one test at a time has it.
    pub async fn fragile() -> Option<(Broker, Control)> {
        static ONE: Mutex<()> = Mutex::const_new(());
        let broker = Broker::at(FRAGILE)?;
        let control = Control(ONE.lock().await);
        // Whoever had it before may have failed while it was down.
        control.start().await;
        Some((broker, control))
    }

    /// What a variable of the script's says, if it says something.
    pub fn variable(name: &str) -> Option<String> {
        static SAID: Once = Once::new();
        let value = std::env::var(name).ok();
        if value.is_none() && std::env::var(SHARED).is_err() {
            // Not by a macro, whose words a test that succeeds keeps to itself.
            SAID.call_once(|| {
                let words = "not run: there is no broker in TRIWIRE_TEST_RELAY; scripts/relay-tests starts some\n";
                let _ = std::io::stdout().write_all(words.as_bytes());
            });
        }
        value
    }

    pub fn at(variable: &str) -> Option<Broker> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = Broker::variable(variable)?;
        let mark = if base.contains('?') { '&' } else { '?' };
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Broker {
            url: format!("{base}{mark}stream=test-{process}-{number}"),
        })
    }

    /// `redis`, `nats`, `postgres`.
    pub fn kind(&self) -> &'static str {
        match self.url.split("://").next() {
            Some("nats" | "tls") => "nats",
            Some("postgres") => "postgres",
            _ => "redis",
        }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        let rest = self.url.split("://").nth(1).expect("a URL");
        let rest = rest.split(['/', '?']).next().expect("a beginning");
        rest.rsplit('@').next().expect("an end")
    }

    /// The same with another address.
    pub fn by(&self, address: &str) -> Broker {
        Broker {
            url: self.url.replace(self.address(), address),
        }
    }

    /// What a Redis server with the same password answers to these commands, one a line, on one connection.
    pub fn redis(&self, port: &str, commands: &[u8]) -> String {
        let mut cli = Command::new("redis-cli")
            .env("REDISCLI_AUTH", self.password())
            .args(["-p", port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli is installed");
        let mut said = cli.stdin.take().expect("piped");
        said.write_all(commands).expect("it listens");
        drop(said);
        let done = cli.wait_with_output().expect("it ends");
        String::from_utf8(done.stdout).expect("text")
    }

    /// The one that a Redis server wants.
    pub fn password(&self) -> &str {
        let (_, rest) = self.url.split_once("://:").expect("a password");
        rest.split('@').next().expect("a beginning")
    }

    /// Appends an event by Redis' own means, and says where it is.
    pub fn put_one(&self, text: &str) -> Place {
        let entry = format!(r#"{{"events":[{{"topic":"a","text":"{text}"}}]}}"#);
        let id = self.say_to_redis(&format!("XADD {} * e '{entry}'\n", self.key()));
        let (ms, number) = id.trim().split_once('-').expect("an id");
        let read = |text: &str| text.parse().expect("a number");
        Place {
            ms: read(ms),
            number: read(number),
        }
    }

    /// Takes all that there is out of the stream, by Redis' own means.
    pub fn trim(&self) {
        self.say_to_redis(&format!("XTRIM {} MAXLEN 0\n", self.key()));
    }

    fn key(&self) -> String {
        let (_, stream) = self.url.split_once("stream=").expect("its own");
        format!("{{{stream}}}:events")
    }

    fn say_to_redis(&self, command: &str) -> String {
        let (_, port) = self.address().rsplit_once(':').expect("a port");
        self.redis(port, command.as_bytes())
    }

    /// Has redis-cli say something.
    pub fn redis_cli(&self, args: &[&str]) {
        let (_, port) = self.address().rsplit_once(':').expect("a port");
        let password = self.password();
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", port])
            .args(args)
            .env("REDISCLI_AUTH", password);
        let done = cli.output().expect("redis-cli is installed");
        assert_eq!(done.stdout, b"OK\n", "{done:?}");
    }

    /// What another client of Postgres has of it.
    pub async fn sql(&self) -> tokio_postgres::Client {
        let (url, _) = self.url.split_once('?').expect("a stream");
        let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("it is there");
        tokio::spawn(connection);
        client
    }

    /// What another program of NATS has of it.
    #[cfg(feature = "nats")]
    pub async fn jetstream(&self) -> async_nats::jetstream::Context {
        let (who, _) = self.url.split_once('@').expect("a user and a password");
        let (_, who) = who.split_once("://").expect("a URL");
        let (user, password) = who.split_once(':').expect("a password");
        let options = async_nats::ConnectOptions::with_user_and_password(
            user.to_owned(),
            password.to_owned(),
        );
        let client = options.connect(self.address()).await;
        async_nats::jetstream::new(client.expect("it is there"))
    }

    pub fn relay(&self, limits: Limits) -> Arc<dyn Relay> {
        relay::open(&self.url, Stream::Events, limits).expect("a good URL")
    }

    /// Whether it says that it has let go of nothing.
    pub async fn is_whole(&self, limits: Limits) -> bool {
        let mut reading = self.relay(limits).reading().await.expect("it is there");
        reading.bounds().await.expect("it answers").is_whole
    }

    /// Appends by a connection of its own, as another program may.
    pub async fn put(&self, entries: &[&[u8]]) {
        let mut writing = self.relay(limits()).writing().await.expect("it is there");
        let entries: Vec<_> = entries.iter().map(|entry| entry.to_vec().into()).collect();
        let taken = writing.append(&entries).await.expect("it answers");
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    }
}

pub fn limits() -> Limits {
    Limits {
        entries: 10_000,
        timeout: TIMEOUT,
        waiting: 100,
        entry_bytes: 16 << 20,
    }
}

/// Ends and starts the fragile one.
pub struct Control(#[expect(dead_code, reason = "it is held")] MutexGuard<'static, ()>);

impl Control {
    /// As if its power were cut.
    pub async fn kill(&self) {
        self.tell("kill").await;
    }

    /// On the same port, with what it had.
    pub async fn start(&self) {
        self.tell("start").await;
    }

    /// Takes away what it had, while it is down.
    pub async fn wipe(&self) {
        self.tell("wipe").await;
    }

    /// Copies what it has, while it is down.
    pub async fn save(&self) {
        self.tell("save").await;
    }

    /// Brings the copy back, while it is down.
    pub async fn restore(&self) {
        self.tell("restore").await;
    }

    async fn tell(&self, word: &'static str) {
        let ctl = std::env::var(CTL).expect("the script says it");
        let done = tokio::task::spawn_blocking(move || Command::new(ctl).arg(word).output());
        let done = done.await.expect("it ends").expect("it starts");
        assert!(done.status.success(), "{word}: {done:?}");
    }
}
