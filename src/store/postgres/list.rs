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
        Ok(match (filter.compare, filter.terms.first()) {
            (Compare::Eq | Compare::In, _) => format!("({})", self.is_any(&value, &filter.terms)),
            // What is compared with null is null, which is not that value either.
            (Compare::Ne, _) => format!("({}) is not true", self.is_any(&value, &filter.terms)),
            (compare, Some(term)) => self.beside(&value, compare, term),
            (_, None) => "false".into(),
        })
    }

    fn is_any(&mut self, value: &Value, terms: &[Term]) -> String {
        let any: Vec<String> = terms.iter().map(|term| self.is(value, term)).collect();
        any.join(" or ")
    }

    /// Whether a value is what a term says.
    fn is(&mut self, value: &Value, term: &Term) -> String {
        let text = self.parameter(&term.text);
        let json = value.json();
        let as_text = match value {
            Value::Id if reads_as_it_is(term) => return format!("t.id = {text}"),
            Value::Column(column, Holds::Text, _) => format!("{column} = {text}"),
            Value::Column(_, Holds::Integer(_), _) => "false".into(),
            _ => format!(
                "({} and {json} = to_jsonb({text}))",
                text_beside(&json, "=", &text)
            ),
        };
        let literal = match (&term.literal, value) {
            (None, _) => return as_text,
            (Some(Literal::Null), Value::Column(column, ..)) => format!("{column} is null"),
            (Some(Literal::Null), _) => format!("triwire.kind_of({json}) = 0"),
            (_, Value::Column(_, Holds::Text, _)) => return as_text,
            (Some(Literal::Bool(asked)), _) => {
                let digit = i32::from(*asked).to_string();
                let beside = number_beside(&json, "=", &digit);
                format!("({beside} and {json} = '{asked}'::jsonb)")
            }
            (Some(Literal::Number(number)), Value::Column(column, Holds::Integer(_), _))
                if let Some(number) = number.as_i64() =>
            {
                format!("{column} = '{number}'::bigint")
            }
            (Some(Literal::Number(number)), _) => {
                let number = self.parameter(&number.to_string());
                let beside = number_beside(&json, "=", &number);
                format!("({beside} and jsonb_typeof({json}) = 'number')")
            }
        };
        format!("{as_text} or {literal}")
    }

    /// Whether a value of the term's own type comes before it, or after.
    fn beside(&mut self, value: &Value, compare: Compare, term: &Term) -> String {
        let (operator, or_equal) = match compare {
            Compare::Lt => ("<", "<="),
            Compare::Lte => ("<=", "<="),
            Compare::Gt => (">", ">="),
            _ => (">=", ">="),
        };
        let json = value.json();
        if let Some(Literal::Number(number)) = &term.literal {
            let number = self.parameter(&number.to_string());
            let beside = number_beside(&json, operator, &number);
            return format!("({beside} and jsonb_typeof({json}) = 'number')");
        }
        let text = self.parameter(&term.text);
        // What has the same beginning may come before or after by its end.
        let beside = text_beside(&json, or_equal, &text);
        format!(r#"({beside} and ({json} #>> '{{}}') collate "C" {operator} {text})"#)
    }

    fn order(&self, sort: &[Sort]) -> Result<String, Problem> {
        let mut terms = Vec::new();
        for sort in sort {
            let how = if sort.descending { " desc" } else { "" };
            // Null comes first. Where there is none it is not said, since an index has it last.
            let nulls = |always: bool| match (always, sort.descending) {
                (true, _) => "",
                (false, true) => " nulls last",
                (false, false) => " nulls first",
            };
            if sort.field.is_id() {
                terms.extend(self.by_id().into_iter().map(|term| term + how));
                continue;
            }
            match self.value(&sort.field)? {
                Value::Column(column, Holds::Text, always) => {
                    terms.push(format!("{column} collate \"C\"{how}{}", nulls(always)));
                }
                Value::Column(column, holds, always) if holds != Holds::Other => {
                    terms.push(format!("{column}{how}{}", nulls(always)));
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
            ([], holds) => Value::Column(name, holds, column.always),
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

/// A condition that such an index answers, on the number that a value is; `true` and `false` are some too.
fn number_beside(json: &str, operator: &str, number: &str) -> String {
    let [kind, own, _] = keys(json);
    format!("{kind} = 1 and {own} {operator} {number}::numeric")
}

/// The same on the beginning of a text.
fn text_beside(json: &str, operator: &str, text: &str) -> String {
    let [kind, number, own] = keys(json);
    format!("{kind} = 2 and {number} is null and {own} {operator} left({text}, 500)")
}

/// Whether a document's id is just what the term says, and what it reads as.
fn reads_as_it_is(term: &Term) -> bool {
    let is_number = matches!(Id::parse(&term.text), Ok(Id::Integer(_)));
    is_number == matches!(term.literal, Some(Literal::Number(_)))
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
    /// A column, and whether it always has a value.
    Column(String, Holds, bool),
}

impl Value {
    fn json(&self) -> String {
        match self {
            Value::Id => "(document -> 'id')".to_owned(),
            Value::Json(json) => json.clone(),
            Value::Column(column, ..) => format!("to_jsonb({column})"),
        }
    }
}
