//! Changes that are committed, until they are announced.

use bytes::Bytes;
use rusqlite::{Connection, Error, params};

use crate::store::embedded::read;
use crate::store::name::Collection;
use crate::store::write::{Change, Kind};

/// Leaves a change to be announced, within the transaction that makes it; returns its place among all of them.
pub(super) fn add(connection: &Connection, change: &Change) -> Result<u64, Error> {
    let text = |bytes: &Option<Bytes>| {
        let bytes = bytes.as_ref();
        bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let mut insert = connection.prepare_cached(
        "insert into outbox (collection, kind, id, version, document, patch) values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let seq = insert.insert(params![
        change.collection.as_str(),
        change.kind.as_str(),
        change.id,
        change.version as i64,
        text(&change.document),
        text(&change.patch),
    ])?;
    Ok(seq as u64)
}

/// What is there, in its order.
pub(super) fn read(connection: &Connection) -> Result<Vec<Change>, Error> {
    let mut select = connection.prepare(
        "select seq, collection, kind, id, version, document, patch from outbox order by seq",
    )?;
    let mut rows = select.query([])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let (collection, kind): (String, String) = (row.get(1)?, row.get(2)?);
        let (Ok(collection), Some(kind)) = (Collection::new(&collection), Kind::named(&kind))
        else {
            tracing::warn!("a change of {collection} cannot be announced: {kind}");
            continue;
        };
        let bytes = |text: Option<String>| text.map(Bytes::from);
        changes.push(Change {
            seq: row.get::<_, i64>(0)? as u64,
            collection,
            kind,
            id: read::id(row.get_ref(3)?),
            version: row.get::<_, i64>(4)? as u64,
            document: bytes(row.get(5)?),
            before: None,
            patch: bytes(row.get(6)?),
        });
    }
    Ok(changes)
}

/// Takes away what is announced, up to this. The file need not be on the disk for it: if the machine fails now, what was
/// announced is announced again, to readers who have failed with it.
pub(super) fn clear(connection: &Connection, last: u64) -> Result<(), Error> {
    connection.pragma_update(None, "synchronous", "normal")?;
    let done = remove(connection, last);
    connection.pragma_update(None, "synchronous", "full")?;
    done
}

/// The same within a transaction.
pub(super) fn remove(connection: &Connection, last: u64) -> Result<(), Error> {
    let mut delete = connection.prepare_cached("delete from outbox where seq <= ?1")?;
    delete.execute([last as i64]).map(drop)
}
