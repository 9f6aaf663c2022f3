//! Indexes on the fields that lists name, made when they are first asked for, so many a collection. They are made beside
//! what others write, which takes a while; until then a list looks at all documents. None is taken away again: whoever
//! keeps the database may.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_postgres::Client;

use super::{Shared, list, migrate};
use crate::database::why;
use crate::store::ask::{Ask, Field};
use crate::store::name::Collection;

/// With fewer documents nobody waits for a look at all of them.
const FEW: i64 = 1000;

/// How many fields are remembered that were asked for: any peer can name some.
const REMEMBERED: usize = 10_000;

/// One at a time, over all servers.
const ALONE: i64 = 0x7472_6977_6972_6502;

/// What was asked for, and whether somebody is at it.
#[derive(Default)]
pub(super) struct Indexes(Mutex<State>);

#[derive(Default)]
struct State {
    asked: HashSet<(Collection, Field)>,
    at_work: bool,
}

impl Indexes {
    /// The fields of a list that nobody has asked for before; nothing, while others are looked at.
    fn fresh(&self, collection: &Collection, ask: &Ask) -> Vec<Field> {
        let mut state = self.state();
        if state.at_work || state.asked.len() >= REMEMBERED {
            return Vec::new();
        }
        let fields = ask.fields().filter(|field| !field.is_id());
        let fresh = fields.filter(|field| {
            let asked = (collection.clone(), (*field).clone());
            state.asked.insert(asked)
        });
        let fresh: Vec<Field> = fresh.cloned().collect();
        state.at_work = !fresh.is_empty();
        fresh
    }

    /// It may be asked for again: there were too few documents, or somebody else was at it.
    fn forget(&self, collection: &Collection, field: &Field) {
        let asked = (collection.clone(), field.clone());
        self.state().asked.remove(&asked);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

/// Makes what a list of documents lacks, after it is answered.
pub(super) fn consider(shared: &Arc<Shared>, collection: &Collection, ask: &Ask) {
    let most = shared.limits().collection_indexes;
    if most == 0 {
        return;
    }
    let fresh = shared.indexes.fresh(collection, ask);
    if fresh.is_empty() {
        return;
    }
    let (shared, collection) = (shared.clone(), collection.clone());
    tokio::spawn(async move {
        for field in fresh {
            match make(&shared, &collection, &field, most).await {
                Ok(true) => {}
                Ok(false) => shared.indexes.forget(&collection, &field),
                Err(why) => tracing::warn!("store: no index on {field} of {collection}: {why}"),
            }
        }
        shared.indexes.state().at_work = false;
    });
}

/// Whether it is settled: it is there, or there may be no more.
async fn make(
    shared: &Shared,
    collection: &Collection,
    field: &Field,
    most: usize,
) -> Result<bool, String> {
    const LOOK: &str = "
        select pg_try_advisory_lock($1),
            (select count(*) from (select from triwire.documents where collection = $2 limit $3) d),
            (
                select i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid
                where i.indrelid = 'triwire.documents'::regclass and c.relname = $4
            ),
            (
                select count(*) from pg_index i where i.indrelid = 'triwire.documents'::regclass
                and pg_get_expr(i.indpred, i.indrelid) like '%''' || $2 || '''::text%'
            )";
    let client = migrate::connect(&shared.source.place).await?;
    let name = name(&client, collection, field).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&ALONE, &collection.as_str(), &FEW, &name];
    let row = client.query_one(LOOK, &values).await;
    let row = row.map_err(|error| why(&error))?;
    let (alone, documents): (bool, i64) = (row.get(0), row.get(1));
    let (valid, indexes): (Option<bool>, i64) = (row.get(2), row.get(3));
    if !alone || documents < FEW {
        return Ok(false);
    }
    if valid == Some(true) || (valid.is_none() && indexes.unsigned_abs() >= most as u64) {
        return Ok(true);
    }
    let [kind, number, text] = list::keys(&list::json(field));
    let made = [
        "set statement_timeout = 0".to_owned(),
        "set lock_timeout = 0".to_owned(),
        // One that broke off before is of no use.
        format!("drop index concurrently if exists triwire.{name}"),
        format!(
            "create index concurrently {name} on triwire.documents ({kind}, {number}, {text}, number, id) where collection = '{collection}'"
        ),
        format!("comment on index triwire.{name} is '{collection}: {field}'"),
    ];
    for sql in made {
        client
            .batch_execute(&sql)
            .await
            .map_err(|error| why(&error))?;
    }
    Ok(true)
}

/// Of any length of what it is for.
async fn name(client: &Client, collection: &Collection, field: &Field) -> Result<String, String> {
    let asked = format!("{collection}.{field}");
    let row = client
        .query_one("select 'list_' || md5($1)", &[&asked])
        .await;
    let name = row.and_then(|row| row.try_get(0));
    name.map_err(|error| why(&error))
}
