//! How to get each answer that `/openapi.json` describes, of a real server.

mod collections;
mod live;
mod socket_io;
mod timeplus;

use super::Operation;

/// One request, and the status that it gets.
#[derive(Clone)]
pub struct Recipe {
    pub of: Operation,
    pub status: u16,
    pub on: On,
    /// What somebody reads meanwhile.
    pub reader: Option<&'static str>,
    pub request: String,
}

/// Which server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// One with room for one topic, which is `t`, and for small events.
    Plain,
    /// One that has as many connections as it may.
    Full,
    /// One that is leaving, and still has somebody to wait for.
    Draining,
    /// One that has a key.
    Locked,
}

/// What the server that is asked in peace is started with.
pub const LIMITS: [&str; 15] = [
    "--topics=1",
    "--event-bytes=1KiB",
    "--batch-events=1",
    "--request-body=200ms",
    "--idempotency-keys=1",
    "--poll-timeout=1s",
    "--queries=2",
    "--subscriptions=3",
    "--tables=3",
    "--timeplus-queries=3",
    "--document-bytes=1KiB",
    "--collections=2",
    "--watches=1",
    "--metrics-every",
    "off",
];

/// Whether a path is of the Timeplus dialect.
pub fn is_dialect(path: &str) -> bool {
    ["/api/v1beta2/", "/api/v1beta1/", "/ws/"]
        .iter()
        .any(|start| path.starts_with(start))
}

pub const HANDSHAKE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const FOREIGN: &str = "origin: https://foreign.example\r\n";

const PAGE: [&str; 54] = [
    "/",
    "/page.css",
    "/compare.css",
    "/panel.css",
    "/canvas.js",
    "/chart.js",
    "/client.js",
    "/client-collection.js",
    "/client-line.js",
    "/client-problem.js",
    "/client-readers.js",
    "/client-requests.js",
    "/client-share.js",
    "/client-wires.js",
    "/cluster.css",
    "/cluster.js",
    "/cluster-reader.js",
    "/cluster-view.js",
    "/collections.css",
    "/collections.js",
    "/collections-view.js",
    "/compare.js",
    "/compare-chart.js",
    "/compare-figures.js",
    "/compare-turn.js",
    "/compare-view.js",
    "/compare-words.js",
    "/cut.js",
    "/figures.js",
    "/latency.js",
    "/page.js",
    "/panel.js",
    "/picture.js",
    "/poll.js",
    "/publish.js",
    "/publisher.js",
    "/replicas.js",
    "/server.js",
    "/streams.js",
    "/view.js",
    "/wait.js",
    "/words.js",
    "/wires.js",
    "/workbench-chart.js",
    "/workbench-examples.js",
    "/workbench-place.js",
    "/workbench-result.js",
    "/workbench-server.js",
    "/workbench-view.js",
    "/workbench-words.js",
    "/workbench.css",
    "/workbench.js",
    "/worker.js",
    "/favicon.ico",
];

/// Subscriptions to the topic `t` that are there from the start.
pub struct Made {
    /// One that stays.
    pub kept: String,
    /// One that goes.
    pub deleted: String,
    /// Queries of the Timeplus dialect whose rows nobody has asked for yet.
    pub queries: [String; 2],
    /// Sessions of Socket.IO that poll.
    pub sessions: [String; 3],
}

/// All that are known, for a description with these operations.
pub fn all(operations: &[Operation], made: &Made) -> Vec<Recipe> {
    let mut all: Vec<Recipe> = operations.iter().flat_map(everywhere).collect();
    all.extend(streams());
    all.extend(publish());
    all.extend(cut());
    all.extend(live::queries());
    all.extend(live::subscriptions(made));
    all.extend(live::stream(&made.kept));
    all.extend(live::tables());
    all.extend(collections::all());
    all.extend(timeplus::all(made));
    all.extend(socket_io::all(made));
    let seen = ["/stats", "/healthz", "/readyz", "/metrics", "/openapi.json"];
    for path in seen.iter().chain(&PAGE) {
        all.push(recipe("GET", path, 200, path, "", ""));
        all.push(recipe("HEAD", path, 200, path, "", ""));
    }
    all.push(recipe("GET", "/readyz", 503, "/readyz", "", "").on(On::Draining));
    all.push(recipe("GET", "/poll", 503, "/poll?topic=t", "", "").on(On::Draining));
    all
}

/// What any operation answers to, whatever it is for.
fn everywhere(of: &Operation) -> Vec<Recipe> {
    let Operation { method, path } = of;
    let bare = |head: &str| format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{head}\r\n");
    let of_plain = |status, request| Recipe {
        of: of.clone(),
        status,
        on: On::Plain,
        reader: None,
        request,
    };
    let mut all = vec![
        of_plain(400, bare("")),
        of_plain(400, bare("host: localhost\r\nhost: localhost\r\n")),
        of_plain(421, bare("host: foreign.example\r\n")),
    ];
    match method.as_str() {
        "OPTIONS" => all.push(recipe("OPTIONS", path, 204, path, "", "")),
        "HEAD" => all.push(recipe("HEAD", path, 503, path, "", "").on(On::Full)),
        _ => {
            let request = format!("{FOREIGN}{}", if method == "GET" { HANDSHAKE } else { "" });
            all.push(recipe(method, path, 403, path, &request, ""));
            all.push(recipe(method, path, 503, path, "", "").on(On::Full));
        }
    }
    if is_dialect(path) && method != "OPTIONS" {
        all.push(recipe(method, path, 401, path, "", "").on(On::Locked));
    }
    all
}

fn streams() -> Vec<Recipe> {
    let mut all = Vec::new();
    for (path, topic) in [
        ("/events", "topic=t"),
        ("/sse", "topic=t"),
        ("/poll", "topic=t"),
    ] {
        let target = format!("{path}?{topic}&after=0-0&limit=1");
        all.push(recipe("GET", path, 200, &target, "", ""));
        all.push(recipe("HEAD", path, 200, &target, "", ""));
        all.push(recipe(
            "GET",
            path,
            400,
            &format!("{path}?{topic}&after=x"),
            "",
            "",
        ));
        if path != "/poll" {
            let html = "accept: text/html\r\n";
            all.push(recipe("GET", path, 406, &target, html, ""));
            all.push(recipe("HEAD", path, 406, &target, html, ""));
        }
    }
    all.push(recipe("GET", "/events", 400, "/events", "", ""));
    all.push(recipe("GET", "/poll", 400, "/poll", "", ""));
    let old = HANDSHAKE.replace("13", "8");
    for path in ["/events", "/ws"] {
        let target = format!("{path}?topic=t");
        let offer = |protocol: &str| format!("{HANDSHAKE}sec-websocket-protocol: {protocol}\r\n");
        all.push(recipe("GET", path, 101, &target, HANDSHAKE, ""));
        all.push(recipe(
            "GET",
            path,
            101,
            &target,
            &offer("triwire.v1.json"),
            "",
        ));
        all.push(recipe("GET", path, 400, &target, &offer("other"), ""));
        all.push(recipe("GET", path, 426, &target, &old, ""));
    }
    // No handshake, since that is a GET.
    all.push(recipe("GET", "/ws", 426, "/ws", "", ""));
    all.push(recipe("HEAD", "/ws", 426, "/ws", "", ""));
    all.push(recipe("HEAD", "/ws", 426, "/ws", HANDSHAKE, ""));
    all.push(recipe(
        "HEAD",
        "/events",
        200,
        "/events?topic=t",
        HANDSHAKE,
        "",
    ));
    all
}

fn publish() -> Vec<Recipe> {
    let post = |status, topic: &str, headers: &str, body: &str| {
        let target = format!("/publish/{topic}");
        recipe("POST", "/publish/{topic}", status, &target, headers, body)
    };
    let json = "content-type: application/json\r\n";
    let lines = "content-type: application/x-ndjson\r\n";
    let key = "idempotency-key: one\r\n";
    let large = "x".repeat(1025);
    let endless = "content-length: 10\r\n\r\nx";
    vec![
        post(201, "t?type=T", "", "text"),
        post(201, "t", json, r#"{"a":1}"#),
        post(201, "t", lines, "1\n"),
        post(201, "t?lines=1", "", "one line\n"),
        post(201, "t", key, "x"),
        post(400, "a..b/..", "", "x"),
        post(400, "t?type=ready", "", "x"),
        post(400, "t", json, "{"),
        post(400, "t", lines, "\n"),
        post(400, "t?lines=1", json, "1"),
        post(403, "$stats", "", "x"),
        Recipe {
            request: format!("POST /publish/t HTTP/1.1\r\nhost: localhost\r\n{endless}"),
            ..post(408, "t", "", "")
        },
        post(413, "t", "", &large),
        post(413, "t", lines, "1\n2\n"),
        post(415, "t", "content-encoding: gzip\r\n", "x"),
        post(429, "another", "", "x"),
        post(429, "t", "idempotency-key: two\r\n", "x"),
    ]
}

fn cut() -> [Recipe; 3] {
    let post =
        |status, key: &str| recipe("POST", "/cut/{key}", status, &format!("/cut/{key}"), "", "");
    let found = Recipe {
        reader: Some("/sse?cut=0123456789abcdef"),
        ..post(200, "0123456789abcdef")
    };
    [found, post(400, "short"), post(404, "fedcba9876543210")]
}

fn recipe(
    method: &str,
    path: &str,
    status: u16,
    target: &str,
    headers: &str,
    body: &str,
) -> Recipe {
    // Of an upgrade the connection says so itself.
    let close = match headers.contains("connection:") {
        true => "",
        false => "connection: close\r\n",
    };
    let length = match method {
        "POST" | "PUT" | "PATCH" => format!("content-length: {}\r\n", body.len()),
        _ => String::new(),
    };
    Recipe {
        of: Operation {
            method: method.to_owned(),
            path: path.to_owned(),
        },
        status,
        on: On::Plain,
        reader: None,
        request: format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{close}{headers}{length}\r\n{body}"
        ),
    }
}

impl Recipe {
    fn on(self, on: On) -> Recipe {
        Recipe { on, ..self }
    }
}
