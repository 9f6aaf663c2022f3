//! `triwire doctor`: what stands between a client and a server.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::remote::{block_on, cacert, cacert_argument};
use super::{fail, tame};
use crate::client::{Framing, Place};
use crate::config::parse_time;
use crate::doctor::{self, Said, Verdict};

/// Longer than what cuts most silent streams: 60 s in nginx and in the balancers of the large clouds, 50 s in
/// HAProxy as Debian configures it. It is also four heartbeats.
const WATCH: &str = "65s";

/// The subcommand and its arguments.
pub fn command() -> Command {
    Command::new("doctor")
        .about("Say what stands between a client and a server, and what to do about it")
        .after_help(
            "One line a check: ok, note or WRONG. Exit status 0 when nothing is wrong, 1 when something is, \
             2 for wrong use. Nothing is published.",
        )
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required(true)
                .help("Where clients find the server: http://… or https://…"),
        )
        .arg(cacert_argument())
        .arg(
            Arg::new("idle")
                .long("idle")
                .value_name("TIME")
                .default_value(WATCH)
                .value_parser(|text: &str| parse_time(text, 1_000..=3_600_000))
                .help("How long an idle stream is watched"),
        )
}

/// Examines, and prints a line a check.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let url = matches.get_one::<String>("url").expect("it is required");
    let watch = *matches
        .get_one::<Duration>("idle")
        .expect("it has a default");
    let place = match Place::new(Some(url), None, cacert(matches)) {
        Ok(place) if place.framing == Framing::Sse => place,
        Ok(_) => return fail(&[format!("{url:?} is no http:// or https:// URL")]),
        Err(mistake) => return fail(&[mistake]),
    };
    let mut progress = Progress {
        terminal: io::stderr().is_terminal(),
        shown: false,
        watch,
    };
    let mut hear = |said: Said| match said {
        Said::Finding(check, verdict, words) => {
            progress.clear();
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{verdict:<5}  {check:<20}  {}", tame(&words))?;
            stdout.flush()
        }
        Said::Watched(time) => {
            progress.show(time);
            Ok(())
        }
    };
    block_on(async {
        match doctor::examine(&place, watch, &mut hear).await {
            Ok(Verdict::Well | Verdict::Note) => ExitCode::SUCCESS,
            // Whoever read it has read enough, and not that all is well.
            Ok(Verdict::Wrong) | Err(_) => ExitCode::FAILURE,
        }
    })
}

/// A line on a terminal's stderr, for who waits.
struct Progress {
    terminal: bool,
    shown: bool,
    watch: Duration,
}

impl Progress {
    fn show(&mut self, time: Duration) {
        if self.terminal {
            let seconds = time.as_secs();
            // What cannot be shown is no reason to end.
            let _ = write!(
                io::stderr(),
                "\r\x1b[Kwatching idle streams: {seconds} of {} s",
                self.watch.as_secs()
            );
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
