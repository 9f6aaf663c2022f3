//! One table: which path goes to which wire, API or file of the page; and what holds for every request.

mod streams;

use std::future;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value};

use self::streams::{STREAMS, Streams, WATCH, wants_stream};
use crate::access::{self, Access, Source};
use crate::api::timeplus;
use crate::api::{self, APIS, Api, Context};
use crate::body::{Body, refused};
use crate::log::Log;
use crate::openapi::{self, Path};
use crate::page;
use crate::problem::Problem;
use crate::wire::socket_io::{self, SocketIo};
use crate::wire::sse;
use crate::wire::websocket;
use crate::wire::{Carrier, Settings};

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
    /// The sessions of Socket.IO.
    pub socket_io: Arc<SocketIo>,
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
    /// An API's path that is [`WATCH`] too.
    Watched(&'static dyn Api, &'static Path),
    Rows,
    SocketIo,
    Page(&'static page::File),
    Description,
}

impl Target {
    fn all() -> impl Iterator<Item = Target> {
        let of_one = |api: &'static dyn Api| {
            let target = move |path: &'static Path| match path.at == WATCH.at {
                true => Target::Watched(api, path),
                false => Target::Api(api, path),
            };
            api.paths().iter().map(target)
        };
        STREAMS
            .iter()
            .map(Target::Stream)
            .chain(APIS.into_iter().flat_map(of_one))
            .chain(page::FILES.iter().map(Target::Page))
            .chain([Target::Rows, Target::SocketIo, Target::Description])
    }

    fn of(path: &str) -> Option<Target> {
        Target::all().find(|target| openapi::means(target.at(), path))
    }

    fn at(self) -> &'static str {
        match self {
            Target::Stream(streams) => streams.at,
            Target::Api(_, path) | Target::Watched(_, path) => path.at,
            Target::Rows => timeplus::ROWS,
            Target::SocketIo => socket_io::PATH,
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
            (Target::SocketIo, "CONNECT" | "POST") => true,
            (Target::Rows | Target::Watched(..), "CONNECT") => true,
            (Target::Api(_, path) | Target::Watched(_, path), method) => {
                path.operations.iter().any(|(m, _)| *m == method)
            }
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
            Target::Watched(_, path) => WATCH.describe_beside(path.describe()),
            Target::Rows => websocket::rows::describe(),
            Target::SocketIo => SocketIo::describe(),
            Target::Page(file) => get(file.describe()),
            Target::Description => get(openapi::describe()),
        }
    }

    fn is_about_the_server(self) -> bool {
        matches!(self, Target::Api(api, _) if api.is_about_the_server())
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
        let is_watch = matches!(target, Target::Watched(..)) && wants_stream(&head);
        let mut request = Request::from_parts(head, body);
        match target {
            Target::Stream(streams) => self.open(streams, request, carrier, source),
            Target::Watched(..) if is_watch => self.open(&WATCH, request, carrier, source),
            Target::Api(api, _) | Target::Watched(api, _) => {
                let routes = self.clone();
                // Some answer with a stream, which is counted on its connection.
                let extensions = request.extensions_mut();
                extensions.insert(carrier.connection);
                if let Some(unsent) = carrier.unsent {
                    extensions.insert(unsent);
                }
                Ok(async move { api.call(request, &routes.context).await }.boxed())
            }
            Target::Rows => Ok(future::ready(self.rows(request, carrier)).boxed()),
            Target::SocketIo => self.socket_io(request, carrier),
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
        let path = head.uri.path();
        let target = Target::of(path);
        let websocket = websocket::is_handshake(head);
        // A GET that opens a session is no reading either.
        let of_session = matches!(target, Some(Target::SocketIo)) && head.method == Method::GET;
        let opens = websocket || of_session;
        self.access.check_source(source, &head.method, opens)?;
        if head.method == Method::OPTIONS {
            let allow = target.map_or(HeaderValue::from_static("GET, HEAD"), Target::allow);
            return Ok(Admitted::Answer(options(allow, head, source)));
        }
        let is_about_us = target.is_some_and(Target::is_about_the_server);
        let busy = self.context.health.busy().filter(|_| !is_about_us);
        let busy = busy.or((standing == Standing::TooMany).then_some("full"));
        if let Some(reason) = busy {
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

    fn socket_io(
        &self,
        mut request: Request<Incoming>,
        carrier: Carrier,
    ) -> Result<Answering<Result<Response<Body>, Problem>>, Problem> {
        let (head, body) = request.into_parts();
        let is_handshake = websocket::is_handshake(&head);
        request = Request::from_parts(head, body);
        let handshake = is_handshake.then(|| websocket::accept(&mut request));
        let handshake = handshake.transpose()?;
        Ok(self.socket_io.answer(request, handshake, carrier))
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
}

enum Admitted {
    Target(Target),
    Answer(Response<Body>),
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
        "there is nothing at {path}; try /events, /poll, /publish/TOPIC, /queries, /subscriptions, /streams, /api/v2/COLLECTION, /api/v1beta2/streams, /stats, /openapi.json or /"
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
