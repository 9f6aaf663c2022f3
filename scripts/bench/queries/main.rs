//! The benchmark of live SQL: what it costs to keep queries fresh, over HTTP as strangers do. `scripts/bench-queries`
//! builds and runs it.
//!
//! A server of its own for each case; rows, queries and streams come from this process, which is not measured. In the
//! order of reading: `alone` and `server` (who is measured), `rows` (what goes in), `watch` (what comes out), and the
//! four cases.

#![forbid(unsafe_code)]

#[path = "../alone.rs"]
mod alone;
#[path = "../command.rs"]
mod command;
mod fresh;
mod latency;
mod memory;
mod rows;
mod server;
mod shared;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use triwire::load::Result;

/// What is asked for.
struct Options {
    cases: Vec<String>,
    quick: bool,
    triwire: PathBuf,
}

const CASES: [&str; 4] = ["fresh", "shared", "latency", "memory"];

impl Options {
    fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options {
            cases: CASES.map(str::to_owned).to_vec(),
            quick: false,
            triwire: command::triwire(),
        };
        let mut given = command::Options::of(arguments);
        while let Some(flag) = given.flag() {
            match flag {
                "--cases" => options.cases = given.value()?.split(',').map(str::to_owned).collect(),
                "--server" => options.triwire = given.value()?.into(),
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
    command::run("bench-queries", &[("run", run)])
}

fn run(arguments: &[String]) -> Result<()> {
    let options = &Options::parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        for case in &options.cases {
            match &**case {
                "fresh" => fresh::run(options).await?,
                "shared" => shared::run(options).await?,
                "latency" => latency::run(options).await?,
                _ => memory::run(options).await?,
            }
        }
        Ok(())
    })
}
