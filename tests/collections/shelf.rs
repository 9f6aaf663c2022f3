//! Where documents are: a collection as a client sees it, over REST.

use serde_json::{Value, json};

use crate::support::client::ask::Ask;
use crate::support::client::link::{Call, Link, Target};
use crate::support::client::message::{Data, Event, Id};
use crate::support::client::publisher::{Answer, Publisher};
use crate::support::client::{Framing, Reader, Transport};
use crate::support::server::Server;

pub const MERGE: &str = "application/merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";

pub struct Shelf {
    pub target: Target,
    pub name: &'static str,
    publisher: Publisher,
}

/// An event of a collection, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub event: Id,
    pub kind: String,
    pub said: Value,
}

impl Shelf {
    pub async fn of(server: &Server, name: &'static str) -> Shelf {
        Shelf::at(&Target::of(server), name).await
    }

    pub async fn at(target: &Target, name: &'static str) -> Shelf {
        Shelf {
            target: target.clone(),
            name,
            publisher: Publisher::over(target, Link::Http1).await,
        }
    }

    pub fn path(&self, id: impl ToString) -> String {
        format!("/api/v2/{}/{}", self.name, id.to_string())
    }

    pub fn list_path(&self, query: &str) -> String {
        let question = if query.is_empty() { "" } else { "?" };
        format!("/api/v2/{}{question}{query}", self.name)
    }

    pub async fn call(&mut self, call: Call) -> Answer {
        self.publisher.call(call).await
    }

    pub async fn get(&mut self, id: impl ToString) -> Answer {
        let call = Call::get(self.path(id));
        self.call(call).await
    }

    /// Creates a document and returns the answer, whatever it is.
    pub async fn post(&mut self, document: &Value) -> Answer {
        let call = Call::post(self.list_path(""), document.to_string());
        self.call(call).await
    }

    pub async fn put(&mut self, id: impl ToString, document: &Value) -> Answer {
        let call = Call::put(self.path(id), document.to_string());
        self.call(call).await
    }

    pub async fn patch(&mut self, id: impl ToString, kind: &str, patch: &Value) -> Answer {
        let call = Call::patch(self.path(id), patch.to_string()).with("content-type", kind);
        self.call(call).await
    }

    pub async fn delete(&mut self, id: impl ToString) -> Answer {
        let call = Call::delete(self.path(id));
        self.call(call).await
    }

    /// Documents, a line each.
    pub async fn bulk(&mut self, lines: &str) -> Answer {
        let call = Call::post(self.list_path(""), lines.to_owned());
        self.call(call.with("content-type", "application/x-ndjson"))
            .await
    }

    pub async fn list(&mut self, query: &str) -> Answer {
        let call = Call::get(self.list_path(query));
        self.call(call).await
    }

    /// The ids of a list, which must be one.
    pub async fn ids(&mut self, query: &str) -> Vec<Value> {
        let answer = self.list(query).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let items = answer.body["items"].as_array().expect("a list");
        items.iter().map(|item| item["id"].clone()).collect()
    }

    /// Its stream, on a wire; `query` as in a URL.
    pub async fn watch(&self, transport: Transport, query: &str, after: Option<Id>) -> Reader {
        let mut ask = Ask::default()
            .at(self.list_path("").leak())
            .with("watch", 1);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            ask = ask.with(name.into_owned().leak(), value);
        }
        if transport.framing == Framing::LongPoll {
            ask = ask.with("poll", 1);
        }
        if let Some(after) = after {
            ask = ask.after(after);
        }
        transport.open(&self.target, ask).await
    }
}

impl Told {
    pub fn of(event: Event) -> Told {
        let text = match &event.data {
            Data::Lines(text) | Data::Json(text) => text,
        };
        Told {
            event: event.id,
            said: serde_json::from_str(text).expect("JSON"),
            kind: event.kind,
        }
    }
}

/// The next change on a stream.
pub async fn told(reader: &mut Reader) -> Told {
    Told::of(reader.event().await)
}

/// What identifies a change: kind, id and version.
pub fn brief(told: &Told) -> Value {
    json!([told.kind, told.said["id"], told.said["version"]])
}

/// The event that an answer names.
pub fn event(answer: &Answer) -> Id {
    let id = answer
        .headers
        .get("triwire-event")
        .expect("it names its event");
    id.to_str().expect("ASCII").parse().expect("a good id")
}

pub fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let value = answer.headers.get(name);
    value.map(|value| value.to_str().expect("ASCII"))
}

/// The cursor that a list answers with.
pub fn cursor(answer: &Answer) -> Id {
    let cursor = answer.body["cursor"].as_str().expect("a cursor");
    cursor.parse().expect("a good cursor")
}
