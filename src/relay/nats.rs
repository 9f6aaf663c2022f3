//! NATS JetStream: `nats://[USER:PASSWORD@]HOST:PORT`, several with commas between them, and `tls://` for TLS (`?cacert=FILE` names
//! the CA to trust). `?stream=NAME` tells several systems apart, `?replicas=3` has a cluster keep each entry three times.
//!
//! An entry of ours is a message of the stream `NAME-events`; its number is its sequence, its milliseconds stand in its
//! subject, and are those in which this life of the stream began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::StatusCode;
use tokio::sync::{Mutex, watch};

use self::feed::Feed;
use self::kept::Kept;
use super::{Fault, Limits, Reading, Relay, Stream, Taken, Writing, not_known, stream_name};
use crate::greeting;
use crate::problem::Problem;
use crate::trust::Authorities;

mod feed;
mod kept;

/// A stream on servers of NATS.
struct Nats {
    servers: Vec<ServerAddr>,
    /// Who is tried first, the next time.
    first: AtomicUsize,
    cacert: Option<String>,
    stream: kept::Wanted,
    limits: Limits,
}

pub(super) fn open(url: &str, stream: Stream, limits: Limits) -> Result<Arc<dyn Relay>, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut name, mut replicas, mut cacert) = ("triwire".to_owned(), 1, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "stream" => name = stream_name(&value, 100, "_-")?,
            "replicas" => {
                let count = value.parse().ok().filter(|count| (1..=5).contains(count));
                replicas = count.ok_or("replicas is 1 to 5")?;
            }
            "cacert" => {
                // Its client reads the file anew for each connection.
                Authorities::named(&value)?;
                cacert = Some(value.into_owned());
            }
            _ => return Err(not_known("stream, replicas and cacert")),
        }
    }
    let (scheme, places) = base.split_once("://").unwrap_or(("nats", base));
    Ok(Arc::new(Nats {
        servers: servers(scheme, places)?,
        first: AtomicUsize::new(0),
        cacert,
        stream: kept::Wanted {
            name: format!("{name}-{}", stream.name()),
            subject: format!("{name}.{}", stream.name()),
            entries: stream.entries(&limits),
            replicas,
            is_warned: AtomicBool::new(false),
            making: Mutex::new(()),
        },
        limits,
    }))
}

/// All that are named. Who stands before the first is meant for all before whom nobody stands.
fn servers(scheme: &str, places: &str) -> Result<Vec<ServerAddr>, String> {
    let first = places.split(',').next().unwrap_or_default();
    let who = first.rsplit_once('@').map(|(who, _)| format!("{who}@"));
    let who = who.unwrap_or_default();
    let server = |place: &str| {
        let place = place.trim_end_matches('/');
        let who = if place.contains('@') { "" } else { &who };
        let server = format!("{scheme}://{who}{place}").parse();
        server.map_err(|error| format!("it is no URL of a NATS server: {error}"))
    };
    places.split(',').map(server).collect()
}

impl Nats {
    /// To the first that answers.
    async fn connect(&self) -> Result<Connection, Fault> {
        let first = self.first.fetch_add(1, Ordering::Relaxed);
        let mut last = None;
        for index in 0..self.servers.len() {
            match self
                .connect_to(&self.servers[(first + index) % self.servers.len()])
                .await
            {
                Ok(connection) => {
                    self.first.fetch_sub(1, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::lasting("it names no server")))
    }

    async fn connect_to(&self, server: &ServerAddr) -> Result<Connection, Fault> {
        let (tell, broken) = watch::channel(false);
        // Who has lost a connection reads the stream's life anew, so nothing here goes on by itself with another one.
        let mut options = ConnectOptions::new()
            .name("triwire")
            .connection_timeout(self.limits.timeout / 2)
            .request_timeout(Some(self.limits.timeout))
            .max_reconnects(1)
            .ignore_discovered_servers()
            .event_callback(move |event| {
                if let Event::Disconnected | Event::Closed | Event::SlowConsumer(_) = event {
                    tell.send_replace(true);
                }
                std::future::ready(())
            });
        if let Some(file) = &self.cacert {
            options = options.add_root_certificates(file.into());
        }
        let plain = |text: &str| {
            let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
            text.into_owned()
        };
        match (server.username(), server.password()) {
            (Some(user), Some(password)) => {
                options = options.user_and_password(plain(user), plain(password));
            }
            (Some(token), None) if !token.is_empty() => options = options.token(plain(token)),
            _ => {}
        }
        let client = match options.connect(server).await {
            Ok(client) => client,
            Err(error) => {
                let words = chain(&error);
                return Err(match error.kind() {
                    ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                        Fault::lasting(format!("it does not take this user and password: {words}"))
                    }
                    _ if words.contains("invalid peer certificate") => Fault::lasting(words),
                    _ => {
                        let (host, port) = (server.host(), server.port());
                        let wrong = greeting::wrong_for_nats(host, port, &words).await;
                        wrong.map_or_else(|| Fault::passing(words), Fault::lasting)
                    }
                });
            }
        };
        let version = client.server_info().version;
        if is_too_old(&version) {
            return Err(Fault::lasting(format!(
                "the server is too old: it is NATS {version}, and JetStream is used as it is from 2.9"
            )));
        }
        let mut context = jetstream::new(client.clone());
        context.set_timeout(self.limits.timeout);
        Ok(Connection {
            client,
            context,
            broken,
        })
    }
}

impl Relay for Nats {
    fn kind(&self) -> &'static str {
        "nats"
    }

    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading>, Fault>> {
        async {
            let connection = self.connect().await?;
            let kept = Kept::find(&self.stream, &connection.context).await?;
            Ok(Box::new(Feed::new(connection, kept)) as Box<dyn Reading>)
        }
        .boxed()
    }

    fn writing(&self) -> BoxFuture<'_, Result<Box<dyn Writing>, Fault>> {
        async {
            let connection = self.connect().await?;
            let kept = Kept::find(&self.stream, &connection.context).await?;
            let server = connection.client.server_info().max_payload;
            Ok(Box::new(Appending {
                most: kept.entry_bytes().unwrap_or(server).min(server),
                subject: kept.subject(),
                connection,
            }) as Box<dyn Writing>)
        }
        .boxed()
    }
}

/// A connection, as long as it is the same one.
struct Connection {
    client: Client,
    context: jetstream::Context,
    broken: watch::Receiver<bool>,
}

impl Connection {
    /// What is answered, unless the connection is lost before that.
    async fn ask<T>(&mut self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::select! {
            answer = answer => answer,
            _ = self.broken.wait_for(|broken| *broken) => Err(Fault::passing("the connection was lost")),
        }
    }
}

struct Appending {
    connection: Connection,
    subject: String,
    /// Bytes of an entry.
    most: usize,
}

impl Writing for Appending {
    fn append<'a>(&'a mut self, entries: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Taken>, Fault>> {
        async move {
            let (context, subject, most) = (
                self.connection.context.clone(),
                self.subject.clone(),
                self.most,
            );
            let all = async move {
                let mut acks = Vec::with_capacity(entries.len());
                for entry in entries {
                    let ack = async || {
                        let given = context.publish(subject.clone(), entry.clone()).await;
                        given.map_err(|error| Fault::passing(chain(&error)))
                    };
                    acks.push(match entry.len() > most {
                        true => None,
                        false => Some(ack().await?),
                    });
                }
                let mut all = Vec::with_capacity(acks.len());
                for ack in acks {
                    all.push(match ack {
                        Some(ack) => taken(ack.await)?,
                        None => Err(too_large(most)),
                    });
                }
                Ok(all)
            };
            self.connection.ask(all).await
        }
        .boxed()
    }
}

fn taken(answer: Result<jetstream::publish::PublishAck, PublishError>) -> Result<Taken, Fault> {
    let Err(error) = answer else {
        return Ok(Ok(()));
    };
    let source = std::error::Error::source(&error);
    let refused = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    match (error.kind(), refused) {
        (PublishErrorKind::StreamNotFound, _) => Err(Fault::passing(
            "no stream takes what is published: another life of it has begun, or it has no leader now",
        )),
        (_, Some(refused)) if refused.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => {
            let detail =
                format!("the NATS stream takes no entry of this size: {refused}; send several");
            Ok(Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                detail,
            )))
        }
        // It has it not, and says so.
        (_, Some(refused)) => {
            let detail = format!("the NATS server takes no more: {refused}");
            Ok(Err(Problem::unavailable("relay-full", detail)))
        }
        (_, None) => Err(Fault::passing(chain(&error))),
    }
}

fn too_large(most: usize) -> Problem {
    let detail = format!(
        "with what goes around it this is more than the {most} bytes that NATS takes (max_payload of the server, or \
         max_msg_size of the stream); send several"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

/// Whether it is before 2.9; what says no version is let be.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < (2, 9),
        _ => false,
    }
}

/// An error, and what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_before_the_first_of_several_is_meant_for_all() {
        for (places, all) in [
            ("u:p@a,b:1,c", ["u:p", "u:p", "u:p"]),
            ("t@a,b,c", ["t:", "t:", "t:"]),
            ("u:p%40@a,v:q@b,c/", ["u:p%40", "v:q", "u:p%40"]),
            ("a,b,c", [":", ":", ":"]),
        ] {
            let who = |server: &ServerAddr| {
                let (user, password) = (server.username(), server.password());
                format!("{}:{}", user.unwrap_or(""), password.unwrap_or(""))
            };
            let servers = servers("nats", places).expect("it is good");
            let found: Vec<String> = servers.iter().map(who).collect();
            assert_eq!(found, all, "{places}");
        }
    }
}
