//! A tool on a terminal of its own, made by script(1): what a person sees of it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::server::PATIENCE;

pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    drawn: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    /// Runs a shell's command on a terminal of so many rows and columns.
    pub fn run(rows: u16, columns: u16, command: &str) -> Terminal {
        let command = format!("stty rows {rows} cols {columns}; {command}");
        let mut child = Command::new("script")
            .args(["-qfec", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let (tell, drawn) = channel();
        let mut stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                let _ = tell.send(buffer[..count].to_vec());
            }
        });
        Terminal {
            keys: child.stdin.take().expect("piped"),
            child,
            drawn,
            seen: Vec::new(),
        }
    }

    /// Waits until something can be found in all that was drawn so far, told as words with a space between two.
    pub fn until<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = plain(&String::from_utf8_lossy(&self.seen));
            let words: Vec<&str> = text.split_whitespace().collect();
            let words = words.join(" ");
            if let Some(found) = find(&words) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let more = self.drawn.recv_timeout(left);
            let more = more.unwrap_or_else(|e| panic!("{e}: no {what} in {words:?}"));
            self.seen.extend(more);
        }
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads keys");
    }

    /// Waits until nothing is drawn any more, and for the end.
    pub fn end(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.drawn.recv_timeout(left).is_err() {
                break;
            }
        }
        assert!(Instant::now() < deadline, "it goes on drawing");
        self.child.wait().expect("it can be waited for")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Text without the sequences that place and colour it; each stands for a space.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'[').is_some() {
            for c in chars.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        }
        out.push(' ');
    }
    out
}
