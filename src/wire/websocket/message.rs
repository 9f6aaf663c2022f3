//! What a client says on a WebSocket, and what it is answered.

use std::collections::BTreeMap;

use futures_util::future::{BoxFuture, FutureExt};
use hyper::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::request::{self, Request};
use crate::api::Services;
use crate::api::publish::Publisher;
use crate::event::{Draft, EventId, EventType, Payload, Topic};
use crate::log::{Appended, Publishing, Reader, Start};
use crate::problem::Problem;

/// What a client may say: `type` tells which of the others count. Not a tagged enum, which would look into `data`
/// and refuse numbers and strings that it cannot hold.
#[derive(Deserialize)]
struct Said<'a> {
    r#type: String,
    topics: Option<Topics>,
    after: Option<String>,
    topic: Option<String>,
    event: Option<String>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    method: Option<String>,
    path: Option<String>,
    #[serde(borrow, default, deserialize_with = "given")]
    body: Option<&'a RawValue>,
    content_type: Option<String>,
    if_match: Option<String>,
    if_none_match: Option<String>,
    r#ref: Option<Value>,
}

/// A member that is there, be it `null`.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Topics {
    Plain(Vec<String>),
    Placed(BTreeMap<String, Option<String>>),
}

/// What comes of a message.
pub(super) enum Answer {
    /// An answer, at once.
    Now(String),
    /// An answer when it is done.
    Soon(BoxFuture<'static, String>),
    /// A request, which is answered later.
    Later(Box<Request>),
}

/// Does what a text message asks.
pub(super) fn answer(text: &str, reader: &mut Reader, services: &Services) -> Answer {
    let said = match serde_json::from_str::<Said>(text) {
        Ok(said) => said,
        Err(error) => {
            let reference = serde_json::from_str::<Value>(text)
                .ok()
                .and_then(|v| v.get("ref").cloned());
            let detail = format!("not a message that is known here: {error}");
            let problem = Problem::bad_request("message", detail);
            return Answer::Now(refusal(reference, &problem));
        }
    };
    let done = match &*said.r#type {
        "subscribe" | "unsubscribe" if reader.is_guided() => Err(Problem::new(
            StatusCode::CONFLICT,
            "guided",
            "this stream has the topics of its subscription: PUT /subscriptions/ID, and it follows",
        )),
        "subscribe" => subscribe(said.topics, said.after, reader),
        "unsubscribe" => unsubscribe(said.topics, reader),
        "publish" => match publish(said.topic, said.event, said.data, &services.publisher) {
            Ok(Publishing::Done(Some(done))) => done.map(|done| published(&done)),
            Ok(publishing) => return Answer::Soon(acknowledged(publishing, said.r#ref).boxed()),
            Err(problem) => Err(problem),
        },
        "request" => {
            let head = request::Head {
                method: said.method,
                path: said.path,
                content_type: said.content_type,
                if_match: said.if_match,
                if_none_match: said.if_none_match,
            };
            let request = Request::new(head, said.body, said.r#ref);
            return Answer::Later(Box::new(request));
        }
        _ => Err(Problem::bad_request(
            "message",
            "type is subscribe, unsubscribe, publish or request",
        )),
    };
    Answer::Now(said_of(done, said.r#ref))
}

fn said_of(done: Result<Value, Problem>, reference: Option<Value>) -> String {
    match done {
        Ok(mut ack) => {
            if let Some(reference) = reference {
                ack["ref"] = reference;
            }
            ack.to_string()
        }
        Err(problem) => refusal(reference, &problem),
    }
}

async fn acknowledged(publishing: Publishing, reference: Option<Value>) -> String {
    let done = publishing.await;
    said_of(done.map(|done| published(&done)), reference)
}

/// A problem as a frame; the socket stays.
fn refusal(reference: Option<Value>, problem: &Problem) -> String {
    let mut object = json!({
        "type": "$error",
        "status": problem.status.as_u16(),
        "title": problem.title(),
        "detail": problem.detail,
    });
    if let Some(reference) = reference {
        object["ref"] = reference;
    }
    object.to_string()
}

fn subscribe(
    topics: Option<Topics>,
    after: Option<String>,
    reader: &mut Reader,
) -> Result<Value, Problem> {
    let start = |cursor: Option<&String>| match cursor {
        None => Ok(Start::Head),
        Some(text) => text.parse().map(Start::After),
    };
    let common = start(after.as_ref())?;
    let mut groups: Vec<(Vec<Topic>, Start)> = Vec::new();
    match topics.ok_or_else(|| missing("topics: a list, or an object of cursors"))? {
        Topics::Plain(names) => groups.push((parse_all(&names)?, common)),
        Topics::Placed(places) => {
            for (name, cursor) in &places {
                let place = if cursor.is_some() {
                    start(cursor.as_ref())?
                } else {
                    common
                };
                groups.push((vec![Topic::new(name)?], place));
            }
        }
    }
    // All or none: a client that is refused must not read half of what it asked for.
    let all: Vec<Topic> = groups
        .iter()
        .flat_map(|(topics, _)| topics.clone())
        .collect();
    reader.check_room(&all)?;
    let mut lowest: Option<EventId> = None;
    for (topics, start) in groups {
        let cursor = reader.subscribe(&topics, start)?;
        lowest = Some(lowest.map_or(cursor, |low| low.min(cursor)));
    }
    Ok(json!({ "type": "$ack", "cursor": lowest.map(|id| id.to_string()) }))
}

fn unsubscribe(topics: Option<Topics>, reader: &mut Reader) -> Result<Value, Problem> {
    let Some(Topics::Plain(names)) = topics else {
        return Err(missing("topics: a list"));
    };
    reader.unsubscribe(&parse_all(&names)?);
    Ok(json!({ "type": "$ack" }))
}

fn publish(
    topic: Option<String>,
    event: Option<String>,
    data: Option<&RawValue>,
    publisher: &Publisher,
) -> Result<Publishing, Problem> {
    let topic = topic.ok_or_else(|| missing("topic"))?;
    let data = data.ok_or_else(|| missing("data: any JSON value"))?;
    let draft = Draft {
        topic: Topic::new(&topic)?,
        event_type: event.map_or(Ok(EventType::default()), |name| EventType::new(&name))?,
        payload: Payload::json(data.get().to_owned().into())?,
    };
    Ok(publisher.publish(vec![draft], None))
}

fn published(done: &Appended) -> Value {
    json!({ "type": "$ack", "id": done.last.to_string() })
}

fn missing(what: &str) -> Problem {
    Problem::bad_request("message", format!("this message needs {what}"))
}

fn parse_all(names: &[String]) -> Result<Vec<Topic>, Problem> {
    names.iter().map(|name| Topic::new(name)).collect()
}
