//! Where the documents of a collection are: among all others, or in a table of the user's own. How they are found there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::definitions::Known;
use super::table::Table;
use crate::store::name::{Collection, Id};
use crate::store::write::Document;

/// One of the two.
#[derive(Clone)]
pub(super) enum Shelf {
    /// `triwire.documents`.
    Documents,
    /// A table.
    Table(Arc<Table>),
}

const FIND: &str = "
    select id, version, document::text from triwire.documents where collection = $1 and id = any($2)";

/// Sorted, so that two who write to the same documents do not wait for each other.
const LOCK: &str = "
    select id, version, document::text from triwire.documents where collection = $1 and id = any($2) order by id
    for update";

/// After the rows are locked: what was seen before may have been changed by whoever held them.
const VERSIONS: &str =
    "select id, version from triwire.versions where collection = $1 and id = any($2)";

impl Shelf {
    /// Where a collection's are.
    pub(super) fn of(collection: &Collection, known: &Known) -> Shelf {
        match known.table(collection) {
            Some(table) => Shelf::Table(table),
            None => Shelf::Documents,
        }
    }

    /// Those that are there.
    pub(super) async fn find(
        &self,
        client: &Client,
        collection: &Collection,
        ids: &[Id],
    ) -> Result<HashMap<Id, Document>, Error> {
        let name = collection.as_str();
        let table = match self {
            Shelf::Documents => {
                let ids: Vec<String> = ids.iter().map(Id::to_string).collect();
                let types = [(&name as _, Type::TEXT), (&ids as _, Type::TEXT_ARRAY)];
                return found(&client.query_typed(FIND, &types).await?);
            }
            Shelf::Table(table) => table,
        };
        let sql = format!(
            "select t.{key}::text, coalesce(v.version, 1), {json} from {relation} t
                left join triwire.versions v on v.collection = $1 and v.id = t.{key}::text
                where t.{key} = any($2::text[]::{kind}[])",
            key = table.key.quoted,
            json = table.json(),
            relation = table.relation,
            kind = table.key_type(),
        );
        let keys = keys(table, ids);
        let types = [(&name as _, Type::TEXT), (&keys as _, Type::TEXT_ARRAY)];
        found(&client.query_typed(&sql, &types).await?)
    }

    /// Those that are there, which nobody else changes then until the transaction ends.
    pub(super) async fn lock(
        &self,
        client: &Client,
        collection: &Collection,
        ids: &[Id],
    ) -> Result<HashMap<Id, Document>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let name = collection.as_str();
        let table = match self {
            Shelf::Documents => {
                let ids: Vec<String> = ids.iter().map(Id::to_string).collect();
                let types = [(&name as _, Type::TEXT), (&ids as _, Type::TEXT_ARRAY)];
                return found(&client.query_typed(LOCK, &types).await?);
            }
            Shelf::Table(table) => table,
        };
        let sql = format!(
            "select t.{key}::text, 1::bigint, {json} from {relation} t where t.{key} = any($1::text[]::{kind}[])
                order by t.{key} for update",
            key = table.key.quoted,
            json = table.json(),
            relation = table.relation,
            kind = table.key_type(),
        );
        let keys = keys(table, ids);
        let keys_only = [(&keys as _, Type::TEXT_ARRAY)];
        let types = [(&name as _, Type::TEXT), (&keys as _, Type::TEXT_ARRAY)];
        // Sent in this order, one after the other.
        let (rows, versions) = join(
            client.query_typed(&sql, &keys_only),
            client.query_typed(VERSIONS, &types),
        )
        .await;
        let rows = rows?;
        let mut documents = found(&rows)?;
        for row in versions? {
            let id = Id::parse(row.try_get(0)?).ok();
            if let Some(document) = id.and_then(|id| documents.get_mut(&id)) {
                document.version = row.try_get::<_, i64>(1)?.unsigned_abs();
            }
        }
        Ok(documents)
    }
}

fn keys(table: &Table, ids: &[Id]) -> Vec<String> {
    ids.iter().filter_map(|id| table.key_of(id)).collect()
}

fn found(rows: &[Row]) -> Result<HashMap<Id, Document>, Error> {
    let mut documents = HashMap::new();
    for row in rows {
        if let Some(document) = document(row)? {
            documents.insert(document.id.clone(), document);
        }
    }
    Ok(documents)
}

/// A row of id, version and JSON. Nobody can ask for a row that has no id.
pub(super) fn document(row: &Row) -> Result<Option<Document>, Error> {
    let (id, json): (&str, &str) = (row.try_get(0)?, row.try_get(2)?);
    let version: i64 = row.try_get(1)?;
    Ok(Id::parse(id).ok().map(|id| Document {
        id,
        version: version.unsigned_abs(),
        json: Bytes::copy_from_slice(json.as_bytes()),
    }))
}
