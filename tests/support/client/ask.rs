//! What a reader asks for: the same words on every wire.

use form_urlencoded::Serializer;

use super::Framing;
use super::link::Call;
use super::message::Id;

/// A request for a reader. The last word on a parameter counts.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    path: Option<&'static str>,
    topics: Vec<String>,
    query: Vec<(&'static str, String)>,
    last_event_id: Option<Vec<u8>>,
    headers: Vec<(&'static str, String)>,
}

impl Ask {
    /// Topics at the framing's usual path.
    pub fn of<T: Into<String>>(topics: impl IntoIterator<Item = T>) -> Ask {
        Ask {
            topics: topics.into_iter().map(Into::into).collect(),
            ..Ask::default()
        }
    }

    /// The stream of a subscription.
    pub fn stream(subscription: &str, framing: Framing) -> Ask {
        let path = format!("/stream/{subscription}");
        let ask = Ask::default().at(path.leak());
        match framing {
            Framing::LongPoll => ask.with("poll", 1),
            _ => ask,
        }
    }

    /// Another path than the framing's usual one.
    pub fn at(mut self, path: &'static str) -> Ask {
        self.path = Some(path);
        self
    }

    pub fn after(self, cursor: impl ToString) -> Ask {
        self.with("after", cursor)
    }

    pub fn limit(self, events: u64) -> Ask {
        self.with("limit", events)
    }

    pub fn lag(self, policy: &str) -> Ask {
        self.with("lag", policy)
    }

    pub fn timeout(self, seconds: u64) -> Ask {
        self.with("timeout", seconds)
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Ask {
        self.query.retain(|(known, _)| *known != name);
        self.query.push((name, value.to_string()));
        self
    }

    pub fn last_event_id(mut self, id: impl AsRef<[u8]>) -> Ask {
        self.last_event_id = Some(id.as_ref().to_vec());
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Ask {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same from another place.
    pub fn resume(mut self, cursor: Id) -> Ask {
        self.last_event_id = None;
        self.after(cursor)
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The place that it names, if it is one.
    pub fn cursor(&self) -> Option<Id> {
        match &self.last_event_id {
            Some(id) => std::str::from_utf8(id).ok()?.parse().ok(),
            None => self.value("after")?.parse().ok(),
        }
    }

    /// The request on a framing.
    pub fn call(&self, framing: Framing) -> Call {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.topics.iter().map(|topic| ("topic", topic)));
        query.extend_pairs(&self.query);
        let path = self.path.unwrap_or(framing.path());
        let mut call = Call::get(format!("{path}?{}", query.finish()));
        // What browsers send. Nothing is compressed unless the server is told to.
        match framing {
            Framing::Sse => call = call.with("accept", "text/event-stream"),
            Framing::LongPoll => call = call.with("accept", "application/json"),
            Framing::WebSocket => {}
        }
        call = call.with("accept-encoding", "gzip, deflate, br, zstd");
        if let Some(id) = &self.last_event_id {
            call = call.with("last-event-id", id);
        }
        for (name, value) in &self.headers {
            call = call.with(name, value);
        }
        call
    }
}
