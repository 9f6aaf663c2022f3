//! Lists: a page of documents in an order, of those that filters leave. Field names come checked and are quoted all the
//! same; values are parameters.

use std::fmt::Write as _;
use std::pin::{Pin, pin};
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::StreamExt;
use futures_util::future::join3;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{IsolationLevel, RowStream};

use super::shelf::{self, Shelf};
use super::table::Holds;
use super::{Settings, failure};
use crate::problem::Problem;
use crate::store::ask::filter::{Compare, Filter, Literal, Term};
use crate::store::ask::{Ask, Field, Sort};
use crate::store::name::{Collection, Id};
use crate::store::write::Document;
use crate::store::{Limits, large_page};

/// A page, and how many there are.
pub(super) async fn list(
    client: &mut Object,
    shelf: &Shelf,
    collection: &Collection,
    ask: &Ask,
    settings: &Settings,
) -> Result<(Vec<Document>, u64), Problem> {
    let mut query = Query {
        shelf,
        values: vec![collection.to_string()],
    };
    let from = query.from();
    let filters = query.filters(&ask.filters)?;
    let order = query.order(&ask.order())?;
    let sql = format!(
        "select {what} from {from} where {filters} order by {order} limit {} offset {}",
        ask.per_page,
        ask.offset(),
        what = query.what(),
    );
    let count = format!("select count(*) from {} where {filters}", query.rows());
    let values: Vec<(&(dyn ToSql + Sync), Type)> = query
        .values
        .iter()
        .map(|value| (value as _, Type::TEXT))
        .collect();
    let longest = settings.list_time;
    let failed = |error: tokio_postgres::Error| match error.code() {
        Some(code) if *code == SqlState::QUERY_CANCELED => too_long(longest),
        _ => failure::problem(&error),
    };
    // One look, so that the page and the number of pages agree.
    let look = client
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead);
    let look = look.start().await.map_err(failed)?;
    let most = format!("set local statement_timeout = {}", longest.as_millis());
    // Sent together, in this order. The page comes last, so that it can be left in the middle.
    let (settled, total, page) = join3(
        look.batch_execute(&most),
        look.query_typed_one(&count, &values),
        look.query_typed_raw(&sql, values.clone()),
    )
    .await;
    settled.map_err(failed)?;
    let total: i64 = total.and_then(|row| row.try_get(0)).map_err(failed)?;
    let documents = read(pin!(page.map_err(failed)?), &settings.limits, failed).await?;
    look.commit().await.map_err(failed)?;
    Ok((documents, total.unsigned_abs()))
}

/// The documents of a page, if they are not too much together.
async fn read(
    mut page: Pin<&mut RowStream>,
    limits: &Limits,
    failed: impl Fn(tokio_postgres::Error) -> Problem,
) -> Result<Vec<Document>, Problem> {
    let (mut documents, mut room) = (Vec::new(), limits.page_bytes);
    while let Some(row) = page.next().await {
        let row = row.map_err(&failed)?;
        if let Some(document) = shelf::document(&row).map_err(&failed)? {
            let left = room.checked_sub(document.json.len());
            room = left.ok_or_else(|| large_page(limits))?;
            documents.push(document);
        }
    }
    Ok(documents)
}

fn too_long(longest: Duration) -> Problem {
    let detail = format!(
        "the list took longer than {longest:?} (list-time); filter or sort by fewer fields, or by one that has an index"
    );
    Problem::unavailable("slow-list", detail)
}

/// A query in the making: `$1` is the collection.
struct Query<'s> {
    shelf: &'s Shelf,
    values: Vec<String>,
}

impl Query<'_> {
    fn what(&self) -> String {
        match self.shelf {
            Shelf::Documents => "t.id, t.version, t.document::text".into(),
            Shelf::Table(table) => format!(
                "t.{}::text, coalesce(v.version, 1), {}",
                table.key.quoted,
                table.json()
            ),
        }
    }

    fn from(&self) -> String {
        match self.shelf {
            Shelf::Documents => self.rows(),
            Shelf::Table(table) => format!(
                "{} left join triwire.versions v on v.collection = $1::text and v.id = t.{}::text",
                self.rows(),
                table.key.quoted
            ),
        }
    }

    fn rows(&self) -> String {
        match self.shelf {
            Shelf::Documents => "triwire.documents t".into(),
            Shelf::Table(table) => format!("{} t", table.relation),
        }
    }

    fn filters(&mut self, filters: &[Filter]) -> Result<String, Problem> {
        let mut all = match self.shelf {
            Shelf::Documents => "t.collection = $1::text".to_owned(),
            // Rows that nobody can ask for are in no list.
            Shelf::Table(table) if table.key.holds == Holds::Text => {
                format!(
                    "$1::text is not null and triwire.is_id(t.{})",
                    table.key.quoted
                )
            }
            Shelf::Table(_) => "$1::text is not null".to_owned(),
        };
        for filter in filters {
            let condition = self.filter(filter)?;
            let _ = write!(all, " and {condition}");
        }
        Ok(all)
    }

    fn filter(&mut self, filter: &Filter) -> Result<String, Problem> {
        let value = self.value(&filter.field)?;
        let condition = match (filter.compare, filter.terms.first()) {
            (Compare::Eq | Compare::Ne | Compare::In, _) => {
                let any: Vec<String> = filter
                    .terms
                    .iter()
                    .map(|term| self.is(&value, term))
                    .collect();
                let not = if filter.compare == Compare::Ne {
                    "not "
                } else {
                    ""
                };
                format!("{not}coalesce({}, false)", any.join(" or "))
            }
            (compare, Some(term)) => self.beside(&value, compare, term),
            (_, None) => "false".into(),
        };
        Ok(match filter.compare {
            // Without the wrapping it can be looked up in an index.
            Compare::Eq | Compare::In => {
                let plain = condition.strip_prefix("coalesce(");
                let plain = plain.and_then(|rest| rest.strip_suffix(", false)"));
                plain.map_or(condition.clone(), |plain| format!("({plain})"))
            }
            _ => condition,
        })
    }

    /// Whether a value is what a term says.
    fn is(&mut self, value: &Value, term: &Term) -> String {
        let text = self.parameter(&term.text);
        let reads_as_number = matches!(term.literal, Some(Literal::Number(_)));
        let is_number = matches!(Id::parse(&term.text), Ok(Id::Integer(_)));
        if matches!(value, Value::Id) && reads_as_number == is_number {
            return format!("t.id = {text}");
        }
        let as_text = match value {
            Value::Column(column, Holds::Text) => format!("{column} = {text}"),
            Value::Column(_, Holds::Integer(_)) => "false".into(),
            value => {
                let json = value.json();
                format!(
                    "(triwire.kind_of({json}) = 2 and triwire.number_of({json}) is null and triwire.text_of({json}) collate \"C\" = left({text}, 500) and {json} = to_jsonb({text}))"
                )
            }
        };
        let json = value.json();
        let literal = match &term.literal {
            None => return as_text,
            Some(Literal::Null) => match value {
                Value::Column(column, _) => format!("{column} is null"),
                _ => format!("triwire.kind_of({json}) = 0"),
            },
            Some(Literal::Bool(asked)) => {
                let number = i32::from(*asked);
                format!(
                    "(triwire.kind_of({json}) = 1 and triwire.number_of({json}) = {number} and {json} = '{asked}'::jsonb)"
                )
            }
            Some(Literal::Number(number)) => match (value, number.as_i64()) {
                (Value::Column(column, Holds::Integer(_)), Some(number)) => {
                    format!("{column} = {number}::bigint")
                }
                _ => {
                    let number = self.parameter(&number.to_string());
                    format!(
                        "(triwire.kind_of({json}) = 1 and triwire.number_of({json}) = {number}::numeric and jsonb_typeof({json}) = 'number')"
                    )
                }
            },
        };
        format!("{as_text} or {literal}")
    }

    /// Whether a value of the term's own type comes before it, or after.
    fn beside(&mut self, value: &Value, compare: Compare, term: &Term) -> String {
        let operator = match compare {
            Compare::Lt => "<",
            Compare::Lte => "<=",
            Compare::Gt => ">",
            _ => ">=",
        };
        let json = value.json();
        if let Some(Literal::Number(number)) = &term.literal {
            let number = self.parameter(&number.to_string());
            return format!(
                "(triwire.kind_of({json}) = 1 and triwire.number_of({json}) {operator} {number}::numeric and jsonb_typeof({json}) = 'number')"
            );
        }
        let text = self.parameter(&term.text);
        let loose = if operator.starts_with('<') {
            "<="
        } else {
            ">="
        };
        format!(
            "(triwire.kind_of({json}) = 2 and triwire.number_of({json}) is null and triwire.text_of({json}) collate \"C\" {loose} left({text}, 500) and ({json} #>> '{{}}') collate \"C\" {operator} {text})"
        )
    }

    fn order(&self, sort: &[Sort]) -> Result<String, Problem> {
        let mut terms = Vec::new();
        for sort in sort {
            let how = if sort.descending { " desc" } else { "" };
            // Null comes first: in what is made of JSON here it does anyhow.
            let nulls = if sort.descending {
                " nulls last"
            } else {
                " nulls first"
            };
            if sort.field.is_id() {
                terms.extend(self.by_id().into_iter().map(|term| term + how));
                continue;
            }
            match self.value(&sort.field)? {
                Value::Column(column, Holds::Text) => {
                    terms.push(format!("{column} collate \"C\"{how}{nulls}"));
                }
                Value::Column(column, holds) if holds != Holds::Other => {
                    terms.push(format!("{column}{how}{nulls}"));
                }
                value => terms.extend(keys(&value.json()).into_iter().map(|key| key + how)),
            }
        }
        Ok(terms.join(", "))
    }

    /// Integers come first, whichever they are; a table's key is of one kind, unless it is a text.
    fn by_id(&self) -> Vec<String> {
        let Shelf::Table(table) = self.shelf else {
            return vec!["t.number".to_owned(), "t.id".to_owned()];
        };
        let key = &table.key.quoted;
        match table.key.holds {
            Holds::Text => vec![
                format!("triwire.id_number(t.{key})"),
                format!("t.{key} collate \"C\""),
            ],
            _ => vec![format!("t.{key}")],
        }
    }

    /// What a field is in SQL.
    fn value(&self, field: &Field) -> Result<Value, Problem> {
        let Shelf::Table(table) = self.shelf else {
            return Ok(match field.is_id() {
                true => Value::Id,
                false => Value::Json(json(field)),
            });
        };
        let mut members = field.members();
        let first = members.next().unwrap_or_default();
        let column = match first {
            "id" => &table.key,
            _ => table.column(first).ok_or_else(|| table.no_column(first))?,
        };
        let name = format!("t.{}", column.quoted);
        let inside = members.collect::<Vec<_>>();
        Ok(match (&*inside, column.holds) {
            ([], Holds::Text) if first == "id" => Value::Json(format!("triwire.id_json({name})")),
            ([], holds) => Value::Column(name, holds),
            (inside, _) => Value::Json(below(&format!("to_jsonb({name})"), inside)),
        })
    }

    fn parameter(&mut self, text: &str) -> String {
        // A value with NUL is nowhere, and the database would not take it.
        self.values.push(text.replace('\0', "\u{fffd}"));
        format!("${}::text", self.values.len())
    }
}

/// What the order of values goes by; an index that does for filters too is of just these.
pub(super) fn keys(json: &str) -> [String; 3] {
    [
        format!("triwire.kind_of({json})"),
        format!("triwire.number_of({json})"),
        format!("triwire.text_of({json}) collate \"C\""),
    ]
}

/// A field of a document. What is an identifier needs no care in quotes.
pub(super) fn json(field: &Field) -> String {
    let mut members = field.members();
    let first = members.next().unwrap_or_default();
    let inside = members.collect::<Vec<_>>();
    below(&format!("(document -> '{first}')"), &inside)
}

fn below(json: &str, inside: &[&str]) -> String {
    match inside {
        [] => json.to_owned(),
        inside => format!("({json} #> '{{{}}}')", inside.join(",")),
    }
}

/// What a field is.
enum Value {
    /// The id of a document.
    Id,
    /// Something in JSON.
    Json(String),
    /// A column.
    Column(String, Holds),
}

impl Value {
    fn json(&self) -> String {
        match self {
            Value::Id => "(document -> 'id')".to_owned(),
            Value::Json(json) => json.clone(),
            Value::Column(column, _) => format!("to_jsonb({column})"),
        }
    }
}
