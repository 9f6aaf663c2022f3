//! The binary as a shell runs it: what it printed, and how it ended.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::server::{BINARY, PATIENCE, signal};

/// A comparison may wait for what is lost, on each wire.
const LONGEST: Duration = PATIENCE.saturating_mul(6);

/// One that is running; killed when it is dropped.
pub struct Tool {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

/// What it left.
#[derive(Debug)]
pub struct Ended {
    /// None after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Tool {
    pub fn start(args: &[&str]) -> Tool {
        Tool::start_by(Command::new(BINARY), args)
    }

    /// Starts it by a command that ends with the binary.
    pub fn start_by(mut command: Command, args: &[&str]) -> Tool {
        let mut child = command
            .args(args)
            .env_remove("TRIWIRE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        Tool {
            stdout: Heard::of(child.stdout.take().expect("piped")),
            stderr: Heard::of(child.stderr.take().expect("piped")),
            child,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// What it said so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until something is the case while it runs.
    pub fn until<T>(&mut self, what: &str, mut fact: impl FnMut(&Tool) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = fact(self) {
                return found;
            }
            let ended = self.child.try_wait().expect("it is ours");
            let (stdout, stderr) = (self.stdout(), self.stderr.so_far());
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "not in time: {what}; {ended:?}\n{stdout}\n{stderr}"
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + LONGEST;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return Ended {
                    code: status.code(),
                    stdout: self.stdout.all(),
                    stderr: self.stderr.all(),
                };
            }
            let said = self.stderr.so_far();
            assert!(Instant::now() < deadline, "it does not end: {said}");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of its outputs.
struct Heard {
    text: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl Heard {
    fn of(output: impl Read + Send + 'static) -> Heard {
        let text = Arc::new(Mutex::new(String::new()));
        let heard = text.clone();
        let listening = thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|length| length > 0) {
                heard.lock().expect("not poisoned").push_str(&line);
                line.clear();
            }
        });
        Heard {
            text,
            listening: Some(listening),
        }
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("not poisoned").clone()
    }

    /// All of it, after its end.
    fn all(&mut self) -> String {
        let listening = self.listening.take().expect("it ends once");
        listening.join().expect("it does not panic");
        self.so_far()
    }
}
