//! Which collections there are: what the thread that writes has committed, for all who ask.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, Error};

use crate::store::Limits;
use crate::store::ask::Field;
use crate::store::name::Collection;
use crate::store::schema::Schema;

/// A collection as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its table is `c` and this.
    pub(super) number: i64,
    /// What its documents must be.
    pub(super) schema: Option<Arc<Schema>>,
    /// The fields that have an index: its number, and when it was used last, in lists of this collection.
    pub(super) indexes: BTreeMap<Field, (i64, Arc<AtomicU64>)>,
    /// How many lists there were.
    pub(super) lists: Arc<AtomicU64>,
    /// How many documents there are, roughly: they change while somebody looks.
    pub(super) documents: Arc<AtomicU64>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Known(RwLock<HashMap<Collection, Arc<Place>>>);

impl Place {
    pub(super) fn new(number: i64) -> Place {
        Place {
            number,
            schema: None,
            indexes: BTreeMap::new(),
            lists: Arc::default(),
            documents: Arc::default(),
        }
    }
}

impl Known {
    /// What a database has.
    pub(super) fn read(connection: &Connection, limits: &Limits) -> Result<Known, Error> {
        let mut places: HashMap<Collection, Place> = HashMap::new();
        let mut numbers: HashMap<i64, Collection> = HashMap::new();
        let mut select =
            connection.prepare("select number, name, documents, schema from collections")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (number, name): (i64, String) = (row.get(0)?, row.get(1)?);
            let (documents, schema): (i64, Option<String>) = (row.get(2)?, row.get(3)?);
            let Ok(collection) = Collection::new(&name) else {
                tracing::warn!("a collection has a name that none may have: {name}");
                continue;
            };
            let mut place = Place::new(number);
            place.documents.store(documents as u64, Ordering::Relaxed);
            place.schema = schema.and_then(|text| match Schema::read(text.into(), limits) {
                Ok(schema) => Some(Arc::new(schema)),
                Err(problem) => {
                    tracing::warn!("the schema of {name} is not in force: {problem}");
                    None
                }
            });
            numbers.insert(number, collection.clone());
            places.insert(collection, place);
        }
        let mut select = connection.prepare("select number, collection, field from indexes")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (number, of, field): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let place = numbers.get(&of).and_then(|name| places.get_mut(name));
            if let (Some(place), Ok(field)) = (place, Field::new(&field)) {
                place.indexes.insert(field, (number, Arc::default()));
            }
        }
        let places = places.into_iter().map(|(name, place)| (name, place.into()));
        Ok(Known(RwLock::new(places.collect())))
    }

    pub(super) fn find(&self, collection: &Collection) -> Option<Arc<Place>> {
        let places = self.0.read().unwrap_or_else(PoisonError::into_inner);
        places.get(collection).cloned()
    }

    pub(super) fn put(&self, collection: Collection, place: Place) {
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        places.insert(collection, Arc::new(place));
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
