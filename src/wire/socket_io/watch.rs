//! `WATCH` and `UNWATCH`: what a session reads, and so which changes its client is told.

use std::sync::Arc;

use form_urlencoded::Serializer;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use socketioxide::extract::AckSender;

use super::call::refused;
use super::documents::list::filters;
use super::session::{Said, Session, raw};
use crate::event::{EventId, Topic};
use crate::log::Start;
use crate::problem::Problem;

const WATCH: &str =
    "WATCH takes ({collection[, filters][, after]}) or ({topic[, after]}), where after is a cursor";
const UNWATCH: &str =
    "UNWATCH takes what WATCH took, but after: ({collection[, filters]}) or ({topic})";

/// What is to be watched, and from where.
pub(super) struct Watched {
    what: What,
    start: Start,
}

enum What {
    Topic(Topic),
    /// The documents of a collection that the filters of a query ask for.
    Some {
        collection: String,
        query: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    collection: Option<String>,
    topic: Option<String>,
    #[serde(default, alias = "filter")]
    filters: Map<String, Value>,
    after: Option<String>,
}

impl Watched {
    /// Reads the arguments of WATCH, or of UNWATCH.
    ///
    /// # Errors
    /// 400 with what would be right.
    pub(super) fn understand(args: &[&RawValue], is_end: bool) -> Result<Watched, Problem> {
        let usage = if is_end { UNWATCH } else { WATCH };
        let wrong = |what: String| Problem::bad_request("arguments", format!("{what}: {usage}"));
        let [given] = args else {
            return Err(wrong("one argument is taken".to_owned()));
        };
        let given: Given =
            serde_json::from_str(given.get()).map_err(|error| wrong(error.to_string()))?;
        let mut pairs = filters(&given.filters);
        pairs.sort();
        let what = match (given.collection, given.topic) {
            (Some(collection), None) if pairs.is_empty() => {
                What::Topic(Topic::of_collection(&collection)?)
            }
            (Some(collection), None) => What::Some {
                collection,
                query: Serializer::new(String::new()).extend_pairs(pairs).finish(),
            },
            (None, Some(topic)) if pairs.is_empty() => What::Topic(Topic::new(&topic)?),
            (None, Some(_)) => return Err(wrong("filters are for collections".to_owned())),
            _ => return Err(wrong("either a collection or a topic is named".to_owned())),
        };
        let start = match given.after {
            Some(_) if is_end => return Err(wrong("there is nothing after the end".to_owned())),
            Some(cursor) => Start::After(cursor.parse()?),
            None => Start::Head,
        };
        Ok(Watched { what, start })
    }

    /// Has a session read it.
    pub(super) async fn begin(self, session: &Arc<Session>, ack: Option<AckSender>) {
        let start = self.start;
        match self.what {
            What::Topic(topic) => {
                session.read(|reading| said(reading.subscribe(topic, start)), ack);
            }
            What::Some { collection, query } => {
                match session
                    .hall
                    .services
                    .watch(&collection, &query, start)
                    .await
                {
                    Err(problem) => session.acknowledge(&refused(&problem), ack),
                    Ok(watched) => {
                        let asked = asked(&collection, &query);
                        let set = |reader: &mut _| watched.set(reader);
                        session.read(|reading| said(reading.watch(asked, set)), ack);
                    }
                }
            }
        }
    }

    /// Has a session read it no more.
    pub(super) fn end(self, session: &Arc<Session>, ack: Option<AckSender>) {
        session.read(
            |reading| {
                match &self.what {
                    What::Topic(topic) => reading.unsubscribe(topic),
                    What::Some { collection, query } => {
                        reading.unwatch(&asked(collection, query));
                    }
                }
                Said::One(raw(&true))
            },
            ack,
        );
    }
}

fn asked(collection: &str, query: &str) -> String {
    format!("{collection}?{query}")
}

fn said(cursor: Result<EventId, Problem>) -> Said {
    match cursor {
        Ok(cursor) => Said::One(raw(&json!({ "cursor": cursor.to_string() }))),
        Err(problem) => refused(&problem),
    }
}
