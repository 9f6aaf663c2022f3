//! What is defined in the database and asked for with each request: which collections are tables, and what documents
//! must be. Kept here, and looked at again when the database says that it has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio_postgres::{Client, Error};

use super::table::Table;
use crate::problem::Problem;
use crate::store::Limits;
use crate::store::name::Collection;
use crate::store::schema::Schema;

/// What is known at one time.
#[derive(Default)]
pub(super) struct Known {
    /// The database counts its changes.
    pub(super) counted: i64,
    schemas: HashMap<Collection, Result<Arc<Schema>, Problem>>,
    tables: HashMap<Collection, Arc<Table>>,
}

/// The newest that is known.
pub(super) struct Definitions {
    limits: Limits,
    known: Mutex<Arc<Known>>,
}

/// How often they have changed.
pub(super) const COUNTED: &str = "select definitions from triwire.meta";

impl Definitions {
    /// None yet.
    pub(super) fn new(limits: Limits) -> Definitions {
        Definitions {
            limits,
            known: Mutex::default(),
        }
    }

    /// What is known now.
    pub(super) fn known(&self) -> Arc<Known> {
        self.known
            .lock()
            .expect("nothing panics while it is held")
            .clone()
    }

    /// Looks at all of them. What is read after the count is at least as new as it.
    pub(super) async fn read(&self, client: &Client) -> Result<Arc<Known>, Error> {
        let old = self.known();
        let counted = client.query_one(COUNTED, &[]).await?.try_get(0)?;
        let mut schemas = HashMap::new();
        let rows = "select collection, schema from triwire.schemas";
        for row in client.query(rows, &[]).await? {
            let (name, text): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            if let Ok(collection) = Collection::new(name) {
                let schema = old.same(&collection, text);
                schemas.insert(
                    collection,
                    schema.unwrap_or_else(|| understood(name, text, &self.limits)),
                );
            }
        }
        let known = Arc::new(Known {
            counted,
            schemas,
            tables: Table::all(client).await?,
        });
        let mut newest = self.known.lock().expect("nothing panics while it is held");
        if newest.counted <= known.counted {
            *newest = known.clone();
        }
        Ok(known)
    }

    /// Sets or takes away what documents must be; says whether something was said before.
    pub(super) async fn put(
        &self,
        client: &Client,
        collection: &Collection,
        schema: Option<&Schema>,
    ) -> Result<bool, Error> {
        const PUT: &str = "
            with old as (select from triwire.schemas where collection = $1),
            new as (
                insert into triwire.schemas values ($1, $2)
                on conflict (collection) do update set schema = excluded.schema
            )
            select exists (select from old)";
        const TAKE: &str = "
            with gone as (delete from triwire.schemas where collection = $1 returning 1) select exists (select from gone)";
        let name = collection.as_str();
        let row = match schema {
            Some(schema) => {
                let text = String::from_utf8_lossy(schema.text());
                client.query_one(PUT, &[&name, &&*text]).await?
            }
            None => client.query_one(TAKE, &[&name]).await?,
        };
        self.read(client).await?;
        row.try_get(0)
    }
}

impl Known {
    /// What documents must be, if anything.
    ///
    /// # Errors
    /// 500 when that cannot be understood.
    pub(super) fn schema(&self, collection: &Collection) -> Result<Option<Arc<Schema>>, Problem> {
        self.schemas.get(collection).cloned().transpose()
    }

    /// The table that a collection is, if it is one.
    pub(super) fn table(&self, collection: &Collection) -> Option<Arc<Table>> {
        self.tables.get(collection).cloned()
    }

    /// One that was read before need not be compiled again.
    fn same(&self, collection: &Collection, text: &str) -> Option<Result<Arc<Schema>, Problem>> {
        let known = self.schemas.get(collection)?.as_ref().ok()?;
        (known.text() == text.as_bytes()).then(|| Ok(known.clone()))
    }
}

/// Others can have written it: what is in it that cannot be understood must not let everything in.
fn understood(name: &str, text: &str, limits: &Limits) -> Result<Arc<Schema>, Problem> {
    let read = Schema::read(Bytes::copy_from_slice(text.as_bytes()), limits);
    read.map(Arc::new).map_err(|problem| {
        let detail = format!(
            "the schema of {name} as it is kept cannot be understood ({}); PUT another",
            problem.detail
        );
        Problem::new(hyper::StatusCode::INTERNAL_SERVER_ERROR, "schema", detail)
    })
}
