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
    windows: Arc<Windows>,
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
            "{peer} has acknowledged nothing for too long (dead): {error}; it can resume by cursor"
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
    /// Over no socket yet; `windows` is shared by all shards.
    pub(super) fn new(windows: Arc<Windows>) -> Watch {
        let sockets = Sockets {
            began: Instant::now(),
            all: Mutex::default(),
        };
        Watch {
            sockets: Arc::new(sockets),
            windows,
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
        let stall = (settings.stall / 8).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let dead = (settings.dead / 4).min(Duration::from_secs(30));
        let (mut stalled, mut closed) = (interval(stall), interval(dead));
        stalled.set_missed_tick_behavior(MissedTickBehavior::Delay);
        closed.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stalled.tick() => self.end_stalled(settings.stall),
                _ = closed.tick() => self.lift_limits(settings.dead, dead / 2).await,
            }
        }
    }

    fn sockets(&self) -> Vec<Arc<Progress>> {
        let all = self.sockets.all();
        all.iter().filter_map(|(_, weak)| weak.upgrade()).collect()
    }

    fn end_stalled(&self, stall: Duration) {
        let now = self.sockets.now();
        for socket in self.sockets() {
            let since = socket.blocked_since.load(Relaxed);
            if since != 0 && Duration::from_millis(now.saturating_sub(since)) >= stall {
                close(&socket, stall);
            }
        }
    }

    /// Lifts the kernel's limit for those whose window is closed but who answer, and restores it for the others.
    /// They need not be blocked: what is left may be in the kernel alone.
    async fn lift_limits(&self, dead: Duration, fresh: Duration) {
        if self.sockets.all().is_empty() {
            return;
        }
        let windows = self.windows.clone();
        // The table is long where there are many connections.
        let Ok(closed) = tokio::task::spawn_blocking(move || windows.closed(fresh)).await else {
            return;
        };
        for socket in self.sockets() {
            let lives = closed.get(&(socket.port, socket.peer)).copied();
            let lives = lives.unwrap_or(false);
            if socket.lifted.swap(lives, Relaxed) != lives {
                limit(&socket, if lives { None } else { Some(dead) });
            }
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
        "{peer} has taken no byte for {stall:?} (stall): closed; it can resume by cursor"
    );
}

fn limit(socket: &Progress, timeout: Option<Duration>) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&socket.stream).set_tcp_user_timeout(timeout);
}

/// The connections whose peer's window is closed, by our port and the peer's address: whether it answers the probes.
type Closed = HashMap<(u16, SocketAddr), bool>;

/// What the kernel's table said last, for all shards, since to read it takes a while.
#[derive(Default)]
pub(super) struct Windows(Mutex<Option<(Instant, Arc<Closed>)>>);

impl Windows {
    /// The closed windows, as they were no longer ago than `fresh`.
    fn closed(&self, fresh: Duration) -> Arc<Closed> {
        let mut last = self.0.lock().expect("nothing panics under this lock");
        match &*last {
            Some((read, closed)) if read.elapsed() < fresh => closed.clone(),
            _ => {
                let closed = Arc::new(closed_windows());
                *last = Some((Instant::now(), closed.clone()));
                closed
            }
        }
    }
}

/// From the kernel's own table (proc(5), `/proc/net/tcp`): timer 4 is the zero-window probe, the field after the uid
/// counts unanswered ones.
fn closed_windows() -> Closed {
    let mut found = HashMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(table) = File::open(table) else {
            continue;
        };
        for line in BufReader::new(table).lines().map_while(Result::ok) {
            let mut fields = line.split_ascii_whitespace();
            let (Some(local), Some(peer)) = (fields.nth(1), fields.next()) else {
                continue;
            };
            if !fields.nth(2).is_some_and(|timer| timer.starts_with("04:")) {
                continue;
            }
            // One probe may be on its way.
            let answers = fields
                .nth(2)
                .and_then(|n| n.parse::<u32>().ok())
                .is_some_and(|n| n <= 2);
            if let (Some(local), Some(peer)) = (address(local), address(peer)) {
                found.insert((local.port(), peer), answers);
            }
        }
    }
    found
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
