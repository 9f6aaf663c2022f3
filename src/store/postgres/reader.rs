//! The one who reads the outbox and tells what is in it, for as long as the server lives: woken by the database, by
//! writes of this server, and by the clock. A connection that is lost is made again, and reading goes on from where it
//! was.
//!
//! Of several servers behind a relay, one tells all ([`holder`]); the others look what is defined.

mod holder;

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

use self::holder::Holder;
use super::definitions::{COUNTED, Definitions};
use super::outbox::{Found, Outbox, Place as Told, What};
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

/// Reads until the store is gone; behind a relay, for all its servers.
pub(super) async fn run(
    store: Weak<Shared>,
    first: Session,
    mut place: Told,
    relay: Option<String>,
) {
    let (mut session, mut pause) = (Some(first), AGAIN);
    let mut holder = relay.map(Holder::new);
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
                let at = (&mut place, &mut pause);
                let read = session.read(&store, &woken, at, holder.as_mut()).await;
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

    /// The place of one who begins now, when all that is defined is known; and what names the database.
    pub(super) async fn begin(&self, definitions: &Definitions) -> Result<(Told, String), String> {
        const NAME: &str = "select store::text from triwire.meta";
        let known = definitions.read(&self.client).await;
        known.map_err(|error| why(&error))?;
        let name = self.client.query_one(NAME, &[]).await;
        let name = name.and_then(|row| row.try_get(0));
        Ok((
            Outbox::begin(&self.client).await?,
            name.map_err(|error| why(&error))?,
        ))
    }

    /// Ends well when the store is gone.
    async fn read(
        &self,
        store: &Weak<Shared>,
        woken: &Arc<Notify>,
        (place, pause): (&mut Told, &mut Duration),
        mut holder: Option<&mut Holder>,
    ) -> Result<(), String> {
        let mut pruning = Pruning::default();
        // Since then nobody else was told that this server has written.
        let mut written = 0;
        if let Some(holder) = &mut holder {
            holder.begin(self).await?;
        }
        loop {
            let Some(shared) = store.upgrade() else {
                return Ok(());
            };
            let (began, now) = (Instant::now(), shared.committed());
            let wait = match &mut holder {
                None => {
                    // Said together: others have not to wait until it is told here.
                    let (told, others) =
                        join(self.tell(&shared, place), self.wake_others(now != written)).await;
                    told.and(others)?;
                    LOOKS
                }
                Some(holder) => {
                    // Nobody else has to know who tells all himself.
                    let is_others = now != written && !holder.tells();
                    self.wake_others(is_others).await?;
                    holder.go(self, &shared, place).await?
                }
            };
            written = now;
            shared.here();
            *pause = AGAIN;
            if holder.as_ref().is_none_or(|holder| holder.tells()) {
                let kept = &shared.source.settings.outbox;
                let pruned = pruning.go(&self.client, kept, &place.snapshot).await;
                match pruned {
                    Err(why) if self.client.is_closed() => return Err(why),
                    Err(why) => tracing::warn!("store: the outbox is not pruned: {why}"),
                    Ok(()) => {}
                }
            }
            drop(shared);
            let next = pin!(woken.notified());
            let _ = timeout(wait.saturating_sub(began.elapsed()), next).await;
        }
    }

    /// Tells what is new.
    async fn tell(&self, shared: &Shared, place: &mut Told) -> Result<(), String> {
        let announcer = &shared.announcer;
        loop {
            let was_partial = place.is_partial();
            let mut reading = self.outbox.read(&self.client, place).await?;
            while let Some(Found { what, after }) = reading.next().await? {
                *place = after;
                match what {
                    What::Loss => shared.lose(|| announcer.lose()),
                    What::Changes(told) => shared.tell(told, |changes| announcer.announce(changes)),
                }
            }
            if !was_partial {
                return self.learn(shared, reading.definitions).await;
            }
        }
    }

    /// Looks whether something else is defined.
    async fn look(&self, shared: &Shared) -> Result<(), String> {
        let counted = timeout(LONGEST, self.client.query_one(COUNTED, &[])).await;
        let counted = counted.map_err(|_| silent())?;
        let counted = counted.and_then(|row| row.try_get(0));
        self.learn(shared, counted.map_err(|error| why(&error))?)
            .await
    }

    /// Looks at all that is defined, when it has changed so often.
    async fn learn(&self, shared: &Shared, definitions: i64) -> Result<(), String> {
        if definitions != shared.definitions.known().counted {
            let read = timeout(LONGEST, shared.definitions.read(&self.client)).await;
            read.map_err(|_| silent())?.map_err(|error| why(&error))?;
        }
        Ok(())
    }

    /// Tells other servers that there is something to read, if there is.
    async fn wake_others(&self, there_is: bool) -> Result<(), String> {
        if !there_is {
            return Ok(());
        }
        let woken = timeout(LONGEST, self.client.batch_execute("notify triwire")).await;
        let woken = woken.map_err(|_| silent())?;
        woken.map_err(|error| why(&error))
    }
}

fn silent() -> String {
    format!("it says nothing for {LONGEST:?}")
}
