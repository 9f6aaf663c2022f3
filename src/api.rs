//! The APIs: families of requests that are answered at once. One trait, one file each, one line in [`APIS`].

pub mod collections;
pub mod cut;
pub mod metrics;
pub mod publish;
pub mod queries;
pub mod stats;
pub mod subscriptions;
pub mod tables;
pub mod timeplus;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::cut::Cuts;
use self::publish::Publisher;
use self::stats::Stats;
use self::timeplus::queries::registry::Registry;
use crate::access::keys::Keys;
use crate::body::{self, Body};
use crate::live::{Expected, Live};
use crate::openapi::Path;
use crate::problem::Problem;
use crate::store;

/// All APIs.
pub const APIS: [&dyn Api; 9] = [
    &publish::Publish,
    &queries::Queries,
    &subscriptions::Subscriptions,
    &tables::Tables,
    &timeplus::Timeplus,
    &collections::Collections,
    &stats::Seen,
    &metrics::Metrics,
    &cut::Cutting,
];

/// One family of requests.
pub trait Api: Send + Sync {
    /// The paths that it answers and the methods that they take, with what `/openapi.json` says of each.
    fn paths(&self) -> &'static [Path];

    /// Whether what is asked is about the server itself: it is answered also while that starts and drains.
    fn is_about_the_server(&self) -> bool {
        false
    }

    /// Whether what is asked at a path is refused in words of its own, also where it has no such path.
    fn has_dialect(&self, _path: &str) -> bool {
        false
    }

    /// Those words.
    fn refused(&self, problem: &Problem) -> Response<Body> {
        body::refused(problem)
    }

    /// Answers a request to one of its paths with a method that this takes, or with HEAD where that is GET.
    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>>;
}

/// What the APIs know.
pub struct Context {
    /// Where events are published.
    pub publisher: Arc<Publisher>,
    /// The same and documents, for those who are connected.
    pub services: Arc<Services>,
    /// Which connections may be cut, and by what.
    pub cuts: Cuts,
    /// Tables, queries and subscriptions.
    pub live: Arc<Live>,
    /// Documents.
    pub collections: Arc<store::Collections>,
    /// What is seen of the server.
    pub stats: Arc<Stats>,
    /// Whether it is fit to be sent requests.
    pub health: Arc<Health>,
    /// What the Timeplus dialect asks for.
    pub keys: Keys,
    /// The queries of that dialect.
    pub timeplus: Arc<Registry>,
}

/// What a peer may do on a two-way wire, by the APIs' own ways.
pub struct Services {
    /// Where events are published.
    pub publisher: Arc<Publisher>,
    /// Documents.
    pub collections: Arc<store::Collections>,
}

/// Whether the server is fit to be sent requests.
#[derive(Debug, Default)]
pub struct Health {
    starting: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// The log is not all here, so that nothing can be told from it: the server answers only what is asked about itself
    /// until it is.
    pub fn start(&self) {
        self.starting.store(true, Ordering::Release);
    }

    /// All is here.
    pub fn started(&self) {
        self.starting.store(false, Ordering::Release);
    }

    /// From now on the server answers only what is asked about itself.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why it answers only what is asked about itself, if it does.
    pub fn busy(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            return Some("draining");
        }
        let is_starting = self.starting.load(Ordering::Acquire);
        is_starting.then_some("starting")
    }
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 201 with the place of what was made.
fn created(mut response: Response<Body>, place: &str) -> Response<Body> {
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// With the ETag that stands in the body.
fn tagged(mut response: Response<Body>, about: &str) -> Response<Body> {
    #[derive(Deserialize)]
    struct Tagged<'a> {
        etag: &'a str,
    }
    let tag = serde_json::from_str::<Tagged>(about).ok();
    let tag = tag.and_then(|Tagged { etag }| HeaderValue::try_from(format!("\"{etag}\"")).ok());
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// What a path names below this one.
fn below(above: &str, head: &Parts) -> Result<String, Problem> {
    let name = head.uri.path().strip_prefix(above).unwrap_or_default();
    let name = percent_encoding::percent_decode_str(name).decode_utf8();
    let name = name.map_err(|_| Problem::bad_request("path", "the path is not UTF-8"))?;
    Ok(name.into_owned())
}

/// `If-Match`: the tags that it names (RFC 9110, 13.1.1). A weak one matches nothing.
fn expected(head: &Parts) -> Result<Expected, Problem> {
    let (mut tags, mut any) = (None, false);
    for value in head.headers.get_all(header::IF_MATCH) {
        let malformed = || {
            let detail = "If-Match is an etag in quotes, several with commas, or *";
            Problem::bad_request("if-match", detail)
        };
        let tags = tags.get_or_insert_with(Vec::new);
        for tag in value.to_str().map_err(|_| malformed())?.split(',') {
            let tag = tag.trim();
            let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            match bare {
                Some(bare) => tags.push(bare.to_owned()),
                None if tag == "*" => any = true,
                None if tag.starts_with("W/\"") => {}
                None => return Err(malformed()),
            }
        }
    }
    Ok(tags.filter(|_| !any))
}

/// What a head says, and the body that may be read now; without it that is thrown away.
///
/// # Errors
/// What is wrong with the head.
pub fn understood<T>(read: Result<T, Problem>, body: Incoming) -> Result<(T, Incoming), Problem> {
    match read {
        Ok(read) => Ok((read, body)),
        Err(problem) => {
            discard(body);
            Err(problem)
        }
    }
}

/// Whether a body is what is read.
///
/// # Errors
/// 415 for a body that would have to be unpacked.
pub fn not_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    let detail = "bodies are taken as they are; send this one without content-encoding";
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "encoded",
        detail,
    ))
}

/// Reads a body that is one JSON object, whatever type it says it has: `curl -d` says that it is a form.
async fn read_json<T: DeserializeOwned>(
    head: &Parts,
    body: Incoming,
    context: &Context,
) -> Result<T, Problem> {
    let ((), body) = understood(not_encoded(&head.headers), body)?;
    let limits = context.publisher.limits;
    let bytes = read_body(body, limits.event_bytes, "event-bytes", limits.body_time).await?;
    // A list would do for serde too, which tells members by their places then.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::bad_request("body", "the body is a JSON object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::bad_request(
            "body",
            format!("the body is not what is taken here: {error}"),
        )
    })
}

/// Carries a change through, also when who asked for it leaves meanwhile.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(change).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Problem::unavailable("stopped", "the server is leaving")),
    }
}

/// Reads a whole body.
///
/// # Errors
/// 413 over the limit (named by `key`), 408 when it takes too long, 400 when it breaks off.
pub async fn read_body(
    body: Incoming,
    limit: u64,
    key: &str,
    longest: Duration,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::too_large("the body", limit, key);
    if body.size_hint().lower() > limit {
        discard(body);
        return Err(too_large());
    }
    let mut limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let read = tokio::time::timeout(longest, gather(&mut limited)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(limited);
            Err(too_large())
        }
        Ok(Err(error)) => Err(Problem::bad_request(
            "body",
            format!("the body broke off: {error}"),
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            format!("the body took longer than {longest:?} (request-body); send it faster"),
        )),
    }
}

/// Copies the pieces together. Each is a part of the buffer that it was read into and keeps all of that alive: a
/// body in pieces of a byte, or a small event in the log, would hold many times its size.
async fn gather<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) -> Result<Bytes, B::Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            whole.extend_from_slice(&piece);
        }
    }
    whole.shrink_to_fit();
    Ok(whole.into())
}

/// Reads on for a while, so that a peer that is still sending gets to read its answer.
pub fn discard<B>(mut body: B)
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
{
    const MOST: usize = 1 << 20;
    const LONGEST: Duration = Duration::from_secs(1);
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(LONGEST, async move {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > MOST {
                return;
            }
        }
    }));
}
