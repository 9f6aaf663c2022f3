//! The bare loop: a process that does nothing but write the same encoded bytes to N sockets, in one thread.
//! It is the practical limit that triwire is measured against: no log, no topics, no limits, no heartbeat.
//!
//! Events pass a peer by once it leaves too much unsent; it is not told.

mod encode;
mod http2;
mod log;
mod peer;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio_rustls::rustls::ServerConfig;

use self::http2::DataFrames;
use self::log::{Bytes, Log};
use self::peer::Peer;
use crate::Result;
use crate::tls;
use triwire::client::TRANSPORTS;
use triwire::load::socket::{self, Buffers, Socket};

const EVENTS_A_TURN: usize = 1024;
/// Tokens from here on are listeners.
const LISTENERS: u64 = 1 << 32;

struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    http2: bool,
}

struct Bare {
    epoll: OwnedFd,
    listeners: Vec<Listener>,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    buffers: Buffers,
    log: Log,
    join: bool,
}

/// `LISTENER CERTS [--join]`: serves that listener beside `http1` until it is killed, or its parent has ended.
pub fn run(arguments: &[String]) -> Result<()> {
    let (name, certs, join) = match arguments {
        [name, certs] => (name, certs, false),
        [name, certs, flag] if flag == "--join" => (name, certs, true),
        _ => return Err("usage: bare LISTENER CERTS [--join]".into()),
    };
    // Nobody else would end it.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let mut bare = Bare::new(join)?;
    let mut addresses = serde_json::Map::new();
    let mut names = vec!["http1", name];
    names.dedup();
    for name in names {
        let mut transports = TRANSPORTS.iter();
        let transport = transports
            .find(|transport| transport.listener == name)
            .ok_or("no such listener")?;
        let listener = Listener {
            tcp: socket::listen()?,
            tls: (transport.tls == Some(true))
                .then(|| tls::server(Path::new(certs), transport))
                .transpose()?,
            http2: transport.is_http2(),
        };
        let address = listener.tcp.local_addr()?.to_string();
        addresses.insert(name.to_owned(), address.into());
        bare.listen(listener)?;
    }
    println!(
        "{}",
        serde_json::json!({"ready": true, "server": "bare", "listeners": addresses})
    );
    let mut events = Vec::with_capacity(EVENTS_A_TURN);
    loop {
        bare.turn(&mut events)?;
    }
}

impl Bare {
    fn new(join: bool) -> Result<Bare> {
        Ok(Bare {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listeners: Vec::new(),
            peers: Vec::new(),
            free: Vec::new(),
            buffers: Buffers::default(),
            log: Log::default(),
            join,
        })
    }

    fn listen(&mut self, listener: Listener) -> Result<()> {
        let token = EventData::new_u64(LISTENERS + self.listeners.len() as u64);
        epoll::add(&self.epoll, &listener.tcp, token, EventFlags::IN)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// One turn: take all that came, then write all that was published.
    fn turn(&mut self, events: &mut Vec<epoll::Event>) -> Result<()> {
        events.clear();
        epoll::wait(&self.epoll, spare_capacity(events), None)?;
        for event in events.iter() {
            let token = event.data.u64();
            if token >= LISTENERS {
                self.accept((token - LISTENERS) as usize)?;
            } else {
                self.serve(token as usize);
            }
        }
        for bytes in self.log.take_fresh(self.join) {
            self.write(&bytes);
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> Result<()> {
        let listener = &self.listeners[index];
        while let Some(mut socket) = Socket::accept(&listener.tcp, listener.tls.as_ref())? {
            let token = self.free.pop().unwrap_or(self.peers.len());
            socket.watch(&self.epoll, token as u64)?;
            if token == self.peers.len() {
                self.peers.push(None);
            }
            self.peers[token] = Some(Peer::new(socket, listener.http2));
        }
        Ok(())
    }

    fn serve(&mut self, token: usize) {
        if let Some(peer) = &mut self.peers[token] {
            let open = peer.serve(&mut self.buffers, &mut self.log);
            self.after(token, open);
        }
    }

    /// Writes these events to every reader at once.
    fn write(&mut self, bytes: &Bytes) {
        let mut data = DataFrames::default();
        for token in 0..self.peers.len() {
            if let Some(peer) = &mut self.peers[token] {
                let written = peer.write(bytes, &mut data);
                self.after(token, written.map(|()| true));
            }
        }
    }

    /// Drops a peer that has left; has the epoll wait for room in the socket of one that stays.
    fn after(&mut self, token: usize, open: Result<bool>) {
        let Some(peer) = &mut self.peers[token] else {
            return;
        };
        let stays = open.unwrap_or(false) && peer.socket.rewatch(&self.epoll, token as u64).is_ok();
        if !stays {
            self.peers[token] = None;
            self.free.push(token);
        }
    }
}
