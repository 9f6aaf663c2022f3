//! What the kernel says of the server's process: memory, processor time, and bytes in its sockets.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Resident memory, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    let kib: u64 = line
        .split_ascii_whitespace()
        .nth(1)
        .expect("a value")
        .parse()
        .expect("KiB");
    kib * 1024
}

/// Processor time used so far, in clock ticks of 10 ms (proc(5): utime and stime).
pub fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name before it may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks = |field: &str| field.parse::<u64>().expect("a number");
    ticks(fields[11]) + ticks(fields[12])
}

/// How long its threads, and ours, were ready to run and had no processor. Other work on the machine is no fault of
/// the server's, and a test may take it off.
pub fn waited(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let theirs = tasks.flatten().map(|task| task.path());
    let all = theirs.chain([PathBuf::from("/proc/thread-self")]);
    // The second field (Documentation/scheduler/sched-stats); without statistics in this kernel, nothing is taken off.
    let waited = all.filter_map(|task| {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(waited.sum())
}

/// Bytes that the kernel holds for each connection of a listener: sent by it and not acknowledged by the peer.
pub fn queued(listener: SocketAddr) -> Vec<u64> {
    const ESTABLISHED: &str = "01";
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let local = format!(":{:04X}", listener.port());
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let ours = fields[1].ends_with(&local) && fields[3] == ESTABLISHED;
        let (unsent, _) = fields[4].split_once(':')?;
        ours.then(|| u64::from_str_radix(unsent, 16).expect("hexadecimal"))
    });
    rows.collect()
}
