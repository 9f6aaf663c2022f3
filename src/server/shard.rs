//! Shards: threads with a single-threaded runtime each. What a shard is given it keeps to the end, so all streams
//! of a connection run before the connection flushes, and no lock is fought over.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};
use tokio::task::coop::unconstrained;

use super::accept::Place;
use super::connection::{self, Home};
use super::stalled::{Table, Watch};
use super::{Phase, Settings, Speaks};
use crate::bundle::Bundle;
use crate::counts::Counts;
use crate::log::Log;
use crate::routes::Routes;

/// A socket on its way to a shard.
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) listener: usize,
    pub(super) speaks: Speaks,
    pub(super) place: Place,
}

/// The running shards.
#[derive(Clone)]
pub(super) struct Shards(Arc<[Shard]>);

struct Shard {
    inbox: Mutex<Option<mpsc::UnboundedSender<Arrival>>>,
    /// Connections now.
    load: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts the shards.
pub(super) fn start(
    settings: Arc<Settings>,
    routes: Arc<Routes>,
    counts: Arc<Counts>,
    log: Arc<Log>,
    phase: watch::Receiver<Phase>,
) -> io::Result<Shards> {
    let table = Arc::<Table>::default();
    let shards: io::Result<Vec<Shard>> = (0..settings.shards)
        .map(|number| {
            let streams = Bundle::new();
            let home = Arc::new(Home {
                shard: number,
                streams: streams.spawner(),
                settings: settings.clone(),
                routes: routes.clone(),
                counts: counts.clone(),
                phase: phase.clone(),
                watch: Watch::new(table.clone()),
            });
            let (sender, inbox) = mpsc::unbounded_channel();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let live = live(home, streams, log.clone(), inbox);
            let thread = std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(move || runtime.block_on(live))?;
            Ok(Shard {
                inbox: Mutex::new(Some(sender)),
                load: Arc::default(),
                thread: Mutex::new(Some(thread)),
            })
        })
        .collect();
    Ok(Shards(shards?.into()))
}

impl Shards {
    /// Hands a socket to the shard with the fewest connections.
    pub(super) fn send(&self, mut arrival: Arrival) {
        let Some(shard) = self.0.iter().min_by_key(|s| s.load.load(Ordering::Relaxed)) else {
            return;
        };
        arrival.place.settle(&shard.load);
        if let Some(inbox) = &*shard.inbox.lock().expect("nothing panics under this lock") {
            // A shard that has stopped drops the socket: the server is leaving.
            let _ = inbox.send(arrival);
        }
    }

    /// Ends the shards and, with them, every connection that is left.
    pub(super) fn stop(&self) {
        for shard in self.0.iter() {
            drop(
                shard
                    .inbox
                    .lock()
                    .expect("nothing panics under this lock")
                    .take(),
            );
        }
        for shard in self.0.iter() {
            let thread = shard
                .thread
                .lock()
                .expect("nothing panics under this lock")
                .take();
            if thread.is_some_and(|t| t.join().is_err()) {
                tracing::error!("a shard has panicked");
            }
        }
    }
}

async fn live(
    home: Arc<Home>,
    mut streams: Bundle,
    log: Arc<Log>,
    mut inbox: mpsc::UnboundedReceiver<Arrival>,
) {
    let number = home.shard;
    // Without the runtime's budget of a task: this one does the work of many.
    tokio::spawn(unconstrained(poll_fn(move |cx| -> Poll<()> {
        streams.poll(cx);
        Poll::Pending
    })));
    tokio::spawn(async move { log.run_hub(number).await });
    let watching = home.clone();
    tokio::spawn(async move { watching.watch.run(&watching.settings).await });
    while let Some(arrival) = inbox.recv().await {
        tokio::spawn(connection::serve(home.clone(), arrival));
    }
}
