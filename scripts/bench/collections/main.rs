//! The benchmark of collections: what it costs to write, watch and read documents, over HTTP as strangers do.
//! `scripts/bench-collections` builds and runs it.
//!
//! A server of its own for each case; requests and streams come from this process, which is not measured, but has the
//! same processors. In the order of reading: `alone` (who is measured), `directory` (where it writes), `writes` with
//! its `floor`, `events` with their `watchers`, `reads`, `socket_io` and `postgres`.

#![forbid(unsafe_code)]

#[path = "../alone.rs"]
mod alone;
#[path = "../asked.rs"]
mod asked;
#[path = "../command.rs"]
mod command;
mod directory;
mod events;
mod floor;
#[path = "../nanoseconds.rs"]
mod nanoseconds;
mod postgres;
mod reads;
mod socket_io;
mod watchers;
mod writes;

use std::path::Path;
use std::process::ExitCode;

use triwire::load::Result;

use self::asked::{Options, on_one_thread};
use self::nanoseconds::shown;

/// How requests are sent.
const REQUESTS: &str = "sse-http1";

const CASES: [&str; 5] = ["writes", "events", "reads", "socket_io", "postgres"];

fn main() -> ExitCode {
    command::run("bench-collections", &[("run", run)])
}

fn run(arguments: &[String]) -> Result<()> {
    let (options, postgres) = &Options::parse(arguments, &CASES, Some("--postgres"))?;
    on_one_thread(async {
        for case in &options.cases {
            match &**case {
                "writes" => writes::run(options).await?,
                "events" => events::run(options).await?,
                "reads" => reads::run(options).await?,
                "socket_io" => socket_io::run(options).await?,
                _ => {
                    let sockets = postgres.as_deref().ok_or("there is no Postgres")?;
                    postgres::run(options, Path::new(sockets)).await?;
                }
            }
        }
        Ok(())
    })
}
