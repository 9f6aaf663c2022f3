//! One run: a server, its readers, a load, and the figures that come of it.

use std::collections::BTreeMap;

use crate::Result;
use crate::cases::{Case, Kind};
use triwire::load::clock::{self, SECOND};
use triwire::load::peaks::Peaks;
use triwire::load::process::{self, Cpu};
use triwire::load::socket::Traffic;
use triwire::load::{From, Load};

/// Connections that are opened together, but for a storm.
const AT_ONCE: usize = 250;
const WINDOW: u64 = 8;
const MEGABYTE: f64 = 1e6;

/// The figures of one run, by the names that the report uses.
pub type Figures = BTreeMap<&'static str, f64>;

/// How much of each load.
pub struct Size {
    pub payload: usize,
    pub seconds: f64,
    /// How long a load is warmed up, and waited for after readers came or left.
    pub calm: f64,
}

/// The counters at one time.
struct Snapshot {
    at: u64,
    server: Cpu,
    client: Cpu,
    all_busy: u64,
    traffic: Traffic,
    deliveries: u64,
}

/// Runs a case on a server that has no readers yet.
pub fn run(case: &Case, size: &Size, load: &mut Load, pid: u32) -> Result<Figures> {
    match case.kind {
        Kind::Rate(rate) => {
            load.open(case.connections, case.streams, AT_ONCE, From::Head)?;
            steady(size, load, pid, |load, seconds| {
                load.publish_at(rate.into(), seconds)
            })
        }
        Kind::Window => {
            load.open(case.connections, case.streams, AT_ONCE, From::Head)?;
            steady(size, load, pid, |load, seconds| {
                load.publish_windowed(WINDOW, seconds)
            })
        }
        Kind::Idle => idle(case, size, load, pid),
        Kind::Storm => storm(case, size, load, pid),
        Kind::Stopped => stopped(case, size, load, pid),
    }
}

fn steady(
    size: &Size,
    load: &mut Load,
    pid: u32,
    publish: impl Fn(&mut Load, f64) -> Result<()>,
) -> Result<Figures> {
    publish(load, size.calm)?;
    load.tally.measure_from = clock::now();
    let before = Snapshot::take(load, pid)?;
    publish(load, size.seconds)?;
    let mut figures = before.until(&Snapshot::take(load, pid)?);
    latency_and_faults(load, &mut figures);
    Ok(figures)
}

/// Some readers come first, so that what the first one of all costs is not counted.
fn idle(case: &Case, size: &Size, load: &mut Load, pid: u32) -> Result<Figures> {
    load.open(
        case.connections.div_ceil(50),
        case.streams,
        AT_ONCE,
        From::Head,
    )?;
    load.idle(size.calm)?;
    let before = process::resident(pid)?;
    load.open(case.connections, case.streams, AT_ONCE, From::Head)?;
    load.idle(size.calm)?;
    let grown = process::resident(pid)?.saturating_sub(before);
    let readers = case.connections * case.streams;
    Ok(Figures::from([
        ("readers", readers as f64),
        ("empty_mb", before as f64 / MEGABYTE),
        ("resident_bytes", grown as f64 / readers as f64),
    ]))
}

fn storm(case: &Case, size: &Size, load: &mut Load, pid: u32) -> Result<Figures> {
    load.open(case.connections, case.streams, AT_ONCE, From::Head)?;
    load.close();
    load.idle(size.calm)?;
    let before = Snapshot::take(load, pid)?;
    load.open(case.connections, case.streams, case.connections, From::Head)?;
    let after = Snapshot::take(load, pid)?;
    load.publish_at(20.0, 0.1)?;
    let connections = case.connections as f64;
    let mut figures = Figures::from([
        ("connections", connections),
        ("storm_s", (after.at - before.at) as f64 / SECOND as f64),
        (
            "connect_us",
            after.server.since(before.server) as f64 / 1e3 / connections,
        ),
    ]);
    latency_and_faults(load, &mut figures);
    Ok(figures)
}

fn stopped(case: &Case, size: &Size, load: &mut Load, pid: u32) -> Result<Figures> {
    const RATE: f64 = 500.0;
    let half = case.connections / 2;
    load.open(case.connections, case.streams, AT_ONCE, From::Head)?;
    load.publish_at(RATE, size.calm)?;
    load.stop(half)?;
    let (resident, kernel) = (process::resident(pid)?, process::socket_memory()?);
    load.tally.measure_from = clock::now();
    let before = Snapshot::take(load, pid)?;

    let stopped = Peaks::watch(pid);
    load.publish_at(RATE, size.seconds)?;
    let stopped = stopped.end()?;
    let mut figures = before.until(&Snapshot::take(load, pid)?);
    latency_and_faults(load, &mut figures);

    let resumed = Peaks::watch(pid);
    load.resume(half)?;
    let resumed = resumed.end()?;
    let account = load.tally.stopped();
    let grown = |peak: u64, before: u64| peak.saturating_sub(before) as f64 / MEGABYTE;
    figures.extend([
        ("resident_mb", grown(stopped.resident, resident)),
        ("resident_resumed_mb", grown(resumed.resident, resident)),
        ("kernel_mb", grown(stopped.kernel, kernel)),
        ("closed", load.closed as f64),
        ("stopped_lost", account.lost as f64),
        ("stopped_told", account.told as f64),
        ("gaps", account.gaps as f64),
    ]);
    Ok(figures)
}

fn latency_and_faults(load: &Load, figures: &mut Figures) {
    let faults = load.tally.faults();
    let milliseconds = |part| load.tally.latency.quantile(part) as f64 / 1e6;
    figures.extend([
        ("p50_ms", milliseconds(0.5)),
        ("p99_ms", milliseconds(0.99)),
        ("lost", faults.lost as f64),
        ("doubled", faults.doubled as f64),
        ("reordered", faults.reordered as f64),
        ("unsent", load.unsent as f64),
    ]);
}

impl Snapshot {
    fn take(load: &Load, pid: u32) -> Result<Snapshot> {
        Ok(Snapshot {
            at: clock::now(),
            server: Cpu::of(pid)?,
            client: Cpu::of_this_process()?,
            all_busy: process::all_busy()?,
            traffic: load.traffic(),
            deliveries: load.tally.deliveries,
        })
    }

    fn until(&self, after: &Snapshot) -> Figures {
        let deliveries = (after.deliveries - self.deliveries) as f64;
        let nanoseconds = (after.at - self.at) as f64;
        let (server, client) = (
            after.server.since(self.server) as f64,
            after.client.since(self.client) as f64,
        );
        let traffic = after.traffic.since(&self.traffic);
        let others = (after.all_busy - self.all_busy) as f64 - server - client;
        Figures::from([
            ("deliveries", deliveries),
            ("deliveries_per_s", deliveries / nanoseconds * 1e9),
            ("cpu_us", server / 1e3 / deliveries),
            ("client_us", client / 1e3 / deliveries),
            ("server_cores", server / nanoseconds),
            ("client_cores", client / nanoseconds),
            ("others_cores", others.max(0.0) / nanoseconds),
            ("bytes", traffic.down as f64 / deliveries),
            ("per_read", deliveries / traffic.reads as f64),
        ])
    }
}
