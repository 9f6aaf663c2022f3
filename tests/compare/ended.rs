//! Whatever ends a comparison, what was measured is kept, it is said in a line, and nothing is left behind.

use std::fs::{read_dir, read_link, read_to_string};
use std::path::PathBuf;

use serde_json::Value;

use crate::comparison::{Alone, Comparison, alone};
use crate::network::{is_possible, links, networks, networks_of};
use crate::relay::{Fault, Relay};
use crate::support::raw::until;
use crate::support::server::{Server, signal};
use crate::tool::Tool;

const READERS: usize = 20;

/// One of a steady load that would last for minutes, which has a run and is in the middle of another.
fn start(alone: &Alone, args: &[&str]) -> Comparison {
    start_scenario(alone, "fanout", args)
}

fn start_scenario(alone: &Alone, scenario: &str, args: &[&str]) -> Comparison {
    let readers = READERS.to_string();
    let load = ["--readers", &readers, "--repetitions", "100"];
    let what = ["--wires", "sse-http1,ws", "--scenarios", scenario];
    let mut comparison = Comparison::start(alone, &[&what[..], &load, args].concat());
    comparison.until_measured();
    comparison
}

/// Processes by number, as long as they are more than an entry.
fn processes() -> impl Iterator<Item = u32> {
    let entries = read_dir("/proc").expect("it is there").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|&process| is_there(process))
}

fn is_there(process: u32) -> bool {
    read_link(format!("/proc/{process}/exe")).is_ok()
}

fn parent(process: u32) -> Option<u32> {
    let stat = read_to_string(format!("/proc/{process}/stat")).ok()?;
    // What is before it may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn sockets(process: u32) -> usize {
    let descriptors = read_dir(format!("/proc/{process}/fd"))
        .into_iter()
        .flatten();
    let targets = descriptors
        .flatten()
        .filter_map(|fd| read_link(fd.path()).ok());
    let is_socket = |target: &PathBuf| target.to_string_lossy().starts_with("socket:");
    targets.filter(is_socket).count()
}

/// The server that a comparison has started, once all readers are connected to it.
fn server_of(tool: &mut Tool) -> u32 {
    tool.until("a server with readers", |tool| {
        let mut children = processes().filter(|&one| parent(one) == Some(tool.pid()));
        children.find(|&child| sockets(child) > READERS)
    })
}

fn is_kept(results: &Value) {
    let runs = results["runs"].as_array().expect("a list");
    assert!(
        runs[0]["error"].is_null() && runs[0]["figures"]["p50_ms"].is_number(),
        "{results}"
    );
    assert!(runs.len() < 200, "it was not in the middle");
}

#[test]
fn by_control_c() {
    let alone = alone();
    let mut comparison = start(&alone, &[]);
    let server = server_of(&mut comparison.tool);
    comparison.tool.signal("INT");
    let done = comparison.end();
    assert_eq!(done.code, Some(130), "{}", done.stderr);
    assert_eq!(done.stderr, "triwire: interrupted\n");
    assert!(done.stdout.contains("Fan-out"), "{}", done.stdout);
    assert_eq!(done.results["ended"], "interrupted");
    is_kept(&done.results);
    assert!(!is_there(server));
}

#[test]
fn by_a_second_control_c() {
    let alone = alone();
    let mut comparison = start(&alone, &[]);
    let server = server_of(&mut comparison.tool);
    // One that is stopped cannot be waited for by a first one.
    signal(server, "STOP");
    comparison.tool.signal("INT");
    comparison.tool.signal("INT");
    let ended = comparison.tool.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    until("the server has ended", || !is_there(server));
}

#[test]
fn by_a_server_that_is_killed() {
    let alone = alone();
    let mut comparison = start(&alone, &[]);
    let server = server_of(&mut comparison.tool);
    signal(server, "KILL");
    let done = comparison.end();
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(
        done.stderr.contains("the server ended with signal: 9"),
        "{}",
        done.stderr
    );
    is_kept(&done.results);
}

#[test]
fn by_a_target_that_dies() {
    let alone = alone();
    let server = Server::start(&[]);
    let relay = Relay::start(&server, [Fault::None; 2]);
    let comparison = start(&alone, &["--target", &relay.url()]);
    relay.cut();
    let done = comparison.end();
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(
        done.stderr.contains("does not answer any more"),
        "{}",
        done.stderr
    );
    is_kept(&done.results);
}

#[test]
fn by_a_kill() {
    let alone = alone();
    let mut comparison = start(&alone, &[]);
    let server = server_of(&mut comparison.tool);
    comparison.tool.signal("KILL");
    let ended = comparison.tool.end();
    assert_eq!(ended.code, None, "{ended:?}");
    until("the server has ended too", || !is_there(server));
}

/// In the middle of a bad network, which takes root.
#[test]
fn by_a_kill_in_two_networks() {
    if !is_possible() {
        return;
    }
    let before = links();
    let alone = alone();
    let mut comparison = start_scenario(&alone, "loss", &[]);
    let server = server_of(&mut comparison.tool);
    let all = &networks_of(server) | &networks_of(comparison.tool.pid());
    assert_eq!(all.len(), 2, "they are found while they are there");
    comparison.tool.signal("KILL");
    comparison.tool.end();
    until("the server has ended too", || !is_there(server));
    until("both networks are gone", || networks().is_disjoint(&all));
    assert_eq!(links(), before);
}
