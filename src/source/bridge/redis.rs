//! Redis Pub/Sub: `redis://[USER:PASSWORD@]HOST:PORT[/DB]?channel=NAME`, or `pattern=news.*` for all channels of a kind;
//! `rediss://` over TLS (`&cacert=FILE` names the CA to trust). Redis sends each message once and keeps none.

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Client, TlsCertificates, Value};
use tokio::time::{Interval, MissedTickBehavior, timeout};

use super::asked::Asked;
use super::{
    ANSWER, Arrival, Bridge, Fault, LOOK, Message, Names, Opened, PATIENCE, Promise, Subscribed,
    What,
};
use crate::greeting;

struct Redis {
    /// `None` only where the URL was wrong.
    client: Option<Client>,
    place: (String, u16),
    is_secure: bool,
    wanted: Wanted,
}

enum Wanted {
    Channel(String),
    Pattern(String),
}

pub(super) fn open(asked: &mut Asked) -> Opened {
    let (channel, pattern) = (asked.take("channel"), asked.take("pattern"));
    let wanted = match (channel, pattern) {
        (Some(channel), None) => Wanted::Channel(channel),
        (None, Some(pattern)) => Wanted::Pattern(pattern),
        _ => {
            asked.wrong("it needs channel= or pattern=, one of them");
            Wanted::Channel(String::new())
        }
    };
    let what = match &wanted {
        Wanted::Channel(channel) => What {
            shown: channel.clone(),
            names: Names::Only(channel.clone()),
        },
        Wanted::Pattern(pattern) => What {
            shown: pattern.clone(),
            names: Names::Like(pattern.clone()),
        },
    };
    let cacert = asked.cacert();
    let url = asked.base();
    let client = match cacert {
        None => Client::open(url),
        Some(authorities) => Client::build_with_tls(
            url,
            TlsCertificates {
                client_tls: None,
                root_cert: Some(authorities.pem),
            },
        ),
    };
    let client = client.map_err(|error| format!("it is no URL of a Redis server: {error}"));
    let bridge = Redis {
        client: asked.sound(client),
        place: asked.host_and_port(6379),
        is_secure: asked.is_secure(),
        wanted,
    };
    Opened {
        what,
        bridge: Box::new(bridge),
    }
}

impl Redis {
    async fn connect(&self) -> Result<PubSub, Fault> {
        let client = self.client.as_ref();
        let client = client.ok_or_else(|| Fault::new("its URL is wrong"))?;
        let fault = match timeout(ANSWER, client.get_async_pubsub()).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => Fault::new(error),
            Err(_) => Fault::new(format!("no answer within {ANSWER:?}")),
        };
        let (host, port) = &self.place;
        let wrong = greeting::wrong(host, *port, greeting::REDIS, self.is_secure).await;
        Err(wrong.map_or(fault, Fault::new))
    }
}

impl Bridge for Redis {
    fn promise(&self) -> Promise {
        Promise::AtMostOnce
    }

    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscribed>, Fault>> {
        async {
            let mut connected = self.connect().await?;
            let done = match &self.wanted {
                Wanted::Channel(channel) => connected.subscribe(channel).await,
                Wanted::Pattern(pattern) => connected.psubscribe(pattern).await,
            };
            done.map_err(Fault::new)?;
            let (sink, messages) = connected.split();
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let listening = Listening {
                sink,
                messages,
                looks,
            };
            Ok(Box::new(listening) as Box<dyn Subscribed>)
        }
        .boxed()
    }
}

struct Listening {
    sink: PubSubSink,
    messages: PubSubStream,
    looks: Interval,
}

impl Subscribed for Listening {
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival, Fault>> {
        async {
            loop {
                tokio::select! {
                    biased;
                    message = self.messages.next() => {
                        let message = message.ok_or_else(|| Fault::new("the connection was lost"))?;
                        let name: Vec<u8> = message.get_channel().map_err(Fault::new)?;
                        return Ok(Arrival::Message(Message {
                            name: String::from_utf8_lossy(&name).into_owned(),
                            bytes: message.get_payload_bytes().to_vec().into(),
                            key: None,
                            receipt: 0,
                        }));
                    }
                    // A peer that is gone is as silent as one that has nothing to say.
                    _ = self.looks.tick() => match timeout(PATIENCE, self.sink.ping::<Value>()).await {
                        Ok(answer) => drop(answer.map_err(Fault::new)?),
                        Err(_) => return Err(Fault::new("it does not answer any more")),
                    },
                }
            }
        }
        .boxed()
    }
}
