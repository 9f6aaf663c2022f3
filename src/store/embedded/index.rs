//! Indexes on the fields that lists name. They are made when they are first asked for, and so many a collection: the one
//! that was not used for the longest goes.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, Error, params};

use super::known::Place;
use super::select;
use crate::store::ask::{Ask, Field};

/// With fewer documents nobody waits for a look at all of them.
const FEW: u64 = 1000;

/// An index is not given up for another before so many other lists were asked for: else two who ask for different
/// fields in turn would make and drop indexes all day.
const PATIENCE: u64 = 100;

/// The fields that a list names and that have no index yet, though they could have one.
pub(super) fn missing(place: &Place, ask: &Ask) -> Vec<Field> {
    let now = place.lists.fetch_add(1, Ordering::Relaxed);
    if place.documents.load(Ordering::Relaxed) < FEW {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for field in ask.fields().filter(|field| !field.is_id()) {
        match place.indexes.get(field) {
            Some((_, used)) => used.store(now, Ordering::Relaxed),
            None if !missing.contains(field) => missing.push(field.clone()),
            None => {}
        }
    }
    missing
}

/// Makes an index, if there is room for it, and says what there is then.
pub(super) fn make(
    connection: &Connection,
    place: &Place,
    field: &Field,
    most: usize,
) -> Result<Option<Place>, Error> {
    if place.indexes.contains_key(field) || most == 0 {
        return Ok(None);
    }
    let now = place.lists.load(Ordering::Relaxed);
    let mut place = place.clone();
    let whole = connection.unchecked_transaction()?;
    while place.indexes.len() >= most {
        let used = |(_, (_, used)): &(&Field, &(i64, _))| used_at(used);
        let oldest = place.indexes.iter().min_by_key(used);
        let Some((oldest, number, used)) =
            oldest.map(|(f, (n, used))| (f.clone(), *n, used_at(used)))
        else {
            return Ok(None);
        };
        if used + PATIENCE > now {
            return Ok(None);
        }
        whole.execute_batch(&format!("drop index i{number}"))?;
        whole.execute("delete from indexes where number = ?1", [number])?;
        place.indexes.remove(&oldest);
    }
    whole.execute(
        "insert into indexes (collection, field) values (?1, ?2)",
        params![place.number, field.as_str()],
    )?;
    let number = whole.last_insert_rowid();
    let (of, value) = (place.number, select::value(field));
    whole.execute_batch(&format!("create index i{number} on c{of} ({value}, id)"))?;
    whole.commit()?;
    let used = std::sync::Arc::new(now.into());
    place.indexes.insert(field.clone(), (number, used));
    Ok(Some(place))
}

fn used_at(used: &std::sync::Arc<std::sync::atomic::AtomicU64>) -> u64 {
    used.load(Ordering::Relaxed)
}
