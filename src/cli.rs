//! The command line: one file a subcommand.

mod certs;
mod completions;
mod doctor;
mod generate;
mod publish;
mod remote;
mod serve;
mod subscribe;
mod top;

use std::process::ExitCode;

use clap::Command;

use crate::config::Config;

/// Runs what the arguments say.
///
/// A mistake in what is said ends with one line each on stderr and exit status 2.
pub fn run(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return fail(&[one_line(&error)]),
        Err(help) => {
            print!("{}", help.render());
            return ExitCode::SUCCESS;
        }
    };
    match matches.subcommand() {
        Some(("certs", matches)) => certs::run(matches),
        Some(("subscribe", matches)) => subscribe::run(matches),
        Some(("publish", matches)) => publish::run(matches),
        Some(("generate", matches)) => generate::run(matches),
        Some(("top", matches)) => top::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        Some(("completions", matches)) => completions::run(matches, command()),
        Some(("man", _)) => completions::man(command()),
        Some((_, matches)) => serve::run(matches),
        None => serve::run(&matches),
    }
}

fn command() -> Command {
    let serve = Config::command(
        Command::new("serve").about("Serve; also what triwire does without a subcommand"),
    );
    Config::command(Command::new("triwire"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "One event log on every wire: SSE, WebSocket and long polling, told apart and counted",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(subscribe::command())
        .subcommand(publish::command())
        .subcommand(generate::command())
        .subcommand(top::command())
        .subcommand(doctor::command())
        .subcommand(certs::command())
        .subcommand(completions::command())
        .subcommand(completions::man_command())
}

/// What clap says on several lines, without its advice on usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// One line a mistake.
fn fail(mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("triwire: {mistake}");
    }
    ExitCode::from(2)
}
