//! How the peers are started: nchan, Node's `ws` and the baseline in `examples/axum_baseline.rs`. `scripts/compare-peers`
//! puts them where they are looked for here.
//!
//! Each has all its wires at once, on free ports; a listener that nobody uses costs nothing.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::json;

use crate::Result;
use crate::server::Launch;
use crate::tls;
use triwire::load::socket;

const DIRECTORY: &str = "target/compare-peers";
const NCHAN_CONFIGURATION: &str = include_str!("peers/nchan.conf");

/// nginx has neither a free port of its own choice nor a word for being ready. It takes over listeners that are open
/// already, as it does when it replaces itself (`NGINX`: their descriptors), and those are ready before it is.
pub fn nchan(certs: &Path) -> Result<Launch> {
    let root = installed("nchan")?;
    let prefix = fs::canonicalize(DIRECTORY)?.join("nchan-run");
    fs::create_dir_all(&prefix)?;
    tls::certificate(certs)?;

    let names = ["HTTP1", "H2C", "HTTP1S", "HTTP2"];
    let mut configuration = NCHAN_CONFIGURATION.to_owned();
    let mut fill = |name: &str, value: &str| {
        configuration = configuration.replace(&format!("@{name}@"), value);
    };
    let (mut inherited, mut addresses, mut descriptors) = (Vec::new(), Vec::new(), String::new());
    for name in names {
        let listener = socket::listen()?;
        let address = listener.local_addr()?.to_string();
        descriptors += &format!("{};", descriptor(&listener)?);
        fill(name, &address);
        addresses.push(address);
        inherited.push(listener);
    }
    let module = root.join("usr/lib/nginx/modules/ngx_nchan_module.so");
    fill("MODULE", &module.to_string_lossy());
    fill("CERTS", &fs::canonicalize(certs)?.to_string_lossy());
    fs::write(prefix.join("nginx.conf"), configuration)?;

    let [http1, h2c, http1s, http2] = &addresses[..] else {
        unreachable!("one for each name");
    };
    let ready = json!({"listeners": {
        "http1": http1, "ws": http1, "h2c": h2c, "http1s": http1s, "wss": http1s, "http2": http2,
    }});
    let mut command = tied("sh");
    command
        .args(["-c", r#"echo "$0"; exec "$@""#, &ready.to_string()])
        .arg(root.join("usr/sbin/nginx"))
        .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
        .arg(prefix)
        .env("NGINX", descriptors);
    Ok(Launch { command, inherited })
}

pub fn node_ws(certs: &Path) -> Result<Command> {
    let modules = installed("ws")?.join("node_modules");
    tls::certificate(certs)?;
    let mut command = tied("node");
    command
        .arg("scripts/bench/peers/ws.js")
        .arg(certs)
        .env("NODE_PATH", modules);
    Ok(command)
}

pub fn axum(certs: &Path) -> Result<Command> {
    tls::certificate(certs)?;
    let mut command = tied(installed("axum/axum_baseline")?);
    command.arg(certs);
    Ok(command)
}

/// A program that ends when this one does, however that comes.
fn tied(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program);
    command
}

/// Where something of a peer is, as an absolute path.
fn installed(what: &str) -> Result<PathBuf> {
    let path = env::current_dir()?.join(DIRECTORY).join(what);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("there is no {}; see scripts/compare-peers", path.display()).into())
}

/// A descriptor's number, that a child will have too.
fn descriptor(listener: &TcpListener) -> Result<i32> {
    use std::os::fd::AsRawFd;
    fcntl_setfd(listener, FdFlags::empty())?;
    Ok(listener.as_raw_fd())
}
