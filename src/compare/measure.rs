//! One run: a server, its readers, a load, and the figures that come of it. The same code for every transport.

use std::collections::BTreeMap;
use std::mem;

use super::plan::Job;
use super::results::Faults;
use super::subject::{CpuTime, Running};
use crate::load::clock;
use crate::load::peaks::Peaks;
use crate::load::process::{self as kernel, Cpu};
use crate::load::socket::Traffic;
use crate::load::tally::Times;
use crate::load::{From, Load, Result};

/// Connections that are opened together, where it is not opening that is measured.
const AT_ONCE: usize = 250;
/// Events on their way where it goes as fast as it goes.
const WINDOW: u64 = 8;
const MEGABYTE: f64 = 1e6;
/// The quantiles that are told, by name.
const LATENCIES: [(&str, f64); 5] = [
    ("p50_ms", 0.5),
    ("p90_ms", 0.9),
    ("p99_ms", 0.99),
    ("p999_ms", 0.999),
    ("max_ms", 1.0),
];

/// A run while it lasts.
pub struct Run<'a, 'b> {
    /// What is done.
    pub job: &'a Job,
    /// The readers.
    pub load: &'a mut Load,
    /// The server.
    pub server: &'a mut Running<'b>,
    /// What came of it so far.
    pub figures: BTreeMap<String, f64>,
    /// What else is wrong with events: of those that are no longer waited for.
    pub faults: Faults,
}

type Make = fn(&mut Run) -> Result<()>;

/// What is done in each scenario.
const SCENARIOS: [(&str, Make); 10] = [
    ("connect", connect),
    ("fanout", fanout),
    ("throughput", throughput),
    ("batch", batch),
    ("bytes", bytes),
    ("idle", idle),
    ("streams", streams),
    ("resume", resume),
    ("slow", slow),
    ("loss", fanout),
];

/// The counters at one time.
struct Snapshot {
    at: u64,
    server: CpuTime,
    client: Cpu,
    all_busy: u64,
    traffic: Traffic,
    deliveries: u64,
    payload_bytes: u64,
    published: u64,
}

/// What was between two times.
struct Span {
    nanoseconds: f64,
    server: f64,
    deliveries: f64,
    payload_bytes: f64,
    traffic: Traffic,
}

impl Run<'_, '_> {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be done to its end; what was measured until then stays.
    pub fn make(&mut self) -> Result<()> {
        let name = self.job.scenario.name;
        let mut all = SCENARIOS.iter();
        let (_, make) = all.find(|(one, _)| *one == name).expect("each is there");
        let made = make(self);
        let seen = self.load.tally.faults();
        self.faults.lost += if made.is_ok() { seen.lost } else { 0 };
        self.faults.doubled += seen.doubled;
        self.faults.reordered += seen.reordered;
        self.faults.late += seen.late;
        if self.load.unsent > 0 {
            self.set("unsent", self.load.unsent as f64);
        }
        made
    }

    fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.figures.insert(name.to_owned(), value);
        }
    }

    fn open(&mut self, from: From) -> Result<()> {
        let (connections, streams) = (self.job.connections, self.job.streams);
        self.load.open(connections, streams, AT_ONCE, from)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot {
            at: clock::now(),
            server: self.server.cpu()?,
            client: Cpu::of_this_process()?,
            all_busy: kernel::all_busy()?,
            traffic: self.load.traffic(),
            deliveries: self.load.tally.deliveries,
            payload_bytes: self.load.tally.payload_bytes,
            published: self.load.tally.published(),
        })
    }

    /// What came since `before`, and what the machine did meanwhile.
    fn since(&mut self, before: &Snapshot) -> Result<Span> {
        let after = self.snapshot()?;
        let client = after.client.since(before.client) as f64;
        let span = Span {
            nanoseconds: (after.at - before.at) as f64,
            server: after.server.since(before.server),
            deliveries: (after.deliveries - before.deliveries) as f64,
            payload_bytes: (after.payload_bytes - before.payload_bytes) as f64,
            traffic: after.traffic.since(&before.traffic),
        };
        let here = if self.server.pid().is_some() {
            span.server
        } else {
            0.0
        };
        let others = (after.all_busy - before.all_busy) as f64 - here - client;
        self.set("deliveries", span.deliveries);
        self.set("events", (after.published - before.published) as f64);
        self.set("client_share", client / span.nanoseconds);
        self.set("server_cores", span.server / span.nanoseconds);
        self.set("others_cores", others.max(0.0) / span.nanoseconds);
        if span.deliveries > 0.0 {
            self.set("cpu_us", span.server / 1e3 / span.deliveries);
            self.set("client_us", client / 1e3 / span.deliveries);
        }
        Ok(span)
    }

    fn latencies(&mut self) {
        let latency = &self.load.tally.latency;
        if latency.total() == 0 {
            return;
        }
        let values = LATENCIES.map(|(name, part)| (name, latency.quantile(part) as f64 / 1e6));
        for (name, value) in values {
            self.set(name, value);
        }
    }

    /// Events at a steady rate, after a warm-up.
    fn steady(&mut self) -> Result<Span> {
        self.steady_for(self.job.size.seconds)
    }

    fn steady_for(&mut self, seconds: f64) -> Result<Span> {
        let size = self.job.size;
        self.load.publish_at(size.rate, size.warm_up)?;
        self.load.tally.measure_from = clock::now();
        let before = self.snapshot()?;
        self.load.publish_at(size.rate, seconds)?;
        let span = self.since(&before)?;
        self.latencies();
        Ok(span)
    }

    /// As fast as it goes, after a warm-up.
    fn flat_out(&mut self) -> Result<Span> {
        let size = self.job.size;
        self.load.publish_windowed(WINDOW, size.warm_up)?;
        self.load.tally.measure_from = clock::now();
        let before = self.snapshot()?;
        self.load.publish_windowed(WINDOW, size.seconds)?;
        let span = self.since(&before)?;
        self.latencies();
        Ok(span)
    }

    /// Opens all readers, and tells what each costs in memory. Some come first, so that what the first one of all
    /// costs is not counted.
    fn open_and_weigh(&mut self) -> Result<()> {
        let job = self.job;
        let first = job.connections.div_ceil(10);
        self.load.open(first, job.streams, AT_ONCE, From::Head)?;
        self.load.idle(job.size.warm_up)?;
        let local = self.server.pid().is_some();
        let (resident, slab) = (self.server.resident()?, kernel::socket_slab()?);
        self.load
            .open(job.connections, job.streams, AT_ONCE, From::Head)?;
        self.load.idle(job.size.warm_up)?;
        let readers = job.readers() as f64;
        let grown = self.server.resident()? as f64 - resident as f64;
        self.set("resident_bytes", (grown / readers).max(0.0));
        if local {
            // Both ends of every connection are on this machine, and alike.
            let grown = kernel::socket_slab()? as f64 - slab as f64;
            self.set("kernel_bytes", (grown / 2.0 / readers).max(0.0));
        }
        Ok(())
    }
}

fn connect(run: &mut Run) -> Result<()> {
    let (job, secured) = (run.job, run.job.transport.tls);
    run.load.publish_at(1_000.0, 0.001)?;
    let mut alone = Vec::new();
    let mut securing = Vec::new();
    for _ in 0..job.size.alone {
        run.load.open(1, 1, 1, From::Start)?;
        run.load.until_begun()?;
        alone.extend(
            run.load
                .tally
                .times()
                .map(|one| one.first_event - one.asked),
        );
        securing.extend(run.load.securing());
        run.load.close();
    }
    let before = run.snapshot()?;
    run.load
        .open(job.connections, job.streams, job.connections, From::Start)?;
    run.load.until_begun()?;
    let span = run.since(&before)?;
    // Of a load there was none.
    run.figures.remove("cpu_us");
    run.figures.remove("client_us");

    let times: Vec<Times> = run.load.tally.times().collect();
    let mut bytes: Vec<u64> = times.iter().map(|one| one.answered - one.asked).collect();
    let mut events: Vec<u64> = times
        .iter()
        .map(|one| one.first_event - one.asked)
        .collect();
    let first = times.iter().map(|one| one.asked).min().unwrap_or(0);
    let last = times.iter().map(|one| one.first_event).max().unwrap_or(0);
    let alone = quantile(&mut alone, 0.5);
    run.set("first_byte_ms", quantile(&mut bytes, 0.5) / 1e6);
    run.set("first_event_ms", quantile(&mut events, 0.5) / 1e6);
    run.set("first_event_p99_ms", quantile(&mut events, 0.99) / 1e6);
    run.set("all_ms", (last - first) as f64 / 1e6);
    run.set("connections", run.load.connections() as f64);
    run.set("alone_ms", alone / 1e6);
    if secured == Some(true) {
        run.set("tls_share", quantile(&mut securing, 0.5) / alone);
    }
    run.set("connect_cpu_us", span.server / 1e3 / times.len() as f64);
    Ok(())
}

fn fanout(run: &mut Run) -> Result<()> {
    run.open(From::Head)?;
    run.steady()?;
    Ok(())
}

fn throughput(run: &mut Run) -> Result<()> {
    run.open(From::Head)?;
    let span = run.flat_out()?;
    run.set("deliveries_per_s", span.deliveries / span.nanoseconds * 1e9);
    run.set("mb_per_s", span.payload_bytes / span.nanoseconds * 1e3);
    Ok(())
}

fn batch(run: &mut Run) -> Result<()> {
    run.open(From::Head)?;
    let span = run.flat_out()?;
    let rows = span.deliveries * run.job.size.payload as f64;
    run.set("rows_per_s", rows / span.nanoseconds * 1e9);
    run.set("row_cpu_us", span.server / rows);
    Ok(())
}

fn bytes(run: &mut Run) -> Result<()> {
    run.open(From::Head)?;
    let (readers, opening) = (run.job.readers() as f64, run.load.openings());
    let Span {
        deliveries,
        payload_bytes,
        traffic,
        ..
    } = run.steady()?;
    let each = |bytes: u64| bytes as f64 / deliveries;
    run.set("payload_bytes", payload_bytes / deliveries);
    let framing = each(traffic.plain_down) - payload_bytes / deliveries;
    run.set("framing_bytes", framing);
    run.set("tls_bytes", each(traffic.down - traffic.plain_down));
    run.set("up_bytes", each(traffic.up));
    run.set("open_down_bytes", opening.down as f64 / readers);
    run.set("open_up_bytes", opening.up as f64 / readers);
    Ok(())
}

fn idle(run: &mut Run) -> Result<()> {
    run.open_and_weigh()
}

fn streams(run: &mut Run) -> Result<()> {
    run.open_and_weigh()?;
    let span = run.steady()?;
    run.set("event_bytes", span.traffic.down as f64 / span.deliveries);
    Ok(())
}

/// The schedule goes on through the cut: what the readers miss is due when it is due.
fn resume(run: &mut Run) -> Result<()> {
    let size = run.job.size;
    run.open(From::Head)?;
    run.load.publish_at(size.rate, size.warm_up)?;
    run.load.tally.measure_from = clock::now();
    let before = run.snapshot()?;
    run.load
        .publish_from(clock::now(), size.rate, size.seconds / 4.0)?;
    let cut = clock::now();
    run.load.cut()?;
    run.load.publish_from(cut, size.rate, size.seconds)?;
    run.load.settle()?;
    run.since(&before)?;
    run.latencies();
    let times: Vec<Times> = run.load.tally.times().collect();
    let mut back: Vec<u64> = times.iter().map(|one| one.ready - cut).collect();
    let caught_up = times.iter().map(|one| one.ready.max(one.caught_up)).max();
    run.set("back_ms", quantile(&mut back, 0.5) / 1e6);
    run.set("all_back_ms", quantile(&mut back, 1.0) / 1e6);
    run.set(
        "caught_up_ms",
        (caught_up.unwrap_or(cut) - cut) as f64 / 1e6,
    );
    Ok(())
}

fn slow(run: &mut Run) -> Result<()> {
    let stopped = run.job.stopped;
    run.open(From::Head)?;
    run.steady_for(run.job.size.seconds / 2.0)?;
    let p99 = run.load.tally.latency.quantile(0.99) as f64 / 1e6;
    run.set("before_p99_ms", p99);
    run.load.stop(stopped)?;
    mem::take(&mut run.load.tally.latency);
    // They were those of all.
    for (name, _) in LATENCIES {
        run.figures.remove(name);
    }
    run.load.tally.measure_from = clock::now();
    let size = run.job.size;
    let resident = run.server.resident()?;
    let sockets = kernel::socket_memory()?;
    let peaks = run.server.pid().map(Peaks::watch);
    let before = run.snapshot()?;
    run.load.publish_at(size.rate, size.seconds)?;
    run.since(&before)?;
    run.latencies();
    let most = match peaks {
        Some(peaks) => {
            let peak = peaks.end()?;
            let grown = peak.kernel.saturating_sub(sockets) as f64;
            run.set("kernel_mb", grown / MEGABYTE);
            peak.resident
        }
        None => run.server.resident()?,
    };
    run.set(
        "resident_mb",
        most.saturating_sub(resident) as f64 / MEGABYTE,
    );
    run.load.resume(stopped)?;
    let account = run.load.tally.stopped();
    run.set("told", account.told as f64);
    run.faults.lost += account.lost;
    Ok(())
}

/// The value that the share `part` does not exceed; 0 of nothing.
fn quantile(values: &mut [u64], part: f64) -> f64 {
    values.sort_unstable();
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scenarios;

    #[test]
    fn every_scenario_is_made() {
        let made = SCENARIOS.map(|(name, _)| name);
        assert_eq!(made, scenarios::SCENARIOS.map(|scenario| scenario.name));
    }

    #[test]
    fn quantiles() {
        let mut values = [5, 1, 4, 2, 3];
        for (part, want) in [(0.5, 3.0), (0.99, 5.0), (1.0, 5.0), (0.0, 1.0)] {
            assert_eq!(quantile(&mut values, part), want);
        }
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }
}
