//! A server of its own for a case, and what is asked of it. The benchmarks of queries and of collections have this.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderValue};
use serde_json::Value;
use triwire::client::{Connection, Place, Transport};
use triwire::load::Result;
use triwire::load::server::Server as Child;

/// What is kept of a run, on a disk: temporary files of a machine may be in memory.
pub const DIRECTORY: &str = "target/bench";
/// What a server says; each benchmark has a file.
const LOG: &str = concat!(env!("CARGO_CRATE_NAME"), "-server.log");

/// A server of our own, with nothing in it; killed if it is dropped without `stop`.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts one that publishes nothing by itself.
    pub fn start(triwire: &Path, flags: &[&str]) -> Result<Server> {
        fs::create_dir_all(DIRECTORY)?;
        let mut command = Command::new(triwire);
        command.args(["serve", "--http1=127.0.0.1:0", "--h2c=127.0.0.1:0"]);
        command.args(["--ws=off", "--http1s=off", "--wss=off", "--http2=off"]);
        command.args(["--log-format=json", "--metrics-every=off", "--drain=0s"]);
        command.arg(format!("--certs={DIRECTORY}/certs"));
        command.args(flags);
        let child = Child::start(command, Vec::new(), &Path::new(DIRECTORY).join(LOG))?;
        Ok(Server { child })
    }

    /// Where it is spoken to so.
    pub fn place(&self, transport: &str) -> Result<Place> {
        let transport = Transport::named(transport).ok_or("no such transport")?;
        let url = format!("http://{}", self.child.address(transport.listener)?);
        Ok(Place::new(Some(&url), Some(transport), None)?)
    }

    /// A connection for requests, on a listener of this transport.
    pub async fn api(&self, transport: &str) -> Result<Api> {
        Ok(Api {
            connection: Connection::open(&self.place(transport)?).await?,
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Ends it.
    pub fn stop(self) -> Result<()> {
        self.child.stop()
    }
}

/// Requests, one after the other.
pub struct Api {
    connection: Connection,
}

impl Api {
    /// Sends a request with a body of this kind, and reads the whole answer, which must be a good one.
    pub async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> Result<Bytes> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let answer = self
            .connection
            .send(method.clone(), path, headers, body)
            .await?;
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&text);
            return Err(format!("{method} {path}: {status} {text}").into());
        }
        Ok(text)
    }

    /// The same with JSON, either way.
    pub async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let text = self
            .exchange(method, path, "application/json", body.into())
            .await?;
        match text.is_empty() {
            true => Ok(Value::Null),
            false => Ok(serde_json::from_slice(&text)?),
        }
    }

    pub async fn get(&mut self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, &Value::Null).await
    }
}
