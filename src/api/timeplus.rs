//! The dialect of Timeplus, so that its public clients run unchanged: `[/{tenant}]/api/v1beta2/…`. Streams are the tables
//! that `/streams` has too; what differs is how they are said, and how a refusal is.

mod ingest;
mod queries;
mod streams;

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::{Api, Context, understood};
use crate::body::Body;
use crate::openapi::{self, Path};
use crate::problem::Problem;

/// `/api/v1beta2`, with and without the name of a tenant before it.
pub struct Timeplus;

/// What all paths of the dialect have in common.
const BASE: &str = "/api/v1beta2";

/// Who speaks, as errors say it. Of the names that clients may know it is that of the part which answers HTTP: what it
/// has behind it is none of those that Timeplus has.
const SYSTEM: &str = "appserver";

const PATHS: [Path; 8] = [
    Path {
        at: "[/{tenant}]/api/v1beta2/streams[/]",
        operations: &[
            ("GET", streams::describe_list),
            ("POST", streams::describe_create),
        ],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/streams/{name}/ingest[/]",
        operations: &[("POST", ingest::describe)],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/streams/{name}[/]",
        operations: &[
            ("GET", streams::describe_one),
            ("DELETE", streams::describe_delete),
        ],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/views[/]",
        operations: &[("GET", streams::describe_views)],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/queries[/]",
        operations: &[("GET", queries::describe), ("POST", queries::describe)],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/queries/{id}/cancel[/]",
        operations: &[("POST", queries::describe_one)],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/queries/{id}[/]",
        operations: &[
            ("GET", queries::describe_one),
            ("DELETE", queries::describe_one),
        ],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/sqlanalyze[/]",
        operations: &[("POST", queries::describe)],
    },
];

impl Api for Timeplus {
    fn paths(&self) -> &'static [Path] {
        &PATHS
    }

    fn has_dialect(&self, path: &str) -> bool {
        own(path).is_some()
    }

    fn refused(&self, problem: &Problem) -> Response<Body> {
        let error = json!({
            "code": problem.status.as_u16(),
            "message": problem.detail,
            "system": SYSTEM,
        });
        let mut response = super::json(problem.status, error.to_string());
        response
            .headers_mut()
            .extend(problem.headers.iter().cloned());
        response
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        answer(request, context).boxed()
    }
}

async fn answer(request: Request<Incoming>, context: &Context) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let allowed = context
        .keys
        .check(&head.headers)
        .and_then(|()| asked(&head.uri));
    let (asked, body) = understood(allowed, body)?;
    match (asked, &head.method) {
        (Asked::Streams, &Method::POST) => streams::create(&head, body, context).await,
        (Asked::Streams, _) => Ok(streams::list(body, context)),
        (Asked::Stream(name), method) => streams::one(method, name, body, context).await,
        (Asked::Ingest(name), _) => ingest::ingest(&head, &name, body, context).await,
        (Asked::Views, _) => Ok(streams::views(body)),
        (Asked::Queries, _) => queries::answer(body),
    }
}

/// What a path of the dialect means.
enum Asked {
    Streams,
    Stream(String),
    Ingest(String),
    Views,
    Queries,
}

fn asked(uri: &hyper::Uri) -> Result<Asked, Problem> {
    let path = own(uri.path()).unwrap_or_default();
    let name = |name: &str| {
        let name = percent_encoding::percent_decode_str(name).decode_utf8();
        let name = name.map_err(|_| Problem::bad_request("path", "the path is not UTF-8"))?;
        Ok(name.into_owned())
    };
    Ok(match path.strip_prefix("/streams/") {
        Some(below) => match below.strip_suffix("/ingest") {
            Some(stream) => Asked::Ingest(name(stream)?),
            None => Asked::Stream(name(below)?),
        },
        None if path == "/streams" => Asked::Streams,
        None if path == "/views" => Asked::Views,
        None => Asked::Queries,
    })
}

/// What follows [`BASE`] in a path of the dialect, without a slash at its end.
fn own(path: &str) -> Option<&str> {
    fn below(path: &str) -> Option<&str> {
        let rest = path.strip_prefix(BASE)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
    let rest = below(path).or_else(|| below(openapi::below_tenant(path)?))?;
    Some(rest.strip_suffix('/').unwrap_or(rest))
}

/// 200 with a body in JSON.
fn ok(body: impl std::fmt::Display) -> Response<Body> {
    super::json(StatusCode::OK, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_dialect() {
        for (path, rest) in [
            ("/api/v1beta2/streams", Some("/streams")),
            ("/api/v1beta2/streams/", Some("/streams")),
            (
                "/t/api/v1beta2/streams/a/ingest/",
                Some("/streams/a/ingest"),
            ),
            ("/api/api/v1beta2/views", Some("/views")),
            ("/api/v1beta2", Some("")),
            ("/t/api/v1beta2/", Some("")),
            ("/api/v1beta2x", None),
            ("/t/u/api/v1beta2/streams", None),
            ("//api/v1beta2/streams", None),
            ("/streams", None),
            ("", None),
        ] {
            assert_eq!(own(path), rest, "{path}");
        }
    }
}
