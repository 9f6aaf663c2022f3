//! What a database must have in it: made by `triwire migrate`, and looked at when a server starts.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::pool::SESSION;
use crate::database::{Place, pooler, why};

/// The schema's versions: what makes the first of nothing, and each of the one before.
const STEPS: [&str; 2] = [include_str!("schema.sql"), include_str!("replicas.sql")];

/// The version that this program knows.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// The oldest Postgres that knows transactions by 64 bits.
const OLDEST: i32 = 13;

/// Any number, the same for everybody who migrates: one at a time.
const ALONE: i64 = 0x7472_6977_6972_6501;

/// Connects for one purpose.
///
/// # Errors
/// Why it cannot be, for a person.
pub(super) async fn connect(place: &Place) -> Result<Client, String> {
    let failed = |error: tokio_postgres::Error| format!("{}: {}", place.shown(), why(&error));
    let connected = place.config.connect(place.tls.clone()).await;
    let (client, connection) = connected.map_err(failed)?;
    tokio::spawn(connection);
    client.batch_execute(SESSION).await.map_err(failed)?;
    let refused = |why| format!("{}: {why}", place.shown());
    let looked = pooler::refuse(place, &client, pooler::LOOKED).await;
    looked.map_err(refused)?;
    let number = "select current_setting('server_version_num')::int";
    let number: i32 = one(&client, number).await.map_err(failed)?;
    if number / 10_000 < OLDEST {
        return Err(format!(
            "{}: it is Postgres {}, and {OLDEST} is the oldest that serves here",
            place.shown(),
            number / 10_000
        ));
    }
    Ok(client)
}

/// Makes of a database what this program needs, and says what that was.
///
/// # Errors
/// Why it cannot be, for a person.
pub async fn migrate(place: &Place) -> Result<String, String> {
    let mut client = connect(place).await?;
    let shown = place.shown();
    let failed = |error: tokio_postgres::Error| format!("{shown}: {}", why(&error));
    let transaction = client.transaction().await.map_err(failed)?;
    let alone = format!("select pg_advisory_xact_lock({ALONE})");
    transaction.batch_execute(&alone).await.map_err(failed)?;
    let found = version(transaction.client()).await.map_err(failed)?;
    let first = usize::try_from(found).unwrap_or_default();
    if found > VERSION {
        return Err(newer(shown, found));
    }
    for (step, sql) in STEPS.iter().enumerate().skip(first) {
        let version = step + 1;
        let said = format!("{sql};\nupdate triwire.meta set version = {version};");
        let made = transaction.batch_execute(&said).await;
        made.map_err(|error| format!("{shown}: version {version}: {}", why(&error)))?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(match found {
        0 => format!("{shown}: schema triwire was made, in version {VERSION}"),
        VERSION => {
            format!("{shown}: schema triwire is in version {VERSION} already; nothing was done")
        }
        older => format!(
            "{shown}: schema triwire was in version {older} and is in version {VERSION} now"
        ),
    })
}

/// Whether a server can use what is there.
///
/// # Errors
/// What is to be done first, for a person.
pub(super) async fn check(client: &Client, place: &Place) -> Result<(), String> {
    let shown = place.shown();
    let found = version(client).await;
    match found.map_err(|error| format!("{shown}: {}", why(&error)))? {
        VERSION => Ok(()),
        0 => Err(format!(
            "{shown}: there is no schema triwire; make it by: triwire migrate --store URL"
        )),
        older if older < VERSION => Err(format!(
            "{shown}: schema triwire is in version {older}, and this program needs {VERSION}; run: triwire migrate --store URL"
        )),
        found => Err(newer(shown, found)),
    }
}

/// The version that is there; 0 is none.
async fn version(client: &Client) -> Result<i32, tokio_postgres::Error> {
    let there = "select to_regclass('triwire.meta') is not null";
    if !one::<bool>(client, there).await? {
        return Ok(0);
    }
    one(client, "select version from triwire.meta").await
}

fn newer(shown: &str, found: i32) -> String {
    format!(
        "{shown}: schema triwire is in version {found}, made by a newer triwire; this one knows {VERSION}: use the newer one"
    )
}

async fn one<T: tokio_postgres::types::FromSqlOwned>(
    client: &Client,
    sql: &str,
) -> Result<T, tokio_postgres::Error> {
    client.query_one(sql, &[]).await?.try_get(0)
}

/// Whether a server that is not there yet may be there soon: it starts, or its machine does.
pub(super) fn is_starting(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::CANNOT_CONNECT_NOW,
        None => error.to_string().contains("connect"),
    }
}
