//! A server that runs elsewhere: what it says of itself at `/stats`, and where its listeners are.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::client::{Connection, Failure, Http, Place, Transport};
use crate::load::socket::Endpoint;
use crate::load::{Dialect, Result, Target};

/// How long a port may take to answer at all.
const REACH: Duration = Duration::from_secs(5);
/// Those on which events can be published here, the cheapest first.
const PUBLISHING: [&str; 4] = ["sse-http1", "ws", "sse-http1s", "wss"];

/// A server that runs elsewhere.
pub struct Remote {
    place: Place,
    cacert: Option<PathBuf>,
    runtime: Runtime,
    connection: Option<Connection>,
    listeners: Value,
    /// Its version.
    pub version: String,
    /// Streams that others had when we came.
    pub others: u64,
}

impl Remote {
    /// Asks the server at `place` what it is.
    ///
    /// # Errors
    /// In a line, when it cannot be reached or trusted, or is none of triwire's.
    pub fn new(place: Place, cacert: Option<&Path>) -> Result<Remote, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        let mut remote = Remote {
            place,
            cacert: cacert.map(Path::to_owned),
            runtime,
            connection: None,
            listeners: Value::Null,
            version: String::new(),
            others: 0,
        };
        let stats = remote.stats()?;
        let wires = stats["wires"].as_object();
        let streams = wires.map(|wires| wires.values().filter_map(|wire| wire["streams"].as_u64()));
        let (Some(version), Some(streams), true) = (
            stats["version"].as_str(),
            streams,
            stats["listeners"].is_object(),
        ) else {
            return Err(remote.foreign());
        };
        // It is shown, and anybody may have written it.
        let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        remote.version = version.chars().take(40).map(plain).collect();
        remote.others = streams.sum();
        remote.listeners = stats["listeners"].clone();
        Ok(remote)
    }

    fn foreign(&self) -> String {
        let url = self.place.url("/stats");
        format!("{url} does not answer as a triwire server does; give the URL of one to --target")
    }

    /// What it counts.
    ///
    /// # Errors
    /// In a line, when it does not answer.
    pub fn stats(&mut self) -> Result<Value, String> {
        let answer = self.ask().or_else(|_| {
            // A connection that nobody used for a while may be gone.
            self.connection = None;
            self.ask()
        });
        let answer = answer.map_err(|failure| failure.words)?;
        serde_json::from_slice(&answer).map_err(|_| self.foreign())
    }

    fn ask(&mut self) -> Result<hyper::body::Bytes, Failure> {
        let (place, connection) = (&self.place, &mut self.connection);
        self.runtime.block_on(async {
            let connection = match connection {
                Some(connection) => connection,
                none => none.insert(Connection::open(place).await?),
            };
            connection.read("/stats").await
        })
    }

    /// A figure of its process.
    pub(super) fn process(&mut self, name: &str) -> Result<f64> {
        let stats = self.stats()?;
        let figure = stats["process"][name].as_f64();
        Ok(figure.ok_or_else(|| self.foreign())?)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.place.url("")
    }

    /// Where a transport's listener is.
    ///
    /// # Errors
    /// In a line, when it has none, or it cannot be reached or trusted.
    pub fn endpoint(&self, transport: &Transport) -> Result<Endpoint, String> {
        let name = transport.name;
        let listener = &self.listeners[transport.listener];
        let address = listener["addr"].as_str();
        let port = address.and_then(|address| address.rsplit(':').next());
        let Some(port) = port else {
            let listener = transport.listener;
            return Err(format!("{name}: the target has no listener {listener}"));
        };
        let scheme = if listener["tls"] == true {
            "https"
        } else {
            "http"
        };
        let host = self.place.authority();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let url = format!("{scheme}://{host}:{port}");
        let place = Place::new(Some(&url), Some(transport), self.cacert.as_deref())?;
        let http = transport.http.unwrap_or(Http::One);
        let address = reachable(&place).map_err(|why| format!("{name}: {why}"))?;
        if place.is_tls() {
            let opened = self.runtime.block_on(Connection::open(&place));
            opened.map_err(|failure| format!("{name}: {}", failure.words))?;
        }
        Ok(Endpoint::new(&place, http, address))
    }

    /// Where events are published.
    ///
    /// # Errors
    /// In a line, when no listener of HTTP/1.1 can be reached.
    pub fn publishing(&self) -> Result<Endpoint, String> {
        let endpoints = PUBLISHING.map(|name| {
            let transport = Transport::named(name).expect("it is in the table");
            self.endpoint(transport)
        });
        let why = endpoints.iter().filter_map(|one| one.as_ref().err());
        let why: Vec<&str> = why.map(String::as_str).collect();
        let why = format!("nothing to publish on by HTTP/1.1: {}", why.join("; "));
        endpoints.into_iter().find_map(Result::ok).ok_or(why)
    }
}

/// Where the load goes.
pub fn target(
    transport: &'static Transport,
    readers: &Endpoint,
    publishing: &Endpoint,
    topic: &str,
) -> Target {
    Target {
        transport,
        readers: readers.clone(),
        publishing: publishing.clone(),
        dialect: Dialect::Own,
        topic: topic.to_owned(),
    }
}

/// The first of the host's addresses that takes a connection.
fn reachable(place: &Place) -> Result<SocketAddr, String> {
    let addresses = (place.host(), place.port()).to_socket_addrs();
    let addresses = addresses
        .map_err(|error| format!("the name {} does not resolve: {error}", place.host()))?;
    let mut why = format!("the name {} has no address", place.host());
    for address in addresses {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return Ok(address),
            Err(error) => why = format!("{}: {error}", place.authority()),
        }
    }
    Err(why)
}
