//! Watching some documents of a collection on a two-way wire, which has no path and no query for it.

use crate::api::Services;
use crate::log::Start;
use crate::problem::Problem;
use crate::store::announce::watch::Watched;
use crate::store::ask::Ask;
use crate::store::name::Collection;

impl Services {
    /// Where a reader begins who watches the documents of a collection that the filters of a query ask for.
    ///
    /// # Errors
    /// 400 for what is no collection or no filter, 429 when it is a watch too many.
    pub async fn watch(
        &self,
        collection: &str,
        query: &str,
        start: Start,
    ) -> Result<Watched, Problem> {
        let collection = Collection::new(collection)?;
        let pairs = form_urlencoded::parse(query.as_bytes());
        let filters = Ask::parse(pairs, self.collections.limits().per_page)?.filters;
        self.collections.watch(&collection, filters, start).await
    }
}
