//! `triwire doctor`, read as a person would; and where all is well: through proxies that are set as the page says, and
//! against triwire itself.

use std::path::Path;
use std::process::Command;
use std::thread;

use super::certificate::Flaw;
use super::proxy::{Kind, Proxy, change};
use super::support::server::{BINARY, LISTENERS, Server};

/// Often enough for the proxies' 3 s, which is less than the 5 s for which streams are watched.
pub const BEATS: [&str; 4] = ["--heartbeat", "1s", "--ping", "1s"];
/// What it printed, and how it ended.
pub struct Told {
    status: Option<i32>,
    text: String,
}

impl Told {
    pub fn by(url: &str, cacert: &Path) -> Told {
        let output = command(url, cacert).output().expect("the binary starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{url}");
        Told {
            status: output.status.code(),
            text: String::from_utf8(output.stdout).expect("UTF-8"),
        }
    }

    /// The verdict on a check, and the words.
    pub fn on(&self, check: &str) -> Option<(&str, &str)> {
        let mut lines = self.text.lines();
        lines.find_map(|line| {
            let (verdict, rest) = line.split_at_checked(7)?;
            let words = rest.strip_prefix(&format!("{check:<20}  "))?;
            Some((verdict.trim(), words))
        })
    }

    #[track_caller]
    pub fn is(&self, verdict: &str, check: &str, says: &str) {
        let found = self.on(check);
        assert!(
            found.is_some_and(|(found, words)| found == verdict && words.contains(says)),
            "{check} should be {verdict}: {says:?}\n{}",
            self.text
        );
    }

    #[track_caller]
    pub fn is_well(&self) {
        let wrong = self.text.contains("WRONG");
        assert!(
            self.status == Some(0) && !wrong,
            "{:?}\n{}",
            self.status,
            self.text
        );
    }

    #[track_caller]
    pub fn is_wrong(&self, check: &str, says: &str) {
        self.is("WRONG", check, says);
        assert_eq!(self.status, Some(1), "{}", self.text);
    }
}

pub fn command(url: &str, cacert: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(["doctor", "--idle", "5s", "--cacert"])
        .arg(cacert)
        .arg(url);
    command
}

/// The page's settings, with changes, examined under a name that resolves.
pub fn told(kind: Kind, args: &[&str], changes: &[(&str, &str)], flaw: Flaw) -> Option<Told> {
    if !kind.is_installed() {
        eprintln!("not run: {kind} is not installed");
        return None;
    }
    let server = Server::start(args);
    let block = change(&kind.impatient(), changes);
    let proxy = Proxy::with(kind, &block, server.addr("http1"), flaw);
    let told = Told::by(
        &format!("https://localhost:{}", proxy.addr.port()),
        &proxy.ca(),
    );
    // It has published nothing, and has left.
    server.until("it has left", |stats| {
        let streams = |wire: &str| stats["wires"][wire]["streams"].as_u64();
        streams("sse_http1") == Some(0) && streams("websocket") == Some(0)
    });
    let topics = server.stats()["log"]["topics"].as_u64();
    assert!(topics <= Some(1), "{topics:?} topics, where $stats is one");
    Some(told)
}

/// Checks all rows at the same time, since most of it is waiting.
pub fn side_by_side<R: Send>(rows: impl IntoIterator<Item = R>, check: impl Fn(R) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        for row in rows {
            scope.spawn(move || check(row));
        }
    });
}

#[test]
fn all_is_well_with_the_settings_of_the_page() {
    side_by_side(Kind::ALL, |kind| {
        let Some(told) = told(kind, &BEATS, &[], Flaw::None) else {
            return;
        };
        told.is_well();
        for check in [
            "certificate",
            "HTTP version",
            "server",
            "WebSocket",
            "buffering",
        ] {
            told.is("ok", check, "");
        }
        told.is("ok", "compression", "none");
        for check in ["idle stream", "long stream", "idle WebSocket"] {
            told.is("ok", check, "");
        }
        told.is("note", "counted as", "sse_http1");
        match kind {
            Kind::Haproxy => told.is("ok", "WebSocket on HTTP/2", ""),
            _ => {
                told.is("note", "WebSocket on HTTP/2", "not announced");
                told.is("note", "in between", &kind.to_string()[1..]);
            }
        }
    });
}

#[test]
fn all_is_well_with_triwire_itself() {
    let server = Server::start(&BEATS);
    side_by_side(LISTENERS, |name| {
        let tls = matches!(name, "http2" | "http1s" | "wss");
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", server.addr(name).port());
        let told = Told::by(&url, &server.ca());
        told.is_well();
        let version = if name == "http2" { "ok" } else { "note" };
        told.is(version, "HTTP version", "");
        assert_eq!(
            told.on("certificate").is_some(),
            tls,
            "{name}\n{}",
            told.text
        );
        let websocket = match name {
            "http2" | "h2c" => "WebSocket on HTTP/2",
            _ => "WebSocket",
        };
        for check in ["server", websocket, "buffering", "compression"] {
            told.is("ok", check, "");
        }
        for check in ["idle stream", "long stream", "idle WebSocket"] {
            told.is("ok", check, "");
        }
        assert!(told.on("counted as").is_none() && told.on("in between").is_none());
    });
}
