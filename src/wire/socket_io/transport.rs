//! HTTP's side of the sessions: they are opened, polled, spoken to and carried over to a WebSocket.
//!
//! What the library is asked is made here and not passed on: it keeps the first request of a session for as long as that
//! lives, and none needs more of it than the name.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use socketioxide::socket::Sid;
use tokio::runtime::Handle;

use super::asked::Refusal;
use super::payload::{self, Packets};
use super::pipe::Pipe;
use super::session::{Session, Ticket};
use super::{Handshake, SocketIo};
use crate::api;
use crate::body::{Body, Chunk};
use crate::counts::{Ride, WireName};
use crate::problem::Problem;
use crate::wire::Carrier;

impl SocketIo {
    /// Begins a session that polls.
    pub(super) async fn open(self: Arc<Self>, carrier: Carrier) -> Result<Response<Body>, Problem> {
        let ticket = self.admit(&carrier)?;
        let session = ticket.0.clone();
        let ride = Ride::new(carrier.connection.clone(), WireName::SocketIo);
        let mut request = request(&Method::GET, "polling", None, Packets::none());
        request.extensions_mut().insert(Arc::new(ticket));
        let body = match self.ask(request).await {
            Ok(body) => body,
            Err(refusal) => return Ok(refusal.response()),
        };
        let Some(sid) = payload::opened(&body) else {
            return Ok(Refusal::BadRequest.response());
        };
        session.is_known_as(sid);
        self.polled().insert(sid, Arc::downgrade(&session));
        if session.is_over() {
            self.polled().remove(&sid);
        }
        ride.sent(body.len());
        Ok(plain(body.into()))
    }

    /// Answers with what there is for a client, as soon as there is something.
    pub(super) async fn poll(self: Arc<Self>, sid: Sid, carrier: Carrier) -> Response<Body> {
        let Some(session) = self.session(sid) else {
            return Refusal::UnknownSession.response();
        };
        let ride = Ride::new(carrier.connection.clone(), WireName::SocketIo);
        if let Some(unsent) = &carrier.unsent {
            poll_fn(|cx| unsent.poll_room(cx)).await;
        }
        let request = request(&Method::GET, "polling", Some(sid), Packets::none());
        let body = match self.ask(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal.response(),
        };
        payload::packets(&body).for_each(|packet| session.left(packet));
        ride.sent(body.len());
        plain(match &carrier.unsent {
            Some(unsent) => unsent.lease(body),
            None => body.into(),
        })
    }

    /// Hears what a client says.
    pub(super) async fn post(
        self: Arc<Self>,
        sid: Sid,
        head: Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Problem> {
        let Some(session) = self.session(sid) else {
            api::discard(body);
            return Ok(Refusal::UnknownSession.response());
        };
        let ((), body) = api::understood(api::not_encoded(&head.headers), body)?;
        let (limit, longest) = (self.limits.message as u64, self.limits.body_time);
        let read = api::read_body(body, limit, MESSAGE, longest).await;
        // A client that is refused what it says has no other way than to begin anew.
        let said = read.inspect_err(|_| session.hang_up())?;
        let packets = Packets::new(said, session);
        let request = request(&Method::POST, "polling", Some(sid), packets);
        Ok(match self.ask(request).await {
            Ok(body) => plain(body.into()),
            Err(refusal) => refusal.response(),
        })
    }

    /// Answers a handshake, and gives the library what comes of it.
    pub(super) fn shake_hands(
        self: &Arc<Self>,
        sid: Option<Sid>,
        (response, upgrade): Handshake,
        carrier: Carrier,
    ) -> Result<Response<Body>, Problem> {
        let (session, ticket) = match sid.map(|sid| self.session(sid)) {
            None => {
                let ticket = self.admit(&carrier)?;
                (ticket.0.clone(), Some(Arc::new(ticket)))
            }
            Some(Some(session)) => (session, None),
            Some(None) => return Ok(Refusal::UnknownSession.response()),
        };
        if !session.may_be_piped() {
            return Ok(Refusal::BadRequest.response());
        }
        let mut request = request(&Method::GET, "websocket", sid, ());
        if let Some(ticket) = ticket {
            request.extensions_mut().insert(ticket);
        }
        let (library, with) = (self.library.clone(), carrier.clone());
        carrier.spawn(async move {
            match upgrade.await {
                Ok(upgraded) => {
                    let pipe = Pipe::new(upgraded, session, &with);
                    // Nothing that it could refuse is left to it.
                    let _ = Service::call(&library, (pipe, request)).await;
                }
                // A client that leaves before the upgrade has nothing to be told.
                Err(_) => session.hang_up(),
            }
        });
        Ok(response)
    }

    /// Has the library forget a session that polls, as if its client had left.
    pub(super) fn hang_up(&self, sid: Sid) {
        if self.session(sid).is_none() {
            return;
        }
        let request = request(&Method::POST, "polling", Some(sid), Packets::close());
        let library = self.library.clone();
        // Without a runtime the server is gone, and so is the session.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { Service::call(&library, request).await.map(drop) });
        }
    }

    /// What is known of a session that began by polling, until it is over.
    fn session(&self, sid: Sid) -> Option<Arc<Session>> {
        self.polled().get(&sid)?.upgrade()
    }

    /// Takes a place for one session more.
    fn admit(self: &Arc<Self>, carrier: &Carrier) -> Result<Ticket, Problem> {
        let most = self.limits.sessions;
        if self.count.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(Ticket(Session::new(self.clone(), carrier)));
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        let detail = format!(
            "there are {most} sessions of Socket.IO already (socket-io-sessions); close some or raise the limit"
        );
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-sessions", detail);
        Err(problem.with(RETRY_AFTER, "5"))
    }

    /// Gives the place of a session back.
    pub(super) fn forget(&self, sid: Option<Sid>) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(sid) = sid {
            self.polled().remove(&sid);
        }
    }

    /// What the library answers, or why it refuses.
    async fn ask(&self, request: Request<Packets>) -> Result<Bytes, Refusal> {
        let Ok(response) = Service::call(&self.library, request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Refusal::BadRequest)?;
        let body = body.to_bytes();
        if head.status == StatusCode::OK {
            return Ok(body);
        }
        // A session may end while it is spoken of.
        let is_unknown = body.windows(UNKNOWN.len()).any(|part| part == UNKNOWN);
        Err(match is_unknown {
            true => Refusal::UnknownSession,
            false => Refusal::BadRequest,
        })
    }
}

/// The keys that make the limit of a body, which is that of a message.
const MESSAGE: &str = "event-bytes times six, or document-bytes, and 4 KiB";

/// In what the library says of a session that it does not know.
const UNKNOWN: &[u8] = b"Session ID unknown";

fn request<B>(method: &Method, transport: &str, sid: Option<Sid>, body: B) -> Request<B> {
    let sid = sid.map_or_else(String::new, |sid| format!("&sid={sid}"));
    let query = format!("/socket.io/?EIO=4&transport={transport}{sid}");
    let request = Request::builder().method(method).uri(query);
    request
        .body(body)
        .expect("names of transports and sessions fit into a query")
}

/// Packets, as the reference implementation sends them.
pub(super) fn plain(body: Chunk) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=UTF-8");
    headers.insert(header::CONTENT_TYPE, text);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
