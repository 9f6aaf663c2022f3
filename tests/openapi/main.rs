//! `/openapi.json` is what the server does: each status of each operation that it describes is provoked on a real
//! server and answered as described, and nothing else is answered.

mod recipes;
mod schema;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use recipes::{LIMITS, Made, On, Recipe};
use serde_json::Value;
use support::client::link::{self, Call, Connection, Link, Target};
use support::raw::{self, Answer, Peer};
use support::server::Server;

/// A method of a path, as the description has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// In capitals.
    pub method: String,
    /// With its parameters in braces.
    pub path: String,
}

/// All operations, in the order of the document.
fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().expect("paths");
    let of_one = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("an item").keys();
        let methods = methods.filter(|key| !["parameters", "servers"].contains(&key.as_str()));
        let operation = |method: &String| Operation {
            method: method.to_uppercase(),
            path: path.clone(),
        };
        methods.map(operation).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_one).collect()
}

fn described<'d>(document: &'d Value, of: &Operation) -> &'d Value {
    &document["paths"][&of.path][of.method.to_lowercase()]
}

/// What is said of an answer, wherever it stands.
fn response<'d>(document: &'d Value, of: &Operation, status: u16) -> &'d Value {
    let response = &described(document, of)["responses"][status.to_string()];
    match response["$ref"].as_str() {
        Some(place) => {
            let response = document.pointer(place.trim_start_matches('#'));
            response.expect("what is referred to")
        }
        None => response,
    }
}

#[test]
fn every_status_of_every_operation() {
    let plain = Server::start(&LIMITS);
    plain.publish("t", "the only topic");
    let document = plain.get("/openapi.json");
    let operations = operations(&document);
    let made = Made {
        kept: subscription(&plain),
        deleted: subscription(&plain),
        queries: [query(&plain), query(&plain)],
        sessions: [session(&plain), session(&plain), session(&plain)],
    };
    let recipes = recipes::all(&operations, &made);

    let known: BTreeSet<(Operation, u16)> =
        recipes.iter().map(|r| (r.of.clone(), r.status)).collect();
    let mut promised = BTreeSet::new();
    for of in &operations {
        let responses = described(&document, of)["responses"].as_object();
        for status in responses.expect("responses").keys() {
            promised.insert((of.clone(), status.parse().expect("a status")));
        }
    }
    let unknown: Vec<_> = promised.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "described, and nobody knows how to get it: {unknown:#?}"
    );
    let secret: Vec<_> = known.difference(&promised).collect();
    assert!(
        secret.is_empty(),
        "answered, and not described: {secret:#?}"
    );

    let full = Full::start();
    let draining = Draining::start();
    let locked = Server::start(&["--api-key=0123456789abcdef", "--socket-io-sessions=1"]);
    let mut wrong = Vec::new();
    for recipe in &recipes {
        let server = match recipe.on {
            On::Plain => &plain,
            On::Full => &full.server,
            On::Draining => &draining.server,
            On::Locked => &locked,
        };
        let _reader = recipe.reader.map(|request| reader(server, request));
        let answer = ask(server, recipe);
        if let Err(why) = fits(&document, recipe, &answer) {
            wrong.push(format!(
                "{why}\n{}\n{}{}\n",
                recipe.request, answer.head, answer.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn ask(server: &Server, recipe: &Recipe) -> Answer {
    let mut peer = Peer::connect(server, "http1");
    peer.say(&recipe.request);
    if recipe.of.method != "HEAD" {
        return peer.answer();
    }
    // Its length is that of a body which does not come.
    let head = peer.until("\r\n\r\n").expect("a head");
    peer.finish();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("a status line"),
        head,
        body: raw::text(&peer.rest()),
    }
}

/// Whether an answer is as described.
fn fits(document: &Value, recipe: &Recipe, answer: &Answer) -> Result<(), String> {
    if answer.status != recipe.status {
        return Err(format!("{} in place of {}", answer.status, recipe.status));
    }
    let response = response(document, &recipe.of, answer.status);
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        if answer.header(name).is_empty() && header["required"] == true {
            return Err(format!("no {name}"));
        }
    }
    let Some(content) = response["content"].as_object() else {
        return match answer.body.is_empty() {
            true => Ok(()),
            false => Err("a body, and none is described".to_owned()),
        };
    };
    let kind = answer.header("content-type");
    let described = content
        .get(kind)
        .ok_or(format!("{kind} is not described"))?;
    let body = match kind.ends_with("json") {
        true => serde_json::from_str(&answer.body).map_err(|e| e.to_string())?,
        false => Value::String(answer.body.clone()),
    };
    let begins = match recipes::is_dialect(&recipe.of.path) {
        true => "event: query\n",
        false => "event: ready\n",
    };
    if kind == "text/event-stream" && !answer.body.contains(begins) {
        return Err("a stream begins with where it is, or what it is of".to_owned());
    }
    schema::check(document, &described["schema"], &body)
}

/// A new subscription to the topic `t`.
fn subscription(server: &Server) -> String {
    let body = r#"{"topics":["t"]}"#;
    let (head, answer) = server.request(&format!(
        "POST /subscriptions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    let made: Value = serde_json::from_str(&answer).expect("JSON");
    made["subscription_id"].as_str().expect("an id").to_owned()
}

/// A new query of the Timeplus dialect.
fn query(server: &Server) -> String {
    let body = r#"{"sql":"select value from metrics"}"#;
    let (head, answer) = server.request(&format!(
        "POST /api/v1beta1/queries HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    let made: Value = serde_json::from_str(&answer).expect("JSON");
    made["id"].as_str().expect("an id").to_owned()
}

/// A new session of Socket.IO.
fn session(server: &Server) -> String {
    let path = "/socket.io/?EIO=4&transport=polling";
    let (head, body) = server.request(&format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    ));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let made: Value = serde_json::from_str(body.trim_start_matches('0')).expect("JSON");
    made["sid"].as_str().expect("a name").to_owned()
}

/// Somebody who reads events.
fn reader(server: &Server, target: &str) -> Peer {
    let mut reader = Peer::connect(server, "http1");
    reader.say(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    reader.until("event: ready\n").expect("a stream");
    reader
}

/// A server with one connection, which somebody has.
struct Full {
    server: Server,
    _reader: Peer,
}

impl Full {
    fn start() -> Full {
        let server = Server::start(&["--connections=1"]);
        let reader = reader(&server, "/events?topic=t");
        Full {
            server,
            _reader: reader,
        }
    }
}

/// A server that was asked to leave, and waits for one who takes nothing.
struct Draining {
    server: Server,
    _stuck: Peer,
}

impl Draining {
    fn start() -> Draining {
        let server = Server::start(&["--drain=10min", "--http1-unsent=16KiB"]);
        let mut stuck = Peer::narrow(server.addr("http1"), 4096);
        stuck.say("GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stuck.until("event: ready\n").expect("a stream");
        const EVENT: usize = 255 * 1024;
        for _ in 0..=support::server::most_that_the_kernel_takes() / EVENT {
            server.publish("t", &"x".repeat(EVENT));
        }
        server.signal("TERM");
        raw::until("it drains", || {
            let (head, _) = server
                .request("GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            head.starts_with("HTTP/1.1 503")
        });
        Draining {
            server,
            _stuck: stuck,
        }
    }
}

/// What is not described is not answered: other methods with what there is, other paths with nothing.
#[test]
fn nothing_else_is_answered() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json");
    let operations = operations(&document);
    let paths: BTreeSet<&String> = operations.iter().map(|of| &of.path).collect();
    let ask = |method: &str, path: &str| {
        let length = if matches!(method, "GET" | "HEAD") {
            ""
        } else {
            "content-length: 0\r\n"
        };
        let recipe = Recipe {
            of: Operation {
                method: method.to_owned(),
                path: path.to_owned(),
            },
            status: 0,
            on: On::Plain,
            reader: None,
            request: format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}connection: close\r\n\r\n"
            ),
        };
        ask(&server, &recipe)
    };
    let refused = |answer: &Answer, status: u16, form: &str| {
        assert_eq!(answer.status, status, "{answer:?}");
        if !answer.body.is_empty() {
            let body = serde_json::from_str(&answer.body).expect("JSON");
            let form = &document["components"]["schemas"][form];
            schema::check(&document, form, &body).expect("a refusal");
        }
    };
    for path in paths {
        let takes = |method: &str| {
            operations
                .iter()
                .any(|of| of.path == *path && of.method == method)
        };
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let allow: Vec<&str> = methods.into_iter().filter(|method| takes(method)).collect();
        for method in methods.into_iter().chain(["TRACE", "BREW"]) {
            if takes(method) {
                continue;
            }
            let answer = ask(method, path);
            let form = match recipes::is_dialect(path) {
                true => "TimeplusError",
                false => "Problem",
            };
            refused(&answer, 405, form);
            let said = answer.header("allow").trim_end_matches(", CONNECT");
            assert_eq!(said, allow.join(", "), "{method} {path}");
        }
        assert_eq!(
            ask("OPTIONS", path)
                .header("allow")
                .trim_end_matches(", CONNECT"),
            allow.join(", ")
        );
        // One segment alone would be a tenant.
        refused(&ask("GET", &format!("/no/no{path}")), 404, "Problem");
    }
}

/// OpenAPI has no word for a WebSocket on HTTP/2: it is an extended CONNECT to where HTTP/1.1 is answered 101.
#[tokio::test]
async fn a_websocket_on_http2_is_where_one_on_http1_is() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json");
    let target = Target::of(&server);
    for of in operations(&document).iter().filter(|of| of.method == "GET") {
        let at = match of.path.as_str() {
            "/stream/{id}" => of.path.replace("{id}", &subscription(&server)),
            "/ws/queries/{id}" => of.path.replace("{id}", &query(&server)),
            "/api/v2/{collection}" => "/api/v2/c".to_owned(),
            path => format!("{path}?topic=t&EIO=4&transport=websocket"),
        };
        let call = Call::get(at);
        let mut connection = Connection::open(&target, Link::H2c).await;
        let status = match link::extended_connect(&mut connection, call).await {
            Ok(_) => 101,
            Err(answer) => answer.status().as_u16(),
        };
        let has_websocket = !response(&document, of, 101).is_null();
        assert_eq!(status, if has_websocket { 101 } else { 405 }, "{}", of.path);
        let allow = raw::ask(
            &server,
            "http1",
            &format!("OPTIONS {} HTTP/1.1\r\nhost: localhost\r\n\r\n", of.path),
        );
        assert_eq!(
            allow.header("allow").contains("CONNECT"),
            has_websocket,
            "{}",
            of.path
        );
    }
}

/// A parameter of the query that is described is one that the server reads: of nonsense it says so.
#[test]
fn every_parameter_is_read() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json");
    let mut read = BTreeSet::new();
    for of in operations(&document)
        .iter()
        .filter(|of| of.method != "HEAD")
    {
        let parameters = described(&document, of)["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().expect("a name");
            if parameter["in"] != "query" {
                continue;
            }
            let Operation { method, path } = of;
            let path = path.replace("{topic}", "t").replace("{collection}", "c");
            // Of a collection some are of its list and the others of its stream, which has no topics to name.
            let watch = match name {
                "page" | "per_page" | "sort" | "filter[FIELD]" | "watch" => "",
                _ if path == "/api/v2/c" => "watch=1&",
                _ => "topic=t&",
            };
            // Any text can be what a filter asks for, but not half a quoted one.
            let nonsense = if watch.is_empty() { "%22" } else { "%00" };
            let handshake = if path == "/ws" {
                recipes::HANDSHAKE
            } else {
                "connection: close\r\n"
            };
            let length = if method == "POST" {
                "content-length: 0\r\n"
            } else {
                ""
            };
            let answer = raw::ask(
                &server,
                "http1",
                &format!(
                    "{method} {path}?{watch}{name}={nonsense} HTTP/1.1\r\nhost: localhost\r\n{handshake}{length}\r\n"
                ),
            );
            assert_eq!(answer.status, 400, "{method} {path}: {name}: {answer:?}");
            read.insert(name.to_owned());
        }
    }
    let known = [
        "EIO",
        "after",
        "cut",
        "envelope",
        "filter[FIELD]",
        "format",
        "lag",
        "limit",
        "lines",
        "page",
        "per_page",
        "poll",
        "scope",
        "sid",
        "sort",
        "tag",
        "timeout",
        "topic",
        "transport",
        "type",
        "watch",
    ];
    assert_eq!(read, known.map(str::to_owned).into());
}

#[test]
fn it_is_of_this_version() {
    let document = Server::start(&[]).get("/openapi.json");
    assert_eq!(document["openapi"], "3.1.1");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}
