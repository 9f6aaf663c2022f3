//! Postgres: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with what libpq knows behind the `?`, and `stream=NAME`, which tells
//! several systems in one database apart.
//!
//! An entry is a row of `triwire_relay.entries`. It gets its place under the lock of its stream's row, which is kept until it
//! can be seen; who reads is woken by a notification, and looks each second all the same.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};

use self::statements::{APPEND, BEGIN, BOUNDS, ENTRY, MAKE, RAISE, READ, TRIM};
use super::{
    Batch, Bounds, Entry, Fault, LOST, Limits, Reading, Relay, Stream, Taken, WAIT, Writing,
    stream_name,
};
use crate::database;
use crate::database::pooler;
use crate::database::why;
use crate::event::Place;
use crate::greeting;
use crate::problem::Problem;

mod statements;

/// The version of the server.
const OLDEST: u32 = 12;

/// A stream in a database.
struct Postgres {
    place: database::Place,
    name: String,
    entries: u64,
    limits: Limits,
    /// Looked at once whether sessions stay with who has them.
    stays: OnceCell<()>,
}

pub(super) fn open(url: &str, stream: Stream, limits: Limits) -> Result<Arc<dyn Relay>, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (own, libpq): (Vec<&str>, Vec<&str>) = query
        .split('&')
        .partition(|pair| pair.starts_with("stream="));
    let own = form_urlencoded::parse(own.last().unwrap_or(&"stream=triwire").as_bytes());
    let name = own
        .map(|(_, value)| stream_name(&value, 40, "._:-"))
        .collect::<Result<String, _>>()?;
    Ok(Arc::new(Postgres {
        place: database::Place::parse(&format!("{base}?{}", libpq.join("&")))?,
        name: format!("{name}:{}", stream.name()),
        entries: stream.entries(&limits),
        limits,
        stays: OnceCell::new(),
    }))
}

impl Postgres {
    /// What wakes those who read it.
    fn channel(&self) -> String {
        format!("triwire:{}", self.name)
    }

    async fn connect(&self) -> Result<Session, Fault> {
        let connecting = self.place.config.connect(self.place.tls.clone());
        let (client, mut connection) = match timeout(self.limits.timeout / 2, connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(self.unconnected(fault(&error)).await),
            Err(_) => {
                let fault =
                    Fault::passing(format!("no answer within {:?}", self.limits.timeout / 2));
                return Err(self.unconnected(fault).await);
            }
        };
        let version = connection.parameter("server_version").unwrap_or_default();
        if is_too_old(version) {
            return Err(Fault::lasting(format!(
                "the server is too old: it is Postgres {version}, and the oldest that will do is {OLDEST}"
            )));
        }
        let woken = Arc::new(Notify::new());
        let wake = woken.clone();
        // Ends with the session, or with the connection; who waits for an answer then is told.
        let carried = tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(_)) => wake.notify_one(),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            wake.notify_one();
        });
        let session = Session {
            client,
            carried,
            woken,
            name: self.name.clone(),
        };
        let most = self.limits.timeout.as_millis();
        let settings = format!(
            "set statement_timeout = {most}; set lock_timeout = {most}; set jit = off;
             set default_transaction_isolation = 'read committed';
             select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
        );
        session.batch(&settings).await?;
        // Before anything is prepared.
        let looked = self.stays.get_or_try_init(|| self.look(&session));
        looked.await?;
        session.make().await?;
        Ok(session)
    }

    async fn look(&self, session: &Session) -> Result<(), Fault> {
        let longest = self.limits.timeout / 2;
        let looked = pooler::refuse(&self.place, &session.client, longest).await;
        looked.map_err(Fault::lasting)
    }

    /// Why there is no connection: it may not even be a database.
    async fn unconnected(&self, fault: Fault) -> Fault {
        let (host, port) = (
            self.place.config.get_hosts().first(),
            self.place.config.get_ports().first(),
        );
        let Some(Host::Tcp(host)) = host.filter(|_| !fault.is_final) else {
            return fault;
        };
        match greeting::heard(host, *port.unwrap_or(&5432)).await {
            None | Some("Postgres") => fault,
            Some(other) => Fault::lasting(format!("it speaks {other} there, not Postgres")),
        }
    }
}

impl Relay for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading>, Fault>> {
        async {
            let session = self.connect().await?;
            session
                .batch(&format!("listen \"{}\"", self.channel()))
                .await?;
            Ok(Box::new(Follows {
                read: session.prepare(READ).await?,
                epoch: None,
                session,
            }) as Box<dyn Reading>)
        }
        .boxed()
    }

    fn writing(&self) -> BoxFuture<'_, Result<Box<dyn Writing>, Fault>> {
        async {
            let session = self.connect().await?;
            Ok(Box::new(Appends {
                append: session.prepare(APPEND).await?,
                channel: self.channel(),
                entries: self.entries,
                untrimmed: 0,
                session,
            }) as Box<dyn Writing>)
        }
        .boxed()
    }
}

/// A connection.
struct Session {
    client: Client,
    carried: JoinHandle<()>,
    woken: Arc<Notify>,
    /// Of the stream.
    name: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.carried.abort();
    }
}

impl Session {
    async fn batch(&self, sql: &str) -> Result<(), Fault> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| fault(&error))
    }

    async fn prepare(&self, sql: &str) -> Result<Statement, Fault> {
        let prepared = self.client.prepare(sql).await;
        prepared.map_err(|error| fault(&error))
    }

    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Fault> {
        let rows = self.client.query(sql, values).await;
        rows.map_err(|error| fault(&error))
    }

    /// The tables, and the stream's row; who may not make them may still use them.
    async fn make(&self) -> Result<(), Fault> {
        let there = "select to_regclass('triwire_relay.entries_nth') is not null";
        let rows = self.rows(there, &[]).await?;
        if !rows.first().is_some_and(|row| row.get(0)) {
            self.batch(MAKE).await?;
        }
        if self.rows(BOUNDS, &[&self.name]).await?.is_empty() {
            self.rows(BEGIN, &[&self.name]).await?;
        }
        Ok(())
    }
}

struct Follows {
    session: Session,
    read: Statement,
    /// The stream's life, once it was asked for.
    epoch: Option<String>,
}

impl Follows {
    async fn look(&self, after: Place) -> Result<Batch, Fault> {
        let (ms, number) = (after.ms as i64, after.number as i64);
        let values: [&(dyn ToSql + Sync); 3] = [&self.session.name, &ms, &number];
        let rows = self.session.client.query(&self.read, &values).await;
        let rows = rows.map_err(|error| fault(&error))?;
        let head = rows.first().ok_or_else(gone)?;
        let (epoch, first): (&str, Place) = (head.get(0), place(head.get(1), head.get(2)));
        if self.epoch.as_ref().is_some_and(|known| known != epoch) {
            return Err(gone());
        }
        let entry = |row: &Row| {
            let ms: Option<i64> = row.get(5);
            ms.map(|ms| Entry {
                place: place(ms, row.get(6)),
                bytes: Bytes::copy_from_slice(row.get(7)),
            })
        };
        Ok(Batch {
            entries: rows.iter().filter_map(entry).collect(),
            is_lossy: first > after,
        })
    }
}

impl Reading for Follows {
    fn bounds(&mut self) -> BoxFuture<'_, Result<Bounds, Fault>> {
        async {
            let rows = self.session.rows(BOUNDS, &[&self.session.name]).await?;
            let bounds = rows.first().map(bounds).ok_or_else(gone)?;
            self.epoch = Some(bounds.epoch.clone());
            Ok(bounds)
        }
        .boxed()
    }

    fn next(&mut self, after: Place) -> BoxFuture<'_, Result<Batch, Fault>> {
        async move {
            let batch = self.look(after).await?;
            if !batch.entries.is_empty() || batch.is_lossy {
                return Ok(batch);
            }
            let _ = timeout(WAIT, self.session.woken.notified()).await;
            self.look(after).await
        }
        .boxed()
    }

    fn entry(&mut self, place: Place) -> BoxFuture<'_, Result<Option<Bytes>, Fault>> {
        async move {
            let (ms, number) = (place.ms as i64, place.number as i64);
            let values: [&(dyn ToSql + Sync); 3] = [&self.session.name, &ms, &number];
            let rows = self.session.rows(ENTRY, &values).await?;
            Ok(rows.first().map(|row| Bytes::copy_from_slice(row.get(0))))
        }
        .boxed()
    }

    fn raise(&mut self, above: Place) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            let (ms, number) = (above.ms as i64, above.number as i64);
            self.session
                .rows(RAISE, &[&self.session.name, &ms, &number, &LOST])
                .await?;
            Ok(())
        }
        .boxed()
    }
}

struct Appends {
    session: Session,
    append: Statement,
    channel: String,
    /// How many are kept.
    entries: u64,
    /// How many were appended since it was looked whether they are too many.
    untrimmed: u64,
}

impl Writing for Appends {
    fn append<'a>(&'a mut self, entries: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Taken>, Fault>> {
        async move {
            let all: Vec<&[u8]> = entries.iter().map(|entry| &entry[..]).collect();
            let count = all.len() as i64;
            let values: [&(dyn ToSql + Sync); 4] =
                [&self.session.name, &all, &count, &self.channel];
            let added = self.session.client.query_one(&self.append, &values).await;
            let added: i64 = match added {
                Ok(row) => row.get(0),
                // It is one statement: none of them is there.
                Err(error) if is_full(&error) => {
                    let detail = format!("the database takes no more: {}", why(&error));
                    let refused = || Err(Problem::unavailable("relay-full", detail.clone()));
                    return Ok(entries.iter().map(|_| refused()).collect());
                }
                Err(error) => return Err(fault(&error)),
            };
            if added != count {
                return Err(gone());
            }
            self.untrimmed += entries.len() as u64;
            if self.untrimmed >= (self.entries / 10).clamp(1, 1_000) {
                self.untrimmed = 0;
                self.trim().await;
            }
            Ok(entries.iter().map(|_| Ok(())).collect())
        }
        .boxed()
    }
}

impl Appends {
    /// What is appended is there, whatever becomes of this.
    async fn trim(&self) {
        let most = self.entries as i64;
        if let Err(fault) = self.session.rows(TRIM, &[&self.session.name, &most]).await {
            tracing::warn!("relay postgres: old entries are not taken away: {fault}");
        }
    }
}

fn bounds(row: &Row) -> Bounds {
    Bounds {
        epoch: row.get(0),
        first: place(row.get(1), row.get(2)),
        last: place(row.get(3), row.get(4)),
        is_whole: row.get(5),
    }
}

fn place(ms: i64, number: i64) -> Place {
    Place {
        ms: ms as u64,
        number: number as u64,
    }
}

fn gone() -> Fault {
    Fault::passing("the stream is not what it was; it is looked at anew")
}

/// What says no version is let be.
fn is_too_old(version: &str) -> bool {
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    major.is_some_and(|major: u32| major < OLDEST)
}

/// Whether there is no room for what is new.
fn is_full(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map_or("", |code| code.code());
    code.starts_with("53") && code != SqlState::TOO_MANY_CONNECTIONS.code()
}

/// What an error means: some stay until somebody mends them.
fn fault(error: &tokio_postgres::Error) -> Fault {
    let words = why(error);
    let code = error.code().map_or("", |code| code.code());
    let lasts = code.starts_with("28")
        || code.starts_with("42")
        || code == SqlState::INVALID_CATALOG_NAME.code()
        || words.contains("password missing")
        || words.contains("invalid peer certificate")
        || words.contains("does not support TLS");
    match lasts {
        true => Fault::lasting(words),
        false => Fault::passing(words),
    }
}
