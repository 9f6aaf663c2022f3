//! The end of a transaction: committed or not, whatever happens to the connection meanwhile, and told when it is.

use std::time::Duration;

use hyper::header::RETRY_AFTER;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Error;

use super::waiting::Ticket;
use super::write::turn::Failed;
use super::{Shared, failure};
use crate::event::EventId;
use crate::problem::Problem;

/// How long somebody waits for what is committed to be told, or to hear whether it is committed.
const LONGEST: Duration = Duration::from_secs(15);

/// Between two looks whether a transaction has ended of which nothing is known.
const LOOK: Duration = Duration::from_millis(100);

/// Whether the transaction's changes are in the outbox, and whether it can still come to that.
const ENDED: &str = "
    with now as materialized (select pg_current_snapshot() as s, $1::text::xid8 as x)
    select exists (select from triwire.outbox o where o.xid = x and o.token = $2),
        x < pg_snapshot_xmax(s) and not pg_visible_in_snapshot(x, s)
    from now";

/// What came of a commit, when its changes are told. Whoever calls it holds no connection any more: to find out what became
/// of many that broke at once takes some.
pub(super) async fn settle(
    shared: &Shared,
    committed: Result<(), Error>,
    mut ticket: Ticket<'_>,
    number: &str,
) -> Result<Vec<EventId>, Failed> {
    let until = Instant::now() + LONGEST;
    if let Err(error) = committed {
        if is_refused(&error) {
            return Err(Failed::turn(&error));
        }
        doubt(shared, &ticket, number, until)
            .await
            .map_err(Failed::For)?;
    }
    shared.commits();
    match timeout_at(until, &mut ticket.told).await {
        Ok(Ok(events)) => Ok(events),
        _ => {
            let detail = "it is written, but its event does not come; do not send it again, and watch for it";
            Err(Failed::For(Problem::unavailable("not-told", detail)))
        }
    }
}

/// Whether the database says itself that nothing was committed. One that ends its sessions may have committed before.
fn is_refused(error: &Error) -> bool {
    let code = error.code().map(|code| &code.code()[..2]);
    code.is_some_and(|class| !matches!(class, "08" | "57" | "58" | "XX"))
}

/// The connection broke before the answer. The outbox tells: the changes are there, or they never will be.
async fn doubt(
    shared: &Shared,
    ticket: &Ticket<'_>,
    number: &str,
    until: Instant,
) -> Result<(), Problem> {
    loop {
        match ended(shared, ticket.token, number).await {
            Some((true, _)) => return Ok(()),
            Some((false, false)) => {
                return Err(failure::away("its connection broke before the end"));
            }
            Some((false, true)) | None => {}
        }
        if Instant::now() > until {
            let detail = "the connection to the database broke while it was written; whether it is, is not known: look before you send it again";
            let mut problem = Problem::unavailable("in-doubt", detail);
            problem.headers.retain(|(name, _)| *name != RETRY_AFTER);
            return Err(problem.with(RETRY_AFTER, "15"));
        }
        sleep(LOOK).await;
    }
}

async fn ended(shared: &Shared, token: i64, number: &str) -> Option<(bool, bool)> {
    let connection = shared.connections.one().await.ok()?;
    let row = connection.query_one(ENDED, &[&number, &token]).await.ok()?;
    Some((row.try_get(0).ok()?, row.try_get(1).ok()?))
}
