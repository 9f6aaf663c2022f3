//! The benchmark of collections: what it costs to write, watch and read documents, over HTTP as strangers do.
//! `scripts/bench-collections` builds and runs it.
//!
//! A server of its own for each case; requests and streams come from this process, which is not measured, but has the
//! same processors. In the order of reading: `alone` (who is measured), `directory` (where it writes), `writes` with
//! its `floor`, `events` with their `watchers`, `reads`, `socket_io` and `postgres`.

#![forbid(unsafe_code)]

#[path = "../alone.rs"]
mod alone;
#[path = "../command.rs"]
mod command;
mod directory;
mod events;
mod floor;
mod postgres;
mod reads;
mod socket_io;
mod watchers;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;

use triwire::load::Result;

/// How requests are sent.
const REQUESTS: &str = "sse-http1";

/// What is asked for.
struct Options {
    cases: Vec<String>,
    quick: bool,
    triwire: PathBuf,
    /// Where a Postgres that may be written to has its socket.
    postgres: Option<PathBuf>,
}

const CASES: [&str; 5] = ["writes", "events", "reads", "socket_io", "postgres"];

impl Options {
    fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options {
            cases: CASES.map(str::to_owned).to_vec(),
            quick: false,
            triwire: command::triwire(),
            postgres: None,
        };
        let mut given = command::Options::of(arguments);
        while let Some(flag) = given.flag() {
            match flag {
                "--cases" => options.cases = given.value()?.split(',').map(str::to_owned).collect(),
                "--server" => options.triwire = given.value()?.into(),
                "--postgres" => options.postgres = Some(given.value()?.into()),
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
    command::run("bench-collections", &[("run", run)])
}

fn run(arguments: &[String]) -> Result<()> {
    let options = &Options::parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        for case in &options.cases {
            match &**case {
                "writes" => writes::run(options).await?,
                "events" => events::run(options).await?,
                "reads" => reads::run(options).await?,
                "socket_io" => socket_io::run(options).await?,
                _ => {
                    let sockets = options.postgres.as_deref();
                    postgres::run(options, sockets.ok_or("there is no Postgres")?).await?;
                }
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
