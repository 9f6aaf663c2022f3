//! WebSocket, on HTTP/1.1 (RFC 6455) and on HTTP/2 (RFC 8441). tungstenite is the peer; what it would hide from a
//! test, such as frames against the protocol, goes through [`WebSocket::raw`].

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self};

use super::link::{self, Call, Connection, Link, Stream, Target};
use super::message::{self, End, Message};
use super::valve::Valve;

pub struct WebSocket {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// What the server chose.
    pub subprotocol: Option<String>,
    /// Kept open: on HTTP/2 the socket is one of its streams.
    pub connection: Option<Connection>,
}

/// What a client says.
pub type Speaking = SplitSink<WebSocketStream<Box<dyn Stream>>, tungstenite::Message>;

/// What a client is told.
pub type Listening = SplitStream<WebSocketStream<Box<dyn Stream>>>;

impl WebSocket {
    /// # Errors
    /// The status of the answer, when the handshake is refused.
    pub async fn open(
        target: &Target,
        link: Link,
        call: Call,
    ) -> Result<(WebSocket, Valve), StatusCode> {
        if link.is_http2() {
            let connection = Connection::open(target, link).await;
            let valve = connection.valve.clone();
            return WebSocket::on(connection, call).await.map(|ws| (ws, valve));
        }
        let opened = link.connect(target).await;
        let (stream, valve) = opened.expect("the listener accepts");
        let mut request = format!("ws://{}{}", target.authority(link), call.path)
            .into_client_request()
            .expect("a good URL");
        for (name, value) in call.headers {
            let value = HeaderValue::from_bytes(&value).expect("a good value");
            request
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
        let stream: Box<dyn Stream> = stream;
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, head)) => Ok((WebSocket::new(socket, head.headers(), None), valve)),
            Err(Error::Http(answer)) => Err(answer.status()),
            Err(error) => panic!("the handshake fails: {error}"),
        }
    }

    /// One more stream of an HTTP/2 connection.
    ///
    /// # Errors
    /// As [`WebSocket::open`].
    pub async fn on(mut connection: Connection, call: Call) -> Result<WebSocket, StatusCode> {
        let answer = link::extended_connect(&mut connection, call).await;
        let (stream, head) = answer.map_err(|refused| refused.status())?;
        for name in ["upgrade", "connection", "sec-websocket-accept"] {
            // HAProxy leaves in the last what its own upgrade behind had.
            let proxied = connection.proxied && name == "sec-websocket-accept";
            let absent = !head.headers().contains_key(name);
            assert!(absent || proxied, "{name} on HTTP/2");
        }
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        Ok(WebSocket::new(socket, head.headers(), Some(connection)))
    }

    fn new(
        socket: WebSocketStream<Box<dyn Stream>>,
        head: &hyper::HeaderMap,
        connection: Option<Connection>,
    ) -> WebSocket {
        let text = |v: &HeaderValue| v.to_str().expect("ASCII").to_owned();
        WebSocket {
            socket,
            subprotocol: head.get("sec-websocket-protocol").map(text),
            connection,
        }
    }

    /// The next message, past pings.
    pub async fn next(&mut self) -> Message {
        loop {
            match self.frame().await {
                Ok(tungstenite::Message::Text(text)) => {
                    return read(&text).unwrap_or_else(|e| panic!("{e}"));
                }
                Ok(tungstenite::Message::Close(frame)) => {
                    // Our answer to it leaves when the end is read.
                    while self.frame().await.is_ok() {}
                    let (code, reason) = frame.map_or((1005, String::new()), |f| {
                        (f.code.into(), f.reason.to_string())
                    });
                    return Message::End(End::Close(code, reason));
                }
                Ok(tungstenite::Message::Ping(_)) => {}
                Ok(other) => panic!("the server sends text: {other:?}"),
                Err(error) => return Message::End(End::Cut(error)),
            }
        }
    }

    /// The next frame of any kind.
    pub async fn frame(&mut self) -> Result<tungstenite::Message, String> {
        match self.socket.next().await {
            Some(frame) => frame.map_err(|e| e.to_string()),
            None => Err("the socket ended".into()),
        }
    }

    /// Says something.
    pub async fn say(&mut self, message: &Value) {
        self.send(tungstenite::Message::text(message.to_string()))
            .await;
    }

    pub async fn send(&mut self, frame: tungstenite::Message) {
        self.socket.send(frame).await.expect("it can be sent");
    }

    /// Its two directions, for who speaks and listens at once; with the connection that it is a stream of.
    pub fn split(self) -> (Speaking, Listening, Option<Connection>) {
        let (speaking, listening) = self.socket.split();
        (speaking, listening, self.connection)
    }

    /// What is below the frames.
    pub fn raw(&mut self) -> &mut Box<dyn Stream> {
        self.socket.get_mut()
    }
}

fn read(text: &str) -> Result<Message, String> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        r#type: Option<&'a str>,
    }
    let kind: Kind = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
    match kind.r#type {
        Some("$ready") => message::ready(text, Some("$ready")),
        Some("$gap") => message::gap(text, Some("$gap")).map(Message::Gap),
        Some("$ack" | "$error" | "$reply") => serde_json::from_str(text)
            .map(Message::Answer)
            .map_err(|e| format!("{e}: {text}")),
        _ => message::event(text).map(Message::from),
    }
}
