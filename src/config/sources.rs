//! Where values come from: flags, variables and the file, which has a module of its own. They leave
//! here as text, with the place that they were found at.
//!
//! Variables are asked for by name, never listed: Kubernetes sets `TRIWIRE_PORT` and more for a
//! service called triwire, so one that is not a setting is not a mistake. An empty variable is not
//! set: so do container files leave out a value.

use std::collections::BTreeMap;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;

use crate::config::Config;
use crate::config::table::SECTIONS;
use crate::config::table::Setting;

/// The flag and the variable that name the file.
const FILE: &str = "config";
const FILE_VARIABLE: &str = "TRIWIRE_CONFIG";

/// A value as it was given.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// `--http1`, `TRIWIRE_HTTP1`, `triwire.toml: http1`
    pub(super) place: String,
    /// Its text; any number of them, until the setting has seen them.
    pub(super) values: Vec<String>,
}

/// Where the value of each setting is from; one that is absent has its default.
#[derive(Debug, Default)]
pub(super) struct Sources {
    places: BTreeMap<&'static str, String>,
    wrong: Vec<&'static str>,
}

impl Given {
    /// Puts the value into its field, or says what is wrong with it.
    pub(super) fn store(&self, setting: &Setting, config: &mut Config) -> Result<(), Vec<String>> {
        let line = |reason| format!("{}: {reason}", self.place);
        let stored = setting.store(config, &self.values);
        stored.map_err(|reasons| reasons.into_iter().map(line).collect())
    }
}

impl Sources {
    /// Notes that a setting's value is now from there.
    pub(super) fn won(&mut self, key: &'static str, place: String) {
        self.places.insert(key, place);
    }

    /// Notes that something was wrong with a setting, so that it is not compared with others.
    pub(super) fn wrong(&mut self, key: &'static str) {
        self.wrong.push(key);
    }

    /// Where a setting's value is from, unless it is the default.
    pub(super) fn place(&self, key: &str) -> Option<&str> {
        self.places.get(key).map(String::as_str)
    }

    /// Whether nothing was wrong with a setting.
    pub(super) fn is_sound(&self, key: &str) -> bool {
        !self.wrong.contains(&key)
    }
}

/// Adds `--config` and a flag a setting. All take text, so that clap has no opinion on a value.
pub(super) fn arguments(command: clap::Command) -> clap::Command {
    let flags = SECTIONS.iter().flat_map(|section| {
        section
            .settings
            .iter()
            .map(|setting| argument(setting, section.title))
    });
    command.args(flags).arg(of_file().help_heading("Server"))
}

/// Adds `--config` and the flag of one setting.
pub(super) fn only(command: clap::Command, setting: &'static Setting) -> clap::Command {
    let flag = argument(setting, "Options").hide_short_help(false);
    command.arg(flag.help_heading(None)).arg(of_file())
}

fn of_file() -> Arg {
    let help = "A TOML file of settings; each comes from its flag (--drain 5s), else its variable \
                (TRIWIRE_DRAIN=5s), else its key here (drain = \"5s\"), else the default";
    Arg::new(FILE).long(FILE).value_name("FILE").help(help)
}

pub(super) fn flag(setting: &Setting, matches: &ArgMatches) -> Option<Given> {
    let values = matches.try_get_many::<String>(setting.key).ok().flatten()?;
    Some(Given {
        place: setting.flag(),
        values: values.cloned().collect(),
    })
}

pub(super) fn variable(setting: &Setting, env: &dyn Fn(&str) -> Option<String>) -> Option<Given> {
    let place = setting.variable();
    let values = vec![non_empty(env(&place))?];
    Some(Given { place, values })
}

/// The path of the file, and what named it.
pub(super) fn file(
    matches: &ArgMatches,
    env: &dyn Fn(&str) -> Option<String>,
) -> Option<(&'static str, String)> {
    if let Some(path) = matches.try_get_one::<String>(FILE).ok().flatten() {
        return Some(("--config", path.clone()));
    }
    Some((FILE_VARIABLE, non_empty(env(FILE_VARIABLE))?))
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn argument(setting: &Setting, heading: &'static str) -> Arg {
    let default = if setting.default.is_empty() {
        String::new()
    } else {
        format!(" [default: {}]", setting.default)
    };
    let long = format!("{}{default} [allowed: {}]", setting.help, setting.allowed());
    let arg = Arg::new(setting.key)
        .long(setting.key)
        .value_name(setting.value_name())
        // Twice is too often for most, but that is said along with all other mistakes.
        .action(ArgAction::Append)
        .help(format!("{}{default}", setting.help))
        .long_help(long)
        .help_heading(heading)
        .hide_short_help(!setting.shown);
    // `--open` says yes; `--open=false` takes back what a variable or the file said.
    if setting.is_switch() {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else {
        arg
    }
}
