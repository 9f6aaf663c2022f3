//! What a client says on a WebSocket, and what it is answered.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::publish::Publisher;
use crate::event::{Draft, EventId, EventType, Payload, Topic};
use crate::log::{Reader, Start};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said {
    Subscribe {
        topics: Topics,
        after: Option<String>,
        r#ref: Option<Value>,
    },
    Unsubscribe {
        topics: Vec<String>,
        r#ref: Option<Value>,
    },
    Publish {
        topic: String,
        event: Option<String>,
        r#ref: Option<Value>,
    },
}

/// The payload of a publish, taken apart from [`Said`]: a tagged enum would parse it, and it is kept byte for byte.
#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Topics {
    Plain(Vec<String>),
    Placed(BTreeMap<String, Option<String>>),
}

/// Does what a text message asks, and returns what to answer.
pub(super) fn answer(text: &str, reader: &mut Reader, publisher: &Publisher) -> String {
    let said = match serde_json::from_str::<Said>(text) {
        Ok(said) => said,
        Err(error) => {
            let reference = serde_json::from_str::<Value>(text)
                .ok()
                .and_then(|v| v.get("ref").cloned());
            return refusal(
                reference,
                &Problem::bad_request(
                    "message",
                    format!("not a message that is known here: {error}"),
                ),
            );
        }
    };
    let (reference, done) = match said {
        Said::Subscribe {
            topics,
            after,
            r#ref,
        } => (r#ref, subscribe(topics, after, reader)),
        Said::Unsubscribe { topics, r#ref } => (r#ref, unsubscribe(&topics, reader)),
        Said::Publish {
            topic,
            event,
            r#ref,
        } => (r#ref, publish(text, &topic, event, publisher)),
    };
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

fn subscribe(topics: Topics, after: Option<String>, reader: &mut Reader) -> Result<Value, Problem> {
    let start = |cursor: Option<&String>| match cursor {
        None => Ok(Start::Head),
        Some(text) => text.parse().map(Start::After),
    };
    let common = start(after.as_ref())?;
    let mut groups: Vec<(Vec<Topic>, Start)> = Vec::new();
    match topics {
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

fn unsubscribe(names: &[String], reader: &mut Reader) -> Result<Value, Problem> {
    reader.unsubscribe(&parse_all(names)?);
    Ok(json!({ "type": "$ack" }))
}

fn publish(
    text: &str,
    topic: &str,
    event: Option<String>,
    publisher: &Publisher,
) -> Result<Value, Problem> {
    let missing = || Problem::bad_request("data", "a publish needs data: any JSON value");
    let published: Published = serde_json::from_str(text).map_err(|_| missing())?;
    let data = published.data.ok_or_else(missing)?.get();
    let draft = Draft {
        topic: Topic::new(topic)?,
        event_type: event.map_or(Ok(EventType::default()), |name| EventType::new(&name))?,
        payload: Payload::json(data.to_owned().into())?,
    };
    let done = publisher.publish(vec![draft], None)?;
    Ok(json!({ "type": "$ack", "id": done.last.to_string() }))
}

fn parse_all(names: &[String]) -> Result<Vec<Topic>, Problem> {
    names.iter().map(|name| Topic::new(name)).collect()
}
