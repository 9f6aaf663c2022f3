//! The page: the files of `web/`, embedded. They are served as they are; there is no build step. Only the version is
//! filled in, so that a page that stays open can tell that the server has become another.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderValue};
use serde_json::{Value, json};

use crate::body::Body;
use crate::openapi;

/// Scripts and styles only from here; connections to the other listeners, which are other origins.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' http: https: ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Its path.
    pub at: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// A file of `web/`, and the path and the type that it is served under.
macro_rules! file {
    ($at:literal, $kind:expr, $name:literal) => {
        File {
            at: $at,
            kind: $kind,
            text: include_str!(concat!("../web/", $name)),
        }
    };
}

/// All of them.
pub static FILES: [File; 54] = [
    file!("/", HTML, "index.html"),
    file!("/page.css", CSS, "page.css"),
    file!("/cluster.css", CSS, "cluster.css"),
    file!("/collections.css", CSS, "collections.css"),
    file!("/compare.css", CSS, "compare.css"),
    file!("/panel.css", CSS, "panel.css"),
    file!("/canvas.js", SCRIPT, "canvas.js"),
    file!("/chart.js", SCRIPT, "chart.js"),
    file!("/client.js", SCRIPT, "client.js"),
    file!("/client-collection.js", SCRIPT, "client-collection.js"),
    file!("/client-line.js", SCRIPT, "client-line.js"),
    file!("/client-problem.js", SCRIPT, "client-problem.js"),
    file!("/client-readers.js", SCRIPT, "client-readers.js"),
    file!("/client-requests.js", SCRIPT, "client-requests.js"),
    file!("/client-share.js", SCRIPT, "client-share.js"),
    file!("/client-wires.js", SCRIPT, "client-wires.js"),
    file!("/cluster.js", SCRIPT, "cluster.js"),
    file!("/cluster-reader.js", SCRIPT, "cluster-reader.js"),
    file!("/cluster-view.js", SCRIPT, "cluster-view.js"),
    file!("/collections.js", SCRIPT, "collections.js"),
    file!("/collections-view.js", SCRIPT, "collections-view.js"),
    file!("/compare.js", SCRIPT, "compare.js"),
    file!("/compare-chart.js", SCRIPT, "compare-chart.js"),
    file!("/compare-figures.js", SCRIPT, "compare-figures.js"),
    file!("/compare-turn.js", SCRIPT, "compare-turn.js"),
    file!("/compare-view.js", SCRIPT, "compare-view.js"),
    file!("/compare-words.js", SCRIPT, "compare-words.js"),
    file!("/cut.js", SCRIPT, "cut.js"),
    file!("/figures.js", SCRIPT, "figures.js"),
    file!("/latency.js", SCRIPT, "latency.js"),
    file!("/page.js", SCRIPT, "page.js"),
    file!("/panel.js", SCRIPT, "panel.js"),
    file!("/picture.js", SCRIPT, "picture.js"),
    file!("/poll.js", SCRIPT, "poll.js"),
    file!("/publish.js", SCRIPT, "publish.js"),
    file!("/publisher.js", SCRIPT, "publisher.js"),
    file!("/replicas.js", SCRIPT, "replicas.js"),
    file!("/server.js", SCRIPT, "server.js"),
    file!("/streams.js", SCRIPT, "streams.js"),
    file!("/view.js", SCRIPT, "view.js"),
    file!("/wait.js", SCRIPT, "wait.js"),
    file!("/workbench.css", CSS, "workbench.css"),
    file!("/workbench.js", SCRIPT, "workbench.js"),
    file!("/workbench-chart.js", SCRIPT, "workbench-chart.js"),
    file!("/workbench-examples.js", SCRIPT, "workbench-examples.js"),
    file!("/workbench-place.js", SCRIPT, "workbench-place.js"),
    file!("/workbench-result.js", SCRIPT, "workbench-result.js"),
    file!("/workbench-server.js", SCRIPT, "workbench-server.js"),
    file!("/workbench-view.js", SCRIPT, "workbench-view.js"),
    file!("/workbench-words.js", SCRIPT, "workbench-words.js"),
    file!("/worker.js", SCRIPT, "worker.js"),
    file!("/words.js", SCRIPT, "words.js"),
    file!("/wires.js", SCRIPT, "wires.js"),
    file!("/favicon.ico", PICTURE, "favicon.svg"),
];

impl File {
    /// The file, as an answer.
    pub fn answer(&self) -> Response<Body> {
        let bytes = match self.kind {
            HTML => Bytes::from(self.text.replace("{version}", env!("CARGO_PKG_VERSION"))),
            _ => Bytes::from_static(self.text.as_bytes()),
        };
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    }

    /// What `/openapi.json` says of it.
    pub fn describe(&self) -> Value {
        json!({
            "summary": "A file of the page",
            "responses": { "200": openapi::answer("The file", self.kind, openapi::text()) },
        })
    }
}
