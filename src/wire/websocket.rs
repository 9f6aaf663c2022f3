//! WebSocket, on HTTP/1.1 (RFC 6455) and on HTTP/2 (RFC 8441): the handshake and the socket's life.
//!
//! What the messages mean stands in `session`.

mod ending;
mod message;
mod request;
pub mod rows;
mod session;
mod sips;

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use self::session::Session;
use self::sips::Sips;
use super::{Opening, Settings, Wire, is_http2};
use crate::body::Body;
use crate::counts::WireName;
use crate::openapi::{parameter, problem, problem_with, text};
use crate::problem::Problem;

const SUBPROTOCOL: &str = "triwire.v1.json";

/// WebSocket on HTTP/1.1 and HTTP/2.
pub struct WebSocket;

impl Wire for WebSocket {
    fn asked(&self, request: &Parts) -> Result<Option<WireName>, Problem> {
        if !is_handshake(request) {
            let only_websocket = request.uri.path() == "/ws";
            return match only_websocket {
                true => Err(upgrade_required(
                    "this path is a WebSocket: ask for an upgrade, or use /sse",
                )),
                false => Ok(None),
            };
        }
        check_version(&request.headers)?;
        subprotocol(&request.headers)?;
        if is_http2(request) {
            return Ok(Some(WireName::WebSocketHttp2));
        }
        accept_key(&request.headers)?;
        Ok(Some(WireName::WebSocket))
    }

    fn takes_connect(&self) -> bool {
        true
    }

    fn describe(&self) -> Value {
        let [upgrade, key, version] = handshake();
        let opened = opened("A WebSocket; first comes `$ready` with a cursor");
        json!({
            "summary": "A WebSocket, for a handshake",
            "parameters": [
                upgrade,
                key,
                version,
                parameter(
                    "header", "Sec-WebSocket-Protocol",
                    "What the client can speak; none is the same",
                    one(SUBPROTOCOL),
                ),
            ],
            "responses": {
                "101": opened,
                "400": problem("The handshake is malformed, or offers subprotocols and not triwire.v1.json"),
                "426": problem_with(
                    "upgrade",
                    "No handshake, where nothing else is answered; or another version than 13",
                ),
            },
        })
    }

    fn open(
        &self,
        mut request: Request<Incoming>,
        opening: Opening,
    ) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let response = match accepted(&request) {
            Ok(response) => response,
            Err(problem) => return std::future::ready(Err(problem)).boxed(),
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let carrier = opening.carrier.clone();
        carrier.spawn(async move {
            // A peer that leaves before the upgrade has nothing to be told.
            let Ok(upgraded) = upgrade.await else { return };
            let http2 = opening.carrier.unsent.is_some();
            let config = config(&opening.settings, http2);
            let io = Sips::new(upgraded, http2);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            // Not here, where room was made for what came before.
            let carrier = opening.carrier.clone();
            carrier.spawn(Session::new(socket, opening));
        });
        std::future::ready(Ok(response)).boxed()
    }
}

/// What a handshake says, as `/openapi.json` has it.
fn handshake() -> [Value; 3] {
    [
        parameter("header", "Upgrade", "Of a handshake", one("websocket")),
        parameter(
            "header",
            "Sec-WebSocket-Key",
            "Of a handshake: 16 bytes in base64",
            text(),
        ),
        parameter(
            "header",
            "Sec-WebSocket-Version",
            "Of a handshake",
            one("13"),
        ),
    ]
}

fn one(value: &str) -> Value {
    json!({ "type": "string", "enum": [value] })
}

fn opened(what: &str) -> Value {
    json!({
        "description": what,
        "headers": { "sec-websocket-accept": { "required": true, "schema": text() } },
    })
}

/// Whether a request is a WebSocket handshake, well-formed or not.
pub fn is_handshake(request: &Parts) -> bool {
    if request.method == Method::CONNECT {
        let protocol = request.extensions.get::<Protocol>();
        return protocol.is_some_and(|p| p.as_str().eq_ignore_ascii_case("websocket"));
    }
    let has =
        |name, token: &str| list(&request.headers, name).any(|t| t.eq_ignore_ascii_case(token));
    // HTTP/1.0 knows no upgrade: there it is to be ignored (RFC 9110, 7.8).
    request.method == Method::GET
        && request.version == Version::HTTP_11
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
}

/// Answers a handshake of something else on WebSockets, whatever subprotocols it offers; with what comes of it.
///
/// # Errors
/// 426 for another version than 13, 400 for one that is malformed.
pub fn accept(request: &mut Request<Incoming>) -> Result<(Response<Body>, OnUpgrade), Problem> {
    check_version(request.headers())?;
    let response = agreed(request)?;
    Ok((response, hyper::upgrade::on(request)))
}

fn accepted(request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
    let mut response = agreed(request)?;
    if let Some(chosen) = subprotocol(request.headers())? {
        let answer = response.headers_mut();
        answer.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(chosen),
        );
    }
    Ok(response)
}

fn agreed(request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
    let mut response = Response::new(Body::empty());
    let headers = request.headers();
    if request.method() != Method::CONNECT {
        let accept = HeaderValue::try_from(accept_key(headers)?)
            .map_err(|_| Problem::bad_request("websocket", "bad sec-websocket-key"))?;
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answer = response.headers_mut();
        answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// What the library may buffer for one socket. Its own defaults are 128 KiB of reading, at once, and no bound
/// on writing.
fn config(settings: &Settings, http2: bool) -> WebSocketConfig {
    WebSocketConfig::default()
        // Clients say little, and this is kept for each of them; for what is larger the library takes more.
        .read_buffer_size(512)
        // On HTTP/2 hyper queues up to three writes a stream, so a write stays small there.
        .write_buffer_size(if http2 { 2 * 1024 } else { super::JOIN_BYTES })
        // `poll_ready` is asked before each message, so no more than one is above `write_buffer_size`.
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(settings.message_bytes))
        .max_frame_size(Some(settings.message_bytes))
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes)
    {
        Some(b"13") => Ok(()),
        // Some intermediaries lose it on HTTP/2, where nothing but 13 exists.
        None if !headers.contains_key(header::SEC_WEBSOCKET_KEY) => Ok(()),
        _ => Err(
            upgrade_required("this server speaks WebSocket version 13 (RFC 6455)")
                .with(header::SEC_WEBSOCKET_VERSION, "13"),
        ),
    }
}

/// `Sec-WebSocket-Accept` for the request's key: 16 bytes in base64 (RFC 6455, 4.2.1).
fn accept_key(headers: &HeaderMap) -> Result<String, Problem> {
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(base64) {
        true => Ok(derive_accept_key(key)),
        false => Err(Problem::bad_request(
            "websocket",
            "sec-websocket-key is 16 bytes in base64 (RFC 6455, 4.1)",
        )),
    }
}

/// The subprotocol to speak: ours when it is offered, none when none is.
fn subprotocol(headers: &HeaderMap) -> Result<Option<&'static str>, Problem> {
    let mut offered = list(headers, header::SEC_WEBSOCKET_PROTOCOL).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    match offered.any(|name| name == SUBPROTOCOL) {
        true => Ok(Some(SUBPROTOCOL)),
        false => Err(Problem::bad_request(
            "subprotocol",
            "this server speaks triwire.v1.json; offer it, or none",
        )),
    }
}

fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .filter(|t| !t.is_empty())
}

fn upgrade_required(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", detail)
        .with(header::UPGRADE, "websocket")
        .with(header::CONNECTION, "upgrade")
}
