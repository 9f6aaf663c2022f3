//! AMQP 0-9-1, as RabbitMQ speaks it: `amqp://USER:PASSWORD@HOST:PORT/VHOST?queue=NAME`, `amqps://` over TLS (`&cacert=FILE` names
//! the CA to trust). The queue must be there: what is bound to it, and what it keeps, is not ours to say.
//!
//! A message is acknowledged when it is in the log. One that can not be published now goes back into the queue; one that
//! can be no event is rejected, and goes where the queue's dead letters go. `&prefetch=256` bounds what is under way.

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, Error};
use percent_encoding::percent_decode_str;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::asked::Asked;
use super::line::{Duplex, Place};
use super::{
    Arrival, Bridge, Fault, LOOK, Message, Names, Opened, Promise, Receipt, Settled, Subscribed,
    What,
};
use crate::greeting::AMQP;

/// Messages that the broker sends before one of them is settled.
const PREFETCH: u16 = 256;

struct Amqp {
    place: Place,
    who: (String, String),
    vhost: String,
    queue: String,
    prefetch: u16,
}

pub(super) fn open(asked: &mut Asked) -> Opened {
    let (queue, prefetch) = (asked.need("queue"), asked.take("prefetch"));
    if queue.len() > 255 {
        asked.wrong("queue= is longer than a name may be, which is 255 bytes");
    }
    let prefetch = prefetch.map(|text| match text.parse() {
        Ok(count @ 1..=u16::MAX) => Ok(count),
        _ => Err("prefetch= is 1 to 65535".to_owned()),
    });
    let prefetch = prefetch.and_then(|count| asked.sound(count));
    let vhost = asked.path().filter(|path| !path.is_empty());
    let vhost = vhost.map(|path| percent_decode_str(path).decode_utf8_lossy().into_owned());
    let shown = match &vhost {
        Some(vhost) => format!("{vhost}/{queue}"),
        None => queue.clone(),
    };
    let guest = || ("guest".to_owned(), "guest".to_owned());
    let bridge = Amqp {
        place: Place::of(asked, (5672, 5671)),
        who: asked.who().unwrap_or_else(guest),
        vhost: vhost.unwrap_or_else(|| "/".to_owned()),
        queue,
        prefetch: prefetch.unwrap_or(PREFETCH),
    };
    Opened {
        what: What {
            shown,
            names: Names::Any,
        },
        bridge: Box::new(bridge),
    }
}

impl Bridge for Amqp {
    fn promise(&self) -> Promise {
        Promise::AtLeastOnce
    }

    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscribed>, Fault>> {
        async {
            let (pipe, connection) = self.place.judged(AMQP, self.connect()).await?;
            let (channel, consumer) = self.consume(&connection).await.map_err(Fault::new)?;
            Ok(Box::new(Consuming {
                queue: self.queue.clone(),
                channel,
                consumer,
                _connection: connection,
                _pipe: pipe,
            }) as Box<dyn Subscribed>)
        }
        .boxed()
    }
}

impl Amqp {
    /// A connection; or why not, and whether it was a broker that said it.
    async fn connect(&self) -> Result<(Pipe, Connection), (Fault, bool)> {
        let unheard = |fault| (fault, false);
        let line = self.place.connect().await.map_err(unheard)?;
        let pipe = Pipe::to(line).await.map_err(unheard)?;
        let properties = ConnectionProperties::default().with_connection_name("triwire".into());
        match Connection::connect_uri(self.uri(pipe.port), properties).await {
            Ok(connection) => Ok((pipe, connection)),
            Err(error) => Err((Fault::new(&error), error.is_amqp_error())),
        }
    }

    async fn consume(&self, connection: &Connection) -> Result<(Channel, Consumer), Error> {
        let channel = connection.create_channel().await?;
        let options = BasicQosOptions::default();
        channel.basic_qos(self.prefetch, options).await?;
        let (queue, options) = (&*self.queue, BasicConsumeOptions::default());
        let consumer = channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok((channel, consumer))
    }

    /// The broker as the client of AMQP is to see it: behind the pipe.
    fn uri(&self, port: u16) -> AMQPUri {
        let (username, password) = self.who.clone();
        AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username, password },
                host: "127.0.0.1".to_owned(),
                port,
            },
            vhost: self.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(LOOK.as_secs() as u16),
                ..AMQPQueryString::default()
            },
        }
    }
}

/// The client of AMQP takes no connection of ours, and has a thread for each of its own, which it would leave waiting for a
/// broker that never answers. It gets the end of a pipe: TLS is ours then, and what is cut here ends there.
struct Pipe {
    port: u16,
    carrying: JoinHandle<()>,
}

impl Pipe {
    async fn to(mut line: Box<dyn Duplex>) -> Result<Pipe, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Fault::new)?;
        let port = listener.local_addr().map_err(Fault::new)?.port();
        let carrying = tokio::spawn(async move {
            // Whoever else may have come first has a line to a broker, and no name or password for it.
            if let Ok((mut near, _)) = listener.accept().await {
                drop(listener);
                let _ = near.set_nodelay(true);
                let _ = copy_bidirectional(&mut near, &mut line).await;
            }
        });
        Ok(Pipe { port, carrying })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

struct Consuming {
    queue: String,
    channel: Channel,
    consumer: Consumer,
    _connection: Connection,
    _pipe: Pipe,
}

impl Subscribed for Consuming {
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival, Fault>> {
        async {
            let delivery = self.consumer.next().await;
            let gone = || Fault::new("the queue was deleted, or is elsewhere now");
            let delivery = delivery.ok_or_else(gone)?.map_err(Fault::new)?;
            let id = delivery.properties.message_id().as_ref();
            Ok(Arrival::Message(Message {
                name: delivery.routing_key.to_string(),
                bytes: delivery.data.into(),
                // Other queues may have the same ids.
                key: id.map(|id| format!("amqp {} {id}", self.queue)),
                receipt: delivery.delivery_tag,
            }))
        }
        .boxed()
    }

    fn settle(&mut self, tag: Receipt, settled: Settled) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            let done = match settled {
                Settled::Published => {
                    let options = BasicAckOptions::default();
                    self.channel.basic_ack(tag, options).await
                }
                Settled::Refused => {
                    let options = BasicRejectOptions { requeue: false };
                    self.channel.basic_reject(tag, options).await
                }
            };
            done.map(drop).map_err(Fault::new)
        }
        .boxed()
    }

    fn give_back(&mut self, tag: Receipt) -> BoxFuture<'_, Result<bool, Fault>> {
        async move {
            let options = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            let done = self.channel.basic_nack(tag, options).await;
            done.map(|_| true).map_err(Fault::new)
        }
        .boxed()
    }
}
