//! Who watches a collection, or reads a topic: SSE on HTTP/2, many streams on each connection and a thread for it. They do as little as
//! can be, since they have the processors of who is measured; see `triwire::load::frame` for what they know of HTTP/2.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::sleep;
use triwire::client::Place;
use triwire::load::Result;
use triwire::load::clock::{self, SECOND};
use triwire::load::frame::{self, Frame};
use triwire::load::histogram::Histogram;
use triwire::load::partial::Partial;

/// Taken from a socket at once.
const BUFFER: usize = 256 << 10;

/// How long nothing may come while something is missing, in nanoseconds.
const LOST: u64 = 5 * SECOND;

/// How many there are.
pub struct Size {
    connections: usize,
    /// On each of them.
    pub streams: usize,
}

impl Size {
    pub fn new(connections: usize, streams: usize) -> Size {
        Size {
            connections,
            streams,
        }
    }

    /// All together.
    pub fn watchers(&self) -> usize {
        self.connections * self.streams
    }
}

/// What they have seen.
#[derive(Default)]
pub struct Seen {
    /// From when it was sent to each, of those that are measured.
    pub arrivals: Histogram,
    pub doubled: u64,
    pub reordered: u64,
}

struct Shared {
    /// When each document was sent.
    sent: Vec<AtomicU64>,
    /// The first that is measured.
    measured: usize,
    ready: AtomicUsize,
    arrived: AtomicUsize,
    seen: Mutex<Seen>,
}

/// Watchers, until they are closed.
pub struct Watchers {
    shared: Arc<Shared>,
    all: Vec<(TcpStream, JoinHandle<Result<()>>)>,
}

impl Watchers {
    /// Opens them all, for so many documents that are numbered by a member `n`.
    pub fn open(
        place: &Place,
        path: &str,
        size: &Size,
        writes: usize,
        measured: usize,
    ) -> Result<Watchers> {
        let shared = Arc::new(Shared {
            sent: (0..writes).map(|_| AtomicU64::new(0)).collect(),
            measured,
            ready: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        let mut all = Vec::new();
        for _ in 0..size.connections {
            let mut socket = TcpStream::connect(place.authority())?;
            socket.set_nodelay(true)?;
            socket.write_all(&hello(place.authority(), path, size.streams))?;
            let (ours, shared) = (socket.try_clone()?, shared.clone());
            let streams = (0..size.streams).map(|_| Stream::new(writes)).collect();
            let read = thread::spawn(move || read(socket, streams, &shared));
            all.push((ours, read));
        }
        Ok(Watchers { shared, all })
    }

    /// Notes that this one is sent now.
    pub fn sent(&self, n: usize) -> u64 {
        let now = clock::now();
        self.shared.sent[n].store(now, Ordering::Relaxed);
        now
    }

    /// How many have been told that they miss nothing from now on.
    pub fn ready(&self) -> usize {
        self.shared.ready.load(Ordering::Relaxed)
    }

    /// Documents that have come, each counted once for each watcher.
    pub fn arrived(&self) -> usize {
        self.shared.arrived.load(Ordering::Relaxed)
    }

    /// Waits until there are so many, for as long as there are more and more.
    pub async fn until(
        &self,
        what: &str,
        all: usize,
        count: impl Fn(&Watchers) -> usize,
    ) -> Result<()> {
        let (mut last, mut at) = (0, clock::now());
        loop {
            let now = count(self);
            if now >= all {
                return Ok(());
            }
            if now > last {
                (last, at) = (now, clock::now());
            }
            if clock::now() - at > LOST {
                return Err(format!("only {now} of {all} are {what}").into());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes all.
    pub fn close(self) -> Result<Seen> {
        for (socket, read) in self.all {
            // It is over already where the server has closed it, which is an error of the reader's.
            let _ = socket.shutdown(Shutdown::Read);
            read.join().map_err(|_| "a reader has panicked")??;
        }
        let mut seen = self.shared.seen.lock().expect("nobody panics");
        Ok(std::mem::take(&mut *seen))
    }
}

/// The start of a connection: windows that no run uses up, and a request for each stream.
fn hello(authority: &str, path: &str, streams: usize) -> Vec<u8> {
    let mut out = frame::PREFACE.to_vec();
    let mut settings = frame::INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    settings.extend_from_slice(&frame::LARGEST_WINDOW.to_be_bytes());
    frame::write(&mut out, frame::SETTINGS, 0, 0, &settings);
    let more = frame::LARGEST_WINDOW - frame::DEFAULT_WINDOW;
    frame::write(&mut out, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
    // HPACK (RFC 7541): GET and http of the static table, then literals under :authority and :path of it.
    let mut request = vec![0x82, 0x86];
    for (name, value) in [(1, authority), (4, path)] {
        request.extend_from_slice(&[name, value.len() as u8]);
        request.extend_from_slice(value.as_bytes());
    }
    let flags = frame::END_HEADERS | frame::END_STREAM;
    for stream in 0..streams as u32 {
        frame::write(&mut out, frame::HEADERS, flags, stream * 2 + 1, &request);
    }
    out
}

struct Stream {
    partial: Partial,
    /// Which documents have come.
    had: Vec<bool>,
    /// The last event's id.
    last: (u64, u64),
}

impl Stream {
    fn new(writes: usize) -> Stream {
        Stream {
            partial: Partial::default(),
            had: vec![false; writes],
            last: (0, 0),
        }
    }
}

/// Reads until this side closes.
fn read(mut socket: TcpStream, mut streams: Vec<Stream>, shared: &Shared) -> Result<()> {
    let mut partial = Partial::default();
    let mut buffer = vec![0; BUFFER];
    let mut answer = Vec::new();
    loop {
        let length = socket.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let now = clock::now();
        let mut seen = shared.seen.lock().expect("nobody panics");
        partial.feed(&buffer[..length], |bytes| {
            let Some((frame, used)) = frame::parse(bytes) else {
                return Ok(0);
            };
            take(&frame, &mut streams, &mut answer, |stream, block| {
                block_of(stream, block, shared, &mut seen, now)
            })?;
            Ok(used)
        })?;
        drop(seen);
        if !answer.is_empty() {
            socket.write_all(&answer)?;
            answer.clear();
        }
    }
}

fn take(
    frame: &Frame,
    streams: &mut [Stream],
    answer: &mut Vec<u8>,
    mut each: impl FnMut(&mut Stream, &[u8]) -> Result<()>,
) -> Result<()> {
    match frame.kind {
        frame::DATA => {
            let stream = streams.get_mut(frame.stream as usize / 2);
            let stream = stream.ok_or("a stream that nobody opened")?;
            let mut partial = std::mem::take(&mut stream.partial);
            partial.feed(frame.payload, |bytes| {
                let Some(end) = bytes.windows(2).position(|two| two == b"\n\n") else {
                    return Ok(0);
                };
                each(stream, &bytes[..end])?;
                Ok(end + 2)
            })?;
            stream.partial = partial;
        }
        frame::HEADERS if frame.payload.first() != Some(&frame::STATUS_200) => {
            return Err("a watch is refused".into());
        }
        frame::SETTINGS | frame::PING if frame.flags & frame::ACK == 0 => {
            let said = match frame.kind {
                frame::PING => frame.payload,
                _ => &[],
            };
            frame::write(answer, frame.kind, frame::ACK, 0, said);
        }
        frame::GOAWAY | frame::RST_STREAM => return Err("the server has ended a watch".into()),
        _ => {}
    }
    Ok(())
}

/// A block of SSE.
fn block_of(
    stream: &mut Stream,
    block: &[u8],
    shared: &Shared,
    seen: &mut Seen,
    now: u64,
) -> Result<()> {
    let block = std::str::from_utf8(block)?;
    let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    match line("event: ") {
        Some("ready") => {
            shared.ready.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // A comment.
        None if line("data: ").is_none() => return Ok(()),
        Some("ADDED") | None => {}
        Some(other) => return Err(format!("an event {other}: {block}").into()),
    }
    let id = line("id: ").and_then(|id| id.split_once('-'));
    let (ms, place) = id.ok_or("an event without an id")?;
    let id = (ms.parse()?, place.parse()?);
    let n = line("data: ").and_then(number).ok_or("no number")?;
    let sent = shared.sent.get(n).ok_or("a number that nobody sent")?;
    if std::mem::replace(&mut stream.had[n], true) {
        seen.doubled += 1;
        return Ok(());
    }
    seen.reordered += u64::from(id <= stream.last);
    stream.last = id;
    shared.arrived.fetch_add(1, Ordering::Relaxed);
    if n >= shared.measured {
        let sent = sent.load(Ordering::Relaxed);
        seen.arrivals.record(now.saturating_sub(sent));
    }
    Ok(())
}

/// Which document it is.
fn number(data: &str) -> Option<usize> {
    let (_, rest) = data.split_once(r#""n":"#)?;
    rest.split([',', '}']).next()?.parse().ok()
}
