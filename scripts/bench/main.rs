//! The fan-out benchmark: what a delivery costs on each transport, beside a bare loop that does nothing but
//! write the same bytes to the same number of sockets. `scripts/bench-fanout` builds and runs it.
//!
//! With `--peers` other servers run too: `scripts/compare-peers` brings them.
//!
//! One load client drives all; runs are interleaved, and a ratio is taken within one repetition. In the order
//! of reading: `cases` (what is done), `runs` (in which order), `measure` (one run), `triwire::load` (the readers),
//! `bare` (the limit).

#![forbid(unsafe_code)]

mod bare;
mod cases;
mod command;
mod measure;
mod options;
mod peers;
mod report;
mod runs;
mod server;
mod tls;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use triwire::load::Result;

fn main() -> ExitCode {
    command::run("bench-fanout", &[("run", run), ("bare", bare::run)])
}

fn run(arguments: &[String]) -> Result<()> {
    let options = options::Options::parse(arguments)?;
    raise_descriptor_limit()?;
    runs::all(&options)
}

/// Each reader is a descriptor, on either side: the servers inherit the limit.
fn raise_descriptor_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}
