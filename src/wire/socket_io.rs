//! Socket.IO (protocol 5 on Engine.IO 4), by polling and by WebSocket, on HTTP/1.1 and on HTTP/2.
//!
//! The protocol is the library's: sessions, heartbeats, namespaces, packets. Here are HTTP's side of it, the bounds that
//! it lacks, and what the events mean.

mod asked;
mod call;
mod documents;
mod frames;
mod payload;
mod pipe;
mod reading;
mod session;
mod transport;
mod watch;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use serde_json::{Map, Value, json};
use socketioxide::ParserConfig;
use socketioxide::extract::SocketRef;
use socketioxide::handler::ConnectHandler;
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;

use self::asked::Asked;
use self::payload::Packets;
use self::session::Session;
use super::Carrier;
use crate::api;
use crate::api::Services;
use crate::body::Body;
use crate::log::Log;
use crate::openapi::{answer as described, object, parameter, problem, problem_with, text};
use crate::problem::Problem;

/// Where it is.
pub const PATH: &str = "/socket.io/";

/// Attachments of an event, which are taken so that it can be refused in words.
const ATTACHMENTS: usize = 64;

/// What sessions may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions.
    pub sessions: usize,
    /// Bytes of a message, or of the body of a POST.
    pub message: usize,
    /// How long the body of a POST may take.
    pub body_time: Duration,
    /// Bytes that a session may have asked and not be answered, and that may wait for its client.
    pub room: usize,
    /// Requests of one session that are carried out at once; the others wait, and are begun in the order in which they
    /// came.
    pub requests: usize,
    /// How often a client is pinged.
    pub ping: Duration,
    /// How long its pong may take.
    pub pong: Duration,
    /// How long a client may take to come to the namespace, or to go over to a WebSocket.
    pub greeting: Duration,
}

impl Limits {
    /// Packets that the library may queue for a session: what our own bounds let through, and some of its own. An answer
    /// that finds no place would end the session.
    fn packets(&self) -> usize {
        self.room / session::OVERHEAD + self.requests + 64
    }

    /// After how long without a byte taken a client is lost: by then its pong is overdue.
    fn patience(&self) -> Duration {
        self.ping + self.pong
    }
}

/// All sessions, and the library that speaks with their clients.
pub struct SocketIo {
    limits: Limits,
    log: Arc<Log>,
    services: Arc<Services>,
    library: SocketIoService<Nowhere>,
    sockets: socketioxide::SocketIo,
    /// Those that began by polling: requests name them.
    polled: Mutex<HashMap<Sid, Weak<Session>>>,
    count: AtomicUsize,
}

/// Whom the library asks for paths that are not its own: it is given none.
#[derive(Clone)]
struct Nowhere;

impl Service<Request<Packets>> for Nowhere {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = future::Ready<Result<Self::Response, Infallible>>;

    fn call(&self, _: Request<Packets>) -> Self::Future {
        future::ready(Ok(Response::new(Full::default())))
    }
}

/// A handshake of WebSocket: the answer to it, and what comes of that.
pub type Handshake = (Response<Body>, OnUpgrade);

/// An answer under way.
pub type Answering = BoxFuture<'static, Result<Response<Body>, Problem>>;

impl SocketIo {
    /// No sessions yet, whose readers will read this log, and whose clients will ask of these services.
    pub fn new(limits: Limits, log: Arc<Log>, services: Arc<Services>) -> Arc<SocketIo> {
        let parser = ParserConfig::common()
            .max_incoming_binaries(ATTACHMENTS)
            .max_incoming_binary_buf_size(limits.message)
            .packet_completion_timeout(limits.greeting);
        let (library, sockets) = socketioxide::SocketIo::builder()
            .with_parser(parser)
            .ping_interval(limits.ping)
            .ping_timeout(limits.pong)
            .connect_timeout(limits.greeting)
            .upgrade_timeout(limits.greeting)
            .max_buffer_size(limits.packets())
            .max_payload(limits.message as u64)
            .ws_max_message_size(limits.message)
            .ws_max_frame_size(limits.message)
            // Kept for each session; for what is larger more is taken.
            .ws_read_buffer_size(512)
            .build_with_inner_svc(Nowhere);
        // Before the client hears that it has come, so that nothing which it says then goes unheard.
        let welcome = async |socket: SocketRef| {
            call::welcome(&socket);
            Ok::<(), Infallible>(())
        };
        sockets.ns("/", (async || {}).with(welcome));
        Arc::new(SocketIo {
            limits,
            log,
            services,
            library,
            sockets,
            polled: Mutex::default(),
            count: AtomicUsize::new(0),
        })
    }

    /// Answers a request; with what comes of it, if it is a handshake of WebSocket.
    ///
    /// # Errors
    /// 413, 408, 415 and 400 for the body of a POST, 429 for one session too many.
    pub fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        handshake: Option<Handshake>,
        carrier: Carrier,
    ) -> Answering {
        let (head, body) = request.into_parts();
        let asked = Asked::parse(&head, handshake.is_some());
        if let Ok(Asked::Post(sid)) = asked {
            return self.clone().post(sid, head, body).boxed();
        }
        api::discard(body);
        match (asked, handshake) {
            (Ok(Asked::Open), _) => self.clone().open(carrier).boxed(),
            (Ok(Asked::Poll(sid)), _) => self.clone().poll(sid, carrier).map(Ok).boxed(),
            (Ok(Asked::WebSocket(sid)), Some(handshake)) => {
                now(self.shake_hands(sid, handshake, carrier))
            }
            (Ok(_), _) => now(Ok(transport::plain(Bytes::new().into()))),
            (Err(refusal), _) => now(Ok(refusal.response())),
        }
    }

    fn polled(&self) -> MutexGuard<'_, HashMap<Sid, Weak<Session>>> {
        self.polled.lock().expect("nothing panics under this lock")
    }

    /// The client of a session, while it is in the namespace.
    fn socket(&self, sid: Sid) -> Option<SocketRef> {
        self.sockets.get_socket(sid)
    }

    /// The Operation Objects.
    pub fn describe() -> Map<String, Value> {
        let version = json!({ "type": "string", "enum": ["4"] });
        let transport = json!({ "type": "string", "enum": ["polling", "websocket"] });
        let mut parameters = vec![
            parameter("query", "EIO", "The version of Engine.IO", version),
            parameter("query", "transport", "How", transport),
        ];
        for parameter in &mut parameters {
            parameter["required"] = true.into();
        }
        let sid = parameter(
            "query",
            "sid",
            "Of a session; without one it begins",
            text(),
        );
        parameters.push(sid);
        let mut refused = problem(
            "Not HTTP, or no handshake, as it should be; what is not Engine.IO as it should be is told in its own words",
        );
        let code = object(json!({ "code": { "enum": [0, 1, 2, 3, 5] }, "message": text() }));
        refused["content"]["application/json"] = json!({ "schema": code });
        let packets = |what| described(what, "text/plain; charset=UTF-8", text());
        let get = json!({
            "summary": "Socket.IO (protocol 5): a session, what there is for its client, or a WebSocket for a handshake",
            "parameters": parameters,
            "responses": {
                "101": { "description": "A WebSocket of Engine.IO" },
                "200": packets("Packets of Engine.IO, as soon as there are any"),
                "400": refused,
                "426": problem_with("upgrade", "A handshake of another version than 13"),
                "429": problem_with("retry-after", "One session too many (socket-io-sessions)"),
            },
        });
        let post = json!({
            "summary": "Packets from the client of a session",
            "parameters": parameters,
            "requestBody": { "content": { "text/plain": { "schema": text() } } },
            "responses": {
                "200": packets("ok: they are heard"),
                "400": refused,
                "413": problem("The body is over event-bytes times six, or document-bytes, and 4 KiB"),
            },
        });
        // It opens nothing, and is no handshake.
        let mut head = get.clone();
        head["responses"] = json!({
            "200": { "description": "As of a GET that polls" },
            "400": { "description": "As of GET" },
        });
        let all = [("get", get), ("head", head), ("post", post)];
        Map::from_iter(all.map(|(method, operation)| (method.to_owned(), operation)))
    }
}

fn now(answer: Result<Response<Body>, Problem>) -> Answering {
    future::ready(answer).boxed()
}
