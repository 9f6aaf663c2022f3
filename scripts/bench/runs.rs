//! All runs in their order: for each case and repetition the bare loop, then triwire, then the peers, so that whatever
//! else the machine does falls on all. What was measured is saved after each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Result;
use crate::cases::{Case, Kind};
use crate::measure::{self, Figures, Size};
use crate::options::Options;
use crate::report::{self, Run, ratios};
use crate::server::{Program, Server};
use triwire::load::{Load, Payload};

const DIRECTORY: &str = "target/bench";

/// Runs what the options ask for and prints the tables.
pub fn all(options: &Options) -> Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    let samples = samples_file()?;
    let mut runs = Vec::new();
    for &case in &options.cases {
        for repetition in 0..options.repetitions {
            for program in programs(case, options) {
                let outcome = run(case, program, options).map_err(|error| error.to_string());
                let run = Run {
                    case,
                    program,
                    repetition,
                    outcome,
                };
                eprintln!("{}", report::line(&run));
                runs.push(run);
                fs::write(&samples, format!("{:#}\n", report::samples(&runs)))?;
            }
        }
    }
    let (tables, warnings) = (report::markdown(&runs), report::warnings(&runs));
    let ratios = if options.peers.is_empty() {
        String::new()
    } else {
        ratios::table(&runs)
    };
    println!(
        "{}\n{tables}{ratios}{warnings}\nSamples: {}",
        machine()?,
        samples.display()
    );
    verdict(&runs)
}

/// The bare loop first: it is what all are held against. None at all where no peer could be beside triwire.
fn programs(case: &Case, options: &Options) -> Vec<Program> {
    let joins = case.kind == Kind::Window;
    let bare = if joins {
        Program::BareJoining
    } else {
        Program::Bare
    };
    if options.bare_only {
        return vec![bare];
    }
    let mut peers = options.peers.clone();
    peers.retain(|peer| peer.has(case.transport()));
    if peers.is_empty() && !options.peers.is_empty() {
        return peers;
    }
    [vec![bare, Program::Triwire], peers].concat()
}

fn run(case: &Case, program: Program, options: &Options) -> Result<Figures> {
    // A child is bound to where its parent was when it began.
    pin(options, 0)?;
    let server = Server::start(
        program,
        &options.triwire,
        case.transport(),
        Path::new(DIRECTORY),
    );
    pin(options, 1)?;
    let server = server?;
    let (case, size) = scaled(case, options);
    let mut load = Load::new(
        server.target(case.transport())?,
        Payload::Text(size.payload),
        Arc::default(),
    )?;
    let figures = measure::run(&case, &size, &mut load, server.pid())?;
    drop(load);
    server.stop()?;
    Ok(figures)
}

/// The readers and the time that the options leave of a case.
fn scaled(case: &Case, options: &Options) -> (Case, Size) {
    let stopped = case.kind == Kind::Stopped;
    let payload = if stopped { 4096 } else { options.payload };
    let (connections, seconds, calm) = match (options.quick, stopped) {
        (true, _) => (case.connections.min(20), 0.3, 0.1),
        (false, true) => (case.connections, 8.0, 1.0),
        (false, false) => (case.connections, 5.0, 1.0),
    };
    let size = Size {
        payload,
        seconds,
        calm,
    };
    (
        Case {
            connections,
            ..*case
        },
        size,
    )
}

fn pin(options: &Options, cpu: usize) -> Result<()> {
    if options.pin {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus)?;
    }
    Ok(())
}

fn samples_file() -> Result<PathBuf> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Path::new(DIRECTORY).join(format!("fanout-{time}.json")))
}

fn machine() -> Result<String> {
    let cpus = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cpus} CPUs, Linux {}", kernel.trim()))
}

/// An error for the first run that failed, and for anything that triwire lost, or told twice or out of order.
fn verdict(runs: &[Run]) -> Result<()> {
    for run in runs {
        let name = run.case.name;
        let figures = run
            .outcome
            .as_ref()
            .map_err(|error| format!("{name}: {error}"))?;
        for fault in [
            "lost",
            "doubled",
            "reordered",
            "closed",
            "stopped_lost",
            "unsent",
        ] {
            let count = figures.get(fault).copied().unwrap_or(0.0);
            if run.program == Program::Triwire && count > 0.0 {
                return Err(format!("{name}: {count} {fault}").into());
            }
        }
    }
    Ok(())
}
