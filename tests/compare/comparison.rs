//! `triwire compare` at work, with a directory of its own for all that it writes.

use std::fs::{create_dir, read_dir, read_to_string, remove_dir_all, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::support::server::{BINARY, new_dir};
use crate::tool::{Ended, Tool};

/// Two on one machine would measure each other, so the second says so and ends; the tests of it take turns.
static ALONE: Mutex<()> = Mutex::new(());

/// A machine's only comparison.
pub struct Alone(#[expect(dead_code, reason = "it is held")] MutexGuard<'static, ()>);

/// Waits until no other test compares.
pub fn alone() -> Alone {
    // A test that failed has nothing to do with the next.
    Alone(ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// One that runs.
pub struct Comparison {
    pub tool: Tool,
    files: Files,
}

/// One that has ended.
pub struct Done {
    pub code: Option<i32>,
    /// Without line breaks, which are where a terminal's width has them.
    pub stdout: String,
    pub stderr: String,
    /// The JSON file.
    pub results: Value,
}

/// Where it may write.
pub struct Files(PathBuf);

impl Comparison {
    /// Starts one; nobody else may have one meanwhile.
    pub fn start(alone: &Alone, args: &[&str]) -> Comparison {
        Comparison::start_by(alone, Command::new(BINARY), args)
    }

    /// Starts it by a command that ends with the binary.
    pub fn start_by(_: &Alone, command: Command, args: &[&str]) -> Comparison {
        let files = Files::new();
        let json = files.json();
        let json = ["--json", json.to_str().expect("a path")];
        let tool = start(command, &files, &[args, &json].concat());
        Comparison { tool, files }
    }

    /// Waits until its file has a run.
    pub fn until_measured(&mut self) {
        let json = self.files.json();
        self.tool.until("a run is saved", |_| {
            let results = results(&json)?;
            (!results["runs"].as_array()?.is_empty()).then_some(())
        });
    }

    /// Waits for its end, which leaves nothing but what was asked for.
    pub fn end(self) -> Done {
        let Ended {
            code,
            stdout,
            stderr,
        } = self.tool.end();
        let left = read_dir(self.files.temporary()).expect("it is there");
        let left: Vec<_> = left.flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
        Done {
            code,
            stdout: stdout.split_whitespace().collect::<Vec<_>>().join(" "),
            stderr,
            results: results(&self.files.json()).expect("it is there, and whole"),
        }
    }
}

/// Starts one with what is said here alone.
pub fn start(mut command: Command, files: &Files, args: &[&str]) -> Tool {
    command.arg("compare").env("TMPDIR", files.temporary());
    Tool::start_by(command, args)
}

impl Done {
    pub fn runs(&self) -> &[Value] {
        self.results["runs"].as_array().expect("a list")
    }
}

impl Files {
    /// An empty directory, where everybody may write.
    pub fn new() -> Files {
        let files = Files(new_dir());
        create_dir(files.temporary()).expect("a new directory");
        for dir in [&files.0, &files.temporary()] {
            let mode = PermissionsExt::from_mode(0o777);
            set_permissions(dir, mode).expect("it is ours");
        }
        files
    }

    pub fn json(&self) -> PathBuf {
        self.0.join("results.json")
    }

    pub fn temporary(&self) -> PathBuf {
        self.0.join("tmp")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.0);
    }
}

/// Nothing before it is written; it is replaced as a whole.
fn results(json: &PathBuf) -> Option<Value> {
    serde_json::from_str(&read_to_string(json).ok()?).ok()
}
