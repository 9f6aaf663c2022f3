//! Queries of the dialect: their paths are there, and nothing behind them yet.

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::api::discard;
use crate::body::Body;
use crate::openapi::{parameter, problem, text};
use crate::problem::Problem;

pub(super) fn answer(body: Incoming) -> Result<Response<Body>, Problem> {
    discard(body);
    let detail =
        "the dialect has no queries yet; POST /queries/NAME and /subscriptions are live SQL";
    Err(Problem::new(
        StatusCode::NOT_IMPLEMENTED,
        "no-queries",
        detail,
    ))
}

pub(super) fn describe() -> Value {
    json!({
        "summary": "Not there yet",
        "responses": { "501": problem("There are no queries in this dialect yet") },
    })
}

pub(super) fn describe_one() -> Value {
    let mut operation = describe();
    operation["parameters"] = json!([parameter("path", "id", "The query's id", text())]);
    operation
}
