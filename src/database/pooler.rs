//! Whether what stands before a database lends its sessions for one transaction each, as PgBouncer does with
//! `pool_mode = transaction`. Nothing that a session is told holds there: no `set`, no `listen`, no lock, no statement that was
//! prepared; and what fails then fails sometimes, in words that help nobody.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::Place;

/// How often it is looked: a pooler hands out what was given back last, or what was given back first.
const LOOKS: usize = 3;

/// How long that may take where a start is waited for.
pub const LOOKED: Duration = Duration::from_secs(2);

/// Names the process of the server that answers; two servers have the same numbers.
const BACKEND: &str = "select pg_backend_pid() || ' ' || pg_postmaster_start_time()";

/// Refuses one that lends. Who has set up its session is asked for another, by a connection beside it; when there can be none,
/// nothing is known: a pooler that has no other makes its clients wait, here for no longer than this.
///
/// # Errors
/// What is to be done.
pub async fn refuse(place: &Place, client: &Client, longest: Duration) -> Result<(), String> {
    match timeout(longest, is_lent(place, client)).await {
        Ok(Ok(true)) => Err(
            "a pooler stands before it that lends sessions for one transaction each, and here each needs one that stays: \
             pool_mode = session, or the database's own port"
                .to_owned(),
        ),
        Ok(Ok(false) | Err(_)) | Err(_) => Ok(()),
    }
}

async fn is_lent(place: &Place, client: &Client) -> Result<bool, Error> {
    let (other, connection) = place.config.connect(place.tls.clone()).await?;
    // Ends with its client.
    tokio::spawn(connection);
    let (mut own, mut others) = (None, None);
    for _ in 0..LOOKS {
        let (now, beside) = (backend(client).await?, backend(&other).await?);
        let is_another = |known: &Option<String>, now| known.as_ref().is_some_and(|k| k != now);
        if now == beside || is_another(&own, &now) || is_another(&others, &beside) {
            return Ok(true);
        }
        (own, others) = (Some(now), Some(beside));
    }
    Ok(false)
}

/// By the simple protocol: a statement that is prepared may be another session's already.
async fn backend(client: &Client) -> Result<String, Error> {
    let answer = client.simple_query(BACKEND).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(row.unwrap_or_default().to_owned())
}
