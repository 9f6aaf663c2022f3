//! A server under load: a child process of ours, which says on stdout where it listens.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{mem, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Result;
use super::clock;

const START_LIMIT: u64 = 20 * clock::SECOND;
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running server; killed if it is dropped without `stop`.
pub struct Server {
    child: Child,
    ready: Value,
    log: PathBuf,
}

impl Server {
    /// Starts it, what it says on stderr going to the file `log`, and waits for its ready line:
    /// `{"listeners":{"http1":"127.0.0.1:8080",…}}`. `inherited` are listeners for a program that cannot say which
    /// ports it chose; they are closed here once it runs.
    ///
    /// # Errors
    /// When it cannot be started, or says no such line.
    pub fn start(mut command: Command, inherited: Vec<TcpListener>, log: &Path) -> Result<Server> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log).map_err(|error| format!("{}: {error}", log.display()))?);
        let child = command
            .spawn()
            .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        drop(inherited);
        let mut server = Server {
            child,
            ready: Value::Null,
            log: log.to_owned(),
        };
        server.ready = server.ready_line()?;
        Ok(server)
    }

    fn ready_line(&mut self) -> Result<Value> {
        let stdout = self.child.stdout.as_mut().ok_or("a child without stdout")?;
        let timeout = clock::timespec(START_LIMIT);
        let mut line = String::new();
        if poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&timeout))? > 0 {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        serde_json::from_str(&line).map_err(|_| match self.last_words() {
            words if words.is_empty() => "the server did not say that it is ready".into(),
            words => format!("the server did not start: {words}").into(),
        })
    }

    /// The last line of its log, if it is more than a piece of news.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut last = log.lines().last().unwrap_or_default();
        if last.contains(r#""level":"INFO""#) {
            last = "";
        }
        last.to_owned()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where a listener of it is.
    ///
    /// # Errors
    /// When it has no such listener.
    pub fn address(&self, listener: &str) -> Result<SocketAddr> {
        let address = self.ready["listeners"][listener].as_str();
        let address = address.ok_or_else(|| format!("no listener {listener}: {}", self.ready))?;
        Ok(address.parse()?)
    }

    /// How it ended, if it has: nobody asked it to.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it had ended already, or badly, or does not end.
    pub fn stop(mut self) -> Result<()> {
        let log = mem::take(&mut self.log);
        let pid = Pid::from_child(&self.child);
        if self.ended().is_none() {
            kill_process(pid, Signal::TERM)?;
        }
        let end = Instant::now() + STOP_LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.ended() {
                // Only triwire handles the signal.
                let fine = status.success() || status.signal() == Some(Signal::TERM.as_raw());
                return if fine {
                    Ok(())
                } else {
                    Err(format!("the server ended with {status}; see {}", log.display()).into())
                };
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(format!("the server did not end on SIGTERM; see {}", log.display()).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // It ended by itself in between, or is to be gone whatever it says.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
