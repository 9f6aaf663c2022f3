//! The benchmark of live SQL: what it costs to keep queries fresh, over HTTP as strangers do. `scripts/bench-queries`
//! builds and runs it.
//!
//! A server of its own for each case; rows, queries and streams come from this process, which is not measured. In the
//! order of reading: `alone` and `server` (who is measured), `rows` (what goes in), `watch` (what comes out), and the
//! four cases.

#![forbid(unsafe_code)]

#[path = "../alone.rs"]
mod alone;
#[path = "../asked.rs"]
mod asked;
#[path = "../command.rs"]
mod command;
mod fresh;
mod latency;
mod memory;
mod rows;
mod server;
mod shared;
mod watch;

use std::process::ExitCode;

use triwire::load::Result;

use self::asked::{Options, on_one_thread};

const CASES: [&str; 4] = ["fresh", "shared", "latency", "memory"];

fn main() -> ExitCode {
    command::run("bench-queries", &[("run", run)])
}

fn run(arguments: &[String]) -> Result<()> {
    let (options, _) = &Options::parse(arguments, &CASES, None)?;
    on_one_thread(async {
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
