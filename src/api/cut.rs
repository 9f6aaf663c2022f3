//! `POST /cut/{key}`: the network fails on request, for whoever wants to see a reader resume. A stream that was
//! opened with `?cut=KEY` has its connection closed by whoever knows the key, which its reader made up at random;
//! nobody else's can be.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Api, Context};
use crate::body::Body;
use crate::counts::Connection;
use crate::openapi::{Path, answer, count, object, parameter, problem};
use crate::problem::Problem;

/// From the answer to the cut: on HTTP/2 the answer may have to leave by a connection that is cut, and a browser that
/// gets none asks again.
const ANSWER_TIME: Duration = Duration::from_millis(50);

/// A key: 16 to 64 characters of `[A-Za-z0-9_-]`, long enough not to be guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutKey(Box<str>);

impl CutKey {
    /// Checks a key.
    ///
    /// # Errors
    /// 400 for any other text.
    pub fn new(text: &str) -> Result<CutKey, Problem> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !(16..=64).contains(&text.len()) || !text.bytes().all(plain) {
            let detail =
                "a key to cut by is 16 to 64 characters of A-Z a-z 0-9 _ -; make it at random";
            return Err(Problem::bad_request("cut", detail));
        }
        Ok(CutKey(text.into()))
    }

    /// What a key looks like, in JSON Schema.
    pub fn describe() -> Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$" })
    }
}

/// Which connections may be cut, and by what: the latest so many keys.
pub struct Cuts {
    most: usize,
    keys: Mutex<VecDeque<(CutKey, Weak<Connection>)>>,
}

impl Cuts {
    /// Remembers at most so many.
    pub fn new(most: usize) -> Cuts {
        Cuts {
            most,
            keys: Mutex::default(),
        }
    }

    fn keys(&self) -> MutexGuard<'_, VecDeque<(CutKey, Weak<Connection>)>> {
        self.keys.lock().expect("nothing panics under this lock")
    }

    /// From now on the connection can be cut by this key.
    pub fn add(&self, key: CutKey, connection: &Arc<Connection>) {
        let connection = Arc::downgrade(connection);
        let mut keys = self.keys();
        if keys.iter().any(|(k, c)| *k == key && c.ptr_eq(&connection)) {
            return;
        }
        keys.push_back((key, connection));
        if keys.len() > self.most {
            keys.retain(|(_, connection)| connection.strong_count() > 0);
        }
        while keys.len() > self.most {
            keys.pop_front();
        }
    }

    /// Forgets a key, and returns the connections that have it.
    fn take(&self, key: &CutKey) -> Vec<Weak<Connection>> {
        let mut found = Vec::new();
        self.keys().retain(|(k, connection)| {
            let is_asked = k == key;
            if is_asked && connection.strong_count() > 0 {
                found.push(connection.clone());
            }
            !is_asked
        });
        found
    }
}

/// `POST /cut/{key}`.
pub struct Cutting;

impl Api for Cutting {
    fn paths(&self) -> &'static [Path] {
        &[Path {
            at: "/cut/{key}",
            operations: &[("POST", describe)],
        }]
    }

    fn call<'a>(
        &'a self,
        request: Request<Incoming>,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Response<Body>, Problem>> {
        std::future::ready(cut(request, &context.cuts)).boxed()
    }
}

fn describe() -> Value {
    let cut = object(json!({ "connections": count() }));
    json!({
        "summary": "Close the connections of streams that were opened with ?cut= and this key",
        "parameters": [parameter("path", "key", "The key", CutKey::describe())],
        "responses": {
            "200": answer("How many were closed", "application/json", cut),
            "400": problem("No key"),
            "404": problem("No open stream was opened with this key"),
        },
    })
}

fn cut(request: Request<Incoming>, cuts: &Cuts) -> Result<Response<Body>, Problem> {
    let path = request.uri().path();
    let key = path.strip_prefix("/cut/").unwrap_or_default();
    let key = percent_encoding::percent_decode_str(key)
        .decode_utf8_lossy()
        .into_owned();
    super::discard(request.into_body());
    let found = cuts.take(&CutKey::new(&key)?);
    if found.is_empty() {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-key",
            "no stream that is open was opened with ?cut= and this key",
        ));
    }
    let body = json!({ "connections": found.len() });
    tokio::spawn(async move {
        tokio::time::sleep(ANSWER_TIME).await;
        for connection in found {
            if let Some(connection) = connection.upgrade() {
                connection.cut();
            }
        }
    });
    Ok(super::json(StatusCode::OK, body.to_string()))
}
