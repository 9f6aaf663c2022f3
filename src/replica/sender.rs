//! Publishing to a relay without any server.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::entry;
use super::outbox::{Outbox, Terms};
use super::pull::within;
use crate::event::Draft;
use crate::problem::Problem;
use crate::relay::{Fault, Relay};

/// Events and bytes of an entry.
const AT_ONCE: (usize, usize) = (1_000, 512 << 10);

/// Appends to a relay, in order and each once.
pub struct Sender {
    by: String,
    outbox: Arc<Outbox<()>>,
    running: JoinHandle<Fault>,
}

impl Sender {
    /// Connects, once, so that what is wrong is known before there is something to say.
    ///
    /// # Errors
    /// Why it can not be used.
    pub async fn connect(relay: Arc<dyn Relay>, terms: Terms) -> Result<Sender, Fault> {
        within(terms.answer, relay.writing()).await?;
        let (outbox, mut jobs) = Outbox::new(relay, terms);
        let appending = outbox.clone();
        let running = tokio::spawn(async move {
            let done = |number| appending.done(number, Ok(()));
            appending.run(&mut jobs, done).await
        });
        Ok(Sender {
            by: format!("{:032x}", fastrand::u128(..)),
            outbox,
            running,
        })
    }

    /// Publishes all in their order; returns when the relay has them.
    ///
    /// # Errors
    /// How many the relay has, and what became of the next.
    pub async fn publish(&self, drafts: &[Draft]) -> Result<(), (usize, Problem)> {
        let mut done = 0;
        while let rest @ [_, ..] = &drafts[done..] {
            let mut given = Vec::new();
            let mut batches = batches(rest);
            while given.len() < 16
                && let Some(batch) = batches.next()
            {
                let mut write = |number| entry::write(&self.by, number, None, batch);
                given.push((batch.len(), self.outbox.give(&mut write)));
            }
            for (count, given) in given {
                let answer = match given {
                    Ok(answer) => answer.await,
                    Err(problem) => Err(problem),
                };
                answer.map_err(|problem| (done, problem))?;
                done += count;
            }
        }
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// As many of the next as an entry has.
fn batches(drafts: &[Draft]) -> impl Iterator<Item = &[Draft]> {
    let mut rest = drafts;
    std::iter::from_fn(move || {
        let (events, most) = AT_ONCE;
        let mut bytes = 0;
        let fits = rest.iter().take(events).take_while(|draft| {
            bytes += draft.payload.bytes().len();
            bytes <= most
        });
        let count = fits.count().max(1).min(rest.len());
        let (batch, later) = rest.split_at(count);
        rest = later;
        (!batch.is_empty()).then_some(batch)
    })
}
