//! The promise: a peer that is gone without a word - its cable pulled, its host switched off - is closed, counted and
//! logged after `--dead`, and nobody else notices.
//!
//! In two networks of the test's own, with a cable between them: that takes root, and without it the test says that it
//! did not run.

mod support;

use std::fs::{File, read_link};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use support::raw::reader::{Framing, MOST, Reader};
use support::raw::witness::Witness;
use support::raw::{Peer, one_line, until};
use support::server::{LISTENERS, Server};

const NEAR: &str = "10.99.0.1";
const FAR: &str = "10.99.0.2";
const DEAD: Duration = Duration::from_secs(1);
const PATH: &str = "/events?topic=load";

/// A network namespace, kept by a process that ends with us.
struct Net {
    holder: Child,
    file: File,
}

impl Net {
    /// A new one with nothing in it, if we may.
    fn new() -> Option<Net> {
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let theirs = PathBuf::from(format!("/proc/{}/ns/net", holder.id()));
        let ours = read_link("/proc/self/ns/net").ok()?;
        let mut ended = false;
        until("another network, or none", || {
            ended = holder.try_wait().is_ok_and(|status| status.is_some());
            ended || read_link(&theirs).is_ok_and(|theirs| theirs != ours)
        });
        let file = File::open(theirs).ok()?;
        (!ended).then_some(Net { holder, file })
    }

    /// Does something there: what is opened and started in it stays there.
    fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("we may enter what we made");
            what()
        };
        let done = std::thread::scope(|scope| scope.spawn(inside).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn ip(&self, arguments: &str) {
        let status = self.run(|| Command::new("ip").args(arguments.split(' ')).status());
        assert!(
            status.expect("iproute2 is installed").success(),
            "ip {arguments}"
        );
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Two networks and a cable; nothing where we may not have them.
fn cable() -> Option<(Net, Net)> {
    let (Some(near), Some(far)) = (Net::new(), Net::new()) else {
        eprintln!("NOT RUN: a peer that vanishes needs a network of its own, and that needs root");
        return None;
    };
    near.ip(&format!(
        "link add near type veth peer name far netns {}",
        far.holder.id()
    ));
    for (net, name, address) in [(&near, "near", NEAR), (&far, "far", FAR)] {
        net.ip("link set lo up");
        net.ip(&format!("address add {address}/24 dev {name}"));
        net.ip(&format!("link set {name} up"));
    }
    Some((near, far))
}

fn start() -> Server {
    let mut arguments = vec!["--open", "--dead", "1s", "--heartbeat", "200ms"];
    let (flags, address) = (
        LISTENERS.map(|name| format!("--{name}")),
        format!("{NEAR}:0"),
    );
    flags
        .iter()
        .for_each(|flag| arguments.extend([flag, &*address]));
    Server::start(&arguments)
}

/// Readers of every kind, each on a connection of its own, with its listener.
fn readers(server: &Server) -> Vec<(&'static str, Reader)> {
    let http1 = |listener, framing| {
        (
            listener,
            Reader::http1(Peer::connect(server, listener), framing, PATH),
        )
    };
    let http2 = |listener, framing| {
        (
            listener,
            Reader::http2(Peer::connect(server, listener), framing, PATH, 3, MOST),
        )
    };
    vec![
        http1("http1", Framing::Sse),
        http1("http1s", Framing::Sse),
        http1("ws", Framing::WebSocket),
        http1("wss", Framing::WebSocket),
        http2("h2c", Framing::Sse),
        http2("http2", Framing::WebSocket),
    ]
}

fn vanish(cut: impl FnOnce(&Net, &Net) + Send) {
    let Some((near, far)) = cable() else { return };
    near.run(|| {
        let server = start();
        let witness = Witness::start(&server);
        let readers = far.run(|| readers(&server));
        let streams = |wire: &str| server.stats()["wires"][wire]["streams"].as_u64();
        let all = || ["sse_http1", "sse_http2", "websocket", "websocket_http2"].map(streams);
        until("all read", || all() == [3, 3, 2, 3].map(Some));
        cut(&near, &far);
        let since = Instant::now();
        // Something to acknowledge, for the WebSockets; SSE has its heartbeat.
        server.publish("load", "1");
        until("all are closed but the witness", || {
            all() == [1, 0, 0, 0].map(Some)
        });
        let took = since.elapsed();
        assert!(took > DEAD / 2 && took < DEAD * 10, "{took:?}");
        for (listener, reader) in &readers {
            let stats = server.stats();
            assert_eq!(
                stats["listeners"][listener]["dead_total"], 1,
                "{listener}: {stats:#}"
            );
            let line = one_line(&server, reader.peer().addr());
            assert!(line.contains("(dead)"), "{listener}: {line}");
        }
        witness.saw_nothing();
    });
}

#[test]
fn a_cable_that_is_pulled_at_the_other_end() {
    vanish(|_, far| far.ip("link set far down"));
}

#[test]
fn a_cable_that_is_pulled_here() {
    vanish(|near, _| near.ip("link set near down"));
}

#[test]
fn a_network_that_drops_everything() {
    vanish(|_, far| {
        far.ip(&format!("route add blackhole {NEAR}/32"));
    });
}
