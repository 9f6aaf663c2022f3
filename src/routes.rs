//! One table: which path goes to which wire, API or file of the page; and what holds for every request.

use std::future;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::access::{self, Access, Source};
use crate::api::subscriptions;
use crate::api::timeplus;
use crate::api::{self, APIS, Api, Context};
use crate::body::{Body, Chunked, refused};
use crate::counts::WireName;
use crate::event::Topic;
use crate::live::subscriptions::Subscription;
use crate::log::Log;
use crate::openapi::{self, Path};
use crate::page;
use crate::problem::Problem;
use crate::wire::long_poll::LongPoll;
use crate::wire::sse::{self, Sse};
use crate::wire::websocket::{self, WebSocket};
use crate::wire::{self, Ask, Carrier, Opening, Settings, Wire};

/// A path for readers.
struct Streams {
    at: &'static str,
    what: What,
    /// Which wires it may become, in the order in which they are asked.
    wires: &'static [&'static dyn Wire],
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
}

static STREAMS: [Streams; 5] = [
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

const STREAM: &str = "/stream/{id}";

/// Everything that answers requests.
pub struct Routes {
    /// Who may ask.
    pub access: Arc<Access>,
    /// What the APIs know.
    pub context: Context,
    /// What the wires share.
    pub settings: Arc<Settings>,
    /// The log.
    pub log: Arc<Log>,
}

/// What the connection that a request came on may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    Served,
    /// One answer that says that the server is full.
    TooMany,
}

/// What a path leads to. All of them are what is answered and what `/openapi.json` describes.
#[derive(Clone, Copy)]
enum Target {
    Stream(&'static Streams),
    Api(&'static dyn Api, &'static Path),
    Rows,
    Page(&'static page::File),
    Description,
}

impl Target {
    fn all() -> impl Iterator<Item = Target> {
        let of_one = |api: &'static dyn Api| api.paths().iter().map(move |p| Target::Api(api, p));
        STREAMS
            .iter()
            .map(Target::Stream)
            .chain(APIS.into_iter().flat_map(of_one))
            .chain(page::FILES.iter().map(Target::Page))
            .chain([Target::Rows, Target::Description])
    }

    fn of(path: &str) -> Option<Target> {
        Target::all().find(|target| openapi::means(target.at(), path))
    }

    fn at(self) -> &'static str {
        match self {
            Target::Stream(streams) => streams.at,
            Target::Api(_, path) => path.at,
            Target::Rows => timeplus::ROWS,
            Target::Page(file) => file.at,
            Target::Description => openapi::PATH,
        }
    }

    fn takes(self, method: &Method) -> bool {
        match (self, method.as_str()) {
            (target, "HEAD") => target.takes(&Method::GET),
            (Target::Stream(streams), "CONNECT") => {
                streams.wires.iter().any(|wire| wire.takes_connect())
            }
            (Target::Rows, "CONNECT") => true,
            (Target::Api(_, path), method) => path.operations.iter().any(|(m, _)| *m == method),
            (_, method) => method == "GET",
        }
    }

    /// As the header lists them.
    fn allow(self) -> HeaderValue {
        let mut takes = ALL_METHODS.to_vec();
        takes.retain(|method| self.takes(method));
        let names: Vec<&str> = takes.iter().map(Method::as_str).collect();
        HeaderValue::try_from(names.join(", ")).expect("names of methods")
    }

    /// What `/openapi.json` says of it, by method.
    fn describe(self) -> Map<String, Value> {
        let get = |operation| Map::from_iter([("get".to_owned(), operation)]);
        match self {
            Target::Stream(streams) => streams.describe(),
            Target::Api(_, path) => path.describe(),
            Target::Rows => websocket::rows::describe(),
            Target::Page(file) => get(file.describe()),
            Target::Description => get(openapi::describe()),
        }
    }

    fn answers_while_draining(self) -> bool {
        matches!(self, Target::Api(api, _) if api.answers_while_draining())
    }
}

const ALL_METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::CONNECT,
];

/// `/openapi.json`, which says nothing that changes while the server runs.
static DESCRIPTION: LazyLock<Bytes> = LazyLock::new(|| {
    let paths = Target::all().map(|target| (target.at(), target.describe()));
    openapi::document(paths).to_string().into()
});

impl Streams {
    /// GET may become any of the wires; HEAD is no handshake, so that it gets to the last.
    fn describe(&self) -> Map<String, Value> {
        let of = |wires: &[&dyn Wire]| {
            let mut operation = match self.what {
                What::Subscription => of_subscription(),
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

/// An answer under way.
pub type Answering<T> = BoxFuture<'static, T>;

impl Routes {
    /// Answers any request. What can be done at once is done before the future is made, so that little is held
    /// for each of the many requests that may be under way.
    pub fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        carrier: Carrier,
        standing: Standing,
    ) -> Answering<Response<Body>> {
        let source = self.access.source(request.headers());
        let is_head = request.method() == Method::HEAD;
        let dialect = dialect(request.uri().path());
        let answering = self
            .dispatch(request, carrier, standing, &source)
            .unwrap_or_else(|problem| future::ready(Err(problem)).boxed());
        async move {
            let mut response = answering.await.unwrap_or_else(|problem| match dialect {
                Some(api) => api.refused(&problem),
                None => refused(&problem),
            });
            access::mark(&source, response.headers_mut());
            if is_head {
                drop_body(&mut response);
            }
            response
        }
        .boxed()
    }

    fn dispatch(
        self: &Arc<Self>,
        request: Request<Incoming>,
        carrier: Carrier,
        standing: Standing,
        source: &Source,
    ) -> Result<Answering<Result<Response<Body>, Problem>>, Problem> {
        let (head, body) = request.into_parts();
        let target = match self.admit(&head, standing, source) {
            Ok(Admitted::Target(target)) => target,
            Ok(Admitted::Answer(response)) => return Ok(future::ready(Ok(response)).boxed()),
            Err(problem) => {
                discard(&head, body);
                return Err(problem);
            }
        };
        let mut request = Request::from_parts(head, body);
        match target {
            Target::Stream(streams) => self.open(streams, request, carrier, source),
            Target::Api(api, _) => {
                let routes = self.clone();
                // Some answer with a stream, which is counted on its connection.
                request.extensions_mut().insert(carrier.connection);
                Ok(async move { api.call(request, &routes.context).await }.boxed())
            }
            Target::Rows => Ok(future::ready(self.rows(request, carrier)).boxed()),
            Target::Page(file) => Ok(future::ready(Ok(file.answer())).boxed()),
            Target::Description => {
                let answer = api::json(StatusCode::OK, DESCRIPTION.clone());
                Ok(future::ready(Ok(answer)).boxed())
            }
        }
    }

    /// What holds for every request, before anybody looks at what it wants.
    fn admit(
        &self,
        head: &Parts,
        standing: Standing,
        source: &Source,
    ) -> Result<Admitted, Problem> {
        self.access.check_host(head)?;
        let websocket = websocket::is_handshake(head);
        self.access.check_source(source, &head.method, websocket)?;
        let path = head.uri.path();
        let target = Target::of(path);
        if head.method == Method::OPTIONS {
            let allow = target.map_or(HeaderValue::from_static("GET, HEAD"), Target::allow);
            return Ok(Admitted::Answer(options(allow, head, source)));
        }
        let draining = self.context.health.is_draining()
            && !target.is_some_and(Target::answers_while_draining);
        if draining || standing == Standing::TooMany {
            let reason = if draining { "draining" } else { "full" };
            return self.busy(head, reason).map(Admitted::Answer);
        }
        let target = target.ok_or_else(|| unknown(path))?;
        let by_connect = head.method == Method::CONNECT;
        let no_websocket = by_connect && !(websocket && self.settings.websocket_http2);
        if no_websocket || !target.takes(&head.method) {
            return Err(Problem::method(target.allow()));
        }
        Ok(Admitted::Target(target))
    }

    fn busy(&self, head: &Parts, reason: &'static str) -> Result<Response<Body>, Problem> {
        // The clients of a dialect are no EventSource, and know nothing of `busy`.
        let is_for_us = dialect(head.uri.path()).is_none() && !websocket::is_handshake(head);
        if is_for_us && sse::names_event_stream(&head.headers) {
            return Ok(sse::busy(reason, &self.settings.server));
        }
        Err(Problem::unavailable(
            reason,
            format!("the server is {reason}; come back, or use another"),
        ))
    }

    /// What comes of a query of the Timeplus dialect, on a WebSocket.
    fn rows(
        &self,
        request: Request<Incoming>,
        carrier: Carrier,
    ) -> Result<Response<Body>, Problem> {
        self.context.keys.check(request.headers())?;
        let id = timeplus::rows_of(request.uri().path())
            .unwrap_or_default()
            .to_owned();
        let follow = || self.context.timeplus.follow(&id);
        websocket::rows::open(request, carrier, &self.settings, follow)
    }

    fn open(
        &self,
        streams: &Streams,
        request: Request<Incoming>,
        mut carrier: Carrier,
        source: &Source,
    ) -> Result<Answering<Result<Response<Body>, Problem>>, Problem> {
        let (head, body) = request.into_parts();
        let (wire, name) = asked(streams.wires, &head)?;
        let mut ask = Ask::parse(&head, self.settings.poll_timeout)?;
        let websocket = websocket::is_handshake(&head);
        let subscription = match streams.what {
            What::Subscription => Some(self.subscription(&head, &ask)?),
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
        let mut reader = ask.reader(&self.log, &carrier, name);
        match subscription {
            Some(subscription) => {
                let live = &self.context.live;
                live.follow(&subscription, &mut reader, ask.start, is_poll)?;
            }
            None => drop(reader.begin(&ask.topics, ask.start)?),
        }
        if let Some(key) = ask.cut.take() {
            self.context.cuts.add(key, &carrier.connection);
        }
        let opening = Opening {
            ask,
            reader,
            carrier,
            settings: self.settings.clone(),
            publisher: self.context.publisher.clone(),
            source: source.clone(),
        };
        Ok(wire.open(Request::from_parts(head, body), opening))
    }
}

impl Routes {
    fn subscription(&self, head: &Parts, ask: &Ask) -> Result<Arc<Subscription>, Problem> {
        if !ask.topics.is_empty() {
            let detail = "a stream has the topics of its subscription: PUT /subscriptions/ID, also while it is read";
            return Err(Problem::bad_request("topic", detail));
        }
        let id = head.uri.path().strip_prefix("/stream/").unwrap_or_default();
        self.context.live.subscription(id)
    }
}

enum Admitted {
    Target(Target),
    Answer(Response<Body>),
}

fn asked<'w>(wires: &[&'w dyn Wire], head: &Parts) -> Result<(&'w dyn Wire, WireName), Problem> {
    for wire in wires {
        if let Some(name) = wire.asked(head)? {
            return Ok((*wire, name));
        }
    }
    Err(unknown(head.uri.path()))
}

/// The API whose way it is to refuse what is asked there, unless the path is another's.
fn dialect(path: &str) -> Option<&'static dyn Api> {
    let api = APIS.into_iter().find(|api| api.has_dialect(path))?;
    let is_its = match Target::of(path) {
        Some(Target::Api(api, _)) => api.has_dialect(path),
        Some(Target::Rows) => true,
        Some(_) => false,
        None => true,
    };
    is_its.then_some(api)
}

fn unknown(path: &str) -> Problem {
    let detail = format!(
        "there is nothing at {path}; try /events, /poll, /publish/TOPIC, /queries, /subscriptions, /streams, /api/v1beta2/streams, /stats, /openapi.json or /"
    );
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

fn options(allow: HeaderValue, head: &Parts, source: &Source) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, allow);
    if head
        .headers
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    {
        access::mark_preflight(source, headers);
    }
    response
}

/// A peer that waits for `100 Continue` will not send what is not wanted; to read would invite it.
fn discard(head: &Parts, body: Incoming) {
    if !head.headers.contains_key(header::EXPECT) {
        api::discard(body);
    }
}

/// HEAD: the same head, with the length that the body would have had. HTTP/2 has nobody else to leave it out.
fn drop_body(response: &mut Response<Body>) {
    if let Some(length) = response.body().size_hint().exact()
        && length > 0
    {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
}
