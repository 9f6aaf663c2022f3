//! The first words: whether there is anybody, by which certificate and version, and whether it is triwire.

use std::io;
use std::time::Duration;

use hyper::Version;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::advice::{self, Trouble};
use super::recording::{Heard, Recording};
use super::{Report, pace};
use crate::client::{Connection, Failure, Fault, Http, Place, Settings};

/// An answer to a small question.
const ANSWERED: Duration = Duration::from_secs(10);

/// What is known of the server after the first words.
pub struct Greeted {
    /// As it can be spoken to: without verification if its certificate is wrong.
    pub place: Place,
    pub http: Http,
    /// What it says of itself, on HTTP/2.
    pub settings: Settings,
    /// Its `/stats` before any stream, if it tells.
    stats: Option<Value>,
}

/// Connects and says hello. `None` when there is nobody to examine.
pub async fn greet(place: &Place, report: &mut Report<'_>) -> io::Result<Option<Greeted>> {
    let (place, flaw, hello) = match hello(place).await {
        Ok(hello) => (place.clone(), None, hello),
        Err(failure) if is_of_certificate(&failure) => {
            let unverified = place.unverified();
            match self::hello(&unverified).await {
                Ok(hello) => (unverified, Some(failure), hello),
                Err(worse) => {
                    report.blame("certificate", &failure.words, Trouble::Certificate)?;
                    report.wrong("connection", worse.words)?;
                    return Ok(None);
                }
            }
        }
        Err(failure) => {
            report.wrong("connection", failure.words)?;
            return Ok(None);
        }
    };
    let (place, mut connection, answer) = at_the_right_version(place, hello).await;
    let marks = advice::marks(answer.headers());
    if let Some(marks) = &marks {
        report.advice.notice(marks);
        report.note("in between", format!("somebody who says {marks:?}"))?;
    }
    match flaw {
        Some(flaw) => report.blame("certificate", &flaw.words, Trouble::Certificate)?,
        None if place.is_tls() => {
            report.well("certificate", "valid, for this name, and trusted")?
        }
        None => {}
    }
    if answer.status() == StatusCode::MISDIRECTED_REQUEST {
        let name = place.authority();
        let words =
            format!("{name} is not a name that triwire goes by: start it with --allow-host");
        report.wrong("server", words)?;
        return Ok(None);
    }
    let http = connection.http();
    let stats = timeout(ANSWERED, connection.read("/stats")).await;
    let stats = stats.ok().and_then(Result::ok);
    let stats: Option<Value> = stats.and_then(|body| serde_json::from_slice(&body).ok());
    // Nobody in between says so, and the port is the listener's own.
    let own = stats.as_ref().and_then(|stats| listener(stats, &place));
    let direct = own.filter(|_| marks.is_none());
    let settings = match http {
        Http::One => Settings::default(),
        Http::Two => Settings::of(&place).await.unwrap_or_default(),
    };
    let greeted = Greeted {
        place,
        http,
        settings,
        stats,
    };
    version(&greeted, answer.version(), direct.as_deref(), report)?;
    Ok(Some(greeted))
}

type Hello = (Connection, Response<Incoming>);

async fn hello(place: &Place) -> Result<Hello, Failure> {
    let mut connection = Connection::open(place).await?;
    match timeout(ANSWERED, connection.get("/healthz")).await {
        Ok(answer) => Ok((connection, answer?)),
        Err(_) => Err(Failure::new(
            Fault::Silent,
            format!("{} says nothing for {ANSWERED:?}", place.authority()),
        )),
    }
}

/// In cleartext nothing is agreed on, and a port for HTTP/2 says so of itself.
async fn at_the_right_version(
    place: Place,
    hello: Hello,
) -> (Place, Connection, Response<Incoming>) {
    let (connection, answer) = hello;
    let wants_other = [
        StatusCode::UPGRADE_REQUIRED,
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    ];
    if !place.is_tls() && wants_other.contains(&answer.status()) {
        let mut other = place.clone();
        other.http = Some(Http::Two);
        if let Ok((connection, answer)) = self::hello(&other).await {
            return (other, connection, answer);
        }
    }
    (place, connection, answer)
}

fn is_of_certificate(failure: &Failure) -> bool {
    use Fault::{Expired, NotYetValid, Untrusted, WrongName};
    matches!(failure.fault, Expired | NotYetValid | Untrusted | WrongName)
}

/// The name of the listener that is at this port.
fn listener(stats: &Value, place: &Place) -> Option<String> {
    let all = stats["listeners"].as_object()?;
    let port = format!(":{}", place.port());
    let found = all.iter().find(|(_, listener)| {
        let addr = listener["addr"].as_str().unwrap_or("");
        addr.ends_with(&port) && listener["tls"] == place.is_tls()
    });
    found.map(|(name, _)| name.clone())
}

fn version(
    greeted: &Greeted,
    said: Version,
    direct: Option<&str>,
    report: &mut Report<'_>,
) -> io::Result<()> {
    const CHECK: &str = "HTTP version";
    const SIX: &str = "a browser opens six streams a host, and after them nothing gets through";
    if said == Version::HTTP_10 {
        let words = "the answer is HTTP/1.0, which can neither keep a connection nor mark the end of a stream";
        return report.blame(CHECK, words, Trouble::OldVersion);
    }
    match (greeted.place.is_tls(), greeted.http, direct) {
        (true, Http::Two, _) => {
            let streams = greeted.settings.streams;
            let streams = streams.map_or("any number of".into(), |streams| streams.to_string());
            report.well(
                CHECK,
                format!("HTTP/2, by ALPN, with {streams} streams a connection"),
            )
        }
        (true, Http::One, None) => {
            let words = format!("HTTP/2 was offered and HTTP/1.1 chosen: {SIX}");
            report.blame(CHECK, &words, Trouble::OldVersion)
        }
        (true, Http::One, Some(listener)) => {
            let words = format!("HTTP/1.1, all that triwire's listener {listener} speaks: {SIX}");
            report.note(CHECK, words)
        }
        (false, Http::One, _) => {
            let words = format!("HTTP/1.1, since browsers speak HTTP/2 only over TLS: {SIX}");
            report.note(CHECK, words)
        }
        (false, Http::Two, _) => report.note(CHECK, "HTTP/2 in cleartext, which no browser speaks"),
    }
}

/// Whether a stream begins as triwire's do, as far as that can be told yet.
pub async fn is_triwire(stream: &mut Recording, report: &mut Report<'_>) -> io::Result<bool> {
    const CHECK: &str = "server";
    let late = stream.asked().await + pace::PROMPT;
    let begun = |heard: &Heard| match heard {
        Heard::Ready(server) => Some(Ok(server.clone())),
        Heard::Busy(reason) => Some(Err(format!(
            "triwire is {reason} and takes no streams now: ask again later, or look at its limit of connections"
        ))),
        Heard::Failed(failure) => Some(Err(failure.words.clone())),
        Heard::Event(_) => Some(Err("the stream does not begin as triwire's do".into())),
        Heard::End(_) => Some(Err("the stream ended before it began".into())),
        _ => None,
    };
    let found = |heard: &[(_, Heard)]| heard.iter().any(|(_, h)| begun(h).is_some());
    stream.until(late, found).await;
    match stream.first(begun) {
        Some((_, Ok(server))) => report.well(CHECK, format!("triwire, {server:?}"))?,
        Some((_, Err(words))) => {
            report.wrong(CHECK, words)?;
            return Ok(false);
        }
        // That is for the next check to say.
        None => {}
    }
    Ok(true)
}

/// How the server itself counts a stream; a hint, for others come and go meanwhile.
pub fn counted(greeted: &Greeted, stats: &Recording, report: &mut Report<'_>) -> io::Result<()> {
    let event = stats.first(|heard| match heard {
        Heard::Event(data) => serde_json::from_str::<Value>(data).ok(),
        _ => None,
    });
    let (Some(before), Some((_, after))) = (&greeted.stats, event) else {
        return Ok(());
    };
    let total = |stats: &Value, wire: &str| stats["wires"][wire]["streams_total"].as_u64();
    let grown = |wire: &str| total(before, wire) < total(&after, wire);
    let (one, two) = (grown("sse_http1"), grown("sse_http2"));
    let spoken = match greeted.http {
        Http::One => "HTTP/1.1",
        Http::Two => "HTTP/2",
    };
    match (greeted.http, one, two) {
        (Http::Two, true, false) => report.note(
            "counted as",
            format!("sse_http1, though {spoken} is spoken here: somebody in between translates"),
        ),
        (Http::One, false, true) => report.note(
            "counted as",
            format!("sse_http2, though {spoken} is spoken here: somebody in between translates"),
        ),
        _ => Ok(()),
    }
}
