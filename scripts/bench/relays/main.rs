//! The benchmark of relays: what it costs that several servers are one log, beside what the broker does by itself.
//! `scripts/bench-relays` starts the broker, builds and runs it.
//!
//! Servers of their own for each case; requests and streams come from this process, which is not measured, but has the
//! same processors. In the order of reading: `alone` (who is measured), `broker` (what it does by itself), `latency`
//! with its `watchers`, `rate`, and `singles`.

#![forbid(unsafe_code)]

#[path = "../alone.rs"]
mod alone;
mod broker;
#[path = "../command.rs"]
mod command;
mod latency;
mod rate;
mod singles;
#[path = "../collections/watchers.rs"]
mod watchers;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use triwire::load::Result;

/// What is asked for.
struct Options {
    cases: Vec<String>,
    quick: bool,
    triwire: PathBuf,
    broker: String,
}

const CASES: [&str; 3] = ["latency", "rate", "singles"];

impl Options {
    fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options {
            cases: CASES.map(str::to_owned).to_vec(),
            quick: false,
            triwire: command::triwire(),
            broker: String::new(),
        };
        let mut given = command::Options::of(arguments);
        while let Some(flag) = given.flag() {
            match flag {
                "--cases" => options.cases = given.value()?.split(',').map(str::to_owned).collect(),
                "--server" => options.triwire = given.value()?.into(),
                "--broker" => options.broker = given.value()?.into(),
                "--quick" => options.quick = true,
                _ => return given.unknown(),
            }
        }
        match options.cases.iter().find(|case| !CASES.contains(&&***case)) {
            Some(case) => command::no_case(case, CASES.into_iter()),
            None => Ok(options),
        }
    }
}

fn main() -> ExitCode {
    command::run("bench-relays", &[("run", run)])
}

fn run(arguments: &[String]) -> Result<()> {
    let options = &Options::parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        for case in &options.cases {
            match &**case {
                "latency" => latency::run(options).await?,
                "singles" => singles::run(options).await?,
                _ => rate::run(options).await?,
            }
        }
        Ok(())
    })
}

/// Nanoseconds for people.
fn shown(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000_000 => format!("{} µs", nanoseconds / 1_000),
        _ => format!("{:.1} ms", nanoseconds as f64 / 1e6),
    }
}

/// Seconds of the main thread, and of all.
fn cpu(pid: u32) -> Result<(f64, f64)> {
    let of = |path: String| -> Result<f64> {
        let text = fs::read_to_string(path)?;
        let (_, rest) = text.rsplit_once(')').ok_or("no stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(ticks / 100.0)
    };
    Ok((
        of(format!("/proc/{pid}/task/{pid}/stat"))?,
        of(format!("/proc/{pid}/stat"))?,
    ))
}
