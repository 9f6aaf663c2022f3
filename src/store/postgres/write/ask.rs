//! What has to be known before anything is decided: the ids, and the documents that are there.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::ClientWrapper;
use futures_util::future::join;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::turn::Failed;
use crate::problem::Problem;
use crate::store::name::{Collection, Id};
use crate::store::postgres::definitions::{COUNTED, Known};
use crate::store::postgres::shelf::Shelf;
use crate::store::write::{Document, Write};

/// The ids of all: those that are given, and those that the database makes, as many as stand together at once.
pub(super) async fn made(
    client: &ClientWrapper,
    known: &Known,
    writes: &[Write],
) -> Result<Vec<Id>, Failed> {
    let mut ids: Vec<Id> = Vec::with_capacity(writes.len());
    for same in writes.chunk_by(|one, next| {
        one.collection == next.collection && one.id.is_none() && next.id.is_none()
    }) {
        let Some(first) = same.first() else { continue };
        if let Some(id) = &first.id {
            ids.push(id.clone());
            continue;
        }
        let name = first.collection.as_str();
        let before = writes.iter().zip(&ids);
        let before = before.filter(|(write, _)| write.collection == first.collection);
        let above = before.filter_map(|(_, id)| match id {
            Id::Integer(number) => Some(*number).filter(|number| *number <= Id::MOST_MADE),
            Id::Text(_) => None,
        });
        let (above, count) = (above.max().unwrap_or_default(), same.len() as i64);
        let rows = match known.table(&first.collection) {
            None => {
                let sql =
                    "select triwire.next_id($1, $2)::text from generate_series(1, $3::bigint)";
                let prepared = client.prepare_cached(sql).await.map_err(Failed::of)?;
                client.query(&prepared, &[&name, &above, &count]).await
            }
            Some(table) => {
                let made = table.made.as_ref().ok_or_else(|| {
                    let detail = format!("nothing makes ids of {name}; give the document its id");
                    let problem = Problem::bad_request("id", detail);
                    Failed::For(problem.of_line(first.line))
                })?;
                let sql = format!("select ({made})::text from generate_series(1, $1::bigint)");
                let typed: [(&(dyn ToSql + Sync), Type); 1] = [(&count, Type::INT8)];
                client.query_typed(&sql, &typed).await
            }
        };
        for row in rows.map_err(Failed::of)? {
            let text: Option<&str> = row.try_get(0).map_err(Failed::of)?;
            let id = Id::parse(text.unwrap_or_default());
            ids.push(id.map_err(|problem| Failed::For(problem.of_line(first.line)))?);
        }
    }
    Ok(ids)
}

/// The documents that are there, locked, if what is known is so still.
pub(super) async fn look(
    client: &ClientWrapper,
    known: &Known,
    writes: &[Write],
) -> Result<Option<HashMap<(Collection, Id), Document>>, Error> {
    // In order, so that two who write to the same collections do not wait for each other.
    let mut asked: BTreeMap<&Collection, Vec<Id>> = BTreeMap::new();
    for write in writes {
        let of = asked.entry(&write.collection).or_default();
        // What is made is not there.
        of.extend(write.id.clone());
    }
    let counted = client.prepare_cached(COUNTED).await?;
    let mut documents = HashMap::new();
    for (collection, ids) in asked {
        let shelf = Shelf::of(collection, known);
        // Sent together, in this order.
        let (row, found) = join(
            client.query_one(&counted, &[]),
            shelf.lock(client, collection, &ids),
        )
        .await;
        if row?.try_get::<_, i64>(0)? != known.counted {
            return Ok(None);
        }
        let named = |(id, document)| ((collection.clone(), id), document);
        documents.extend(found?.into_iter().map(named));
    }
    Ok(Some(documents))
}
