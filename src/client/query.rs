//! A query of one's own, and a subscription to it alone: made for as long as somebody looks, and removed after.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::failure::{Failure, Fault};
use super::follower::{Patience, Tries};
use super::place::Place;

/// How long it may take to remove it; what is left behind the server removes when nobody has used it for a while.
const PARTING: Duration = Duration::from_secs(3);

/// A query that is on a server.
#[derive(Debug)]
pub struct Query {
    name: String,
    subscription: String,
    /// Whether it yields rows as they come, and not a result that is replaced.
    pub is_rows: bool,
}

impl Query {
    /// Makes it, with a name that nobody else has. `say` is told, in words, what is waited for.
    ///
    /// # Errors
    /// Whatever stands between; or what is wrong with the SQL, in the server's words.
    pub async fn make(
        place: &Place,
        patience: Patience,
        sql: &str,
        every: Duration,
        mut say: impl FnMut(&str),
    ) -> Result<Query, Failure> {
        let name = format!("triwire-query-{:016x}", fastrand::u64(..));
        let mut tries = Tries::new(patience);
        loop {
            let failure = match Query::ask(place, &name, sql, every).await {
                Ok(query) => return Ok(query),
                Err(failure) => failure,
            };
            let words = failure.words.clone();
            let pause = tries.failed(failure)?;
            say(&format!("{words}; again in {:.1} s", pause.as_secs_f64()));
            sleep(pause).await;
        }
    }

    async fn ask(place: &Place, name: &str, sql: &str, every: Duration) -> Result<Query, Failure> {
        #[derive(Deserialize)]
        struct Made {
            class: u8,
        }
        #[derive(Deserialize)]
        struct Subscribed {
            subscription_id: String,
        }
        let mut connection = Connection::open(place).await?;
        let path = format!("/queries/{name}");
        let body = json!({ "sql": sql, "every_ms": every.as_millis() as u64 });
        match post(&mut connection, &path, &body).await {
            // An earlier try has made it, and its answer was lost.
            Err(failure) if failure.fault == Fault::Refused(StatusCode::CONFLICT) => {}
            made => drop(made?),
        }
        let made = connection.read(&path).await?;
        let Made { class } = parse(&made)?;
        let body = json!({ "queries": [name] });
        let subscribed = post(&mut connection, "/subscriptions", &body).await?;
        let Subscribed { subscription_id } = parse(&subscribed)?;
        Ok(Query {
            name: name.to_owned(),
            subscription: subscription_id,
            is_rows: class == 1,
        })
    }

    /// The id of the subscription to it.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// Removes it. That it cannot be is no matter: the server removes a subscription that nobody uses.
    pub async fn remove(self, place: &Place) {
        let removing = async {
            let mut connection = Connection::open(place).await?;
            for path in [
                format!("/subscriptions/{}", self.subscription),
                format!("/queries/{}", self.name),
            ] {
                let answer = connection
                    .send(Method::DELETE, &path, HeaderMap::new(), Bytes::new())
                    .await?;
                connection.whole(answer.into_body()).await?;
            }
            Ok::<(), Failure>(())
        };
        let _ = timeout(PARTING, removing).await;
    }
}

async fn post(
    connection: &mut Connection,
    path: &str,
    body: &serde_json::Value,
) -> Result<Bytes, Failure> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, kind);
    let body = Bytes::from(body.to_string());
    let answer = connection.send(Method::POST, path, headers, body).await?;
    match answer.status() {
        StatusCode::CREATED => connection.whole(answer.into_body()).await,
        // What is wrong with the SQL is said as it is: it is not about the server.
        status @ StatusCode::BAD_REQUEST => {
            let problem = connection.whole(answer.into_body()).await?;
            let Problem { detail } = parse(&problem)?;
            Err(Failure::new(Fault::Refused(status), detail))
        }
        _ => Err(connection.refusal(answer).await),
    }
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| {
        let words = format!("what came is none of triwire's ({error}); is it a triwire server?");
        Failure::new(Fault::Foreign, words)
    })
}
