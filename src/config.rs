//! Every setting of the server: where it is given, its default, what it may be.
//!
//! A setting is one row of [`table`] (key, default, reason, kind) and one field here, which the row
//! points at; flags, variables, keys of the file, `--help` and the check of `docs/limits.md` all
//! follow from the row. A value comes from the flag (`--topic-bytes`), else the variable
//! (`TRIWIRE_TOPIC_BYTES`), else the key of the `--config` file (`topic-bytes`), else the default.
//! Whatever is wrong, in any of them, is reported at once. Nothing is bound, measured or looked up
//! here.

mod file;
mod host;
pub mod listeners;
pub mod secret;
mod sense;
mod sources;
pub mod table;
mod value;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::file::File;
use crate::config::listeners::Listeners;
use crate::config::secret::Secret;
use crate::config::sources::Sources;

/// What `triwire serve` was told, checked. `Config::default()` is what it does when told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The ports, by the protocol that each speaks.
    pub listeners: Listeners,
    /// The directory of certificates and their keys.
    pub certs: PathBuf,
    /// The directory of what outlives a restart; `None` keeps nothing.
    pub data: Option<PathBuf>,
    /// The database that collections are in; `None` keeps them in `data`, or in memory.
    pub store: Option<Secret>,
    /// How that is used.
    pub postgres: Postgres,
    /// What carries the log between replicas; `None` is this process alone.
    pub relay: Option<Secret>,
    /// How that is used.
    pub relaying: Relaying,
    /// What is published elsewhere and comes here too.
    pub subscribe: Vec<Secret>,
    /// The replica's name; `None` asks for the host's, see [`Config::name_or`].
    pub name: Option<String>,
    /// How lines on stderr are written.
    pub log_format: LogFormat,
    /// How often the machine's figures are published; `None` never.
    pub metrics_every: Option<Duration>,
    /// Shards, each with a thread of its own; `None` makes one a core.
    pub shards: Option<usize>,
    /// Do not take `Upgrade: h2c`.
    pub no_h2c_upgrade: bool,
    /// Do not announce and take extended CONNECT.
    pub no_websocket_http2: bool,
    /// Who may come in.
    pub access: Access,
    /// How long things may take.
    pub timing: Timing,
    /// How large and how many things may be.
    pub limits: Limits,
}

/// How a database is used. `Default` is empty, for the table to fill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Postgres {
    /// Connections, beside the reader's.
    pub connections: usize,
    /// For how long changes are kept.
    pub outbox_age: Duration,
    /// How many changes are kept.
    pub outbox_changes: usize,
}

/// How a relay is used. `Default` is empty, for the table to fill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relaying {
    /// How long it may take to answer.
    pub timeout: Duration,
    /// Entries that it keeps.
    pub entries: usize,
    /// Batches on the way to it.
    pub waiting: usize,
    /// Bytes of one entry.
    pub entry_bytes: usize,
}

/// How lines on stderr are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    #[default]
    Human,
    /// One JSON object a line; the ready line on stdout too.
    Json,
}

/// Who may come in. `Default` is empty, for the table to fill: the defaults are those of
/// [`Config`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Origins beside our own, as browsers write them: `scheme://host[:port]`, lower case, no
    /// default port.
    pub allow_origin: Vec<String>,
    /// Names that `Host` may say beside those of the certificate; lower case, no port.
    pub allow_host: Vec<String>,
    /// Keys of the Timeplus dialect; none lets everybody in who gets there.
    pub api_key: Vec<Secret>,
    /// Anybody who reaches a listener may publish and subscribe.
    pub open: bool,
}

/// How long things may take. `Default` is empty, for the table to fill: the defaults are those of
/// [`Config`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timing {
    /// For streams to end after the first signal; zero cuts them at once.
    pub drain: Duration,
    /// For a reader to take no byte.
    pub stall: Duration,
    /// For a peer's kernel to acknowledge nothing of what was sent.
    pub dead: Duration,
    /// Between comments on an SSE stream with nothing to say.
    pub heartbeat: Duration,
    /// Between WebSocket pings.
    pub ping: Duration,
    /// From a ping to its pong.
    pub pong: Duration,
    /// From accept to the end of a request's head, TLS included.
    pub request_head: Duration,
    /// From a request's head to the end of its body.
    pub request_body: Duration,
    /// The longest hold of a long poll.
    pub poll_timeout: Duration,
    /// Lower end of the random `retry:` of SSE.
    pub retry_min: Duration,
    /// Upper end of the random `retry:` of SSE.
    pub retry_max: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_for: Duration,
    /// How long a subscription is kept that no stream uses.
    pub subscription_ttl: Duration,
    /// How long one evaluation of a query may take.
    pub query_time: Duration,
    /// How long a query of the Timeplus dialect is remembered that has ended.
    pub timeplus_ended_for: Duration,
    /// How long one list of documents may take.
    pub list_time: Duration,
}

/// How large (in bytes) and how many things may be. `Default` is empty, for the table to fill: the
/// defaults are those of [`Config`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; `None` follows the descriptor limit, see [`Limits::connections_within`].
    pub connections: Option<usize>,
    /// Streams at once on one HTTP/2 connection.
    pub streams: usize,
    /// Topics of one reader.
    pub reader_topics: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Bytes of an event's payload.
    pub event_bytes: usize,
    /// Bytes retained a topic.
    pub topic_bytes: usize,
    /// Events retained a topic.
    pub topic_events: usize,
    /// Bytes retained in all.
    pub log_bytes: usize,
    /// Topics retained.
    pub topics: usize,
    /// Bytes of one ndjson publish.
    pub batch_bytes: usize,
    /// Events of one ndjson publish.
    pub batch_events: usize,
    /// Idempotency keys remembered.
    pub idempotency_keys: usize,
    /// Keys remembered by which connections may be cut.
    pub cut_keys: usize,
    /// Bytes that may wait for a slow peer on an HTTP/1.1 or WebSocket connection, kernel included.
    pub http1_unsent: usize,
    /// The same on an HTTP/2 connection, all its streams together.
    pub http2_unsent: usize,
    /// Events of one long poll's answer.
    pub poll_events: usize,
    /// Bytes of one long poll's answer, unless its first event alone is larger.
    pub poll_bytes: usize,
    /// Bytes of messages that a bridge holds.
    pub bridge_bytes: usize,
    /// Sessions of Socket.IO.
    pub socket_io_sessions: usize,
    /// Of live SQL.
    pub live: LiveLimits,
    /// Of collections.
    pub store: StoreLimits,
}

/// How large (in bytes) and how many things of live SQL may be. `Default` is empty, as above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveLimits {
    /// Queries.
    pub queries: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Tables.
    pub tables: usize,
    /// Columns of a table.
    pub table_columns: usize,
    /// Rows retained a table.
    pub table_rows: usize,
    /// Bytes retained a table.
    pub table_bytes: usize,
    /// Bytes retained of all tables.
    pub tables_bytes: usize,
    /// Bytes of a query's text.
    pub query_bytes: usize,
    /// Bytes that the engine may take for everything.
    pub query_memory: usize,
    /// Groups of a query.
    pub query_groups: usize,
    /// Bytes that the groups of all queries may hold.
    pub groups_memory: usize,
    /// Bytes of a query's result.
    pub query_result: usize,
    /// Bytes that a query of the dialect of streams tells at once.
    pub stream_result: usize,
    /// Queries of the Timeplus dialect that run.
    pub timeplus_queries: usize,
    /// Those that have ended and are remembered.
    pub timeplus_ended: usize,
}

/// How large (in bytes) and how many things of collections may be. `Default` is empty, as above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of a document, of a patch and of a schema.
    pub document_bytes: usize,
    /// Objects and lists within each other.
    pub document_depth: usize,
    /// Operations of a JSON Patch.
    pub patch_operations: usize,
    /// Documents of a page.
    pub page_documents: usize,
    /// Bytes of a page.
    pub page_bytes: usize,
    /// Collections.
    pub collections: usize,
    /// Indexes of a collection.
    pub indexes: usize,
    /// Watches with different filters at once.
    pub watches: usize,
    /// Bytes of all collections together, in memory.
    pub memory: usize,
    /// Requests of one WebSocket under way.
    pub socket_requests: usize,
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self::empty();
        for setting in table::settings() {
            let filled = setting.fill(&mut config);
            filled.expect("a default is a value that its own setting takes, as a test shows");
        }
        config
    }
}

impl Config {
    /// Adds every setting, and `--config`, to a subcommand. Values stay text until
    /// [`Config::resolve`], which alone judges them.
    pub fn command(command: clap::Command) -> clap::Command {
        sources::arguments(command)
    }

    /// Reads flags, variables (through `env`) and the file, and checks them; or says everything
    /// that is wrong, one line each. A value that a stronger source overrides is checked all the
    /// same: it is wrong on the day the override goes.
    ///
    /// # Errors
    /// One line a mistake.
    pub fn resolve(
        matches: &clap::ArgMatches,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<String>> {
        let mut config = Self::default();
        let mut sources = Sources::default();
        let path = sources::file(matches, env);
        let mut file = path.map_or_else(File::default, File::read);
        let mut mistakes = std::mem::take(&mut file.mistakes);
        for setting in table::settings() {
            let weakest_first = [
                file.given(setting),
                sources::variable(setting, env),
                sources::flag(setting, matches),
            ];
            for given in weakest_first.into_iter().flatten() {
                match given.store(setting, &mut config) {
                    Ok(()) => sources.won(setting.key, given.place),
                    Err(lines) => {
                        sources.wrong(setting.key);
                        mistakes.extend(lines);
                    }
                }
            }
        }
        mistakes.extend(sense::mistakes(&config, &sources));
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(mistakes)
        }
    }

    /// Adds `--store` and `--config` to a subcommand that needs no more.
    pub fn store_command(command: clap::Command) -> clap::Command {
        sources::only(command, table::setting("store"))
    }

    /// The database that such a subcommand was told, by the flag, the variable or the file.
    ///
    /// # Errors
    /// One line a mistake.
    pub fn resolve_store(
        matches: &clap::ArgMatches,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Secret>, Vec<String>> {
        let setting = table::setting("store");
        let mut config = Self::empty();
        let path = sources::file(matches, env);
        let mut file = path.map_or_else(File::default, File::read);
        let mut mistakes = std::mem::take(&mut file.mistakes);
        let weakest_first = [
            file.given(setting),
            sources::variable(setting, env),
            sources::flag(setting, matches),
        ];
        for given in weakest_first.into_iter().flatten() {
            mistakes.extend(
                given
                    .store(setting, &mut config)
                    .err()
                    .into_iter()
                    .flatten(),
            );
        }
        match mistakes.is_empty() {
            true => Ok(config.store),
            false => Err(mistakes),
        }
    }

    /// The replica's name: the one that was given, else as much of the host's as a name may hold.
    pub fn name_or(&self, host: &str) -> String {
        self.name.clone().unwrap_or_else(|| value::name_from(host))
    }

    fn empty() -> Self {
        Self {
            listeners: Listeners::default(),
            certs: PathBuf::new(),
            data: None,
            store: None,
            postgres: Postgres::default(),
            relay: None,
            relaying: Relaying::default(),
            subscribe: Vec::new(),
            name: None,
            log_format: LogFormat::default(),
            metrics_every: None,
            shards: None,
            no_h2c_upgrade: false,
            no_websocket_http2: false,
            access: Access::default(),
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }
}

/// Reads a time such as `15s`, for the command line's other subcommands; the range is in milliseconds.
///
/// # Errors
/// What is wrong with it, to follow the quoted text.
pub fn parse_time(text: &str, range: RangeInclusive<u64>) -> Result<Duration, String> {
    value::time(text, &range)
}

impl Limits {
    /// The most that `auto` makes of a generous descriptor limit.
    const CONNECTIONS: usize = 100_000;

    /// Bytes of a WebSocket message: a payload whose every byte is escaped to six (`\u0000`), or a
    /// document, and room for the fields around it.
    pub fn websocket_bytes(&self) -> usize {
        (6 * self.event_bytes).max(self.store.document_bytes) + 4096
    }

    /// Connections for a process that may hold so many descriptors: the number that was given, or
    /// nine tenths of them.
    pub fn connections_within(&self, descriptors: u64) -> usize {
        let auto = usize::try_from(descriptors.saturating_mul(9) / 10).unwrap_or(usize::MAX);
        self.connections.unwrap_or(auto.clamp(1, Self::CONNECTIONS))
    }
}
