//! The benchmark of live SQL: what it costs to keep queries fresh, over HTTP as strangers do. `scripts/bench-queries`
//! builds and runs it.
//!
//! A server of its own for each case; rows, queries and streams come from this process, which is not measured. In the
//! order of reading: `server` (who is measured), `rows` (what goes in), `watch` (what comes out), and the four cases.

#![forbid(unsafe_code)]

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
            triwire: option_env!("CARGO_BIN_EXE_triwire")
                .unwrap_or("target/release/triwire")
                .into(),
        };
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            let mut value = || {
                let next = arguments.next();
                next.ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag.as_str() {
                "--cases" => options.cases = value()?.split(',').map(str::to_owned).collect(),
                "--server" => options.triwire = value()?.into(),
                "--quick" => options.quick = true,
                _ => return Err(format!("an unknown option: {flag}").into()),
            }
        }
        match options.cases.iter().find(|case| !CASES.contains(&&***case)) {
            Some(case) => Err(format!("no case {case}; there are {}", CASES.join(" ")).into()),
            None => Ok(options),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((command, rest)) if command == "run" => Options::parse(rest).and_then(|o| run(&o)),
        // `cargo bench` and `cargo test --benches` come here: a run is long, so it is asked for.
        _ => {
            println!("see scripts/bench-queries --help");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-queries: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
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
