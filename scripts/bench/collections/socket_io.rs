//! Thousands of acknowledgements in flight on one session of Socket.IO: all must come.

use std::time::Duration;

use futures_util::future::try_join;
use futures_util::stream::{self, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use triwire::load::Result;
use triwire::load::clock::{self, SECOND};
use triwire::load::histogram::Histogram;
use triwire::load::process::Cpu;

use super::alone::{Api, Server};
use super::directory::Directory;
use super::writes::document;
use super::{Options, REQUESTS, shown};

const PLACE: &str = "/socket.io/?EIO=4&transport=";
const PING: &str = "2";
/// Between packets of one body.
const SEPARATOR: char = '\u{1e}';
/// How long nothing may come while something is missing.
const LOST: Duration = Duration::from_secs(5);

/// What is asked, each so often at once.
const QUESTIONS: [&str; 2] = ["GET", "POST"];

pub async fn run(options: &Options) -> Result<()> {
    let (in_flight, rounds) = match options.quick {
        false => (5_000, 10),
        true => (500, 1),
    };
    println!("\n## Acknowledgements in flight on one session of Socket.IO\n");
    println!(
        "{in_flight} events are sent before anything is read, {rounds} times: each reads one document of {} bytes, or \
         makes one that is on the disk when it is acknowledged. Polls and POSTs have a connection each.\n",
        document(100).len()
    );
    println!(
        "| event | by | acknowledged | missing | doubled | a second | all of {in_flight} within, p50 | greatest | server's CPU each |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|");
    let directory = Directory::new("socket-io")?;
    // Nobody here answers the first ping, and there is no other.
    let flags = [&*directory.flag(), "--ping=1h", "--pong=1h"];
    let server = Server::start(&options.triwire, &flags)?;
    let mut api = server.api(REQUESTS).await?;
    let kind = "application/json";
    let first = document(100).into();
    api.exchange(Method::PUT, "/api/v2/items/1", kind, first)
        .await?;
    for question in QUESTIONS {
        for by in ["websocket", "polling"] {
            let mut session = match by {
                "websocket" => Session::websocket(&server).await?,
                _ => Session::polling(&server).await?,
            };
            let mut figures = Figures::default();
            for _ in 0..rounds {
                let before = Cpu::of(server.pid())?;
                session.round(question, in_flight, &mut figures).await?;
                figures.cpu += Cpu::of(server.pid())?.since(before);
            }
            figures.show(question, by);
        }
    }
    drop(api);
    server.stop()
}

/// What has come in some rounds.
#[derive(Default)]
struct Figures {
    acknowledged: u64,
    missing: u64,
    doubled: u64,
    /// From the first event to the last acknowledgement.
    rounds: Histogram,
    time: u64,
    cpu: u64,
}

impl Figures {
    fn show(&self, question: &str, by: &str) {
        println!(
            "| {question} | {by} | {} | {} | {} | {:.0} | {} | {} | {:.1} µs |",
            self.acknowledged,
            self.missing,
            self.doubled,
            self.acknowledged as f64 * SECOND as f64 / self.time as f64,
            shown(self.rounds.quantile(0.5)),
            shown(self.rounds.quantile(1.0)),
            self.cpu as f64 / 1e3 / self.acknowledged as f64,
        );
    }
}

/// A session that is in the namespace.
enum Session {
    WebSocket {
        said: SplitSink<WebSocketStream<TcpStream>, Message>,
        heard: SplitStream<WebSocketStream<TcpStream>>,
    },
    Polling {
        get: Box<Api>,
        post: Box<Api>,
        place: String,
    },
}

impl Session {
    async fn websocket(server: &Server) -> Result<Session> {
        let authority = server.place(REQUESTS)?.authority().to_owned();
        let socket = TcpStream::connect(&authority).await?;
        socket.set_nodelay(true)?;
        let url = format!("ws://{authority}{PLACE}websocket");
        let (mut socket, _) = client_async(url, socket).await?;
        socket.send(Message::text("40")).await?;
        let (said, mut heard) = socket.split();
        while !text(&mut heard).await?.starts_with("40{") {}
        Ok(Session::WebSocket { said, heard })
    }

    async fn polling(server: &Server) -> Result<Session> {
        let (mut get, mut post) = (server.api(REQUESTS).await?, server.api(REQUESTS).await?);
        let open = get.get_text(&format!("{PLACE}polling")).await?.split_off(1);
        let open: serde_json::Value = serde_json::from_str(&open)?;
        let sid = open["sid"].as_str().ok_or("a session without a name")?;
        let place = format!("{PLACE}polling&sid={sid}");
        post.exchange(Method::POST, &place, "text/plain", "40".into())
            .await?;
        while !get.get_text(&place).await?.contains("40{") {}
        Ok(Session::Polling {
            get: Box::new(get),
            post: Box::new(post),
            place,
        })
    }

    /// Asks so often at once, and takes what comes until all is there or nothing comes any more.
    async fn round(&mut self, question: &str, asked: usize, figures: &mut Figures) -> Result<()> {
        let packets = (0..asked).map(|id| match question {
            "GET" => format!(r#"42{id}["GET","items",1]"#),
            _ => format!(r#"42{id}["POST","items",{}]"#, document(id as u64)),
        });
        let packets: Vec<String> = packets.collect();
        let mut round = Round::new(asked);
        match self {
            Session::WebSocket { said, heard } => {
                let packets = packets.into_iter().map(|packet| Ok(Message::text(packet)));
                let mut packets = stream::iter(packets);
                let say = async { Ok(said.send_all(&mut packets).await?) };
                let hear = round.hear(async || text(heard).await);
                try_join(say, hear).await?;
            }
            Session::Polling { get, post, place } => {
                let body = packets.join(&SEPARATOR.to_string());
                let say = post.exchange(Method::POST, place, "text/plain", body.into());
                let hear = round.hear(async || get.get_text(place).await);
                try_join(say, hear).await?;
            }
        }
        round.end(figures);
        Ok(())
    }
}

/// Which have come.
struct Round {
    had: Vec<bool>,
    left: usize,
    doubled: u64,
    start: u64,
    last: u64,
}

impl Round {
    fn new(asked: usize) -> Round {
        let now = clock::now();
        Round {
            had: vec![false; asked],
            left: asked,
            doubled: 0,
            start: now,
            last: now,
        }
    }

    async fn hear(&mut self, mut more: impl AsyncFnMut() -> Result<String>) -> Result<()> {
        while self.left > 0 {
            let Ok(packets) = timeout(LOST, more()).await else {
                break;
            };
            for packet in packets?.split(SEPARATOR) {
                self.take(packet)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, packet: &str) -> Result<()> {
        if packet == PING {
            // There is an hour for the answer.
            return Ok(());
        }
        let ack = packet.strip_prefix("43").and_then(|rest| {
            let (id, args) = rest.split_once('[')?;
            Some((id.parse::<usize>().ok()?, args))
        });
        let Some((id, args)) = ack else {
            return Err(format!("no acknowledgement: {packet}").into());
        };
        if !args.starts_with(r#"{"id":"#) {
            return Err(format!("a refusal: {packet}").into());
        }
        let had = self.had.get_mut(id).ok_or("one that nobody asked for")?;
        match std::mem::replace(had, true) {
            true => self.doubled += 1,
            false => self.left -= 1,
        }
        self.last = clock::now();
        Ok(())
    }

    fn end(self, figures: &mut Figures) {
        let took = self.last - self.start;
        figures.acknowledged += (self.had.len() - self.left) as u64;
        figures.missing += self.left as u64;
        figures.doubled += self.doubled;
        figures.rounds.record(took);
        figures.time += took;
    }
}

async fn text(heard: &mut SplitStream<WebSocketStream<TcpStream>>) -> Result<String> {
    match heard.next().await.ok_or("the socket ended")?? {
        Message::Text(text) => Ok(text.as_str().to_owned()),
        other => Err(format!("no text: {other:?}").into()),
    }
}

impl Api {
    async fn get_text(&mut self, path: &str) -> Result<String> {
        let body = self.exchange(Method::GET, path, "text/plain", "".into());
        Ok(String::from_utf8(body.await?.to_vec())?)
    }
}
