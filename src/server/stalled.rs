//! The watch over peers that take nothing: one pass now and then over a shard's sockets, no timer a connection.
//!
//! Two limits. A peer that acknowledges nothing is gone, and the kernel ends it (`TCP_USER_TIMEOUT`). A peer that
//! acknowledges but has closed its window lives and may come back; the kernel would end it just the same, so its
//! limit is lifted, and our own, longer one counts.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use slab::Slab;
use socket2::SockRef;
use tokio::time::Instant;

use super::Settings;
use super::socket::Progress;

/// A shard's sockets.
pub(super) struct Watch {
    sockets: Arc<Sockets>,
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

impl Default for Watch {
    fn default() -> Watch {
        Watch {
            sockets: Arc::new(Sockets {
                began: Instant::now(),
                all: Mutex::default(),
            }),
        }
    }
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
        let every = (settings.stall.min(settings.dead) / 8)
            .clamp(Duration::from_millis(50), Duration::from_secs(5));
        let mut pass = tokio::time::interval(every);
        pass.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pass.tick().await;
            self.pass(settings);
        }
    }

    fn pass(&self, settings: &Settings) {
        let now = self.sockets.now();
        let blocked_for = |p: &Progress| match p.blocked_since.load(Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(now.saturating_sub(since)),
        };
        let progress = |weak: &Weak<Progress>| weak.upgrade();
        let sockets: Vec<Arc<Progress>> = self
            .sockets
            .all()
            .iter()
            .filter_map(|(_, w)| progress(w))
            .collect();
        let mut doubtful = Vec::new();
        for socket in sockets {
            let blocked = blocked_for(&socket);
            if blocked >= settings.stall {
                close(&socket, settings.stall);
            } else if blocked >= settings.dead / 2 {
                doubtful.push(socket);
            } else if blocked.is_zero() && socket.lifted.swap(false, Relaxed) {
                limit(&socket, Some(settings.dead));
            }
        }
        if !doubtful.is_empty() {
            lift(&doubtful, settings.dead);
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
    let peer = socket
        .stream
        .peer_addr()
        .map_or_else(|_| "a peer".to_owned(), |a| a.to_string());
    tracing::info!(
        "{peer} has taken no byte for {stall:?} (stall): closed; it can resume by cursor"
    );
}

fn limit(socket: &Progress, timeout: Option<Duration>) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&socket.stream).set_tcp_user_timeout(timeout);
}

/// Lifts the kernel's limit for those whose window is closed but who answer, and restores it for the others.
fn lift(sockets: &[Arc<Progress>], dead: Duration) {
    let alive = closed_windows();
    for socket in sockets {
        let pair = (
            socket.stream.local_addr().ok(),
            socket.stream.peer_addr().ok(),
        );
        let (Some(local), Some(peer)) = pair else {
            continue;
        };
        let lives = alive.get(&(local.port(), peer)).copied().unwrap_or(false);
        if socket.lifted.swap(lives, Relaxed) != lives {
            limit(socket, if lives { None } else { Some(dead) });
        }
    }
}

/// The connections whose peer's window is closed, by our port and the peer's address: whether it answers the
/// probes. From the kernel's own table (proc(5), `/proc/net/tcp`): timer 4 is the zero-window probe, the field
/// after the uid counts unanswered ones.
fn closed_windows() -> HashMap<(u16, SocketAddr), bool> {
    let mut found = HashMap::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(table) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [_, local, peer, _, _, timer, _, _, unanswered, ..] = fields[..] else {
                continue;
            };
            if !timer.starts_with("04:") {
                continue;
            }
            if let (Some(local), Some(peer)) = (address(local), address(peer)) {
                // One probe may be on its way.
                let answers = unanswered.parse::<u32>().is_ok_and(|n| n <= 2);
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
