//! Collections over HTTP: `/api/v2/{collection}`, its documents below it, and its schema.
//!
//! What is asked is understood and answered in [`answer`], for every face; here it becomes requests and responses.

pub mod answer;
mod describe;
mod said;
mod watch;

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use self::answer::{Asked, Place, Reply};
use super::{Api, Context, not_encoded, read_body, understood};
use crate::body::{Body, Unsent};
use crate::openapi::Path;
use crate::problem::Problem;

/// How all paths begin.
pub const ABOVE: &str = "/api/v2/";

/// A collection: a list, and with `watch=1` a stream.
pub const COLLECTION: &str = "/api/v2/{collection}";

/// The id of the event that tells of a change, in the answer to it.
const EVENT: HeaderName = HeaderName::from_static("triwire-event");

/// What a document is taken for before it is known: most are much smaller than they may be.
const DOCUMENT: usize = 16 << 10;

/// `/api/v2`.
pub struct Collections;

impl Api for Collections {
    fn paths(&self) -> &'static [Path] {
        &[
            Path {
                at: "/api/v2/{collection}/$schema",
                operations: &[
                    ("GET", describe::schema),
                    ("PUT", describe::put_schema),
                    ("DELETE", describe::delete_schema),
                ],
            },
            Path {
                at: "/api/v2/{collection}/{id}",
                operations: &[
                    ("GET", describe::document),
                    ("PUT", describe::put),
                    ("PATCH", describe::patch),
                    ("DELETE", describe::delete),
                ],
            },
            Path {
                at: COLLECTION,
                operations: &[("GET", describe::list), ("POST", describe::post)],
            },
        ]
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        call(request, context).boxed()
    }
}

async fn call(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let is_get = matches!(head.method, Method::GET | Method::HEAD);
    let text = |name: HeaderName| joined(&head.headers, &name);
    let asked = Place::parse(head.uri.path()).and_then(|place| {
        not_encoded(&head.headers)?;
        Ok(Asked {
            method: if is_get {
                Method::GET
            } else {
                head.method.clone()
            },
            place,
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: Default::default(),
            content_type: text(header::CONTENT_TYPE)?,
            if_match: text(header::IF_MATCH)?,
            if_none_match: text(header::IF_NONE_MATCH)?,
        })
    });
    let (mut asked, body) = understood(asked, body)?;
    if is_get || asked.method == Method::DELETE {
        super::discard(body);
    } else {
        let (most, key) = asked.largest(context.collections.limits());
        let longest = context.publisher.limits.body_time;
        asked.body = read_body(body, most as u64, key, longest).await?;
    }
    // On HTTP/2 a peer could ask for a thousand pages at once, and take none.
    let unsent = head.extensions.get::<Arc<Unsent>>();
    let mut held = None;
    if let Some(unsent) = unsent {
        poll_fn(|cx| unsent.poll_room(cx)).await;
        let room = match asked.is_list() {
            true => context.collections.limits().page_bytes,
            false => DOCUMENT,
        };
        held = Some(unsent.reserve(room));
    }
    let reply = answer::answer(&context.collections, asked).await?;
    drop(held);
    Ok(respond(reply, unsent))
}

fn respond(reply: Reply, unsent: Option<&Arc<Unsent>>) -> Response<Body> {
    let mut response = super::no_content();
    if let Some(body) = reply.body {
        response = super::json(reply.status, Bytes::new());
        *response.body_mut() = match unsent {
            Some(unsent) => Body::whole(unsent.lease(body)),
            None => Body::from(body),
        };
    }
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    let etag = reply.version.map(|version| format!("\"{version}\""));
    let event = reply.event.map(|event| event.to_string());
    let said = [
        (header::ETAG, etag),
        (header::LOCATION, reply.location),
        (EVENT, event),
    ];
    for (name, value) in said {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    if reply.status == StatusCode::NOT_MODIFIED {
        headers.remove(header::CONTENT_TYPE);
    }
    response
}

/// A header that may be there several times.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| {
            Problem::bad_request(
                "header",
                format!("{name} has characters that are not visible ASCII"),
            )
        })?;
        all.push(value);
    }
    Ok((!all.is_empty()).then(|| all.join(", ")))
}
