//! `triwire certs`: makes what is missing of the certificates, or renews what is ours; or says how to trust them.

mod trust;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::certs::{Force, anchor, ensure};

pub(super) fn command() -> Command {
    Command::new("certs")
        .about("Make or renew the certificates by hand")
        .arg(
            Arg::new("certs")
                .long("certs")
                .value_name("DIR")
                .help("The directory")
                .default_value("certs")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .help("Make everything anew, keys too: what trusted the old CA will not trust the new one")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("print-trust")
                .long("print-trust")
                .help("Print the commands that make this machine trust the CA, and those that take it back; do nothing")
                .conflicts_with("force")
                .action(ArgAction::SetTrue),
        )
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let directory: PathBuf = matches
        .get_one("certs")
        .cloned()
        .unwrap_or_else(|| "certs".into());
    if matches.get_flag("print-trust") {
        return match anchor(&directory, SystemTime::now()) {
            Ok(anchor) => super::print(trust::commands(&anchor, &trust::Machine::this())),
            Err(mistake) => super::fail(&[mistake]),
        };
    }
    let force = match matches.get_flag("force") {
        true => Force::Replace,
        false => Force::Keep,
    };
    match ensure(&directory, SystemTime::now(), force) {
        Ok((identity, made)) => {
            let warnings = identity.warnings.iter();
            warnings.for_each(|warning| super::say(warning));
            let names = identity.names.join(", ");
            let good = format!("{}: good for {names}", directory.display());
            let lines = made.into_iter().chain([good]);
            super::print(lines.map(|line| line + "\n").collect::<String>())
        }
        Err(mistakes) => super::fail(&mistakes),
    }
}
