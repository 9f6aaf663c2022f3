//! A server under measurement: triwire, the bare loop or a peer, as a child process.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use triwire::client::Transport;
use triwire::load::server::Server as Child;
use triwire::load::socket::Endpoint;
use triwire::load::{Dialect, Result, Target};

use crate::peers;

const LISTENERS: [&str; 6] = ["http1", "h2c", "ws", "http2", "http1s", "wss"];

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

/// A running one; killed if it is dropped without `stop`.
pub struct Server {
    program: Program,
    child: Child,
    certs: PathBuf,
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
    pub fn has(self, transport: &Transport) -> bool {
        match self {
            Program::Bare | Program::BareJoining | Program::Triwire => true,
            Program::NodeWs => ["ws", "wss"].contains(&transport.name),
            Program::Nchan | Program::Axum => transport.name != "long-poll",
        }
    }

    fn dialect(self) -> Dialect {
        if Program::PEERS.contains(&self) {
            Dialect::Payloads
        } else {
            Dialect::Own
        }
    }

    fn launch(self, triwire: &Path, transport: &Transport, certs: &Path) -> Result<Launch> {
        let mut command = match self {
            Program::Triwire => serve(triwire, transport, certs),
            Program::Bare | Program::BareJoining => Command::new(env::current_exe()?),
            Program::Nchan => return peers::nchan(certs),
            Program::NodeWs => peers::node_ws(certs)?,
            Program::Axum => peers::axum(certs)?,
        };
        if self.is_bare() {
            command.args(["bare", transport.listener]).arg(certs);
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
        transport: &Transport,
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
        let Launch { command, inherited } = program.launch(triwire, transport, &certs)?;
        let child = Child::start(command, inherited, &log)?;
        Ok(Server {
            program,
            child,
            certs,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Where the load client connects to.
    pub fn target(&self, transport: &'static Transport) -> Result<Target> {
        let http1 = Transport::named("sse-http1").expect("it is in the table");
        let endpoint = |transport: &Transport| -> Result<Endpoint> {
            let address = self.child.address(transport.listener)?;
            let ca = self.certs.join("ca.pem");
            Ok(Endpoint::local(transport, address, &ca)?)
        };
        Ok(Target {
            transport,
            readers: endpoint(transport)?,
            publishing: endpoint(http1)?,
            dialect: self.program.dialect(),
            topic: "bench".to_owned(),
        })
    }

    /// Asks it to end, and waits.
    pub fn stop(self) -> Result<()> {
        self.child.stop()
    }
}

fn serve(triwire: &Path, transport: &Transport, certs: &Path) -> Command {
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
    for listener in LISTENERS {
        let wanted = ["http1", transport.listener].contains(&listener);
        command.arg(format!("--{listener}"));
        command.arg(if wanted { "127.0.0.1:0" } else { "off" });
    }
    command
}
