//! A client of Socket.IO (protocol 5 on Engine.IO 4) that is as strict as the official ones are lenient, over any way
//! to a listener. It knows the protocol and nothing of the server's code.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::support::client::link::{Call, Connection, Link, Target};
use super::support::client::valve::Valve;
use super::support::client::websocket::{Listening, Speaking, WebSocket};
use super::support::server::PATIENCE;

/// How a session is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    Polling,
    Upgraded,
    WebSocket,
}

impl Carry {
    pub const ALL: [Carry; 3] = [Carry::Polling, Carry::Upgraded, Carry::WebSocket];
}

/// The links that all of them work on: extended CONNECT cannot be the request that upgrades to h2c.
pub const LINKS: [Link; 6] = [
    Link::Http1,
    Link::Ws,
    Link::Http1s,
    Link::Wss,
    Link::H2c,
    Link::Http2,
];

pub const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
pub const OPEN_WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// One session.
pub struct Client {
    link: Link,
    transport: Transport,
    /// What the session's first packet says.
    pub open: Value,
    /// What has come and was not asked for yet.
    inbox: VecDeque<String>,
    acks: u64,
}

enum Transport {
    Polling {
        get: Box<Connection>,
        post: Box<Connection>,
    },
    WebSocket(Box<Socket>),
}

/// A WebSocket, on which somebody may speak while somebody listens.
pub struct Socket {
    speaking: Arc<Mutex<Speaking>>,
    listening: Listening,
    valve: Valve,
    /// Kept open: on HTTP/2 the socket is one of its streams.
    _connection: Option<Connection>,
}

impl Socket {
    fn new(socket: WebSocket, valve: Valve) -> Socket {
        let (speaking, listening, connection) = socket.split();
        Socket {
            speaking: Arc::new(Mutex::new(speaking)),
            listening,
            valve,
            _connection: connection,
        }
    }

    async fn say(&self, frame: Frame) {
        // What it says to who has hung up is lost.
        let _ = self.speaking.lock().await.send(frame).await;
    }

    async fn frame(&mut self) -> Result<Frame, String> {
        match self.listening.next().await {
            Some(frame) => frame.map_err(|error| error.to_string()),
            None => Err("the socket ended".to_owned()),
        }
    }
}

impl Client {
    /// A session in the namespace, carried like this.
    pub async fn connect(target: &Target, link: Link, carry: Carry) -> Client {
        let mut client = match carry {
            Carry::Polling => Client::polling(target, link).await,
            Carry::WebSocket => Client::websocket(target, link).await,
            Carry::Upgraded => {
                let mut client = Client::polling(target, link).await;
                client.come().await;
                client.upgrade(target).await;
                return client;
            }
        };
        client.come().await;
        client
    }

    /// A session that polls, not yet in the namespace.
    pub async fn polling(target: &Target, link: Link) -> Client {
        let mut get = Connection::open(target, link).await;
        let (status, body) = ask(&mut get, Call::get(OPEN)).await;
        assert_eq!(status, 200, "{body}");
        let open = body.strip_prefix('0').expect("an open packet");
        Client {
            link,
            transport: Transport::Polling {
                get: Box::new(get),
                post: Box::new(Connection::open(target, link).await),
            },
            open: serde_json::from_str(open).expect("JSON"),
            inbox: VecDeque::new(),
            acks: 0,
        }
    }

    /// A session that begins on a WebSocket, likewise.
    pub async fn websocket(target: &Target, link: Link) -> Client {
        let opened = WebSocket::open(target, link, Call::get(OPEN_WEBSOCKET)).await;
        let (socket, valve) = opened.expect("a handshake");
        let mut socket = Socket::new(socket, valve);
        let open = text(&mut socket).await;
        let open = open.strip_prefix('0').expect("an open packet");
        Client {
            link,
            open: serde_json::from_str(open).expect("JSON"),
            transport: Transport::WebSocket(Box::new(socket)),
            inbox: VecDeque::new(),
            acks: 0,
        }
    }

    pub fn sid(&self) -> &str {
        self.open["sid"].as_str().expect("a session has a name")
    }

    fn place(&self, transport: &str) -> String {
        format!("/socket.io/?EIO=4&transport={transport}&sid={}", self.sid())
    }

    /// Comes to the namespace.
    pub async fn come(&mut self) {
        self.say("40").await;
        let packet = self.packet().await;
        assert!(packet.starts_with("40{"), "{packet}");
    }

    /// Goes over to a WebSocket, as the protocol has it.
    pub async fn upgrade(&mut self, target: &Target) {
        let mut socket = self.try_upgrade(target, Some("2probe")).await;
        // A poll that is held would be answered with a noop, and so is one that comes now.
        let polled = self.place("polling");
        let Transport::Polling { get, .. } = &mut self.transport else {
            panic!("it is on a WebSocket already");
        };
        let (status, body) = ask(get, Call::get(polled)).await;
        assert_eq!(status, 200, "{body}");
        self.inbox
            .extend(packets(&body).filter(|packet| packet != "6"));
        assert_eq!(text(&mut socket).await, "3probe");
        socket.say(Frame::text("5")).await;
        self.transport = Transport::WebSocket(Box::new(socket));
    }

    /// Opens a WebSocket for a session that polls, and says this on it.
    pub async fn try_upgrade(&self, target: &Target, packet: Option<&str>) -> Socket {
        let place = self.place("websocket");
        let opened = WebSocket::open(target, self.link, Call::get(place)).await;
        let (socket, valve) = opened.expect("a handshake");
        let socket = Socket::new(socket, valve);
        if let Some(packet) = packet {
            socket.say(Frame::text(packet)).await;
        }
        socket
    }

    /// A poll beside its own, past pings.
    pub fn held(&self, target: &Target) -> JoinHandle<(StatusCode, String)> {
        let (target, link, place) = (target.clone(), self.link, self.place("polling"));
        tokio::spawn(async move {
            let mut connection = Connection::open(&target, link).await;
            loop {
                let (status, body) = ask(&mut connection, Call::get(&place)).await;
                if body != "2" {
                    return (status, body);
                }
            }
        })
    }

    /// Says a packet of Engine.IO.
    pub async fn say(&mut self, packet: &str) {
        let (status, body) = self.try_say(packet).await;
        assert_eq!((status, &*body), (StatusCode::OK, "ok"), "{packet}");
    }

    /// The same where it may be refused.
    pub async fn try_say(&mut self, packet: &str) -> (StatusCode, String) {
        let place = self.place("polling");
        match &mut self.transport {
            Transport::Polling { post, .. } => {
                ask(post, Call::post(place, packet.to_owned())).await
            }
            Transport::WebSocket(socket) => {
                socket.say(Frame::text(packet)).await;
                (StatusCode::OK, "ok".to_owned())
            }
        }
    }

    /// The next packet, past pings, which are answered.
    pub async fn packet(&mut self) -> String {
        self.try_packet().await.expect("the session goes on")
    }

    /// The same, or how the session ended.
    pub async fn try_packet(&mut self) -> Result<String, String> {
        loop {
            while let Some(packet) = self.inbox.pop_front() {
                match &*packet {
                    "2" => drop(self.try_say("3").await),
                    "6" => {}
                    "1" => return Err("closed".to_owned()),
                    _ => return Ok(packet),
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), String> {
        let place = self.place("polling");
        let filling = async {
            match &mut self.transport {
                Transport::Polling { get, .. } => match try_ask(get, Call::get(place)).await? {
                    (StatusCode::OK, body) => Ok(packets(&body).collect::<Vec<_>>()),
                    (status, body) => Err(format!("{status} {body}")),
                },
                Transport::WebSocket(socket) => match socket.frame().await? {
                    Frame::Text(text) => Ok(vec![text.to_string()]),
                    Frame::Close(Some(close)) => {
                        Err(format!("{} {}", u16::from(close.code), close.reason))
                    }
                    Frame::Close(None) => Err("1005".to_owned()),
                    other => panic!("packets are text: {other:?}"),
                },
            }
        };
        let filled = timeout(PATIENCE, filling).await;
        self.inbox.extend(filled.expect("something comes in time")?);
        Ok(())
    }

    /// Sends an event, and returns the number of its acknowledgement.
    pub async fn emit(&mut self, name: &str, args: &[Value]) -> u64 {
        let id = self.acks;
        self.acks += 1;
        self.say(&event(id, name, args)).await;
        id
    }

    /// The same, and the arguments of its acknowledgement; what comes before that must be no other.
    pub async fn call(&mut self, name: &str, args: &[Value]) -> Vec<Value> {
        let id = self.emit(name, args).await;
        self.ack(id).await
    }

    /// The arguments of an acknowledgement, which comes next.
    pub async fn ack(&mut self, id: u64) -> Vec<Value> {
        let packet = self.packet().await;
        let args = packet.strip_prefix(&format!("43{id}"));
        let args = args.unwrap_or_else(|| panic!("not the acknowledgement {id}: {packet}"));
        serde_json::from_str(args).expect("an array")
    }

    /// The next event: its name, and its argument.
    pub async fn event(&mut self) -> (String, Value) {
        let packet = self.packet().await;
        let event = packet.strip_prefix("42");
        let event = event.unwrap_or_else(|| panic!("no event: {packet}"));
        serde_json::from_str(event).expect("a name and an argument")
    }

    /// How the session ends; what comes before is skipped.
    pub async fn end(&mut self) -> String {
        loop {
            if let Err(end) = self.try_packet().await {
                return end;
            }
        }
    }

    /// Leaves, as a client does.
    pub async fn leave(mut self) {
        if matches!(self.transport, Transport::Polling { .. }) {
            self.say("1").await;
        }
    }

    /// Says attachments, which come beside an event.
    pub async fn attach(&mut self, bytes: &[u8]) {
        match &self.transport {
            Transport::WebSocket(socket) => socket.say(Frame::binary(bytes.to_vec())).await,
            Transport::Polling { .. } => panic!("it polls, where they are packets"),
        }
    }

    /// Says many packets while others listen.
    pub fn say_all(&self, target: &Target, packets: Vec<String>) -> JoinHandle<()> {
        let (target, link, place) = (target.clone(), self.link, self.place("polling"));
        match &self.transport {
            Transport::WebSocket(socket) => {
                let speaking = socket.speaking.clone();
                tokio::spawn(async move {
                    for packet in packets {
                        let said = speaking.lock().await.send(Frame::text(packet)).await;
                        said.expect("it is taken");
                    }
                })
            }
            Transport::Polling { .. } => tokio::spawn(async move {
                let mut connection = Connection::open(&target, link).await;
                let call = Call::post(place, packets.join("\u{1e}"));
                let response = connection.send(call).await.expect("an answer");
                assert_eq!(response.status(), 200);
            }),
        }
    }

    /// Reads until a ping has come, and answers it.
    pub async fn until_ping(&mut self) {
        loop {
            match self.inbox.pop_front().as_deref() {
                Some("2") => return drop(self.try_say("3").await),
                Some(_) => {}
                None => self.fill().await.expect("the session goes on"),
            }
        }
    }

    fn valve(&self) -> &Valve {
        match &self.transport {
            Transport::Polling { get, .. } => &get.valve,
            Transport::WebSocket(socket) => &socket.valve,
        }
    }

    /// From now on nothing is read of what it is told.
    pub fn stop(&self) {
        self.valve().close();
    }

    /// Reads on.
    pub fn go_on(&self) {
        self.valve().open();
    }
}

/// The packet of an event that wants an acknowledgement.
pub fn event(id: u64, name: &str, args: &[Value]) -> String {
    let mut all = vec![json!(name)];
    all.extend_from_slice(args);
    format!("42{id}{}", Value::from(all))
}

/// The packets of a body.
fn packets(body: &str) -> impl Iterator<Item = String> {
    body.split('\u{1e}').map(str::to_owned)
}

async fn text(socket: &mut Socket) -> String {
    match socket.frame().await.expect("a frame") {
        Frame::Text(text) => text.to_string(),
        other => panic!("no text: {other:?}"),
    }
}

/// An answer: its status and its body.
pub async fn ask(connection: &mut Connection, call: Call) -> (StatusCode, String) {
    let asking = timeout(PATIENCE, try_ask(connection, call)).await;
    asking.expect("an answer in time").expect("an answer")
}

/// The same of a server that may hang up.
async fn try_ask(connection: &mut Connection, call: Call) -> Result<(StatusCode, String), String> {
    let broken = |error: hyper::Error| format!("no answer: {error}");
    let (head, body) = connection.send(call).await.map_err(broken)?.into_parts();
    let body = body.collect().await.map_err(broken)?.to_bytes();
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    Ok((head.status, body))
}
