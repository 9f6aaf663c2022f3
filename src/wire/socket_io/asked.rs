//! What a request of Engine.IO 4 asks for, which is all in its query, and how it is refused: in the words of Engine.IO,
//! which its clients know.

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use socketioxide::socket::Sid;

use crate::body::Body;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A new session, by polling.
    Open,
    /// What there is for the client of a session.
    Poll(Sid),
    /// Something that the client has to say.
    Post(Sid),
    /// A WebSocket, of a new session or of one that polls.
    WebSocket(Option<Sid>),
    /// Nothing but the head of an answer.
    Head,
}

/// Why a request is refused. The numbers are Engine.IO's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownTransport = 0,
    UnknownSession = 1,
    BadMethod = 2,
    BadRequest = 3,
    UnsupportedVersion = 5,
}

impl Asked {
    /// Reads a request; `is_handshake` says whether it is one of WebSocket.
    pub(super) fn parse(head: &Parts, is_handshake: bool) -> Result<Asked, Refusal> {
        let query = head.uri.query().unwrap_or_default();
        let value = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(n, _)| n == name).map(|(_, value)| value)
        };
        if value("EIO").as_deref() != Some("4") {
            return Err(Refusal::UnsupportedVersion);
        }
        let transport = value("transport");
        let sid = value("sid").map(|sid| sid.parse().map_err(|_| Refusal::UnknownSession));
        let sid = sid.transpose()?;
        match (transport.as_deref(), &head.method, sid) {
            (Some("polling" | "websocket"), &Method::HEAD, _) => Ok(Asked::Head),
            (Some("websocket"), _, sid) if is_handshake => Ok(Asked::WebSocket(sid)),
            (Some("websocket"), ..) => Err(Refusal::BadRequest),
            (Some("polling"), ..) if is_handshake => Err(Refusal::BadRequest),
            (Some("polling"), &Method::GET, None) => Ok(Asked::Open),
            (Some("polling"), &Method::GET, Some(sid)) => Ok(Asked::Poll(sid)),
            (Some("polling"), &Method::POST, Some(sid)) => Ok(Asked::Post(sid)),
            (Some("polling"), ..) => Err(Refusal::BadMethod),
            _ => Err(Refusal::UnknownTransport),
        }
    }
}

impl Refusal {
    fn message(self) -> &'static str {
        match self {
            Refusal::UnknownTransport => "Transport unknown",
            Refusal::UnknownSession => "Session ID unknown",
            Refusal::BadMethod => "Bad handshake method",
            Refusal::BadRequest => "Bad request",
            Refusal::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// The answer, as the reference implementation gives it.
    pub(super) fn response(self) -> Response<Body> {
        let body = json!({ "code": self as u8, "message": self.message() });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn requests() {
        let sid: Sid = "AAAAAAAAAAAAAAAA".parse().expect("16 characters");
        let table = [
            ("GET", "EIO=4&transport=polling", Ok(Asked::Open)),
            ("GET", "transport=polling&EIO=4&t=x", Ok(Asked::Open)),
            (
                "GET",
                "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA",
                Ok(Asked::Poll(sid)),
            ),
            (
                "POST",
                "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA",
                Ok(Asked::Post(sid)),
            ),
            ("HEAD", "EIO=4&transport=polling", Ok(Asked::Head)),
            ("POST", "EIO=4&transport=polling", Err(Refusal::BadMethod)),
            ("GET", "EIO=4&transport=websocket", Err(Refusal::BadRequest)),
            (
                "GET",
                "EIO=4&transport=polling&sid=A",
                Err(Refusal::UnknownSession),
            ),
            ("GET", "EIO=4", Err(Refusal::UnknownTransport)),
            (
                "GET",
                "EIO=4&transport=carrier-pigeon",
                Err(Refusal::UnknownTransport),
            ),
            (
                "GET",
                "EIO=3&transport=polling",
                Err(Refusal::UnsupportedVersion),
            ),
            (
                "GET",
                "EIO=44&transport=polling",
                Err(Refusal::UnsupportedVersion),
            ),
            ("GET", "transport=polling", Err(Refusal::UnsupportedVersion)),
            ("GET", "", Err(Refusal::UnsupportedVersion)),
        ];
        for (method, query, expected) in table {
            let request = Request::builder()
                .method(method)
                .uri(format!("/socket.io/?{query}"))
                .body(())
                .expect("a good request");
            let (head, ()) = request.into_parts();
            assert_eq!(Asked::parse(&head, false), expected, "{method} {query}");
        }
        let request = Request::builder().uri("/socket.io/?EIO=4&transport=websocket");
        let (head, ()) = request.body(()).expect("a good request").into_parts();
        assert_eq!(Asked::parse(&head, true), Ok(Asked::WebSocket(None)));
    }
}
