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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = raise_descriptor_limit().and_then(|()| match arguments.split_first() {
        Some((command, rest)) if command == "run" => runs::all(&options::Options::parse(rest)?),
        Some((command, rest)) if command == "bare" => bare::run(rest),
        // `cargo bench` and `cargo test --benches` come here: a run is long, so it is asked for.
        _ => {
            println!("see scripts/bench-fanout --help");
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Each reader is a descriptor, on either side.
fn raise_descriptor_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}
