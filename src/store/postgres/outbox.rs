//! The outbox: what has changed since it was read last, each change once.
//!
//! Numbers of changes are drawn before their transactions are committed, so a smaller one may come later. What was read
//! is therefore remembered as a snapshot: the transactions that were committed then. What is new is what others have
//! written since: those that began later, and those that ran at that time. It is read in the order of numbers, in which
//! the changes of one document are, since a number is drawn while its row is locked.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::database::why;
use crate::store::name::{Collection, Id};
use crate::store::write::{Change, Kind};

/// Changes that are told at once, and the bytes of them that are not exceeded by more than one.
const MOST: usize = 256;
const BYTES: usize = 1 << 20;

/// How long the database may be silent while it is read.
const SILENT: Duration = Duration::from_secs(10);

/// Two branches by an index: later transactions, and those that ran when it was read last (each looked up by itself,
/// whatever the planner thinks of their number). The third finds what a database has written that has lost the numbers of
/// its newest transactions in a crash, and has given them again.
///
/// The row with number 0 tells the snapshot that all was read in, how often definitions have changed, the greatest number
/// that there is, and whether something may be gone that was not read: because it was taken away, or because what was
/// told last never was here, in a database that was put in the place of another which it had not all of.
const READ: &str = "
    with last as materialized (select $1::text::pg_snapshot as s),
    fresh as materialized (
        select o.* from triwire.outbox o where o.xid >= pg_snapshot_xmax((select s from last))
        union all
        select o.* from pg_snapshot_xip((select s from last)) x
            cross join lateral (select o.* from triwire.outbox o where o.xid = x offset 0) o
        union all
        select o.* from triwire.outbox o
        where o.seq > $2 and pg_visible_in_snapshot(o.xid, (select s from last))
    )
    select 0::bigint as seq, coalesce((select max(o.seq) from triwire.outbox o), 0), 'S', pg_current_snapshot()::text,
        m.definitions::text, 0::bigint,
        (
            pg_snapshot_xmax(m.pruned) > pg_snapshot_xmax(l.s)
            or exists (select from pg_snapshot_xip(l.s) x where pg_visible_in_snapshot(x, m.pruned))
            or not exists (select from triwire.outbox o where o.seq = $2 and o.xid = $4::text::xid8)
                and not pg_visible_in_snapshot($4::text::xid8, m.pruned)
        )::text,
        null, null, coalesce((select o.xid from triwire.outbox o order by o.seq desc limit 1), '0'::xid8)::text
    from triwire.meta m, last l
    union all
    select seq, token, kind::text, collection, id, version,
        case when octet_length(document::text) <= $3 then document::text end,
        case when octet_length(before::text) <= $3 then before::text end,
        patch::text, xid::text
    from fresh
    order by seq";

/// Where reading begins: now.
const NOW: &str = "
    select pg_current_snapshot()::text, coalesce(o.seq, 0), coalesce(o.xid, '0'::xid8)::text
    from (select) one left join (select seq, xid from triwire.outbox order by seq desc limit 1) o on true";

/// A database that was filled from another's dump has that one's transactions in its outbox, which count from elsewhere
/// and are nothing new here.
const MEND: &str = "
    delete from triwire.outbox where xid >= pg_snapshot_xmax(pg_current_snapshot());
    update triwire.meta set pruned = default where pg_snapshot_xmax(pruned) > pg_snapshot_xmax(pg_current_snapshot())";

/// How far it was read.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// All that is visible in it was told.
    pub(super) snapshot: String,
    /// The greatest number that was told, and its transaction's; transaction 0 is before all others.
    newest: i64,
    newest_in: String,
    /// Numbers that were told and are not visible in it: those of a reading that broke off.
    beyond: HashSet<i64>,
}

/// What a reading finds, in this order.
pub(super) enum Found {
    /// Changes may be gone that were not read.
    Loss,
    /// Some changes.
    Changes(Vec<Told>),
}

/// A change, and the token of the write that it is part of.
pub(super) type Told = (Change, Option<i64>);

/// Reads on one connection.
pub(super) struct Outbox {
    read: Statement,
    /// Bytes of a document that is told; a larger one is told of without it.
    document_bytes: i32,
}

impl Outbox {
    /// Prepares for it.
    pub(super) async fn open(client: &Client, document_bytes: usize) -> Result<Outbox, String> {
        // One plan for all times, which must be by the indexes however large the outbox is; and a reading that has much
        // to catch up with takes long.
        let settings = "
            set plan_cache_mode = force_generic_plan; set statement_timeout = 0;
            set enable_seqscan = off; set max_parallel_workers_per_gather = 0";
        let failed = |error: tokio_postgres::Error| why(&error);
        client.batch_execute(settings).await.map_err(failed)?;
        client.batch_execute(MEND).await.map_err(failed)?;
        Ok(Outbox {
            read: client.prepare(READ).await.map_err(failed)?,
            document_bytes: i32::try_from(document_bytes).unwrap_or(i32::MAX),
        })
    }

    /// The place of one who begins.
    pub(super) async fn begin(client: &Client) -> Result<Place, String> {
        let row = client.query_one(NOW, &[]).await;
        let read = |row: Row| {
            Ok(Place {
                snapshot: row.try_get(0)?,
                newest: row.try_get(1)?,
                newest_in: row.try_get(2)?,
                beyond: HashSet::new(),
            })
        };
        row.and_then(read).map_err(|error| why(&error))
    }

    /// Tells what is new since a place, and moves it; returns how often definitions have changed. When it breaks off, what
    /// was told is remembered.
    pub(super) async fn read(
        &self,
        client: &Client,
        place: &mut Place,
        mut tell: impl FnMut(Found),
    ) -> Result<i64, String> {
        let last = place.clone();
        let asked: [&(dyn ToSql + Sync); 4] = [
            &last.snapshot,
            &last.newest,
            &self.document_bytes,
            &last.newest_in,
        ];
        let opening = client.query_raw(&self.read, asked);
        let rows = timeout(SILENT, opening).await.map_err(|_| silent())?;
        let mut rows = pin!(rows.map_err(|error| why(&error))?);
        let (mut head, mut batch) = (None, Batch::default());
        while let Some(row) = timeout(SILENT, rows.next()).await.map_err(|_| silent())? {
            let row = row.map_err(|error| why(&error))?;
            if head.is_none() {
                if is_lost(&row).map_err(|error| why(&error))? {
                    tell(Found::Loss);
                    // What is here is all that there is, also where there was more.
                    place.newest = row.try_get(1).map_err(|error| why(&error))?;
                    place.newest_in = row.try_get(9).map_err(|error| why(&error))?;
                }
                head = Some(row);
                continue;
            }
            let added = batch.add(&row, &place.beyond);
            added.map_err(|error| why(&error))?;
            if batch.is_full() {
                tell(Found::Changes(place.pass(&mut batch)));
            }
        }
        tell(Found::Changes(place.pass(&mut batch)));
        let head = head.ok_or("the database did not say what it read")?;
        place.snapshot = head.try_get(3).map_err(|error| why(&error))?;
        place.beyond.clear();
        let definitions: &str = head.try_get(4).map_err(|error| why(&error))?;
        Ok(definitions.parse().unwrap_or_default())
    }
}

impl Place {
    /// What is in a batch is told now.
    fn pass(&mut self, batch: &mut Batch) -> Vec<Told> {
        let Batch {
            changes,
            numbers,
            last_in,
            ..
        } = std::mem::take(batch);
        if let Some(last) = numbers.last().filter(|last| **last > self.newest) {
            self.newest = *last;
            self.newest_in = last_in;
        }
        self.beyond.extend(numbers);
        changes
    }
}

/// Rows that were read and are not told yet.
#[derive(Default)]
struct Batch {
    changes: Vec<Told>,
    /// Of these and of those that are not to be told.
    numbers: Vec<i64>,
    /// The last one's transaction.
    last_in: String,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, row: &Row, told: &HashSet<i64>) -> Result<(), tokio_postgres::Error> {
        let number = row.try_get(0)?;
        if told.contains(&number) {
            return Ok(());
        }
        if let Some(change) = change(row)? {
            let parts = [&change.document, &change.before, &change.patch];
            self.bytes += parts.into_iter().flatten().map(Bytes::len).sum::<usize>();
            self.changes.push((change, row.try_get(1)?));
        }
        self.numbers.push(number);
        self.last_in = row.try_get(9)?;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.numbers.len() >= MOST || self.bytes >= BYTES
    }
}

fn is_lost(head: &Row) -> Result<bool, tokio_postgres::Error> {
    Ok(head.try_get::<_, &str>(6)? == "true")
}

fn silent() -> String {
    format!("it says nothing for {SILENT:?}")
}

/// A row of the outbox. What cannot be asked for by anybody is not told to anybody.
fn change(row: &Row) -> Result<Option<Change>, tokio_postgres::Error> {
    let seq: i64 = row.try_get(0)?;
    let (collection, id): (&str, &str) = (row.try_get(3)?, row.try_get(4)?);
    let kind = match row.try_get(2)? {
        "A" => Kind::Added,
        "M" => Kind::Modified,
        _ => Kind::Deleted,
    };
    let (Ok(collection), Ok(id)) = (Collection::new(collection), Id::parse(id)) else {
        tracing::warn!(
            "store: a change is not told, since a collection cannot be called so: {seq}"
        );
        return Ok(None);
    };
    let text = |at: usize| -> Result<Option<Bytes>, tokio_postgres::Error> {
        let text = row.try_get::<_, Option<&str>>(at)?;
        Ok(text.map(|text| Bytes::copy_from_slice(text.as_bytes())))
    };
    Ok(Some(Change {
        seq: seq.unsigned_abs(),
        collection,
        kind,
        id,
        version: row.try_get::<_, i64>(5)?.unsigned_abs(),
        document: text(6)?,
        before: text(7)?,
        patch: text(8)?,
    }))
}
