//! The benchmark of relays: what it costs that several servers are one log, beside what the broker does by itself.
//! `scripts/bench-relays` starts the broker, builds and runs it.
//!
//! Servers of their own for each case; requests and streams come from this process, which is not measured, but has the
//! same processors. In the order of reading: `alone` (who is measured), `broker` (what it does by itself), `latency`
//! with its `watchers`, `rate`, and `singles`.

#![forbid(unsafe_code)]

#[path = "../alone.rs"]
mod alone;
#[path = "../asked.rs"]
mod asked;
mod broker;
#[path = "../command.rs"]
mod command;
mod latency;
#[path = "../nanoseconds.rs"]
mod nanoseconds;
mod rate;
mod singles;
#[path = "../collections/watchers.rs"]
mod watchers;

use std::fs;
use std::process::ExitCode;

use triwire::load::Result;

use self::asked::{Options, on_one_thread};
use self::nanoseconds::shown;

const CASES: [&str; 3] = ["latency", "rate", "singles"];

fn main() -> ExitCode {
    command::run("bench-relays", &[("run", run)])
}

fn run(arguments: &[String]) -> Result<()> {
    let (options, broker) = &Options::parse(arguments, &CASES, Some("--broker"))?;
    let broker = broker.as_deref().ok_or("--broker says where it is")?;
    on_one_thread(async {
        for case in &options.cases {
            match &**case {
                "latency" => latency::run(options, broker).await?,
                "singles" => singles::run(options, broker).await?,
                _ => rate::run(options, broker).await?,
            }
        }
        Ok(())
    })
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
