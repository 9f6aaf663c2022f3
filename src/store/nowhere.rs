//! No store: for a server that is one of several and shares no database with them, so that its changes would not come to the
//! others.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::Store;
use super::ask::Ask;
use super::name::{Collection, Id};
use super::schema::Schema;
use super::write::{Document, Write, Written};
use crate::problem::Problem;

/// Refuses all.
pub struct Nowhere;

fn refused<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, Problem>> {
    let detail = "this server is one of several (relay), which share documents only in Postgres: start all of them with \
                  --store postgres://…";
    ready(Err(Problem::unavailable("not-shared", detail))).boxed()
}

impl Store for Nowhere {
    fn get<'a>(
        &'a self,
        _: &'a Collection,
        _: &'a Id,
    ) -> BoxFuture<'a, Result<Option<Document>, Problem>> {
        refused()
    }

    fn list<'a>(
        &'a self,
        _: &'a Collection,
        _: &'a Ask,
    ) -> BoxFuture<'a, Result<(Vec<Document>, u64), Problem>> {
        refused()
    }

    fn write(&self, _: Vec<Write>) -> BoxFuture<'_, Result<Vec<Written>, Problem>> {
        refused()
    }

    fn schema<'a>(
        &'a self,
        _: &'a Collection,
    ) -> BoxFuture<'a, Result<Option<Arc<Schema>>, Problem>> {
        refused()
    }

    fn put_schema(
        &self,
        _: Collection,
        _: Option<Arc<Schema>>,
    ) -> BoxFuture<'_, Result<bool, Problem>> {
        refused()
    }
}
