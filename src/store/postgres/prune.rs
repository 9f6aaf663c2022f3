//! What is taken out of the outbox again: what is older than servers are away, and what is too much.
//!
//! There is no clock in a transaction: what was visible in a snapshot of an hour ago is older than an hour. Each server
//! remembers some of its own snapshots for that; what is taken away is noted, so that a server that comes back after
//! longer knows that it has missed something.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

use crate::database::why;

/// How much is kept for servers that are away.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// For how long.
    pub age: Duration,
    /// How many changes; what was written in the last half minute is kept beside them.
    pub changes: usize,
}

/// How often it is looked.
const OFTEN: Duration = Duration::from_secs(10);

/// What every server that is not away has read.
const READ_BY_ALL: Duration = Duration::from_secs(30);

/// Rows taken away at once.
const MOST: i64 = 10_000;

/// How long the database may take for them.
const LONGEST: Duration = Duration::from_secs(30);

/// The oldest of what was visible, if there are more than so many. Another server may be at it.
const PRUNE: &str = "
    with gone as (
        delete from triwire.outbox where seq in (
            select o.seq from (select seq, xid from triwire.outbox order by seq limit $3) o
            where pg_visible_in_snapshot(o.xid, $1::text::pg_snapshot)
                and o.seq <= (select max(seq) from triwire.outbox) - $2
            for update skip locked
        ) returning 1
    ),
    noted as (
        update triwire.meta set pruned = $1::text::pg_snapshot
        where exists (select from gone)
            and (pg_snapshot_xmax($1::text::pg_snapshot), - (select count(*) from pg_snapshot_xip($1::text::pg_snapshot)))
                > (pg_snapshot_xmax(pruned), - (select count(*) from pg_snapshot_xip(pruned)))
    )
    select count(*) from gone";

/// Snapshots of this server's, the oldest first.
#[derive(Default)]
pub(super) struct Pruning {
    snapshots: VecDeque<(Instant, String)>,
}

impl Pruning {
    /// Remembers a snapshot now and then, and takes away what is due.
    pub(super) async fn go(
        &mut self,
        client: &Client,
        kept: &Kept,
        snapshot: &str,
    ) -> Result<(), String> {
        let (last, often) = (self.snapshots.back(), OFTEN.min(kept.age / 4));
        if last.is_some_and(|(at, _)| at.elapsed() < often) {
            return Ok(());
        }
        self.snapshots
            .push_back((Instant::now(), snapshot.to_owned()));
        let changes = i64::try_from(kept.changes).unwrap_or(i64::MAX);
        if let Some(old) = self.older_than(kept.age) {
            self.prune(client, &old, 0).await?;
        }
        if let Some(old) = self.older_than(READ_BY_ALL.min(kept.age)) {
            self.prune(client, &old, changes).await?;
        }
        while self
            .snapshots
            .get(1)
            .is_some_and(|(at, _)| at.elapsed() > kept.age)
        {
            self.snapshots.pop_front();
        }
        Ok(())
    }

    /// The newest that is older than this.
    fn older_than(&self, age: Duration) -> Option<String> {
        let mut old = self.snapshots.iter().rev();
        let found = old.find(|(at, _)| at.elapsed() >= age);
        found.map(|(_, snapshot)| snapshot.clone())
    }

    /// What is left for the next time is not much: it comes at the rate at which it was written.
    async fn prune(&self, client: &Client, snapshot: &str, but: i64) -> Result<(), String> {
        const ROUNDS: usize = 100;
        for _ in 0..ROUNDS {
            let pruned = timeout(LONGEST, client.query_one(PRUNE, &[&snapshot, &but, &MOST])).await;
            let pruned = pruned.map_err(|_| format!("it says nothing for {LONGEST:?}"))?;
            let gone: i64 = pruned
                .and_then(|row| row.try_get(0))
                .map_err(|error| why(&error))?;
            if gone < MOST {
                break;
            }
        }
        Ok(())
    }
}
