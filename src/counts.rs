//! Who is connected, by wire and by listener: a seat counts one stream, and its connection, while it lives.
//!
//! Every shard counts for itself, so that two cores never fight over a counter; reading sums the shards.

pub mod bridges;

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Value, json};

/// A framing on an HTTP version: what streams are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireName {
    /// Server-Sent Events on HTTP/1.1.
    SseHttp1,
    /// Server-Sent Events on HTTP/2.
    SseHttp2,
    /// WebSocket on HTTP/1.1 (RFC 6455).
    WebSocket,
    /// WebSocket on HTTP/2 (RFC 8441).
    WebSocketHttp2,
    /// Long polling, on either version.
    LongPoll,
    /// Socket.IO, on either version.
    SocketIo,
}

impl WireName {
    /// All of them, in the order in which they are shown.
    pub const ALL: [WireName; 6] = [
        WireName::SseHttp1,
        WireName::SseHttp2,
        WireName::WebSocket,
        WireName::WebSocketHttp2,
        WireName::LongPoll,
        WireName::SocketIo,
    ];

    /// The name in `/stats` and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            WireName::SseHttp1 => "sse_http1",
            WireName::SseHttp2 => "sse_http2",
            WireName::WebSocket => "websocket",
            WireName::WebSocketHttp2 => "websocket_http2",
            WireName::LongPoll => "long_poll",
            WireName::SocketIo => "socket_io",
        }
    }
}

/// What `/stats` says of one wire; see [`Counts::wires`].
#[derive(Debug, Default)]
pub struct WireCounts {
    /// Distinct connections that carry at least one stream of this wire now.
    pub connections: AtomicU64,
    /// Live readers now.
    pub streams: AtomicU64,
    /// Connections that ever carried one.
    pub connections_total: AtomicU64,
    /// Readers that ever were.
    pub streams_total: AtomicU64,
    /// Events handed to readers.
    pub events_sent: AtomicU64,
    /// Bytes of framing handed to readers, before HTTP and TLS.
    pub bytes_sent: AtomicU64,
    /// Gap notices handed to readers.
    pub gaps: AtomicU64,
}

impl WireCounts {
    /// Name and value of each count, in the order in which they are shown.
    pub fn rows(&self) -> [(&'static str, u64); 7] {
        [
            ("connections", &self.connections),
            ("streams", &self.streams),
            ("connections_total", &self.connections_total),
            ("streams_total", &self.streams_total),
            ("events_sent", &self.events_sent),
            ("bytes_sent", &self.bytes_sent),
            ("gaps", &self.gaps),
        ]
        .map(|(name, count)| (name, count.load(Relaxed)))
    }

    fn add(&self, other: &WireCounts) {
        let pairs = [
            (&self.connections, &other.connections),
            (&self.streams, &other.streams),
            (&self.connections_total, &other.connections_total),
            (&self.streams_total, &other.streams_total),
            (&self.events_sent, &other.events_sent),
            (&self.bytes_sent, &other.bytes_sent),
            (&self.gaps, &other.gaps),
        ];
        for (sum, part) in pairs {
            sum.fetch_add(part.load(Relaxed), Relaxed);
        }
    }
}

/// What `/stats` says of one listener.
#[derive(Debug, Default)]
pub struct ListenerCounts {
    /// TCP connections now.
    pub connections: AtomicU64,
    /// TCP connections accepted.
    pub connections_total: AtomicU64,
    /// Bytes read from sockets, TLS included.
    pub bytes_in: AtomicU64,
    /// Bytes written to sockets, TLS included.
    pub bytes_out: AtomicU64,
    /// Connections closed because the peer took no byte for too long.
    pub stalled_total: AtomicU64,
    /// Connections closed because the peer acknowledged nothing for too long.
    pub dead_total: AtomicU64,
}

impl ListenerCounts {
    /// Name and value of each count, in the order in which they are shown.
    pub fn rows(&self) -> [(&'static str, u64); 6] {
        [
            ("connections", &self.connections),
            ("connections_total", &self.connections_total),
            ("bytes_in", &self.bytes_in),
            ("bytes_out", &self.bytes_out),
            ("stalled_total", &self.stalled_total),
            ("dead_total", &self.dead_total),
        ]
        .map(|(name, count)| (name, count.load(Relaxed)))
    }

    fn add(&self, other: &ListenerCounts) {
        let pairs = [
            (&self.connections, &other.connections),
            (&self.connections_total, &other.connections_total),
            (&self.bytes_in, &other.bytes_in),
            (&self.bytes_out, &other.bytes_out),
            (&self.stalled_total, &other.stalled_total),
            (&self.dead_total, &other.dead_total),
        ];
        for (sum, part) in pairs {
            sum.fetch_add(part.load(Relaxed), Relaxed);
        }
    }
}

/// What a listener is, beside its counts.
#[derive(Clone, Debug)]
pub struct ListenerFacts {
    /// Its name: `http1`, `h2c`, …
    pub name: &'static str,
    /// Where it is bound (the first address, when it is bound to both loopbacks).
    pub addr: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// `"1.1"` or `"2"`.
    pub http: &'static str,
}

/// One shard's counters, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    wires: [WireCounts; 6],
    listeners: Box<[ListenerCounts]>,
}

/// All counters of a server.
#[derive(Debug)]
pub struct Counts {
    shards: Box<[Shard]>,
    listeners: Vec<ListenerFacts>,
}

impl Counts {
    /// Counters at nought.
    pub fn new(shards: usize, listeners: Vec<ListenerFacts>) -> Arc<Counts> {
        let shard = || Shard {
            wires: array::from_fn(|_| WireCounts::default()),
            listeners: listeners
                .iter()
                .map(|_| ListenerCounts::default())
                .collect(),
        };
        Arc::new(Counts {
            shards: (0..shards).map(|_| shard()).collect(),
            listeners,
        })
    }

    fn listener(&self, shard: u32, listener: u32) -> &ListenerCounts {
        &self.shards[shard as usize].listeners[listener as usize]
    }

    fn wire(&self, shard: u32, wire: WireName) -> &WireCounts {
        &self.shards[shard as usize].wires[wire as usize]
    }

    /// Every wire with the sum of its counts.
    pub fn wires(&self) -> impl Iterator<Item = (WireName, WireCounts)> {
        WireName::ALL.into_iter().map(|wire| {
            let sum = WireCounts::default();
            self.shards
                .iter()
                .for_each(|s| sum.add(&s.wires[wire as usize]));
            (wire, sum)
        })
    }

    /// Every listener with the sum of its counts.
    pub fn listeners(&self) -> impl Iterator<Item = (&ListenerFacts, ListenerCounts)> {
        self.listeners.iter().enumerate().map(|(i, facts)| {
            let sum = ListenerCounts::default();
            self.shards.iter().for_each(|s| sum.add(&s.listeners[i]));
            (facts, sum)
        })
    }

    /// The members `wires` and `listeners` of the stats object.
    pub fn json(&self) -> (Value, Value) {
        let object = |rows: &[(&str, u64)]| -> serde_json::Map<String, Value> {
            rows.iter()
                .map(|(k, v)| ((*k).to_owned(), json!(v)))
                .collect()
        };
        let wires = self
            .wires()
            .map(|(wire, counts)| (wire.as_str().to_owned(), object(&counts.rows()).into()))
            .collect::<serde_json::Map<_, Value>>();
        let listeners = self
            .listeners()
            .map(|(facts, counts)| {
                let mut row = object(&counts.rows());
                row.insert("addr".into(), json!(facts.addr));
                row.insert("tls".into(), json!(facts.tls));
                row.insert("http".into(), json!(facts.http));
                (facts.name.to_owned(), row.into())
            })
            .collect::<serde_json::Map<_, Value>>();
        (wires.into(), listeners.into())
    }
}

/// What can end a connection from outside.
pub trait Cut: Send + Sync {
    /// Closes it without a goodbye.
    fn cut(&self);
}

/// One TCP connection, counted on its listener while it lives.
pub struct Connection {
    counts: Arc<Counts>,
    shard: u32,
    listener: u32,
    socket: OnceLock<Weak<dyn Cut>>,
    streams: [AtomicU32; 6],
    ever: AtomicU8,
}

impl Connection {
    /// Counts a connection of the listener with this index on a shard.
    pub fn new(counts: Arc<Counts>, shard: usize, listener: usize) -> Arc<Connection> {
        let connection = Connection {
            counts,
            shard: shard as u32,
            listener: listener as u32,
            socket: OnceLock::new(),
            streams: array::from_fn(|_| AtomicU32::new(0)),
            ever: AtomicU8::new(0),
        };
        let count = connection.listener();
        count.connections.fetch_add(1, Relaxed);
        count.connections_total.fetch_add(1, Relaxed);
        Arc::new(connection)
    }

    /// Its listener's counts on its shard.
    pub fn listener(&self) -> &ListenerCounts {
        self.counts.listener(self.shard, self.listener)
    }

    /// Says what it is cut by.
    pub fn runs_on(&self, socket: Weak<dyn Cut>) {
        let _ = self.socket.set(socket);
    }

    /// Closes it without a goodbye, as a network would.
    pub fn cut(&self) {
        if let Some(socket) = self.socket.get().and_then(Weak::upgrade) {
            socket.cut();
        }
    }

    /// What counts its bytes.
    pub fn meter(&self) -> Meter {
        Meter {
            counts: self.counts.clone(),
            shard: self.shard,
            listener: self.listener,
        }
    }
}

/// Counts the bytes of a connection without a look at it: each delivery has this at hand, and would have to fetch that.
#[derive(Debug)]
pub struct Meter {
    counts: Arc<Counts>,
    shard: u32,
    listener: u32,
}

impl Meter {
    /// The listener's counts on the connection's shard.
    pub fn listener(&self) -> &ListenerCounts {
        self.counts.listener(self.shard, self.listener)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listener().connections.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection {
            shard, listener, ..
        } = self;
        write!(f, "Connection({listener} on shard {shard})")
    }
}

impl Connection {
    fn wire(&self, wire: WireName) -> &WireCounts {
        self.counts.wire(self.shard, wire)
    }

    /// Counts one stream more that it carries.
    fn board(&self, wire: WireName) {
        let counts = self.wire(wire);
        if self.streams[wire as usize].fetch_add(1, Relaxed) == 0 {
            counts.connections.fetch_add(1, Relaxed);
        }
        let bit = 1 << wire as u8;
        if self.ever.fetch_or(bit, Relaxed) & bit == 0 {
            counts.connections_total.fetch_add(1, Relaxed);
        }
    }

    fn leave(&self, wire: WireName) {
        if self.streams[wire as usize].fetch_sub(1, Relaxed) == 1 {
            self.wire(wire).connections.fetch_sub(1, Relaxed);
        }
    }
}

/// One stream. Dropping it counts down, so no wire can forget to.
#[derive(Debug)]
pub struct Seat {
    /// What carries it to its end; `None` for a stream that others take along, each for a while: see [`Ride`].
    connection: Option<Arc<Connection>>,
    /// The connection's, at hand for each delivery.
    counts: Arc<Counts>,
    shard: u32,
    wire: WireName,
    /// Whether the stream is counted by this seat.
    is_own: bool,
}

impl Seat {
    /// Takes a seat on a connection.
    pub fn new(connection: Arc<Connection>, wire: WireName) -> Seat {
        connection.board(wire);
        let mut seat = Seat::apart(&connection, wire);
        seat.connection = Some(connection);
        seat
    }

    /// Counts a stream that begins on this connection, and may outlive it.
    pub fn apart(connection: &Connection, wire: WireName) -> Seat {
        let counts = connection.wire(wire);
        counts.streams.fetch_add(1, Relaxed);
        counts.streams_total.fetch_add(1, Relaxed);
        Seat {
            connection: None,
            counts: connection.counts.clone(),
            shard: connection.shard,
            wire,
            is_own: true,
        }
    }

    /// Counts what another reader of the same stream is sent.
    pub fn beside(&self) -> Seat {
        Seat {
            connection: None,
            counts: self.counts.clone(),
            is_own: false,
            ..*self
        }
    }

    fn counts(&self) -> &WireCounts {
        self.counts.wire(self.shard, self.wire)
    }

    /// Counts bytes of framing.
    pub fn sent(&self, bytes: usize) {
        self.counts().bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts events.
    pub fn events(&self, events: u64) {
        self.counts().events_sent.fetch_add(events, Relaxed);
    }

    /// Counts a gap notice.
    pub fn gap(&self) {
        self.counts().gaps.fetch_add(1, Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_own {
            self.counts().streams.fetch_sub(1, Relaxed);
        }
        if let Some(connection) = &self.connection {
            connection.leave(self.wire);
        }
    }
}

/// The while for which a connection carries a stream that has a [`Seat::apart`].
#[derive(Debug)]
pub struct Ride {
    connection: Arc<Connection>,
    wire: WireName,
}

impl Ride {
    /// Begins it.
    pub fn new(connection: Arc<Connection>, wire: WireName) -> Ride {
        connection.board(wire);
        Ride { connection, wire }
    }

    /// Counts bytes of framing.
    pub fn sent(&self, bytes: usize) {
        let counts = self.connection.wire(self.wire);
        counts.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        self.connection.leave(self.wire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Arc<Counts> {
        let facts = ListenerFacts {
            name: "http2",
            addr: "127.0.0.1:1".into(),
            tls: true,
            http: "2",
        };
        Counts::new(2, vec![facts])
    }

    fn row(counts: &Counts, wire: WireName) -> [u64; 4] {
        let (_, sum) = counts
            .wires()
            .nth(wire as usize)
            .expect("all wires are there");
        let rows = sum.rows();
        [rows[0].1, rows[1].1, rows[2].1, rows[3].1]
    }

    #[test]
    fn a_connection_counts_once_a_wire() {
        let counts = counts();
        let one = Connection::new(counts.clone(), 0, 0);
        let two = Connection::new(counts.clone(), 1, 0);
        let mut seats: Vec<Seat> = (0..10)
            .map(|_| Seat::new(one.clone(), WireName::SseHttp2))
            .collect();
        seats.push(Seat::new(two.clone(), WireName::SseHttp2));
        let other = Seat::new(one.clone(), WireName::LongPoll);
        assert_eq!(row(&counts, WireName::SseHttp2), [2, 11, 2, 11]);
        assert_eq!(row(&counts, WireName::LongPoll), [1, 1, 1, 1]);
        drop(seats);
        drop(Seat::new(one.clone(), WireName::SseHttp2));
        drop(other);
        assert_eq!(row(&counts, WireName::SseHttp2), [0, 0, 2, 12]);
        drop((one, two));
        let (_, listener) = counts.listeners().next().expect("one listener");
        assert_eq!(listener.rows()[0].1, 0);
        assert_eq!(listener.rows()[1].1, 2);
    }

    #[test]
    fn a_stream_apart_is_one_whatever_carries_it() {
        let counts = counts();
        let [one, two] = [0, 1].map(|shard| Connection::new(counts.clone(), shard, 0));
        let seat = Seat::apart(&one, WireName::SocketIo);
        assert_eq!(row(&counts, WireName::SocketIo), [0, 1, 0, 1]);
        let first = Ride::new(one.clone(), WireName::SocketIo);
        let second = Ride::new(two, WireName::SocketIo);
        assert_eq!(row(&counts, WireName::SocketIo), [2, 1, 2, 1]);
        drop((first, seat.beside()));
        drop(Ride::new(one, WireName::SocketIo));
        assert_eq!(row(&counts, WireName::SocketIo), [1, 1, 2, 1]);
        drop((seat, second));
        assert_eq!(row(&counts, WireName::SocketIo), [0, 0, 2, 1]);
    }
}
