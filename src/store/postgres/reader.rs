//! The one who reads the outbox and tells what is in it, for as long as the server lives: woken by the database, by
//! writes of this server, and by the clock. A connection that is lost is made again, and reading goes on from where it
//! was.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};

use super::definitions::Definitions;
use super::outbox::{Found, Outbox, Place as Told};
use super::pool::SESSION;
use super::prune::Pruning;
use super::{Shared, Source, migrate};
use crate::database::why;

/// How often it looks without being woken: a wake-up can be lost with a connection, and a server that has written can
/// be gone before it wakes the others.
const LOOKS: Duration = Duration::from_secs(1);

/// How long the database may take for what it does at once.
const LONGEST: Duration = Duration::from_secs(10);

/// Between attempts to come back: random in the first, then in twice as much, and so on.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_AT_MOST: Duration = Duration::from_secs(3);

/// Reads until the store is gone.
pub(super) async fn run(store: Weak<Shared>, first: Session, mut place: Told) {
    let (mut session, mut pause) = (Some(first), AGAIN);
    loop {
        let Some(shared) = store.upgrade() else {
            return;
        };
        let opened = match session.take() {
            Some(session) => Ok(session),
            None => Session::open(&shared.source).await,
        };
        let ended = match opened {
            Ok(session) => {
                let woken = shared.source.woken.clone();
                drop(shared);
                let read = session.read(&store, &woken, &mut place, &mut pause).await;
                let Err(ended) = read else { return };
                ended
            }
            Err(ended) => ended,
        };
        let Some(shared) = store.upgrade() else {
            return;
        };
        shared.away(&ended);
        let found = shared.source.found.clone();
        drop(shared);
        // Who writes meanwhile waits to be told, and has found that the database is there. Never at once: it may be there
        // for others only.
        sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
        let rest = pause.mul_f64(0.5 + fastrand::f64());
        let _ = timeout(rest.saturating_sub(AGAIN), found.notified()).await;
        pause = (pause * 2).min(AGAIN_AT_MOST);
    }
}

/// A connection that listens.
pub(super) struct Session {
    client: Client,
    outbox: Outbox,
    carried: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that has fallen silent would not end by itself.
        self.carried.abort();
    }
}

impl Session {
    /// Connects, and listens.
    pub(super) async fn open(source: &Source) -> Result<Session, String> {
        let opening = timeout(LONGEST, Session::connect(source)).await;
        opening.unwrap_or_else(|_| Err(format!("it takes longer than {LONGEST:?}")))
    }

    async fn connect(source: &Source) -> Result<Session, String> {
        let config = &source.place.config;
        let connected = config.connect(source.place.tls.clone()).await;
        let (client, mut connection) = connected.map_err(|error| why(&error))?;
        let (woken, own) = (source.woken.clone(), Arc::new(AtomicI32::new(0)));
        let ours = own.clone();
        // Ends with the session, or with the connection; who waits for an answer then is told.
        let carried = tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(rung))
                        if rung.process_id() == ours.load(Ordering::Relaxed) => {}
                    Ok(AsyncMessage::Notification(_)) => woken.notify_one(),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!("store: the reader's connection: {}", why(&error));
                        break;
                    }
                }
            }
            woken.notify_one();
        });
        let settings = async {
            client.batch_execute(SESSION).await?;
            client.batch_execute("listen triwire").await
        };
        settings.await.map_err(|error| why(&error))?;
        migrate::check(&client, &source.place).await?;
        let number = client.query_one("select pg_backend_pid()", &[]).await;
        let number = number.and_then(|row| row.try_get(0));
        own.store(number.map_err(|error| why(&error))?, Ordering::Relaxed);
        let outbox = Outbox::open(&client, source.told_bytes()).await?;
        Ok(Session {
            client,
            outbox,
            carried,
        })
    }

    /// The place of one who begins now, when all that is defined is known.
    pub(super) async fn begin(&self, definitions: &Definitions) -> Result<Told, String> {
        let known = definitions.read(&self.client).await;
        known.map_err(|error| why(&error))?;
        Outbox::begin(&self.client).await
    }

    /// Ends well when the store is gone.
    async fn read(
        &self,
        store: &Weak<Shared>,
        woken: &Arc<Notify>,
        place: &mut Told,
        pause: &mut Duration,
    ) -> Result<(), String> {
        let mut pruning = Pruning::default();
        // Since then nobody else was told that this server has written.
        let mut written = 0;
        loop {
            let Some(shared) = store.upgrade() else {
                return Ok(());
            };
            let (began, now) = (Instant::now(), shared.committed());
            // Said together: others have not to wait until it is told here.
            let (told, others) =
                join(self.tell(&shared, place), self.wake_others(now != written)).await;
            told.and(others)?;
            written = now;
            shared.here();
            *pause = AGAIN;
            let kept = &shared.source.settings.outbox;
            let pruned = pruning.go(&self.client, kept, &place.snapshot).await;
            match pruned {
                Err(why) if self.client.is_closed() => return Err(why),
                Err(why) => tracing::warn!("store: the outbox is not pruned: {why}"),
                Ok(()) => {}
            }
            drop(shared);
            let next = pin!(woken.notified());
            let _ = timeout(LOOKS.saturating_sub(began.elapsed()), next).await;
        }
    }

    /// Tells what is new.
    async fn tell(&self, shared: &Shared, place: &mut Told) -> Result<(), String> {
        let tell = |found| match found {
            Found::Loss => shared.lose(),
            Found::Changes(told) => shared.tell(told),
        };
        let definitions = self.outbox.read(&self.client, place, tell).await?;
        if definitions != shared.definitions.known().counted {
            let read = timeout(LONGEST, shared.definitions.read(&self.client)).await;
            let read = read.map_err(|_| format!("it says nothing for {LONGEST:?}"))?;
            read.map_err(|error| why(&error))?;
        }
        Ok(())
    }

    /// Tells other servers that there is something to read, if there is.
    async fn wake_others(&self, there_is: bool) -> Result<(), String> {
        if !there_is {
            return Ok(());
        }
        let woken = timeout(LONGEST, self.client.batch_execute("notify triwire")).await;
        let woken = woken.map_err(|_| format!("it says nothing for {LONGEST:?}"))?;
        woken.map_err(|error| why(&error))
    }
}
