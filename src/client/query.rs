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

/// A query, with a name that nobody else has.
#[derive(Debug)]
pub struct Query {
    name: String,
    /// Whether the server was asked to make it.
    is_there: bool,
    subscription: String,
    is_rows: bool,
}

impl Query {
    /// Nothing of it is on a server yet.
    pub fn new() -> Query {
        Query {
            name: format!("triwire-query-{:016x}", fastrand::u64(..)),
            is_there: false,
            subscription: String::new(),
            is_rows: false,
        }
    }

    /// The id of the subscription to it.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// Whether it yields rows as they come, and not a result that is replaced.
    pub fn is_rows(&self) -> bool {
        self.is_rows
    }

    /// Makes it on the server, and a subscription to it. `say` is told, in words, what is waited for.
    ///
    /// # Errors
    /// Whatever stands between; or what is wrong with the SQL, in the server's words.
    pub async fn make(
        &mut self,
        place: &Place,
        patience: Patience,
        sql: &str,
        every: Duration,
        mut say: impl FnMut(&str),
    ) -> Result<(), Failure> {
        let mut tries = Tries::new(patience);
        while let Err(failure) = self.ask(place, sql, every).await {
            let words = failure.words.clone();
            let pause = tries.failed(failure)?;
            say(&format!("{words}; again in {:.1} s", pause.as_secs_f64()));
            sleep(pause).await;
        }
        Ok(())
    }

    async fn ask(&mut self, place: &Place, sql: &str, every: Duration) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Made {
            class: Option<u8>,
        }
        #[derive(Deserialize)]
        struct Subscribed {
            subscription_id: String,
        }
        let mut connection = Connection::open(place).await?;
        let path = format!("/queries/{}", self.name);
        // So that nothing stays, even if this is killed.
        let body = json!({
            "sql": sql,
            "every_ms": every.as_millis() as u64,
            "temporary": true,
        });
        self.is_there = true;
        match post(&mut connection, &path, &body).await {
            // An earlier try has made it.
            Err(failure) if failure.fault == Fault::Refused(StatusCode::CONFLICT) => {}
            made => drop(made?),
        }
        let made = connection.read(&path).await?;
        let Made { class } = parse(&made)?;
        self.is_rows = class == Some(1);
        let body = json!({ "queries": [self.name] });
        let subscribed = post(&mut connection, "/subscriptions", &body).await?;
        let Subscribed { subscription_id } = parse(&subscribed)?;
        self.subscription = subscription_id;
        Ok(())
    }

    /// Removes it. That it cannot be is no matter: the server lets go of a subscription that nobody uses, and of what
    /// only that has named.
    pub async fn remove(self, place: &Place) {
        if !self.is_there {
            return;
        }
        let removing = async {
            let mut connection = Connection::open(place).await?;
            let subscription = format!("/subscriptions/{}", self.subscription);
            let query = format!("/queries/{}", self.name);
            let none = self.subscription.is_empty();
            for path in [subscription, query].iter().skip(none.into()) {
                let answer = connection
                    .send(Method::DELETE, path, HeaderMap::new(), Bytes::new())
                    .await?;
                connection.whole(answer.into_body()).await?;
            }
            Ok::<(), Failure>(())
        };
        let _ = timeout(PARTING, removing).await;
    }
}

impl Default for Query {
    fn default() -> Query {
        Query::new()
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
