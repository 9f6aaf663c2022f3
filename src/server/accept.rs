//! Accepting: every listener's sockets, in one place, whatever happens. Nothing that a peer or the kernel does
//! ends this loop or makes it spin.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::shard::{Arrival, Shards};
use super::{Listener, Speaks};
use crate::routes::Standing;

/// How long to wait after an error of `accept`: the descriptor table is full, and a little patience empties it.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long nothing more is said of that. While the table is nearly full, `accept` fails now and then.
const SAID: Duration = Duration::from_secs(60);

/// How many connections there may be. A place is left when the [`Place`] is dropped.
pub(super) struct Places {
    limit: usize,
    /// Those beyond the limit get one answer. Beyond these, nobody is let in.
    most: usize,
    /// Accepted before the drain, and since.
    open: [AtomicUsize; 2],
    draining: AtomicBool,
    left: Notify,
}

/// One connection's place.
pub(super) struct Place {
    places: Arc<Places>,
    late: bool,
    /// Connections of its shard, itself among them.
    load: Option<Arc<AtomicUsize>>,
    /// What it may have.
    pub(super) standing: Standing,
}

impl Places {
    pub(super) fn new(limit: usize) -> Arc<Places> {
        Arc::new(Places {
            limit,
            most: limit + (limit / 20).max(1),
            open: [AtomicUsize::new(0), AtomicUsize::new(0)],
            draining: AtomicBool::new(false),
            left: Notify::new(),
        })
    }

    /// From now on, who comes is late.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Connections that were there before the drain.
    pub(super) fn early(&self) -> usize {
        self.open[0].load(Ordering::Acquire)
    }

    pub(super) async fn early_are_gone(&self) {
        self.until(|| self.early() == 0).await;
    }

    async fn room(&self) {
        self.until(|| self.all() < self.most).await;
    }

    fn all(&self) -> usize {
        self.open.iter().map(|n| n.load(Ordering::Acquire)).sum()
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            // Made before the look, so that what is left in between is not missed.
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if condition() {
                return;
            }
            left.await;
        }
    }

    fn take(self: &Arc<Places>) -> Place {
        let late = self.draining.load(Ordering::Acquire);
        self.open[usize::from(late)].fetch_add(1, Ordering::AcqRel);
        let standing = match self.all() > self.limit {
            true => Standing::TooMany,
            false => Standing::Served,
        };
        Place {
            places: self.clone(),
            late,
            load: None,
            standing,
        }
    }
}

impl Place {
    /// Counts with a shard's connections from now on, to the socket's end: an upgraded one outlives its HTTP.
    pub(super) fn settle(&mut self, load: &Arc<AtomicUsize>) {
        load.fetch_add(1, Ordering::Relaxed);
        self.load = Some(load.clone());
    }

    /// Whether a drain does not wait for it.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Counts as taken during the drain from now on.
    pub(super) fn postpone(&mut self) {
        if !std::mem::replace(&mut self.late, true) {
            self.places.open[1].fetch_add(1, Ordering::AcqRel);
            self.places.open[0].fetch_sub(1, Ordering::AcqRel);
            self.places.left.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(load) = &self.load {
            load.fetch_sub(1, Ordering::Relaxed);
        }
        self.places.open[usize::from(self.late)].fetch_sub(1, Ordering::AcqRel);
        self.places.left.notify_waiters();
    }
}

/// The running accept loops.
pub(super) struct Acceptors(Vec<AbortHandle>);

impl Acceptors {
    pub(super) fn abort(&self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Starts a loop for each bound socket.
pub(super) fn start(
    listeners: Vec<Listener>,
    shards: &Shards,
    places: &Arc<Places>,
) -> io::Result<Acceptors> {
    let mut handles = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        for socket in listener.sockets {
            socket.set_nonblocking(true)?;
            let socket = TcpListener::from_std(socket)?;
            let accepting = Accepting {
                name: listener.facts.name,
                index,
                speaks: listener.speaks.clone(),
                shards: shards.clone(),
                places: places.clone(),
            };
            handles.push(tokio::spawn(accepting.run(socket)).abort_handle());
        }
    }
    Ok(Acceptors(handles))
}

struct Accepting {
    name: &'static str,
    index: usize,
    speaks: Speaks,
    shards: Shards,
    places: Arc<Places>,
}

impl Accepting {
    async fn run(self, socket: TcpListener) {
        let mut said: Option<Instant> = None;
        loop {
            self.places.room().await;
            match socket.accept().await {
                Ok((stream, _)) => self.hand_over(stream),
                // The peer has left before it was accepted: nothing to wait for.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if said.is_none_or(|at| at.elapsed() >= SAID) {
                        tracing::error!("{}: cannot accept for now: {error}", self.name);
                        said = Some(Instant::now());
                    }
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }

    fn hand_over(&self, stream: TcpStream) {
        let place = self.places.take();
        match stream.into_std() {
            Ok(stream) => self.shards.send(Arrival {
                stream,
                listener: self.index,
                speaks: self.speaks.clone(),
                place,
            }),
            Err(error) => tracing::error!("{}: a socket was lost: {error}", self.name),
        }
    }
}
