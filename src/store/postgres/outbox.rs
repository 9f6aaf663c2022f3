//! The outbox: what has changed since it was read last, each change once.
//!
//! Numbers of changes are drawn before their transactions are committed, so a smaller one may come later. What was read
//! is therefore remembered as a snapshot: the transactions that were committed then. What is new is what others have
//! written since: those that began later, and those that ran at that time. It is read in the order of numbers, in which
//! the changes of one document are, since a number is drawn while its row is locked.

mod place;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream, Statement};

pub(super) use self::place::Place;
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
///
/// A reading that has broken off is finished before there is another: what its snapshot shows, after the last number.
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
    select 0::bigint as seq, coalesce((select max(o.seq) from triwire.outbox o), 0), 'S', coalesce($5::text, pg_current_snapshot()::text),
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
    where $5::text is null or seq > $6 and pg_visible_in_snapshot(xid, $5::text::pg_snapshot)
    order by seq";

/// Where reading begins: now.
const NOW: &str = "
    select pg_current_snapshot()::text, coalesce(o.seq, 0), coalesce(o.xid, '0'::xid8)::text
    from (select) one left join (select seq, xid from triwire.outbox order by seq desc limit 1) o on true";

/// A database that was filled from another's dump has that one's transactions in its outbox, which count from elsewhere
/// and are nothing new here.
const MEND: &str = "
    delete from triwire.outbox where xid >= pg_snapshot_xmax(pg_current_snapshot());
    update triwire.meta set pruned = default where pg_snapshot_xmax(pruned) > pg_snapshot_xmax(pg_current_snapshot());
    delete from triwire.told where pg_snapshot_xmax(split_part(place, '/', 1)::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())";

/// What a reading has found, and the place after it.
pub(super) struct Found {
    pub(super) what: What,
    pub(super) after: Place,
}

/// What was found.
pub(super) enum What {
    /// Changes may be gone that were not read. It comes first.
    Loss,
    /// Some changes, maybe none.
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
                partly: None,
            })
        };
        row.and_then(read).map_err(|error| why(&error))
    }

    /// Begins to read what is new since a place.
    pub(super) async fn read(&self, client: &Client, place: &Place) -> Result<Reading, String> {
        let (until, above) = place.partly.clone().unzip();
        let asked: [&(dyn ToSql + Sync); 6] = [
            &place.snapshot,
            &place.newest,
            &self.document_bytes,
            &place.newest_in,
            &until,
            &above,
        ];
        let opening = client.query_raw(&self.read, asked);
        let rows = timeout(SILENT, opening).await.map_err(|_| silent())?;
        let mut rows = Box::pin(rows.map_err(|error| why(&error))?);
        let head = next(&mut rows).await?;
        let head = head.ok_or("the database did not say what it read")?;
        Reading::of(rows, &head, place.clone()).map_err(|error| why(&error))
    }
}

/// What is new, as the database hands it out.
pub(super) struct Reading {
    rows: Pin<Box<RowStream>>,
    place: Place,
    /// What it is read in.
    snapshot: String,
    /// How often definitions had changed.
    pub(super) definitions: i64,
    is_lossy: bool,
    is_over: bool,
}

impl Reading {
    fn of(
        rows: Pin<Box<RowStream>>,
        head: &Row,
        mut place: Place,
    ) -> Result<Reading, tokio_postgres::Error> {
        let is_lossy = head.try_get::<_, &str>(6)? == "true";
        if is_lossy {
            // What is here is all that there is, also where there was more.
            place.newest = head.try_get(1)?;
            place.newest_in = head.try_get(9)?;
        }
        Ok(Reading {
            rows,
            place,
            snapshot: head.try_get(3)?,
            definitions: head.try_get::<_, &str>(4)?.parse().unwrap_or_default(),
            is_lossy,
            is_over: false,
        })
    }

    /// What is next, to the end.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, String> {
        if std::mem::take(&mut self.is_lossy) {
            return Ok(Some(self.found(What::Loss)));
        }
        if self.is_over {
            return Ok(None);
        }
        let mut batch = Batch::default();
        while !batch.is_full() {
            let Some(row) = next(&mut self.rows).await? else {
                self.is_over = true;
                break;
            };
            batch.add(&row).map_err(|error| why(&error))?;
        }
        self.place
            .pass(&self.snapshot, batch.last, &batch.last_in, self.is_over);
        Ok(Some(self.found(What::Changes(batch.changes))))
    }

    fn found(&self, what: What) -> Found {
        let after = self.place.clone();
        Found { what, after }
    }
}

async fn next(rows: &mut Pin<Box<RowStream>>) -> Result<Option<Row>, String> {
    let row = timeout(SILENT, rows.next()).await.map_err(|_| silent())?;
    row.transpose().map_err(|error| why(&error))
}

/// Rows that were read and are not told yet.
#[derive(Default)]
struct Batch {
    changes: Vec<Told>,
    /// How many there are, those that are not to be told among them; the last one's number, and its transaction.
    count: usize,
    last: i64,
    last_in: String,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        if let Some(change) = change(row)? {
            let parts = [&change.document, &change.before, &change.patch];
            self.bytes += parts.into_iter().flatten().map(Bytes::len).sum::<usize>();
            self.changes.push((change, row.try_get(1)?));
        }
        self.count += 1;
        self.last = row.try_get(0)?;
        self.last_in = row.try_get(9)?;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.count >= MOST || self.bytes >= BYTES
    }
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
