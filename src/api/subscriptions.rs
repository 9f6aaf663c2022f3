//! Subscriptions: `/subscriptions` and `/subscriptions/{id}`. Their streams are at `/stream/{id}`.

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::queries::a_name;
use super::{
    Api, Context, below, created, expected, no_content, read_json, tagged, understood, whole,
};
use crate::body::Body;
use crate::live::subscriptions::Asked;
use crate::openapi::{
    Path, count, if_match, json_body, made_answer, object, parameter, problem, problem_with,
    tagged_answer, text, topic,
};
use crate::problem::Problem;

/// `/subscriptions`.
pub struct Subscriptions;

impl Api for Subscriptions {
    fn paths(&self) -> &'static [Path] {
        &[
            Path {
                at: "/subscriptions",
                operations: &[("POST", describe_post)],
            },
            Path {
                at: "/subscriptions/{id}",
                operations: &[
                    ("GET", describe_one),
                    ("PUT", describe_put),
                    ("DELETE", describe_delete),
                ],
            },
        ]
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        match request.uri().path() {
            "/subscriptions" => make(request, context).boxed(),
            _ => one(request, context).boxed(),
        }
    }
}

async fn make(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let asked: Asked = read_json(&head, body, context).await?;
    let id = whole(context.live.clone().subscribe(asked)).await?;
    let response = describe(&id, StatusCode::CREATED, context)?;
    Ok(created(response, &format!("/subscriptions/{id}")))
}

async fn one(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let read = below("/subscriptions/", &head).and_then(|id| Ok((id, expected(&head)?)));
    let ((id, expected), body) = understood(read, body)?;
    let live = context.live.clone();
    match head.method {
        Method::PUT => {
            let asked: Asked = read_json(&head, body, context).await?;
            whole(live.change_subscription(id.clone(), asked, expected)).await?;
            describe(&id, StatusCode::OK, context)
        }
        Method::DELETE => {
            super::discard(body);
            whole(live.unsubscribe(id, expected)).await?;
            Ok(no_content())
        }
        _ => {
            super::discard(body);
            context.live.find_subscription(&id).await?;
            describe(&id, StatusCode::OK, context)
        }
    }
}

fn describe(id: &str, status: StatusCode, context: &Context) -> Result<Response<Body>, Problem> {
    let about = context.live.describe_subscription(id)?.to_string();
    Ok(tagged(super::json(status, about.clone()), &about))
}

/// The id in a path.
pub fn id() -> Value {
    parameter("path", "id", "The subscription's id", text())
}

fn asked() -> Value {
    let names =
        |what: &str, items: Value| json!({ "type": "array", "items": items, "description": what });
    let schema = json!({
        "type": "object",
        "properties": {
            "queries": names("Names of queries", a_name()),
            "topics": names("Topics", topic()),
        },
        "additionalProperties": false,
    });
    json_body(schema)
}

fn about() -> Value {
    object(json!({
        "subscription_id": text(),
        "queries": { "type": "array", "items": text() },
        "topics": { "type": "array", "items": topic() },
        "streams": count(),
        "ends_in_s": { "type": ["integer", "null"], "minimum": 0 },
        "etag": text(),
    }))
}

fn describe_post() -> Value {
    json!({
        "summary": "Make a subscription: queries and topics for one stream, which can be changed while it is read",
        "requestBody": asked(),
        "responses": {
            "201": made_answer("It is there; its stream is at /stream/ and its id", about()),
            "400": problem("The body is malformed, or names too many (reader-topics)"),
            "404": problem("There are no queries of the names that `detail` says"),
            "413": problem("The body is over event-bytes"),
            "429": problem_with("retry-after", "One subscription (subscriptions) too many"),
        },
    })
}

fn describe_one() -> Value {
    json!({
        "summary": "A subscription",
        "parameters": [id()],
        "responses": {
            "200": tagged_answer("What it consists of, and when it ends by itself", about()),
            "404": problem("There is none with this id"),
        },
    })
}

fn describe_put() -> Value {
    json!({
        "summary": "Change a subscription; its open streams follow at once",
        "parameters": [id(), if_match()],
        "requestBody": asked(),
        "responses": {
            "200": tagged_answer("It is changed", about()),
            "400": problem("If-Match or the body is malformed, or it names too many (reader-topics)"),
            "404": problem("There is none with this id, or there are no queries of the names that `detail` says"),
            "413": problem("The body is over event-bytes"),
        },
    })
}

fn describe_delete() -> Value {
    json!({
        "summary": "Delete a subscription; its streams end",
        "parameters": [id(), if_match()],
        "responses": {
            "204": { "description": "It is gone" },
            "404": problem("There is none with this id"),
        },
    })
}
