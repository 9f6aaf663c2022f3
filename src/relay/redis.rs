//! Redis Streams: `redis://[USER:PASSWORD@]HOST:PORT[/DB]`, `rediss://` over TLS (`?cacert=FILE` names the CA to trust),
//! `redis+sentinel://HOST:PORT,HOST:PORT/MASTER`, `redis+cluster://HOST:PORT,HOST:PORT` and `rediss+cluster://`.
//! `?stream=NAME` tells several systems on one server apart.
//!
//! An entry of ours is an entry of the stream `{NAME}:events` whose field `e` has the bytes; its id is its place. A key
//! beside it names the stream's life, so that a server that has lost its data is told from one that was quiet.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError,
    RedisResult, ServerErrorKind, TlsCertificates, Value, cmd,
};

use self::answer::{Ends, entries, list, read, text};
use super::{
    Batch, Bounds, Entry, Fault, LOST, Limits, Reading, Relay, Stream, Taken, WAIT, Writing,
    not_known, stream_name,
};
use crate::event::Place;
use crate::greeting;
use crate::problem::Problem;
use crate::trust::Authorities;

mod answer;
mod cluster;
mod sentinel;

/// Entries that are read at once, at first and at most: fewer than a stream keeps, so that a read that brings fewer has
/// lost nothing.
const FEW: usize = 16;
const MANY: usize = 1_000;

/// Bytes that are read at once, about.
const BYTES: usize = 4 << 20;

/// The field of an entry that has the bytes.
const FIELD: &str = "e";

/// A stream on a Redis server.
struct Redis {
    server: Server,
    key: Arc<str>,
    entries: u64,
    limits: Limits,
}

/// Where the server is.
enum Server {
    /// There.
    Known(Client),
    /// Where the sentinels say.
    Watched(sentinel::Sentinels),
    /// Where the nodes of a cluster say.
    Clustered(cluster::Cluster),
}

pub(super) fn open(url: &str, stream: Stream, limits: Limits) -> Result<Arc<dyn Relay>, String> {
    let (url, asked) = Asked::of(url)?;
    let cluster = |scheme, rest| cluster::Cluster::parse(scheme, rest, asked.cacert.clone());
    let server = match url.split_once("://") {
        Some(("redis+sentinel", _)) if asked.cacert.is_some() => {
            return Err("cacert is for TLS, which there is not with redis+sentinel://".to_owned());
        }
        Some(("redis+sentinel", rest)) => Server::Watched(sentinel::Sentinels::parse(rest)?),
        Some(("redis+cluster", rest)) => Server::Clustered(cluster("redis", rest)?),
        Some(("rediss+cluster", rest)) => Server::Clustered(cluster("rediss", rest)?),
        _ => Server::Known(client(&url, asked.cacert.as_deref())?),
    };
    Ok(Arc::new(Redis {
        server,
        key: format!("{{{}}}:{}", asked.stream, stream.name()).into(),
        entries: stream.entries(&limits),
        limits,
    }))
}

fn client(url: &str, cacert: Option<&str>) -> Result<Client, String> {
    let client = match cacert {
        None => Client::open(url),
        Some(file) => {
            let tls = TlsCertificates {
                client_tls: None,
                root_cert: Some(Authorities::named(file)?.pem),
            };
            Client::build_with_tls(url, tls)
        }
    };
    client.map_err(|error| format!("it is no URL of a Redis server: {error}"))
}

/// What the URL says beside where the server is.
struct Asked {
    stream: String,
    cacert: Option<String>,
}

impl Asked {
    /// Takes it out of the URL.
    fn of(url: &str) -> Result<(String, Asked), String> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut asked = Asked {
            stream: "triwire".to_owned(),
            cacert: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "stream" => asked.stream = stream_name(&value, 100, "._:-")?,
                "cacert" => asked.cacert = Some(value.into_owned()),
                _ => return Err(not_known("stream and cacert")),
            }
        }
        Ok((place.to_owned(), asked))
    }
}

impl Redis {
    async fn connect(&self) -> Result<Connected, Fault> {
        // What waits for an entry waits longer than an answer may take; the time of each is kept elsewhere.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limits.timeout / 2))
            .set_response_timeout(None);
        let connection = match &self.server {
            Server::Known(client) => {
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
            }
            Server::Watched(sentinels) => sentinels.connect(&config).await,
            Server::Clustered(cluster) => {
                return Ok(self.connected(cluster.connect(&self.key, &config).await?));
            }
        };
        match connection {
            Ok(connection) => Ok(self.connected(connection)),
            Err(error) => Err(self.unconnected(fault(&error)).await),
        }
    }

    fn connected(&self, connection: MultiplexedConnection) -> Connected {
        Connected {
            connection,
            key: self.key.clone(),
            entries: self.entries,
            at_once: FEW,
            life: None,
            looked: Instant::now(),
            footing: None,
        }
    }

    /// Why there is no connection: it may not even be Redis.
    async fn unconnected(&self, fault: Fault) -> Fault {
        let Server::Known(client) = &self.server else {
            return fault;
        };
        let (host, port, is_secure) = match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => (host, *port, false),
            ConnectionAddr::TcpTls { host, port, .. } => (host, *port, true),
            _ => return fault,
        };
        match greeting::wrong(host, port, greeting::REDIS, is_secure).await {
            None => fault,
            Some(words) => Fault::lasting(words),
        }
    }
}

impl Relay for Redis {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading>, Fault>> {
        async { Ok(Box::new(self.connect().await?) as Box<dyn Reading>) }.boxed()
    }

    fn writing(&self) -> BoxFuture<'_, Result<Box<dyn Writing>, Fault>> {
        async { Ok(Box::new(self.connect().await?) as Box<dyn Writing>) }.boxed()
    }
}

struct Connected {
    connection: MultiplexedConnection,
    key: Arc<str>,
    entries: u64,
    at_once: usize,
    /// What names the life of the stream that is read, and when that was looked at.
    life: Option<String>,
    looked: Instant,
    /// The last entry that was read, unless it is known to be gone.
    footing: Option<Place>,
}

impl Connected {
    async fn ask(&mut self, command: Cmd) -> Result<Value, Fault> {
        let answer = self.answer(command).await;
        answer.map_err(|error| fault(&error))
    }

    async fn answer(&mut self, command: Cmd) -> RedisResult<Value> {
        answered(self.connection.send_packed_command(&command).await?)
    }

    /// What names the life of the stream, made now if there is none: `MS-RANDOM`, the server's time of then, or that of
    /// the oldest entry: others may have appended before anybody came to read.
    async fn epoch(&mut self) -> Result<String, Fault> {
        let key = format!("{}:epoch", self.key);
        let mut read = cmd("GET");
        read.arg(&key);
        if let Some(epoch) = text(&self.ask(read.clone()).await?) {
            return Ok(epoch);
        }
        let time = self.ask(cmd("TIME")).await?;
        let [seconds, micros] = list(&time) else {
            return Err(Fault::lasting("it does not answer as a Redis server does"));
        };
        let number = |value: &Value| text(value).and_then(|t| t.parse::<u64>().ok());
        let now = number(seconds).unwrap_or(0) * 1000 + number(micros).unwrap_or(0) / 1000;
        // After the time: what is appended behind this look is no older than that.
        let first = self.ends().await?.and_then(|ends| ends.first);
        let ms = first.map_or(now, |first| now.min(first.ms));
        let mut make = cmd("SET");
        let epoch = format!("{ms}-{:08x}", fastrand::u32(..));
        make.arg(&key).arg(epoch).arg("NX");
        self.ask(make).await?;
        // Another may have been first.
        let epoch = text(&self.ask(read).await?);
        epoch.ok_or_else(|| Fault::passing("the stream's epoch is not kept"))
    }

    /// Reads, and whether something behind this place was let go before. That is looked at by the same request, however long
    /// it was until this one was made: as long as the last entry that was read is there, so is all that came after it.
    async fn read_on(&mut self, after: Place, read: Cmd) -> Result<(Vec<Entry>, bool), Fault> {
        let is_standing = self.footing == Some(after);
        let look = match is_standing {
            true => range(&self.key, after),
            false => info(&self.key),
        };
        let mut asked = Pipeline::with_capacity(2);
        asked.add_command(look).add_command(read).ignore_errors();
        let answers = self.connection.send_packed_commands(&asked, 0, 2).await;
        let answers = answers.map_err(|error| fault(&error))?;
        let Ok([looked, answer]) = <[Value; 2]>::try_from(answers) else {
            return Err(Fault::passing("it has not answered all that it was asked"));
        };
        let looked = answered(looked);
        let entries = entries(&answered(answer).map_err(|error| fault(&error))?)?;
        let ends = match is_standing {
            false => ends(looked)?,
            true => {
                let found = looked.map_err(|error| fault(&error))?;
                match list(&found).is_empty() {
                    true => self.ends().await?,
                    false => None,
                }
            }
        };
        let floor = ends.and_then(|ends| ends.floor);
        Ok((entries, floor.is_some_and(|floor| floor > after)))
    }

    /// Where the stream begins and ends; `None` when it is not there.
    async fn ends(&mut self) -> Result<Option<Ends>, Fault> {
        ends(self.answer(info(&self.key)).await)
    }

    /// Whether it is the stream that was read so far: who empties a server that runs, ends no connection.
    async fn is_still(&mut self, read: Place) -> Result<Bounds, Fault> {
        let known = self.life.clone();
        let now = self.bounds().await?;
        match known.is_none_or(|known| known == now.epoch) && now.last >= read {
            true => Ok(now),
            false => Err(Fault::passing(
                "the stream is not what it was; it is looked at anew",
            )),
        }
    }
}

impl Reading for Connected {
    fn bounds(&mut self) -> BoxFuture<'_, Result<Bounds, Fault>> {
        async {
            let epoch = self.epoch().await?;
            // Nothing of this life is older than it.
            let ms = epoch.split('-').next().and_then(|ms| ms.parse().ok());
            let begin = Place {
                ms: ms.unwrap_or(1_u64).saturating_sub(1),
                number: 0,
            };
            let ends = self.ends().await?;
            (self.life, self.looked) = (Some(epoch.clone()), Instant::now());
            Ok(Bounds {
                is_whole: ends.as_ref().is_none_or(|ends| ends.floor.is_none()),
                epoch,
                first: ends
                    .as_ref()
                    .and_then(|e| e.floor)
                    .unwrap_or(begin)
                    .max(begin),
                last: ends.map_or(begin, |ends| ends.last).max(begin),
            })
        }
        .boxed()
    }

    fn next(&mut self, after: Place) -> BoxFuture<'_, Result<Batch, Fault>> {
        async move {
            let mut read = cmd("XREAD");
            let most = self.at_once;
            read.arg("COUNT").arg(most);
            read.arg("BLOCK").arg(WAIT.as_millis() as u64);
            read.arg("STREAMS").arg(&*self.key).arg(after.to_string());
            let (entries, mut is_lossy) = self.read_on(after, read).await?;
            if entries.is_empty() || self.looked.elapsed() > WAIT {
                let read = entries.last().map_or(after, |entry| entry.place);
                let now = self.is_still(read).await?;
                if entries.is_empty() {
                    is_lossy |= now.first > after;
                    self.footing = self.footing.filter(|_| now.first < after);
                }
            }
            let bytes: usize = entries.iter().map(|entry| entry.bytes.len()).sum();
            self.at_once = match bytes > BYTES / 2 {
                true => (most * (BYTES / 2) / bytes).max(1),
                false if entries.len() == most => (most * 2).min(MANY),
                false => most,
            };
            self.footing = entries
                .last()
                .map_or(self.footing, |entry| Some(entry.place));
            Ok(Batch { entries, is_lossy })
        }
        .boxed()
    }

    fn entry(&mut self, place: Place) -> BoxFuture<'_, Result<Option<Bytes>, Fault>> {
        async move {
            let found = read(&self.ask(range(&self.key, place)).await?)?;
            Ok(found.into_iter().next().map(|entry| entry.bytes))
        }
        .boxed()
    }

    fn raise(&mut self, above: Place) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            let add = |id: String| {
                let mut add = cmd("XADD");
                add.arg(&*self.key).arg(id).arg(FIELD).arg(LOST);
                add
            };
            let (next, now) = (
                add(format!("{}-{}", above.ms, above.number.saturating_add(1))),
                add("*".to_owned()),
            );
            match self.answer(next).await {
                Ok(_) => Ok(()),
                // Somebody else has raised it, or the time has.
                Err(error) if error.to_string().contains("equal or smaller") => {
                    self.ask(now).await.map(drop)
                }
                Err(error) => Err(fault(&error)),
            }
        }
        .boxed()
    }
}

impl Writing for Connected {
    fn append<'a>(&'a mut self, entries: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Taken>, Fault>> {
        async move {
            let mut pipeline = Pipeline::with_capacity(entries.len());
            for entry in entries {
                let mut add = cmd("XADD");
                add.arg(&*self.key);
                add.arg("MAXLEN").arg("~").arg(self.entries);
                add.arg("*").arg(FIELD).arg(&entry[..]);
                pipeline.add_command(add);
            }
            pipeline.ignore_errors();
            let answers = self
                .connection
                .send_packed_commands(&pipeline, 0, entries.len())
                .await
                .map_err(|error| fault(&error))?;
            answers.into_iter().map(taken).collect()
        }
        .boxed()
    }
}

fn answered(answer: Value) -> RedisResult<Value> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}

/// Asks where a stream begins and ends.
fn info(key: &str) -> Cmd {
    let mut info = cmd("XINFO");
    info.arg("STREAM").arg(key);
    info
}

fn ends(answer: RedisResult<Value>) -> Result<Option<Ends>, Fault> {
    match answer {
        Ok(answer) => Ok(Some(Ends::of(&answer)?)),
        Err(error) if error.to_string().contains("no such key") => Ok(None),
        Err(error) => Err(fault(&error)),
    }
}

/// Asks for what is at a place.
fn range(key: &str, place: Place) -> Cmd {
    let (id, mut range) = (place.to_string(), cmd("XRANGE"));
    range.arg(key).arg(&id).arg(&id);
    range
}

fn taken(answer: Value) -> Result<Taken, Fault> {
    let Value::ServerError(error) = answer else {
        return Ok(Ok(()));
    };
    let error = RedisError::from(error);
    if error.code() == Some("OOM") {
        let detail = "the Redis server is at its maxmemory, and takes no more; raise it, or lower relay-entries";
        return Ok(Err(Problem::unavailable("relay-full", detail)));
    }
    Err(fault(&error))
}

/// What an error means: some stay until somebody mends them.
fn fault(error: &RedisError) -> Fault {
    let words = error.to_string();
    let code = error.code().unwrap_or_default();
    let lasts = matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM" | "WRONGTYPE")
        || matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed
                | ErrorKind::InvalidClientConfig
                | ErrorKind::RESP3NotSupported
                | ErrorKind::Server(ServerErrorKind::NoPerm)
        );
    if words.contains("unknown command") {
        return Fault::lasting(format!(
            "the server is too old, streams came with Redis 5.0: {words}"
        ));
    }
    if error.kind() == ErrorKind::Parse {
        return Fault::lasting(format!(
            "it does not answer as a Redis server does: {words}"
        ));
    }
    // Said by the client, which asks for the database with each connection.
    if words.contains("refused to switch database") {
        return Fault::lasting(format!(
            "the number behind the / is no database of that server: {words}"
        ));
    }
    match lasts || words.contains("invalid peer certificate") {
        true => Fault::lasting(words),
        false => Fault::passing(words),
    }
}
