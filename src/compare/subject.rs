//! The server under measurement: one that is started for each run, as a process of its own, or one that runs elsewhere.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::{env, process, thread};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::network;
use super::remote::Remote;
use crate::client::Transport;
use crate::load::process::{self as kernel, Cpu};
use crate::load::server::Server;
use crate::load::socket::Endpoint;
use crate::load::{Dialect, Result, Target};

const LISTENERS: [&str; 6] = ["http1", "h2c", "ws", "http2", "http1s", "wss"];

/// Whom it is all done to.
pub enum Subject {
    /// One that is started for each run.
    Own(Own),
    /// One that runs already.
    Remote(Remote),
}

/// What is needed to start one: a directory for its certificates and its log, and the processors of each side.
pub struct Own {
    directory: PathBuf,
    split: Option<Split>,
}

/// The client keeps a processor to itself, so that it neither slows the server nor is slowed by it.
struct Split {
    server: CpuSet,
    client: CpuSet,
    words: String,
}

/// A server while a run lasts.
pub enum Running<'a> {
    /// Ours; it ends with this.
    Own(Server),
    /// Somebody's.
    Remote(&'a mut Remote),
}

impl Own {
    /// # Errors
    /// When there is no room for its files.
    pub fn new() -> Result<Own, String> {
        let directory = directory();
        fs::create_dir_all(directory.join("certs"))
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Own {
            directory,
            split: Split::new(),
        })
    }

    /// Who runs where, in words.
    pub fn pinned(&self) -> String {
        let words = self.split.as_ref().map(|split| split.words.clone());
        words.unwrap_or_else(|| "the server and the client share one processor".to_owned())
    }

    /// Starts one for a transport, on loopback.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, transport: &Transport) -> Result<Server> {
        let mut command = Command::new(env::current_exe()?);
        command.args(self.arguments(transport, "127.0.0.1:0"));
        self.spawn(command)
    }

    /// Starts one in a network of its own.
    ///
    /// # Errors
    /// When it does not start, or there can be no such network.
    pub fn start_apart(&self, transport: &Transport) -> Result<Server> {
        let program = env::current_exe()?;
        let mut command = network::apart(&program.to_string_lossy());
        command.args(self.arguments(transport, "0.0.0.0:0"));
        self.spawn(command)
    }

    /// How it is to serve a transport, and HTTP/1.1 to publish on, at an address.
    fn arguments(&self, transport: &Transport, at: &str) -> Vec<String> {
        let certs = self.directory.join("certs");
        let parent = process::id().to_string();
        let mut arguments: Vec<String> = ["serve", "--end-with-parent", &parent]
            .map(str::to_owned)
            .into();
        // Whoever is still connected has been measured.
        arguments.extend(["--drain", "0s", "--metrics-every", "off"].map(str::to_owned));
        arguments.extend(["--log-format".into(), "json".into(), "--certs".into()]);
        arguments.push(certs.display().to_string());
        if at.starts_with("0.0.0.0") {
            arguments.push("--open".into());
        }
        for listener in LISTENERS {
            let wanted = listener == "http1" || listener == transport.listener;
            arguments.extend([
                format!("--{listener}"),
                if wanted { at } else { "off" }.into(),
            ]);
        }
        arguments
    }

    /// Starts it on the server's processors.
    fn spawn(&self, command: Command) -> Result<Server> {
        // A child is bound to where its parent was when it began.
        if let Some(split) = &self.split {
            sched_setaffinity(None, &split.server)?;
        }
        let server = Server::start(command, Vec::new(), &self.directory.join("server.log"));
        if let Some(split) = &self.split {
            sched_setaffinity(None, &split.client)?;
        }
        server
    }

    /// Where the load goes.
    ///
    /// # Errors
    /// When the server has no such listener.
    pub fn target(
        &self,
        server: &Server,
        transport: &'static Transport,
        topic: &str,
    ) -> Result<Target> {
        let endpoint = |transport: &Transport| -> Result<Endpoint> {
            let bound = server.address(transport.listener)?;
            // The certificate is for the names of this machine, wherever it is reached.
            let named = SocketAddr::from(([127, 0, 0, 1], bound.port()));
            let ca = self.directory.join("certs/ca.pem");
            Ok(Endpoint::local(transport, named, &ca)?)
        };
        let publishing = Transport::named("sse-http1").expect("it is in the table");
        Ok(Target {
            transport,
            readers: endpoint(transport)?,
            publishing: endpoint(publishing)?,
            dialect: Dialect::Own,
            topic: topic.to_owned(),
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        clean_up();
    }
}

/// Where the servers of this process have their files.
fn directory() -> PathBuf {
    env::temp_dir().join(format!("triwire-compare-{}", process::id()))
}

/// Takes away what the servers of this process have left. They have no use for it any more.
pub fn clean_up() {
    // It is in the system's directory for what may be lost.
    let _ = fs::remove_dir_all(directory());
}

impl Split {
    /// The last processor that we have for the client, the others for the server; none when there is but one.
    fn new() -> Option<Split> {
        let all = sched_getaffinity(None).ok()?;
        let mine = (0..CpuSet::MAX_CPU).rev().find(|&cpu| all.is_set(cpu))?;
        let mut split = Split {
            server: all,
            client: CpuSet::new(),
            words: String::new(),
        };
        split.server.unset(mine);
        split.client.set(mine);
        let others = split.server.count();
        split.words = format!("the server on {others} of them, the client on another one");
        (others > 0).then_some(split)
    }
}

impl Running<'_> {
    /// Nanoseconds of processor time so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&mut self) -> Result<CpuTime> {
        Ok(match self {
            Running::Own(server) => CpuTime::Exact(Cpu::of(server.pid())?),
            Running::Remote(remote) => CpuTime::Said(remote.process("cpu_seconds")?),
        })
    }

    /// Resident bytes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident(&mut self) -> Result<u64> {
        match self {
            Running::Own(server) => kernel::resident(server.pid()),
            Running::Remote(remote) => Ok(remote.process("rss_bytes")? as u64),
        }
    }

    /// Its process, if it is on this machine and ours.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Running::Own(server) => Some(server.pid()),
            Running::Remote(_) => None,
        }
    }

    /// What became of it, if it is no more.
    pub fn death(&mut self) -> Option<String> {
        match self {
            Running::Own(server) => {
                // Its connections may break a moment before it can be waited for.
                let patience = std::time::Duration::from_millis(20);
                let ended = (0..10).find_map(|_| {
                    server.ended().or_else(|| {
                        thread::sleep(patience);
                        None
                    })
                })?;
                Some(match server.last_words() {
                    words if words.is_empty() => format!("the server ended with {ended}"),
                    words => format!("the server ended with {ended}; its last words: {words}"),
                })
            }
            Running::Remote(remote) => {
                let gone = remote.stats().err()?;
                Some(format!("the target does not answer any more: {gone}"))
            }
        }
    }

    /// Ends what is ours.
    ///
    /// # Errors
    /// When it had ended already, or ends badly.
    pub fn stop(self) -> Result<()> {
        match self {
            Running::Own(server) => server.stop(),
            Running::Remote(_) => Ok(()),
        }
    }
}

/// Processor time, as well as it is known.
#[derive(Clone, Copy)]
pub enum CpuTime {
    /// By the kernel.
    Exact(Cpu),
    /// Seconds, by the server's own word.
    Said(f64),
}

impl CpuTime {
    /// Nanoseconds since `before`.
    pub fn since(self, before: CpuTime) -> f64 {
        match (self, before) {
            (CpuTime::Exact(now), CpuTime::Exact(before)) => now.since(before) as f64,
            (CpuTime::Said(now), CpuTime::Said(before)) => (now - before).max(0.0) * 1e9,
            _ => 0.0,
        }
    }
}
