//! A client of the dialect: what it asks for is below a tenant, and what it is refused has the dialect's form.

use serde_json::{Value, json};

use super::support::client::link::{Call, Target};
use super::support::client::publisher::{Answer, Publisher};
use super::support::server::Server;

pub struct Client {
    pub publisher: Publisher,
}

impl Client {
    pub async fn of(server: &Server) -> Client {
        Client {
            publisher: Publisher::new(&Target::of(server)).await,
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.publisher.call(Call::get(at(path))).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        let call = Call::post(at(path), body.to_string());
        self.publisher.call(call).await
    }

    pub async fn delete(&mut self, path: &str) -> Answer {
        self.publisher.call(Call::delete(at(path))).await
    }

    /// A stream of these columns, each a name and a type.
    pub async fn stream(&mut self, name: &str, columns: &[(&str, &str)]) {
        let columns = columns
            .iter()
            .map(|(name, kind)| json!({ "name": name, "type": kind }));
        let columns: Vec<Value> = columns.collect();
        let body = json!({ "name": name, "columns": columns });
        let made = self.post("/streams", body).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    pub async fn ingest(&mut self, target: &str, content_type: &str, body: &str) -> Answer {
        let call = Call::post(at(target), body.to_owned()).with("content-type", content_type);
        self.publisher.call(call).await
    }

    /// The rows of a stream, as they were published, once there are so many.
    pub async fn rows(&mut self, stream: &str, count: usize) -> Vec<Value> {
        let poll = format!("/poll?topic={stream}&after=0-0&timeout=20");
        let answer = self.publisher.call(Call::get(poll)).await;
        let events = answer.body["events"].as_array().expect("events");
        assert_eq!(events.len(), count, "{answer:?}");
        events.iter().map(|event| event["data"].clone()).collect()
    }
}

/// Below a tenant.
pub fn at(path: &str) -> String {
    format!("/tenant/api/v1beta2{path}")
}

/// Holds a refusal to the dialect's form, and returns its message.
pub fn message(answer: &Answer, status: u16) -> &str {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    let message = answer.body["message"].as_str().expect("a message");
    let form = json!({ "code": status, "message": message, "system": "appserver" });
    assert_eq!(answer.body, form);
    message
}
