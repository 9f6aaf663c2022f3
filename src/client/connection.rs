//! One HTTP connection, of either version.

use std::future::{self, Future};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;

use super::dial::dial;
use super::failure::{Failure, Fault};
use super::place::Place;

/// From a request to the head of its answer, and from there to its end where that is waited for.
const LONGEST: Duration = Duration::from_secs(30);
/// A whole answer, which is held.
const MOST: usize = 64 << 20;
/// Between pings on HTTP/2, and until their answers.
const PING: Duration = Duration::from_secs(20);

const UNBROKEN: &str = "nobody panics under this lock";

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
}

impl Http {
    /// Its name in ALPN (RFC 7301, 6; RFC 9113, 3.3).
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Http::One => b"http/1.1",
            Http::Two => b"h2",
        }
    }
}

/// A connection. It closes when it and all its answers are dropped.
pub struct Connection {
    place: Place,
    sender: Sender,
    has_answered: bool,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    /// And what tells whether the server announces that it takes extended CONNECT (RFC 8441, 3): hyper sends it anywhere.
    Two(
        http2::SendRequest<Full<Bytes>>,
        Box<dyn Fn() -> bool + Send + Sync>,
    ),
}

impl Connection {
    /// Connects to a place.
    ///
    /// # Errors
    /// Whatever stands between.
    pub async fn open(place: &Place) -> Result<Connection, Failure> {
        Connection::with_pings(place, Some(PING)).await
    }

    /// The same, and on HTTP/2 it says nothing by itself: a limit of somebody in between is then seen.
    ///
    /// # Errors
    /// The same.
    pub async fn open_without_pings(place: &Place) -> Result<Connection, Failure> {
        Connection::with_pings(place, None).await
    }

    async fn with_pings(place: &Place, pings: Option<Duration>) -> Result<Connection, Failure> {
        let (stream, http) = dial(place).await?;
        let broken = |error| Failure::of_hyper(&place.authority, &error);
        let sender = match http {
            Http::One => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(broken)?;
                // What goes wrong with it is told to whoever waits for an answer.
                tokio::spawn(connection.with_upgrades());
                Sender::One(sender)
            }
            Http::Two => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(pings)
                    .keep_alive_timeout(PING)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(broken)?;
                let connection = Arc::new(Mutex::new(Some(connection)));
                let asked = connection.clone();
                tokio::spawn(future::poll_fn(move |cx| {
                    let mut connection = connection.lock().expect(UNBROKEN);
                    let Some(running) = &mut *connection else {
                        return Poll::Ready(());
                    };
                    // Dropped at its end, so that whoever waits for an answer is told.
                    let done = Pin::new(running).poll(cx).map(drop);
                    done.is_ready().then(|| connection.take());
                    done
                }));
                let announced = Box::new(move || {
                    let connection = asked.lock().expect(UNBROKEN);
                    let running = connection.as_ref();
                    running.is_some_and(|c| c.is_extended_connect_protocol_enabled())
                });
                Sender::Two(sender, announced)
            }
        };
        Ok(Connection {
            place: place.clone(),
            sender,
            has_answered: false,
        })
    }

    /// The version that it speaks.
    pub fn http(&self) -> Http {
        match self.sender {
            Sender::One(_) => Http::One,
            Sender::Two(..) => Http::Two,
        }
    }

    /// Sends a request for `path` (with its query, below the place's own) and waits for the head of the answer, of
    /// whatever status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let request = self.request(method, path, headers, body)?;
        self.send_as_it_is(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let wrong = |error| Failure::new(Fault::Protocol, format!("{path}: {error}"));
        let mut request = Request::builder().method(method);
        request = match self.sender {
            Sender::One(_) => {
                let host = HeaderValue::from_str(&self.place.authority).expect("it is of a URL");
                request
                    .uri(self.place.path(path))
                    .header(header::HOST, host)
            }
            Sender::Two(..) => request.uri(self.place.url(path)),
        };
        let mut request = request.body(Full::new(body)).map_err(wrong)?;
        request.headers_mut().extend(headers);
        Ok(request)
    }

    /// Opens a tunnel to `path` by extended CONNECT (RFC 8441), on HTTP/2.
    pub(super) async fn connect(
        &mut self,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, Failure> {
        // Its SETTINGS are there when it has answered anything.
        let answer = self.get("/healthz").await?;
        if answer.status().is_server_error() {
            return Err(self.refusal(answer).await);
        }
        if !matches!(&self.sender, Sender::Two(_, announced) if announced()) {
            let words = format!(
                "{} does not take WebSocket over HTTP/2 (extended CONNECT); use --wire wss",
                self.place.authority
            );
            return Err(Failure::new(Fault::Protocol, words));
        }
        let mut request = self.request(Method::CONNECT, path, headers, Bytes::new())?;
        let protocol = hyper::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        self.send_as_it_is(request).await
    }

    async fn send_as_it_is(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        let what = &self.place.authority;
        let sending = async {
            match &mut self.sender {
                Sender::One(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Two(sender, _) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        let answer = match timeout(LONGEST, sending).await {
            Ok(answer) => answer.map_err(|error| Failure::of_hyper(what, &error)),
            Err(_) => Err(Failure::silent(what, LONGEST)),
        };
        let is_first = !self.has_answered;
        self.has_answered |= answer.is_ok();
        answer.map_err(|mut failure| {
            if is_first && self.http() == Http::Two && failure.fault == Fault::Broken {
                failure.words += "; if it always does, it does not speak HTTP/2 here";
            }
            failure
        })
    }

    /// GETs a path.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&mut self, path: &str) -> Result<Response<Incoming>, Failure> {
        self.send(Method::GET, path, HeaderMap::new(), Bytes::new())
            .await
    }

    /// GETs a path and reads the whole answer.
    ///
    /// # Errors
    /// When there is none, or a refusal.
    pub async fn read(&mut self, path: &str) -> Result<Bytes, Failure> {
        let answer = self.get(path).await?;
        if !answer.status().is_success() {
            return Err(self.refusal(answer).await);
        }
        self.whole(answer.into_body()).await
    }

    /// Reads a body to its end.
    pub(super) async fn whole(&self, body: Incoming) -> Result<Bytes, Failure> {
        let what = &self.place.authority;
        let read = Limited::new(body, MOST).collect();
        match timeout(LONGEST, read).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) => {
                let words = format!("{what}: the answer broke off: {error}");
                Err(Failure::new(Fault::Broken, words))
            }
            Err(_) => Err(Failure::silent(what, LONGEST)),
        }
    }

    /// What a refusal says (RFC 9457, where it is a problem).
    pub async fn refusal(&self, answer: Response<Incoming>) -> Failure {
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        if let Some(to) = answer.headers().get(header::LOCATION) {
            let to = String::from_utf8_lossy(to.as_bytes());
            let words = format!(
                "{} answers {status}, to {to}: give that server as --url",
                self.place.authority
            );
            return Failure::new(Fault::Refused(status), words);
        }
        let body = self.whole(answer.into_body()).await.unwrap_or_default();
        let what = &self.place.authority;
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let said = problem
            .as_ref()
            .and_then(|p| p["detail"].as_str())
            .unwrap_or(advice(status));
        let words = format!("{what} answers {status}{said}", said = colon(said));
        Failure {
            retry_after,
            ..Failure::new(Fault::Refused(status), words)
        }
    }
}

fn colon(said: &str) -> String {
    match said {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

/// For an answer that is no problem, so perhaps somebody else's.
fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "is it a triwire server, and is the URL's path right?",
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            "a proxy has no answer from the server behind it"
        }
        _ => "",
    }
}

/// In seconds (RFC 9110, 10.2.3); a date is not worth reading here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}
