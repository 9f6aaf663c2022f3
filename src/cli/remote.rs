//! What the subcommands share that talk to a server: where it is, and how long to try.

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};

use crate::client::{Failure, Patience, Place, TRANSPORTS};
use crate::config::parse_time;

/// How long a lost connection is tried again when nothing is said.
pub(super) enum Lost {
    ForEver,
    For(Duration),
}

/// `--url`, `--wire` and `--cacert`.
pub(super) fn place_arguments(command: Command) -> Command {
    let wires = TRANSPORTS.map(|wire| wire.name);
    command
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .env("TRIWIRE_URL")
                .help("The server [default: the wire's own port on localhost]"),
        )
        .arg(
            Arg::new("wire")
                .long("wire")
                .value_name("TRANSPORT")
                .hide_possible_values(true)
                .value_parser(PossibleValuesParser::new(wires))
                .help(format!(
                    "How to talk to it: {} [default: what the URL says]",
                    wires.join(", ")
                )),
        )
        .arg(cacert_argument())
}

/// `--cacert`.
pub(super) fn cacert_argument() -> Arg {
    Arg::new("cacert")
        .long("cacert")
        .value_name("FILE")
        .env("TRIWIRE_CACERT")
        .help("The only CA to trust [default: the system's, and certs/ca.pem if it is there]")
}

/// `--retry-for`, for so many milliseconds at most.
pub(super) fn patience_argument(otherwise: &str, most: u64) -> Arg {
    Arg::new("retry-for")
        .long("retry-for")
        .value_name("TIME")
        .value_parser(move |text: &str| parse_time(text, 0..=most))
        .help(format!(
            "Without a connection, try for so long [default: the first one once, a lost one {otherwise}]"
        ))
}

pub(super) fn place(matches: &ArgMatches) -> Result<Place, String> {
    let url = given(matches, "url");
    let wire: Option<&String> = matches.get_one("wire");
    let wire = wire.and_then(|name| TRANSPORTS.iter().find(|wire| wire.name == name));
    Place::new(url, wire, cacert(matches))
}

/// What `--cacert` names.
pub(super) fn cacert(matches: &ArgMatches) -> Option<&Path> {
    given(matches, "cacert").map(Path::new)
}

/// A value; an empty variable counts as not set.
fn given<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    let value: Option<&String> = matches.get_one(name);
    value.map(String::as_str).filter(|value| !value.is_empty())
}

pub(super) fn patience(matches: &ArgMatches, lost: Lost) -> Patience {
    match (matches.get_one::<Duration>("retry-for"), lost) {
        (Some(time), _) => Patience {
            first: *time,
            again: Some(*time),
        },
        (None, Lost::ForEver) => Patience {
            first: Duration::ZERO,
            again: None,
        },
        (None, Lost::For(time)) => Patience {
            first: Duration::ZERO,
            again: Some(time),
        },
    }
}

/// Runs a client to its end: exit status 0 when it did what it was to do, 1 when it could not.
pub(super) fn run(client: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&[format!("no runtime: {error}")]),
    };
    let done = runtime.block_on(client);
    // A thread that still reads stdin is not waited for.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::say(&failure.words);
            ExitCode::FAILURE
        }
    }
}
