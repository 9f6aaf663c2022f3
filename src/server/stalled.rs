//! The watch over peers that take nothing: one pass now and then over a shard's sockets, no timer a connection.
//!
//! Two limits. A peer that acknowledges nothing is gone, and the kernel ends it (`TCP_USER_TIMEOUT`). A peer that
//! acknowledges but has closed its window lives and may come back; the kernel would end it just the same, so its
//! limit is lifted, and our own, longer one counts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use slab::Slab;
use socket2::SockRef;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Settings;
use super::socket::Progress;

/// A shard's sockets.
pub(super) struct Watch {
    sockets: Arc<Sockets>,
    table: Arc<Table>,
}

struct Sockets {
    began: Instant,
    all: Mutex<Slab<Weak<Progress>>>,
}

/// A socket's entry; dropping it leaves.
pub(super) struct Watched {
    sockets: Arc<Sockets>,
    key: usize,
}

impl Sockets {
    fn all(&self) -> MutexGuard<'_, Slab<Weak<Progress>>> {
        self.all.lock().expect("nothing panics under this lock")
    }

    /// Milliseconds of the watch's clock; never 0, which means "not blocked".
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }
}

impl Watched {
    /// Nothing could be written.
    pub(super) fn blocked(&self, progress: &Progress) {
        if progress.blocked_since.load(Relaxed) == 0 {
            progress.blocked_since.store(self.sockets.now(), Relaxed);
        }
    }

    /// The peer was given up by the kernel. Said here once, and in another error to those above, who would say it too.
    pub(super) fn dead(&self, progress: &Progress, error: &io::Error) -> io::Error {
        let listener = progress.connection.listener();
        listener.dead_total.fetch_add(1, Relaxed);
        let peer = progress.peer;
        tracing::info!(
            "{peer} has acknowledged nothing for too long (dead): {error}; what it read of topics can go on by cursor"
        );
        io::ErrorKind::ConnectionAborted.into()
    }

    /// Something could be written again.
    pub(super) fn unblocked(&self, progress: &Progress) {
        progress.blocked_since.store(0, Relaxed);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.sockets.all().remove(self.key);
    }
}

impl Watch {
    /// Over no socket yet; `table` is shared by all shards.
    pub(super) fn new(table: Arc<Table>) -> Watch {
        let sockets = Sockets {
            began: Instant::now(),
            all: Mutex::default(),
        };
        Watch {
            sockets: Arc::new(sockets),
            table,
        }
    }

    /// Watches a socket for as long as its entry lives.
    pub(super) fn add(&self, progress: &Arc<Progress>) -> Watched {
        let key = self.sockets.all().insert(Arc::downgrade(progress));
        Watched {
            sockets: self.sockets.clone(),
            key,
        }
    }

    /// Looks at the sockets, for as long as the shard lives.
    pub(super) async fn run(&self, settings: &Settings) {
        const MOST: Duration = Duration::from_secs(30);
        let every = (settings.stall.min(settings.dead) / 4).min(MOST);
        let mut look = interval(every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.look(settings, every / 2).await;
        }
    }

    async fn look(&self, settings: &Settings, fresh: Duration) {
        if self.sockets.all().is_empty() {
            return;
        }
        let table = self.table.clone();
        // It is long where there are many connections.
        let Ok(queues) = tokio::task::spawn_blocking(move || table.queues(fresh)).await else {
            return;
        };
        let now = self.sockets.now();
        let sockets: Vec<Arc<Progress>> = {
            let all = self.sockets.all();
            all.iter().filter_map(|(_, weak)| weak.upgrade()).collect()
        };
        for socket in sockets {
            let queue = queues.get(&(socket.port, socket.peer));
            lift(&socket, queue.is_some_and(|q| q.closed), settings.dead);
            if socket.is_blocked() {
                self.look_at_blocked(&socket, queue, now, settings.stall);
            }
        }
    }

    /// Nothing more can be written, but what was may still be taken, little by little: the kernel asks for more only
    /// when there is room for much.
    fn look_at_blocked(&self, socket: &Progress, queue: Option<&Queue>, now: u64, stall: Duration) {
        let left = queue.map_or(0, |q| q.bytes);
        if socket.left.swap(left, Relaxed) != left {
            socket.blocked_since.store(now, Relaxed);
        } else if now.saturating_sub(socket.blocked_since.load(Relaxed)) >= stall.as_millis() as u64
        {
            close(socket, stall);
        }
    }
}

/// Ends a connection whose peer has taken no byte for too long. Its tasks see the end of both directions.
fn close(socket: &Progress, stall: Duration) {
    let reference = SockRef::from(&socket.stream);
    // What the peer does not take must not outlive the connection in the kernel.
    let _ = reference.set_linger(Some(Duration::ZERO));
    let _ = reference.shutdown(std::net::Shutdown::Both);
    socket
        .connection
        .listener()
        .stalled_total
        .fetch_add(1, Relaxed);
    socket.blocked_since.store(0, Relaxed);
    let peer = socket.peer;
    tracing::info!(
        "{peer} has taken no byte for {stall:?} (stall): closed; what it read of topics can go on by cursor"
    );
}

/// Lifts the kernel's limit for a peer whose window is closed but who answers, and restores it for any other. It need
/// not be blocked: what is left may be in the kernel alone.
fn lift(socket: &Progress, lives: bool, dead: Duration) {
    if socket.lifted.swap(lives, Relaxed) != lives {
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&socket.stream).set_tcp_user_timeout((!lives).then_some(dead));
    }
}

/// What the kernel holds for a peer.
#[derive(Debug, PartialEq)]
struct Queue {
    /// Bytes that the peer has not acknowledged.
    bytes: u64,
    /// Whether its window is closed, and it answers the probes.
    closed: bool,
}

/// By our port and the peer's address.
type Queues = HashMap<(u16, SocketAddr), Queue>;

/// What the kernel's table said last, for all shards, since to read it takes a while.
#[derive(Default)]
pub(super) struct Table(Mutex<Option<(Instant, Arc<Queues>)>>);

impl Table {
    /// The queues as they were no longer ago than `fresh`.
    fn queues(&self, fresh: Duration) -> Arc<Queues> {
        let mut last = self.0.lock().expect("nothing panics under this lock");
        match &*last {
            Some((read, queues)) if read.elapsed() < fresh => queues.clone(),
            _ => {
                let queues = Arc::new(read_queues());
                *last = Some((Instant::now(), queues.clone()));
                queues
            }
        }
    }
}

fn read_queues() -> Queues {
    let mut queues = HashMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        if let Ok(table) = File::open(table) {
            let lines = BufReader::new(table).lines().map_while(Result::ok);
            queues.extend(lines.filter_map(|line| row(&line)));
        }
    }
    queues
}

/// A line of the kernel's table (proc(5), `/proc/net/tcp`) with something in its queue: timer 4 is the zero-window
/// probe, the field after the uid counts unanswered ones.
fn row(line: &str) -> Option<((u16, SocketAddr), Queue)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, peer, _, queued, timer) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let bytes = u64::from_str_radix(queued.split_once(':')?.0, 16).ok()?;
    if bytes == 0 {
        return None;
    }
    let unanswered: u32 = fields.nth(2)?.parse().ok()?;
    // One probe may be on its way.
    let closed = timer.starts_with("04:") && unanswered <= 2;
    Some((
        (address(local)?.port(), address(peer)?),
        Queue { bytes, closed },
    ))
}

/// `0100007F:1F90`: the address as 32-bit words in host order, the port in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |i: usize| {
        u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16)
            .ok()
            .map(u32::to_ne_bytes)
    };
    let ip: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => {
            let mut bytes = [0; 16];
            for i in 0..4 {
                bytes[i * 4..i * 4 + 4].copy_from_slice(&word(i)?);
            }
            bytes.into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn rows_of_the_kernel() {
        let row = |queues, timer, unanswered| {
            row(&format!(
                "  7: 0100007F:1F90 0100007F:D431 01 {queues} {timer} 00000000     0        {unanswered} 41 2 0 20 4 0 10 -1"
            ))
            .map(|((port, peer), queue)| (port, peer.port(), queue.bytes, queue.closed))
        };
        assert_eq!(row("00000000:00000000", "00:00000000", 0), None);
        assert_eq!(
            row("0000ABCD:00000000", "01:00000014", 0),
            Some((8080, 54321, 0xabcd, false))
        );
        assert_eq!(
            row("00000001:00000000", "04:00000014", 1),
            Some((8080, 54321, 1, true))
        );
        assert_eq!(
            row("00000001:00000000", "04:00000014", 3),
            Some((8080, 54321, 1, false))
        );
        assert_eq!(
            super::row("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_of_the_kernel() {
        let table = [
            ("0100007F:1F90", Some("127.0.0.1:8080")),
            ("00000000000000000000000001000000:01BB", Some("[::1]:443")),
            ("0100007F", None),
            ("zz", None),
        ];
        for (text, want) in table {
            assert_eq!(
                address(text).map(|a| a.to_string()).as_deref(),
                want,
                "{text}"
            );
        }
    }
}
