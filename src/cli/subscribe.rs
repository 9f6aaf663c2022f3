//! `triwire subscribe`: events on stdout, one JSON object a line.

use std::pin::pin;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::lines::{nobody_reads, send, write_lines};
use super::remote::{self, Lost};
use crate::client::{Ask, Failure, Follower, Item, Patience, Place, Source};
use crate::config::parse_time;

/// Bytes that are written at once.
const CHUNK: usize = 64 << 10;

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
        );
    remote::arguments(command, Lost::ForEver)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let topics = matches.get_many("topic");
    let topics = topics.map_or_else(Vec::new, |topics| topics.cloned().collect());
    let ask = Ask {
        source: Source::Topics(topics),
        after: matches.get_one("after").cloned(),
        lag: matches.get_one("lag").cloned(),
        limit: matches.get_one("limit").copied(),
        silence: *matches.get_one("idle").expect("it has a default"),
    };
    remote::run(matches, Lost::ForEver, |place, patience| {
        subscribe(place, ask, patience)
    })
}

async fn subscribe(place: Place, ask: Ask, patience: Patience) -> Result<(), Failure> {
    let mut follower = Follower::new(place, ask, patience, |words: &str| super::say(words));
    let (lines, written) = write_lines();
    let followed = follow(&mut follower, lines).await;
    // What is on its way is written, or there is nobody left to read it.
    let written = written.await.unwrap_or(Ok(()));
    followed?;
    written.map_err(|error| Failure::local(format!("stdout: {error}")))
}

/// Hands lines on until there are as many as asked for, or nobody reads them.
async fn follow<S: FnMut(&str)>(
    follower: &mut Follower<S>,
    lines: mpsc::Sender<Vec<u8>>,
) -> Result<(), Failure> {
    let mut gone = pin!(nobody_reads().fuse());
    let mut buffer = Vec::new();
    loop {
        let mut next = pin!(follower.next());
        // Written when nothing more is there: at once when events are few, many at a time when they are many.
        let item = match next.as_mut().now_or_never() {
            Some(item) => item?,
            None => {
                let full = std::mem::take(&mut buffer);
                let mut sent = pin!(send(&lines, full));
                // The stream is watched meanwhile: a reader of ours that stands still must not look like a server
                // that does.
                let item = tokio::select! {
                    biased;
                    is_read = &mut sent => match is_read {
                        true => None,
                        false => return Ok(()),
                    },
                    item = &mut next => Some(item?),
                };
                match item {
                    Some(item) => match sent.await {
                        true => item,
                        false => return Ok(()),
                    },
                    None => tokio::select! {
                        item = &mut next => item?,
                        () = &mut gone => return Ok(()),
                    },
                }
            }
        };
        let Some(item) = item else {
            send(&lines, buffer).await;
            return Ok(());
        };
        if let Item::Event { json, .. } | Item::Gap { json, .. } = item {
            buffer.extend_from_slice(json.as_bytes());
            buffer.push(b'\n');
        }
        if buffer.len() >= CHUNK && !send(&lines, std::mem::take(&mut buffer)).await {
            return Ok(());
        }
    }
}
