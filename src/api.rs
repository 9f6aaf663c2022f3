//! The APIs: families of requests that are answered at once. One trait, one file each, one line in [`APIS`].

pub mod cut;
pub mod metrics;
pub mod publish;
pub mod stats;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};

use self::cut::Cuts;
use self::publish::Publisher;
use self::stats::Stats;
use crate::body::Body;
use crate::openapi::Path;
use crate::problem::Problem;

/// All APIs.
pub const APIS: [&dyn Api; 4] = [
    &publish::Publish,
    &stats::Seen,
    &metrics::Metrics,
    &cut::Cutting,
];

/// One family of requests.
pub trait Api: Send + Sync {
    /// The paths that it answers and the methods that they take, with what `/openapi.json` says of each.
    fn paths(&self) -> &'static [Path];

    /// Whether it answers while the server drains.
    fn answers_while_draining(&self) -> bool {
        false
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
    /// Which connections may be cut, and by what.
    pub cuts: Cuts,
    /// What is seen of the server.
    pub stats: Arc<Stats>,
    /// Whether it is fit to be sent requests.
    pub health: Arc<Health>,
}

/// Whether the server is fit to be sent requests.
#[derive(Debug, Default)]
pub struct Health {
    draining: AtomicBool,
}

impl Health {
    /// From now on the server answers only what is asked about itself.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether it is leaving.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
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
