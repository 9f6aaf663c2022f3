//! An event that a client has sent, from the library to its answer.

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;
use serde_json::value::RawValue;
use socketioxide::adapter::LocalAdapter;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::handler::FromMessageParts;
use socketioxide::socket::Socket;
use socketioxide_core::{Str, Value};

use super::documents::{Kind, Wanted};
use super::session::{Said, Session, Ticket, raw};
use super::watch::Watched;
use crate::problem::Problem;

/// For how many others a list counts, whose answer may be large.
const LIST: usize = 16;

/// An event.
pub(super) struct Call {
    session: Option<Arc<Session>>,
    /// Kept to the end: with the last of it goes the session's ticket, and that takes locks under which an
    /// acknowledgement is queued.
    _socket: Arc<Socket>,
    /// In which visit of the client to the namespace it came.
    visit: u64,
    /// An array in JSON: its name, and its arguments. Copied, so that it keeps no more than itself alive.
    text: String,
    /// Whether parts of it came beside the text.
    has_attachments: bool,
    /// Whether the client waits for an acknowledgement.
    is_awaited: bool,
}

impl FromMessageParts<LocalAdapter> for Call {
    type Error = Infallible;

    fn from_message_parts(
        socket: &Arc<Socket>,
        value: &mut Value,
        ack: &Option<i64>,
    ) -> Result<Call, Infallible> {
        let value = mem::replace(value, Value::Str(Str::from(""), None));
        let (text, attachments) = match &value {
            Value::Str(text, attachments) => (text.to_string(), attachments.is_some()),
            Value::Bytes(_) => (String::new(), false),
        };
        let session = session(socket);
        Ok(Call {
            visit: session.as_ref().map_or(0, |session| session.visit()),
            session,
            _socket: socket.clone(),
            text,
            has_attachments: attachments,
            is_awaited: ack.is_some(),
        })
    }
}

fn session(socket: &Socket) -> Option<Arc<Session>> {
    let ticket = socket.req_parts().extensions.get::<Arc<Ticket>>();
    ticket.map(|ticket| ticket.0.clone())
}

/// Has a client that comes to the namespace heard.
pub(super) fn welcome(socket: &SocketRef) {
    if let Some(session) = session(socket) {
        session.is_known_as(socket.id);
        // Not when it leaves: the library would not let it come again until a task of that had been run.
        session.begin_visit();
    }
    socket.on_fallback(|call: Call, ack: AckSender| {
        // Noted now: what follows is done when the runtime gets to it.
        let lease = call.session.as_ref().map(|s| s.ask(call.text.len()));
        async move {
            Box::pin(call.answer(ack)).await;
            drop(lease);
        }
    });
}

impl Call {
    async fn answer(self, ack: AckSender) {
        let Some(session) = &self.session else {
            return;
        };
        let ack = self.is_awaited.then_some(ack);
        let wanted = self.wanted();
        let weight = match &wanted {
            Ok(Event::Document(wanted)) if wanted.is_list() => LIST,
            _ => 1,
        };
        let Some(_turn) = session.turn(weight).await else {
            return;
        };
        // Who has come to the namespace again does not wait for it any more.
        if session.visit() != self.visit {
            return;
        }
        match wanted {
            Err(problem) => session.acknowledge(&refused(&problem), ack),
            Ok(Event::Document(wanted)) => {
                let outcome = session.hall.services.answer(wanted.asked.clone()).await;
                session.acknowledge(&wanted.said(outcome), ack);
            }
            Ok(Event::Watch(watched)) => watched.begin(session, ack).await,
            Ok(Event::Unwatch(watched)) => watched.end(session, ack),
        }
    }

    fn wanted(&self) -> Result<Event, Problem> {
        let malformed = |_| Problem::bad_request("event", "an event is a name and its arguments");
        let all: Vec<&RawValue> = serde_json::from_str(&self.text).map_err(malformed)?;
        let (name, args) = match all.split_first() {
            Some((name, args)) => (serde_json::from_str(name.get()).map_err(malformed)?, args),
            None => (String::new(), &all[..]),
        };
        if self.has_attachments {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "binary",
                "arguments are JSON: send no buffers, or as text in base64",
            ));
        }
        match &*name {
            "WATCH" => Watched::understand(args, false).map(Event::Watch),
            "UNWATCH" => Watched::understand(args, true).map(Event::Unwatch),
            _ => match Kind::named(&name) {
                Some(kind) => kind.understand(args).map(Event::Document),
                None => Err(Problem::new(
                    StatusCode::NOT_FOUND,
                    "no-event",
                    "the events are GET, LIST, POST, PUT, PATCH, DELETE, WATCH and UNWATCH",
                )),
            },
        }
    }
}

/// What an event is.
enum Event {
    Document(Wanted),
    Watch(Watched),
    Unwatch(Watched),
}

/// A refusal: an object whose one member is the problem.
pub(super) fn refused(problem: &Problem) -> Said {
    let problem: serde_json::Value = serde_json::from_str(&problem.json()).unwrap_or_default();
    Said::One(raw(&json!({ "error": problem })))
}
