//! What goes in the bodies of a session that polls: packets with a separator between them, both ways.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde::Deserialize;
use socketioxide::socket::Sid;

use super::session::Session;

const SEPARATOR: u8 = 0x1e;

/// A body that the library reads a packet at a time, each once there is room for what it asks. It has been read whole
/// before, so that the limits and the time of any body hold for it.
pub(super) struct Packets {
    rest: Bytes,
    session: Option<Arc<Session>>,
}

impl Packets {
    /// What a client says.
    pub(super) fn new(body: Bytes, session: Arc<Session>) -> Packets {
        Packets {
            rest: body,
            session: Some(session),
        }
    }

    /// The packet by which a client leaves.
    pub(super) fn close() -> Packets {
        Packets {
            rest: Bytes::from_static(b"1"),
            session: None,
        }
    }

    pub(super) fn none() -> Packets {
        Packets {
            rest: Bytes::new(),
            session: None,
        }
    }
}

impl Body for Packets {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(session) = &self.session {
            if session.is_over() {
                return Poll::Ready(None);
            }
            ready!(session.asked.poll_room(cx));
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let end = self.rest.iter().position(|byte| *byte == SEPARATOR);
        let packet = match end {
            Some(end) => self.rest.split_to(end + 1),
            None => std::mem::take(&mut self.rest),
        };
        if is_absurd(&packet, packet.len())
            && let Some(session) = &self.session
        {
            session.hang_up();
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(packet))))
    }
}

impl fmt::Debug for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packets({} bytes)", self.rest.len())
    }
}

/// The packets of a body.
pub(super) fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == SEPARATOR)
}

/// Whether a packet that begins like this is one that no client sends: it comes to another namespace, by a name that would
/// be held until the client has been told that there is none.
pub(super) fn is_absurd(start: &[u8], length: usize) -> bool {
    const NAME: usize = 1024;
    length > NAME && start.starts_with(b"40/")
}

/// The name of the session that is opened by a body.
pub(super) fn opened(body: &[u8]) -> Option<Sid> {
    #[derive(Deserialize)]
    struct Opened {
        sid: String,
    }
    let opened: Opened = serde_json::from_slice(body.strip_prefix(b"0")?).ok()?;
    opened.sid.parse().ok()
}
