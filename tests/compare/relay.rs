//! A relay in front of a real server that does to events what must not happen to them, so that it can be seen whether
//! a comparator notices.
//!
//! It passes on HTTP/1.1 as it comes, on the two listeners that have it in cleartext; of `/stats` only what it says of
//! listeners is its own. A thread a direction of each connection: there are few.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::support::server::Server;

/// Those that are relayed.
const LISTENERS: [&str; 2] = ["http1", "ws"];

/// What happens to one event of each reader, by its number from 1.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// It never comes.
    Lose(usize),
    /// It comes twice.
    Double(usize),
    /// It comes after the next.
    Swap(usize),
    /// It comes so much later, and what is behind it waits.
    Delay(usize, Duration),
}

/// A relay at work until it is cut or dropped.
pub struct Relay(Arc<Shared>);

struct Shared {
    listeners: [Listener; 2],
    is_cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// One of them: ours, the server's, and what happens in between.
#[derive(Clone, Copy)]
struct Listener {
    own: SocketAddr,
    upstream: SocketAddr,
    fault: Fault,
}

impl Relay {
    /// Starts one in front of a server, with a fault for SSE and one for WebSocket.
    pub fn start(server: &Server, faults: [Fault; 2]) -> Relay {
        let bound = LISTENERS.map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let listeners = [0, 1].map(|index| Listener {
            own: bound[index].local_addr().expect("bound"),
            upstream: server.addr(LISTENERS[index]),
            fault: faults[index],
        });
        let shared = Arc::new(Shared {
            listeners,
            is_cut: AtomicBool::new(false),
            open: Mutex::default(),
        });
        for (bound, listener) in bound.into_iter().zip(listeners) {
            let shared = shared.clone();
            thread::spawn(move || shared.accept(&bound, listener));
        }
        Relay(shared)
    }

    /// Where it is, as one would say it of a server.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.listeners[0].own)
    }

    /// Where a transport of it is.
    pub fn url_of(&self, wire: &str) -> String {
        let (scheme, index) = if wire == "ws" { ("ws", 1) } else { ("http", 0) };
        format!("{scheme}://{}", self.0.listeners[index].own)
    }

    /// Dies: nothing is connected to it any more, and nothing can be.
    pub fn cut(&self) {
        self.0.is_cut.store(true, Ordering::SeqCst);
        // Who waits for a connection gets one more, and sees it.
        for Listener { own, .. } in self.0.listeners {
            let _ = TcpStream::connect(own);
        }
        for stream in self.0.open.lock().expect("not poisoned").drain(..) {
            // The other side may have hung up.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    fn accept(self: &Arc<Shared>, bound: &TcpListener, listener: Listener) {
        for client in bound.incoming() {
            if self.is_cut.load(Ordering::SeqCst) {
                return;
            }
            let (shared, client) = (self.clone(), client.expect("a descriptor is left"));
            thread::spawn(move || {
                // Whoever hangs up has had enough, and the other side is told so.
                let _ = shared.relay(client, listener);
            });
        }
    }

    /// Notes a connection, so that it can be cut, and answers its two sides.
    fn keep(&self, stream: TcpStream) -> io::Result<(BufReader<TcpStream>, TcpStream)> {
        stream.set_nodelay(true)?;
        let mut open = self.open.lock().expect("not poisoned");
        open.push(stream.try_clone()?);
        if self.is_cut.load(Ordering::SeqCst) {
            stream.shutdown(Shutdown::Both)?;
        }
        Ok((BufReader::new(stream.try_clone()?), stream))
    }

    /// One request after the other, up to one that is answered with a stream.
    fn relay(&self, client: TcpStream, listener: Listener) -> io::Result<()> {
        let (mut requests, mut client) = self.keep(client)?;
        let (mut answers, mut server) = self.keep(TcpStream::connect(listener.upstream)?)?;
        while let Some(request) = head(&mut requests)? {
            let asked = content(&request, &mut requests)?;
            server.write_all(&[request.as_bytes(), &asked].concat())?;
            let Some(answer) = head(&mut answers)? else {
                break;
            };
            let is_websocket = answer.starts_with("HTTP/1.1 101");
            if is_websocket || field(&answer, "transfer-encoding") == Some("chunked") {
                client.write_all(answer.as_bytes())?;
                let from_client = thread::spawn(move || {
                    // It ends with the client, and then the server shall know.
                    let _ = io::copy(&mut requests, &mut server);
                    let _ = server.shutdown(Shutdown::Both);
                });
                let mut plan = Plan::new(listener.fault);
                let passed = if is_websocket {
                    plan.frames(&mut answers, &mut client)
                } else {
                    plan.chunks(&mut answers, &mut client)
                };
                let _ = client.shutdown(Shutdown::Both);
                let _ = from_client.join();
                return passed;
            }
            let mut answered = [answer.as_bytes(), &content(&answer, &mut answers)?].concat();
            if request.starts_with("GET /stats ") {
                answered = self.own_stats(&answered[answer.len()..]);
            }
            client.write_all(&answered)?;
        }
        client.shutdown(Shutdown::Both)
    }

    /// The server's, with our listeners in place of its own.
    fn own_stats(&self, content: &[u8]) -> Vec<u8> {
        let mut stats: Value = serde_json::from_slice(content).expect("stats are JSON");
        let mut listeners = Map::new();
        for (name, Listener { own, .. }) in LISTENERS.into_iter().zip(self.listeners) {
            let mut listener = stats["listeners"][name].take();
            listener["addr"] = own.to_string().into();
            listeners.insert(name.into(), listener);
        }
        stats["listeners"] = listeners.into();
        let content = stats.to_string();
        let length = content.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{content}")
            .into()
    }
}

/// The next head with the empty line after it, unless there is none.
fn head(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn content(head: &str, from: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = field(head, "content-length").unwrap_or("0");
    exactly(length.parse().map_err(io::Error::other)?, from)
}

fn exactly(length: usize, from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What is to happen to one reader's events.
struct Plan {
    fault: Fault,
    seen: usize,
    held: Vec<u8>,
}

impl Plan {
    fn new(fault: Fault) -> Plan {
        Plan {
            fault,
            seen: 0,
            held: Vec::new(),
        }
    }

    /// What is sent instead of the next event.
    fn event(&mut self, event: Vec<u8>) -> Vec<u8> {
        self.seen += 1;
        match self.fault {
            Fault::Lose(number) if number == self.seen => Vec::new(),
            Fault::Double(number) if number == self.seen => [&event[..], &event].concat(),
            Fault::Swap(number) if number == self.seen => {
                self.held = event;
                Vec::new()
            }
            Fault::Swap(number) if number + 1 == self.seen => {
                [event, self.held.split_off(0)].concat()
            }
            Fault::Delay(number, time) if number == self.seen => {
                thread::sleep(time);
                event
            }
            _ => event,
        }
    }

    /// SSE: blocks in chunks, however they lie in each other.
    fn chunks(&mut self, from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
        let mut inbox = Vec::new();
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let chunk = exactly(length + 2, from)?;
            if length == 0 {
                return to.write_all(b"0\r\n\r\n");
            }
            inbox.extend_from_slice(&chunk[..length]);
            while let Some(end) = inbox.windows(2).position(|two| two == b"\n\n") {
                let rest = inbox.split_off(end + 2);
                let block = std::mem::replace(&mut inbox, rest);
                // Each has an id but gap notices; `ready` comes first and has one too.
                let is_event = block.windows(4).any(|four| four == b"id: ")
                    && !block.windows(12).any(|word| word == b"event: ready");
                let blocks = if is_event { self.event(block) } else { block };
                if !blocks.is_empty() {
                    let size = format!("{:x}\r\n", blocks.len());
                    to.write_all(&[size.as_bytes(), &blocks, b"\r\n"].concat())?;
                }
            }
        }
    }

    /// WebSocket: each frame is a message, and a server does not mask them.
    fn frames(&mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        loop {
            let mut frame = match exactly(2, from) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                begun => begun?,
            };
            let more = match frame[1] {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let digits = exactly(more, from)?;
            let length = digits
                .iter()
                .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            let length = if more == 0 { frame[1].into() } else { length };
            frame.extend(digits);
            let message = exactly(length, from)?;
            let is_event = message.starts_with(br#"{"id":"#);
            frame.extend(message);
            let frames = if is_event { self.event(frame) } else { frame };
            to.write_all(&frames)?;
        }
    }
}
