//! Collections: documents that peers create, read, change and delete, and whose changes are told to whoever watches.
//!
//! [`Collections`] is the one service behind all faces; a [`Store`] is where documents are kept. What a change makes of a
//! document is decided in one place for all stores, and each change is announced by appending to the log, after it is
//! committed. Nothing here knows how it was asked: it names no wire and no API.

pub mod announce;
pub mod apply;
pub mod ask;
pub mod embedded;
pub mod name;
pub mod nowhere;
pub mod postgres;
pub mod schema;
pub mod write;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::StatusCode;

use self::announce::Announcer;
use self::announce::watch::Watched;
use self::ask::Ask;
use self::ask::filter::Filter;
use self::name::{Collection, Id};
use self::schema::Schema;
use self::write::{Document, Write, Written};
use crate::event::EventId;
use crate::log::Start;
use crate::problem::Problem;

/// How large and how many things may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a document, and of what is sent to make one.
    pub document_bytes: usize,
    /// How deep objects and lists may be within each other.
    pub document_depth: usize,
    /// Operations of a JSON Patch.
    pub patch_operations: usize,
    /// Bytes of a bulk of documents.
    pub bulk_bytes: usize,
    /// Documents of a bulk.
    pub bulk_documents: usize,
    /// Documents of a page.
    pub per_page: u64,
    /// Bytes of a page.
    pub page_bytes: usize,
    /// Collections.
    pub collections: usize,
    /// Fields of a collection that have an index, each of which every change has to keep.
    pub collection_indexes: usize,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// What is on it.
    pub documents: Vec<Document>,
    /// How many there are on all pages.
    pub total: u64,
    /// From where to watch: what is not in the list comes after it. What is in it may come again, in no greater version.
    pub cursor: EventId,
}

/// Where documents are kept.
pub trait Store: Send + Sync {
    /// One document, if it is there.
    fn get<'a>(
        &'a self,
        collection: &'a Collection,
        id: &'a Id,
    ) -> BoxFuture<'a, Result<Option<Document>, Problem>>;

    /// The documents of a page, and how many there are on all pages. A page over [`Limits::page_bytes`] is refused by
    /// [`large_page`], as soon as that is seen.
    fn list<'a>(
        &'a self,
        collection: &'a Collection,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<(Vec<Document>, u64), Problem>>;

    /// Makes all of these changes, or none. Comes back when they are committed and the event of each is in the log. A
    /// problem with one of them says where that stands ([`Write::line`]).
    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, Problem>>;

    /// What the documents of a collection must be, if anything.
    fn schema<'a>(
        &'a self,
        collection: &'a Collection,
    ) -> BoxFuture<'a, Result<Option<Arc<Schema>>, Problem>>;

    /// Sets or takes away what documents must be from now on; says whether something was said before.
    fn put_schema(
        &self,
        collection: Collection,
        schema: Option<Arc<Schema>>,
    ) -> BoxFuture<'_, Result<bool, Problem>>;

    /// Whether it can be asked now.
    ///
    /// # Errors
    /// 503 when it is away.
    fn ready(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// The service: what every face calls.
pub struct Collections {
    store: Arc<dyn Store>,
    announcer: Arc<Announcer>,
    limits: Limits,
}

impl Collections {
    /// A service of a store, which announces by this announcer.
    pub fn new(store: Arc<dyn Store>, announcer: Arc<Announcer>, limits: Limits) -> Collections {
        Collections {
            store,
            announcer,
            limits,
        }
    }

    /// What may be how large.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether documents can be asked for now.
    ///
    /// # Errors
    /// 503 when the store is away.
    pub fn ready(&self) -> Result<(), Problem> {
        self.store.ready()
    }

    /// One document.
    ///
    /// # Errors
    /// 404 when it is not there, 503 when the store is not.
    pub async fn get(&self, collection: &Collection, id: &Id) -> Result<Document, Problem> {
        let found = self.store.get(collection, id).await?;
        found.ok_or_else(|| not_found(collection, id))
    }

    /// A page of documents, and from where to watch.
    ///
    /// # Errors
    /// 400 for fields that the schema does not know, 503 when it takes too long or the store is not there.
    pub async fn list(&self, collection: &Collection, ask: &Ask) -> Result<Page, Problem> {
        if let Some(schema) = self.store.schema(collection).await? {
            schema.check_fields(ask.fields())?;
        }
        // Taken before: what is committed later has a greater id.
        let cursor = self.announcer.head();
        let (documents, total) = self.store.list(collection, ask).await?;
        Ok(Page {
            documents,
            total,
            cursor,
        })
    }

    /// Makes one change.
    ///
    /// # Errors
    /// 400, 404, 409, 412, 413 or 422 for what cannot be made, 503 when the store is not there.
    pub async fn write(&self, write: Write) -> Result<Written, Problem> {
        let mut written = self.store.write(vec![write]).await?;
        written.pop().ok_or_else(|| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "store",
                "nothing was written",
            )
        })
    }

    /// Makes several changes, all or none.
    ///
    /// # Errors
    /// The same.
    pub async fn bulk(&self, writes: Vec<Write>) -> Result<Vec<Written>, Problem> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        self.store.write(writes).await
    }

    /// Where a reader begins who watches the documents of a collection that all these filters ask for.
    ///
    /// # Errors
    /// 400 for fields that the schema does not know, 429 when it is a watch too many, 503 when the store is not there.
    pub async fn watch(
        &self,
        collection: &Collection,
        filters: Vec<Filter>,
        start: Start,
    ) -> Result<Watched, Problem> {
        if let Some(schema) = self.store.schema(collection).await? {
            schema.check_fields(filters.iter().map(|filter| &filter.field))?;
        }
        self.announcer.watch(collection, filters, start).await
    }

    /// What the documents of a collection must be.
    ///
    /// # Errors
    /// 404 when nothing is said, 503 when the store is not there.
    pub async fn schema(&self, collection: &Collection) -> Result<Arc<Schema>, Problem> {
        let found = self.store.schema(collection).await?;
        found.ok_or_else(|| {
            let detail =
                format!("{collection} has no schema; PUT one to say what its documents are");
            Problem::new(StatusCode::NOT_FOUND, "no-schema", detail)
        })
    }

    /// Says what the documents of a collection must be from now on; whether something was said before.
    ///
    /// # Errors
    /// 429 when it is a collection too many, 503 when the store is not there.
    pub async fn put_schema(
        &self,
        collection: Collection,
        schema: Arc<Schema>,
    ) -> Result<bool, Problem> {
        self.store.put_schema(collection, Some(schema)).await
    }

    /// Says no more what documents must be.
    ///
    /// # Errors
    /// 404 when nothing was said, 503 when the store is not there.
    pub async fn delete_schema(&self, collection: Collection) -> Result<(), Problem> {
        self.schema(&collection).await?;
        self.store.put_schema(collection, None).await.map(drop)
    }
}

/// 400 for a list whose page is over its limit.
pub fn large_page(limits: &Limits) -> Problem {
    let detail = format!(
        "the page would have more than {} bytes (page-bytes); ask for fewer documents (per_page)",
        limits.page_bytes
    );
    Problem::bad_request("large-page", detail)
}

/// 404 for a document.
pub fn not_found(collection: &Collection, id: &Id) -> Problem {
    let detail = format!("there is no document {id} in {collection}; PUT or POST makes one");
    Problem::new(StatusCode::NOT_FOUND, "no-document", detail)
}
