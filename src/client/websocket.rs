//! A WebSocket, on HTTP/1.1 (RFC 6455) and on HTTP/2 (RFC 8441).

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::{self, Upgraded};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::connection::{Connection, Http};
use super::failure::{Failure, Fault};
use super::place::Place;

/// Bytes of one message.
const MOST: usize = 512 << 20;

pub(super) struct WebSocket {
    place: Place,
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// Kept open: on HTTP/2 the socket is one of its streams.
    _connection: Connection,
}

/// What is heard on a WebSocket.
pub(super) enum Heard {
    Text(String),
    /// A ping or pong: the other side lives.
    Alive,
    /// It closed, with a reason.
    Closed(String),
}

impl WebSocket {
    pub(super) async fn open(place: &Place, path: &str) -> Result<WebSocket, Failure> {
        let mut connection = Connection::open(place).await?;
        let mut headers = HeaderMap::new();
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        set(header::SEC_WEBSOCKET_VERSION, "13");
        set(header::SEC_WEBSOCKET_PROTOCOL, "triwire.v1.json");
        let key = generate_key();
        let (mut answer, accepted) = match connection.http() {
            Http::One => {
                set(header::CONNECTION, "upgrade");
                set(header::UPGRADE, "websocket");
                let value = HeaderValue::from_str(&key).expect("base64");
                headers.insert(header::SEC_WEBSOCKET_KEY, value);
                let answer = connection
                    .send(Method::GET, path, headers, Bytes::new())
                    .await?;
                let accept = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
                let accepted = answer.status() == StatusCode::SWITCHING_PROTOCOLS
                    && accept.is_some_and(|v| v == derive_accept_key(key.as_bytes()).as_str());
                (answer, accepted)
            }
            Http::Two => {
                let answer = connection.connect(path, headers).await?;
                let accepted = answer.status() == StatusCode::OK;
                (answer, accepted)
            }
        };
        if !accepted {
            if !answer.status().is_success() && !answer.status().is_informational() {
                return Err(connection.refusal(answer).await);
            }
            let words = format!(
                "{} answers {} and no WebSocket: something in between has lost the upgrade",
                place.authority,
                answer.status()
            );
            return Err(Failure::new(Fault::Protocol, words));
        }
        let upgraded = upgrade::on(&mut answer)
            .await
            .map_err(|error| Failure::of_hyper(&place.authority, &error))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MOST))
            .max_frame_size(Some(MOST));
        let io = TokioIo::new(upgraded);
        Ok(WebSocket {
            place: place.clone(),
            stream: WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await,
            _connection: connection,
        })
    }

    /// Waits for what comes next. Pings are answered while this is waited for.
    pub(super) async fn next(&mut self, longest: Duration) -> Result<Heard, Failure> {
        let what = &self.place.authority;
        let message = timeout(longest, self.stream.next())
            .await
            .map_err(|_| Failure::silent(what, longest))?;
        match message {
            Some(Ok(Message::Text(text))) => Ok(Heard::Text(text.as_str().to_owned())),
            Some(Ok(Message::Close(frame))) => Ok(Heard::Closed(closed(frame))),
            Some(Ok(_)) => Ok(Heard::Alive),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Ok(Heard::Closed(closed(None))),
        }
    }

    fn broken(&self, error: &Error) -> Failure {
        let words = format!("{}: the connection broke: {error}", self.place.authority);
        Failure::new(Fault::Broken, words)
    }
}

fn closed(frame: Option<CloseFrame>) -> String {
    match frame {
        Some(frame) if frame.reason.is_empty() => format!("closed with {}", frame.code),
        Some(frame) => format!("closed with {}: {}", frame.code, frame.reason),
        None => "closed without a word".to_owned(),
    }
}
