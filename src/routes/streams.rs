//! Paths for readers: which wire a request becomes there, and what its reader reads.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{Answering, Routes, unknown};
use crate::access::Source;
use crate::api;
use crate::api::collections;
use crate::api::collections::answer::Place;
use crate::api::subscriptions;
use crate::body::{Body, Chunked};
use crate::counts::WireName;
use crate::event::Topic;
use crate::log::{Reader, Start};
use crate::openapi;
use crate::problem::Problem;
use crate::store;
use crate::store::ask::filter::Filter;
use crate::store::name::Collection;
use crate::wire::long_poll::LongPoll;
use crate::wire::sse::{self, Sse};
use crate::wire::websocket::{self, WebSocket};
use crate::wire::{self, Ask, Carrier, Opening, Wire};

/// A path for readers.
pub(super) struct Streams {
    pub(super) at: &'static str,
    what: What,
    /// Which wires it may become, in the order in which they are asked.
    pub(super) wires: &'static [&'static dyn Wire],
}

/// What readers read there.
#[derive(Clone, Copy, PartialEq)]
enum What {
    /// The topics that they name; only a WebSocket may name none, since it can subscribe later.
    Named,
    /// The same, or this one when none is named.
    Default(&'static str),
    /// What the subscription in the path consists of.
    Subscription,
    /// The changes of the collection in the path, or some of them.
    Changes,
}

pub(super) static STREAMS: [Streams; 5] = [
    Streams {
        at: "/events",
        what: What::Named,
        wires: &[&WebSocket, &Sse],
    },
    Streams {
        at: "/sse",
        what: What::Default("messages"),
        wires: &[&Sse],
    },
    Streams {
        at: "/ws",
        what: What::Default("messages"),
        wires: &[&WebSocket],
    },
    Streams {
        at: "/poll",
        what: What::Named,
        wires: &[&LongPoll],
    },
    Streams {
        at: STREAM,
        what: What::Subscription,
        wires: &[&WebSocket, &LongPoll, &Sse],
    },
];

/// How long a server may be behind another that a reader comes from.
const BEHIND: Duration = Duration::from_secs(2);

const STREAM: &str = "/stream/{id}";

/// What an operation answers in JSON.
const JSON_SCHEMA: &str = "/responses/200/content/application~1json/schema";

/// What a collection is for a request that watches it; for others it is a list.
pub(super) static WATCH: Streams = Streams {
    at: collections::COLLECTION,
    what: What::Changes,
    wires: &[&WebSocket, &LongPoll, &Sse],
};

impl Streams {
    /// GET may become any of the wires; HEAD is no handshake, so that it gets to the last.
    pub(super) fn describe(&self) -> Map<String, Value> {
        let of = |wires: &[&dyn Wire]| {
            let mut operation = match self.what {
                What::Subscription => of_subscription(),
                What::Changes => of_watch(),
                _ => json!({ "parameters": [self.topics(wires)] }),
            };
            openapi::merge(&mut operation, &Ask::describe());
            for wire in wires {
                openapi::merge(&mut operation, &wire.describe());
            }
            operation
        };
        let last = &self.wires[self.wires.len() - 1..];
        let head = openapi::head_of(&of(last));
        Map::from_iter([
            ("get".to_owned(), of(self.wires)),
            ("head".to_owned(), head),
        ])
    }

    /// The same where something else is answered too.
    pub(super) fn describe_beside(&self, mut operations: Map<String, Value>) -> Map<String, Value> {
        let of_stream = self.describe();
        let mut head = openapi::head_of(&operations["get"]);
        openapi::merge(&mut head, &of_stream["head"]);
        let get = &mut operations["get"];
        // Both are JSON, and neither is what both would be.
        let schema = |get: &Value| get.pointer(JSON_SCHEMA).cloned();
        let either = json!({ "oneOf": [schema(get), schema(&of_stream["get"])] });
        openapi::merge(get, &of_stream["get"]);
        if let Some(schema) = get.pointer_mut(JSON_SCHEMA) {
            *schema = either;
        }
        let too_many = "One watch with other filters (watches) too many";
        get["responses"]["429"] = openapi::problem_with("retry-after", too_many);
        operations.insert("head".to_owned(), head);
        operations
    }

    fn topics(&self, wires: &[&dyn Wire]) -> Value {
        let mut schema = json!({ "type": "array", "items": openapi::topic() });
        if let What::Default(topic) = self.what {
            schema["default"] = [topic].into();
        }
        let what = "What to read; named again for each topic";
        let mut topics = openapi::parameter("query", "topic", what, schema);
        // One of two wires is a WebSocket, which needs none.
        topics["required"] = (self.what == What::Named && wires.len() == 1).into();
        topics
    }
}

fn of_subscription() -> Value {
    let poll = json!({ "enum": ["0", "1"] });
    json!({
        "parameters": [
            subscriptions::id(),
            openapi::parameter("query", "poll", "1 is long polling, unless it is a handshake", poll),
        ],
        "responses": { "404": openapi::problem("There is no subscription with this id") },
    })
}

fn of_watch() -> Value {
    let poll = json!({ "enum": ["0", "1"] });
    let what = "With watch=1, 1 is long polling, unless it is a handshake";
    json!({ "parameters": [openapi::parameter("query", "poll", what, poll)] })
}

/// Whether who asks for a collection wants its changes.
pub(super) fn wants_stream(head: &Parts) -> bool {
    let query = head.uri.query().unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let watches = pairs.any(|(name, value)| name == "watch" && value == "1");
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    websocket::is_handshake(head) || reads && watches
}

impl Routes {
    /// Answers with a stream.
    pub(super) fn open(
        self: &Arc<Self>,
        streams: &Streams,
        request: Request<Incoming>,
        mut carrier: Carrier,
        source: &Source,
    ) -> Result<Answering<Result<Response<Body>, Problem>>, Problem> {
        let (head, body) = request.into_parts();
        let (wire, name) = asked(streams.wires, &head)?;
        let mut ask = Ask::parse(&head, self.settings.poll_timeout)?;
        let websocket = websocket::is_handshake(&head);
        let mut changes = None;
        let subscription = match streams.what {
            What::Subscription => Some(subscription(&head, &ask)?),
            What::Changes => {
                let (collection, filters) = self.changes(&head, &ask)?;
                ask.topics.push(collection.topic());
                changes = Some((collection, filters));
                None
            }
            What::Default(topic) if ask.topics.is_empty() => {
                ask.topics.push(Topic::new(topic)?);
                None
            }
            _ => None,
        };
        if subscription.is_none() && ask.topics.is_empty() && !websocket {
            return Err(Problem::bad_request(
                "topic",
                "name at least one topic: ?topic=NAME",
            ));
        }
        let is_poll = name == WireName::LongPoll;
        if head.method == Method::HEAD {
            if let Some(id) = subscription {
                self.context.live.subscription(&id)?;
            }
            let response = match is_poll {
                true => api::json(StatusCode::OK, ""),
                false => sse::response(Body::empty()),
            };
            return Ok(future::ready(Ok(response)).boxed());
        }
        // What hyper polls on HTTP/1.1 is in no bundle.
        let in_bundle = match name {
            WireName::SseHttp1 => head.extensions.get::<Chunked>().is_some(),
            WireName::LongPoll => wire::is_http2(&head),
            _ => true,
        };
        if !in_bundle {
            carrier.bundle = None;
        }
        let routes = self.clone();
        let mut reader = ask.reader(&self.log, &carrier, name);
        if let Some((collection, filters)) = changes.filter(|(_, filters)| !filters.is_empty()) {
            let source = source.clone();
            let opening = async move {
                let collections = &routes.context.collections;
                let watched = collections.watch(&collection, filters, ask.start).await?;
                watched.set(&mut reader)?;
                let opening = routes.opening(ask, reader, carrier, source);
                wire.open(Request::from_parts(head, body), opening).await
            };
            return Ok(opening.boxed());
        }
        match subscription {
            Some(id) if self.log.is_following() => {
                let source = source.clone();
                let opening = async move {
                    let live = &routes.context.live;
                    // It may have been made on another server a moment ago, and read there up to now.
                    let subscription = live.find_subscription(&id).await?;
                    if let Start::After(cursor) = ask.start {
                        routes.log.come_to(cursor, BEHIND).await;
                    }
                    live.follow(&subscription, &mut reader, ask.start, is_poll)?;
                    let opening = routes.opening(ask, reader, carrier, source);
                    wire.open(Request::from_parts(head, body), opening).await
                };
                return Ok(opening.boxed());
            }
            Some(id) => {
                let live = &self.context.live;
                let subscription = live.subscription(&id)?;
                live.follow(&subscription, &mut reader, ask.start, is_poll)?;
            }
            None => drop(reader.begin(&ask.topics, ask.start)?),
        }
        let opening = routes.opening(ask, reader, carrier, source.clone());
        Ok(wire.open(Request::from_parts(head, body), opening))
    }

    fn opening(&self, mut ask: Ask, reader: Reader, carrier: Carrier, source: Source) -> Opening {
        if let Some(key) = ask.cut.take() {
            self.context.cuts.add(key, &carrier.connection);
        }
        Opening {
            ask,
            reader,
            carrier,
            settings: self.settings.clone(),
            services: self.context.services.clone(),
            source,
        }
    }

    /// The collection in a path, and which of its documents are asked for.
    fn changes(&self, head: &Parts, ask: &Ask) -> Result<(Collection, Vec<Filter>), Problem> {
        let Place::Collection(collection) = Place::parse(head.uri.path())? else {
            return Err(unknown(head.uri.path()));
        };
        if !ask.topics.is_empty() {
            let detail = "a watch has the topic of its collection; read several at /events";
            return Err(Problem::bad_request("topic", detail));
        }
        let query = head.uri.query().unwrap_or_default().as_bytes();
        let per_page = self.context.collections.limits().per_page;
        let list = store::ask::Ask::parse(form_urlencoded::parse(query), per_page)?;
        Ok((collection, list.filters))
    }
}

/// The id of the subscription in a path.
fn subscription(head: &Parts, ask: &Ask) -> Result<String, Problem> {
    if !ask.topics.is_empty() {
        let detail = "a stream has the topics of its subscription: PUT /subscriptions/ID, also while it is read";
        return Err(Problem::bad_request("topic", detail));
    }
    let id = head.uri.path().strip_prefix("/stream/");
    Ok(id.unwrap_or_default().to_owned())
}

fn asked<'w>(wires: &[&'w dyn Wire], head: &Parts) -> Result<(&'w dyn Wire, WireName), Problem> {
    for wire in wires {
        if let Some(name) = wire.asked(head)? {
            return Ok((*wire, name));
        }
    }
    Err(unknown(head.uri.path()))
}
