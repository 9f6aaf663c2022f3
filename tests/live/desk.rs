//! Where queries, subscriptions and tables are made, and their streams are read as one would say them: what is of which
//! query, whatever wire it came on.

use std::time::Instant;

use serde_json::{Value, json};

use super::WIRES;
use super::support::client::ask::Ask;
use super::support::client::link::{Call, Target};
use super::support::client::message::{Data, Event, Id, Message};
use super::support::client::publisher::{Answer, Publisher};
use super::support::client::{Framing, Reader, Transport};
use super::support::server::{PATIENCE, Server};

pub struct Desk {
    pub target: Target,
    pub publisher: Publisher,
}

impl Desk {
    pub async fn of(server: &Server) -> Desk {
        let target = Target::of(server);
        Desk {
            publisher: Publisher::new(&target).await,
            target,
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.publisher.call(Call::get(path)).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.publisher
            .call(Call::post(path, body.to_string()))
            .await
    }

    pub async fn put(&mut self, path: &str, body: Value) -> Answer {
        self.publisher.call(Call::put(path, body.to_string())).await
    }

    pub async fn delete(&mut self, path: &str) -> Answer {
        self.publisher.call(Call::delete(path)).await
    }

    /// A table with one column of numbers, `n`.
    pub async fn table(&mut self, name: &str) {
        let columns = json!([{ "name": "n", "type": "int64" }]);
        let body = json!({ "name": name, "columns": columns });
        let made = self.post("/streams", body).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    /// Rows of such a table; returns the id of the last.
    pub async fn rows(&mut self, table: &str, numbers: impl IntoIterator<Item = i64>) -> Id {
        let rows: Vec<[i64; 1]> = numbers.into_iter().map(|n| [n]).collect();
        let body = json!({ "columns": ["n"], "data": rows });
        let done = self.post(&format!("/streams/{table}/ingest"), body).await;
        done.id("last")
    }

    /// A query that is told as soon as may be.
    pub async fn query(&mut self, name: &str, sql: &str) {
        let body = json!({ "sql": sql, "every_ms": 50 });
        let made = self.post(&format!("/queries/{name}"), body).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    pub async fn change(&mut self, name: &str, sql: &str) {
        let body = json!({ "sql": sql, "every_ms": 50 });
        let changed = self.put(&format!("/queries/{name}"), body).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }

    pub async fn subscription(&mut self, queries: &[&str], topics: &[&str]) -> String {
        let body = json!({ "queries": queries, "topics": topics });
        let made = self.post("/subscriptions", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.body["subscription_id"].as_str();
        id.expect("an id").to_owned()
    }

    pub async fn resubscribe(&mut self, id: &str, queries: &[&str], topics: &[&str]) {
        let body = json!({ "queries": queries, "topics": topics });
        let changed = self.put(&format!("/subscriptions/{id}"), body).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }

    pub async fn open(&self, transport: Transport, subscription: &str) -> Stream {
        self.resume(transport, subscription, None).await
    }

    /// One on every wire.
    pub async fn open_everywhere(&self, subscription: &str) -> Vec<Stream> {
        let mut streams = Vec::new();
        for transport in WIRES {
            streams.push(self.open(transport, subscription).await);
        }
        streams
    }

    pub async fn resume(
        &self,
        transport: Transport,
        subscription: &str,
        cursor: Option<Id>,
    ) -> Stream {
        let ask = Ask::stream(subscription, transport.framing);
        let ask = cursor.iter().fold(ask, |ask, cursor| ask.after(*cursor));
        let mut reader = transport.open(&self.target, ask).await;
        let began = reader.ready().await;
        // The first answer to a poll says its cursor before its events, which are before it.
        let is_poll = transport.framing == Framing::LongPoll;
        Stream {
            reader,
            transport,
            last: if is_poll {
                cursor.unwrap_or(Id::ZERO)
            } else {
                began
            },
        }
    }

    /// Asks until it is so.
    pub async fn until(&mut self, path: &str, fact: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if fact(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "not in time: {path}: {answer:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// One thing that a stream told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// `None` of a present result.
    pub id: Option<Id>,
    /// `{"query":…}` or `{"topic":…,"data":…}`.
    pub said: Value,
}

/// The stream of a subscription.
pub struct Stream {
    pub reader: Reader,
    pub transport: Transport,
    /// The id of the last event: ids increase.
    last: Id,
}

impl Stream {
    pub async fn next(&mut self) -> Told {
        loop {
            match self.reader.next().await {
                Message::Heartbeat => {}
                Message::Present(event) => {
                    let said = said(&event);
                    assert!(said["query"].is_string(), "{}: {said}", self.transport);
                    return Told { id: None, said };
                }
                Message::Event(event) => {
                    assert!(self.last < event.id, "{}: {event:?}", self.transport);
                    self.last = event.id;
                    let (id, said) = (Some(event.id), said(&event));
                    return Told { id, said };
                }
                other => panic!("{}: {other:?}", self.transport),
            }
        }
    }

    /// Reads until the query has this result; nothing may fail meanwhile.
    pub async fn until(&mut self, query: &str, result: Value) {
        loop {
            let Told { said, .. } = self.next().await;
            assert!(said.get("error").is_none(), "{}: {said}", self.transport);
            if said["query"] == query && said["result"] == result {
                return;
            }
        }
    }

    /// Reads until the query has failed, and returns the problem.
    pub async fn failure(&mut self, query: &str) -> Value {
        loop {
            let Told { mut said, .. } = self.next().await;
            if said["query"] == query && said.get("error").is_some() {
                return said["error"].take();
            }
        }
    }

    pub fn cursor(&self) -> Id {
        self.reader.cursor()
    }
}

fn said(event: &Event) -> Value {
    assert_eq!(event.kind, "message", "{event:?}");
    let parse = |text: &str| serde_json::from_str(text).expect("JSON");
    match (&event.data, event.topic.as_deref()) {
        (Data::Lines(text), _) => parse(text),
        (Data::Json(text), Some(topic)) if topic.starts_with("$query/") => parse(text),
        (Data::Json(text), topic) => json!({ "topic": topic, "data": parse(text) }),
    }
}
