//! A proxy as it is installed, in the foreground, on a free port of loopback and in a directory of its own.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::certificate::{self, Flaw};
use crate::support::server::{PATIENCE, new_dir};

pub const PAGE: &str = include_str!("../../docs/proxies.md");

/// Its limits there, and where they are waited for.
const LIMIT: (&str, &str) = ("75s", "3s");

/// Debian's user without rights, for a test that runs as root.
const NOBODY: u32 = 65_534;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Caddy,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Nginx, Kind::Haproxy, Kind::Caddy];

    pub fn is_installed(self) -> bool {
        self.program().is_some()
    }

    /// Where it is; Debian's users do not have `/usr/sbin` in their path.
    fn program(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        dirs.push("/usr/sbin".into());
        let mut files = dirs.iter().map(|dir| dir.join(self.to_string()));
        files.find(|file| file.is_file())
    }

    /// Its settings as the page has them, with limits that a test can wait for.
    pub fn impatient(self) -> String {
        change(&self.block(), &[LIMIT])
    }

    /// Its settings as the page has them.
    pub fn block(self) -> String {
        let fence = match self {
            Kind::Nginx => "\n```nginx\n",
            Kind::Haproxy => "\n```haproxy\n",
            Kind::Caddy => "\n```caddyfile\n",
        };
        let blocks: Vec<&str> = PAGE.split(fence).skip(1).collect();
        assert_eq!(blocks.len(), 1, "the page has one block for {self}");
        let (block, _) = blocks[0].split_once("```").expect("the block ends");
        block.to_owned()
    }

    /// The block where it can run: as a whole configuration, with this machine's ports and paths.
    fn configuration(self, block: &str, port: u16, behind: SocketAddr, dir: &Path) -> String {
        let at = |file: &str| dir.join(file).display().to_string();
        let behind = behind.to_string();
        let backend = ("127.0.0.1:8080", &*behind);
        match self {
            Kind::Nginx => {
                let block = change(
                    block,
                    &[
                        backend,
                        ("listen 443 ", &format!("listen 127.0.0.1:{port} ")),
                        ("/etc/ssl/push.pem", &at("push.pem")),
                        ("/etc/ssl/push.key", &at("push.key")),
                    ],
                );
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {};\n", at(name)))
                    .concat();
                // What Debian's nginx.conf has around it.
                format!(
                    "daemon off;\npid {};\nerror_log stderr;\nevents {{ worker_connections 768; }}\n\
                     http {{\naccess_log off;\n{temporary}{block}}}\n",
                    at("pid")
                )
            }
            Kind::Haproxy => change(
                block,
                &[
                    backend,
                    ("bind :443 ", &format!("bind 127.0.0.1:{port} ")),
                    ("/etc/haproxy/push.pem", &at("haproxy.pem")),
                ],
            ),
            Kind::Caddy => change(
                block,
                &[
                    backend,
                    // It would ask a certificate authority for what is missing, and listen on port 80.
                    (
                        "{\n    servers {",
                        "{\n    admin off\n    auto_https off\n    servers {",
                    ),
                    (
                        "push.example {",
                        &format!(
                            "https://push.example:{port}, https://localhost:{port} {{\n    bind 127.0.0.1"
                        ),
                    ),
                    ("/etc/caddy/push.pem", &at("push.pem")),
                    ("/etc/caddy/push.key", &at("push.key")),
                ],
            ),
        }
    }

    fn command(self, configuration: &Path, dir: &Path) -> Command {
        let mut command = Command::new(self.program().expect("it is installed"));
        match self {
            Kind::Nginx => command.arg("-p").arg(dir).arg("-c").arg(configuration),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(configuration),
            Kind::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(configuration)
                .env("HOME", dir)
                .env("XDG_DATA_HOME", dir)
                .env("XDG_CONFIG_HOME", dir),
        };
        command
    }
}

/// As its program is called.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Caddy => "caddy",
        })
    }
}

/// Replaces what has to be there.
pub fn change(text: &str, changes: &[(&str, &str)]) -> String {
    let mut changed = text.to_owned();
    for (from, to) in changes {
        assert!(changed.contains(from), "{from:?} is not in:\n{changed}");
        changed = changed.replace(from, to);
    }
    changed
}

/// One that runs, until it is dropped.
pub struct Proxy {
    child: Child,
    kind: Kind,
    dir: PathBuf,
    pub addr: SocketAddr,
}

impl Proxy {
    pub fn start(kind: Kind, block: &str, behind: SocketAddr) -> Proxy {
        Proxy::with(kind, block, behind, Flaw::None)
    }

    /// The same with a certificate that may be wrong.
    pub fn with(kind: Kind, block: &str, behind: SocketAddr, flaw: Flaw) -> Proxy {
        let dir = new_dir();
        certificate::write(&dir, flaw);
        // None of them says which port it was given for port 0: one that is free may be somebody's a moment later.
        for _ in 0..5 {
            if let Some(proxy) = Proxy::try_start(kind, block, behind, &dir) {
                return proxy;
            }
        }
        panic!("{kind} does not start: {}", log(&dir));
    }

    fn try_start(kind: Kind, block: &str, behind: SocketAddr, dir: &Path) -> Option<Proxy> {
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let addr = addr.expect("there is a free port");
        let file = dir.join("configuration");
        let text = kind.configuration(block, addr.port(), behind, dir);
        fs::write(&file, text).expect("it can be written");
        let output = fs::File::create(dir.join("log")).expect("it can be written");
        let mut command = kind.command(&file, dir);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a descriptor"))
            .stderr(output);
        let own = fs::read_dir(dir).expect("it is there");
        let own = own.map(|entry| entry.expect("an entry").path());
        if rustix::process::geteuid().is_root() {
            for path in own.chain([dir.to_owned()]) {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
            }
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.spawn().expect("it can be started");
        let mut proxy = Proxy {
            child,
            kind,
            dir: dir.to_owned(),
            addr,
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            if proxy.child.try_wait().expect("it can be asked").is_some() {
                // Another try writes there.
                proxy.dir = PathBuf::new();
                return None;
            }
            assert!(Instant::now() < deadline, "{kind}: {}", log(dir));
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(proxy)
    }

    /// What trusts its certificate, unless that is flawed.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.kind == Kind::Nginx {
            // It has a process that it ends itself.
            let pid = self.child.id().to_string();
            let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
            let deadline = Instant::now() + PATIENCE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.kind, log(&self.dir));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}
