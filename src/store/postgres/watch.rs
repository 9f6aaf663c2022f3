//! A table of the user's own becomes a collection: triggers put its changes into the outbox.

use tokio_postgres::{Client, Row, Transaction};

use super::migrate;
use super::table::Holds;
use crate::database::Place;
use crate::database::why;
use crate::store::name::Collection;

/// What is found under a name: the table, its kind, and its key.
const FIND: &str = "
    select c.oid::bigint, c.oid::regclass::text, c.relname::text, c.relkind::text, i.indnkeyatts::bigint,
        a.attname::text, t.typname::text,
        exists (select from pg_attribute o where o.attrelid = c.oid and o.attname = 'id' and not o.attisdropped)
    from pg_class c
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    left join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
    left join pg_type t on t.oid = a.atttypid
    where c.oid = to_regclass($1)";

/// Has a table watched, under a collection's name; says what that does.
///
/// # Errors
/// Why it cannot be, for a person.
pub async fn watch(place: &Place, table: &str, collection: Option<&str>) -> Result<String, String> {
    let shown = place.shown();
    let mut client = migrate::connect(place).await?;
    migrate::check(&client, place).await?;
    let failed = |error: tokio_postgres::Error| format!("{shown}: {}", why(&error));
    let transaction = client.transaction().await.map_err(failed)?;
    let found = Found::of(transaction.client(), table).await?;
    let name = collection.unwrap_or(&found.name);
    let name = Collection::new(name).map_err(|problem| {
        let advice = "give it another name by --collection";
        format!("{name:?}: {}; {advice}", problem.detail)
    })?;
    let was = found.enter(&transaction, &name).await?;
    transaction
        .batch_execute(&found.triggers(&name))
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(match was {
        true => format!(
            "{shown}: {} was collection {name} already; its triggers are new",
            found.shown
        ),
        false => format!(
            "{shown}: {} is collection {name} now, its ids are those in {}",
            found.shown, found.key
        ),
    })
}

/// Has a table watched no more.
///
/// # Errors
/// Why it cannot be, for a person.
pub async fn unwatch(place: &Place, table: &str) -> Result<String, String> {
    let shown = place.shown();
    let mut client = migrate::connect(place).await?;
    migrate::check(&client, place).await?;
    let failed = |error: tokio_postgres::Error| format!("{shown}: {}", why(&error));
    let transaction = client.transaction().await.map_err(failed)?;
    let gone = "
        with gone as (delete from triwire.watched where relation = to_regclass($1) returning collection, relation),
            versions as (delete from triwire.versions v using gone g where v.collection = g.collection)
        select collection, relation::text from gone";
    let row = transaction
        .query_opt(gone, &[&table])
        .await
        .map_err(failed)?;
    let row = row.ok_or_else(|| format!("{shown}: {table} is not watched"))?;
    let (name, relation): (String, String) = (row.get(0), row.get(1));
    transaction
        .batch_execute(&no_triggers(&relation))
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(format!("{shown}: {relation} is collection {name} no more"))
}

/// A table that can be watched.
struct Found {
    oid: i64,
    /// Quoted, with its schema's name where that is needed.
    shown: String,
    name: String,
    key: String,
}

impl Found {
    async fn of(client: &Client, table: &str) -> Result<Found, String> {
        let row = client.query_opt(FIND, &[&table]).await;
        let row = row.map_err(|error| why(&error))?;
        let row = row.ok_or_else(|| {
            format!("there is no table {table} that this role sees; write SCHEMA.TABLE, in quotes where SQL needs them")
        })?;
        Found::read(&row)
    }

    fn read(row: &Row) -> Result<Found, String> {
        let text = |at: usize| row.try_get::<_, Option<String>>(at).ok().flatten();
        let shown = text(1).unwrap_or_default();
        if !matches!(row.get::<_, &str>(3), "r" | "p") {
            return Err(format!(
                "{shown} is no table: a view has no changes of its own"
            ));
        }
        let key = match row.get::<_, Option<i64>>(4) {
            None => {
                return Err(format!(
                    "{shown} has no primary key, and so nothing that is an id"
                ));
            }
            Some(1) => text(5).unwrap_or_default(),
            Some(columns) => {
                return Err(format!(
                    "the primary key of {shown} has {columns} columns, and an id is one value"
                ));
            }
        };
        let kind = text(6).unwrap_or_default();
        if !Holds::named(&kind).is_key() {
            return Err(format!(
                "the key of {shown} is of type {kind}; an id is an integer, a text or a uuid"
            ));
        }
        if key != "id" && row.get(7) {
            return Err(format!(
                "{shown} has a column id that is not its key ({key}); a document's id is its key"
            ));
        }
        Ok(Found {
            oid: row.get(0),
            shown,
            name: text(2).unwrap_or_default(),
            key,
        })
    }

    /// Says that it is this collection; whether it was already.
    async fn enter(
        &self,
        transaction: &Transaction<'_>,
        name: &Collection,
    ) -> Result<bool, String> {
        const THERE: &str = "
            select (select w.relation::text from triwire.watched w where w.collection = $1 and w.relation::oid::bigint <> $2),
                (select w.collection from triwire.watched w where w.relation::oid::bigint = $2),
                exists (select from triwire.documents d where d.collection = $1)";
        const ENTER: &str = "
            insert into triwire.watched values ($1, $2::bigint::oid::regclass, $3)
            on conflict (collection) do update set key = excluded.key";
        let shown = &self.shown;
        let name = name.as_str();
        let row = transaction.query_one(THERE, &[&name, &self.oid]).await;
        let row = row.map_err(|error| why(&error))?;
        let (other, own): (Option<&str>, Option<&str>) = (row.get(0), row.get(1));
        if let Some(other) = other {
            return Err(format!(
                "collection {name} is table {other} already; give this one another name by --collection"
            ));
        }
        if let Some(own) = own.filter(|own| *own != name) {
            return Err(format!(
                "{shown} is collection {own} already; run triwire watch-table --remove {shown} first"
            ));
        }
        if row.get(2) {
            return Err(format!(
                "collection {name} has documents already; give the table another name by --collection"
            ));
        }
        let key = &self.key;
        let entered = transaction.execute(ENTER, &[&name, &self.oid, &key]).await;
        entered.map_err(|error| why(&error))?;
        Ok(own.is_some())
    }

    /// They fire for everybody, also where changes come by replication.
    fn triggers(&self, name: &Collection) -> String {
        let table = &self.shown;
        let key = self.key.replace('\'', "''");
        let none = no_triggers(table);
        format!(
            "{none}
            create trigger triwire_row after insert or update or delete on {table}
                for each row execute function triwire.row_changed('{name}', '{key}');
            create trigger triwire_truncate before truncate on {table}
                for each statement execute function triwire.rows_go('{name}', '{key}');
            create trigger triwire_wake after insert or update or delete or truncate on {table}
                for each statement execute function triwire.wake();
            alter table {table} enable always trigger triwire_row;
            alter table {table} enable always trigger triwire_truncate;
            alter table {table} enable always trigger triwire_wake;"
        )
    }
}

fn no_triggers(table: &str) -> String {
    ["triwire_row", "triwire_truncate", "triwire_wake"]
        .map(|trigger| format!("drop trigger if exists {trigger} on {table};"))
        .concat()
}
