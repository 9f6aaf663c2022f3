//! The bad network: it is as bad as was asked for, and it goes away with those who are in it.
//!
//! That takes root, and without it a test says that it did not run.

use std::collections::BTreeSet;
use std::fs::{read_dir, read_link, read_to_string};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use triwire::compare::network::{Link, Packets, apart, possible, with_network};

use crate::support::raw::until;
use crate::support::server::{BINARY, LISTENERS, PATIENCE, Server};

const LINK: Link = Link {
    delay: Duration::from_millis(10),
    loss: 0.05,
    seed: 1,
};

/// Whether it is possible here; says so if it is not.
pub fn is_possible() -> bool {
    possible()
        .inspect_err(|error| eprintln!("NOT RUN: {error}"))
        .is_ok()
}

/// A server in a network of its own.
fn start() -> Server {
    let flags = LISTENERS.map(|name| format!("--{name}"));
    let mut arguments = vec!["--open"];
    flags
        .iter()
        .for_each(|flag| arguments.extend([flag, "0.0.0.0:0"]));
    Server::start_by(apart(BINARY), &arguments)
}

/// One request and all of its answer, and how long it took to connect.
fn ask(server: &Server, host: IpAddr, request: &str) -> (String, Duration) {
    let addr = SocketAddr::new(host, server.addr("http1").port());
    let before = Instant::now();
    let mut stream = TcpStream::connect(addr).expect("the server is in reach");
    let took = before.elapsed();
    let limit = stream.set_read_timeout(Some(PATIENCE));
    limit.expect("an open socket");
    let sent = stream.write_all(request.as_bytes());
    sent.expect("the request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it ends");
    (answer, took)
}

fn publish(server: &Server, host: IpAddr, text: &str) {
    let (answer, _) = ask(
        server,
        host,
        &format!(
            "POST /publish/t HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        ),
    );
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

fn count(number: &AtomicU64) -> f64 {
    number.load(Ordering::Relaxed) as f64
}

/// The network that a process or a thread is in, as the kernel names it.
fn network_of(process: &str) -> String {
    let link = read_link(format!("/proc/{process}/ns/net")).expect("a process");
    link.to_string_lossy().into_owned()
}

/// The networks that a process holds, by a thread in it or by a descriptor.
fn held(process: &Path) -> BTreeSet<String> {
    let names = |dir: &Path| -> Vec<PathBuf> {
        // Whoever ends while we look is gone, and so is what it held.
        let entries = read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let threads = names(&process.join("task"));
    let mut links = names(&process.join("fd"));
    links.extend(threads.iter().map(|thread| thread.join("ns/net")));
    let targets = links.iter().filter_map(|link| read_link(link).ok());
    let targets = targets.map(|target| target.to_string_lossy().into_owned());
    targets.filter(|name| name.starts_with("net:[")).collect()
}

/// All networks that something is left of: what a process holds, or a place in the file system.
pub fn networks() -> BTreeSet<String> {
    let processes = read_dir("/proc").expect("it is there").flatten();
    let all = processes.flat_map(|process| held(&process.path()));
    let mounts = read_to_string("/proc/self/mountinfo").expect("a list");
    let mounts = mounts.split_whitespace().map(str::to_owned);
    all.chain(mounts.filter(|name| name.starts_with("net:[")))
        .collect()
}

/// Those of a process that are not ours.
pub fn networks_of(process: u32) -> BTreeSet<String> {
    let mut all = held(Path::new(&format!("/proc/{process}")));
    all.remove(&network_of("self"));
    all
}

/// The links of our own network.
pub fn links() -> Vec<String> {
    let listed = read_to_string("/proc/thread-self/net/dev").expect("a list");
    let names = listed.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

#[test]
fn it_delays_and_loses() {
    if !is_possible() {
        return;
    }
    let server = start();
    let (events, text) = (60, "x".repeat(16 << 10));
    // Twice, since one server is asked over many links.
    for after in [events, 2 * events] {
        let joined = with_network(server.pid(), LINK, |network| {
            (0..events).for_each(|_| publish(&server, network.clean, &text));
            // IPv6 asks for routers by itself.
            assert!(
                count(&network.down.passed) < 10.,
                "publishing goes elsewhere"
            );
            let request = format!(
                "GET /events?topic=t&after=0-0&limit={after} HTTP/1.1\r\nhost: {}\r\n\r\n",
                network.bad
            );
            let (answer, took) = ask(&server, network.bad, &request);
            assert_eq!(answer.matches(&text).count(), after, "all came");
            // A packet there, and a packet back.
            assert!(took >= 2 * LINK.delay, "{took:?}");
            let of = |packets: &Packets| {
                let (lost, passed) = (count(&packets.lost), count(&packets.passed));
                (
                    lost / (lost + passed),
                    lost + passed,
                    count(&packets.longest),
                )
            };
            let ((up, asked, _), (down, sent, longest)) = (of(&network.up), of(&network.down));
            assert!(sent > 600. && asked > 60., "{sent} down, {asked} up");
            assert!((0.03..0.07).contains(&down), "{down} of {sent} down");
            assert!((0.01..0.15).contains(&up), "{up} of {asked} up");
            // Each packet is one on the cable, not a bundle that is lost as a whole.
            assert_eq!(longest, 1514.);
        });
        joined.expect("it is possible");
    }
}

#[test]
fn a_server_in_our_own_network_is_refused() {
    let server = Server::start(&[]);
    let refused = with_network(server.pid(), LINK, |_| ());
    let said = refused.expect_err("its links would be everybody's");
    assert!(said.contains("no network of its own"), "{said}");
}

#[test]
fn it_goes_with_the_server() {
    if !is_possible() {
        return;
    }
    let before = links();
    let server = start();
    let theirs = network_of(&server.pid().to_string());
    assert!(
        networks().contains(&theirs),
        "it is found while it is there"
    );
    let joined = with_network(server.pid(), LINK, |network| {
        publish(&server, network.bad, "1");
        server.signal("KILL");
        let ours = network_of("thread-self");
        assert!(networks().contains(&ours), "it is found too");
        ours
    });
    let ours = joined.expect("it is possible");
    drop(server);
    until("both networks are gone", || {
        networks().is_disjoint(&[theirs.clone(), ours.clone()].into())
    });
    assert_eq!(links(), before);
}

#[test]
fn it_goes_with_a_panic() {
    if !is_possible() {
        return;
    }
    let server = start();
    let panicked = std::panic::catch_unwind(|| {
        with_network(server.pid(), LINK, |_| panic!("said on purpose"))
    });
    assert!(panicked.is_err());
    let joined = with_network(server.pid(), LINK, |network| {
        publish(&server, network.bad, "1");
    });
    joined.expect("nothing stands in its way");
}
