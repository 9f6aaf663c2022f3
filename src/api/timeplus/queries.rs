//! Queries of the dialect: `POST …/queries` answers with the rows for as long as the client stays; beside it the list of
//! queries, one of them, its end, and what a query is made of. 0.x clients (`/api/v1beta1/queries`) get the query alone
//! and read its rows on a WebSocket.

mod describe;
mod events;
pub mod outbox;
pub mod query;
pub mod registry;

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::describe::{
    describe_analyze, describe_cancel, describe_create, describe_delete, describe_list,
    describe_list_with_metrics, describe_made, describe_one, describe_one_with_metrics,
};
use self::outbox::Batching;
use self::query::{Asked, Ending, Query, analysis};
use super::{Edition, ok};
use crate::api::{Context, created, discard, no_content, read_json, whole};
use crate::body::Body;
use crate::counts::{Connection, Seat, WireName};
use crate::live::sql::dialect::Statement;
use crate::live::tables;
use crate::problem::Problem;

/// Bytes of what may be said of a query, and how much of it.
const NAME_BYTES: usize = 255;
const DESCRIPTION_BYTES: usize = 4096;
const TAGS: usize = 32;

/// How rows are gathered when nothing is said.
const COUNT: u64 = 100;
const TIME_MS: u64 = 200;

/// And at most.
const MOST_COUNT: u64 = 10_000;
const MOST_TIME_MS: u64 = 60_000;

/// A query as its author says it. Members may be null, which says nothing; others are ignored.
#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Said {
    sql: Option<String>,
    name: Option<String>,
    description: Option<String>,
    tags: Option<Vec<String>>,
    batching_policy: Option<SaidBatching>,
}

#[derive(Default, Deserialize)]
#[serde(expecting = "an object of count and time_ms")]
struct SaidBatching {
    count: Option<u64>,
    time_ms: Option<u64>,
}

impl Said {
    fn read(self) -> Result<(Asked, Batching), Problem> {
        let asked = Asked {
            sql: said(self.sql)?,
            name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
        };
        let long = |what: &str, most: usize| {
            let detail = format!("{what} has at most {most} bytes; say less");
            Err(Problem::bad_request("query", detail))
        };
        if asked.name.len() > NAME_BYTES {
            return long("name", NAME_BYTES);
        }
        if asked.description.len() > DESCRIPTION_BYTES {
            return long("description", DESCRIPTION_BYTES);
        }
        if asked.tags.len() > TAGS {
            let detail = format!("a query has at most {TAGS} tags; name fewer");
            return Err(Problem::bad_request("query", detail));
        }
        asked.tags.iter().try_for_each(|tag| check_tag(tag))?;
        Ok((asked, self.batching_policy.unwrap_or_default().read()?))
    }
}

impl SaidBatching {
    fn read(&self) -> Result<Batching, Problem> {
        let within = |what: &str, said: Option<u64>, default: u64, most: u64| match said {
            // What some clients write when they mean nothing.
            None | Some(0) => Ok(default),
            Some(number) if number <= most => Ok(number),
            Some(_) => {
                let detail = format!("batching_policy.{what} is a number from 1 to {most}");
                Err(Problem::bad_request("batching-policy", detail))
            }
        };
        let count = within("count", self.count, COUNT, MOST_COUNT)?;
        let time_ms = within("time_ms", self.time_ms, TIME_MS, MOST_TIME_MS)?;
        Ok(Batching {
            count: usize::try_from(count).unwrap_or(usize::MAX),
            time: Duration::from_millis(time_ms),
            bytes: usize::MAX,
        })
    }
}

fn check_tag(tag: &str) -> Result<(), Problem> {
    if tag.len() <= NAME_BYTES && !tag.contains(char::is_control) {
        return Ok(());
    }
    let detail = format!("a tag has at most {NAME_BYTES} bytes, and no control characters");
    Err(Problem::bad_request("tag", detail))
}

fn said(sql: Option<String>) -> Result<String, Problem> {
    let sql = sql.filter(|sql| !sql.trim().is_empty());
    sql.ok_or_else(|| Problem::bad_request("query", "sql is missing; say what to run"))
}

/// What is left of a path below `/queries`.
pub(super) enum Place {
    All,
    One(String),
    Cancel(String),
}

pub(super) async fn answer(
    head: &Parts,
    place: Place,
    edition: Edition,
    body: Incoming,
    context: &Context,
) -> Result<Response<Body>, Problem> {
    let registry = &context.timeplus;
    if let (Place::All, &Method::POST) = (&place, &head.method) {
        return create(head, edition, body, context).await;
    }
    // Python's client sends `null` with everything.
    discard(body);
    match place {
        Place::All => list(head, edition, context),
        Place::Cancel(id) => {
            let query = registry.find(&id)?;
            registry.end(&query, Ending::Canceled(""));
            Ok(no_content())
        }
        Place::One(id) if head.method == Method::DELETE => {
            registry.remove(&id)?;
            Ok(no_content())
        }
        Place::One(id) => Ok(ok(edition.about(&*registry.find(&id)?))),
    }
}

async fn create(
    head: &Parts,
    edition: Edition,
    body: Incoming,
    context: &Context,
) -> Result<Response<Body>, Problem> {
    let said: Said = read_json(head, body, context).await?;
    let (asked, batching) = said.read()?;
    let live = &context.live;
    let flow = match live.read_dialect(asked.sql.clone()).await? {
        Statement::Select(flow) => *flow,
        Statement::Create {
            name,
            columns,
            if_absent,
        } => {
            let made = whole(
                live.clone()
                    .create_table(tables::Asked::new(name, columns, None)),
            );
            return done(made.await.map(drop), if_absent, StatusCode::CONFLICT);
        }
        Statement::Drop { name, if_there } => {
            let gone = whole(live.clone().forget_table(name));
            return done(gone.await, if_there, StatusCode::NOT_FOUND);
        }
    };
    let query = context.timeplus.begin(asked, flow, live)?;
    if edition == Edition::V1beta1 {
        let place = format!("{}/queries/{}", edition.base(), query.id);
        let made = crate::api::json(StatusCode::CREATED, query.about().to_string());
        return Ok(created(made, &place));
    }
    let following = context.timeplus.follow(&query.id)?;
    Ok(events::response(following, batching, seat(head)))
}

impl Edition {
    fn about(self, query: &Query) -> Value {
        match self {
            Edition::V1beta1 => query.about_with_metrics(),
            Edition::V1beta2 => query.about(),
        }
    }
}

/// The answer to a statement that has no rows, which may be content when nothing was to be done.
fn done(
    outcome: Result<(), Problem>,
    is_content: bool,
    with: StatusCode,
) -> Result<Response<Body>, Problem> {
    match outcome {
        Err(problem) if !(is_content && problem.status == with) => Err(problem),
        _ => Ok(no_content()),
    }
}

/// A query is a stream of its connection like any other.
fn seat(head: &Parts) -> Seat {
    let connection = head.extensions.get::<Arc<Connection>>();
    let connection = connection.expect("routes says of each request whose it is");
    let wire = match head.version {
        Version::HTTP_2 => WireName::SseHttp2,
        _ => WireName::SseHttp1,
    };
    Seat::new(connection.clone(), wire)
}

fn list(head: &Parts, edition: Edition, context: &Context) -> Result<Response<Body>, Problem> {
    let query = head.uri.query().unwrap_or("").as_bytes();
    let tag = form_urlencoded::parse(query).find(|(name, _)| name == "tag");
    let tag = tag.map(|(_, tag)| tag);
    tag.as_deref().map_or(Ok(()), check_tag)?;
    let queries = context.timeplus.list(tag.as_deref());
    let all: Vec<Value> = queries.iter().map(|query| edition.about(query)).collect();
    Ok(ok(Value::from(all)))
}

pub(super) async fn analyze(
    head: &Parts,
    body: Incoming,
    context: &Context,
) -> Result<Response<Body>, Problem> {
    #[derive(Deserialize)]
    #[serde(expecting = "a JSON object")]
    struct Said {
        sql: Option<String>,
    }
    let asked: Said = read_json(head, body, context).await?;
    let sql = said(asked.sql)?;
    let statement = context.live.read_dialect(sql.clone()).await?;
    Ok(ok(analysis(&statement, &sql)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<(Asked, Batching), Problem> {
        serde_json::from_value::<Said>(body)
            .expect("of this shape")
            .read()
    }

    #[test]
    fn what_clients_say_of_a_query() {
        let all = json!({
            "sql": "select 1", "name": "n", "description": "d", "tags": ["a", "b"], "other": 1,
            "batching_policy": { "count": 7, "time_ms": 9 },
        });
        let (asked, batching) = read(all).expect("fine");
        assert_eq!(
            (&*asked.name, &*asked.description, asked.tags.len()),
            ("n", "d", 2)
        );
        assert_eq!(
            (batching.count, batching.time),
            (7, Duration::from_millis(9))
        );
        for policy in [
            json!(null),
            json!({}),
            json!({ "count": null, "time_ms": 0 }),
        ] {
            let body = json!({
                "sql": "select 1", "name": null, "description": null, "tags": null,
                "batching_policy": policy,
            });
            let (asked, batching) = read(body).expect("fine");
            assert_eq!((&*asked.name, asked.tags.len()), ("", 0));
            assert_eq!((batching.count, batching.time.as_millis()), (100, 200));
        }
    }

    #[test]
    fn what_nobody_may_say_of_a_query() {
        for body in [json!("x"), json!(7), json!({ "batching_policy": 7 })] {
            let error = serde_json::from_value::<Said>(body).err().expect("refused");
            assert!(!error.to_string().contains("struct"), "{error}");
        }
        for (body, named) in [
            (json!({}), "sql"),
            (json!({ "sql": null }), "sql"),
            (json!({ "sql": " \n" }), "sql"),
            (json!({ "sql": "x", "name": "n".repeat(256) }), "name"),
            (
                json!({ "sql": "x", "description": "d".repeat(4097) }),
                "description",
            ),
            (json!({ "sql": "x", "tags": vec!["t"; 33] }), "tags"),
            (json!({ "sql": "x", "tags": ["\0"] }), "tag"),
            (json!({ "sql": "x", "tags": ["t".repeat(256)] }), "tag"),
            (
                json!({ "sql": "x", "batching_policy": { "count": 10_001 } }),
                "count",
            ),
            (
                json!({ "sql": "x", "batching_policy": { "time_ms": 60_001 } }),
                "time_ms",
            ),
        ] {
            let problem = read(body.clone()).expect_err("refused");
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(problem.detail.contains(named), "{body}: {problem}");
        }
    }
}
