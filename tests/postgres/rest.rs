//! Requests for documents, over one connection.

use hyper::Method;
use serde_json::Value;

use crate::support::client::ask::Ask;
use crate::support::client::link::{Call, Link, Target};
use crate::support::client::message::{Event, Id};
use crate::support::client::publisher::{Answer, Publisher};
use crate::support::client::{Framing, Reader, Transport};
use crate::support::server::Server;

pub const JSON: &str = "application/json";
pub const MERGE: &str = "application/merge-patch+json";
pub const PATCH: &str = "application/json-patch+json";

/// A client.
pub struct Rest(pub Publisher);

impl Rest {
    pub async fn of(server: &Server) -> Rest {
        Rest(Publisher::new(&Target::of(server)).await)
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.0.call(Call::get(format!("/api/v2/{path}"))).await
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.0.call(post(path, body)).await
    }

    pub async fn put(&mut self, path: &str, body: &str) -> Answer {
        self.0.call(put(path, body)).await
    }

    pub async fn patch(&mut self, path: &str, kind: &str, body: &str) -> Answer {
        self.0.call(patch(path, kind, body)).await
    }

    pub async fn delete(&mut self, path: &str) -> Answer {
        self.0.call(Call::delete(format!("/api/v2/{path}"))).await
    }
}

pub fn post(path: &str, body: &str) -> Call {
    Call::post(format!("/api/v2/{path}"), body.to_owned()).with("content-type", JSON)
}

pub fn put(path: &str, body: &str) -> Call {
    Call::put(format!("/api/v2/{path}"), body.to_owned()).with("content-type", JSON)
}

pub fn patch(path: &str, kind: &str, body: &str) -> Call {
    Call {
        method: Method::PATCH,
        ..Call::post(format!("/api/v2/{path}"), body.to_owned())
    }
    .with("content-type", kind)
}

/// The id of the event that tells of a change.
pub fn told(answer: &Answer) -> Id {
    let id = answer.headers.get("triwire-event");
    let id = id.unwrap_or_else(|| panic!("no event: {answer:?}"));
    id.to_str().expect("text").parse().expect("an id")
}

/// The version that an answer names.
pub fn version(answer: &Answer) -> u64 {
    let tag = answer.headers["etag"].to_str().expect("text");
    tag.trim_matches('"').parse().expect("a number")
}

/// What is wrong, in words.
pub fn detail(answer: &Answer) -> &str {
    answer.body["detail"].as_str().expect("a problem")
}

/// A reader of a collection's changes, which has begun.
pub async fn watch(server: &Server, framing: Framing, collection: &str) -> Reader {
    let transport = Transport {
        framing,
        link: Link::Http1,
    };
    let ask = Ask::of([format!("collections/{collection}")]);
    let mut reader = transport.open(&Target::of(server), ask).await;
    reader.ready().await;
    reader
}

/// What an event tells: its type, the document's id and version, and the document.
pub fn change(event: &Event) -> (String, Value, u64, Value) {
    let data: Value = match &event.data {
        crate::support::client::message::Data::Lines(text)
        | crate::support::client::message::Data::Json(text) => {
            serde_json::from_str(text).expect("JSON")
        }
    };
    (
        event.kind.clone(),
        data["id"].clone(),
        data["version"].as_u64().expect("a version"),
        data["document"].clone(),
    )
}
