//! `triwire subscribe`: events on stdout, one JSON object a line.

use std::io::{self, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::FutureExt;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

use super::remote::{self, Lost};
use crate::client::{Ask, Failure, Follower, Item, Patience, Place};
use crate::config::parse_time;

pub(super) fn command() -> Command {
    let command = Command::new("subscribe")
        .about("Print the events of topics, one JSON object a line")
        .long_about(
            "Print the events of topics, one JSON object {\"id\",\"topic\",\"type\",\"data\"} a line, and what was lost as \
             {\"type\":\"$gap\",…}. A connection that is lost comes back by itself and resumes.\n\n\
             Exit status: 0 after --limit events, or when nobody reads its output any more; 1 when it cannot go on; \
             2 for a mistake in what it was told.",
        )
        .arg(
            Arg::new("topic")
                .value_name("TOPIC")
                .required(true)
                .num_args(1..)
                .help("Topics, such as metrics or '$stats'"),
        )
        .arg(
            Arg::new("after")
                .long("after")
                .value_name("CURSOR")
                .help("Begin after this id; 0-0 is all that is retained [default: what comes from now on]"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("End after so many events"),
        )
        .arg(
            Arg::new("lag")
                .long("lag")
                .value_name("POLICY")
                .value_parser(["gap", "latest", "close"])
                .help("When events were lost: go on from the oldest, skip to the newest, or end and resume"),
        )
        .arg(
            Arg::new("idle")
                .long("idle")
                .value_name("TIME")
                .default_value("60s")
                .value_parser(|text: &str| parse_time(text, 100..=24 * 3_600_000))
                .help("Give up a connection on which nothing came for so long, no heartbeat either"),
        )
        .arg(remote::patience_argument("for ever"));
    remote::place_arguments(command)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let place = match remote::place(matches) {
        Ok(place) => place,
        Err(mistake) => return super::fail(&[mistake]),
    };
    let ask = Ask {
        topics: matches
            .get_many("topic")
            .map_or_else(Vec::new, |topics| topics.cloned().collect()),
        after: matches.get_one("after").cloned(),
        lag: matches.get_one("lag").cloned(),
        limit: matches.get_one("limit").copied(),
        silence: matches
            .get_one::<Duration>("idle")
            .copied()
            .unwrap_or(Duration::from_secs(60)),
    };
    let patience = remote::patience(matches, Lost::ForEver);
    remote::run(subscribe(place, ask, patience))
}

async fn subscribe(place: Place, ask: Ask, patience: Patience) -> Result<(), Failure> {
    let mut follower = Follower::new(place, ask, patience, |words: &str| remote::say(words));
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let mut gone = pin!(nobody_reads().fuse());
    loop {
        let written = {
            let mut next = pin!(follower.next());
            // Flushed when nothing more is there: at once when events are few, many at a time when they are many.
            let item = match next.as_mut().now_or_never() {
                Some(item) => item?,
                None => {
                    if out.flush().is_err() {
                        return Ok(());
                    }
                    tokio::select! {
                        item = next => item?,
                        () = &mut gone => return Ok(()),
                    }
                }
            };
            match item {
                Some(Item::Event { json, .. } | Item::Gap { json, .. }) => {
                    writeln!(out, "{json}")
                }
                Some(_) => Ok(()),
                None => {
                    // There is no more to say to whoever has left.
                    let _ = out.flush();
                    return Ok(());
                }
            }
        };
        if written.is_err() {
            return Ok(());
        }
    }
}

/// Ends when the other end of stdout is closed: without it, a pipe's end would be noticed with the next event only.
async fn nobody_reads() {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let stdout = io::stdout();
        let mut all = [PollFd::new(&stdout, PollFlags::empty())];
        // A regular file or a terminal that hangs up is told by the write.
        while poll(&mut all, None).is_err() {}
        let _ = tell.send(());
    });
    let _ = told.await;
}
