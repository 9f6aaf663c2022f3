//! The command line: one file a subcommand.

mod certs;
#[cfg(target_os = "linux")]
mod compare;
mod completions;
mod doctor;
mod generate;
mod lines;
mod migrate;
mod outlet;
mod publish;
mod query;
mod remote;
mod serve;
mod subscribe;
mod top;
mod watch_table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Command;

/// Runs what the arguments say.
///
/// A mistake in what is said ends with one line each on stderr and exit status 2.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return fail(&[one_line(&error)]),
        Err(help) => {
            return print(help.render().to_string());
        }
    };
    match matches.subcommand() {
        Some(("certs", matches)) => certs::run(matches),
        Some(("migrate", matches)) => migrate::run(matches),
        Some(("watch-table", matches)) => watch_table::run(matches),
        Some(("subscribe", matches)) => subscribe::run(matches),
        Some(("query", matches)) => query::run(matches),
        Some(("publish", matches)) => publish::run(matches),
        Some(("generate", matches)) => generate::run(matches),
        Some(("top", matches)) => top::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        #[cfg(target_os = "linux")]
        Some(("compare", matches)) => compare::run(matches),
        Some(("completions", matches)) => completions::run(matches, command()),
        Some(("man", _)) => completions::man(command()),
        Some((_, matches)) => serve::run(matches),
        None => serve::run(&matches),
    }
}

fn command() -> Command {
    let serve = serve::command("serve").about("Serve; also what triwire does without a subcommand");
    let command = serve::command("triwire")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "One event log on every wire: SSE, WebSocket and long polling, told apart and counted",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(subscribe::command())
        .subcommand(query::command())
        .subcommand(publish::command())
        .subcommand(generate::command())
        .subcommand(top::command())
        .subcommand(doctor::command())
        .subcommand(certs::command())
        .subcommand(migrate::command())
        .subcommand(watch_table::command())
        .subcommand(completions::command())
        .subcommand(completions::man_command());
    // It asks the kernel for what only this one tells.
    #[cfg(target_os = "linux")]
    let command = command.subcommand(compare::command());
    command
}

/// What clap says on several lines, without its advice on usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let lines: Vec<&str> = lines.collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// One line a mistake.
fn fail(mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        say(mistake);
    }
    ExitCode::from(2)
}

/// Tells the person at the terminal; a terminal that is gone is no reason to stop.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "triwire: {}", tame(words));
}

/// What others said, on one line, without what a terminal would obey, and not without end.
fn tame(words: &str) -> String {
    const MOST: usize = 1_000;
    let plain = |c: char| match c {
        c if c.is_control() => ' ',
        // They would turn around what stands after them.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => '\u{fffd}',
        '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    };
    let mut tame: String = words.chars().take(MOST).map(plain).collect();
    if words.chars().nth(MOST).is_some() {
        tame.push('…');
    }
    tame
}

/// Writes to stdout. That nobody reads it is no mistake; that it cannot be written is told.
fn print(text: impl AsRef<[u8]>) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("stdout: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_tamed() {
        assert_eq!(
            tame("a\u{202e}b\u{2066}c\u{200d}"),
            "a\u{fffd}b\u{fffd}c\u{200d}"
        );
        assert_eq!(tame("a\nb\u{1b}[31mc\u{7}ü"), "a b [31mc ü");
        let long = tame(&"x".repeat(5_000));
        assert_eq!(long.chars().count(), 1_001);
    }
}
