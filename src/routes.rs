//! One table: which path goes to which wire, API or file of the page; and what holds for every request.

use std::future;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use crate::access::{self, Access, Source};
use crate::api::{self, APIS, Api, Context};
use crate::body::{Body, Chunked, refused};
use crate::counts::WireName;
use crate::event::Topic;
use crate::log::Log;
use crate::page;
use crate::problem::Problem;
use crate::wire::long_poll::LongPoll;
use crate::wire::sse::{self, Sse};
use crate::wire::websocket::{self, WebSocket};
use crate::wire::{self, Ask, Carrier, Opening, Settings, Wire};

/// Which wires a path may become, in the order in which they are asked.
const STREAMS: [(&str, &[&dyn Wire]); 4] = [
    ("/events", &[&WebSocket, &Sse]),
    ("/sse", &[&Sse]),
    ("/ws", &[&WebSocket]),
    ("/poll", &[&LongPoll]),
];

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

enum Target {
    Stream(&'static [&'static dyn Wire]),
    Api(&'static dyn Api),
    Page,
}

impl Target {
    fn of(path: &str) -> Option<Target> {
        if let Some((_, wires)) = STREAMS.iter().find(|(at, _)| *at == path) {
            return Some(Target::Stream(wires));
        }
        let below = |at: &&str| *at == path || (at.ends_with('/') && path.starts_with(*at));
        if let Some(api) = APIS.into_iter().find(|api| api.paths().iter().any(below)) {
            return Some(Target::Api(api));
        }
        page::file(path).map(|_| Target::Page)
    }

    fn allow(&self) -> &'static str {
        match self {
            Target::Stream(_) => "GET, HEAD, CONNECT",
            Target::Page => "GET, HEAD",
            Target::Api(api) => api.allow(),
        }
    }

    fn answers_while_draining(&self) -> bool {
        matches!(self, Target::Api(api) if api.answers_while_draining())
    }
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
        let answering = self
            .dispatch(request, carrier, standing, &source)
            .unwrap_or_else(|problem| future::ready(Err(problem)).boxed());
        async move {
            let mut response = answering.await.unwrap_or_else(|problem| refused(&problem));
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
        let request = Request::from_parts(head, body);
        match target {
            Target::Stream(wires) => self.open(wires, request, carrier, source),
            Target::Api(api) => {
                let routes = self.clone();
                Ok(async move { api.call(request, &routes.context).await }.boxed())
            }
            Target::Page => {
                let path = request.uri().path();
                let file = page::file(path).ok_or_else(|| unknown(path));
                Ok(future::ready(file).boxed())
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
            let allow = target.as_ref().map_or("GET, HEAD", Target::allow);
            return Ok(Admitted::Answer(options(allow, head, source)));
        }
        let draining = self.context.health.is_draining()
            && !target.as_ref().is_some_and(Target::answers_while_draining);
        if draining || standing == Standing::TooMany {
            let reason = if draining { "draining" } else { "full" };
            return self.busy(head, reason).map(Admitted::Answer);
        }
        let target = target.ok_or_else(|| unknown(path))?;
        let allowed = match target {
            Target::Stream(_) if head.method == Method::CONNECT => {
                websocket && self.settings.websocket_http2
            }
            _ => api::allows(target.allow(), &head.method),
        };
        if !allowed {
            return Err(Problem::method(target.allow()));
        }
        Ok(Admitted::Target(target))
    }

    fn busy(&self, head: &Parts, reason: &'static str) -> Result<Response<Body>, Problem> {
        if sse::names_event_stream(&head.headers) && !websocket::is_handshake(head) {
            return Ok(sse::busy(reason, &self.settings.server));
        }
        Err(Problem::unavailable(
            reason,
            format!("the server is {reason}; come back, or use another"),
        ))
    }

    fn open(
        &self,
        wires: &[&dyn Wire],
        request: Request<Incoming>,
        mut carrier: Carrier,
        source: &Source,
    ) -> Result<Answering<Result<Response<Body>, Problem>>, Problem> {
        let (head, body) = request.into_parts();
        let (wire, name) = asked(wires, &head)?;
        let mut ask = Ask::parse(&head, self.settings.poll_timeout)?;
        let path = head.uri.path();
        let websocket = websocket::is_handshake(&head);
        if ask.topics.is_empty() && matches!(path, "/sse" | "/ws") {
            ask.topics.push(Topic::new("messages")?);
        }
        if ask.topics.is_empty() && !websocket {
            return Err(Problem::bad_request(
                "topic",
                "name at least one topic: ?topic=NAME",
            ));
        }
        if head.method == Method::HEAD {
            let response = match path {
                "/poll" => api::json(StatusCode::OK, ""),
                _ => sse::response(Body::empty()),
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
        let reader = ask.reader(&self.log, &carrier, name)?;
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

fn unknown(path: &str) -> Problem {
    let detail =
        format!("there is nothing at {path}; try /events, /poll, /publish/TOPIC, /stats or /");
    Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
}

fn options(allow: &'static str, head: &Parts, source: &Source) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allow));
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
