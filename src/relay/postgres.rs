//! Postgres: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with what libpq knows behind the `?`, and `stream=NAME`, which tells
//! several systems in one database apart.
//!
//! An entry is a row of `triwire_relay.entries`. It gets its place under the lock of its stream's row, which is kept until it
//! can be seen; who reads is woken by a notification, and looks each second all the same.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, Statement};

use super::{
    Batch, Bounds, Entry, Fault, LOST, Limits, Reading, Relay, Stream, Taken, WAIT, Writing,
    stream_name,
};
use crate::database;
use crate::database::why;
use crate::event::Place;
use crate::greeting;
use crate::problem::Problem;

/// Makes what is missing; two who do it at once would be in each other's way.
const MAKE: &str = concat!(
    "begin; select pg_advisory_xact_lock(7953769336341); ",
    include_str!("postgres.sql"),
    " commit"
);

/// A stream that is new begins now. Entries never have smaller places than those before, whatever the clock does.
const BEGIN: &str = "
    insert into triwire_relay.streams (name, epoch, ms, number, first_ms, first_number)
    select $1, md5(random()::text || clock_timestamp()::text), now.ms, 0, now.ms, 0
    from (select (extract(epoch from now()) * 1000)::bigint as ms) now
    on conflict (name) do nothing";

const BOUNDS: &str = "
    select epoch, first_ms, first_number, ms, number from triwire_relay.streams where name = $1";

/// The next entries, a thousand of them or 8 MiB, and what the stream is then.
const READ: &str = "
    select s.epoch, s.first_ms, s.first_number, s.ms, s.number, e.ms, e.number, e.entry
    from triwire_relay.streams s left join lateral (
        select ms, number, entry from (
            select ms, number, entry, sum(octet_length(entry)) over (order by ms, number) - octet_length(entry) as before
            from (
                select ms, number, entry from triwire_relay.entries
                where stream = s.name and (ms, number) > ($2::bigint, $3::bigint) order by ms, number limit 1000
            ) next
        ) sized where before < 8388608
    ) e on true
    where s.name = $1 order by e.ms, e.number";

/// Of those who append at once, one waits here for the other, and then sees what that one has made of the row.
const APPEND: &str = "
    with now as (
        select (extract(epoch from now()) * 1000)::bigint as ms
    ), place as (
        update triwire_relay.streams s set
            ms = greatest(s.ms, now.ms),
            number = case when now.ms > s.ms then 0 else s.number + 1 end + $3::bigint - 1,
            entries = s.entries + $3::bigint
        from now where s.name = $1 returning s.ms, s.number, s.entries
    ), added as (
        insert into triwire_relay.entries (stream, ms, number, nth, entry)
        select $1, place.ms, place.number - $3::bigint + e.nth, place.entries - $3::bigint + e.nth, e.entry
        from place, unnest($2::bytea[]) with ordinality as e (entry, nth) returning 1
    )
    select count(*), pg_notify($4, '') from added";

/// An entry that says that something is gone, beyond a place: whoever comes back later learns of it by that.
const RAISE: &str = "
    with place as (
        update triwire_relay.streams set
            ms = greatest(ms, $2::bigint),
            number = case
                when ms > $2::bigint then number
                when ms = $2::bigint then greatest(number, $3::bigint)
                else $3::bigint
            end + 1,
            entries = entries + 1
        where name = $1 returning ms, number, entries
    )
    insert into triwire_relay.entries (stream, ms, number, nth, entry)
    select $1, ms, number, entries, $4::bytea from place";

/// What is at a place.
const ENTRY: &str = "
    select entry from triwire_relay.entries where stream = $1 and ms = $2::bigint and number = $3::bigint";

/// Lets go of what is too much, not too much of it at once.
const TRIM: &str = "
    with too_old as (
        select least(s.entries - $2::bigint, (select min(nth) + 9999 from triwire_relay.entries where stream = $1)) as nth
        from triwire_relay.streams s where s.name = $1
    ), gone as (
        delete from triwire_relay.entries e using too_old where e.stream = $1 and e.nth <= too_old.nth
        returning e.ms, e.number
    ), newest as (
        select ms, number from gone order by ms desc, number desc limit 1
    )
    update triwire_relay.streams s set first_ms = newest.ms, first_number = newest.number from newest
    where s.name = $1 and (s.first_ms, s.first_number) < (newest.ms, newest.number)";

/// A stream in a database.
struct Postgres {
    place: database::Place,
    name: String,
    entries: u64,
    limits: Limits,
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
        session.make().await?;
        Ok(session)
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
        let head = rows.first().map(bounds).ok_or_else(gone)?;
        if self
            .epoch
            .as_ref()
            .is_some_and(|epoch| *epoch != head.epoch)
        {
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
            is_lossy: head.first > after,
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
