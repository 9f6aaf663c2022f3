//! `triwire publish`: stdin to a topic, an event a line.

use std::io::{self, BufRead, Read};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::outlet::{self, Outlet};
use crate::client::{Draft, Failure, Format};

/// Lines that may wait for the server, their size in KiB, and the longest of them in bytes.
const LINES: usize = 5_000;
const WAITING: u32 = 8 << 10;
const LONGEST: u64 = 64 << 20;

pub(super) fn command() -> Command {
    let command = Command::new("publish")
        .about("Publish standard input, an event a line")
        .long_about(
            "Publish standard input, an event a line, in order and each once, however often the connection is lost: \
             vmstat 1 | triwire publish vm\n\n\
             It is a POST on every transport. Lines go together when they come faster than they can be sent.\n\n\
             Exit status: 0 when all lines are in the log; 1 when one is not, which is named, as is the reason; the \
             lines before it are; 2 for a mistake in what it was told.",
        )
        .arg(
            Arg::new("topic")
                .value_name("TOPIC")
                .required(true)
                .help("The topic"),
        )
        .arg(
            Arg::new("type")
                .long("type")
                .value_name("TYPE")
                .help("The events' type [default: message]"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Each line is JSON, and is checked; empty lines are skipped [default: text]"),
        );
    outlet::arguments(command)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let draft = Draft {
        topic: matches.get_one("topic").cloned().unwrap_or_default(),
        event_type: matches.get_one("type").cloned(),
        format: match matches.get_flag("json") {
            true => Format::Json,
            false => Format::Text,
        },
    };
    outlet::run(
        matches,
        |words: &str| super::say(words),
        |outlet| publish(outlet, draft),
    )
}

async fn publish<S: FnMut(&str)>(mut outlet: Outlet<S>, draft: Draft) -> Result<(), Failure> {
    let mut lines = read_lines();
    let mut waiting = Vec::new();
    while lines.recv_many(&mut waiting, LINES).await > 0 {
        let mut failed = None;
        let mut batch = Vec::with_capacity(waiting.len());
        for line in waiting.drain(..) {
            match line {
                Ok(line) if draft.format == Format::Json && is_blank(&line.bytes) => {}
                Ok(line) => batch.push(line),
                Err(failure) => failed = Some(failure),
            }
        }
        let payloads: Vec<Bytes> = batch.iter().map(|line| line.bytes.clone()).collect();
        if let Err(unpublished) = outlet.publish(&draft, &payloads).await {
            let number = batch[unpublished.done].number;
            let mut failure = unpublished.failure;
            failure.words = format!("line {number} is not published: {}", failure.words);
            return Err(failure);
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
    }
    Ok(())
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// A line of stdin.
struct Line {
    /// From 1.
    number: u64,
    bytes: Bytes,
    /// Its part of what may wait.
    _room: OwnedSemaphorePermit,
}

/// Reads on a thread of its own, since stdin may stand still for ever.
fn read_lines() -> mpsc::Receiver<Result<Line, Failure>> {
    let (tell, told) = mpsc::channel(LINES);
    let room = Arc::new(Semaphore::new(WAITING as usize));
    let runtime = Handle::current();
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        for number in 1.. {
            let line = match read_line(&mut stdin) {
                Ok(Some(bytes)) => {
                    let size = (bytes.len() as u32).div_ceil(1024).clamp(1, WAITING);
                    let room = room.clone().acquire_many_owned(size);
                    let _room = runtime.block_on(room).expect("nobody closes it");
                    Ok(Line {
                        number,
                        bytes,
                        _room,
                    })
                }
                Ok(None) => return,
                Err(error) => Err(Failure::local(format!("line {number}: {error}"))),
            };
            let is_last = line.is_err();
            if tell.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    told
}

/// The next line without its end; `None` at the end.
fn read_line(stdin: &mut impl BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    if stdin.take(LONGEST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    match line.strip_suffix(b"\n") {
        Some(whole) => {
            let length = whole.strip_suffix(b"\r").unwrap_or(whole).len();
            line.truncate(length);
        }
        None if line.len() as u64 == LONGEST => {
            let words = format!("it is longer than {LONGEST} bytes, which no event may be");
            return Err(io::Error::other(words));
        }
        None => {}
    }
    Ok(Some(line.into()))
}
