//! The fan-out benchmark: what a delivery costs on each transport, beside a bare loop that does nothing but
//! write the same bytes to the same number of sockets. `scripts/bench-fanout` builds and runs it.
//!
//! One load client drives both; runs are interleaved, and a ratio is taken within one repetition. In the order
//! of reading: `cases` (what is done), `measure` (one run), `client` (the readers), `bare` (the limit).

#![forbid(unsafe_code)]

mod bare;
mod cases;
mod client;
mod clock;
mod frame;
mod head;
mod histogram;
mod measure;
mod note;
mod options;
mod partial;
mod peaks;
mod process;
mod report;
mod server;
mod socket;
mod tally;
mod tls;
mod transport;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use cases::{Case, Kind};
use client::Load;
use measure::{Figures, Size};
use options::Options;
use report::Run;
use server::{Program, Server};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const DIRECTORY: &str = "target/bench";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((command, rest)) if command == "run" => {
            Options::parse(rest).and_then(|options| run_all(&options))
        }
        Some((command, rest)) if command == "bare" => {
            raise_descriptor_limit().and_then(|()| bare::run(rest))
        }
        // `cargo test` and `cargo bench` come here; a run is long, so it is asked for.
        _ => {
            println!("see scripts/bench-fanout");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(options: &Options) -> Result<()> {
    raise_descriptor_limit()?;
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
    println!(
        "{}\n{}\nSamples: {}",
        machine()?,
        report::markdown(&runs),
        samples.display()
    );
    verdict(&runs)
}

/// The bare loop first: it is what triwire is held against.
fn programs(case: &Case, options: &Options) -> Vec<Program> {
    let bare = if case.kind == Kind::Window {
        Program::BareJoining
    } else {
        Program::Bare
    };
    if options.bare_only {
        vec![bare]
    } else {
        vec![bare, Program::Triwire]
    }
}

fn run(case: &Case, program: Program, options: &Options) -> Result<Figures> {
    // A child is bound where its parent was when it began.
    pin(options, 0)?;
    let server = Server::start(
        program,
        &options.triwire,
        case.transport,
        Path::new(DIRECTORY),
    );
    pin(options, 1)?;
    let server = server?;
    let (case, size) = scaled(case, options);
    let mut load = Load::new(server.target(case.transport)?, size.payload)?;
    let figures = measure::run(&case, &size, &mut load, server.pid())?;
    drop(load);
    server.stop()?;
    Ok(figures)
}

/// The readers and the time that the options leave of a case.
fn scaled(case: &Case, options: &Options) -> (Case, Size) {
    let stopped = case.kind == Kind::Stopped;
    let case = Case {
        connections: if options.quick {
            case.connections.min(20)
        } else {
            case.connections
        },
        ..*case
    };
    let size = Size {
        payload: if stopped { 4096 } else { options.payload },
        seconds: if options.quick {
            0.3
        } else if stopped {
            8.0
        } else {
            5.0
        },
        calm: if options.quick { 0.1 } else { 1.0 },
    };
    (case, size)
}

fn pin(options: &Options, cpu: usize) -> Result<()> {
    if options.pin {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus)?;
    }
    Ok(())
}

fn raise_descriptor_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}

fn samples_file() -> Result<PathBuf> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Path::new(DIRECTORY).join(format!("fanout-{time}.json")))
}

fn machine() -> Result<String> {
    let cpus = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load: Vec<&str> = load.split(' ').take(3).collect();
    Ok(format!(
        "{cpus} CPUs, Linux {}, load average {} at the end",
        kernel.trim(),
        load.join(" ")
    ))
}

/// An error for the first run that failed, and for anything that triwire lost or told twice or out of order.
fn verdict(runs: &[Run]) -> Result<()> {
    for run in runs {
        let figures = run
            .outcome
            .as_ref()
            .map_err(|error| format!("{}: {error}", run.case.name))?;
        for fault in ["lost", "doubled", "reordered", "closed", "stopped_lost"] {
            let count = figures.get(fault).copied().unwrap_or(0.0);
            if run.program == Program::Triwire && count > 0.0 {
                return Err(format!("{}: {count} {fault}", run.case.name).into());
            }
        }
    }
    Ok(())
}
