//! `triwire compare`: the same load on every wire, and what came of it.

mod files;

use std::io::{self, IsTerminal};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use ratatui::crossterm::terminal::size;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use self::files::Files;
use super::remote::{block_on, cacert, cacert_argument};
use super::{fail, print, say};
use crate::client::{Framing, Place, TRANSPORTS, Transport};
use crate::compare::results::Results;
use crate::compare::scenarios::SCENARIOS;
use crate::compare::{Comparison, Link, Options, Progress, descriptors, subject, table};
use crate::config::parse_time;

/// Nobody else on this machine may compare meanwhile: each would measure the other.
const LOCK: &[u8] = b"triwire compare";

const HOUR: u64 = 3_600_000;

pub(super) fn command() -> Command {
    let wires = TRANSPORTS.map(|wire| wire.name);
    let scenarios = SCENARIOS.map(|scenario| scenario.name);
    let (full, quick) = (Options::default(), Options::quick());
    let command = Command::new("compare")
        .about("Compare the wires: the same load on each, with a verdict in words")
        .after_help(
            "Starts servers of its own unless --target names one. Exit status 0 when no event was lost, doubled, \
             reordered or late; 1 when one was, or when it could not be done to its end or not even once; 2 for wrong use; 130 after \
             Ctrl-C, with what there is until then. docs/comparison.md says what the figures mean.",
        )
        .arg(
            Arg::new("target")
                .long("target")
                .value_name("URL")
                .help("A server that runs already; its listeners are those that its /stats names"),
        )
        .arg(cacert_argument())
        .arg(list("wires", "TRANSPORT,…", &wires))
        .arg(list("scenarios", "NAME,…", &scenarios))
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("Within 90 s: fewer readers and repetitions, and without batch, streams, slow and loss unless --scenarios names them"),
        );
    let numbers = [
        (
            "readers",
            "N",
            1..=100_000,
            format!(
                "Readers at a time [default: {}, quick {}]",
                full.readers, quick.readers
            ),
        ),
        (
            "streams",
            "N",
            1..=1_000,
            format!(
                "Streams on a connection of HTTP/2 [default: {}]",
                full.streams
            ),
        ),
        (
            "payload",
            "BYTES",
            30..=262_144,
            format!("Bytes of each event's data [default: {}]", full.payload),
        ),
        (
            "repetitions",
            "N",
            1..=1_000,
            format!(
                "How often all is repeated [default: {}, or 3]",
                full.repetitions
            ),
        ),
    ];
    let command = numbers
        .into_iter()
        .fold(command, |command, (name, value, range, help)| {
            command.arg(
                Arg::new(name)
                    .long(name)
                    .value_name(value)
                    .value_parser(value_parser!(u64).range(range))
                    .help(help),
            )
        });
    command
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_name("N")
                .value_parser(|text: &str| number(text, 1.0, 100_000.0))
                .help(format!(
                    "Events a second, at a steady rate [default: {}]",
                    full.rate
                )),
        )
        .arg(
            Arg::new("loss")
                .long("loss")
                .value_name("PERCENT")
                .value_parser(|text: &str| number(text, 0.0, 50.0))
                .help("Packets that the bad network loses, each way [default: 2]"),
        )
        .arg(time(
            "delay",
            0..=1_000,
            "How late the bad network is, each way [default: 20ms]",
        ))
        .arg(time(
            "late",
            1..=HOUR,
            "An event that comes later is a fault [default: 5s]",
        ))
        .arg(time(
            "within",
            1_000..=24 * HOUR,
            "How long all may take [default: 15min, quick 90s]",
        ))
        .arg(file(
            "json",
            "Save all samples here, after each run [default: a temporary file, which is told]",
        ))
        .arg(file("html", "Write a page with charts here, at the end"))
        .arg(file(
            "against",
            "Say at the end where an earlier --json differs by more than the spread",
        ))
}

fn list(name: &'static str, value: &'static str, all: &[&'static str]) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .value_delimiter(',')
        .hide_possible_values(true)
        .value_parser(PossibleValuesParser::new(all.to_vec()))
        .help(format!("Only these of {} [default: all]", all.join(", ")))
}

fn time(name: &'static str, range: std::ops::RangeInclusive<u64>, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("TIME")
        .value_parser(move |text: &str| parse_time(text, range.clone()))
        .help(help)
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("FILE")
        .value_parser(value_parser!(std::path::PathBuf))
        .help(help)
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("it is a number from {least} to {most}")),
    }
}

fn options(matches: &ArgMatches) -> Result<Options, String> {
    let otherwise = match matches.get_flag("quick") {
        true => Options::quick(),
        false => Options::default(),
    };
    let count = |name: &str, otherwise: usize| {
        let said: Option<&u64> = matches.get_one(name);
        said.map_or(otherwise, |&said| said as usize)
    };
    let time =
        |name: &str, otherwise: Duration| matches.get_one(name).copied().unwrap_or(otherwise);
    let named = |name: &str| {
        let said: Option<clap::parser::ValuesRef<String>> = matches.get_many(name);
        said.map(|all| all.map(String::as_str).collect::<Vec<_>>())
    };
    let target: Option<&String> = matches.get_one("target");
    let cacert = cacert(matches);
    let target = match target {
        None => None,
        Some(url) => match Place::new(Some(url), None, cacert)? {
            place if place.framing == Framing::Sse => Some(place),
            _ => return Err(format!("{url:?} is no http:// or https:// URL")),
        },
    };
    let wires =
        named("wires").map(|names| names.into_iter().filter_map(Transport::named).collect());
    let scenarios = named("scenarios").map(|names| {
        let all = SCENARIOS.iter().map(|scenario| scenario.name);
        all.filter(|name| names.contains(name)).collect()
    });
    let mut options = Options {
        target,
        cacert: cacert.map(Into::into),
        wires: wires.unwrap_or(otherwise.wires),
        scenarios: scenarios.unwrap_or(otherwise.scenarios),
        repetitions: count("repetitions", otherwise.repetitions),
        readers: count("readers", otherwise.readers),
        streams: count("streams", otherwise.streams),
        rate: matches.get_one("rate").copied().unwrap_or(otherwise.rate),
        payload: count("payload", otherwise.payload),
        late: time("late", otherwise.late),
        link: Link {
            seed: otherwise.link.seed,
            delay: time("delay", otherwise.link.delay),
            loss: matches
                .get_one("loss")
                .map_or(otherwise.link.loss, |percent: &f64| percent / 100.0),
        },
        quick: otherwise.quick,
        within: time("within", otherwise.within),
    };
    let (readers, streams) = (options.readers, options.streams);
    if readers > streams && !readers.is_multiple_of(streams) {
        return Err(format!(
            "{readers} readers are no multiple of {streams} streams on a connection, so HTTP/2 would have others than \
             HTTP/1.1: try {}",
            readers.next_multiple_of(streams)
        ));
    }
    // Named twice is meant once.
    let mut seen = Vec::new();
    options.wires.retain(|wire| {
        let new = !seen.contains(&wire.name);
        seen.push(wire.name);
        new
    });
    Ok(options)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let options = match options(matches) {
        Ok(options) => options,
        Err(mistake) => return fail(&[mistake]),
    };
    match compare(matches, options) {
        Ok(status) => status,
        Err(words) => {
            say(&words);
            ExitCode::FAILURE
        }
    }
}

fn compare(matches: &ArgMatches, options: Options) -> Result<ExitCode, String> {
    let _alone = alone()?;
    let earlier = match matches.get_one::<std::path::PathBuf>("against") {
        Some(file) => Some((file.display().to_string(), files::read(file)?)),
        None => None,
    };
    let (json, html) = (matches.get_one("json"), matches.get_one("html"));
    let files = Files::open(json, html)?;
    let interrupt = Arc::new(AtomicBool::new(false));
    let (done, ended) = oneshot::channel();
    let (interrupted, files) = (interrupt.clone(), Arc::new(files));
    let kept = files.clone();
    // The load is one thread that never waits for another; signals come here.
    thread::spawn(move || {
        // Nobody waits for it any more after a second signal.
        let _ = done.send(measure(&options, &kept, interrupted));
    });
    let mut results = None;
    let status = block_on(async {
        match until_done(ended, &interrupt).await {
            Some(Ok(found)) => {
                let status = status(&found);
                results = Some(found);
                status
            }
            Some(Err(words)) => {
                files.take_back();
                say(&words);
                ExitCode::FAILURE
            }
            None => {
                // The measuring thread has no time to clean up after itself.
                subject::clean_up();
                files.told().iter().for_each(|where_it_is| say(where_it_is));
                ExitCode::from(130)
            }
        }
    });
    let Some(results) = results else {
        return Ok(status);
    };
    let kept = files.end(&results);
    for why in results.ended.iter().chain(&files.told()) {
        say(why);
    }
    let width = columns();
    let mut text = table::text(&results, width);
    if let Some((name, earlier)) = earlier {
        text += &table::against(&name, &results, &earlier, width);
    }
    let printed = print(text);
    kept?;
    Ok(if printed == ExitCode::SUCCESS {
        status
    } else {
        printed
    })
}

fn measure(
    options: &Options,
    files: &Files,
    interrupt: Arc<AtomicBool>,
) -> Result<Results, String> {
    let comparison = Comparison::new(options, interrupt)?;
    enough_descriptors(descriptors(comparison.jobs()))?;
    for skipped in &comparison.results().skipped {
        say(&format!("left out: {skipped}"));
    }
    let bar = bar();
    let results = comparison.run(&mut |results: &Results, progress: Progress| {
        bar.set_length(progress.all as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.what);
        files.keep(results)
    });
    bar.finish_and_clear();
    Ok(results)
}

/// What came of it; nothing when somebody does not even want to wait for that.
async fn until_done(
    mut ended: oneshot::Receiver<Result<Results, String>>,
    interrupt: &AtomicBool,
) -> Option<Result<Results, String>> {
    let mut asked = match asked_to_end() {
        Ok(asked) => asked,
        Err(error) => return Some(Err(format!("no signals: {error}"))),
    };
    loop {
        tokio::select! {
            results = &mut ended => {
                return Some(results.unwrap_or_else(|_| Err("it broke off; this is a mistake in triwire".into())));
            }
            _ = asked.recv() => {}
        }
        if interrupt.swap(true, Ordering::Relaxed) {
            return None;
        }
    }
}

/// Each signal that asks for the end.
fn asked_to_end() -> io::Result<mpsc::Receiver<()>> {
    let (ask, asked) = mpsc::channel(8);
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    // Who starts it by nohup wants it to outlive the terminal.
    if !ignores_hangup() {
        kinds.push(SignalKind::hangup());
    }
    for kind in kinds {
        let (mut signals, ask) = (signal(kind)?, ask.clone());
        tokio::spawn(async move {
            while signals.recv().await.is_some() && ask.send(()).await.is_ok() {}
        });
    }
    Ok(asked)
}

fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is bit 0.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

fn status(results: &Results) -> ExitCode {
    let wrong = |run: &crate::compare::results::Run| run.error.is_some() || !run.faults.is_none();
    match &results.ended {
        Some(why) if why == "interrupted" => ExitCode::from(130),
        None if !results.runs.iter().any(wrong) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Held as long as this comparison lasts, and gone with it however it ends.
fn alone() -> Result<UnixListener, String> {
    let name = SocketAddr::from_abstract_name(LOCK).map_err(|error| error.to_string())?;
    UnixListener::bind_addr(&name).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another comparison runs on this machine, and each would measure the other: wait for its end".to_owned()
        }
        _ => format!("cannot tell whether another comparison runs: {error}"),
    })
}

fn enough_descriptors(needed: u64) -> Result<(), String> {
    let limit = super::serve::raise_descriptors();
    if limit >= needed {
        return Ok(());
    }
    Err(format!(
        "so many readers take {needed} descriptors, and the limit is {limit}: ask for fewer by --readers, or raise it \
         by ulimit -n"
    ))
}

/// As wide as the terminal is, within reason.
fn columns() -> usize {
    let terminal = io::stdout().is_terminal().then(size).and_then(Result::ok);
    terminal.map_or(table::WIDTH, |(columns, _)| {
        usize::from(columns).clamp(60, table::WIDTH)
    })
}

/// On a terminal only.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:24} {pos} of {len}, {eta} left  {wide_msg}");
    let bar = ProgressBar::new(0).with_style(style.expect("the template is good"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
