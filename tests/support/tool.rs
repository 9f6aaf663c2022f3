//! The command line's clients, as a shell runs them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::{BINARY, PATIENCE, Server, signal};

/// What a transport is called, the listener that it is on, and the wire that it is counted as.
pub const TRANSPORTS: [(&str, &str, &str); 9] = [
    ("sse-http1", "http1", "sse_http1"),
    ("sse-http1s", "http1s", "sse_http1"),
    ("sse-h2c", "h2c", "sse_http2"),
    ("sse-http2", "http2", "sse_http2"),
    ("ws", "ws", "websocket"),
    ("wss", "wss", "websocket"),
    ("ws-h2c", "h2c", "websocket_http2"),
    ("ws-http2", "http2", "websocket_http2"),
    ("long-poll", "http1", "long_poll"),
];

/// The listener that a transport is on, and the wire that it is counted as.
pub fn transport(name: &str) -> (&'static str, &'static str) {
    let found = TRANSPORTS.into_iter().find(|(known, ..)| *known == name);
    let (_, listener, counted) = found.expect("a transport");
    (listener, counted)
}

/// Where a listener is, for a tool.
pub fn url(server: &Server, listener: &str) -> String {
    let scheme = match listener {
        "http2" | "http1s" | "wss" => "https",
        _ => "http",
    };
    format!("{scheme}://localhost:{}", server.addr(listener).port())
}

/// A client at work, or one that has ended.
pub struct Tool {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    pub lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl Tool {
    /// Starts one that is told which server it is for, and the transport.
    pub fn on(server: &Server, subcommand: &str, wire: &str, args: &[&str]) -> Tool {
        let (url, ca) = (url(server, transport(wire).0), server.ca());
        let ca = ca.to_str().expect("a path");
        let place = [subcommand, "--wire", wire, "--url", &url, "--cacert", ca];
        Tool::start(&[&place, args].concat())
    }

    pub fn start(args: &[&str]) -> Tool {
        let mut child = Command::new(BINARY)
            .args(args)
            .env_remove("TRIWIRE_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (tell, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let (seen, said) = (stderr.clone(), child.stderr.take().expect("piped"));
        let listening = std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let mut seen = seen.lock().expect("not poisoned");
                seen.push_str(&line);
                seen.push('\n');
            }
        });
        Tool {
            stdin: child.stdin.take(),
            child,
            lines,
            stderr,
            listening: Some(listening),
        }
    }

    pub fn said(&self) -> String {
        self.stderr.lock().expect("not poisoned").clone()
    }

    pub fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("no line; it said: {}", self.said()));
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// Waits until it has said this.
    pub fn until_said(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.said().contains(words) {
            assert!(
                Instant::now() < deadline,
                "not {words:?} but: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }

    /// Sends a signal: `INT`, `TERM` or another.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub fn end(mut self) -> (ExitStatus, String) {
        drop(self.stdin.take());
        let deadline = Instant::now() + PATIENCE + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                let listening = self.listening.take().expect("it is joined once");
                listening.join().expect("it does not panic");
                return (status, self.said());
            }
            assert!(
                Instant::now() < deadline,
                "it does not end: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
