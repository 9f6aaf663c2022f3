//! A server under measurement: triwire, the bare loop or a peer, as a child process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, thread, time};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Result;
use crate::client::Target;
use crate::clock;
use crate::note::Dialect;
use crate::peers;
use crate::tls;
use crate::transport::Transport;

const START_LIMIT: u64 = 20 * clock::SECOND;
const STOP_LIMIT: time::Duration = time::Duration::from_secs(20);

/// Which program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// One write for each event and connection.
    Bare,
    /// One write for all events that are ready.
    BareJoining,
    Triwire,
    Nchan,
    NodeWs,
    Axum,
}

/// How to start one.
pub struct Launch {
    pub command: Command,
    /// Listeners that the child gets, for one that cannot say which ports it chose. Closed here once it runs.
    pub inherited: Vec<TcpListener>,
}

/// A running server; killed if it is dropped without `stop`.
pub struct Server {
    program: Program,
    child: Child,
    ready: Value,
    certs: PathBuf,
    log: PathBuf,
}

impl Program {
    pub const PEERS: [Program; 3] = [Program::Nchan, Program::NodeWs, Program::Axum];

    pub fn name(self) -> &'static str {
        match self {
            Program::Bare => "bare",
            Program::BareJoining => "bare, joining",
            Program::Triwire => "triwire",
            Program::Nchan => "nchan",
            Program::NodeWs => "ws",
            Program::Axum => "axum",
        }
    }

    pub fn is_bare(self) -> bool {
        matches!(self, Program::Bare | Program::BareJoining)
    }

    /// Whether it has this wire. nchan's long polling is another: its cursor is two fields of the head.
    pub fn has(self, transport: Transport) -> bool {
        match self {
            Program::Bare | Program::BareJoining | Program::Triwire => true,
            Program::NodeWs => matches!(transport, Transport::Ws | Transport::Wss),
            Program::Nchan | Program::Axum => transport != Transport::LongPoll,
        }
    }

    fn dialect(self) -> Dialect {
        if Program::PEERS.contains(&self) {
            Dialect::Payloads
        } else {
            Dialect::Own
        }
    }

    fn launch(self, triwire: &Path, transport: Transport, certs: &Path) -> Result<Launch> {
        let mut command = match self {
            Program::Triwire => serve(triwire, transport, certs),
            Program::Bare | Program::BareJoining => Command::new(env::current_exe()?),
            Program::Nchan => return peers::nchan(certs),
            Program::NodeWs => peers::node_ws(certs)?,
            Program::Axum => peers::axum(certs)?,
        };
        if self.is_bare() {
            command.args(["bare", transport.listener()]).arg(certs);
        }
        if self == Program::BareJoining {
            command.arg("--join");
        }
        Ok(Launch {
            command,
            inherited: Vec::new(),
        })
    }
}

impl Server {
    /// Starts a program with the listener that `transport` needs and one to publish on. What it logs and its
    /// certificates go below `directory`.
    pub fn start(
        program: Program,
        triwire: &Path,
        transport: Transport,
        directory: &Path,
    ) -> Result<Server> {
        let kind = if program.is_bare() {
            "bare"
        } else {
            program.name()
        };
        let certs = directory.join(format!("certs-{kind}"));
        let log = directory.join(format!("{kind}.log"));
        fs::create_dir_all(&certs)?;
        let Launch {
            mut command,
            inherited,
        } = program.launch(triwire, transport, &certs)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let child = command
            .spawn()
            .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        drop(inherited);
        let mut server = Server {
            program,
            child,
            ready: Value::Null,
            certs,
            log,
        };
        server.ready = server
            .ready_line()
            .map_err(|error| format!("{error}; see {}", server.log.display()))?;
        Ok(server)
    }

    fn ready_line(&mut self) -> Result<Value> {
        let stdout = self.child.stdout.as_mut().ok_or("a child without stdout")?;
        let timeout = clock::timespec(START_LIMIT);
        if poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&timeout))? == 0 {
            return Err("no ready line on stdout".into());
        }
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| format!("not a ready line: {line:?}").into())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the load client connects to.
    pub fn target(&self, transport: Transport) -> Result<Target> {
        let address = |name: &str| -> Result<_> {
            let address = self.ready["listeners"][name].as_str();
            Ok(address
                .ok_or_else(|| format!("no listener {name}: {}", self.ready))?
                .parse()?)
        };
        Ok(Target {
            transport,
            readers: address(transport.listener())?,
            publishing: address("http1")?,
            dialect: self.program.dialect(),
            tls: transport
                .is_tls()
                .then(|| tls::client(&self.certs, transport))
                .transpose()?,
        })
    }

    /// Asks it to end, and waits.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let end = time::Instant::now() + STOP_LIMIT;
        while time::Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                let fine = status.success() || status.signal() == Some(Signal::TERM.as_raw());
                return if fine {
                    Ok(())
                } else {
                    Err(format!("ended with {status}; see {}", self.log.display()).into())
                };
            }
            thread::sleep(time::Duration::from_millis(5));
        }
        Err(format!("did not end on SIGTERM; see {}", self.log.display()).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn serve(triwire: &Path, transport: Transport, certs: &Path) -> Command {
    let mut command = Command::new(triwire);
    command
        .args([
            "serve",
            "--metrics-every",
            "off",
            "--log-format",
            "json",
            "--certs",
        ])
        .arg(certs);
    for listener in Transport::OF_LISTENERS.map(Transport::listener) {
        let wanted = [Transport::SseHttp1.listener(), transport.listener()].contains(&listener);
        command.arg(format!("--{listener}"));
        command.arg(if wanted { "127.0.0.1:0" } else { "off" });
    }
    command
}
