//! Reads a stream of NATS: by a consumer of this connection alone, which the server forgets when it is gone.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use tokio::time::timeout;

use super::kept::Kept;
use super::{Connection, chain};
use crate::event::Place;
use crate::relay::{Batch, Bounds, Entry, Fault, LOST, Reading, WAIT};

/// Messages that are asked for at once.
const ASKED: usize = 256;

/// Entries that are handed out at once.
const AT_ONCE: usize = 1_000;

/// After so long the server forgets a consumer that asks for nothing.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The server says so often that it is there.
const BEAT: Duration = Duration::from_secs(5);

pub(super) struct Feed {
    connection: Connection,
    kept: Kept,
    reading: Option<Consuming>,
}

struct Consuming {
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// What was handed out.
    after: Place,
    /// The number of the next, when none was let go; unknown before the first if the life has changed.
    next: Option<u64>,
    /// Whether there was something the last time that did not come.
    is_silent: bool,
}

impl Feed {
    pub(super) fn new(connection: Connection, kept: Kept) -> Feed {
        Feed {
            connection,
            kept,
            reading: None,
        }
    }

    async fn read(&mut self, after: Place) -> Result<Batch, Fault> {
        if self
            .reading
            .as_ref()
            .is_none_or(|reading| reading.after != after)
        {
            self.reading = Some(Consuming::begin(&self.kept, after).await?);
        }
        let reading = self.reading.as_mut().expect("it was just begun");
        let mut batch = Batch::default();
        let mut found = loop {
            match timeout(WAIT, reading.messages.next()).await {
                Ok(first) => break first,
                // A cluster that has just chosen another leader takes its time. Nothing would say that there is nothing.
                Err(_) if reading.is_owed().await? => {}
                Err(_) => return Ok(batch),
            }
        };
        loop {
            let message = found.ok_or_else(|| Fault::passing("it hands out nothing more"))?;
            let message = message.map_err(|error| Fault::passing(chain(&error)))?;
            reading.take(&self.kept, message, &mut batch).await?;
            if batch.entries.len() >= AT_ONCE {
                break;
            }
            match reading.messages.next().now_or_never() {
                Some(next) => found = next,
                None => break,
            }
        }
        Ok(batch)
    }
}

impl Consuming {
    async fn begin(kept: &Kept, after: Place) -> Result<Consuming, Fault> {
        // What another life has is told apart by looking at all that there is.
        let next = (after.ms == kept.life.ms).then_some(after.number + 1);
        let consumer = kept.stream.create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: next.unwrap_or(1),
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: FORGOTTEN,
            ..pull::Config::default()
        });
        let consumer = consumer
            .await
            .map_err(|error| Fault::passing(chain(&error)))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(ASKED)
            .heartbeat(BEAT)
            .messages();
        let messages = messages
            .await
            .map_err(|error| Fault::passing(chain(&error)))?;
        Ok(Consuming {
            consumer,
            messages,
            after,
            next,
            is_silent: false,
        })
    }

    /// A message into a batch.
    async fn take(
        &mut self,
        kept: &Kept,
        message: Message,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let info = message
            .info()
            .map_err(|error| Fault::lasting(format!("it is no message of JetStream: {error}")))?;
        let sequence = info.stream_sequence;
        if let Some(next) = self.next
            && sequence > next
        {
            // What is there still has been lost on its way here.
            if kept.found(next).await?.is_some() {
                return Err(Fault::passing("an entry was passed over on its way"));
            }
            batch.is_lossy = true;
        }
        self.next = Some(sequence + 1);
        self.is_silent = false;
        // Nobody can put another subject into it, but who changes the stream.
        let Some(place) = kept.place(&message.subject, sequence) else {
            return Ok(());
        };
        if place > self.after {
            self.after = place;
            batch.entries.push(Entry {
                place,
                bytes: message.message.payload,
            });
        }
        Ok(())
    }

    /// Looks whether there is something that ought to have come; the second time it is a fault.
    async fn is_owed(&mut self) -> Result<bool, Fault> {
        let info = self.consumer.get_info().await;
        let info = info.map_err(|error| Fault::passing(chain(&error)))?;
        let is_given = self
            .next
            .is_some_and(|next| info.delivered.stream_sequence >= next);
        let there_is = info.num_pending > 0 || is_given;
        if there_is && self.is_silent {
            return Err(Fault::passing("it has entries, and does not hand them out"));
        }
        self.is_silent = there_is;
        Ok(there_is)
    }
}

impl Reading for Feed {
    fn bounds(&mut self) -> BoxFuture<'_, Result<Bounds, Fault>> {
        self.kept.bounds().boxed()
    }

    fn next(&mut self, after: Place) -> BoxFuture<'_, Result<Batch, Fault>> {
        async move {
            let mut broken = self.connection.broken.clone();
            tokio::select! {
                batch = self.read(after) => batch,
                _ = broken.wait_for(|broken| *broken) => Err(Fault::passing("the connection was lost")),
            }
        }
        .boxed()
    }

    fn entry(&mut self, place: Place) -> BoxFuture<'_, Result<Option<Bytes>, Fault>> {
        async move {
            let found = self.kept.found(place.number).await?;
            Ok(found.filter(|(at, _)| *at == place).map(|(_, bytes)| bytes))
        }
        .boxed()
    }

    fn raise(&mut self, above: Place) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            self.kept.raise(above).await?;
            let (context, lost) = (&self.connection.context, Bytes::from_static(LOST));
            let given = context.publish(self.kept.subject(), lost).await;
            let taken = given.map_err(|error| Fault::passing(chain(&error)))?;
            let taken = taken.await;
            taken
                .map(drop)
                .map_err(|error| Fault::passing(chain(&error)))
        }
        .boxed()
    }
}
