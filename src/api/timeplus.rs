//! The dialect of Timeplus, so that its public clients run unchanged: `[/{tenant}]/api/v1beta2/…`. Streams are the tables
//! that `/streams` has too; what differs is how they are said, and how a refusal is.

mod ingest;
pub mod queries;
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
const BASE: &str = Edition::V1beta2.base();

/// Where 0.x clients read what comes of a query: by a WebSocket, which is no answer, so that `routes` has it.
pub const ROWS: &str = "[/{tenant}]/ws/queries/{id}[/]";

/// Which of the dialect's generations a path is of. Of the first there is what its queries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edition {
    V1beta1,
    V1beta2,
}

impl Edition {
    const fn base(self) -> &'static str {
        match self {
            Edition::V1beta1 => "/api/v1beta1",
            Edition::V1beta2 => "/api/v1beta2",
        }
    }
}

/// Who speaks, as errors say it. Of the names that clients may know it is that of the part which answers HTTP: what it
/// has behind it is none of those that Timeplus has.
const SYSTEM: &str = "appserver";

const PATHS: [Path; 11] = [
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
        operations: &[
            ("GET", queries::describe_list),
            ("POST", queries::describe_create),
        ],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/queries/{id}/cancel[/]",
        operations: &[("POST", queries::describe_cancel)],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/queries/{id}[/]",
        operations: &[
            ("GET", queries::describe_one),
            ("DELETE", queries::describe_delete),
        ],
    },
    Path {
        at: "[/{tenant}]/api/v1beta2/sqlanalyze[/]",
        operations: &[("POST", queries::describe_analyze)],
    },
    Path {
        at: "[/{tenant}]/api/v1beta1/queries[/]",
        operations: &[
            ("GET", queries::describe_list_with_metrics),
            ("POST", queries::describe_made),
        ],
    },
    Path {
        at: "[/{tenant}]/api/v1beta1/queries/{id}/cancel[/]",
        operations: &[("POST", queries::describe_cancel)],
    },
    Path {
        at: "[/{tenant}]/api/v1beta1/queries/{id}[/]",
        operations: &[
            ("GET", queries::describe_one_with_metrics),
            ("DELETE", queries::describe_delete),
        ],
    },
];

impl Api for Timeplus {
    fn paths(&self) -> &'static [Path] {
        &PATHS
    }

    fn has_dialect(&self, path: &str) -> bool {
        own(path).is_some() || rows_of(path).is_some()
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
        (Asked::Queries(place, edition), _) => {
            queries::answer(&head, place, edition, body, context).await
        }
        (Asked::Analysis, _) => queries::analyze(&head, body, context).await,
    }
}

/// What a path of the dialect means.
enum Asked {
    Streams,
    Stream(String),
    Ingest(String),
    Views,
    Queries(queries::Place, Edition),
    Analysis,
}

fn asked(uri: &hyper::Uri) -> Result<Asked, Problem> {
    let (edition, path) = own(uri.path()).unwrap_or((Edition::V1beta2, ""));
    let name = |name: &str| {
        let name = percent_encoding::percent_decode_str(name).decode_utf8();
        let name = name.map_err(|_| Problem::bad_request("path", "the path is not UTF-8"))?;
        Ok::<_, Problem>(name.into_owned())
    };
    if let Some(below) = path.strip_prefix("/streams/") {
        return Ok(match below.strip_suffix("/ingest") {
            Some(stream) => Asked::Ingest(name(stream)?),
            None => Asked::Stream(name(below)?),
        });
    }
    if let Some(below) = path.strip_prefix("/queries/") {
        let place = match below.strip_suffix("/cancel") {
            Some(id) => queries::Place::Cancel(name(id)?),
            None => queries::Place::One(name(below)?),
        };
        return Ok(Asked::Queries(place, edition));
    }
    Ok(match path {
        "/streams" => Asked::Streams,
        "/views" => Asked::Views,
        "/sqlanalyze" => Asked::Analysis,
        // There are no others among the paths.
        _ => Asked::Queries(queries::Place::All, edition),
    })
}

/// What follows the base in a path of the dialect, without a slash at its end.
fn own(path: &str) -> Option<(Edition, &str)> {
    fn below(path: &str) -> Option<(Edition, &str)> {
        let editions = [Edition::V1beta2, Edition::V1beta1].into_iter();
        let mut found = editions.filter_map(|e| Some((e, path.strip_prefix(e.base())?)));
        found.find(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
    }
    let (edition, rest) = below(path).or_else(|| below(openapi::below_tenant(path)?))?;
    Some((edition, rest.strip_suffix('/').unwrap_or(rest)))
}

/// The query whose rows a path is of: see [`ROWS`].
pub fn rows_of(path: &str) -> Option<&str> {
    fn below(path: &str) -> Option<&str> {
        let id = path.strip_prefix("/ws/queries/")?;
        let id = id.strip_suffix('/').unwrap_or(id);
        (!id.is_empty()).then_some(id)
    }
    below(path).or_else(|| below(openapi::below_tenant(path)?))
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
            let own = own(path);
            assert_eq!(own.map(|(_, rest)| rest), rest, "{path}");
            assert!(own.is_none_or(|(edition, _)| edition == Edition::V1beta2));
        }
    }

    #[test]
    fn what_is_of_the_generation_before() {
        let own = own("/t/api/v1beta1/queries/");
        assert_eq!(own, Some((Edition::V1beta1, "/queries")));
        for (path, id) in [
            ("/ws/queries/a", Some("a")),
            ("/t/ws/queries/a/", Some("a")),
            ("/ws/queries/", None),
            ("/ws/queries/a/b", Some("a/b")),
            ("/t/u/ws/queries/a", None),
            ("/ws", None),
        ] {
            assert_eq!(rows_of(path), id, "{path}");
            // A name may have slashes there; of these none is known.
            assert!(id.is_none() || openapi::means(ROWS, path), "{path}");
        }
    }
}
