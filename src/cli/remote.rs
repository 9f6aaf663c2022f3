//! What the subcommands share that talk to a server: where it is, and how long to try.

use std::future::Future;
use std::path::Path;
use std::process::{ExitCode, Termination};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};

use crate::client::{Failure, Patience, Place, TRANSPORTS, Transport};
use crate::config::parse_time;

/// How long a lost connection is tried again when nothing is said.
#[derive(Clone, Copy)]
pub(super) enum Lost {
    /// What was missed is read again.
    ForEver,
    /// What was published is published once only as long as the server remembers its key, which it does for 5 minutes.
    WhileKeysLast,
}

impl Lost {
    /// The most that `--retry-for` may say.
    fn longest(self) -> Duration {
        match self {
            Lost::ForEver => Duration::from_secs(7 * 24 * 3_600),
            Lost::WhileKeysLast => Duration::from_secs(240),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Lost::ForEver => "for ever",
            Lost::WhileKeysLast => "for 4min, the longest",
        }
    }

    fn patience(self, said: Option<Duration>) -> Patience {
        let otherwise = match self {
            Lost::ForEver => None,
            Lost::WhileKeysLast => Some(self.longest()),
        };
        Patience {
            first: said.unwrap_or_default(),
            again: said.or(otherwise),
        }
    }
}

/// What says where a server is, and how long to try: `--retry-for`, `--url`, `--wire` and `--cacert`.
pub(super) fn arguments(command: Command, lost: Lost) -> Command {
    let wires = TRANSPORTS.map(|wire| wire.name);
    let longest = lost.longest().as_millis() as u64;
    command
        .arg(
            Arg::new("retry-for")
                .long("retry-for")
                .value_name("TIME")
                .value_parser(move |text: &str| parse_time(text, 0..=longest))
                .help(format!(
                    "Without a connection, try for so long [default: the first one once, a lost one {}]",
                    lost.in_words()
                )),
        )
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

fn place(matches: &ArgMatches) -> Result<Place, String> {
    let url = given(matches, "url");
    let wire: Option<&String> = matches.get_one("wire");
    let wire = wire.and_then(|name| Transport::named(name));
    Place::new(url, wire, cacert(matches))
}

/// What `--cacert` names.
pub(super) fn cacert(matches: &ArgMatches) -> Option<&Path> {
    given(matches, "cacert").map(Path::new)
}

/// A value; an empty variable counts as not set.
pub(super) fn given<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    let value: Option<&String> = matches.get_one(name);
    value.map(String::as_str).filter(|value| !value.is_empty())
}

/// Runs a client to its end: exit status 1 when it could not do what it was to do, else what it says, or 0.
pub(super) fn run<C: Future<Output = Result<T, Failure>>, T: Termination>(
    matches: &ArgMatches,
    lost: Lost,
    client: impl FnOnce(Place, Patience) -> C,
) -> ExitCode {
    let place = match place(matches) {
        Ok(place) => place,
        Err(mistake) => return super::fail(&[mistake]),
    };
    end(client(place, patience(matches, lost)))
}

/// How long to try.
pub(super) fn patience(matches: &ArgMatches, lost: Lost) -> Patience {
    lost.patience(matches.get_one("retry-for").copied())
}

/// Runs it, and says how it ended.
pub(super) fn end<T: Termination>(client: impl Future<Output = Result<T, Failure>>) -> ExitCode {
    block_on(async {
        match client.await {
            Ok(done) => done.report(),
            Err(failure) => {
                super::say(&failure.words);
                ExitCode::FAILURE
            }
        }
    })
}

/// Runs a client on a runtime of its own.
pub(super) fn block_on(client: impl Future<Output = ExitCode>) -> ExitCode {
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
    done
}
