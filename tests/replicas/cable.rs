//! What is between one replica and the relay: cut for this one alone, and with something done at a moment of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use triwire::event::Place;
use triwire::relay::memory::Memory;
use triwire::relay::{Batch, Bounds, Fault, Reading, Relay, Taken, Writing};

/// The way of one replica to the relay.
pub(super) struct Cable {
    memory: Arc<Memory>,
    is_cut: watch::Sender<bool>,
    /// Whether all is taken out of the stream between the next look at it and the first read.
    trims: AtomicBool,
    /// How often it is refused for good to write.
    refusals: AtomicUsize,
}

impl Cable {
    pub(super) fn new(memory: &Arc<Memory>) -> Arc<Cable> {
        Arc::new(Cable {
            memory: memory.clone(),
            is_cut: watch::Sender::new(false),
            trims: AtomicBool::new(false),
            refusals: AtomicUsize::new(0),
        })
    }

    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }

    pub(super) fn trim_once_seen(&self) {
        self.trims.store(true, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, count: usize) {
        self.refusals.store(count, Ordering::Relaxed);
    }

    async fn carry<T>(&self, what: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let mut is_cut = self.is_cut.subscribe();
        tokio::select! {
            biased;
            _ = is_cut.wait_for(|is_cut| *is_cut) => Err(Fault::passing("it is cut off")),
            done = what => done,
        }
    }
}

/// As it is used, and by one replica.
pub(super) struct End(pub(super) Arc<Cable>);

struct Connected<T: ?Sized>(Arc<Cable>, Box<T>);

impl Relay for End {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn reading(&self) -> BoxFuture<'_, Result<Box<dyn Reading>, Fault>> {
        async {
            let reading = self.0.carry(self.0.memory.reading()).await?;
            Ok(Box::new(Connected(self.0.clone(), reading)) as Box<dyn Reading>)
        }
        .boxed()
    }

    fn writing(&self) -> BoxFuture<'_, Result<Box<dyn Writing>, Fault>> {
        async {
            let left = |count: usize| count.checked_sub(1);
            let refusals = &self.0.refusals;
            if refusals
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
                .is_ok()
            {
                return Err(Fault::lasting("nobody may"));
            }
            let writing = self.0.carry(self.0.memory.writing()).await?;
            Ok(Box::new(Connected(self.0.clone(), writing)) as Box<dyn Writing>)
        }
        .boxed()
    }
}

impl Reading for Connected<dyn Reading> {
    fn bounds(&mut self) -> BoxFuture<'_, Result<Bounds, Fault>> {
        async {
            let bounds = self.0.carry(self.1.bounds()).await?;
            if self.0.trims.swap(false, Ordering::Relaxed) {
                self.0.memory.trim(0);
            }
            Ok(bounds)
        }
        .boxed()
    }

    fn next(&mut self, after: Place) -> BoxFuture<'_, Result<Batch, Fault>> {
        async move { self.0.carry(self.1.next(after)).await }.boxed()
    }

    fn entry(&mut self, place: Place) -> BoxFuture<'_, Result<Option<Bytes>, Fault>> {
        async move { self.0.carry(self.1.entry(place)).await }.boxed()
    }

    fn raise(&mut self, above: Place) -> BoxFuture<'_, Result<(), Fault>> {
        async move { self.0.carry(self.1.raise(above)).await }.boxed()
    }
}

impl Writing for Connected<dyn Writing> {
    fn append<'a>(&'a mut self, entries: &'a [Bytes]) -> BoxFuture<'a, Result<Vec<Taken>, Fault>> {
        async move { self.0.carry(self.1.append(entries)).await }.boxed()
    }
}
