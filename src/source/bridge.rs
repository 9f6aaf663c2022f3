//! What other systems publish already, as events here. One trait, one file each, one line in [`open`].
//!
//! A bridge knows nothing of events: it hands out messages as they are, and is told what became of each. What a message
//! is as an event, trying again, what is bounded and what is counted is [`carry`]'s business and the same for all of them.

#[cfg(feature = "amqp")]
mod amqp;
#[cfg_attr(
    not(all(feature = "amqp", feature = "mqtt", feature = "nats")),
    allow(dead_code, reason = "some sources need what others do not")
)]
mod asked;
pub mod carry;
#[cfg(any(feature = "amqp", feature = "mqtt"))]
mod line;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "nats")]
mod nats;
mod redis;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, ready};

use self::asked::Asked;
use crate::event::{EventType, RESERVED, Topic};

/// How long a source may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The same where it is found out then who is there instead.
const ANSWER: Duration = Duration::from_millis(2500);

/// How often a source that says nothing is asked whether it is there.
const LOOK: Duration = Duration::from_secs(15);

/// Something that publishes already.
pub trait Bridge: Send + Sync {
    /// What it promises of its messages.
    fn promise(&self) -> Promise;

    /// A connection by which messages come from now on.
    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscribed>, Fault>>;
}

/// A connection by which messages come.
pub trait Subscribed: Send {
    /// The next message; waits for it. Whoever waits no more has lost nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival, Fault>>;

    /// The message is in the log, or never will be: the source need not keep it.
    fn settle(&mut self, _: Receipt, _: Settled) -> BoxFuture<'_, Result<(), Fault>> {
        ready(Ok(())).boxed()
    }

    /// The message can not be published now: the source gets it back, if it takes it.
    fn give_back(&mut self, _: Receipt) -> BoxFuture<'_, Result<bool, Fault>> {
        ready(Ok(false)).boxed()
    }
}

/// What a source promises of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// It sends each once and forgets it.
    AtMostOnce,
    /// It sends again what was not settled.
    AtLeastOnce,
}

/// What comes.
#[derive(Debug)]
pub enum Arrival {
    /// A message.
    Message(Message),
    /// So many were lost on this side, before they could be seen.
    Lost(u64),
}

/// What a source has sent.
#[derive(Debug)]
pub struct Message {
    /// The channel, subject, topic or routing key.
    pub name: String,
    /// What it says.
    pub bytes: Bytes,
    /// What it is told by when it is sent again, if the source says so.
    pub key: Option<String>,
    /// By which it is settled.
    pub receipt: Receipt,
}

/// How a source tells one of its messages from the others.
pub type Receipt = u64;

/// What became of a message in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is in the log.
    Published,
    /// It can be no event.
    Refused,
}

/// Why there is no connection, or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    /// In these words, on one line.
    pub fn new(words: impl fmt::Display) -> Fault {
        let words = words.to_string();
        Fault(words.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bridge, and where what comes over it goes.
pub struct Route {
    /// What it is called: where it is, without secrets.
    pub name: String,
    /// Where messages are from.
    pub bridge: Box<dyn Bridge>,
    /// The topic of all; without one, each has its own name.
    pub topic: Option<Topic>,
    /// The type of all.
    pub event_type: EventType,
}

/// The bridge at this URL; nothing is connected yet.
///
/// # Errors
/// Everything that is wrong with the URL.
pub fn open(url: &str) -> Result<Route, Vec<String>> {
    let mut asked = Asked::read(url);
    let (topic, event_type) = (asked.topic(), asked.event_type());
    let opened = match asked.scheme() {
        "redis" | "rediss" => redis::open(&mut asked),
        #[cfg(feature = "nats")]
        "nats" | "tls" => nats::open(&mut asked),
        #[cfg(feature = "mqtt")]
        "mqtt" | "mqtts" => mqtt::open(&mut asked),
        #[cfg(feature = "amqp")]
        "amqp" | "amqps" => amqp::open(&mut asked),
        scheme => {
            return Err(vec![format!(
                "{scheme}:// is no bridge of this triwire: redis, rediss, and, if they were built in, nats, tls, mqtt, mqtts, amqp, amqps"
            )]);
        }
    };
    let Opened { what, bridge } = opened;
    // What is known of the names is judged now, and not at each message.
    if topic.is_none() {
        asked.sound(what.names.judged());
    }
    let name = format!("{}://{}/{}", asked.scheme(), asked.place(), what.shown);
    asked.done().map(|()| Route {
        name,
        bridge,
        topic,
        event_type,
    })
}

/// What one file makes of a URL.
struct Opened {
    what: What,
    bridge: Box<dyn Bridge>,
}

/// What is subscribed to.
struct What {
    /// As it is shown.
    shown: String,
    names: Names,
}

/// What is known of the names of messages before they come.
#[cfg_attr(
    not(all(feature = "amqp", feature = "mqtt", feature = "nats")),
    allow(dead_code, reason = "some sources need what others do not")
)]
enum Names {
    /// All have this one.
    Only(String),
    /// They begin as this pattern does.
    Like(String),
    /// Nothing.
    Any,
}

impl Names {
    /// Whether they can be topics.
    fn judged(&self) -> Result<(), String> {
        let judged = match self {
            Names::Only(name) if !name.is_empty() => Topic::new(name)
                .map_err(|problem| problem.detail.into_owned())
                .and_then(|topic| asked::unreserved(&topic)),
            Names::Like(name) if name.starts_with('$') => Err(RESERVED.to_owned()),
            _ => return Ok(()),
        };
        judged.map_err(|reason| {
            format!("give topic=, since the name of what comes can be none: {reason}")
        })
    }
}
