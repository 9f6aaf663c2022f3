//! A publisher over one connection, on any listener; over another when it has said nothing for a while, as clients do.

use http_body_util::BodyExt;
use hyper::HeaderMap;
use serde_json::Value;

use super::link::{Call, Connection, Link, Target};
use super::message::Id;

pub struct Publisher {
    connection: Connection,
    /// Where another one leads to.
    target: Option<Target>,
}

/// An answer with a body of JSON, or none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn id(&self, member: &str) -> Id {
        assert_eq!(self.status, 201, "{self:?}");
        let id = self.body[member].as_str().expect("an id");
        id.parse().expect("a good id")
    }
}

impl Publisher {
    pub async fn new(target: &Target) -> Publisher {
        Publisher::over(target, Link::Http1).await
    }

    pub async fn over(target: &Target, link: Link) -> Publisher {
        Publisher {
            connection: Connection::open(target, link).await,
            target: Some(target.clone()),
        }
    }

    /// Over a connection that there is already.
    pub fn on(connection: Connection) -> Publisher {
        Publisher {
            connection,
            target: None,
        }
    }

    /// Any request.
    pub async fn call(&mut self, call: Call) -> Answer {
        let answer = self.try_call(call).await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// # Errors
    /// When the connection breaks before there is an answer.
    pub async fn try_call(&mut self, call: Call) -> hyper::Result<Answer> {
        if let Some(target) = &self.target {
            self.connection.renew(target).await;
        }
        let (head, body) = self.connection.send(call).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = match &*body {
            b"" => Ok(Value::Null),
            body => serde_json::from_slice(body),
        };
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.expect("the answer is JSON"),
        })
    }

    /// Text, of the type `message`.
    pub async fn text(&mut self, topic: &str, text: &str) -> Id {
        let call = Call::post(format!("/publish/{topic}"), text.to_owned());
        self.call(call).await.id("id")
    }

    pub async fn json(&mut self, topic: &str, document: &str) -> Id {
        let call = Call::post(format!("/publish/{topic}"), document.to_owned())
            .with("content-type", "application/json");
        self.call(call).await.id("id")
    }

    /// One event a number, each a bare JSON number, all in one request. Returns the first and the last id.
    pub async fn numbers(&mut self, topic: &str, numbers: std::ops::Range<u64>) -> (Id, Id) {
        let count = numbers.end - numbers.start;
        let lines: String = numbers.map(|n| format!("{n}\n")).collect();
        let call = Call::post(format!("/publish/{topic}"), lines)
            .with("content-type", "application/x-ndjson");
        let answer = self.call(call).await;
        let ids = (answer.id("first"), answer.id("last"));
        assert_eq!(answer.body["count"], count);
        ids
    }
}
