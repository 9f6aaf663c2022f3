//! The page: the files of `web/`, embedded. They are served as they are; there is no build step.

use hyper::Response;
use hyper::header::{self, HeaderValue};

use crate::body::Body;

/// Scripts and styles only from here; connections to the other listeners, which are other origins.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' http: https: ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: &[(&str, &str, &[u8])] = &[
    (
        "/",
        "text/html; charset=utf-8",
        include_bytes!("../web/index.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_bytes!("../web/page.css"),
    ),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../web/page.js"),
    ),
    (
        "/panel.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../web/panel.js"),
    ),
    (
        "/streams.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../web/streams.js"),
    ),
    (
        "/server.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../web/server.js"),
    ),
    (
        "/publish.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../web/publish.js"),
    ),
    (
        "/figures.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../web/figures.js"),
    ),
    (
        "/favicon.ico",
        "image/svg+xml",
        include_bytes!("../web/favicon.svg"),
    ),
];

/// The file at this path, if there is one.
pub fn file(path: &str) -> Option<Response<Body>> {
    let (_, kind, bytes) = FILES.iter().find(|(at, ..)| *at == path)?;
    let mut response = Response::new(Body::from(*bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Some(response)
}
