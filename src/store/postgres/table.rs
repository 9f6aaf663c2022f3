//! A table of the user's own that is a collection: what it has, and what is said of one of its rows in SQL.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::{Client, Error, Row};

use crate::problem::Problem;
use crate::store::name::{Collection, Id};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) collection: Collection,
    /// Its name with its schema's, quoted.
    pub(super) relation: String,
    pub(super) key: Column,
    /// All but the key.
    pub(super) columns: Vec<Column>,
    /// The name of the constraint that makes it the key.
    pub(super) constraint: String,
    /// What makes a key, in SQL.
    pub(super) made: Option<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The name, quoted.
    pub(super) quoted: String,
    pub(super) holds: Holds,
    /// Whether the database alone fills it.
    pub(super) filled: bool,
    /// Whether there is a value in each row.
    pub(super) always: bool,
}

/// What a column holds, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// An integer of so many bytes.
    Integer(i16),
    /// Text of any kind.
    Text,
    /// A UUID.
    Uuid,
    /// What has an order that its JSON has too.
    Ordered,
    /// Anything else.
    Other,
}

impl Holds {
    pub(super) fn named(kind: &str) -> Holds {
        match kind {
            "int2" => Holds::Integer(2),
            "int4" => Holds::Integer(4),
            "int8" => Holds::Integer(8),
            "text" | "varchar" => Holds::Text,
            "uuid" => Holds::Uuid,
            "numeric" | "float4" | "float8" | "bool" | "date" | "timestamp" | "timestamptz" => {
                Holds::Ordered
            }
            _ => Holds::Other,
        }
    }

    /// Whether a key can be this.
    pub(super) fn is_key(self) -> bool {
        !matches!(self, Holds::Ordered | Holds::Other)
    }
}

/// All columns of all tables that are watched.
const COLUMNS: &str = "
    select w.collection, format('%I.%I', n.nspname, c.relname), a.attname::text, quote_ident(a.attname), t.typname::text,
        a.attname = w.key, a.attgenerated <> '' or a.attidentity = 'a', a.attidentity <> '',
        pg_get_expr(d.adbin, d.adrelid),
        coalesce((select p.conname::text from pg_constraint p where p.conrelid = c.oid and p.contype = 'p'), ''),
        a.attnotnull
    from triwire.watched w
    join pg_class c on c.oid = w.relation
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    order by w.collection, a.attnum";

impl Table {
    /// Reads what is known of all.
    pub(super) async fn all(client: &Client) -> Result<HashMap<Collection, Arc<Table>>, Error> {
        let mut rows: HashMap<Collection, Vec<Row>> = HashMap::new();
        for row in client.query(COLUMNS, &[]).await? {
            let Ok(collection) = Collection::new(row.try_get(0)?) else {
                continue;
            };
            rows.entry(collection).or_default().push(row);
        }
        let mut tables = HashMap::new();
        for (collection, rows) in rows {
            match Table::of(&collection, &rows)? {
                Some(table) => drop(tables.insert(collection, Arc::new(table))),
                None => tracing::error!(
                    "store: the table of collection {collection} has lost its key; run triwire watch-table again"
                ),
            }
        }
        Ok(tables)
    }

    fn of(collection: &Collection, rows: &[Row]) -> Result<Option<Table>, Error> {
        let (mut key, mut columns) = (None, Vec::new());
        let (mut relation, mut constraint) = (String::new(), String::new());
        for row in rows {
            relation = row.try_get(1)?;
            constraint = row.try_get(9)?;
            let column = Column {
                name: row.try_get(2)?,
                quoted: row.try_get(3)?,
                holds: Holds::named(row.try_get(4)?),
                filled: row.try_get(6)?,
                always: row.try_get(10)?,
            };
            if !row.try_get::<_, bool>(5)? {
                columns.push(column);
                continue;
            }
            let made = match row.try_get(7)? {
                true => Some(sequence(&relation, &column.name)),
                false => row.try_get::<_, Option<String>>(8)?,
            };
            key = Some((column, made));
        }
        Ok(key
            .filter(|(key, _)| key.holds.is_key())
            .map(|(key, made)| Table {
                collection: collection.clone(),
                relation,
                constraint,
                made: made.or_else(|| {
                    let uuid = key.holds == Holds::Uuid;
                    uuid.then(|| "gen_random_uuid()".to_owned())
                }),
                key,
                columns,
            }))
    }

    /// The value of the key that an id is, as the database writes it; nothing, if no row can have it.
    pub(super) fn key_of(&self, id: &Id) -> Option<String> {
        let most = |bytes: i16| match bytes {
            2 => i64::from(i16::MAX),
            4 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        match (self.key.holds, id) {
            (Holds::Integer(bytes), Id::Integer(number)) => {
                let fits = (-most(bytes) - 1..=most(bytes)).contains(number);
                fits.then(|| number.to_string())
            }
            (Holds::Text, id) => Some(id.to_string()),
            (Holds::Uuid, Id::Text(text)) => is_uuid(text).then(|| text.to_string()),
            _ => None,
        }
    }

    /// 400 for an id that no row can have.
    pub(super) fn no_key(&self, id: &Id) -> Problem {
        let what = match self.key.holds {
            Holds::Integer(2) => "integers of 16 bits",
            Holds::Integer(4) => "integers of 32 bits",
            Holds::Integer(_) => "integers",
            Holds::Uuid => "UUIDs, written in lower case",
            _ => "texts",
        };
        let detail = format!(
            "{id} is no id here: those of {} are {what}",
            self.collection
        );
        Problem::bad_request("id", detail)
    }

    /// The type in which keys are compared.
    pub(super) fn key_type(&self) -> &'static str {
        match self.key.holds {
            Holds::Integer(_) => "bigint",
            Holds::Uuid => "uuid",
            _ => "text",
        }
    }

    /// The condition that a row of `t` has the key of this parameter, which is a text.
    pub(super) fn is_key(&self, parameter: usize) -> String {
        let (key, kind) = (&self.key.quoted, self.key_type());
        format!("t.{key} = ${parameter}::text::{kind}")
    }

    /// The document that a row of `t` is, as JSON in text.
    pub(super) fn json(&self) -> String {
        let name = self.key.name.replace('\'', "''");
        format!("triwire.document_of(t, '{name}')::text")
    }

    /// The column of a member, if it has one.
    pub(super) fn column(&self, member: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == member)
    }

    /// 400 for a member that is no column.
    pub(super) fn no_column(&self, member: &str) -> Problem {
        let names: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
        let shown: String = member.chars().take(64).collect();
        let detail = format!(
            "{shown:?} is no column of {}; it has id, {}",
            self.collection,
            names.join(", ")
        );
        Problem::bad_request("column", detail)
    }
}

/// The next value of an identity.
fn sequence(relation: &str, column: &str) -> String {
    let quoted = |text: &str| text.replace('\'', "''");
    format!(
        "nextval(pg_get_serial_sequence('{}', '{}'))",
        quoted(relation),
        quoted(column)
    )
}

/// As the database writes it: what is written otherwise would be the same row under another id.
fn is_uuid(text: &str) -> bool {
    let place = |(at, b): (usize, u8)| match at {
        8 | 13 | 18 | 23 => b == b'-',
        _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 36 && text.bytes().enumerate().all(place)
}
