//! Core NATS: `nats://[USER:PASSWORD@]HOST:PORT?subject=a.>`, several servers with commas, `tls://` for TLS (`&cacert=FILE` names
//! the CA to trust). With `&queue=GROUP`, each message goes to one of those who name the same group: several replicas
//! share them. NATS sends each message once and keeps none.

use std::future::ready;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, Subscriber};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

use super::asked::Asked;
use super::{Arrival, Bridge, Fault, Message, Names, Opened, PATIENCE, Promise, Subscribed, What};
use crate::greeting;
use crate::trust::Authorities;

/// Messages that the client holds for us; what is more it drops, and says so.
const ROOM: usize = 4096;

struct Nats {
    servers: Vec<ServerAddr>,
    who: Option<(String, String)>,
    cacert: Option<String>,
    subject: String,
    queue: Option<String>,
}

pub(super) fn open(asked: &mut Asked) -> Opened {
    let (subject, queue) = (asked.need("subject"), asked.take("queue"));
    if !subject.is_empty() && !is_subject(&subject) {
        asked.wrong(
            "subject= is none: words with dots between them, * for one of them and > for the rest",
        );
    }
    let cacert = asked.take("cacert");
    if let Some(file) = &cacert {
        // Its client reads the file anew for each connection.
        asked.sound(Authorities::named(file));
    }
    let scheme = asked.scheme().to_owned();
    let servers = asked.place().split(',');
    let servers: Result<_, _> = servers
        .map(|place| format!("{scheme}://{place}").parse())
        .collect();
    let servers = servers.map_err(|error| format!("it is no URL of a NATS server: {error}"));
    let what = What {
        shown: subject.clone(),
        names: match subject.contains(['*', '>']) {
            true => Names::Like(subject.clone()),
            false => Names::Only(subject.clone()),
        },
    };
    let bridge = Nats {
        servers: asked.sound(servers).unwrap_or_default(),
        who: asked.who(),
        cacert,
        subject,
        queue,
    };
    Opened {
        what,
        bridge: Box::new(bridge),
    }
}

fn is_subject(subject: &str) -> bool {
    let words: Vec<&str> = subject.split('.').collect();
    let good = |(at, word): (usize, &&str)| {
        let is_last = at + 1 == words.len();
        let plain = !word.contains(['*', '>']) || *word == "*" || *word == ">" && is_last;
        plain && !word.is_empty() && !word.contains(char::is_whitespace)
    };
    words.iter().enumerate().all(good)
}

/// What is heard of a connection beside its messages.
#[derive(Default)]
struct Heard {
    /// Messages that the client had no room for.
    lost: u64,
    /// Why it is over.
    fault: Option<String>,
}

impl Nats {
    /// To the first that answers.
    async fn connect(&self, heard: &watch::Sender<Heard>) -> Result<Client, Fault> {
        let mut last = Fault::new("it names no server");
        for server in &self.servers {
            match self.connect_to(server, heard.clone()).await {
                Ok(client) => return Ok(client),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    async fn connect_to(
        &self,
        server: &ServerAddr,
        heard: watch::Sender<Heard>,
    ) -> Result<Client, Fault> {
        // Who has lost a connection subscribes anew, and says so: nothing goes on by itself here.
        let mut options = ConnectOptions::new()
            .name("triwire")
            .connection_timeout(PATIENCE / 2)
            .subscription_capacity(ROOM)
            .max_reconnects(1)
            .ignore_discovered_servers()
            .event_callback(move |event| {
                heard.send_modify(|heard| heard.event(event));
                ready(())
            });
        if let Some(file) = &self.cacert {
            options = options.add_root_certificates(file.into());
        }
        options = match self.who.clone() {
            Some((token, password)) if password.is_empty() => options.token(token),
            Some((user, password)) => options.user_and_password(user, password),
            None => options,
        };
        match options.connect(server).await {
            Ok(client) => Ok(client),
            Err(error) => Err(match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    Fault::new(format!("it does not take this user and password: {error}"))
                }
                _ => {
                    let (host, port) = (server.host(), server.port());
                    let wrong = greeting::wrong_for_nats(host, port, &error.to_string()).await;
                    wrong.map_or_else(|| Fault::new(error), Fault::new)
                }
            }),
        }
    }
}

impl Heard {
    fn event(&mut self, event: Event) {
        match event {
            Event::SlowConsumer(_) => self.lost += 1,
            Event::Disconnected | Event::Closed => {
                let words = || "the connection was lost".to_owned();
                self.fault.get_or_insert_with(words);
            }
            // Such as that this user may not subscribe here, after which nothing ever comes.
            Event::ServerError(error) => self.fault = Some(error.to_string()),
            _ => {}
        }
    }
}

impl Bridge for Nats {
    fn promise(&self) -> Promise {
        Promise::AtMostOnce
    }

    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscribed>, Fault>> {
        async {
            let heard = watch::Sender::new(Heard::default());
            let client = self.connect(&heard).await?;
            let subject = self.subject.clone();
            let messages = match &self.queue {
                Some(group) => client.queue_subscribe(subject, group.clone()).await,
                None => client.subscribe(subject).await,
            };
            let messages = messages.map_err(Fault::new)?;
            client.flush().await.map_err(Fault::new)?;
            let listening = Listening {
                _client: client,
                messages,
                heard: heard.subscribe(),
                lost: 0,
            };
            Ok(Box::new(listening) as Box<dyn Subscribed>)
        }
        .boxed()
    }
}

struct Listening {
    _client: Client,
    messages: Subscriber,
    heard: watch::Receiver<Heard>,
    /// How many of those that were lost were told.
    lost: u64,
}

impl Subscribed for Listening {
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival, Fault>> {
        async {
            let told = self.lost;
            tokio::select! {
                biased;
                message = self.messages.next() => {
                    let message = message.ok_or_else(|| Fault::new("the connection was lost"))?;
                    Ok(Arrival::Message(Message {
                        name: message.subject.to_string(),
                        bytes: message.payload,
                        key: None,
                        receipt: 0,
                    }))
                }
                heard = self.heard.wait_for(|heard| heard.fault.is_some() || heard.lost > told) => {
                    let heard = heard.map_err(|_| Fault::new("the connection was lost"))?;
                    if let Some(fault) = &heard.fault {
                        return Err(Fault::new(fault));
                    }
                    self.lost = heard.lost;
                    Ok(Arrival::Lost(heard.lost - told))
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        for good in ["a", "a.b", "a.*", "*.b", "a.>", ">"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in ["", "a.", ".a", "a..b", "a.>.b", "a b", "a*", "a.b>"] {
            assert!(!is_subject(bad), "{bad}");
        }
    }
}
