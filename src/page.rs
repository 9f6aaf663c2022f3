//! The page: the files of `web/`, embedded. They are served as they are; there is no build step.

use hyper::Response;
use hyper::header::{self, HeaderValue};
use serde_json::{Value, json};

use crate::body::Body;
use crate::openapi;

/// Scripts and styles only from here; connections to the other listeners, which are other origins.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' http: https: ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Its path.
    pub at: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

/// All of them.
pub static FILES: [File; 9] = [
    File {
        at: "/",
        kind: "text/html; charset=utf-8",
        bytes: include_bytes!("../web/index.html"),
    },
    File {
        at: "/page.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("../web/page.css"),
    },
    File {
        at: "/page.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../web/page.js"),
    },
    File {
        at: "/panel.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../web/panel.js"),
    },
    File {
        at: "/streams.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../web/streams.js"),
    },
    File {
        at: "/server.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../web/server.js"),
    },
    File {
        at: "/publish.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../web/publish.js"),
    },
    File {
        at: "/figures.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../web/figures.js"),
    },
    File {
        at: "/favicon.ico",
        kind: "image/svg+xml",
        bytes: include_bytes!("../web/favicon.svg"),
    },
];

impl File {
    /// The file, as an answer.
    pub fn answer(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.bytes));
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
